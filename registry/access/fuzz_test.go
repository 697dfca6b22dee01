package access

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/errdefs"
)

// fuzzGate has a robot "bot" with the password "three", who may push to "mine", and everybody who may pull "public".
func fuzzGate(f *testing.F) (g *Gate, access, refresh string) {
	f.Helper()
	users, err := OpenUsers("", []Robot{{Name: "bot", Hash: shaOf("three")}})
	if err != nil {
		f.Fatal(err)
	}
	issuer, err := OpenIssuer(filepath.Join(f.TempDir(), "key"), "reg.test")
	if err != nil {
		f.Fatal(err)
	}
	g = NewGate(Options{Users: users, Issuer: issuer, Rules: Rules{
		{Repositories: []string{"mine"}, Users: []string{"bot"}, Actions: Pull | Push},
		{Repositories: []string{"public"}, Users: []string{Everybody}, Actions: Pull},
	}})
	for use, to := range map[string]*string{useAccess: &access, useRefresh: &refresh} {
		c := claims{Subject: "bot", Use: use, Access: []grant{{"repository", "mine", []string{"pull"}}}}
		if use == useRefresh {
			c = claims{Subject: "bot", Use: use, Stamp: users.stamp("bot")}
		}
		if *to, err = issuer.sign(c, time.Hour); err != nil {
			f.Fatal(err)
		}
	}
	return g, access, refresh
}

// FuzzAuthorization shows anything: it lets nobody in who shows neither the password nor the token, and neither as more than it is.
func FuzzAuthorization(f *testing.F) {
	g, token, refresh := fuzzGate(f)
	const password = "Basic Ym90OnRocmVl"
	for _, s := range []string{"Bearer " + token, "bearer  " + token + " ", "Bearer " + refresh, password, "basic Ym90OnRocmVl", "Basic Ym90OnR3bw==", "Basic " + token, "Bearer e30.e30.e30", "Bearer", "Digest x", "Basic OnRocmVl"} {
		f.Add(s, "192.0.2.1:1")
	}
	f.Fuzz(func(t *testing.T, authorization, remote string) {
		r := &http.Request{Method: http.MethodGet, Host: "reg.test", RemoteAddr: remote, Header: http.Header{"Authorization": {authorization}}, URL: &url.URL{Path: "/v2/"}}
		v, err := g.Enter(r.WithContext(t.Context()))
		if challenge := g.Challenge(r.WithContext(t.Context()), "mine", Push); strings.ContainsAny(challenge, "\r\n") || !strings.HasPrefix(challenge, `Bearer realm="http://reg.test/token",service="reg.test",scope="repository:mine:pull,push"`) {
			t.Errorf("challenge %q", challenge)
		}
		if err != nil {
			if !errdefs.IsPermission(err) && !errdefs.IsLimit(err) || strings.Contains(err.Error(), "three") {
				t.Errorf("%q: %v", authorization, err)
			}
			return
		}
		if v.May("secret", Pull) == Yes || v.May("mine", Delete) == Yes || v.May("", Admin) == Yes || v.May("public", Push) == Yes || v.May("secret", Enter) == Yes && authorization == "" {
			t.Errorf("%q may do what nobody may", authorization)
		}
		shown := strings.Contains(authorization, token) || len(authorization) > 6 && strings.HasPrefix(authorization[6:], password[6:])
		if (v.Name() != "" || v.May("mine", Pull) == Yes) && !shown {
			t.Errorf("%q lets in %q", authorization, v.Name())
		}
		if strings.Contains(authorization, token) && v.May("mine", Push) == Yes {
			t.Errorf("%q may do more than its token", authorization)
		}
	})
}

// FuzzTokenRequest asks for tokens in any form. Whoever asks without the password or the refresh token is nobody in particular.
func FuzzTokenRequest(f *testing.F) {
	g, token, refresh := fuzzGate(f)
	f.Add("GET", "service=reg.test&scope=repository:mine:pull,push&scope=repository:public:pull", "", "Basic Ym90OnRocmVl")
	f.Add("GET", "scope=repository:mine:*&offline_token=true&account=bot", "", "")
	f.Add("POST", "", "grant_type=refresh_token&scope=repository%3Amine%3Apull&refresh_token="+refresh, "")
	f.Add("POST", "", "grant_type=refresh_token&scope=repository%3Amine%3Apull&refresh_token="+token, "")
	f.Add("POST", "grant_type=password&username=bot", "grant_type=password&username=bot&password=two&access_type=offline", "")
	f.Add("POST", "service=other", "%zz;&=", "Bearer "+token)
	f.Add("PUT", "", strings.Repeat("a", maxForm+1), "")
	f.Fuzz(func(t *testing.T, method, query, form, authorization string) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://reg.test/token", strings.NewReader(form))
		r.Method, r.URL.RawQuery = method, query
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if authorization != "" {
			r.Header["Authorization"] = []string{authorization}
		}
		w := httptest.NewRecorder()
		g.ServeHTTP(w, r)
		if w.Code >= 500 || w.Header().Get("Cache-Control") != "no-store" || !json.Valid(w.Body.Bytes()) {
			t.Errorf("%d %q", w.Code, w.Body)
		}
		if w.Code != http.StatusOK {
			return
		}
		var reply tokenReply
		if err := json.Unmarshal(w.Body.Bytes(), &reply); err != nil {
			t.Fatal(err)
		}
		v, err := g.Enter(request(t, "Bearer "+reply.Token))
		if err != nil {
			t.Fatalf("a token that is good for nothing: %v", err)
		}
		known := strings.Contains(form, "three") || strings.Contains(form, refresh) || strings.Contains(authorization, "Ym90OnRocmVl")
		if v.May("secret", Pull) == Yes || v.May("mine", Delete) == Yes || v.May("", Admin) == Yes || !known && (v.Name() != "" || v.May("mine", Pull) == Yes || reply.Refresh != "") {
			t.Errorf("%s %q %q: %q may do more than it should", method, query, form, v.Name())
		}
		for _, scope := range strings.Fields(reply.Scope) {
			if !slices.Contains([]string{"repository:mine:pull", "repository:mine:push", "repository:mine:pull,push", "repository:public:pull", "registry:catalog:*"}, scope) {
				t.Errorf("scope %q", scope)
			}
		}
	})
}
