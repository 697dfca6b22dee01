package trust

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"time"

	"github.com/camada/camada/errdefs"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// maxSCTs bounds how many a certificate may have.
const maxSCTs = 16

// sct says that a log has a certificate (RFC 6962, 3.2).
type sct struct {
	logID      []byte
	time       uint64
	extensions []byte
	signature  []byte
}

// CheckSCT checks that the first certificate of a chain is in one of the logs of certificates, as it says itself. ErrPermission when not.
func (r *Root) CheckSCT(chain []*x509.Certificate) error {
	if len(chain) < 2 {
		return errdefs.Permission("the certificate is its own authority; it is in no log")
	}
	list, tbs, err := splitSCTs(chain[0])
	if err != nil {
		return err
	}
	last := errdefs.Permission("the certificate is in no log of certificates that is trusted")
	for _, s := range list {
		at := time.UnixMilli(int64(s.time & (1<<62 - 1)))
		for _, l := range r.CertificateLogs {
			if !bytes.Equal(l.ID, s.logID) {
				continue
			}
			if outside(at, l.Start, l.End) {
				last = errdefs.Permission("the log of certificates was not trusted at %s", at.UTC().Format(time.RFC3339))
				continue
			}
			if last = l.checkSCT(s, chain[1], tbs); last == nil {
				return nil
			}
		}
	}
	return last
}

// checkSCT checks the signature of a log, which is over the certificate as it was before it had it (RFC 6962, 3.2: precert_entry).
func (l Log) checkSCT(s sct, issuer *x509.Certificate, tbs []byte) error {
	var b cryptobyte.Builder
	b.AddUint8(0) // version 1
	b.AddUint8(0) // certificate_timestamp
	b.AddUint64(s.time)
	b.AddUint16(1) // precert_entry
	key := sha256.Sum256(issuer.RawSubjectPublicKeyInfo)
	b.AddBytes(key[:])
	b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(tbs) })
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(s.extensions) })
	signed, err := b.Bytes()
	if err != nil {
		return errdefs.Corrupt("log of certificates: %w", err)
	}
	if err := l.Key.VerifyLegacy(signed, s.signature); err != nil {
		return errdefs.Permission("that the certificate is in its log does not hold: %w", err)
	}
	return nil
}

// splitSCTs returns what a certificate says of logs, and the certificate's TBS without that.
func splitSCTs(cert *x509.Certificate) ([]sct, []byte, error) {
	id := asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}
	var list []sct
	found := false
	for _, e := range cert.Extensions {
		if !e.Id.Equal(id) {
			continue
		}
		var err error
		if list, err = parseSCTs(e.Value); err != nil {
			return nil, nil, err
		}
		found = true
	}
	if !found {
		return nil, nil, errdefs.Permission("the certificate does not say that it is in a log of certificates")
	}
	tbs, err := withoutExtension(cert.RawTBSCertificate, id)
	return list, tbs, err
}

func parseSCTs(value []byte) ([]sct, error) {
	bad := errdefs.Corrupt("what the certificate says of logs cannot be read")
	in := cryptobyte.String(value)
	var octets, all cryptobyte.String
	if !in.ReadASN1(&octets, cbasn1.OCTET_STRING) || !in.Empty() || !octets.ReadUint16LengthPrefixed(&all) || !octets.Empty() {
		return nil, bad
	}
	var out []sct
	for !all.Empty() {
		var one, ext, sig cryptobyte.String
		var version uint8
		var alg uint16
		var s sct
		if !all.ReadUint16LengthPrefixed(&one) || !one.ReadUint8(&version) {
			return nil, bad
		}
		if version != 0 {
			continue
		}
		if !one.ReadBytes(&s.logID, sha256.Size) || !one.ReadUint64(&s.time) || !one.ReadUint16LengthPrefixed(&ext) ||
			!one.ReadUint16(&alg) || !one.ReadUint16LengthPrefixed(&sig) || !one.Empty() {
			return nil, bad
		}
		s.extensions, s.signature = ext, sig
		if out = append(out, s); len(out) > maxSCTs {
			return nil, errdefs.Limit("the certificate names more than %d logs", maxSCTs)
		}
	}
	return out, nil
}

// withoutExtension writes a TBSCertificate (RFC 5280, 4.1) again without one extension.
func withoutExtension(tbs []byte, id asn1.ObjectIdentifier) ([]byte, error) {
	bad := errdefs.Corrupt("the certificate cannot be read")
	in := cryptobyte.String(tbs)
	var fields cryptobyte.String
	if !in.ReadASN1(&fields, cbasn1.SEQUENCE) {
		return nil, bad
	}
	tag := cbasn1.Tag(3).ContextSpecific().Constructed()
	var b cryptobyte.Builder
	ok := true
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for ok && !fields.Empty() {
			var element cryptobyte.String
			var t cbasn1.Tag
			if ok = fields.ReadAnyASN1Element(&element, &t); !ok {
				return
			}
			if t != tag {
				b.AddBytes(element)
				continue
			}
			var outer, list cryptobyte.String
			if ok = element.ReadASN1(&outer, tag) && outer.ReadASN1(&list, cbasn1.SEQUENCE); !ok {
				return
			}
			b.AddASN1(tag, func(b *cryptobyte.Builder) {
				b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { ok = copyExtensions(b, list, id) })
			})
		}
	})
	out, err := b.Bytes()
	if !ok || err != nil {
		return nil, bad
	}
	return out, nil
}

func copyExtensions(b *cryptobyte.Builder, list cryptobyte.String, without asn1.ObjectIdentifier) bool {
	for !list.Empty() {
		var element, body cryptobyte.String
		var id asn1.ObjectIdentifier
		if !list.ReadASN1Element(&element, cbasn1.SEQUENCE) {
			return false
		}
		whole := element
		if !element.ReadASN1(&body, cbasn1.SEQUENCE) || !body.ReadASN1ObjectIdentifier(&id) {
			return false
		}
		if !id.Equal(without) {
			b.AddBytes(whole)
		}
	}
	return true
}
