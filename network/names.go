package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Names finds containers by name for one of them. It reads the state at each question, so it knows at once what came and went.
type Names struct {
	StateDir, ContainerID string
}

// Find gives the addresses of the containers that have a name on one of this container's networks. NAME.NETWORK is one of that network
// alone. found is false when nobody has the name.
func (n Names) Find(name string) (addrs []netip.Addr, found bool) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	s := state{dir: n.StateDir}
	me, err := s.load(n.ContainerID)
	if err != nil {
		return nil, false
	}
	for _, c := range me.Connections {
		if c.Network == "" {
			continue
		}
		short, qualified := strings.CutSuffix(name, "."+strings.ToLower(c.Name))
		names := []string{name}
		if qualified {
			names = append(names, short)
		}
		for _, asked := range names {
			if !ValidName(asked) {
				continue
			}
			for _, a := range s.named(c.Network, asked) {
				if found = true; !slices.Contains(addrs, a) {
					addrs = append(addrs, a)
				}
			}
		}
	}
	return addrs, found
}

// named are the addresses of living containers with a name on a network.
func (s state) named(network, name string) []netip.Addr {
	entries, err := os.ReadDir(s.path("names", network, name))
	if err != nil {
		return nil
	}
	var addrs []netip.Addr
	for _, e := range entries {
		h, err := s.load(e.Name())
		if err != nil || !h.Owner.alive() {
			continue
		}
		if c := h.on(network); c != nil {
			addrs = append(addrs, c.Address.Addr())
			if c.Address6.IsValid() {
				addrs = append(addrs, c.Address6.Addr())
			}
		}
	}
	return addrs
}

// FindAddr gives the name of the container that has an address on one of this container's networks: NAME.NETWORK.
func (n Names) FindAddr(a netip.Addr) (string, bool) {
	s := state{dir: n.StateDir}
	me, err := s.load(n.ContainerID)
	if err != nil {
		return "", false
	}
	for _, c := range me.Connections {
		if c.Network == "" {
			continue
		}
		id, err := os.Readlink(s.path(addressName(c.Network, a)))
		if err != nil {
			continue
		}
		h, err := s.load(id)
		if err != nil || !h.Owner.alive() {
			continue
		}
		if other := h.on(c.Network); other != nil && len(other.Names) > 0 {
			return other.Names[0] + "." + c.Name, true
		}
	}
	return "", false
}

// Forwards tells whether the container has a network that leads to the outside: only then questions about other names are passed on.
func (n Names) Forwards() bool {
	me, err := (state{dir: n.StateDir}).load(n.ContainerID)
	return err == nil && slices.ContainsFunc(me.Connections, Connection.wayOut)
}

// ResolverAddr is where containers on networks of users find their resolver, as in Docker.
const ResolverAddr = "127.0.0.11"

// OpenResolver makes the sockets of a resolver in the network namespace of a process, and leads port 53 of ResolverAddr to them. They have
// ports of their own, so that the container can have a name server itself; not where the kernel cannot translate. The caller closes them.
func OpenResolver(pid int) (udp net.PacketConn, tcp net.Listener, err error) {
	netns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return nil, nil, fmt.Errorf("open the resolver: %w", err)
	}
	defer netns.Close()
	err = inNamespace(netns, func() error {
		if udp, tcp, err = listenResolver("0"); err != nil {
			return err
		}
		err := leadToResolver(udp.LocalAddr(), tcp.Addr())
		if err == nil {
			return nil
		}
		udp.Close()
		tcp.Close()
		if errdefs.IsUnsupported(err) {
			udp, tcp, err = listenResolver("53")
		}
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("open the resolver: %w", err)
	}
	return udp, tcp, nil
}

// listenResolver makes sockets of UDP and TCP at a port of ResolverAddr.
func listenResolver(port string) (net.PacketConn, net.Listener, error) {
	udp, err := net.ListenPacket("udp4", ResolverAddr+":"+port) //nolint:noctx // it waits for nothing
	if err != nil {
		return nil, nil, err
	}
	tcp, err := net.Listen("tcp4", ResolverAddr+":"+port) //nolint:noctx // as above
	if err != nil {
		udp.Close()
		return nil, nil, err
	}
	return udp, tcp, nil
}

// resolverTable is the table in the container's network namespace.
const resolverTable = "camada-dns"

// leadToResolver runs in the container's network namespace.
func leadToResolver(udp, tcp net.Addr) error {
	c, err := nftables.New()
	if err != nil {
		return rulesError("lead questions to the resolver", err)
	}
	table := &nftables.Table{Family: nftables.TableFamilyIPv4, Name: resolverTable}
	c.AddTable(table) // so that there is one to delete
	c.DelTable(table)
	c.AddTable(table)
	chain := c.AddChain(&nftables.Chain{
		Table: table, Name: "output", Type: nftables.ChainTypeNAT, Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityNATDest,
	})
	w := &chains{c: c, family: familyOf(false)}
	w.table = table
	here := netip.MustParseAddr(ResolverAddr)
	for _, e := range []struct {
		protocol byte
		at       net.Addr
	}{{unix.IPPROTO_UDP, udp}, {unix.IPPROTO_TCP, tcp}} {
		at, err := netip.ParseAddrPort(e.at.String())
		if err != nil {
			return err
		}
		w.rule(chain, w.within(netip.PrefixFrom(here, 32), w.destination),
			[]expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg}, &expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: []byte{e.protocol}}},
			[]expr.Any{
				&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: portOffset, Len: 2},
				&expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: binaryutil.BigEndian.PutUint16(53)},
				&expr.Immediate{Register: reg, Data: here.AsSlice()},
				&expr.Immediate{Register: reg32 + 1, Data: binaryutil.BigEndian.PutUint16(at.Port())},
				&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: reg, RegProtoMin: reg32 + 1, Specified: true},
			})
	}
	err = c.Flush()
	if errors.Is(err, unix.ENOENT) {
		return errdefs.Unsupported("lead questions to the resolver: the kernel needs nft_nat: %w", err)
	}
	return rulesError("lead questions to the resolver", err)
}
