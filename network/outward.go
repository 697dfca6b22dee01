package network

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"github.com/camada/camada/errdefs"
	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// How packets for the outside get from the router to the keepers. Routes lead what leaves an address to the tun of its keeper; there it sees what begins
// something, a SYN or an echo request, and can answer as the other end does: only when that has taken the connection the keeper gives the SYN back,
// and the router's own stack goes on with it. `table ip camada-out`, and ip6 likewise:
//
//	map keepers { container address : port of its keeper's sockets }
//	chain prerouting (filter, mangle) { fib daddr oifname != "camtun*" accept
//	                                    iifname != "camtun*" meta l4proto tcp fib saddr . iif oif 0 drop, and udp the same
//	                                    iifname != "camtun*" tcp flags & (fin|syn|rst|ack) == syn accept
//	                                    meta l4proto tcp tproxy to 127.0.0.1:(ip saddr map @keepers) meta mark set 1 accept
//	                                    meta l4proto tcp drop, and udp the same two }
//
// and the routes:
//
//	rule 100:   fwmark 1 lookup 100          table 100: local default dev lo
//	rule 40000: from ADDRESS lookup 1000+N   table 1000+N: default dev camtunN; N is the interface's index
//
// The second rule is for who lies about his address, as from an internal network. The routes stand
// behind the main table, which has the bridges alone: so other networks stay out of reach.

const (
	outwardTable = "camada-out"
	tunPrefix    = "camtun"

	markTPROXY   = 1
	tableSelf    = 100
	ruleSelf     = 100
	ruleOutward  = 40000
	tablesOfTuns = 1000
)

// Attributes of linux/fib_rules.h.
const (
	fraSrc      = 2
	fraPriority = 6
	fraMark     = 10
	fraTable    = 15
	actToTable  = 1 // FR_ACT_TO_TBL
)

// newRule is a rule of policy routing: what comes from an address, or has a mark.
func newRule(kind uint16, family byte, src netip.Addr, mark, table, priority uint32) *request {
	bits := byte(0)
	if src.IsValid() {
		bits = byte(src.BitLen())
	}
	r := &request{kind: kind, body: []byte{family, 0, bits, 0, unix.RT_TABLE_UNSPEC, 0, 0, actToTable, 0, 0, 0, 0}, what: "change the rules of routing"}
	if kind == unix.RTM_NEWRULE {
		r.flags = unix.NLM_F_CREATE | unix.NLM_F_EXCL
	}
	if src.IsValid() {
		r.attr(fraSrc, src.AsSlice())
	}
	if mark != 0 {
		r.number(fraMark, mark)
	}
	if table != 0 {
		r.number(fraTable, table)
	}
	return r.number(fraPriority, priority)
}

// newRoute leads all of a table to an interface; local is to the stack itself.
func newRoute(family byte, table uint32, index int, local bool) *request {
	scope, kind := byte(unix.RT_SCOPE_UNIVERSE), byte(unix.RTN_UNICAST)
	if family == unix.AF_INET {
		scope = unix.RT_SCOPE_LINK
	}
	if local {
		scope, kind = unix.RT_SCOPE_HOST, unix.RTN_LOCAL
	}
	r := &request{
		kind: unix.RTM_NEWROUTE, flags: unix.NLM_F_CREATE | unix.NLM_F_REPLACE, what: "set a route",
		body: []byte{family, 0, 0, 0, unix.RT_TABLE_UNSPEC, unix.RTPROT_BOOT, scope, kind, 0, 0, 0, 0},
	}
	const rtaTable = 15 // RTA_TABLE
	return r.number(rtaTable, table).number(unix.RTA_OIF, uint32(index))
}

// toSelf takes what TPROXY marked for the stack's own, wherever it is addressed to.
func toSelf(family byte) []*request {
	const lo = 1
	return []*request{newRule(unix.RTM_NEWRULE, family, netip.Addr{}, markTPROXY, tableSelf, ruleSelf), newRoute(family, tableSelf, lo, true)}
}

// outwardSet is the map of a family.
func outwardSet(six bool) (*nftables.Table, *nftables.Set) {
	table := &nftables.Table{Family: nftables.TableFamilyIPv4, Name: outwardTable}
	key := nftables.TypeIPAddr
	if six {
		table.Family, key = nftables.TableFamilyIPv6, nftables.TypeIP6Addr
	}
	return table, &nftables.Set{Table: table, Name: "keepers", IsMap: true, KeyType: key, DataType: nftables.TypeInetService, ID: 1}
}

// installOutward makes the tables.
func installOutward() error {
	for _, six := range []bool{false, true} {
		c, err := nftables.New()
		if err != nil {
			return rulesError("lead packets to the outside", err)
		}
		table, keepers := outwardSet(six)
		c.AddTable(table)
		if err := c.AddSet(keepers, nil); err != nil {
			return rulesError("lead packets to the outside", err)
		}
		w := &chains{c: c, family: familyOf(six)}
		w.table = table
		w.outward(keepers)
		err = c.Flush()
		switch {
		case err == nil, six && (errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP)):
		case errors.Is(err, unix.ENOENT):
			return errdefs.Unsupported("networks without root: this kernel lacks one of nft_tproxy and nft_fib; as root load the modules: %w", err)
		default:
			return rulesError("lead packets to the outside", err)
		}
	}
	return nil
}

func (w *chains) outward(keepers *nftables.Set) {
	const fin, syn, rst, ack, flagsAt = 1, 2, 4, 16, 13
	chain := w.base("prerouting", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, nftables.ChainPriorityMangle)
	accept, drop := verdict(expr.VerdictAccept), verdict(expr.VerdictDrop)
	protocol := func(p byte) []expr.Any {
		return []expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg}, &expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: []byte{p}}}
	}
	notTun := &expr.Cmp{Op: expr.CmpOpNeq, Register: reg, Data: []byte(tunPrefix)}
	w.rule(chain, []expr.Any{&expr.Fib{Register: reg, FlagDADDR: true, ResultOIFNAME: true}, notTun}, accept)
	fromBridge := []expr.Any{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: reg}, notTun}
	for _, p := range []byte{unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
		w.rule(chain, fromBridge, protocol(p), []expr.Any{
			&expr.Fib{Register: reg, FlagSADDR: true, FlagIIF: true, ResultOIF: true},
			&expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: make([]byte, 4)},
		}, drop)
	}
	w.rule(chain, fromBridge, protocol(unix.IPPROTO_TCP), []expr.Any{
		&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: flagsAt, Len: 1},
		&expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: 1, Mask: []byte{fin | syn | rst | ack}, Xor: []byte{0}},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: []byte{syn}},
	}, accept)
	self, family := netip.AddrFrom4([4]byte{127, 0, 0, 1}), byte(unix.NFPROTO_IPV4)
	if w.six {
		self, family = netip.IPv6Loopback(), unix.NFPROTO_IPV6
	}
	for _, p := range []byte{unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
		next := uint32(reg32 + 4) // behind an address of either family
		w.rule(chain, protocol(p), []expr.Any{
			&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseNetworkHeader, Offset: w.source, Len: w.length},
			&expr.Lookup{SourceRegister: reg, DestRegister: next, IsDestRegSet: true, SetName: keepers.Name, SetID: keepers.ID},
			&expr.Immediate{Register: reg, Data: self.AsSlice()},
			&expr.TProxy{Family: family, TableFamily: family, RegAddr: reg, RegPort: next},
			&expr.Immediate{Register: reg, Data: binaryutil.NativeEndian.PutUint32(markTPROXY)},
			&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: reg},
		}, accept)
		w.rule(chain, protocol(p), drop)
	}
}

// lead opens the way to the outside for the addresses of a connection. It runs in the router.
func (h held) lead(c *rtnl, n Connection) error {
	if err := h.unlead(c, n); err != nil { // what a dead one left
		return err
	}
	for _, a := range h.outward(n) {
		family, six := byte(unix.AF_INET), a.Is6()
		if six {
			family = unix.AF_INET6
		}
		table := uint32(tablesOfTuns + h.Out.Tun)
		if err := c.do(newRoute(family, table, h.Out.Tun, false), newRule(unix.RTM_NEWRULE, family, a, 0, table, ruleOutward)); err != nil {
			return err
		}
		if err := changeKeeper(a, h.Out.Port, (*nftables.Conn).SetAddElements); err != nil {
			return rulesError("lead packets to the outside", err)
		}
	}
	return nil
}

// unlead closes the way.
func (h held) unlead(c *rtnl, n Connection) error {
	for _, a := range h.outward(n) {
		family := byte(unix.AF_INET)
		if a.Is6() {
			family = unix.AF_INET6
		}
		for range 8 { // a few could be left of the dead
			if err := c.do(newRule(unix.RTM_DELRULE, family, a, 0, 0, ruleOutward)); errors.Is(err, unix.ENOENT) {
				break
			} else if err != nil {
				return err
			}
		}
		if err := changeKeeper(a, h.Out.Port, (*nftables.Conn).SetDeleteElements); err != nil && !errors.Is(err, unix.ENOENT) {
			return rulesError("close a way to the outside", err)
		}
	}
	return nil
}

// outward are the addresses that may reach the outside.
func (h held) outward(n Connection) []netip.Addr {
	if !n.wayOut() || n.Kind != KindBridge {
		return nil
	}
	addrs := []netip.Addr{n.Address.Addr()}
	if n.Address6.IsValid() && h.Out.Six {
		addrs = append(addrs, n.Address6.Addr())
	}
	return addrs
}

func changeKeeper(a netip.Addr, port uint16, change func(*nftables.Conn, *nftables.Set, []nftables.SetElement) error) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	_, keepers := outwardSet(a.Is6())
	if err := change(c, keepers, []nftables.SetElement{{Key: a.AsSlice(), Val: binary.BigEndian.AppendUint16(nil, port)}}); err != nil {
		return err
	}
	return c.Flush()
}
