package engine

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/camada/camada/remote/remotetest"
	"github.com/camada/camada/secret"
)

// TestPushGuard pushes images with secrets: what the registry has is not read again, and nothing is sent that is refused.
func TestPushGuard(t *testing.T) {
	token := "gl" + "pat-Ab3dE9fGh1JkLm5nOpQr"
	reg := remotetest.Start(t)
	e := machine(t)
	dir := t.TempDir()
	file := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	make := func(tag, dockerfile string) string {
		ref := reg.Ref(tag).String()
		if _, err := e.Build(t.Context(), BuildOptions{ContextDir: dir, Dockerfile: []byte(dockerfile), Tags: []string{ref}, Secrets: SecretsPolicy{Mode: SecretsOff}}, nil); err != nil {
			t.Fatal(err)
		}
		return ref
	}
	file("notes", token)
	file("other", "nothing")
	block := PushOptions{Secrets: SecretsPolicy{Mode: SecretsBlock}}
	one := make("app:1", "FROM scratch\nCOPY notes /notes\n")
	_, err := e.Push(t.Context(), one, block, nil)
	if !errors.Is(err, secret.ErrFound) || !strings.Contains(err.Error(), "layer 1: gitlab-pat glpat-**** in /notes:1:1") || strings.Contains(err.Error(), token) {
		t.Fatalf("a push with a secret: %v", err)
	}
	if _, err := e.Pull(t.Context(), PullOptions{Image: one}, nil); err == nil {
		t.Error("the image is in the registry")
	}
	if _, err := e.Push(t.Context(), one, PushOptions{}, nil); err != nil {
		t.Fatal(err)
	}

	// Another image on the same layer, which nothing is remembered of any more: the registry has it.
	if err := os.RemoveAll(filepath.Join(e.root, "cache", "secrets")); err != nil {
		t.Fatal(err)
	}
	two := make("app:2", "FROM "+one+"\nCOPY other /other\n")
	if _, err := e.Push(t.Context(), two, block, nil); err != nil {
		t.Errorf("a push on top of what is there: %v", err)
	}
	three := make("app:3", "FROM scratch\nCOPY other /other\nENV TOKEN="+token+"\n")
	if _, err := e.Push(t.Context(), three, block, nil); !errors.Is(err, secret.ErrFound) || !strings.Contains(err.Error(), "env TOKEN") {
		t.Errorf("a push with a secret in the config: %v", err)
	}
	block.Secrets.Allow = []byte("rule:gitlab-pat,path:notes never for a test\n")
	four := make("app:4", "FROM scratch\nCOPY other notes /\n")
	if _, err := e.Push(t.Context(), four, block, nil); err != nil {
		t.Errorf("a push of what is allowed: %v", err)
	}
}
