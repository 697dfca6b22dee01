package sign

import (
	"crypto/x509"
	"strings"
	"time"

	"github.com/camada/camada/attest"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/sign/bundle"
	"github.com/camada/camada/sign/keys"
	"github.com/camada/camada/sign/notation"
	"github.com/camada/camada/sign/trust"
)

// payloadInToto is the payloadType of statements.
const payloadInToto = attest.MediaType

// signature is one of any form of sigstore's, with what came with it.
type signature struct {
	// payload is what the signer says, message what was signed of it.
	payload, message, sig []byte
	// certs are in DER, the signer's first; none when a key signed.
	certs   [][]byte
	entries []bundle.LogEntry
	// times are answers of time stamping authorities about sig.
	times [][]byte
	// old is set for what cosign wrote before bundles, which hashed otherwise.
	old bool
}

// bundle verifies a bundle.
func (c *collection) bundle(data []byte, claimed string) (Verified, error) {
	b, err := bundle.Parse(data)
	if err != nil {
		return Verified{}, err
	}
	if b.Envelope == nil {
		return Verified{}, errdefs.Permission("the bundle signs bytes, and says nothing of an image")
	}
	s := signature{payload: b.Envelope.Payload, certs: b.Certificates(), entries: b.Material.Entries}
	s.message, s.sig = b.Signature()
	if t := b.Material.Timestamps; t != nil {
		for _, one := range t.Timestamps {
			s.times = append(s.times, one.Raw)
		}
	}
	return c.statement(s, b.Envelope.PayloadType, claimed)
}

// statement verifies a signed statement: the signature first, then what it says.
func (c *collection) statement(s signature, payloadType, claimed string) (Verified, error) {
	v, err := c.signature(s)
	if err != nil {
		return v, err
	}
	if payloadType != payloadInToto {
		return v, errdefs.Permission("what is signed is of the kind %.80q, and no statement", payloadType)
	}
	st, err := attest.Parse(s.payload)
	if err != nil {
		return v, err
	}
	if !c.isSubject(st) {
		return v, errdefs.Permission("it is a signature of another image: %s", subjects(st))
	}
	if claimed != "" && claimed != st.PredicateType {
		return v, errdefs.Permission("its manifest claims to say %.100q, and it says %.100q", claimed, st.PredicateType)
	}
	if st.PredicateType != c.predicate() {
		return v, errdefs.Permission("it says %.100q, and %s is asked for", st.PredicateType, c.predicate())
	}
	v.Statement, v.PredicateType = st, st.PredicateType
	return v, nil
}

// isSubject reports whether a statement is about the image.
func (c *collection) isSubject(st *attest.Statement) bool {
	d := c.subject.Digest
	for _, s := range st.Subject {
		if s.Digest[string(d.Algorithm())] == d.Encoded() {
			return true
		}
	}
	return false
}

// subjects tells what a statement is about.
func subjects(st *attest.Statement) string {
	if len(st.Subject) == 0 {
		return "of none"
	}
	var parts []string
	for alg, sum := range st.Subject[0].Digest {
		parts = append(parts, alg+":"+sum)
	}
	if len(parts) == 0 {
		return "of none"
	}
	return shortened(strings.Join(parts, " "))
}

func shortened(s string) string {
	if len(s) > 200 {
		return s[:200] + "..."
	}
	return s
}

// signature verifies whose a signature is: that of a key, or that of a certificate's owner.
func (c *collection) signature(s signature) (Verified, error) {
	for _, k := range c.req.Keys {
		verify := k.Verify
		if s.old {
			verify = k.VerifyLegacy
		}
		if verify(s.message, s.sig) == nil {
			return c.ofKey(s, k)
		}
	}
	if len(c.req.Identities) == 0 {
		if len(s.certs) > 0 {
			return Verified{}, errdefs.Permission("it is signed with a certificate, and not with the key")
		}
		return Verified{}, errdefs.Permission("it is signed with another key")
	}
	if len(s.certs) == 0 {
		return Verified{}, errdefs.Permission("it is signed with a key, and not with a certificate of the identity")
	}
	return c.ofCertificate(s)
}

// ofKey checks what a signature of a key needs beside: an entry in a log when one is asked for.
func (c *collection) ofKey(s signature, k *keys.Public) (Verified, error) {
	v := Verified{KeyID: k.ID()}
	if c.req.Trust == nil {
		return v, nil
	}
	signed := trust.Signed{Payload: s.payload, Message: s.message, Signature: s.sig, Key: k}
	if len(s.certs) > 0 {
		signed.Certificate = s.certs[0]
	}
	logged, times, err := c.times(s, signed)
	if c.req.Log && !logged {
		return v, err
	}
	v.Logged = logged
	if len(times) > 0 {
		v.Time = times[0]
	}
	return v, nil
}

// ofCertificate checks the certificate: its key signed, it leads to an authority at the time of signing, it is in a log, and it is of an
// identity that is asked for.
func (c *collection) ofCertificate(s signature) (Verified, error) {
	none := Verified{}
	cert, err := parseCertificate(s.certs[0])
	if err != nil {
		return none, err
	}
	var others []*x509.Certificate
	for _, der := range s.certs[1:] {
		o, err := keys.ParseCertificate(der)
		if err != nil {
			return none, err
		}
		others = append(others, o)
	}
	key, err := keys.NewPublic(cert.PublicKey)
	if err != nil {
		return none, err
	}
	verify := key.Verify
	if s.old {
		verify = key.VerifyLegacy
	}
	if err := verify(s.message, s.sig); err != nil {
		return none, err
	}
	logged, times, err := c.times(s, trust.Signed{Payload: s.payload, Message: s.message, Signature: s.sig, Certificate: s.certs[0], Key: key})
	if len(c.req.Trust.Logs) > 0 && !c.req.IgnoreLog && !logged {
		return none, err
	}
	v := Verified{KeyID: key.ID(), Logged: logged}
	at := []time.Time{c.req.Now}
	if len(times) > 0 {
		at, v.Time = times, times[0]
	}
	for _, t := range at {
		chain, err := c.req.Trust.Chain(cert, others, t)
		if err != nil {
			return none, err
		}
		if len(c.req.Trust.CertificateLogs) == 0 || c.req.IgnoreSCT {
			continue
		}
		if err := c.req.Trust.CheckSCT(chain); err != nil {
			return none, err
		}
	}
	names, issuer := Names(cert), Issuer(cert)
	for _, id := range c.req.Identities {
		if name, ok := id.matches(names, issuer); ok {
			v.Identity, v.Issuer = name, issuer
			return v, nil
		}
	}
	by := ""
	if issuer != "" {
		by = ", by the word of " + shortened(issuer)
	}
	return none, errdefs.Permission("it is signed by another identity: %s%s", shortened(strings.Join(names, ", ")), by)
}

// times are when a signature was made, by the words of those who are believed, and whether a log has it. err says why no log has.
func (c *collection) times(s signature, signed trust.Signed) (logged bool, times []time.Time, err error) {
	err = errdefs.Permission("it has no entry of a log")
	for _, answer := range s.times {
		if at, err := c.req.Trust.Time(answer, s.sig); err == nil {
			times = append(times, at)
		}
	}
	signed.Times = times
	for _, e := range s.entries {
		at, entryErr := c.req.Trust.Logged(e, signed)
		if entryErr != nil {
			err = entryErr
			continue
		}
		logged = true
		if !at.IsZero() {
			times = append(times, at)
		}
	}
	return logged, times, err
}

// notation verifies an envelope of notation.
func (c *collection) notation(data []byte, mediaType string) (Verified, error) {
	s, err := notation.Verify(data, mediaType, c.subject, c.req.Notation, c.req.Now)
	if err != nil {
		return Verified{}, err
	}
	key, err := keys.NewPublic(s.Certificate.PublicKey)
	if err != nil {
		return Verified{}, err
	}
	return Verified{KeyID: key.ID(), Identity: s.Certificate.Subject.String(), Issuer: s.Certificate.Issuer.String(), Time: s.Time}, nil
}
