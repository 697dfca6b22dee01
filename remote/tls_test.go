package remote_test

import (
	"context"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/reference"
	"github.com/camada/camada/remote"
	"github.com/camada/camada/remote/remotetest"
)

// TestCertificates resolves example.com, which is led to a server of the test whose certificate is for that name.
func TestCertificates(t *testing.T) {
	reg := remotetest.New()
	s := httptest.NewTLSServer(reg)
	defer s.Close()
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { tunnel(t, w, s.Listener.Addr().String()) }))
	defer proxy.Close()
	t.Setenv("HTTPS_PROXY", proxy.URL)
	ctx := context.Background()
	dir := t.TempDir()
	ref, err := reference.Parse("example.com/app:1")
	if err != nil {
		t.Fatal(err)
	}
	_, err = client(t, remote.Options{CertDirs: []string{dir}, Tries: 1}).Repository(ref).Resolve(ctx, "1")
	if err == nil || errdefs.IsNotFound(err) || !strings.Contains(err.Error(), "certificate") {
		t.Skipf("the environment has another proxy: %v", err)
	}
	host := filepath.Join(dir, "example.com")
	if err := os.Mkdir(host, 0o755); err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(filepath.Join(host, "ca.crt"), cert, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = client(t, remote.Options{CertDirs: []string{dir}}).Repository(ref).Resolve(ctx, "1")
	if !errdefs.IsNotFound(err) {
		t.Errorf("with the authority: %v", err)
	}
	_, err = client(t, remote.Options{Insecure: []string{"example.com"}}).Repository(ref).Resolve(ctx, "1")
	if !errdefs.IsNotFound(err) {
		t.Errorf("insecure: %v", err)
	}
	if err := os.WriteFile(filepath.Join(host, "ca.crt"), []byte("no certificate"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = client(t, remote.Options{CertDirs: []string{dir}}).Repository(ref).Resolve(ctx, "1")
	if !errdefs.IsInvalid(err) {
		t.Errorf("a broken authority: %v", err)
	}
}
