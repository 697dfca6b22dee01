package engine

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/camada/camada/policy"
)

// TestMachinePolicyStays tries to do without the policy of the machine, by all that a user can say: a policy of his own that refuses nothing, that has rules of the same names,
// that is empty or the machine's itself, and places where there is none.
func TestMachinePolicyStays(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	machine := write("etc/policy.yaml", "rules: [{name: owned, labels: owner}]")
	same := write("same.yaml", "mode: warn\nrules: [{name: owned, labels: owner, exceptions: [{match: \"**\", reason: x, until: never}]}]")
	write("config/camada/policy.yaml", "mode: warn\nrules: [{name: owned, tag-not: latest}]")
	for name, cfg := range map[string]Config{
		"nothing":                         {},
		"a rule of the same name":         {Policy: same},
		"the machine's policy once more":  {Policy: machine},
		"a policy of the user's":          {Getenv: func(k string) string { return map[string]string{"XDG_CONFIG_HOME": filepath.Join(dir, "config")}[k] }},
		"a place where there is none":     {Getenv: func(k string) string { return map[string]string{"HOME": filepath.Join(dir, "none")}[k] }},
		"both, and none of them the same": {Policy: same, Getenv: func(string) string { return filepath.Join(dir, "config") }},
	} {
		cfg.Root, cfg.Driver, cfg.MachinePolicy = t.TempDir(), DriverNative, machine
		e, err := Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		_, err = e.Build(t.Context(), BuildOptions{ContextDir: t.TempDir(), Dockerfile: []byte("FROM scratch\nENV A=1\n"), Tags: []string{"app"}, SourceDateEpoch: "0"}, nil)
		if policy.Refused(err) == nil || !strings.Contains(err.Error(), "rule owned ("+machine+":1)") {
			t.Errorf("%s: %v", name, err)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
	if e, err := Open(t.Context(), Config{Root: t.TempDir(), Driver: DriverNative, MachinePolicy: machine, Policy: filepath.Join(dir, "nowhere.yaml")}); err != nil {
		t.Fatal(err)
	} else if _, err := e.policies(); err == nil {
		t.Error("a policy that is not there is none")
	}
}
