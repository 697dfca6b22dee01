package remote

import (
	"testing"
	"time"
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

func TestSmallParsers(t *testing.T) {
	for in, want := range map[string]string{
		`</v2/a?last=b>; rel="next"`: "/v2/a?last=b", `<a>; rel=prev, <b>; rel=next`: "b", ``: "", `<a>`: "", `junk`: "",
	} {
		if got := nextLink(in); got != want {
			t.Errorf("link %q: %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]int64{"bytes 10-20/30": 10, "bytes 0-1/*": 0, "bytes -1-2/3": -1, "10-20": -1, "": -1} {
		if got, ok := rangeStart(in); ok != (want >= 0) || ok && got != want {
			t.Errorf("range %q: %d, %t", in, got, ok)
		}
	}
	for in, want := range map[string]time.Duration{"7": 7 * time.Second, "99999": maxPause, "": 0, "-1": 0, "soon": 0} {
		if got := retryAfter(in); got != want {
			t.Errorf("Retry-After %q: %s", in, got)
		}
	}
}

func FuzzAnswers(f *testing.F) {
	f.Add(`Bearer realm="https://a",service="b"`, []byte(`{"token":"a","expires_in":-1}`))
	f.Add(`Basic realm="\"`, []byte(`{"errors":[{"code":"A","message":"b\u001b"}]}`))
	f.Add(`, ,=a="b"`, []byte(`{"expires_in":9223372036854775807,"access_token":"x"}`))
	f.Fuzz(func(t *testing.T, header string, body []byte) {
		for _, c := range parseChallenges([]string{header, header}) {
			if c.scheme == "" {
				t.Error("a challenge without a scheme")
			}
		}
		now := time.Unix(1e9, 0)
		if tok, err := parseToken(body, now); err == nil && (tok.value == "" || tok.until.Before(now) || tok.until.Sub(now) > 24*time.Hour) {
			t.Errorf("token %+v", tok)
		}
		for _, r := range saying(body) {
			if r < ' ' {
				t.Errorf("control character %q", r)
			}
		}
		nextLink(header)
		rangeStart(header)
	})
}
