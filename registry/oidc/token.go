package oidc

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"math"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
)

// token is one in parts. Nothing of it is believed before its signature is.
type token struct {
	algorithm string
	key       string // the ID of the key, "" when it names none
	claims    map[string]any
	signed    []byte
	signature []byte
}

// parseToken takes the compact form apart (RFC 7515, section 7.1). Everything that is wrong is ErrPermission.
func parseToken(s string) (*token, error) {
	if len(s) > maxToken {
		return nil, errdefs.Permission("the token is too long")
	}
	parts := strings.SplitN(s, ".", 4)
	if len(parts) != 3 {
		return nil, errdefs.Permission("the token is no signed JSON web token")
	}
	head, err := object(parts[0])
	if err != nil {
		return nil, err
	}
	t := &token{signed: []byte(s[:len(parts[0])+1+len(parts[1])])}
	// What is critical would have to be understood (RFC 7515, section 4.1.11), and we understand nothing that can be.
	if _, critical := head["crit"]; critical {
		return nil, errdefs.Permission("the token asks for something that is not known here")
	}
	// Other kinds of tokens say what they are (RFC 8725, section 3.11).
	if v, ok := head["typ"]; ok {
		kind, _ := v.(string)
		switch strings.TrimPrefix(strings.ToLower(kind), "application/") {
		case "jwt", "at+jwt":
		default:
			return nil, errdefs.Permission("the token is of another kind")
		}
	}
	t.algorithm, _ = head["alg"].(string)
	if v, ok := head["kid"]; ok {
		if t.key, _ = v.(string); t.key == "" {
			return nil, errdefs.Permission("the token's key has no name")
		}
	}
	if t.claims, err = object(parts[1]); err != nil {
		return nil, err
	}
	if t.signature, err = decode(parts[2]); err != nil {
		return nil, err
	}
	return t, nil
}

// decode decodes base64url without padding (RFC 7515, section 2). The decoder alone would skip ends of lines.
func decode(s string) ([]byte, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || strings.ContainsAny(s, "\r\n") {
		return nil, errdefs.Permission("the token cannot be read")
	}
	return b, nil
}

// object decodes a part that is a JSON object. Names have their case, unlike those of Go's structs.
func object(s string) (map[string]any, error) {
	b, err := decode(s)
	if err != nil {
		return nil, err
	}
	var m map[string]any
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&m); err != nil || m == nil || d.More() {
		return nil, errdefs.Permission("the token cannot be read")
	}
	return m, nil
}

// text is a claim that is a text, "" when it is none.
func (t *token) text(claim string) string {
	s, _ := t.claims[claim].(string)
	return s
}

// audiences are whom the token is for: one, or a list (RFC 7519, section 4.1.3).
func (t *token) audiences() []string {
	switch v := t.claims["aud"].(type) {
	case string:
		return []string{v}
	case []any:
		var list []string
		for _, e := range v {
			if s, ok := e.(string); ok {
				list = append(list, s)
			}
		}
		return list
	default:
		return nil
	}
}

// live says when the token ends; ErrPermission when it has, or has not begun. One that never ends is not taken.
func (t *token) live(now time.Time) (time.Time, error) {
	end, ok := date(t.claims["exp"])
	if !ok {
		return time.Time{}, errdefs.Permission("the token does not say when it ends")
	}
	if !now.Before(end.Add(leeway)) {
		return time.Time{}, errdefs.Permission("the token has expired")
	}
	for _, claim := range []string{"nbf", "iat"} {
		v, there := t.claims[claim]
		if !there {
			continue
		}
		begin, ok := date(v)
		if !ok || now.Add(leeway).Before(begin) {
			return time.Time{}, errdefs.Permission("the token is not good yet")
		}
	}
	return end, nil
}

// date is a NumericDate (RFC 7519, section 2): seconds, maybe with a fraction.
func date(v any) (time.Time, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return time.Time{}, false
	}
	f, err := n.Float64()
	if err != nil || f < 0 || f > 1<<40 {
		return time.Time{}, false
	}
	return time.Unix(int64(math.Floor(f)), 0), true
}
