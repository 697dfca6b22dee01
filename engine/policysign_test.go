package engine

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/policy"
	"github.com/camada/camada/sign/signtest"
)

// TestSignerWithoutIssuer has signers of whom it is not said by whose word they are who they are.
func TestSignerWithoutIssuer(t *testing.T) {
	w, dir := signtest.New(t), t.TempDir()
	for name, data := range map[string][]byte{"trusted_root.json": w.TrustedRoot(), "roots.pem": signtest.PEM(w.Authority, w.Root)} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	by := policy.Signer{Name: "release", Roots: filepath.Join(dir, "trusted_root.json"), Identity: "me@example.com"}
	if _, err := requirementsOf(t.Context(), by, ""); !errdefs.IsInvalid(err) {
		t.Errorf("a trusted root: %v", err)
	}
	file := filepath.Join(dir, "policy.yaml")
	if err := os.WriteFile(file, []byte("trust: {release: {roots: trusted_root.json, identity: me@example.com}, own: {roots: roots.pem, identity: me@example.com}, lost: {key: lost.pub}, far: {key: \"nosuchprogram://key\"}}\nrules: [{name: a, signed-by: [release, own]}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := ReadPolicy(file)
	if err != nil {
		t.Fatal(err)
	}
	if w := PolicyWarnings(t.Context(), p); len(w) != 2 || !errdefs.IsNotFound(w[0]) || !strings.HasPrefix(w[1].Error(), "trust.release: the signer release needs an issuer") {
		t.Errorf("warnings: %v", w)
	}
	by.Issuer = "https://issuer.example.com"
	if _, err := requirementsOf(t.Context(), by, ""); err != nil {
		t.Error(err)
	}
	by.Issuer, by.Roots = "", filepath.Join(dir, "roots.pem")
	if _, err := requirementsOf(t.Context(), by, ""); err != nil {
		t.Errorf("an authority of one's own: %v", err)
	}
}
