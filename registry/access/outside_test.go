package access

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/errdefs"
)

// vouching believes tokens "theirs NAME".
type vouching struct {
	stamp   string
	expires time.Time
	down    bool
}

func (v *vouching) Claims(token string) bool { return strings.HasPrefix(token, "theirs ") }

func (v *vouching) Verify(_ context.Context, token string) (Outsider, error) {
	name, ok := strings.CutPrefix(token, "theirs ")
	switch {
	case v.down:
		return Outsider{}, errdefs.Unavailable("nobody answers")
	case !ok || name == "wrong":
		return Outsider{}, errdefs.Permission("it is wrong")
	}
	return Outsider{name, v.expires, v.stamp}, nil
}

func (v *vouching) Knows(stamp string) bool { return stamp == v.stamp }

func TestOutsiders(t *testing.T) {
	theirs := &vouching{"stamp", time.Now().Add(time.Minute), false}
	g := gateOf(t, Options{Issuer: issuerOf(t, "camada"), Outside: theirs, Rules: Rules{
		{Repositories: []string{"ci/**"}, Users: []string{"github:acme/*"}, Actions: Pull | Push},
		{Repositories: []string{"shared"}, Users: []string{Known}, Actions: Pull},
		{Repositories: []string{"team/**"}, Users: []string{"alice"}, Actions: Pull},
	}})
	const token = "theirs github:acme/app"
	enter := func(auth string) *Visitor {
		t.Helper()
		v, err := g.Enter(request(t, auth))
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	// As it is.
	if v := enter("Bearer " + token); v.Name() != "github:acme/app" || v.May("ci/x", Push) != Yes || v.May("shared", Pull) != Yes || v.May("team/a", Pull) != No || v.May("", Enter) != Yes || v.May("", Enter|List) != Yes {
		t.Error("with a token of somebody else")
	}
	// As a password.
	r := request(t, "")
	r.SetBasicAuth(OutsideUser, token)
	if v, err := g.Enter(r); err != nil || v.Name() != "github:acme/app" || v.May("ci/x", Push) != Yes {
		t.Errorf("with a token as a password: %v", err)
	}
	// Exchanged, for no longer than it is good itself, and for no refresh token.
	code, reply, _ := ask(t, g, "GET", "scope=repository:ci/x:pull,push,delete&offline_token=true", nil, OutsideUser, token)
	if code != 200 || reply.Refresh != "" || reply.Expires > 60 || reply.Scope != "repository:ci/x:pull,push" {
		t.Fatalf("%d, %+v", code, reply)
	}
	ours := "Bearer " + reply.Token
	if v := enter(ours); v.Name() != "github:acme/app" || v.May("ci/x", Push) != Yes || v.May("ci/y", Push) != Ask {
		t.Error("with a token of ours")
	}
	code, reply, _ = ask(t, g, "POST", "", url.Values{"grant_type": {"password"}, "username": {OutsideUser}, "password": {token}, "access_type": {"offline"}, "scope": {"repository:ci/x:pull"}}, "", "")
	if code != 200 || reply.Refresh != "" || reply.Scope != "repository:ci/x:pull" {
		t.Errorf("%d, %+v", code, reply)
	}
	// What is wrong, what cannot be found out, and what nobody vouches for any more.
	if code, _, _ := ask(t, g, "GET", "", nil, OutsideUser, "theirs wrong"); code != 401 {
		t.Errorf("a wrong token: %d", code)
	}
	if code, _, _ := ask(t, g, "GET", "", nil, "alice", token); code != 401 {
		t.Errorf("a token as the password of somebody: %d", code)
	}
	if _, err := g.Enter(request(t, "Bearer theirs wrong")); !errdefs.IsPermission(err) {
		t.Errorf("a wrong token: %v", err)
	}
	theirs.down = true
	if code, _, h := ask(t, g, "GET", "", nil, OutsideUser, token); code != http.StatusServiceUnavailable || h.Get("Retry-After") == "" {
		t.Errorf("nobody answers: %d", code)
	}
	if v := enter(ours); v.May("ci/x", Push) != Yes {
		t.Error("a token of ours asks nobody")
	}
	theirs.stamp = "another"
	if _, err := g.Enter(request(t, ours)); !errdefs.IsPermission(err) {
		t.Errorf("nobody vouches any more: %v", err)
	}
	// An outsider that has the name of a user is not he, and the other way round.
	theirs.down, theirs.stamp = false, "stamp"
	_, reply, _ = ask(t, g, "GET", "scope=repository:team/a:pull", nil, OutsideUser, "theirs nobody")
	theirs.stamp = "gone"
	if _, err := g.Enter(request(t, "Bearer "+reply.Token)); !errdefs.IsPermission(err) {
		t.Errorf("an outsider whom nobody vouches for: %v", err)
	}
	g.opts.Outside = nil
	if _, err := g.Enter(request(t, "Bearer "+reply.Token)); !errdefs.IsPermission(err) {
		t.Errorf("an outsider without issuers: %v", err)
	}
	if code, _, _ := ask(t, g, "GET", "", nil, OutsideUser, token); code != 401 {
		t.Errorf("without issuers: %d", code)
	}
}

// Without tokens of its own a registry takes those of others.
func TestOutsidersOnly(t *testing.T) {
	g := gateOf(t, Options{Outside: &vouching{stamp: "s"}})
	if v, err := g.Enter(request(t, "Bearer theirs alice")); err != nil || v.Name() != "alice" {
		t.Errorf("%v", err)
	}
	if _, err := g.Enter(request(t, "Bearer x")); !errdefs.IsPermission(err) {
		t.Errorf("%v", err)
	}
}
