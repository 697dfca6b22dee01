package remote

import (
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/camada/camada/reference"
)

func TestChallenges(t *testing.T) {
	for in, want := range map[string][]string{
		`Bearer realm="https://a/b?c=d",service="s, t",scope="x:y:pull,push"`: {"bearer realm=https://a/b?c=d service=s, t scope=x:y:pull,push"},
		`Basic realm="a \"b\"", Bearer realm=c`:                               {`basic realm=a "b"`, "bearer realm=c"},
		`Negotiate`:                                                           {"negotiate"},
		`Negotiate, Basic`:                                                    {"negotiate", "basic"},
		`Bearer realm="broken`:                                                {},
		``:                                                                    {},
		`=`:                                                                   {},
	} {
		var got []string
		for _, c := range parseChallenges([]string{in}) {
			s := c.scheme
			for _, k := range []string{"realm", "service", "scope"} {
				if v, ok := c.params[k]; ok {
					s += " " + k + "=" + v
				}
			}
			got = append(got, s)
		}
		if len(got) != len(want) {
			t.Errorf("%q: %q, want %q", in, got, want)
			continue
		}
		for i := range got {
			if got[i] != want[i] {
				t.Errorf("%q: %q, want %q", in, got, want)
			}
		}
	}
}

func TestInsecure(t *testing.T) {
	list := []string{"reg.lan:5000", "old.lan", "10.0.0.0/8"}
	for name, want := range map[string]bool{
		"localhost": true, "localhost:5000": true, "127.0.0.1:5000": true, "127.9.9.9": true, "[::1]:5000": true,
		"reg.lan:5000": true, "reg.lan": false, "old.lan:1": true, "10.1.2.3:5000": true, "11.1.2.3": false,
		"docker.io": false, "localhost.example.org": false, "127.0.0.1.example.org": false,
	} {
		if got := isInsecure(name, list); got != want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// TestElsewhere: the URLs of foreign layers lead to nothing that only this machine reaches, unless the registry is there too.
func TestElsewhere(t *testing.T) {
	c := New(Options{})
	for text, want := range map[string][2]bool{ // from a registry far away, and here
		"https://example.org/x": {true, true}, "http://example.org/x": {}, "http://127.0.0.1:1/x": {false, true}, "https://localhost/x": {false, true},
		"http://169.254.169.254/x": {}, "https://me:pass@example.org/x": {}, "file:///etc/passwd": {}, "x": {}, "https://": {},
	} {
		for i, host := range []string{"example.com", "127.0.0.1:5000"} {
			_, err := c.Repository(reference.Reference{Host: host, Repository: "app"}).elsewhere(text)
			if (err == nil) != want[i] {
				t.Errorf("%s of %s: %v", text, host, err)
			}
		}
	}
}

func TestSmallParsers(t *testing.T) {
	for in, want := range map[string]string{
		`</v2/a?last=b>; rel="next"`: "/v2/a?last=b", `<a>; rel=prev, <b>; rel=next`: "b", ``: "", `<a>`: "", `junk`: "", `</v2/a?last=b,c;d>; rel="next"`: "/v2/a?last=b,c;d",
		`<a>; title="rel=next"`: "", `<a>; title="x, <b>; rel=next"`: "", `<a>; rel="prev"; x="<", <b>; REL = "last NEXT"`: "b", `<a>; rel=nextdoor`: "", `<a`: "", `<a>; rel="next`: "a",
	} {
		if got := nextLink([]string{`<z>; rel="first"`, in}); got != want {
			t.Errorf("link %q: %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string][2]int64{
		"bytes 10-20/30": {10, 30}, "bytes 0-1/*": {0, -1}, "bytes 0-1": {0, -1}, "bytes -1-2/3": {-1}, "bytes 1-2/-3": {1, -1}, "10-20": {-1}, "": {-1},
	} {
		if got, total, ok := rangeStart(in); ok != (want[0] >= 0) || ok && (got != want[0] || total != want[1]) {
			t.Errorf("range %q: %d of %d, %t", in, got, total, ok)
		}
	}
	for in, want := range map[string]int64{"0-9": 10, "bytes=0-9": 10, "0-0": 0, "1-9": -1, "0-": -1, "": -1, "0--1": -1, "x": -1, "0-9223372036854775807": -1, "0-9223372036854775806": 9223372036854775807} {
		if got, ok := received(in); ok != (want >= 0) || ok && got != want {
			t.Errorf("received %q: %d, %t", in, got, ok)
		}
	}
	for in, want := range map[string]time.Duration{"7": 7 * time.Second, "99999": 99999 * time.Second, "99999999999": 366 * 24 * time.Hour, "": 0, "-1": 0, "soon": 0} {
		if got := retryAfter(in); got != want {
			t.Errorf("Retry-After %q: %s", in, got)
		}
	}
}

// TestReferrersTag has the examples of the specification ("Referrers Tag Schema").
func TestReferrersTag(t *testing.T) {
	for in, want := range map[digest.Digest]string{
		digest.Digest("sha256:" + strings.Repeat("a", 64)):  "sha256-" + strings.Repeat("a", 64),
		digest.Digest("sha512:" + strings.Repeat("a", 128)): "sha512-" + strings.Repeat("a", 64),
		"test+algorithm+using+algorithm+separators+and+lots+of+characters+to+excercise+overall+truncation:alsoSome=InTheEncodedSectionToShowHyphenReplacementAndLotsAndLotsOfCharactersToExcerciseEncodedTruncation": "test-algorithm-using-algorithm-s-alsoSome-InTheEncodedSectionToShowHyphenReplacementAndLotsAndLot", //nolint:misspell // the specification writes it so
	} {
		if got := referrersTag(in); got != want {
			t.Errorf("%s: %s", in, got)
		}
	}
}
