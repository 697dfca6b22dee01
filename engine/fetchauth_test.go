package engine

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/sshagent"
)

func TestFetchCredentials(t *testing.T) {
	s, err := newSecrets([]BuildSecret{
		{ID: "HTTP_AUTH_TOKEN_a.example.com", Value: []byte("t0ken\n")}, {ID: "HTTP_AUTH_HEADER_b.example.com", Value: []byte("Basic eDp5")},
		{ID: "HTTP_AUTH_HEADER_c.example.com", Value: []byte("a\nb")},
	})
	if err != nil {
		t.Fatal(err)
	}
	c := &credentials{secrets: s}
	for host, want := range map[string]string{"a.example.com": "Bearer t0ken", "b.example.com": "Basic eDp5", "example.com": ""} {
		if got, err := c.authorization(t.Context(), host); err != nil || got != want {
			t.Errorf("%s: %q, %v", host, got, err)
		}
	}
	if _, err := c.authorization(t.Context(), "c.example.com"); !errdefs.IsInvalid(err) || strings.Contains(err.Error(), "a\n") {
		t.Errorf("two lines: %v", err)
	}
}

func TestAgentForFetches(t *testing.T) {
	e, err := Open(t.Context(), Config{Root: t.TempDir(), Getenv: func(k string) string { return map[string]string{"SSH_AUTH_SOCK": "/users"}[k] }})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for name, c := range map[string]*credentials{
		"/users": {},
		"/given": {agents: agents{"default": {socket: "/given"}}},
		"":       {agents: agents{"default": {keys: sshagent.Keys{}}}},
	} {
		f := newFetcher(e, c)
		got, err := f.agentSocket(t.Context())
		if err != nil || name != "" && got != name {
			t.Errorf("%q: %q, %v", name, got, err)
		}
		if name == "" {
			again, _ := f.agentSocket(t.Context())
			conn, err := net.Dial("unix", got)
			if err != nil || again != got {
				t.Errorf("the keys are not served at %s, %s: %v", got, again, err)
			} else {
				conn.Close()
			}
		}
		f.close()
		if left, _ := os.ReadDir(filepath.Join(e.root, "tmp")); len(left) != 0 {
			t.Errorf("%q: %v is left", name, left)
		}
	}
}
