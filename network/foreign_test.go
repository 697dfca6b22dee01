package network

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A firewall that drops what is forwarded, as Docker sets it up, before the
// bridge or after it, does not cut containers off, and stays readable.
func TestPassesFirewall(t *testing.T) {
	for _, program := range []string{"iptables-nft", "iptables-legacy"} {
		t.Run(program, func(t *testing.T) {
			if _, err := exec.LookPath(program); err != nil {
				t.Skip(err)
			}
			host(t)
			dir := filepath.Join(t.TempDir(), "network")
			outside(t)
			run := func(args ...string) string {
				t.Helper()
				out, err := exec.Command(program, args...).CombinedOutput()
				if err != nil {
					t.Skipf("%s does not work here: %v %s", program, err, out)
				}
				return string(out)
			}
			if program == "iptables-nft" {
				connect(t, dir, "early") // the bridge is there first
			}
			run("-P", "FORWARD", "DROP")
			a, _ := connect(t, dir, "a", "8080:80")
			connect(t, dir, "b")
			if got := a.ask("dial tcp 198.51.100.2:7000"); !strings.HasPrefix(got, "198.51.100.1:") {
				t.Errorf("to the outside: %s", got)
			}
			rules := run("-S", "FORWARD")
			if strings.Count(rules, "-i camada0") != 1 || strings.Count(rules, "-o camada0") != 1 {
				t.Errorf("rules:\n%s", rules)
			}
		})
	}
}
