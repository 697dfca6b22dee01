package network

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/camada/camada/errdefs"
	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// The rules stand in one table of nftables, `table ip camada`, and never change
// while containers come and go: published ports are elements of two maps.
//
//	map ports   { proto . host address . host port : container address . port }
//	map anyport { proto . host port : container address . port }
//	chain publish { dnat to proto . daddr . dport map @ports
//	                dnat to proto . dport map @anyport }
//	chain prerouting  (nat, dstnat)  { fib daddr type local jump publish }
//	chain output      (nat, -100)    { fib daddr type local jump publish }
//	chain postrouting (nat, srcnat)  { ip saddr SUBNET oifname != BRIDGE masquerade
//	                                   oifname BRIDGE ip saddr 127.0.0.0/8 masquerade
//	                                   oifname BRIDGE ip saddr SUBNET ct status dnat masquerade }
//	chain forward     (filter)       { oifname BRIDGE ct state established,related accept
//	                                   oifname BRIDGE iifname BRIDGE accept
//	                                   oifname BRIDGE ct status dnat accept
//	                                   oifname BRIDGE drop }
//	chain guard       (prerouting, raw) { iifname BRIDGE ip daddr 127.0.0.0/8 drop }
//
// The second masquerade serves http://127.0.0.1:PORT on the host: such packets
// may leave through the bridge because its route_localnet is set, and guard
// keeps containers from using that to reach the host's own loopback services. The
// third serves a container that asks for a port that is published on the host.

// tableName is the table's name in the ip family.
const tableName = "camada"

// Registers are 32 bits wide from number 8 on; register 1 is 8 to 11 together.
const (
	reg    = 1
	reg32a = 9
	reg32b = 10
)

func natMaps() (*nftables.Table, *nftables.Set, *nftables.Set) {
	table := &nftables.Table{Family: nftables.TableFamilyIPv4, Name: tableName}
	target := nftables.MustConcatSetType(nftables.TypeIPAddr, nftables.TypeInetService)
	ports := &nftables.Set{
		Table: table, Name: "ports", IsMap: true, Concatenation: true, DataType: target, ID: 1,
		KeyType: nftables.MustConcatSetType(nftables.TypeInetProto, nftables.TypeIPAddr, nftables.TypeInetService),
	}
	anyport := &nftables.Set{
		Table: table, Name: "anyport", IsMap: true, Concatenation: true, DataType: target, ID: 2,
		KeyType: nftables.MustConcatSetType(nftables.TypeInetProto, nftables.TypeInetService),
	}
	return table, ports, anyport
}

// elements gives a container's published ports as elements of the two maps.
func elements(h held) (ports, anyport []nftables.SetElement) {
	for _, p := range h.Ports {
		key := []byte{unix.IPPROTO_TCP, 0, 0, 0}
		if p.Protocol == "udp" {
			key[0] = unix.IPPROTO_UDP
		}
		to := h.Address.As4()
		value := append(to[:], port(p.ContainerPort)...)
		if ip := p.ip(); ip.IsUnspecified() {
			anyport = append(anyport, nftables.SetElement{Key: append(key, port(p.HostPort)...), Val: value})
		} else {
			host := ip.As4()
			ports = append(ports, nftables.SetElement{Key: append(append(key, host[:]...), port(p.HostPort)...), Val: value})
		}
	}
	return ports, anyport
}

// port is a port in network order, padded to a register.
func port(n uint16) []byte { return append(binary.BigEndian.AppendUint16(nil, n), 0, 0) }

// publish makes sure that the rules stand and adds the container's ports, in one
// transaction.
func (s state) publish(b bridge, h held) error {
	c, err := nftables.New()
	if err != nil {
		return rulesError("publish ports", err)
	}
	installed, dropping, err := lookAround(c)
	if err != nil {
		return err
	}
	if dropping != nil {
		if err := admitForwarding(c, b, dropping); err != nil {
			return err
		}
	}
	if installed {
		return rulesError("publish ports", changeElements(c, h, (*nftables.Conn).SetAddElements))
	}
	// Somebody flushed the machine's rules. Under the lock all come back, with this
	// container's ports.
	unlock, err := s.lock()
	if err != nil {
		return err
	}
	defer unlock()
	return s.installRules(b)
}

// unpublish removes the container's ports; ones that are not there are no error.
func unpublish(h held) error {
	if len(h.Ports) == 0 {
		return nil
	}
	c, err := nftables.New()
	if err != nil {
		return rulesError("remove published ports", err)
	}
	err = changeElements(c, h, (*nftables.Conn).SetDeleteElements)
	if errors.Is(err, unix.ENOENT) && len(h.Ports) > 1 {
		// The transaction fails as a whole when one is missing: one at a time.
		for _, p := range h.Ports {
			one := held{Address: h.Address, Ports: []PortMapping{p}}
			if err := changeElements(c, one, (*nftables.Conn).SetDeleteElements); err != nil && !errors.Is(err, unix.ENOENT) {
				return rulesError("remove published ports", err)
			}
		}
		return nil
	}
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return rulesError("remove published ports", err)
}

func changeElements(c *nftables.Conn, h held, change func(*nftables.Conn, *nftables.Set, []nftables.SetElement) error) error {
	_, ports, anyport := natMaps()
	exact, wild := elements(h)
	if len(exact)+len(wild) == 0 {
		return nil
	}
	for _, e := range []struct {
		set  *nftables.Set
		list []nftables.SetElement
	}{{ports, exact}, {anyport, wild}} {
		if len(e.list) == 0 {
			continue
		}
		if err := change(c, e.set, e.list); err != nil {
			return err
		}
	}
	return c.Flush()
}

func rulesError(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EEXIST):
		return errdefs.Conflict("%s: a port is published by another container: %w", what, err)
	case errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EAFNOSUPPORT):
		return errdefs.Unsupported("%s: this kernel has no nftables: %w", what, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// installRules replaces the table by a new one in one transaction, with the
// ports of all containers. The caller has the lock.
func (s state) installRules(b bridge) error {
	c, err := nftables.New()
	if err != nil {
		return rulesError("install rules", err)
	}
	table, ports, anyport := natMaps()
	c.AddTable(table) // so that there is one to delete
	c.DelTable(table)
	c.AddTable(table)
	hs, err := s.all()
	if err != nil {
		return err
	}
	var exact, wild []nftables.SetElement
	for _, h := range hs {
		if h.Driver == Bridge && h.Owner.alive() {
			e, w := elements(h)
			exact, wild = append(exact, e...), append(wild, w...)
		}
	}
	if err := c.AddSet(ports, exact); err != nil {
		return rulesError("install rules", err)
	}
	if err := c.AddSet(anyport, wild); err != nil {
		return rulesError("install rules", err)
	}
	addChains(c, table, ports, anyport, b)
	if err := c.Flush(); err != nil {
		return rulesError("install rules", err)
	}
	return admitLegacy(b)
}

func addChains(c *nftables.Conn, table *nftables.Table, ports, anyport *nftables.Set, b bridge) {
	accept, drop := nftables.ChainPolicyAccept, expr.Any(&expr.Verdict{Kind: expr.VerdictDrop})
	yes, masquerade := expr.Any(&expr.Verdict{Kind: expr.VerdictAccept}), expr.Any(&expr.Masq{})
	base := func(name string, kind nftables.ChainType, hook *nftables.ChainHook, priority *nftables.ChainPriority) *nftables.Chain {
		return c.AddChain(&nftables.Chain{Table: table, Name: name, Type: kind, Hooknum: hook, Priority: priority, Policy: &accept})
	}
	rule := func(chain *nftables.Chain, parts ...[]expr.Any) {
		var all []expr.Any
		for _, p := range parts {
			all = append(all, p...)
		}
		c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: all})
	}
	one := func(e expr.Any) []expr.Any { return []expr.Any{e} }

	publish := c.AddChain(&nftables.Chain{Table: table, Name: "publish"})
	rule(publish, translate(ports, true))
	rule(publish, translate(anyport, false))
	jump := one(&expr.Verdict{Kind: expr.VerdictJump, Chain: publish.Name})
	rule(base("prerouting", nftables.ChainTypeNAT, nftables.ChainHookPrerouting, nftables.ChainPriorityNATDest), local(), jump)
	rule(base("output", nftables.ChainTypeNAT, nftables.ChainHookOutput, nftables.ChainPriorityNATDest), local(), jump)

	post := base("postrouting", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource)
	inside, loopback := from(b.Subnet, sourceOffset), netip.MustParsePrefix("127.0.0.0/8")
	rule(post, inside, name(expr.MetaKeyOIFNAME, expr.CmpOpNeq, b.Name), one(masquerade))
	rule(post, out(b), from(loopback, sourceOffset), one(masquerade))
	rule(post, out(b), inside, conntrack(expr.CtKeySTATUS, statusDNAT), one(masquerade))

	forward := base("forward", nftables.ChainTypeFilter, nftables.ChainHookForward, nftables.ChainPriorityFilter)
	rule(forward, out(b), conntrack(expr.CtKeySTATE, expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED), one(yes))
	rule(forward, out(b), name(expr.MetaKeyIIFNAME, expr.CmpOpEq, b.Name), one(yes))
	rule(forward, out(b), conntrack(expr.CtKeySTATUS, statusDNAT), one(yes))
	rule(forward, out(b), one(drop))

	guard := base("guard", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, nftables.ChainPriorityRaw)
	rule(guard, name(expr.MetaKeyIIFNAME, expr.CmpOpEq, b.Name), from(loopback, destinationOffset), one(drop))
}

// statusDNAT is IPS_DST_NAT (linux/netfilter/nf_conntrack_common.h).
const statusDNAT = 1 << 5

// Offsets of the addresses in the IPv4 header, of the port in TCP's and UDP's.
const (
	sourceOffset      = 12
	destinationOffset = 16
	portOffset        = 2
)

func out(b bridge) []expr.Any { return name(expr.MetaKeyOIFNAME, expr.CmpOpEq, b.Name) }

// name compares an interface's name.
func name(key expr.MetaKey, op expr.CmpOp, ifname string) []expr.Any {
	padded := make([]byte, unix.IFNAMSIZ)
	copy(padded, ifname)
	return []expr.Any{&expr.Meta{Key: key, Register: reg}, &expr.Cmp{Op: op, Register: reg, Data: padded}}
}

// from compares an address with a prefix.
func from(p netip.Prefix, offset uint32) []expr.Any {
	ip, mask := p.Masked().Addr().As4(), binary.BigEndian.AppendUint32(nil, ^uint32(0)<<(32-p.Bits()))
	return []expr.Any{
		&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: 4},
		&expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: 4, Mask: mask, Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: ip[:]},
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

// translate looks the packet up in a map and translates it to what is found.
func translate(set *nftables.Set, withAddress bool) []expr.Any {
	next := uint32(reg32a)
	key := []expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg}}
	if withAddress {
		key = append(key, &expr.Payload{DestRegister: next, Base: expr.PayloadBaseNetworkHeader, Offset: destinationOffset, Len: 4})
		next = reg32b
	}
	return append(key,
		&expr.Payload{DestRegister: next, Base: expr.PayloadBaseTransportHeader, Offset: portOffset, Len: 2},
		&expr.Lookup{SourceRegister: reg, DestRegister: reg, IsDestRegSet: true, SetName: set.Name, SetID: set.ID},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: reg, RegProtoMin: reg32a, Specified: true},
	)
}
