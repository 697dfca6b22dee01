package secret

import (
	"strings"
	"testing"
)

// TestDense wants texts that are full of keywords to be looked at a few times by each rule, and not again for each keyword.
func TestDense(t *testing.T) {
	s := scanner(t)
	for name, text := range map[string]string{
		"service":         "ibm",
		"services":        "alibabasecret",
		"many services":   "ibm hcloud vultr_azure/okta,gitea:",
		"web tokens":      "eyJ",
		"keys":            "-----BEGIN PRIVATE KEY ",
		"assignments":     "key=aaaaaaaa",
		"words with keys": "key1",
		"passwords":       "password:",
		"curl":            "curl -u ",
	} {
		f := s.open("srv/x")
		text = strings.Repeat(text, (64<<10)/len(text))
		if err := f.read(t.Context(), strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
		times := f.looked / int64(len(text))
		if t.Logf("%s: %d times", name, times); times > 25 {
			t.Errorf("%s: all is looked at %d times", name, times)
		}
	}
}

// TestDenseFinds finds what stands among many keywords, wherever.
func TestDenseFinds(t *testing.T) {
	s, r := scanner(t), random()
	for _, c := range []struct{ rule, noise, before, secret, after string }{
		{"ibm-cloud-api-key", "ibm", "\nibm_key: ", r.of(alnum, 44), "\n"},
		{"alibaba-secret", "alibabasecret ", "aliyun secret ", r.of(alnum, 30), "\n"},
		{"jwt", "eyJeyJeyJeyJeyJeyJeyJeyJ", " ", r.jwt("HS256"), " "},
		{"generic-api-key", "key=aaaaaaaa", "\napi_key=", r.of(alnum, 32), "\n"},
		{"password-in-url", "a://b:", " https://bot:", r.of(alnum, 16), "@db.internal "},
	} {
		sizes := []int{0, 10, 500, 1000, 4100, 4700, 17000}
		if c.rule == "generic-api-key" {
			sizes = append(sizes, block-100, block+maxReach-20)
		}
		for _, n := range sizes {
			noise := strings.Repeat(c.noise, n/len(c.noise)+1)
			text := noise + c.before + c.secret + c.after + noise + c.before + c.secret + c.after
			var at []int
			for _, f := range s.Text(text, "srv/x").Findings {
				if f.Rule == c.rule {
					at = append(at, offset(text, f))
				}
			}
			want := len(noise) + len(c.before)
			if len(at) != 2 || at[0] != want || at[1] != want+len(c.secret)+len(c.after)+want {
				t.Errorf("%s behind %d bytes: found at %v, want %d", c.rule, len(noise), at, want)
			}
		}
	}
}

// offset is where a finding is in the text.
func offset(text string, f Finding) int {
	at := 0
	for range f.Line - 1 {
		at += strings.IndexByte(text[at:], '\n') + 1
	}
	return at + f.Column - 1
}
