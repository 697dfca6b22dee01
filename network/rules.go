package network

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/camada/camada/errdefs"
	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// The rules stand in one table of nftables a family, `table ip camada` and, when a network has IPv6, `table ip6 camada`. They do not change
// while containers come and go: published ports are elements of two maps. For each bridge B with the subnet S:
//
//	map ports   { proto . host address . host port : container address . port }
//	map anyport { proto . host port : container address . port }
//	chain publish { ip6 daddr ::1 return                          (IPv6 alone)
//	                dnat to proto . daddr . dport map @ports
//	                dnat to proto . dport map @anyport }
//	chain prerouting  (nat, dstnat)  { fib daddr type local jump publish }
//	chain output      (nat, -100)    { fib daddr type local jump publish }
//	chain postrouting (nat, srcnat)  { ip saddr S oifname != B masquerade
//	                                   oifname B ip saddr 127.0.0.0/8 masquerade
//	                                   oifname B ip saddr S ct status dnat masquerade }
//	chain forward     (filter)       { oifname B iifname B accept
//	                                   iifname B drop, oifname B drop            (internal networks)
//	                                   oifname B ct state established,related accept
//	                                   oifname B ct status dnat accept
//	                                   oifname B drop }
//	chain guard       (prerouting, raw) { iifname B ip daddr 127.0.0.0/8 drop }
//
// What is accepted here is only not dropped here: the host's own chains see every packet all the same, and what they drop stays dropped.
//
// The second masquerade serves http://127.0.0.1:PORT on the host: such packets
// may leave through the bridge because its route_localnet is set, and guard
// keeps containers from using that to reach the host's own loopback services. The
// third serves a container that asks for a port that is published on the host.

// tableName is the table's name in both families.
const tableName = "camada"

// family is what differs between the rules of IPv4 and IPv6.
type family struct {
	six                 bool
	table               *nftables.Table
	ports, anyport      *nftables.Set
	length              uint32 // of an address
	source, destination uint32 // offsets of the addresses in the header
	nat                 uint32
}

func families() []family { return []family{familyOf(false), familyOf(true)} }

func familyOf(six bool) family {
	f := family{six: six, table: &nftables.Table{Family: nftables.TableFamilyIPv4, Name: tableName}, length: 4, source: 12, destination: 16, nat: unix.NFPROTO_IPV4}
	kind := nftables.TypeIPAddr
	if six {
		f.table.Family, f.length, f.source, f.destination, f.nat, kind = nftables.TableFamilyIPv6, 16, 8, 24, unix.NFPROTO_IPV6, nftables.TypeIP6Addr
	}
	target := nftables.MustConcatSetType(kind, nftables.TypeInetService)
	f.ports = &nftables.Set{
		Table: f.table, Name: "ports", IsMap: true, Concatenation: true, DataType: target, ID: 1,
		KeyType: nftables.MustConcatSetType(nftables.TypeInetProto, kind, nftables.TypeInetService),
	}
	f.anyport = &nftables.Set{
		Table: f.table, Name: "anyport", IsMap: true, Concatenation: true, DataType: target, ID: 2,
		KeyType: nftables.MustConcatSetType(nftables.TypeInetProto, nftables.TypeInetService),
	}
	return f
}

// elements gives a container's published ports as elements of the two maps.
func (f family) elements(h held) (ports, anyport []nftables.SetElement) {
	to, to6 := h.target()
	if f.six {
		to = to6
	}
	if !to.IsValid() || h.Relayed {
		return nil, nil
	}
	for _, p := range h.Ports {
		key := []byte{unix.IPPROTO_TCP, 0, 0, 0}
		if p.Protocol == "udp" {
			key[0] = unix.IPPROTO_UDP
		}
		value := append(to.AsSlice(), port(p.ContainerPort)...)
		switch ip := p.ip(); {
		case p.HostIP.IsValid() && ip.Is6() != f.six:
		case ip.IsUnspecified():
			anyport = append(anyport, nftables.SetElement{Key: append(key, port(p.HostPort)...), Val: value})
		default:
			ports = append(ports, nftables.SetElement{Key: append(append(key, ip.AsSlice()...), port(p.HostPort)...), Val: value})
		}
	}
	return ports, anyport
}

// reg is the register where values are put together; registers of 32 bits begin with number 8, and 1 is 8 to 11.
const (
	reg   = 1
	reg32 = 8
)

// port is a port in network order, padded to a register.
func port(n uint16) []byte { return append(binary.BigEndian.AppendUint16(nil, n), 0, 0) }

// publish makes sure that the rules stand and adds the container's ports, in one
// transaction.
func (s state) publish(h held, seen surroundings) error {
	c, err := nftables.New()
	if err != nil {
		return rulesError("publish ports", err)
	}
	if seen.docker != nil {
		if err := admitForwarding(c, h, seen.docker); err != nil {
			return err
		}
	}
	if seen.installed {
		return rulesError("publish ports", changeElements(c, h, (*nftables.Conn).SetAddElements))
	}
	// Somebody flushed the machine's rules. Under the lock all come back, with this
	// container's ports.
	unlock, err := s.lock()
	if err != nil {
		return err
	}
	defer unlock()
	return s.installRules()
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
			one := held{Connections: h.Connections, Ports: []PortMapping{p}}
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

// addPorts adds the container's ports to rules that stand.
func addPorts(h held) error {
	c, err := nftables.New()
	if err != nil {
		return rulesError("publish ports", err)
	}
	return rulesError("publish ports", changeElements(c, h, (*nftables.Conn).SetAddElements))
}

func changeElements(c *nftables.Conn, h held, change func(*nftables.Conn, *nftables.Set, []nftables.SetElement) error) error {
	any := false
	for _, f := range families() {
		exact, wild := f.elements(h)
		for _, e := range []struct {
			set  *nftables.Set
			list []nftables.SetElement
		}{{f.ports, exact}, {f.anyport, wild}} {
			if len(e.list) == 0 {
				continue
			}
			any = true
			if err := change(c, e.set, e.list); err != nil {
				return err
			}
		}
	}
	if !any {
		return nil
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

// installRules replaces the tables by new ones in one transaction, with the rules of all bridges and the
// ports of all containers. The caller has the lock.
func (s state) installRules() error {
	c, err := nftables.New()
	if err != nil {
		return rulesError("install rules", err)
	}
	hs, err := s.all()
	if err != nil {
		return err
	}
	hs = slices.DeleteFunc(hs, func(h held) bool { return h.Driver != Bridge || !h.Owner.alive() })
	bridges, err := s.bridges()
	if err != nil {
		return err
	}
	for _, f := range families() {
		of := bridges
		if f.six {
			of = slices.DeleteFunc(slices.Clone(bridges), func(b bridge) bool { return !b.six() })
		}
		if f.six && len(of) == 0 && !hasTable(c, f) {
			continue // a kernel without IPv6 is not asked for it
		}
		c.AddTable(f.table) // so that there is one to delete
		c.DelTable(f.table)
		if len(of) == 0 {
			continue
		}
		c.AddTable(f.table)
		var exact, wild []nftables.SetElement
		for _, h := range hs {
			e, w := f.elements(h)
			exact, wild = append(exact, e...), append(wild, w...)
		}
		if err := errors.Join(c.AddSet(f.ports, exact), c.AddSet(f.anyport, wild)); err != nil {
			return rulesError("install rules", err)
		}
		(&chains{c: c, family: f}).add(of)
	}
	if err := c.Flush(); err != nil {
		if errors.Is(err, unix.ENOENT) { // nothing is named that was not made just now: an expression is unknown, or the whole family
			return errdefs.Unsupported("install rules: this kernel lacks a part of nftables (tables of IPv4, nat, masq, fib, ct), and without it only a machine that forwards no packets "+
				"(sysctl net.ipv4.ip_forward=0) keeps networks apart; --network host or none needs none: %w", unix.ENOENT)
		}
		return rulesError("install rules", err)
	}
	return admitLegacy(bridges)
}

// hasTable tells whether rules of a family stand.
func hasTable(c *nftables.Conn, f family) bool {
	tables, err := c.ListTablesOfFamily(f.table.Family)
	return err == nil && slices.ContainsFunc(tables, func(t *nftables.Table) bool { return t.Name == tableName })
}
