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

// Docker and some firewalls set the policy of iptables' FORWARD chain to drop. An
// accept in our own table does not overrule that, so two rules go in front of
// theirs: what comes from and goes to the bridge passes on. Our own forward chain
// still drops what was not published.

// lookAround asks, by one list of all chains, whether our own rules stand and
// whether somebody's FORWARD chain drops. It is asked at each Setup, because
// Docker may start later than the bridge, and a firewall may flush what stands.
func lookAround(c *nftables.Conn) (installed bool, dropping *nftables.Chain, err error) {
	chains, err := c.ListChainsOfTableFamily(nftables.TableFamilyIPv4)
	if err != nil {
		return false, nil, rulesError("list rules", err)
	}
	for _, chain := range chains {
		switch {
		case chain.Table.Name == tableName && chain.Name == "guard":
			installed = true
		case chain.Table.Name == "filter" && chain.Name == "FORWARD" && chain.Policy != nil && *chain.Policy == nftables.ChainPolicyDrop:
			dropping = chain
		}
	}
	return installed, dropping, nil
}

// admitForwarding adds the rules to a chain that stands in nftables, as
// iptables-nft makes it, unless they are there.
func admitForwarding(c *nftables.Conn, b bridge, chain *nftables.Chain) error {
	table := chain.Table
	rules, err := c.GetRules(table, chain)
	if err != nil {
		return rulesError("look for a firewall", err)
	}
	mark := userdata.AppendString(nil, userdata.TypeComment, "camada "+b.Name)
	for _, r := range rules {
		if bytes.Equal(r.UserData, mark) {
			return nil
		}
	}
	for _, key := range []expr.MetaKey{expr.MetaKeyIIFNAME, expr.MetaKeyOIFNAME} {
		exprs := append(name(key, expr.CmpOpEq, b.Name), &expr.Counter{}, &expr.Verdict{Kind: expr.VerdictAccept})
		c.InsertRule(&nftables.Rule{Table: table, Chain: chain, Exprs: exprs, UserData: mark})
	}
	return rulesError("pass the firewall's FORWARD chain", c.Flush())
}

// admitLegacy does the same by the program where the kernel has the older tables,
// which cannot be asked cheaply: once, when the rules are installed.
func admitLegacy(b bridge) error {
	tables, err := os.ReadFile("/proc/thread-self/net/ip_tables_names")
	if err != nil || !strings.Contains(string(tables), "filter") {
		return nil //nolint:nilerr // there are no such tables
	}
	program, err := exec.LookPath("iptables-legacy")
	if err != nil {
		return nil //nolint:nilerr // nobody here could have set its policy
	}
	for _, side := range []string{"-i", "-o"} {
		rule := []string{"FORWARD", side, b.Name, "-j", "ACCEPT"}
		//nolint:noctx // it waits 5 seconds for its lock at the most
		if exec.Command(program, append([]string{"-w", "5", "-C"}, rule...)...).Run() == nil {
			continue
		}
		//nolint:noctx // as above
		if out, err := exec.Command(program, append([]string{"-w", "5", "-I"}, rule...)...).CombinedOutput(); err != nil {
			return helperError("iptables-legacy", err, string(out))
		}
	}
	return nil
}
