package network

import (
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// chains writes the chains of one family; rules.go says what they are.
type chains struct {
	c *nftables.Conn
	family
}

func (w *chains) base(name string, kind nftables.ChainType, hook *nftables.ChainHook, priority *nftables.ChainPriority) *nftables.Chain {
	accept := nftables.ChainPolicyAccept
	return w.c.AddChain(&nftables.Chain{Table: w.table, Name: name, Type: kind, Hooknum: hook, Priority: priority, Policy: &accept})
}

func (w *chains) rule(chain *nftables.Chain, parts ...[]expr.Any) {
	var all []expr.Any
	for _, p := range parts {
		all = append(all, p...)
	}
	w.c.AddRule(&nftables.Rule{Table: w.table, Chain: chain, Exprs: all})
}

func one(e expr.Any) []expr.Any { return []expr.Any{e} }

func verdict(v expr.VerdictKind) []expr.Any { return one(&expr.Verdict{Kind: v}) }

func (w *chains) add(bridges []bridge) {
	publish := w.c.AddChain(&nftables.Chain{Table: w.table, Name: "publish"})
	if w.six { // from there no packet is led to elsewhere
		self := netip.IPv6Loopback()
		w.rule(publish, w.within(netip.PrefixFrom(self, self.BitLen()), w.destination), verdict(expr.VerdictReturn))
	}
	w.rule(publish, w.translate(w.ports, true))
	w.rule(publish, w.translate(w.anyport, false))
	jump := one(&expr.Verdict{Kind: expr.VerdictJump, Chain: publish.Name})
	w.rule(w.base("prerouting", nftables.ChainTypeNAT, nftables.ChainHookPrerouting, nftables.ChainPriorityNATDest), local(), jump)
	w.rule(w.base("output", nftables.ChainTypeNAT, nftables.ChainHookOutput, nftables.ChainPriorityNATDest), local(), jump)

	w.postrouting(bridges)
	w.forward(bridges)
	guard := w.base("guard", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, nftables.ChainPriorityRaw)
	for _, b := range bridges {
		if !w.six {
			w.rule(guard, in(b), w.within(loopback(), w.destination), verdict(expr.VerdictDrop))
		}
	}
}

func (w *chains) postrouting(bridges []bridge) {
	masquerade := one(&expr.Masq{})
	post := w.base("postrouting", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource)
	for _, b := range bridges {
		subnet := b.Pool.Subnet
		if w.six {
			subnet = b.Pool6.Subnet
		}
		inside := w.within(subnet, w.source)
		if !b.Plain && !b.Internal {
			w.rule(post, inside, name(expr.MetaKeyOIFNAME, expr.CmpOpNeq, b.Name), masquerade)
		}
		if !w.six {
			w.rule(post, out(b), w.within(loopback(), w.source), masquerade)
		}
		w.rule(post, out(b), inside, conntrack(expr.CtKeySTATUS, statusDNAT), masquerade)
	}
}

// forward keeps networks apart: what may come to a bridge from elsewhere is an answer, or was published.
func (w *chains) forward(bridges []bridge) {
	accept, drop := verdict(expr.VerdictAccept), verdict(expr.VerdictDrop)
	forward := w.base("forward", nftables.ChainTypeFilter, nftables.ChainHookForward, nftables.ChainPriorityFilter)
	for _, b := range bridges {
		if !b.Isolated {
			w.rule(forward, out(b), in(b), accept)
			continue
		}
		// Only where the kernel filters what stays on a bridge this is seen; the ports are isolated anyway.
		w.rule(forward, out(b), in(b), conntrack(expr.CtKeySTATUS, statusDNAT), accept)
		w.rule(forward, out(b), in(b), conntrack(expr.CtKeySTATE, expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED), accept)
		w.rule(forward, out(b), in(b), drop)
	}
	for _, b := range bridges {
		if b.Internal {
			w.rule(forward, in(b), drop)
			w.rule(forward, out(b), drop)
		}
	}
	for _, b := range bridges {
		w.rule(forward, out(b), conntrack(expr.CtKeySTATE, expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED), accept)
		w.rule(forward, out(b), conntrack(expr.CtKeySTATUS, statusDNAT), accept)
		w.rule(forward, out(b), drop)
	}
}

func loopback() netip.Prefix { return netip.PrefixFrom(netip.AddrFrom4([4]byte{127}), 8) }

// statusDNAT is IPS_DST_NAT (linux/netfilter/nf_conntrack_common.h).
const statusDNAT = 1 << 5

// portOffset is that of the destination port in TCP's and UDP's headers.
const portOffset = 2

func out(b bridge) []expr.Any { return name(expr.MetaKeyOIFNAME, expr.CmpOpEq, b.Name) }
func in(b bridge) []expr.Any  { return name(expr.MetaKeyIIFNAME, expr.CmpOpEq, b.Name) }

// name compares an interface's name.
func name(key expr.MetaKey, op expr.CmpOp, ifname string) []expr.Any {
	padded := make([]byte, unix.IFNAMSIZ)
	copy(padded, ifname)
	return []expr.Any{&expr.Meta{Key: key, Register: reg}, &expr.Cmp{Op: op, Register: reg, Data: padded}}
}

// within compares an address with a prefix.
func (w *chains) within(p netip.Prefix, offset uint32) []expr.Any {
	mask := make([]byte, w.length)
	for i := range p.Bits() {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	return []expr.Any{
		&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: w.length},
		&expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: w.length, Mask: mask, Xor: make([]byte, w.length)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: p.Masked().Addr().AsSlice()},
	}
}

// conntrack tells whether one of the bits is set.
func conntrack(key expr.CtKey, bits uint32) []expr.Any {
	return []expr.Any{
		&expr.Ct{Key: key, Register: reg},
		&expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(bits), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: reg, Data: make([]byte, 4)},
	}
}

// local tells whether the destination is an address of the host.
func local() []expr.Any {
	return []expr.Any{
		&expr.Fib{Register: reg, FlagDADDR: true, ResultADDRTYPE: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)},
	}
}

// translate looks the packet up in a map and translates it to what is found. Registers are 32 bits wide, and an address takes one or four.
func (w *chains) translate(set *nftables.Set, withAddress bool) []expr.Any {
	next := uint32(reg32 + 1)
	key := []expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg}}
	if withAddress {
		key = append(key, &expr.Payload{DestRegister: next, Base: expr.PayloadBaseNetworkHeader, Offset: w.destination, Len: w.length})
		next += w.length / 4
	}
	return append(key,
		&expr.Payload{DestRegister: next, Base: expr.PayloadBaseTransportHeader, Offset: portOffset, Len: 2},
		&expr.Lookup{SourceRegister: reg, DestRegister: reg, IsDestRegSet: true, SetName: set.Name, SetID: set.ID},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: w.nat, RegAddrMin: reg, RegProtoMin: reg32 + w.length/4, Specified: true},
	)
}
