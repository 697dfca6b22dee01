package remote_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/remote"
	"github.com/camada/camada/remote/remotetest"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// tokens is a token server: it knows one user, and gives him identity tokens, each of which is good once.
type tokens struct {
	t *testing.T
	// refresh is the identity token that is good now; "" gives none.
	refresh string
	asked   []string
}

func (s *tokens) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		s.t.Error(err)
	}
	user, password, _ := r.BasicAuth()
	answer := map[string]any{"token": "good"}
	switch {
	case r.Method == http.MethodPost && r.Form.Get("refresh_token") == s.refresh && s.refresh != "":
		s.refresh += "+"
		answer["refresh_token"] = s.refresh
	case r.Method == http.MethodGet && user == "me" && password == "secret":
		if r.Form.Get("offline_token") == "true" && r.Form.Get("client_id") != "" && s.refresh != "" {
			answer["refresh_token"] = s.refresh
		}
	default:
		http.Error(w, `{"details":"wrong"}`, http.StatusUnauthorized)
		return
	}
	s.asked = append(s.asked, r.Method+" "+r.Form.Get("scope"))
	_ = json.NewEncoder(w).Encode(answer)
}

// guarded starts a registry that wants a token of s.
func guarded(t *testing.T, s *tokens) *remotetest.Registry {
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	reg := remotetest.Start(t)
	reg.Before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") == "Bearer good" {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+server.URL+`/token",service="reg"`)
		remotetest.Fail(w, http.StatusUnauthorized, "UNAUTHORIZED")
		return true
	}
	return reg
}

func TestLogin(t *testing.T) {
	ctx := context.Background()
	s := &tokens{t: t}
	reg := guarded(t, s)
	me := remote.Credential{Username: "me", Password: "secret"}
	c := client(t, remote.Options{})
	if got, err := c.Login(ctx, reg.Address, me); err != nil || got != me {
		t.Errorf("by password: %+v, %v", got, err)
	}
	_, err := c.Login(ctx, reg.Address, remote.Credential{Username: "me", Password: "hunter2"})
	if !errdefs.IsPermission(err) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("with a wrong password: %v", err)
	}
	s.refresh = "id"
	got, err := c.Login(ctx, reg.Address, me)
	if want := (remote.Credential{Username: "me", IdentityToken: "id"}); err != nil || got != want {
		t.Errorf("where identity tokens are given: %+v, %v", got, err)
	}
	if got, err = c.Login(ctx, reg.Address, got); err != nil || got.IdentityToken != "id+" {
		t.Errorf("by identity token: %+v, %v", got, err)
	}
	// The next token is asked for with the identity token that came with the last one.
	repo := client(t, remote.Options{Credentials: given(got)}).Repository(reg.Ref("app"))
	for _, tag := range []string{"1", "2"} {
		if _, err := repo.Resolve(ctx, tag); !errdefs.IsNotFound(err) {
			t.Errorf("pull: %v", err)
		}
	}
	if err := repo.PutManifest(ctx, "1", ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString(`{}`), Size: 2}, []byte(`{}`)); err != nil {
		t.Errorf("push: %v", err)
	}
	if s.refresh != "id+++" {
		t.Errorf("the identity token is %s at the end", s.refresh)
	}
}

func TestLoginElsewhere(t *testing.T) {
	ctx := context.Background()
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	if _, err := client(t, remote.Options{}).Login(ctx, strings.TrimPrefix(s.URL, "http://"), remote.Credential{Username: "a", Password: "b"}); !errdefs.IsNotFound(err) {
		t.Errorf("no registry: %v", err)
	}
	reg := remotetest.Start(t)
	reg.Before = func(w http.ResponseWriter, r *http.Request) bool {
		if user, password, _ := r.BasicAuth(); user == "me" && password == "secret" {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="here"`)
		remotetest.Fail(w, http.StatusUnauthorized, "UNAUTHORIZED")
		return true
	}
	for password, ok := range map[string]bool{"secret": true, "wrong": false} {
		_, err := client(t, remote.Options{}).Login(ctx, reg.Address, remote.Credential{Username: "me", Password: password})
		if (err == nil) != ok || err != nil && !errdefs.IsPermission(err) {
			t.Errorf("%s: %v", password, err)
		}
	}
}
