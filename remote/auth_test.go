package remote_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image/imagetest"
	"github.com/camada/camada/remote"
	"github.com/camada/camada/remote/remotetest"
	"github.com/camada/camada/transfer"
)

type given remote.Credential

func (g given) Credential(context.Context, string) (remote.Credential, error) {
	return remote.Credential(g), nil
}

func TestBasic(t *testing.T) {
	ctx := context.Background()
	reg := remotetest.Start(t)
	reg.Before = func(w http.ResponseWriter, r *http.Request) bool {
		user, password, _ := r.BasicAuth()
		if user == "me" && password == "se:cret" {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="here"`)
		remotetest.Fail(w, http.StatusUnauthorized, "UNAUTHORIZED")
		return true
	}
	src := &imagetest.Memory{}
	desc := sample(t, src, 100)
	for password, works := range map[string]bool{"se:cret": true, "wrong-one": false, "": false} {
		cred := remote.Credential{Username: "me", Password: password}
		if password == "" {
			cred = remote.Credential{}
		}
		repo := client(t, remote.Options{Credentials: given(cred)}).Repository(reg.Ref("app"))
		err := transfer.Push(ctx, src, repo.Target("1", desc), desc, transfer.Options{})
		switch {
		case works && err != nil:
			t.Error(err)
		case !works && (!errdefs.IsPermission(err) || password != "" && strings.Contains(err.Error(), password)):
			t.Errorf("password %q: %v", password, err)
		}
	}
}

// TestToken pushes and pulls where tokens are needed: for each set of scopes another one, which end.
func TestToken(t *testing.T) {
	ctx := context.Background()
	reg := remotetest.Start(t)
	asked := map[string]int{}
	var how []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		user, password, _ := r.BasicAuth()
		how = append(how, r.Method+" "+user+password+r.Form.Get("refresh_token"))
		scopes := strings.Join(r.Form["scope"], " ")
		if r.Form.Get("service") != "my registry" {
			t.Errorf("service %q", r.Form.Get("service"))
		}
		asked[scopes]++
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": "for " + scopes, "expires_in": 300})
	}))
	defer server.Close()
	reg.Before = func(w http.ResponseWriter, r *http.Request) bool {
		need := "repository:app:pull"
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			need += ",push"
		}
		if strings.Contains(r.Header.Get("Authorization"), "Bearer for "+need) {
			return false
		}
		w.Header().Add("WWW-Authenticate", `Negotiate`)
		w.Header().Add("WWW-Authenticate", `Bearer realm="`+server.URL+`/token?x=1",service="my registry",scope="`+need+`"`)
		remotetest.Fail(w, http.StatusUnauthorized, "UNAUTHORIZED")
		return true
	}
	src := &imagetest.Memory{}
	desc := sample(t, src, 100)
	for name, tc := range map[string]struct {
		cred remote.Credential
		how  string
	}{
		"anonymous":      {remote.Credential{}, "GET "},
		"password":       {remote.Credential{Username: "me", Password: "pw"}, "GET mepw"},
		"identity token": {remote.Credential{IdentityToken: "id"}, "POST id"},
	} {
		how = nil
		clear(asked)
		repo := client(t, remote.Options{Credentials: given(tc.cred)}).Repository(reg.Ref("app"))
		if err := transfer.Push(ctx, src, repo.Target("1", desc), desc, transfer.Options{Concurrency: 1}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := transfer.Copy(ctx, repo, &imagetest.Memory{}, desc, transfer.Options{Concurrency: 1}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(how) == 0 || how[0] != tc.how {
			t.Errorf("%s: asked as %q, want %q", name, how, tc.how)
		}
		for scopes, n := range asked {
			if n != 1 {
				t.Errorf("%s: %d tokens for %q; one lasts", name, n, scopes)
			}
		}
	}
	how = nil
	repo := client(t, remote.Options{Credentials: given{RegistryToken: "for repository:app:pull"}}).Repository(reg.Ref("app"))
	if _, err := repo.Resolve(ctx, "1"); err != nil || len(how) > 0 {
		t.Errorf("with a registry token: %v; the token server was asked %q", err, how)
	}
}

// TestTokenRedirect: an identity token goes nowhere else, be it only another port.
func TestTokenRedirect(t *testing.T) {
	reg := remotetest.Start(t)
	var there int
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		there++
		if _, _, ok := r.BasicAuth(); ok || r.FormValue("refresh_token") != "" {
			t.Error("it was told to somebody else")
		}
		_, _ = w.Write([]byte(`{"token":"x"}`))
	}))
	defer elsewhere.Close()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL+"/token", http.StatusTemporaryRedirect)
	}))
	defer server.Close()
	reg.Before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") == "Bearer x" {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+server.URL+`/token"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
	_, err := client(t, remote.Options{Credentials: given{IdentityToken: "id"}}).Repository(reg.Ref("app")).Resolve(t.Context(), "1")
	if !errdefs.IsPermission(err) || there != 0 {
		t.Errorf("an identity token: %v; %d requests came there", err, there)
	}
	_, err = client(t, remote.Options{Credentials: given{Username: "me", Password: "pw"}}).Repository(reg.Ref("app")).Resolve(t.Context(), "1")
	if !errdefs.IsNotFound(err) || there == 0 {
		t.Errorf("a password, which stays behind: %v; %d requests came there", err, there)
	}
}

// TestTokenServerWithoutTLS must not give a password away.
func TestTokenServerWithoutTLS(t *testing.T) {
	reg := remotetest.New()
	reg.Before = func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("WWW-Authenticate", `Bearer realm="ftp://example.org/token"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
	s := httptest.NewServer(reg)
	defer s.Close()
	reg.Address = strings.TrimPrefix(s.URL, "http://")
	repo := client(t, remote.Options{}).Repository(reg.Ref("app"))
	if _, err := repo.Resolve(context.Background(), "1"); !errdefs.IsInvalid(err) {
		t.Errorf("%v", err)
	}
}
