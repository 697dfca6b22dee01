package notation

import (
	"time"

	"github.com/camada/camada/errdefs"
)

// The labels of headers of COSE (RFC 9052, 3.1; RFC 9360 for the chain).
const (
	labelAlgorithm, labelCritical, labelType, labelChain = 1, 2, 3, 33
	tagSign1                                             = 18
)

// coseAlgorithms are the names of JWS for the numbers of COSE (RFC 9053, 2.1; RFC 8230, 2).
func coseAlgorithm(n int64) string {
	switch n {
	case -37:
		return algPS256
	case -38:
		return algPS384
	case -39:
		return algPS512
	case -7:
		return algES2
	case -35:
		return algES3
	case -36:
		return algES5
	}
	return ""
}

// parseCOSE reads an envelope of COSE (signature-envelope-cose.md: COSE_Sign1 of RFC 9052, 4.2).
func parseCOSE(data []byte) (*envelope, error) {
	bad := func(what string) error { return errdefs.Corrupt("read the envelope: %s", what) }
	v, rest, err := decodeCBOR(data, 0)
	if err != nil {
		return nil, err
	}
	t, ok := v.(tagged)
	if !ok || len(rest) > 0 || t.tag != tagSign1 {
		return nil, bad("it is no COSE_Sign1")
	}
	parts, ok := t.value.([]any)
	if !ok || len(parts) != 4 {
		return nil, bad("it is no COSE_Sign1")
	}
	protected, ok1 := parts[0].([]byte)
	unprotected, ok2 := parts[1].(mapping)
	payload, ok3 := parts[2].([]byte)
	sig, ok4 := parts[3].([]byte)
	if !ok1 || !ok2 || !ok3 || !ok4 {
		return nil, bad("it is no COSE_Sign1")
	}
	e := &envelope{payload: payload, signature: sig}
	// What is signed is an array of four (RFC 9052, 4.4, Sig_structure).
	e.signed = append(e.signed, 0x84)
	e.signed = appendString(e.signed, 3, []byte("Signature1"))
	e.signed = appendString(e.signed, 2, protected)
	e.signed = appendString(e.signed, 2, nil)
	e.signed = appendString(e.signed, 2, payload)
	hv, rest, err := decodeCBOR(protected, 0)
	h, ok := hv.(mapping)
	if err != nil || !ok || len(rest) > 0 {
		return nil, bad("its header is no map")
	}
	if err := e.header(h); err != nil {
		return nil, err
	}
	return e, e.unprotected(unprotected)
}

func (e *envelope) header(h mapping) error {
	if n, ok := h.get(int64(labelAlgorithm)).(int64); ok {
		e.algorithm = coseAlgorithm(n)
	}
	e.contentType, _ = h.get(int64(labelType)).(string)
	e.scheme, _ = h.get(headerScheme).(string)
	crit, _ := h.get(int64(labelCritical)).([]any)
	for _, c := range crit {
		name, ok := c.(string)
		if n, isNumber := c.(int64); isNumber && n == labelType {
			continue // it is checked
		}
		if !ok {
			return errdefs.Unsupported("the envelope has the header %v, which must be understood and is not", c)
		}
		e.critical = append(e.critical, name)
	}
	for name, to := range map[string]*time.Time{headerExpiry: &e.expiry, headerAuthentic: &e.authentic} {
		v := h.get(name)
		if v == nil {
			continue
		}
		t, _ := v.(tagged)
		n, ok := t.value.(int64)
		if !ok || t.tag != 1 {
			return errdefs.Corrupt("read the envelope: %s is no time", name)
		}
		*to = time.Unix(n, 0)
	}
	return nil
}

func (e *envelope) unprotected(h mapping) error {
	var chain [][]byte
	switch v := h.get(int64(labelChain)).(type) {
	case []byte:
		chain = [][]byte{v}
	case []any:
		for _, one := range v {
			der, ok := one.([]byte)
			if !ok {
				return errdefs.Corrupt("read the envelope: its certificates")
			}
			chain = append(chain, der)
		}
	}
	e.timestamp, _ = h.get(headerTimestamp).([]byte)
	var err error
	e.certs, err = parseCerts(chain)
	return err
}
