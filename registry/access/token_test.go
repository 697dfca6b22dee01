package access

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/errdefs"
)

func issuerOf(t *testing.T, service string) *Issuer {
	t.Helper()
	i, err := OpenIssuer(filepath.Join(t.TempDir(), "key"), service)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestIssuerKey(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	one, err := OpenIssuer(file, "s")
	if err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(file); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("the key's mode: %v, %v", fi.Mode(), err)
	}
	token, err := one.sign(claims{Subject: "a", Use: useAccess}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	two, err := OpenIssuer(file, "s")
	if err != nil {
		t.Fatal(err)
	}
	if c, err := two.parse(token, useAccess); err != nil || c.Subject != "a" {
		t.Errorf("a token of the same key: %v, %v", c, err)
	}
	// A key that is lent through a group is another user's (Kubernetes), and of no use to all others.
	for _, tc := range []struct {
		owner int
		mode  os.FileMode
		good  bool
	}{{12345, 0o440, true}, {12345, 0o444, false}, {12345, 0o460, false}, {os.Geteuid(), 0o440, false}} {
		if os.Geteuid() != 0 {
			break // only root gives files away
		}
		if err := errors.Join(os.Chown(file, tc.owner, -1), os.Chmod(file, tc.mode)); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenIssuer(file, "camada"); (err == nil) != tc.good {
			t.Errorf("of %d with %o: %v", tc.owner, tc.mode, err)
		}
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenIssuer(file, "s"); !errdefs.IsPermission(err) {
		t.Errorf("a key that others can read: %v", err)
	}
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenIssuer(file, "s"); !errdefs.IsInvalid(err) {
		t.Errorf("a key that is none: %v", err)
	}
}

func TestTokensThatAreRefused(t *testing.T) {
	i := issuerOf(t, "here")
	good, err := i.sign(claims{Subject: "a", Use: useAccess}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(good, ".")
	forge := func(head string, body map[string]any) string {
		b, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString([]byte(head)) + "." + base64.RawURLEncoding.EncodeToString(b)
	}
	all := map[string]any{"iss": "here", "aud": "here", "sub": "root", "use": "access", "exp": time.Now().Add(time.Hour).Unix()}
	elsewhere, err := issuerOf(t, "here").sign(claims{Subject: "a", Use: useAccess}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	other := &Issuer{key: i.key, public: i.public, service: "there", now: time.Now, newer: map[[32]byte]*claims{}}
	there, err := other.sign(claims{Subject: "a", Use: useAccess}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	refresh, err := i.sign(claims{Subject: "a", Use: useRefresh}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	old, err := i.sign(claims{Subject: "a", Use: useAccess}, -time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	// What our own key signed, and is no token of ours all the same.
	signed := func(head string, change map[string]any) string {
		body := maps.Clone(all)
		maps.Copy(body, change)
		text := forge(head, body)
		return text + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(i.key, []byte(text)))
	}
	const head = `{"alg":"EdDSA","typ":"JWT"}`
	if _, err := i.parse(signed(head, nil), useAccess); err != nil {
		t.Errorf("one that is signed: %v", err)
	}
	for name, token := range map[string]string{
		"signed, of no algorithm": signed(`{"alg":"none"}`, nil), "signed, of another one": signed(`{"alg":"HS256"}`, nil), "signed, with what is critical": signed(`{"alg":"EdDSA","crit":["x"]}`, nil),
		"signed, not good yet": signed(head, map[string]any{"nbf": time.Now().Add(time.Hour).Unix()}), "signed, of another issuer": signed(head, map[string]any{"iss": "x"}),
		"signed, for another service": signed(head, map[string]any{"aud": "x"}), "of two lines": signed(head, nil) + "\n", "with a line in it": strings.Replace(signed(head, nil), ".", ".\r\n", 1),
		"nothing": "", "no token": "abc", "two parts": parts[0] + "." + parts[1], "four parts": good + ".x", "another signature": parts[0] + "." + parts[1] + "." + parts[0],
		"another body": parts[0] + "." + strings.Split(forge("{}", all), ".")[1] + "." + parts[2],
		"no algorithm": forge(`{"alg":"none"}`, all) + ".", "symmetric": forge(`{"alg":"HS256"}`, all) + "." + parts[2],
		"another key": elsewhere, "another registry": there, "a refresh token": refresh, "expired": old, "long": good + strings.Repeat("x", maxToken),
	} {
		if _, err := i.parse(token, useAccess); !errdefs.IsPermission(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for range 2 {
		if _, err := i.parse(good, useAccess); err != nil {
			t.Errorf("a good one: %v", err)
		}
	}
	// What is remembered as verified expires as well.
	i.now = func() time.Time { return time.Now().Add(2 * time.Minute) }
	if _, err := i.parse(good, useAccess); !errdefs.IsPermission(err) {
		t.Errorf("one that was remembered and expired: %v", err)
	}
}

func FuzzToken(f *testing.F) {
	file := filepath.Join(f.TempDir(), "key")
	i, err := OpenIssuer(file, "s")
	if err != nil {
		f.Fatal(err)
	}
	good, err := i.sign(claims{Subject: "a", Use: useAccess}, time.Hour)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add("e30.e30.e30")
	f.Fuzz(func(t *testing.T, token string) {
		if _, err := i.parse(token, useAccess); err == nil && token != good {
			t.Errorf("a token that was not made here is taken: %q", token)
		}
	})
}

func TestScope(t *testing.T) {
	rules := Rules{{Repositories: []string{"team/**"}, Users: []string{"alice"}, Actions: Pull | Push}, {Repositories: []string{"public"}, Users: []string{Everybody}, Actions: Pull}}
	got := narrow(parseScope([]string{"repository:team/app:pull,push,delete repository:secret:pull", "repository(plugin):public:pull", "registry:catalog:*", "repository:../x:pull", "x", "a:b"}), rules, "alice")
	want := `[{"type":"repository","name":"team/app","actions":["pull","push"]},{"type":"repository","name":"public","actions":["pull"]},{"type":"registry","name":"catalog","actions":["*"]}]`
	if b, err := json.Marshal(got); err != nil || string(b) != want {
		t.Errorf("granted %s, %v", b, err)
	}
	if !covers(got, "team/app", Pull|Push) || covers(got, "team/app", Delete) || covers(got, "team/other", Pull) || !covers(got, "anything", List) || covers(nil, "a", Pull) {
		t.Error("what the grants cover")
	}
	if n := len(parseScope([]string{strings.Repeat("repository:a:pull ", 1000)})); n > maxScopes {
		t.Errorf("%d scopes", n)
	}
}

// ask asks for a token.
func ask(t *testing.T, g *Gate, method, query string, form url.Values, user, password string) (int, tokenReply, http.Header) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, "http://reg.test/token?"+query, strings.NewReader(form.Encode()))
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if user != "" {
		r.SetBasicAuth(user, password)
	}
	w := httptest.NewRecorder()
	g.ServeHTTP(w, r)
	var reply tokenReply
	if w.Code == http.StatusOK {
		if err := json.Unmarshal(w.Body.Bytes(), &reply); err != nil {
			t.Fatal(err)
		}
	}
	return w.Code, reply, w.Header()
}

func gateOf(t *testing.T, opts Options) *Gate {
	t.Helper()
	opts.Users, _ = usersOf(t, "alice:"+bcryptOf(t, "one")+"\n")
	if opts.Rules == nil {
		opts.Rules = Rules{{Repositories: []string{"team/**"}, Users: []string{"alice"}, Actions: Pull | Push}, {Repositories: []string{"public/**"}, Users: []string{Everybody}, Actions: Pull}}
	}
	return NewGate(opts)
}

// request is one with credentials, "" for none.
func request(t testing.TB, auth string) *http.Request {
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://reg.test/v2/", nil)
	if auth != "" {
		r.Header.Set("Authorization", auth)
	}
	return r
}

func TestGateWithTokens(t *testing.T) {
	g := gateOf(t, Options{Issuer: issuerOf(t, "camada")})
	// Somebody unknown is asked at the door, and may pull what is public.
	v, err := g.Enter(request(t, ""))
	if err != nil {
		t.Fatal(err)
	}
	if v.May("", Enter) != Ask || v.May("public/a", Pull) != Yes || v.May("team/a", Pull) != Ask || v.May("public/a", Push) != Ask {
		t.Error("somebody unknown")
	}
	if got, want := g.Challenge(request(t, ""), "team/a", Push), `Bearer realm="http://reg.test/token",service="reg.test",scope="repository:team/a:pull,push"`; got != want {
		t.Errorf("challenge %s", got)
	}
	if got := g.Challenge(request(t, ""), "", List); !strings.Contains(got, `scope="registry:catalog:*"`) {
		t.Errorf("challenge of the catalog %s", got)
	}
	code, reply, _ := ask(t, g, "GET", "service=reg.test&scope=repository:team/a:pull", nil, "alice", "one")
	if code != 200 || reply.Token == "" || reply.Access != reply.Token || reply.Expires != 300 || reply.Refresh != "" {
		t.Fatalf("%d, %+v", code, reply)
	}
	if v, err = g.Enter(request(t, "bearer "+reply.Token)); err != nil || v.Name() != "alice" {
		t.Fatalf("%v, %v", v, err)
	}
	// More than the token has is asked for anew, and more than the rules have is refused.
	if v.May("", Enter) != Yes || v.May("team/a", Pull) != Yes || v.May("team/a", Push) != Ask || v.May("team/b", Pull) != Ask || v.May("secret", Pull) != No || v.May("", Admin) != No {
		t.Error("alice with a token to pull")
	}
	if v.May("", Enter|List) != Ask || v.May("team/a", List) != Yes {
		t.Error("the catalog with a token for something else")
	}
	_, reply, _ = ask(t, g, "GET", "scope=registry:catalog:*", nil, "alice", "one")
	if v, err = g.Enter(request(t, "Bearer "+reply.Token)); err != nil || v.May("", Enter|List) != Yes || v.May("team/b", List) != Yes || v.May("secret", List) != No || v.May("team/b", Pull) != Ask {
		t.Errorf("the catalog with a token for it: %v", err)
	}
	_, reply, _ = ask(t, g, "GET", "scope=repository:team/a:pull", nil, "alice", "one")
	if got := g.Challenge(request(t, "Bearer "+reply.Token), "team/a", Push); !strings.HasSuffix(got, `,error="insufficient_scope"`) {
		t.Errorf("challenge %s", got)
	}
	if got := g.Challenge(request(t, "Bearer x"), "team/a", Push); !strings.HasSuffix(got, `,error="invalid_token"`) {
		t.Errorf("challenge %s", got)
	}
	// Tokens for nobody, for somebody wrong, for another registry.
	code, reply, _ = ask(t, g, "GET", "scope=repository:public/a:pull", nil, "", "")
	if v, err = g.Enter(request(t, "Bearer "+reply.Token)); code != 200 || err != nil || v.Name() != "" || v.May("public/a", Pull) != Yes || v.May("", Enter) != Yes || v.May("team/a", Pull) != Ask {
		t.Errorf("nobody's token: %d, %v", code, err)
	}
	if code, _, h := ask(t, g, "GET", "", nil, "alice", "two"); code != 401 || h.Get("WWW-Authenticate") == "" {
		t.Errorf("a wrong password: %d", code)
	}
	if code, _, _ = ask(t, g, "GET", "service=other", nil, "alice", "one"); code != 400 {
		t.Errorf("another service: %d", code)
	}
	if code, _, _ = ask(t, g, "PUT", "", nil, "", ""); code != 405 {
		t.Errorf("PUT: %d", code)
	}
	// Name and password do as well.
	r := request(t, "")
	r.SetBasicAuth("alice", "one")
	if v, err = g.Enter(r); err != nil || v.May("team/a", Push) != Yes {
		t.Errorf("with a password: %v", err)
	}
	for _, auth := range []string{"Bearer x", "Digest x", "Basic eDp5"} {
		if _, err := g.Enter(request(t, auth)); !errdefs.IsPermission(err) {
			t.Errorf("%s: %v", auth, err)
		}
	}
}

func TestRefresh(t *testing.T) {
	g := gateOf(t, Options{Issuer: issuerOf(t, "camada")})
	scope := "repository:team/a:push"
	code, reply, _ := ask(t, g, "POST", "", url.Values{"grant_type": {"password"}, "username": {"alice"}, "password": {"one"}, "access_type": {"offline"}, "scope": {scope}, "service": {"reg.test"}, "client_id": {"x"}}, "", "")
	if code != 200 || reply.Refresh == "" || reply.Scope != scope {
		t.Fatalf("%d, %+v", code, reply)
	}
	again := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {reply.Refresh}, "scope": {scope}}
	if code, next, _ := ask(t, g, "POST", "", again, "", ""); code != 200 || next.Token == "" || next.Refresh != reply.Refresh {
		t.Errorf("%d, %+v", code, next)
	}
	// A refresh token is no access token, and ends with the password.
	if _, err := g.Enter(request(t, "Bearer "+reply.Refresh)); !errdefs.IsPermission(err) {
		t.Errorf("it let in: %v", err)
	}
	g.opts.Users.byName["alice"] = bcryptOf(t, "new")
	if code, _, _ := ask(t, g, "POST", "", again, "", ""); code != 401 {
		t.Errorf("after the password changed: %d", code)
	}
	delete(g.opts.Users.byName, "alice")
	if _, err := g.Enter(request(t, "Bearer "+reply.Token)); !errdefs.IsPermission(err) {
		t.Errorf("a user who is gone: %v", err)
	}
	if code, _, _ := ask(t, g, "POST", "", url.Values{"grant_type": {"other"}}, "", ""); code != 400 {
		t.Errorf("an unknown grant: %d", code)
	}
}

func TestGateWithoutTokens(t *testing.T) {
	g := gateOf(t, Options{})
	if got := g.Challenge(request(t, ""), "team/a", Push); got != `Basic realm="reg.test", charset="UTF-8"` {
		t.Errorf("challenge %s", got)
	}
	if code, _, _ := ask(t, g, "GET", "", nil, "alice", "one"); code != 404 {
		t.Errorf("a token is made: %d", code)
	}
	open := NewGate(Options{})
	if v, err := open.Enter(request(t, "Basic eDp5")); err != nil || v.May("", Enter) != Yes || v.May("a", Push) != Yes || open.Challenge(request(t, ""), "a", Pull) != "" {
		t.Errorf("a gate without users: %v", err)
	}
}

func TestGuessing(t *testing.T) {
	g := gateOf(t, Options{})
	try := func(password string) error {
		r := request(t, "")
		r.RemoteAddr = "192.0.2.7:1234"
		r.SetBasicAuth("alice", password)
		_, err := g.Enter(r)
		return err
	}
	if err := try("one"); err != nil {
		t.Fatal(err)
	}
	for range failureBurst {
		if err := try("guess"); !errdefs.IsPermission(err) {
			t.Fatal(err)
		}
	}
	if err := try("guess"); !errdefs.IsLimit(err) {
		t.Errorf("after %d guesses: %v", failureBurst, err)
	}
	if err := try("one"); err != nil { // who is known already is not locked out by his neighbour
		t.Errorf("the right one: %v", err)
	}
}

func TestRateAndProxies(t *testing.T) {
	g := gateOf(t, Options{Rate: 1, Burst: 2, Proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	try := func(remote, forwarded string) error {
		r := request(t, "")
		r.RemoteAddr = remote + ":1"
		r.Header.Set("X-Forwarded-For", forwarded)
		_, err := g.Enter(r)
		return err
	}
	for i, tc := range []struct {
		remote, forwarded string
		limited           bool
	}{
		{"192.0.2.1", "", false}, {"192.0.2.1", "198.51.100.1", false}, {"192.0.2.1", "198.51.100.2", true}, // what a stranger says is not believed
		{"10.0.0.1", "203.0.113.5, 10.1.1.1", false}, {"10.0.0.2", "1.1.1.1, 203.0.113.5", false}, {"10.0.0.1", "203.0.113.5", true}, {"10.0.0.1", "203.0.113.6", false},
	} {
		if err := try(tc.remote, tc.forwarded); errdefs.IsLimit(err) != tc.limited {
			t.Errorf("%d: %v", i, err)
		}
	}
	r := request(t, "")
	r.RemoteAddr = "10.0.0.1:1"
	r.Header.Set("X-Forwarded-Proto", "https")
	if got := g.url(r); got != "https://reg.test" {
		t.Errorf("behind a proxy: %s", got)
	}
}
