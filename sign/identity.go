package sign

import (
	"crypto/x509"
	"encoding/asn1"
	"net/url"
	"regexp"
	"slices"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/sign/keys"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// maxRegexp bounds a regular expression, in bytes.
const maxRegexp = 4096

// Identity is who must have signed, as certificates tell it. What is "" is not asked for.
type Identity struct {
	// Subject is an alternative name of the certificate: an address of mail, or the URI of a workflow. SubjectRegexp matches a part of it, unless it begins with ^ and ends
	// with $.
	Subject, SubjectRegexp string
	// Issuer is by whose word: the address of the identity provider. IssuerRegexp matches a part of it.
	Issuer, IssuerRegexp string
}

func (id Identity) check() error {
	if id.Subject == "" && id.SubjectRegexp == "" {
		return errdefs.Invalid("verify: an identity without a name: anybody with a certificate would do")
	}
	for _, text := range []string{id.SubjectRegexp, id.IssuerRegexp} {
		if len(text) > maxRegexp {
			return errdefs.Limit("verify: the regular expression has more than %d bytes", maxRegexp)
		}
		if _, err := regexp.Compile(text); err != nil {
			return errdefs.Invalid("verify: %w", err)
		}
	}
	return nil
}

// matches reports whether a certificate with these names is one of the identity, and by which name.
func (id Identity) matches(names []string, issuer string) (string, bool) {
	if id.Issuer != "" && issuer != id.Issuer || id.IssuerRegexp != "" && !matches(id.IssuerRegexp, issuer) {
		return "", false
	}
	for _, n := range names {
		if (id.Subject == "" || n == id.Subject) && (id.SubjectRegexp == "" || matches(id.SubjectRegexp, n)) {
			return n, true
		}
	}
	return "", false
}

func matches(expr, text string) bool {
	re, err := regexp.Compile(expr)
	return err == nil && re.MatchString(text)
}

// Names are the names of a certificate's owner: mail, URIs, DNS names, and the user names that sigstore's authority writes.
func Names(c *x509.Certificate) []string {
	names := slices.Clone(c.EmailAddresses)
	for _, u := range c.URIs {
		names = append(names, u.String())
	}
	names = append(names, c.DNSNames...)
	for _, e := range c.Extensions {
		if e.Id.Equal(oidAlternative()) {
			names = append(names, userNames(e.Value)...)
		}
	}
	return names
}

func oidAlternative() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{2, 5, 29, 17} }

// userNames are the names of the kind otherName 1.3.6.1.4.1.57264.1.7 (fulcio, oid-info.md).
func userNames(value []byte) []string {
	in := cryptobyte.String(value)
	var list cryptobyte.String
	if !in.ReadASN1(&list, cbasn1.SEQUENCE) {
		return nil
	}
	var out []string
	for !list.Empty() {
		var element, inner, text cryptobyte.String
		var tag cbasn1.Tag
		if !list.ReadAnyASN1(&element, &tag) {
			return out
		}
		var id asn1.ObjectIdentifier
		if tag != cbasn1.Tag(0).ContextSpecific().Constructed() || !element.ReadASN1ObjectIdentifier(&id) || !id.Equal(asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 7}) {
			continue
		}
		if element.ReadASN1(&inner, tag) && inner.ReadASN1(&text, cbasn1.UTF8String) {
			out = append(out, string(text))
		}
	}
	return out
}

// Issuer is by whose word a certificate has its names (fulcio, oid-info.md: 1.3.6.1.4.1.57264.1.8, and the older .1); "" when it does not say.
func Issuer(c *x509.Certificate) string {
	old := ""
	for _, e := range c.Extensions {
		switch {
		case e.Id.Equal(asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 8}):
			in := cryptobyte.String(e.Value)
			var text cryptobyte.String
			if in.ReadASN1(&text, cbasn1.UTF8String) && in.Empty() {
				return string(text)
			}
		case e.Id.Equal(asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 1}):
			old = string(e.Value)
		}
	}
	return old
}

// parseCertificate reads a certificate of a signature. Its alternative name may be critical and of a kind that only userNames knows.
func parseCertificate(der []byte) (*x509.Certificate, error) {
	c, err := keys.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	if len(userNames(extension(c, oidAlternative()))) > 0 {
		c.UnhandledCriticalExtensions = slices.DeleteFunc(c.UnhandledCriticalExtensions, func(id asn1.ObjectIdentifier) bool { return id.Equal(oidAlternative()) })
	}
	return c, nil
}

func extension(c *x509.Certificate, id asn1.ObjectIdentifier) []byte {
	for _, e := range c.Extensions {
		if e.Id.Equal(id) {
			return e.Value
		}
	}
	return nil
}

func isURI(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme != "" && (u.Host != "" || u.Opaque != "") && len(s) <= maxRegexp
}
