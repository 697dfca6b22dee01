package network

import (
	"bytes"
	"os"
	"os/exec"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
)

// The host's firewall is obeyed. What it drops of what is forwarded stays dropped, as no rule of ours stands in its chains. What it drops of what
// comes in would be gone around, because a translated packet is forwarded: so where the host has rules at the input hook, published ports
// are not translated but served by sockets of the host, which those rules are for (package relay).
//
// There is one exception. Docker sets the policy of iptables' FORWARD
// chain to drop, for its own ends, and would cut off all other networks. So where Docker's chains stand, two rules go to the end of FORWARD: what
// comes from and goes to a bridge of ours passes on, unless a rule before them, such as one of the user in DOCKER-USER, dropped it.

// surroundings is what stands besides our own rules.
type surroundings struct {
	// installed says that our own stand.
	installed bool
	// docker is a FORWARD chain that drops because Docker set it up so.
	docker *nftables.Chain
	// filters says that the host has rules for what comes in.
	filters bool
}

// lookAround asks by one list of chains: of all families when ports are published, as only then what comes in matters. It is asked at each Setup, because
// Docker may start later than the bridge, and a firewall may flush what stands.
func lookAround(publishing bool) (surroundings, error) {
	var s surroundings
	c, err := nftables.New()
	if err != nil {
		return s, rulesError("list rules", err)
	}
	var list []*nftables.Chain
	if publishing {
		list, err = c.ListChains()
	} else {
		list, err = c.ListChainsOfTableFamily(nftables.TableFamilyIPv4)
	}
	if err != nil {
		return s, rulesError("list rules", err)
	}
	var dropping *nftables.Chain
	docker := false
	for _, chain := range list {
		four := chain.Table.Family == nftables.TableFamilyIPv4
		if publishing && !s.filters && filtersInput(c, chain) {
			s.filters = true
		}
		switch {
		case !four:
		case chain.Table.Name == tableName && chain.Name == "guard":
			s.installed = true
		case chain.Table.Name != "filter":
		case chain.Name == "FORWARD" && chain.Policy != nil && *chain.Policy == nftables.ChainPolicyDrop:
			dropping = chain
		case chain.Name == dockerChain:
			docker = true
		}
	}
	if docker {
		s.docker = dropping
	}
	s.filters = s.filters || publishing && legacyFiltersInput()
	return s, nil
}

// filtersInput tells whether a chain may drop what comes in: by its policy or by a rule.
func filtersInput(c *nftables.Conn, chain *nftables.Chain) bool {
	switch chain.Table.Family {
	case nftables.TableFamilyIPv4, nftables.TableFamilyIPv6, nftables.TableFamilyINet:
	default:
		return false
	}
	if chain.Type != nftables.ChainTypeFilter || chain.Hooknum == nil || *chain.Hooknum != *nftables.ChainHookInput {
		return false
	}
	if chain.Policy != nil && *chain.Policy == nftables.ChainPolicyDrop {
		return true
	}
	rules, err := c.GetRules(chain.Table, chain)
	return err != nil || len(rules) > 0
}

// legacyFiltersInput asks the same of the older tables.
func legacyFiltersInput() bool {
	program, ok := legacyProgram()
	if !ok {
		return false
	}
	//nolint:noctx // it waits 5 seconds for its lock at the most
	out, err := exec.Command(program, "-w", "5", "-S", "INPUT").Output()
	return err == nil && strings.TrimSpace(string(out)) != "-P INPUT ACCEPT"
}

// legacyProgram is the program for the kernel's older tables, where those are in use.
func legacyProgram() (string, bool) {
	tables, err := os.ReadFile("/proc/thread-self/net/ip_tables_names")
	if err != nil || !strings.Contains(string(tables), "filter") {
		return "", false // there are no such tables
	}
	program, err := exec.LookPath("iptables-legacy")
	return program, err == nil // without it nobody here could have made rules
}

// dockerChain stands wherever Docker handles iptables.
const dockerChain = "DOCKER-USER"

// admitForwarding adds the rules to a chain that stands in nftables, as
// iptables-nft makes it, unless they are there.
func admitForwarding(c *nftables.Conn, h held, chain *nftables.Chain) error {
	table := chain.Table
	rules, err := c.GetRules(table, chain)
	if err != nil {
		return rulesError("look for a firewall", err)
	}
	added := false
	for _, n := range h.Connections {
		if n.Kind != KindBridge || !n.wayOut() {
			continue
		}
		mark := userdata.AppendString(nil, userdata.TypeComment, "camada "+n.Parent)
		there := false
		for _, r := range rules {
			there = there || bytes.Equal(r.UserData, mark)
		}
		if there {
			continue
		}
		added = true
		for _, key := range []expr.MetaKey{expr.MetaKeyIIFNAME, expr.MetaKeyOIFNAME} {
			exprs := append(name(key, expr.CmpOpEq, n.Parent), &expr.Counter{}, &expr.Verdict{Kind: expr.VerdictAccept})
			c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: exprs, UserData: mark})
		}
	}
	if !added {
		return nil
	}
	return rulesError("pass Docker's FORWARD chain", c.Flush())
}

// admitLegacy does the same by the program where the kernel has the older tables,
// which cannot be asked cheaply: once, when the rules are installed.
func admitLegacy(bridges []bridge) error {
	program, ok := legacyProgram()
	if !ok {
		return nil
	}
	//nolint:noctx // it waits 5 seconds for its lock at the most
	if exec.Command(program, "-w", "5", "-n", "-L", dockerChain).Run() != nil {
		return nil //nolint:nilerr // there is no such chain: not Docker's doing
	}
	for _, b := range bridges {
		if b.Internal {
			continue
		}
		for _, side := range []string{"-i", "-o"} {
			rule := []string{"FORWARD", side, b.Name, "-j", "ACCEPT"}
			//nolint:noctx // as above
			if exec.Command(program, append([]string{"-w", "5", "-C"}, rule...)...).Run() == nil {
				continue
			}
			//nolint:noctx // as above
			if out, err := exec.Command(program, append([]string{"-w", "5", "-A"}, rule...)...).CombinedOutput(); err != nil {
				return helperError("iptables-legacy", err, string(out))
			}
		}
	}
	return nil
}
