package engine

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/policy"
	"github.com/camada/camada/sign/signtest"
)

// TestSignerWithoutIssuer has signers of whom it is not said by whose word they are who they are.
func TestSignerWithoutIssuer(t *testing.T) {
	e, w, dir := machine(t), signtest.New(t), t.TempDir()
	for name, data := range map[string][]byte{"trusted_root.json": w.TrustedRoot(), "roots.pem": signtest.PEM(w.Authority, w.Root)} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	by := policy.Signer{Name: "release", Roots: filepath.Join(dir, "trusted_root.json"), Identity: "me@example.com"}
	if _, err := e.requirementsOf(t.Context(), by, ""); !errdefs.IsInvalid(err) {
		t.Errorf("a trusted root: %v", err)
	}
	by.Issuer = "https://issuer.example.com"
	if _, err := e.requirementsOf(t.Context(), by, ""); err != nil {
		t.Error(err)
	}
	by.Issuer, by.Roots = "", filepath.Join(dir, "roots.pem")
	if _, err := e.requirementsOf(t.Context(), by, ""); err != nil {
		t.Errorf("an authority of one's own: %v", err)
	}
}
