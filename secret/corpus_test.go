package secret

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"strings"
)

// The corpus is made when the test runs, always the same. Nothing in it was ever valid, and no file of the repository has a text that looks like a secret.

const (
	lower  = "abcdefghijklmnopqrstuvwxyz"
	upper  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	digits = "0123456789"
	alnum  = lower + upper + digits
	hexes  = digits + "abcdef"
	url64  = alnum + "-_"
	std64  = alnum + "+/"
	perEnv = 6 // how many of each kind of secret there are
)

// item is a file of the corpus. line is where the secret is; 0 when there is none.
type item struct {
	kind, path, text string
	line             int
}

// source makes texts.
type source struct{ *rand.Rand }

func (r source) pick(words ...string) string { return words[r.IntN(len(words))] }

func (r source) of(alphabet string, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[r.IntN(len(alphabet))]
	}
	return string(b)
}

func (r source) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.UintN(256))
	}
	return b
}

func (r source) uuid() string {
	h := r.of(hexes, 32)
	return h[:8] + "-" + h[8:12] + "-4" + h[13:16] + "-a" + h[17:20] + "-" + h[20:]
}

func (r source) b64(n int) string { return base64.StdEncoding.EncodeToString(r.bytes(n)) }

// signed is a token of GitHub's or npm's kind, with its checksum.
func (r source) signed(prefix string) string {
	body := r.of(alnum, 30)
	n, sum := crc32.ChecksumIEEE([]byte(body)), ""
	for range 6 {
		sum = string((digits + upper + lower)[n%62]) + sum
		n /= 62
	}
	return prefix + body + sum
}

func (r source) jwt(alg string) string {
	enc := base64.RawURLEncoding.EncodeToString
	head := fmt.Sprintf(`{"alg":%q,"typ":"JWT"}`, alg)
	claims := fmt.Sprintf(`{"sub":"%s","iss":"https://id.%s.test","exp":%d,"scope":"read write"}`, r.of(digits, 8), r.of(lower, 6), 1700000000+r.IntN(90000000))
	return enc([]byte(head)) + "." + enc([]byte(claims)) + "." + enc(r.bytes(32))
}

// der is a sequence of n bytes that begins as a private key does.
func (r source) der(n int) []byte {
	body := append([]byte{2, 1, 0}, r.bytes(n-3)...)
	return append([]byte{0x30, 0x82, byte(n >> 8), byte(n)}, body...)
}

func (r source) pem(label string, body []byte) string {
	var b strings.Builder
	b.WriteString("-----BEGIN " + label + "-----\n")
	text := base64.StdEncoding.EncodeToString(body)
	for len(text) > 64 {
		b.WriteString(text[:64] + "\n")
		text = text[64:]
	}
	b.WriteString(text + "\n-----END " + label + "-----\n")
	return b.String()
}

// password is one as people and generators make them.
func (r source) password() string {
	switch r.IntN(3) {
	case 0:
		return r.of(alnum, 14) + r.pick("!", "%9", "+7", "_4") + r.of(digits, 1)
	case 1:
		return r.of(upper, 1) + r.of("bcdfghjklmnpqrstvwxz", 3) + r.of(digits, 4) + r.of("!+-_*", 1) + r.of(lower, 3) + r.of(digits, 1)
	}
	return r.of(lower+digits, 20) + r.of(digits, 1)
}

// lines puts a line into a file of others, and tells its number.
func (r source) lines(one string) (string, int) {
	var b strings.Builder
	n := r.IntN(9)
	for i := range n {
		b.WriteString(r.pick("# settings of the service\n", "retries: 3\n", "log_level: info\n", "\n", "listen = 0.0.0.0\n", fmt.Sprintf("worker_%d: on\n", i)))
	}
	b.WriteString(one + "\n")
	for range r.IntN(5) {
		b.WriteString(r.pick("timeout: 30\n", "# end\n", "debug: false\n", "\n"))
	}
	return b.String(), n + 1
}

// inFile writes a secret as files have it. name is what the setting is called, such as stripe_token.
func (r source) inFile(name, value string) (path, text string, line int) {
	env := strings.ToUpper(name)
	kind := r.IntN(9)
	one := [...]string{
		fmt.Sprintf("%s=%s", env, value),
		fmt.Sprintf("export %s=%q", env, value),
		fmt.Sprintf("  %s: %s", name, value),
		fmt.Sprintf("  %s: %q", name, value),
		fmt.Sprintf(`  "%s": "%s",`, name, value),
		fmt.Sprintf("%s = '%s'", name, value),
		fmt.Sprintf("ENV %s=%s", env, value),
		fmt.Sprintf(`const %s = "%s";`, name, value),
		fmt.Sprintf("%s=%s", strings.ReplaceAll(name, "_", "."), value),
	}[kind]
	path = [...]string{"app/.env", "opt/run.sh", "etc/app.yaml", "srv/values.yaml", "srv/config.json", "app/settings.py", "Dockerfile", "app/client.js", "etc/app.properties"}[kind]
	text, line = r.lines(one)
	return path, text, line
}

// elsewhere writes a secret with a form of its own where nothing names it.
func (r source) elsewhere(value string) (path, text string, line int) {
	kind := r.IntN(7)
	one := [...]string{
		`client = Client("` + value + `", region)`,
		"curl -sf -H 'X-Key: " + value + "' https://api.service.test/v1/things",
		"<value>" + value + "</value>",
		"https://service.test/v1/things?k=" + value + "&page=2",
		"2026-11-02T10:11:12Z INFO started with " + value,
		"# old one: " + value,
		"args: [--verbose, --credentials, " + value + "]",
	}[kind]
	path = [...]string{"srv/main.py", "root/.bash_history", "etc/app.xml", "srv/urls.txt", "var/log/app.log", "etc/app.conf", "etc/job.yaml"}[kind]
	text, line = r.lines(one)
	return path, text, line
}

// corpus makes all items.
func corpus() (secrets, lookalikes []item) {
	r := source{rand.New(rand.NewPCG(7, 2026))}
	for _, k := range kinds() {
		for i := range perEnv {
			v := k.value(r)
			it := item{kind: k.name}
			switch {
			case k.file != nil:
				it.path, it.text, it.line = k.file(r, v)
			case k.named == "" && i%2 == 0:
				it.path, it.text, it.line = r.elsewhere(v)
			default:
				it.path, it.text, it.line = r.inFile(r.pick(strings.Fields(or(k.named, "token key value"))...), v)
			}
			secrets = append(secrets, it)
		}
	}
	for _, l := range likes() {
		for range 70 {
			path, text := l.make(r)
			body, _ := r.lines(text)
			if l.whole {
				body = text
			}
			lookalikes = append(lookalikes, item{kind: l.name, path: path, text: body})
		}
	}
	return secrets, lookalikes
}

func or(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

// kind makes secrets of one kind. named are names of settings that have such; a kind without stands anywhere. file makes the whole file.
type kind struct {
	name, named string
	value       func(r source) string
	file        func(r source, v string) (path, text string, line int)
}

func jsonText(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}
