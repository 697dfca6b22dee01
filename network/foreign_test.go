package network

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// iptables runs a program in the test's network namespace, and skips where it does not work.
func iptables(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, err := exec.Command(program, args...).CombinedOutput()
	if err != nil {
		t.Skipf("%s does not work here: %v %s", program, err, out)
	}
	return string(out)
}

// A FORWARD chain that Docker lets drop, before the bridge is made or after it, does not cut containers off, and what the user drops in it
// stays dropped.
func TestPassesDocker(t *testing.T) {
	for _, program := range []string{"iptables-nft", "iptables-legacy"} {
		t.Run(program, func(t *testing.T) {
			if _, err := exec.LookPath(program); err != nil {
				t.Skip(err)
			}
			host(t)
			dir := filepath.Join(t.TempDir(), "network")
			world := outside(t)
			if program == "iptables-nft" {
				connect(t, dir, "early") // the bridge is there first
			}
			iptables(t, program, "-P", "FORWARD", "DROP")
			iptables(t, program, "-N", "DOCKER-USER")
			iptables(t, program, "-A", "FORWARD", "-j", "DOCKER-USER")
			a, _ := connect(t, dir, "a", "8080:80")
			connect(t, dir, "b")
			if got := a.ask("dial tcp 198.51.100.2:7000"); !strings.HasPrefix(got, "198.51.100.1:") {
				t.Errorf("to the outside: %s", got)
			}
			rules := iptables(t, program, "-S", "FORWARD")
			if strings.Count(rules, "-i camada0") != 1 || strings.Count(rules, "-o camada0") != 1 {
				t.Errorf("rules:\n%s", rules)
			}
			a.must("listen tcp 80")
			if got := world.ask("dial tcp 198.51.100.1:8080"); !strings.HasPrefix(got, "198.51.100.2:") {
				t.Errorf("published port: %s", got)
			}
			iptables(t, program, "-A", "DOCKER-USER", "-s", "198.51.100.2", "-j", "DROP")
			if got := world.ask("dial tcp 198.51.100.1:8080"); !strings.HasPrefix(got, "error") {
				t.Errorf("what the user drops in DOCKER-USER passes: %s", got)
			}
		})
	}
}

// Whatever the host drops by rules of its own stays dropped, wherever they stand, and no rule is put among them.
func TestObeysFirewall(t *testing.T) {
	for _, c := range []struct{ name, rules string }{
		{"policy", "table inet own { chain f { type filter hook forward priority 0; policy drop; } }"},
		{"later", "table inet own { chain f { type filter hook forward priority 100; policy accept; iifname out0 drop; } }"},
		{"earlier", "table ip own { chain f { type filter hook forward priority -300; policy accept; meta l4proto tcp ct original proto-dst 8080 drop; } }"},
		{"before the translation", "table ip own { chain p { type filter hook prerouting priority -200; policy accept; iifname out0 tcp dport 8080 drop; } }"},
		{"iptables", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			host(t)
			dir := filepath.Join(t.TempDir(), "network")
			world := outside(t)
			a, _ := connect(t, dir, "a", "8080:80")
			a.must("listen tcp 80")
			if got := world.ask("dial tcp 198.51.100.1:8080"); !strings.HasPrefix(got, "198.51.100.2:") {
				t.Fatalf("without a firewall: %s", got)
			}
			before := ""
			if c.rules == "" {
				if _, err := exec.LookPath("iptables-nft"); err != nil {
					t.Skip(err)
				}
				iptables(t, "iptables-nft", "-P", "FORWARD", "DROP")
				before = iptables(t, "iptables-nft", "-S")
			} else if out, err := exec.Command("nft", strings.ReplaceAll(c.rules, "} }", "}\n}")).CombinedOutput(); err != nil {
				t.Skipf("nft does not work here: %v %s", err, out)
			}
			connect(t, dir, "late", "8081:80") // whatever is done at a start is done now
			if got := world.ask("dial tcp 198.51.100.1:8080"); !strings.HasPrefix(got, "error") {
				t.Errorf("what the host's firewall drops is answered: %s", got)
			}
			if c.rules == "" && iptables(t, "iptables-nft", "-S") != before {
				t.Errorf("the firewall was changed:\n%s", iptables(t, "iptables-nft", "-S"))
			}
		})
	}
}

// Where the host has rules for what comes in, published ports are not translated: the caller is told to serve them, and what those rules
// drop does not get to it.
func TestObeysInputRules(t *testing.T) {
	for _, c := range []struct {
		name, rules string
		relayed     bool
	}{
		{"none", "", false},
		{"empty chain", "table inet own { chain i { type filter hook input priority 0; policy accept; } }", false},
		{"policy", "table inet own { chain i { type filter hook input priority 0; policy drop; iifname != out0 accept; } }", true},
		{"rule", "table ip own { chain i { type filter hook input priority 0; policy accept; iifname out0 tcp dport 8080 drop; } }", true},
		{"iptables-nft", "iptables-nft", true},
		{"iptables-legacy", "iptables-legacy", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			host(t)
			dir := filepath.Join(t.TempDir(), "network")
			world := outside(t)
			switch {
			case strings.HasPrefix(c.rules, "iptables"):
				if _, err := exec.LookPath(c.rules); err != nil {
					t.Skip(err)
				}
				iptables(t, c.rules, "-A", "INPUT", "-i", "out0", "-p", "tcp", "--dport", "8080", "-j", "DROP")
			case c.rules != "":
				if out, err := exec.Command("nft", strings.ReplaceAll(c.rules, "} }", "}\n}")).CombinedOutput(); err != nil {
					t.Skipf("nft does not work here: %v %s", err, out)
				}
			}
			// The keeper is a process of its own: all its threads are in the network namespace.
			keeper, a := start(t, "keeper", 0), start(t, "a", unix.CLONE_NEWNET)
			a.must("listen tcp 80")
			if got := keeper.ask(fmt.Sprintf("keep %s %d 8080:80", dir, a.pid())); got != fmt.Sprint("relayed ", c.relayed) {
				t.Fatalf("keeper: %s, want %v", got, c.relayed)
			}
			if !c.relayed {
				expect(t, "translated", world, "dial tcp 198.51.100.1:8080", "198.51.100.2:")
				return
			}
			expect(t, "dropped by the host", world, "dial tcp 198.51.100.1:8080", "error")
			expect(t, "let in by the host", start(t, "local", 0), "dial tcp 127.0.0.1:8080", "172.30.0.1:")
		})
	}
}
