package access

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/pattern"
	"github.com/camada/camada/reference"
)

// Whatever a client calls what it asks for, its token allows what the rules do, where they do.
func TestScopeConfusion(t *testing.T) {
	g := gateOf(t, Options{Issuer: issuerOf(t, "camada"), Rules: Rules{
		{Repositories: []string{"team/app"}, Users: []string{"alice"}, Actions: Pull | Push},
		{Repositories: []string{"secret"}, Users: []string{"root"}, Actions: Pull | Push | Delete},
	}})
	for scope, want := range map[string]string{
		"repository:team/app:pull": "repository:team/app:pull", "repository:team/app:*": "repository:team/app:pull,push", "repository:team/app:pull,pull,admin,fly,": "repository:team/app:pull",
		"repository:team/app,secret:pull": "", "repository:*:pull": "", "repository:**:*": "", "repository:team/*:pull": "", "repository::pull": "", "repository:team/app:": "", "repository:team/app": "",
		"repository:team/app:pull:push": "", "repository:host:5000/team/app:pull": "", "repository:team/app/../../secret:pull": "", "repository:/secret:pull": "", "repository:SECRET:pull": "",
		"repository:secret%00:pull": "", "repository:secret\tregistry:catalog:*": "registry:catalog:*", "repository:secret:pull": "", "registry:secret:*": "", "registry:catalog:pull": "registry:catalog:*",
		"Repository:team/app:pull": "", "repository(plugin):secret:pull": "", "repository:team/app:pull repository:secret:pull": "repository:team/app:pull", "admin:*:*": "",
	} {
		code, reply, _ := ask(t, g, "GET", url.Values{"scope": {scope}}.Encode(), nil, "alice", "one")
		if code != http.StatusOK || reply.Scope != want {
			t.Errorf("%q: %d %q, want %q", scope, code, reply.Scope, want)
			continue
		}
		v, err := g.Enter(request(t, "Bearer "+reply.Token))
		if err != nil || v.May("secret", Pull) == Yes || v.May("", Admin) == Yes || v.May("team/app", Delete) == Yes || (v.May("team/app", Pull) == Yes) != strings.HasPrefix(want, "repository:team/app:pull") {
			t.Errorf("%q lets in: %v", scope, err)
		}
	}
	// Several scopes, several services.
	code, reply, _ := ask(t, g, "GET", "scope=repository:team/app:pull&scope=repository:secret:pull&service=reg.test&service=other", nil, "alice", "one")
	if code != http.StatusOK || reply.Scope != "repository:team/app:pull" {
		t.Errorf("%d %q", code, reply.Scope)
	}
	if code, _, _ := ask(t, g, "GET", "service=other&service=reg.test", nil, "alice", "one"); code != http.StatusBadRequest {
		t.Errorf("a token for another service: %d", code)
	}
	if code, _, _ := ask(t, g, "POST", "username=alice&password=one&grant_type=password", url.Values{"grant_type": {"x"}}, "", ""); code != http.StatusBadRequest {
		t.Errorf("a password in the address: %d", code)
	}
}

// A token is good where it was made and for what, and nothing that it says itself makes it more.
func TestTokenConfusion(t *testing.T) {
	ours, theirs := issuerOf(t, "camada"), issuerOf(t, "camada")
	g := gateOf(t, Options{Issuer: ours})
	token := func(i *Issuer, c claims) string {
		t.Helper()
		s, err := i.sign(c, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	all := []grant{{"repository", "team/app", []string{"*"}}}
	good := token(ours, claims{Subject: "alice", Use: useAccess, Access: all})
	parts := strings.Split(good, ".")
	reword := func(change func(m map[string]any)) string {
		b, err := base64.RawURLEncoding.DecodeString(parts[1])
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]any
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		change(m)
		if b, err = json.Marshal(m); err != nil {
			t.Fatal(err)
		}
		return parts[0] + "." + base64.RawURLEncoding.EncodeToString(b) + "." + parts[2]
	}
	if _, err := g.Enter(request(t, "Bearer "+good)); err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]string{
		"of another registry with the same name": token(theirs, claims{Subject: "alice", Use: useAccess, Access: all}), "a refresh token": token(ours, claims{Subject: "alice", Use: useRefresh, Access: all}),
		"of no use": token(ours, claims{Subject: "alice", Access: all}), "another user": reword(func(m map[string]any) { m["sub"] = "root" }), "a later end": reword(func(m map[string]any) { m["exp"] = 1 << 40 }),
		"a user who is not there": token(ours, claims{Subject: "nobody", Use: useAccess, Access: all}), "somebody vouched for": token(ours, claims{Subject: "alice", Use: useAccess, Outside: "x", Access: all}),
		"without a signature": parts[0] + "." + parts[1] + ".", "alg none": base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + parts[1] + ".", "more parts": good + ".x", "padding": good + "=",
		"as a password": "Basic " + good,
	} {
		if _, err := g.Enter(request(t, "Bearer "+s)); !errdefs.IsPermission(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// What a token allows ends where the rules do, also when they changed since.
	v, err := g.Enter(request(t, "Bearer "+good))
	if err != nil || v.May("team/app", Delete) != No || v.May("team/app", Push) != Yes || v.May("team/app2", Pull) == Yes || v.May("team", Pull) == Yes {
		t.Errorf("more than the rules: %v", err)
	}
}

func FuzzScope(f *testing.F) {
	for _, s := range []string{"repository:a/b:pull,push", "repository(plugin):a:*", "registry:catalog:*", "repository:host:5000/a:pull", "repository:a,b:pull", ":::", "repository:a:pull registry:catalog:*"} {
		f.Add(s)
	}
	rules := Rules{{Repositories: []string{"a/**"}, Users: []string{"u"}, Actions: Pull}, {Repositories: []string{"**"}, Users: []string{"root"}, Actions: Pull | Push | Delete | Admin}}
	f.Fuzz(func(t *testing.T, s string) {
		asked := parseScope([]string{s})
		if len(asked) > maxScopes {
			t.Errorf("%d scopes", len(asked))
		}
		for _, g := range narrow(asked, rules, "root") {
			if g.Type == "repository" && !reference.ValidRepository(g.Name) {
				t.Errorf("%q gives %+v to somebody who may do all", s, g)
			}
		}
		for _, g := range narrow(asked, rules, "u") {
			if g.Type == "registry" && g.Name == "catalog" {
				continue
			}
			if g.Type != "repository" || !reference.ValidRepository(g.Name) || !pattern.Match("a/**", g.Name) || !slices.Equal(g.Actions, []string{"pull"}) {
				t.Errorf("%q gives %+v", s, g)
			}
		}
	})
}

func FuzzUsers(f *testing.F) {
	f.Add([]byte("alice:$2y$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy\n# x\nbob:$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA\n"))
	f.Add([]byte("bot:sha256:8ed3f6ad685b959ead7022518e1af76cd816f8e8ec7ccdda1ed4018e8f2223f8"))
	f.Fuzz(func(t *testing.T, data []byte) {
		users, err := parseUsers(data)
		if err != nil {
			return
		}
		for name, hash := range users {
			if name == "" || name == Everybody || strings.ContainsAny(name, "*:{ \n") || CheckHash(hash) != nil {
				t.Errorf("user %q", name)
			}
		}
	})
}

// Who is not a proxy that is believed is himself, whatever he says.
func FuzzForwarded(f *testing.F) {
	f.Add("192.0.2.1:1", "10.0.0.1, 203.0.113.7")
	f.Add("10.0.0.1:1", "203.0.113.7, 10.0.0.2")
	f.Add("[::ffff:10.0.0.1]:1", "::1,fe80::1%eth0,x")
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	g := NewGate(Options{Proxies: proxies})
	f.Fuzz(func(t *testing.T, remote, forwarded string) {
		r := &http.Request{RemoteAddr: remote, Header: http.Header{"X-Forwarded-For": {forwarded}}}
		at := remoteAddr(r)
		if got := g.client(r); got != at && !proxies[0].Contains(at) {
			t.Errorf("%s is %s", remote, got)
		}
	})
}
