package network

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/camada/camada/errdefs"
)

// Endpoint is what a container asks of one network.
type Endpoint struct {
	// Network is its definition; nil is the default bridge.
	Network *Network
	// Address and Address6 are wished for; the zero value leaves the choice.
	Address, Address6 netip.Addr
	// MAC is a hardware address; nil derives it from the IP address.
	MAC net.HardwareAddr
	// Names are those under which others on the network find the container. The default bridge has none.
	Names []string
}

// Connection is what a container got of one network.
type Connection struct {
	// Network is the ID of its definition, "" for the default bridge; Name its name and Kind what it is made of.
	Network string `json:"network,omitempty"`
	Name    string `json:"name"`
	Kind    Kind   `json:"kind"`
	// Interface is its name inside the container; Host that of the other end, where there is one.
	Interface string `json:"interface"`
	Host      string `json:"host,omitempty"`
	// Address and Address6 have the lengths of their subnets.
	Address  netip.Prefix `json:"address"`
	Address6 netip.Prefix `json:"address6,omitzero"`
	Gateway  netip.Addr   `json:"gateway,omitzero"`
	Gateway6 netip.Addr   `json:"gateway6,omitzero"`
	MAC      string       `json:"mac,omitempty"`
	Names    []string     `json:"names,omitempty"`
	Internal bool         `json:"internal,omitempty"`
	// Bare leads to this machine alone, though it is not internal.
	Bare bool `json:"bare,omitempty"`
	// Parent is the bridge, or the interface that a macvlan or ipvlan is on.
	Parent string `json:"parent"`
}

// claims are the links that say that addresses and names are taken.
func (n Connection) claims() (addresses []string, names []string) {
	for _, a := range []netip.Prefix{n.Address, n.Address6} {
		if a.IsValid() {
			addresses = append(addresses, addressName(n.Network, a.Addr()))
		}
	}
	for _, name := range n.Names {
		names = append(names, "names/"+n.Network+"/"+strings.ToLower(name))
	}
	return addresses, names
}

// addressName is the name of an address's link; those of different networks may be the same address.
func addressName(id string, a netip.Addr) string {
	if id == "" {
		return "addresses/" + a.String()
	}
	return "addresses/" + id[:min(shortID, len(id))] + "-" + a.String()
}

// lastName is the file of the address that was given out last.
func lastName(id string) string {
	if id == "" {
		return "last"
	}
	return "last-" + id[:min(shortID, len(id))]
}

// vethPrefix begins the names of the host's ends.
const vethPrefix = "cam"

// vethName is unique for an id and an interface of it, and short enough for an interface.
func vethName(id, inside string) string {
	if inside != firstInterface {
		id += "/" + inside
	}
	sum := sha256.Sum256([]byte(id))
	return vethPrefix + hex.EncodeToString(sum[:6])
}

// firstInterface is the name of the first interface inside the container.
const firstInterface = "eth0"

// nextInterface is a name that the container has not given to an interface yet.
func (h held) nextInterface() string {
	for i := 0; ; i++ {
		name := "eth" + strconv.Itoa(i)
		if !slices.ContainsFunc(h.Connections, func(c Connection) bool { return c.Interface == name }) {
			return name
		}
	}
}

// on gives the connection to a network, nil when there is none.
func (h held) on(id string) *Connection {
	for i := range h.Connections {
		if h.Connections[i].Network == id {
			return &h.Connections[i]
		}
	}
	return nil
}

// plan is a connection that is to be made.
type plan struct {
	*Connection
	network *Network
	parent  link
	bridge  bridge
}

// join takes addresses and names on one network for h, whose connections it extends. The caller has the lock, and saves h: what was taken
// stands there, also when this fails.
func (s state) join(ctx context.Context, c *rtnl, o Options, e Endpoint, h *held) (plan, error) {
	p := plan{network: e.Network}
	n := Connection{Name: "bridge", Kind: KindBridge, Interface: h.nextInterface()}
	var pool, pool6 Pool
	var err error
	switch {
	case e.Network != nil && e.Network.Kind != KindBridge:
		if p.parent, err = ensureParent(c, e.Network); err != nil {
			return p, err
		}
		pool, pool6, n.Parent = e.Network.pool(false), e.Network.pool(true), p.parent.name
	default:
		if p.bridge, p.parent, err = s.ensureBridge(c, e.Network, o); err != nil {
			return p, err
		}
		pool, pool6, n.Parent, n.Host = p.bridge.Pool, p.bridge.Pool6, p.bridge.Name, vethName(h.ID, n.Interface)
		n.Bare = p.bridge.Bare
	}
	if e.Network != nil {
		n.Network, n.Name, n.Kind, n.Internal, n.Names = e.Network.ID, e.Network.Name, e.Network.Kind, e.Network.Internal, unique(e.Names)
	}
	if h.on(n.Network) != nil {
		return p, errdefs.AlreadyExists("it is connected to network %s already", n.Name)
	}
	if n.Address, n.Gateway, err = s.address(ctx, n, pool, e.Address, lastName(n.Network)); err != nil {
		return p, err
	}
	if pool6.Subnet.IsValid() {
		if n.Address6, n.Gateway6, err = s.address(ctx, n, pool6, e.Address6, lastName(n.Network)+".6"); err != nil {
			return p, err
		}
	} else if e.Address6.IsValid() {
		return p, errdefs.Invalid("address %s: network %s has no IPv6", e.Address6, n.Name)
	}
	switch {
	case n.Kind == KindIPvlan:
		if e.MAC != nil {
			return p, errdefs.Invalid("hardware address %s: containers of the ipvlan network %s have that of the parent", e.MAC, n.Name)
		}
		if layer3(e.Network) { // nobody answers for a gateway there
			n.Gateway, n.Gateway6 = netip.Addr{}, netip.Addr{}
		}
	case e.MAC != nil:
		n.MAC = e.MAC.String()
	default:
		n.MAC = macOf(n.Address.Addr()).String()
	}
	h.Connections = append(h.Connections, n)
	p.Connection = &h.Connections[len(h.Connections)-1]
	return p, nil
}

// address chooses an address, or looks whether the one that is wished for can be had.
func (s state) address(ctx context.Context, n Connection, pool Pool, wished netip.Addr, last string) (netip.Prefix, netip.Addr, error) {
	free := func(a netip.Addr) bool {
		free, err := s.reclaim(ctx, addressName(n.Network, a))
		return err == nil && free
	}
	a := wished
	switch {
	case !a.IsValid():
		var err error
		if a, err = s.nextAddress(pool, last, free); err != nil {
			return netip.Prefix{}, a, err
		}
		if err := os.WriteFile(s.path(last), []byte(a.String()), 0o600); err != nil {
			return netip.Prefix{}, a, err
		}
	case !pool.usable(a):
		return netip.Prefix{}, a, errdefs.Invalid("address %s: not one of network %s, which has %s", a, n.Name, pool.Subnet)
	case a == pool.Gateway || !free(a):
		return netip.Prefix{}, a, errdefs.Conflict("address %s is in use on network %s", a, n.Name)
	}
	return netip.PrefixFrom(a, pool.Subnet.Bits()), pool.Gateway, nil
}

// nextAddress goes round the subnet from the last address on: an address that
// was just given back is used again last.
func (s state) nextAddress(p Pool, lastFile string, free func(netip.Addr) bool) (netip.Addr, error) {
	within := p.Subnet
	if p.Range.IsValid() {
		within = p.Range
	}
	first := within.Masked().Addr()
	a := first
	if text, err := os.ReadFile(s.path(lastFile)); err == nil {
		if last, err := netip.ParseAddr(string(text)); err == nil && within.Contains(last) {
			a = last.Next()
		}
	}
	for range 1 << min(first.BitLen()-within.Bits(), 16) {
		if !within.Contains(a) { // behind the end
			a = first
		}
		if p.free(a) && free(a) {
			return a, nil
		}
		a = a.Next()
	}
	return a, errdefs.Unavailable("no address is free in %s", within)
}

// unique keeps the first of names that are the same but for their case.
func unique(names []string) []string {
	var out []string
	for _, n := range names {
		if n != "" && !slices.ContainsFunc(out, func(o string) bool { return strings.EqualFold(o, n) }) {
			out = append(out, n)
		}
	}
	return out
}
