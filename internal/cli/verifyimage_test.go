package cli

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/camada/camada/sign/signtest"
)

// TestVerifyUnknown asks registries that let nobody in: whether the image is signed, nobody knows.
func TestVerifyUnknown(t *testing.T) {
	roots := filepath.Join(t.TempDir(), "ca.pem")
	w := signtest.New(t)
	if err := os.WriteFile(roots, signtest.PEM(w.Authority, w.Root), 0o600); err != nil {
		t.Fatal(err)
	}
	for status, want := range map[int]int{http.StatusUnauthorized: codeUnknown, http.StatusForbidden: codeUnknown, http.StatusNotFound: codeFailed} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/v2/" {
				w.WriteHeader(status)
			}
		}))
		a, _, _ := newApp(t)
		cmd := a.command()
		cmd.SetArgs([]string{"verify", "--root", t.TempDir(), "--certificate-identity", "me@example.com", "--certificate-chain", roots, strings.TrimPrefix(s.URL, "http://") + "/team/app:1"})
		cmd.SetOut(&bytes.Buffer{})
		cmd.SetErr(&bytes.Buffer{})
		err := cmd.ExecuteContext(t.Context())
		s.Close()
		if err == nil {
			t.Errorf("%d: it is verified", status)
		} else if got := a.report(cmd, err); got != want {
			t.Errorf("%d: exit code %d, want %d: %v", status, got, want, err)
		}
	}
}
