package secret

import (
	"math"
	"regexp"
	"strings"
)

const (
	genericRule  = "generic-api-key"
	passwordRule = "password-assignment"
)

// candidate is what an expression found.
type candidate struct {
	rule *rule
	path string
	// secret is the part that counts, match what the whole expression matched, before what of it is before the secret, line where it stands.
	secret, match, before, line string
}

// genuine decides whether a candidate is a secret, and whether more than its look confirms it.
func (s *Scanner) genuine(c *candidate) (ok, checked bool) {
	r := c.rule
	least := r.Entropy
	if r.ID == genericRule && isHex(c.secret) && len(c.secret) >= 20 {
		least = 2.9 // there are only 16 digits
	}
	if least > 0 && entropy(c.secret) <= least {
		return false, false
	}
	if r.ID != "private-key" && placeholder(c.secret, r.weak) { // a key of OpenSSH has long runs of zeros
		return false, false
	}
	for i := range r.allow {
		if r.allow[i].allows(c) {
			return false, false
		}
	}
	if strings.Contains(c.line, "gitleaks:allow") || strings.Contains(c.line, "camada:allow-secret") {
		return false, false
	}
	if r.weak && namesHash(c.before) {
		return false, false
	}
	switch r.ID {
	case genericRule:
		return !s.ordinary(c), false
	case serviceRule:
		return s.credentialOf(c), false
	case passwordRule, "netrc-password", "pgpass-password", "password-in-url":
		return s.password(c), false
	}
	if r.catalog && !randomToken(c.secret) {
		return false, false
	}
	return check(c)
}

// randomToken reports whether what has the form of a token can be one: names in programs can begin as tokens do.
func randomToken(v string) bool {
	return strings.ContainsAny(v, "0123456789") && entropy(v) > 3 && wordy(v) < 0.5
}

// allows reports whether an allowlist says that the candidate is no secret. Its stop words are looked at elsewhere: see ordinary.
func (a *allowed) allows(c *candidate) bool {
	text := c.secret
	switch a.target {
	case "match":
		text = c.match
	case "line":
		text = c.line
	}
	inPath, inText := anyOf(a.paths, c.path), anyOf(a.regexes, text)
	if a.and {
		return (inPath || len(a.paths) == 0) && (inText || len(a.regexes) == 0)
	}
	return inPath || inText
}

func anyOf(list []*regexp.Regexp, text string) bool {
	for _, re := range list {
		if re.MatchString(text) {
			return true
		}
	}
	return false
}

// entropy is Shannon's, in bits for each byte.
func entropy(s string) float64 {
	var n [256]int
	for i := range len(s) {
		n[s[i]]++
	}
	e := 0.0
	for _, k := range n {
		if k > 0 {
			p := float64(k) / float64(len(s))
			e -= p * math.Log2(p)
		}
	}
	return e
}

// placeholder reports whether a text stands for a secret that someone has to put in. Of a weak rule's even a word is enough.
func placeholder(s string, weak bool) bool {
	if len(s) > 400 { // what encodes more than a random number can have long runs
		return false
	}
	l := strings.ToLower(s)
	for _, w := range []string{"example", "placeholder", "changeme", "change_me", "change-me", "redacted", "your_", "your-", "replace_", "replace-", "replaceme", "xxxxxx", "1234567890abcdef", "0123456789abcdef", "abcdefghij", "012345678", "deadbeefdeadbeef"} {
		if strings.Contains(l, w) {
			return true
		}
	}
	if run(s) >= 8 || interleaved(l) {
		return true
	}
	if !weak {
		return false
	}
	for _, w := range []string{"your", "insert", "dummy", "fake", "sample", "todo", "test123", "not-a-", "notreal", "mysecret", "my-secret", "my_secret", "xxxx", "****", "....", "123456", "abcdef", "qwerty", "deadbeef", "cafebabe", "foobar", "s3cret", "secr3t", "passw0rd", "p4ssw0rd", "pa55word"} {
		if strings.Contains(l, w) {
			return true
		}
	}
	return run(s) >= 5 || strings.ContainsAny(s[:1], "$<%{@") && len(s) > 1 && variable(s)
}

// variable reports whether a text is the name of something that is put in its place: $NAME, ${NAME}, <name>, {{ name }}, %NAME%, @NAME@.
func variable(s string) bool {
	switch s[0] {
	case '$':
		return wordChar(s[1]) && s[1] > '9' || s[1] == '{' || s[1] == '('
	case '<':
		return s[len(s)-1] == '>'
	case '{':
		return s[len(s)-1] == '}'
	}
	return s[0] == s[len(s)-1]
}

// run is how often a byte is repeated at most.
func run(s string) int {
	most, n := 0, 0
	for i := range len(s) {
		if n++; i > 0 && s[i] != s[i-1] {
			n = 1
		}
		most = max(most, n)
	}
	return most
}

// namesHash reports whether the name before a value says that it is a digest or a public name.
func namesHash(before string) bool {
	l := strings.ToLower(before)
	for _, w := range []string{"sha1", "sha2", "sha5", "sha_", "sha-", "md5", "hash", "digest", "checksum", "chksum", "integrity", "commit", "revision", "etag", "fingerprint", "thumbprint", "zone_id", "zone-id", "account_id", "app_id", "project_id", "public_key", "publickey", "public-key", "pubkey", "keyid", "key_id", "key-id", "cache_key", "cache-key", "cachekey", "uuid", "guid", "signature", "serial"} {
		if strings.Contains(l, w) {
			return true
		}
	}
	return false
}

// interleaved reports whether most of a text counts up: letters and digits in turns, as in a1b2c3d4.
func interleaved(s string) bool {
	up, steps := 0, 0
	for i := 2; i < len(s); i++ {
		if !wordChar(s[i]) || !wordChar(s[i-2]) {
			continue
		}
		if steps++; s[i] == s[i-2]+1 || s[i] == '0' && s[i-2] == '9' {
			up++
		}
	}
	return steps >= 8 && 3*up >= 2*steps
}
