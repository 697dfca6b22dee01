package secret

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"hash/crc32"
	"strings"
)

// check looks at the structure of a secret, where its kind has one. A secret of a kind without any is genuine, but not checked.
func check(c *candidate) (ok, checked bool) {
	switch c.rule.ID {
	case "github-pat", "github-oauth", "github-refresh-token", "github-app-token", "npm-access-token":
		return both(checksum62(c.secret))
	case "jwt":
		return both(isJWT(c.secret))
	case "jwt-base64":
		return both(isJWT(string(decode(c.secret))))
	case "private-key":
		return privateKey(c.secret)
	case "private-key-base64":
		head, _, _ := strings.Cut(string(decode(c.secret[:len(c.secret)&^3])), "\n")
		return both(strings.HasPrefix(head, "-----BEGIN ") && strings.Contains(head, "PRIVATE KEY-----"))
	case "kubeconfig-client-key":
		b, err := base64.StdEncoding.DecodeString(c.secret)
		return both(err == nil && bytes.HasPrefix(b, []byte("-----BEGIN ")) && bytes.Contains(b, []byte("PRIVATE KEY-----")))
	case "pypi-upload-token":
		b := decode(strings.TrimPrefix(c.secret, "pypi-"))
		return both(bytes.HasPrefix(b, []byte("\x02\x01\x08pypi.org")))
	case "grafana-api-key":
		var k struct{ K string }
		return both(json.Unmarshal(decode(c.secret), &k) == nil && k.K != "")
	case "docker-registry-auth":
		return both(userAndPassword(c.secret))
	case "authorization-header":
		if strings.Contains(strings.ToLower(c.before), "basic") {
			return both(userAndPassword(c.secret))
		}
		return strings.ContainsAny(c.secret, "0123456789") && entropy(c.secret) > 3.5 && wordy(c.secret) < 0.5, false
	case "azure-storage-key":
		b, err := base64.StdEncoding.DecodeString(c.secret)
		return both(err == nil && (len(b) == 64 || len(b) == 32))
	case "wireguard-private-key":
		b, err := base64.StdEncoding.DecodeString(c.secret)
		return both(err == nil && len(b) == 32)
	case "aws-secret-access-key":
		return !isHex(c.secret) && strings.ContainsAny(c.secret, "0123456789") && wordy(c.secret) < 0.5, false
	case "npmrc-auth":
		return wordy(c.secret) < 0.5, false
	case "vault-legacy-service-token":
		return strings.ContainsAny(c.secret, "0123456789") && wordy(c.secret) < 0.3, false
	case "curl-auth-user":
		_, p, _ := strings.Cut(strings.Trim(c.secret, `"'`), ":")
		return p != "" && !strings.ContainsAny(p[:1], "$<{%*") && !placeholder(p, true) && !anyWord(strings.ToLower(p), "password", "passwd", "secret", "token"), false
	}
	return true, false
}

func both(ok bool) (bool, bool) { return ok, ok }

// checksum62 checks the end of a token of GitHub or npm: the CRC-32 of the 30 characters after the prefix, in six digits of base 62.
func checksum62(token string) bool {
	_, rest, ok := strings.Cut(token, "_")
	if !ok || len(rest) != 36 {
		return false
	}
	return rest[30:] == base62(crc32.ChecksumIEEE([]byte(rest[:30])))
}

func base62(n uint32) string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	var out [6]byte
	for i := range out {
		out[5-i] = digits[n%62]
		n /= 62
	}
	return string(out[:])
}

// decode reads base64 of either alphabet, with or without padding; nil when it is none.
func decode(s string) []byte {
	s = strings.TrimRight(strings.NewReplacer("-", "+", "_", "/").Replace(s), "=")
	b, err := base64.RawStdEncoding.DecodeString(s)
	if err != nil {
		return nil
	}
	return b
}

// isJWT checks a token's header and claims (RFC 7519). The token that the format is always explained with is none.
func isJWT(token string) bool {
	parts := strings.Split(token, ".")
	if len(parts) < 3 {
		return false
	}
	var head map[string]any
	if json.Unmarshal(decode(parts[0]), &head) != nil {
		return false
	}
	if _, ok := head["alg"].(string); !ok {
		return false
	}
	if _, encrypted := head["enc"]; encrypted {
		return true
	}
	var claims map[string]any
	if json.Unmarshal(decode(parts[1]), &claims) != nil {
		return false
	}
	return claims["name"] != "John Doe" && parts[2] != ""
}

// userAndPassword reports whether base64 has a user's name and a password that is no placeholder (RFC 7617).
func userAndPassword(s string) bool {
	user, password, ok := strings.Cut(string(decode(s)), ":")
	if !ok || user == "" || len(password) < 3 || placeholder(password, true) {
		return false
	}
	for i := range len(user) {
		if user[i] < 0x20 || user[i] > 0x7e {
			return false
		}
	}
	return !anyWord(strings.ToLower(password), "password", "passwd", "secret", "<", "$")
}

// privateKey checks that there is a key between the lines: the whole of it, and not what documents show of one.
func privateKey(text string) (ok, checked bool) {
	head, rest, ok := strings.Cut(text, "KEY-----")
	if !ok {
		if head, rest, ok = strings.Cut(text, "BLOCK-----"); !ok {
			return false, false
		}
	}
	body, _, ok := strings.Cut(rest, "-----")
	if !ok {
		return false, false
	}
	body = strings.NewReplacer(`\r`, "\n", `\n`, "\n", `\\n`, "\n", `"`, "", `'`, "", ",", "").Replace(body)
	armored := strings.Contains(head, "PGP")
	encrypted := false
	var b64 strings.Builder
	for line := range strings.Lines(body) {
		line = strings.TrimSuffix(strings.Trim(line, " \t\r\n\\"), " +")
		switch {
		case strings.Contains(line, ":"): // a header (RFC 1421, RFC 9580)
			encrypted = encrypted || strings.Contains(line, "ENCRYPTED")
		case armored && strings.HasPrefix(line, "="): // a checksum
		default:
			b64.WriteString(line)
		}
	}
	b := decode(strings.Join(strings.Fields(b64.String()), ""))
	switch {
	case len(b) < 40:
		return false, false
	case bytes.HasPrefix(b, []byte("openssh-key-v1\x00")):
		return true, true
	case armored:
		return b[0]&0x80 != 0, false // a packet begins so
	case encrypted:
		return true, false
	}
	return both(derWhole(b))
}

// derWhole reports whether b is one sequence of DER (X.690), to its end.
func derWhole(b []byte) bool {
	if len(b) < 2 || b[0] != 0x30 {
		return false
	}
	n, at := int(b[1]), 2
	if k := n & 0x7f; n&0x80 != 0 {
		if k < 1 || k > 3 || len(b) < 2+k {
			return false
		}
		n = 0
		for ; at < 2+k; at++ {
			n = n<<8 | int(b[at])
		}
	}
	return at+n == len(b)
}

// derKey reports whether b is a sequence that begins with a version, as private keys do.
func derKey(b []byte) bool {
	if !derWhole(b) {
		return false
	}
	at := 2
	if b[1]&0x80 != 0 {
		at += int(b[1] & 0x7f)
	}
	return len(b) > at+2 && b[at] == 2 && b[at+1] == 1 && b[at+2] <= 1
}
