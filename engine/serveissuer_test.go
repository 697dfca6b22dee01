package engine

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A workflow pushes with the token that its own issuer gave it, as Bearer and as docker login has it.
func TestServeIssuer(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	raw := base64.RawURLEncoding
	var issuer *httptest.Server
	issuer = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/keys" {
			fmt.Fprintf(w, `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"1","x":%q}]}`, raw.EncodeToString(public))
			return
		}
		fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, issuer.URL, issuer.URL+"/keys")
	}))
	defer issuer.Close()
	token := func(repository string) string {
		claims, err := json.Marshal(map[string]any{"iss": issuer.URL, "aud": "registry", "exp": time.Now().Unix() + 600, "repository": repository})
		if err != nil {
			t.Fatal(err)
		}
		text := raw.EncodeToString([]byte(`{"alg":"EdDSA","kid":"1"}`)) + "." + raw.EncodeToString(claims)
		return text + "." + raw.EncodeToString(ed25519.Sign(private, []byte(text)))
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "c.yaml")
	if err := os.WriteFile(file, []byte(`
data: data
issuers:
  - {name: ci, url: "`+issuer.URL+`", audience: registry, match: {repository: acme/*}, user: "{repository}"}
rules:
  - {repositories: "app/**", users: "ci:acme/app", actions: [pull, push]}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	s, _ := serving(t, ServeOptions{ConfigFile: file})
	client := &http.Client{}
	defer client.CloseIdleConnections()
	push := func(repository, auth string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/v2/"+repository+"/blobs/uploads/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", auth)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	for _, tc := range []struct {
		repository, auth string
		status           int
	}{
		{"app/x", "Bearer " + token("acme/app"), 202}, {"other", "Bearer " + token("acme/app"), 403}, {"app/x", "Bearer " + token("acme/lib"), 403}, {"app/x", "Bearer " + token("evil/app"), 401},
		{"app/x", "Bearer x", 401}, {"app/x", "Basic " + base64.StdEncoding.EncodeToString([]byte("oidc:"+token("acme/app"))), 202},
	} {
		if status := push(tc.repository, tc.auth); status != tc.status {
			t.Errorf("%s: %d, want %d", tc.repository, status, tc.status)
		}
	}
	status, body, _ := get(t, client, "GET", s.URL+"/token?scope=repository:app/x:push", "oidc:"+token("acme/app"))
	var reply struct{ Token string }
	if err := json.Unmarshal([]byte(body), &reply); err != nil || status != 200 {
		t.Fatalf("token: %d %s", status, body)
	}
	if status := push("app/x", "Bearer "+reply.Token); status != 202 {
		t.Errorf("with a token of the registry: %d", status)
	}
	if err := CheckServe(Config{}, ServeOptions{ConfigFile: file}); err != nil {
		t.Errorf("the configuration: %v", err)
	}
}
