package secret

import (
	"encoding/base64"
	"strings"
)

// ordinary reports whether the value of a name such as key or token is one of the many things that are no secrets.
func (s *Scanner) ordinary(c *candidate) bool {
	v := c.secret
	name := strings.ToLower(c.before)
	switch {
	case !strings.ContainsAny(v, "0123456789"):
		return true
	case strings.Trim(v, "0123456789.-_:=") == "": // numbers, dates, versions
		return true
	case isUUID(v):
		return !s.named(c) && !anyWord(name, "api_key", "api-key", "apikey", "token", "secret", "password", "passwd", "access_key", "access-key", "accesskey", "auth")
	case anyPrefix(v, "sha1-", "sha224-", "sha256-", "sha384-", "sha512-", "md5-", "AAAAB3Nza", "AAAAC3Nza", "AAAAE2Vj", "AAAAG"): // of files, and of public keys
		return true
	case anySuffix(strings.ToLower(v), ".pem", ".key", ".crt", ".cer", ".json", ".yaml", ".yml", ".xml", ".html", ".js", ".css", ".py", ".go", ".sh", ".txt", ".conf", ".sock", ".service", ".com", ".org", ".net", ".io", ".local", ".png", ".jks", ".p12"):
		return true
	case anyWord(v, "._", "self.", "this.") || anyPrefix(v, "_", "NID_"): // of a program
		return true
	case strings.HasPrefix(v, "MII") && len(v) >= 64 && !privateDER(v):
		return true
	case isHex(v) && (len(v) == 40 || len(v) == 64) && !anyWord(name, "api", "token", "secret", "pass", "auth", "access") && !s.named(c):
		return true
	}
	if plain := decode(v); len(plain) >= 6 && printable(plain) && (placeholder(string(plain), true) || wordy(string(plain)) >= 0.5) {
		return true
	}
	return s.covered(v) >= 0.4 || wordy(v) >= 0.5 || len(v) < 24 && wordy(v)*float64(len(v)) >= 0.6*float64(letters(v))
}

func letters(v string) (n int) {
	for i := range len(v) {
		if isLetter(v[i]) {
			n++
		}
	}
	return n
}

func printable(b []byte) bool {
	for _, c := range b {
		if c < 0x20 || c > 0x7e {
			return false
		}
	}
	return true
}

// password reports whether the value of a password's name is one.
func (s *Scanner) password(c *candidate) bool {
	v := c.secret
	l := strings.ToLower(v)
	if len(v) < 6 || entropy(v) < 2.3 || anyWord(l, "://", "${", "$(", "{{", "}}", "%s", "%v", "()", "::", "->", "=>", "==", "&&", "||", "\\", "<", ">", "env.", "os.", "this.", "self.", "process.", ".get", "config.", "secret") {
		return false
	}
	if strings.HasPrefix(c.before, "PASS:") || strings.HasPrefix(c.before, "XPASS:") { // of the result of a test
		return false
	}
	if strings.Contains(c.match, "//") && c.rule.ID != "password-in-url" || anyPrefix(v, "/", "./", "~", "$", "#", "@", "%", "!", "*", "--", "==", "&") && c.rule.ID == passwordRule && variableLike(v) {
		return false
	}
	if c.rule.ID == "password-in-url" && anyWord(c.line, v+"@example.", v+"@dummy.", v+"@test.") {
		return false
	}
	chars, digits, others := 0, 0, 0
	for i := range len(v) {
		switch b := v[i]; {
		case b >= '0' && b <= '9':
			digits++
		case wordChar(b) && b != '_' || b >= 0x80:
			chars++
		default:
			others++
		}
	}
	if chars == 0 || digits == 0 && others < 2 && (c.rule.ID != "password-in-url" || len(v) < 12 || entropy(v) < 3) {
		return false
	}
	if strings.Trim(l, "abcdefghijklmnopqrstuvwxyz_.-/") == "" && wordy(v) >= 0.3 { // a name, or a path
		return false
	}
	if anyWord(l, "password", "passwd", "passphrase", "pwd") && (digits < 2 || chars < 12) || strings.ContainsAny(v, "/.") && wordy(v) >= 0.4 {
		return false
	}
	if c.rule.ID == passwordRule && (strings.ContainsAny(v, "[](){}|^?") && others > 4 || isUUID(v)) {
		return false
	}
	return s.covered(v) < 0.7 && wordy(v) < 0.7
}

// variableLike reports whether a text that begins with a mark goes on as a name or a path does.
func variableLike(v string) bool {
	return strings.Trim(strings.ToLower(v[1:]), "abcdefghijklmnopqrstuvwxyz_./-0123456789{}%@") == "" && wordy(v) >= 0.4 || v[0] == '/'
}

// covered is how much of a text is words that gitleaks stops at. In a random text there can be one by chance.
func (s *Scanner) covered(v string) float64 {
	in, n := make([]bool, len(v)), 0
	s.stops().each([]byte(v), 0, func(_, start, end int) {
		for i := start; i < end; i++ {
			if !in[i] {
				in[i] = true
				n++
			}
		}
	})
	return float64(n) / float64(len(v))
}

// wordy is how much of a text is runs of letters that can be spoken, as names have them: at least four of one case, with vowels between.
func wordy(v string) float64 {
	n, parted := 0, strings.ContainsAny(v, "_.-/: ")
	for i := 0; i < len(v); {
		j := i
		switch {
		case !isLetter(v[i]):
		case i+1 < len(v) && !isLower(v[i]) && isLetter(v[i+1]) && !isLower(v[i+1]): // SERVER, or the HTTP of HTTPServer
			for j < len(v) && isLetter(v[j]) && !isLower(v[j]) {
				j++
			}
			if j < len(v) && isLower(v[j]) {
				j--
			}
		default: // server, Server
			for j++; j < len(v) && isLower(v[j]); {
				j++
			}
		}
		if j-i >= 4 && spoken(strings.ToLower(v[i:j]), parted) {
			n += j - i
		}
		i = max(j, i+1)
	}
	return float64(n) / float64(len(v))
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
func isLower(c byte) bool  { return c >= 'a' && c <= 'z' }

// pairs are those letters that follow each other most often in words: five of six pairs in a text, and one of five in a random one.
const pairs = " ab ac ad ag ai al am an ap ar as at ba be bl bu ca ce ch ck cl co cr ct da de di do ea ec ed ee ef el em en ep er es et ev ex fa fe fi fo ge gi ha he hi ho ia ib ic id ie if ig il im in io ir is it iv ke la le li ll lo ls ly ma me mi mo mp na nc nd ne ng ni no ns nt oc od ol om on oo op or os ot ou ow pa pe pl po pp pr pt ra re ri rm rn ro rr rs rt ry sa sc se sh si so sp ss st su ta te th ti to tr ts tt tu ty ue ul um un up ur us ut va ve wa wi "

// spoken reports whether vowels are neither rare nor everywhere, no more than three other letters stand together, and letters follow each other that do so in words.
// What has parts are names rather than random, and names have abbreviations.
func spoken(w string, parted bool) bool {
	usual := 0
	for i := 1; i < len(w); i++ {
		if strings.Contains(pairs, w[i-1:i+1]) {
			usual++
		}
	}
	if !parted && 2*usual < len(w)-1 {
		return false
	}
	vowels, cluster := 0, 0
	for i := range len(w) {
		if strings.IndexByte("aeiouy", w[i]) >= 0 {
			vowels++
			cluster = 0
		} else if cluster++; cluster > 3 {
			return false
		}
	}
	return 5*vowels >= len(w) && 10*vowels <= 8*len(w)
}

func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'f') {
			return false
		}
	}
	return s != ""
}

func isUUID(s string) bool {
	return len(s) == 36 && s[8] == '-' && s[13] == '-' && s[18] == '-' && s[23] == '-' && isHex(strings.ReplaceAll(s, "-", ""))
}

func anyWord(s string, words ...string) bool {
	for _, w := range words {
		if strings.Contains(s, w) {
			return true
		}
	}
	return false
}

func anyPrefix(s string, words ...string) bool {
	for _, w := range words {
		if strings.HasPrefix(s, w) {
			return true
		}
	}
	return false
}

func anySuffix(s string, words ...string) bool {
	for _, w := range words {
		if strings.HasSuffix(s, w) {
			return true
		}
	}
	return false
}

// privateDER reports whether base64 is of a private key: PKCS #1 and #8 and SEC 1 begin with a small version number.
func privateDER(b64 string) bool {
	b, err := base64.StdEncoding.DecodeString(b64)
	return err == nil && derKey(b)
}
