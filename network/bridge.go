package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/camada/camada/errdefs"
	"golang.org/x/sys/unix"
)

// bridge is the file bridges/<name>.json: an interface of the host that is up, or was.
type bridge struct {
	Name string `json:"name"`
	// Network is the ID of its definition and Definition the file of that; "" for the default network. When the file is gone the
	// bridge belongs to nobody.
	Network    string `json:"network,omitempty"`
	Definition string `json:"definition,omitempty"`
	Pool       Pool   `json:"pool"`
	Pool6      Pool   `json:"pool6,omitzero"`
	MTU        int    `json:"mtu"`
	// Internal has no way out, Plain no masquerade, Isolated no way between its containers.
	Internal bool `json:"internal,omitempty"`
	Plain    bool `json:"plain,omitempty"`
	Isolated bool `json:"isolated,omitempty"`
	// Foreign was there before, and stays.
	Foreign bool `json:"foreign,omitempty"`
	// Bare was made on a kernel that can neither translate nor filter: nothing is forwarded, so it leads to this machine alone, and ports are relayed.
	Bare bool `json:"bare,omitempty"`
	// Routed is in the router of an ordinary user, where nothing is translated.
	Routed bool `json:"routed,omitempty"`
}

func (b bridge) six() bool { return b.Pool6.Subnet.IsValid() }

// ensureBridge finds the bridge of a network or makes it, with its rules; nil is the default network.
func (s state) ensureBridge(c *rtnl, n *Network, o Options) (bridge, link, error) {
	name, id := o.Bridge, ""
	if n != nil {
		name, id = n.Interface(), n.ID
	}
	var b bridge
	known := readJSON(s.path("bridges", name+".json"), &b) == nil && b.Pool.Subnet.IsValid()
	if known && b.Network != id {
		if !b.orphaned() {
			return b, link{}, errdefs.Conflict("the bridge %s is that of another network", name)
		}
		if err := s.removeBridge(c, b); err != nil {
			return b, link{}, err
		}
		known = false
	}
	l, err := c.linkByName(name)
	if err == nil && known && l.up {
		return b, l, nil
	}
	if err != nil && !errors.Is(err, unix.ENODEV) {
		return b, l, err
	}
	if !known {
		if n != nil {
			b, err = planOf(c, n, l)
		} else {
			b, err = s.planBridge(c, o, l)
		}
		if err != nil {
			return b, l, err
		}
		if s.routed() {
			b.Routed, b.Plain = true, true
			if n == nil && o.six {
				b.Pool6 = ownPool6()
			}
		}
		if err := writeJSON(s.path("bridges", name+".json"), b); err != nil {
			return b, l, err
		}
	}
	if l.index == 0 {
		if err := c.do(newBridge(b.Name, macOf(b.Pool.Gateway), b.MTU)); err != nil {
			return b, l, err
		}
		if l, err = c.linkByName(b.Name); err != nil {
			return b, l, err
		}
	}
	l.mtu = b.MTU
	// The rules stand before anything can be forwarded.
	err = s.installRules()
	if errdefs.IsUnsupported(err) && !b.Routed && !forwards(b.six()) {
		b.Bare = true
		err = writeJSON(s.path("bridges", name+".json"), b)
	}
	if err != nil {
		return b, l, err
	}
	err = bringUp(c, b, l)
	l.up = err == nil
	return b, l, err
}

// forwards tells whether the host passes packets on, between networks too: without rules nothing would keep them apart.
func forwards(six bool) bool {
	on := func(name string) bool {
		v, err := os.ReadFile("/proc/sys/net/" + name)
		return err == nil && strings.TrimSpace(string(v)) != "0"
	}
	return on("ipv4/ip_forward") || six && on("ipv6/conf/all/forwarding")
}

// bringUp gives the bridge its addresses, and lets the host forward.
func bringUp(c *rtnl, b bridge, l link) error {
	var reqs []*request
	if !b.six() {
		reqs = append(reqs, noIPv6(b.Name))
	}
	reqs = append(reqs, newAddress(l, netip.PrefixFrom(b.Pool.Gateway, b.Pool.Subnet.Bits())))
	if b.six() {
		reqs = append(reqs, newAddress(l, netip.PrefixFrom(b.Pool6.Gateway, b.Pool6.Subnet.Bits())))
	}
	if err := c.do(append(reqs, setUp(b.Name))...); err != nil {
		return err
	}
	if b.Internal || b.Bare {
		return nil
	}
	if !b.Routed {
		if err := sysctl("net/ipv4/conf/"+b.Name+"/route_localnet", "1"); err != nil {
			return err
		}
	}
	if err := sysctl("net/ipv4/ip_forward", "1"); err != nil || !b.six() {
		return err
	}
	return forward6()
}

// forward6 lets the host forward IPv6. A host that forwards no longer listens to routers unless told to: those interfaces that do now go on,
// or the host could lose its own default route.
func forward6() error {
	if v, err := os.ReadFile("/proc/sys/net/ipv6/conf/all/forwarding"); err == nil && strings.TrimSpace(string(v)) == "1" {
		return nil
	}
	listening, err := filepath.Glob("/proc/sys/net/ipv6/conf/*/accept_ra")
	if err != nil {
		return err
	}
	for _, file := range listening {
		if v, err := os.ReadFile(file); err == nil && strings.TrimSpace(string(v)) == "1" {
			if err := os.WriteFile(file, []byte("2"), 0o644); err != nil {
				return fmt.Errorf("keep the host's IPv6 routes: %w", err)
			}
		}
	}
	return sysctl("net/ipv6/conf/all/forwarding", "1")
}

// planBridge chooses the subnet of the default network. A bridge that stands there already, because its state was lost, keeps its own.
func (s state) planBridge(c *rtnl, o Options, l link) (bridge, error) {
	b := bridge{Name: o.Bridge, MTU: o.MTU}
	if l.index != 0 {
		b.MTU = l.mtu
		if as, err := c.addressesOf(l); err == nil && len(as) > 0 {
			b.Pool = Pool{Subnet: as[0].Masked(), Gateway: as[0].Addr()}
			return b, nil
		}
	}
	used, mtu, err := hostRoutes(c)
	if err != nil {
		return b, err
	}
	if b.MTU == 0 {
		b.MTU = mtu
	}
	others, err := s.bridges()
	if err != nil {
		return b, err
	}
	for _, other := range others {
		used = append(used, other.Pool.Subnet)
	}
	subnet, err := chooseSubnet(o.Subnets, used)
	b.Pool = Pool{Subnet: subnet, Gateway: subnet.Addr().Next()}
	return b, err
}

// planOf is the bridge of a definition.
func planOf(c *rtnl, n *Network, l link) (bridge, error) {
	b := bridge{
		Name: n.Interface(), Network: n.ID, Definition: n.file, Pool: n.pool(false), Pool6: n.pool(true), MTU: n.mtu(), Internal: n.Internal,
		Plain: !n.flag(optionMasquerade, true), Isolated: !n.flag(optionICC, true), Foreign: l.index != 0,
	}
	if !b.Pool.Subnet.IsValid() {
		return b, errdefs.Invalid("network %s has no subnet", n.Name)
	}
	used, mtu, err := hostRoutes(c)
	if err != nil {
		return b, err
	}
	if b.MTU == 0 {
		b.MTU = mtu
	}
	for _, u := range used {
		if l.index == 0 && u.Overlaps(b.Pool.Subnet) {
			return b, errdefs.Conflict("subnet %s of network %s overlaps with %s, which this machine uses already", b.Pool.Subnet, n.Name, u)
		}
	}
	return b, nil
}

// hostRoutes gives what the host routes, and the MTU of its way out.
func hostRoutes(c *rtnl) (used []netip.Prefix, mtu int, err error) {
	routes, err := os.ReadFile("/proc/thread-self/net/route")
	if err != nil {
		return nil, 0, fmt.Errorf("read the host's routes: %w", err)
	}
	used, device := parseRoutes(routes)
	mtu = 1500
	if out, err := c.linkByName(device); device != "" && err == nil && out.mtu >= 576 {
		mtu = out.mtu
	}
	return used, mtu, nil
}

// orphaned tells that the definition of the bridge is gone.
func (b bridge) orphaned() bool {
	if b.Definition == "" {
		return false
	}
	_, err := os.Lstat(b.Definition)
	return errors.Is(err, os.ErrNotExist)
}

// bridges gives those that the state knows; files that cannot be read are left out.
func (s state) bridges() ([]bridge, error) {
	entries, err := os.ReadDir(s.path("bridges"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var all []bridge
	for _, e := range entries {
		var b bridge
		if !strings.HasSuffix(e.Name(), ".json") || readJSON(s.path("bridges", e.Name()), &b) != nil || b.Name+".json" != e.Name() {
			continue
		}
		if b.Pool.Subnet.IsValid() {
			all = append(all, b)
		}
	}
	return all, err
}

// removeBridge removes a bridge with its rules. The caller has the lock, and knows that nobody is connected.
func (s state) removeBridge(c *rtnl, b bridge) error {
	if !b.Foreign {
		if err := c.deleteLink(b.Name); err != nil {
			return err
		}
	}
	if err := s.forgetBridge(b); err != nil {
		return err
	}
	if err := s.installRules(); !b.Bare || !errdefs.IsUnsupported(err) {
		return err
	}
	return nil
}

// forgetBridge removes what the state knows of a bridge.
func (s state) forgetBridge(b bridge) error {
	for _, name := range []string{s.path("bridges", b.Name+".json"), s.path(lastName(b.Network)), s.path(lastName(b.Network) + ".6")} {
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	if b.Network != "" {
		if err := os.RemoveAll(s.path("names", b.Network)); err != nil {
			return err
		}
	}
	return nil
}

// takeDown removes what the host has of a network; ErrConflict while containers are connected.
func (s state) takeDown(ctx context.Context, n Network) error {
	unlock, err := s.lock()
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock()
	users, err := s.usersOf(ctx, n.ID)
	if err != nil {
		return err
	}
	if len(users) > 0 {
		return errdefs.Conflict("%d containers are connected to it, the first is %.12s; disconnect or stop them", len(users), users[0].ID)
	}
	var b bridge
	up := readJSON(s.path("bridges", n.Interface()+".json"), &b) == nil && b.Network == n.ID // since the machine started
	reached := false
	err = s.inside(func() error {
		reached = true
		c, err := dialRtnl()
		if err != nil {
			return err
		}
		defer c.close()
		switch {
		case n.Kind == KindMacvlan || n.Kind == KindIPvlan:
			if n.Options[optionParent] == "" {
				return c.deleteLink(n.Interface())
			}
		case up:
			return s.removeBridge(c, b)
		}
		return nil
	})
	if up && !reached && err == nil {
		err = s.forgetBridge(b)
	}
	return err
}

// usersOf are the living containers on a network; what dead ones hold is taken back. The caller has the lock.
func (s state) usersOf(ctx context.Context, id string) ([]held, error) {
	all, err := s.all()
	if err != nil {
		return nil, err
	}
	var users []held
	for _, h := range all {
		switch {
		case h.on(id) == nil:
		case h.Owner.alive():
			users = append(users, h)
		default:
			if err := s.release(ctx, h); err != nil {
				return nil, err
			}
		}
	}
	return users, nil
}

// sysctl writes a kernel parameter unless it has the value.
func sysctl(name, value string) error {
	path := "/proc/sys/" + name
	if old, err := os.ReadFile(path); err == nil && strings.TrimSpace(string(old)) == value {
		return nil
	}
	if err := os.WriteFile(path, []byte(value), 0o644); err != nil {
		return fmt.Errorf("set %s: %w", strings.ReplaceAll(name, "/", "."), err)
	}
	return nil
}

// macOf derives the hardware address from the IP address, so that a neighbour that
// remembers the address of an earlier container is still right.
func macOf(a netip.Addr) net.HardwareAddr {
	ip := a.As4()
	return net.HardwareAddr{0x02, 0xca, ip[0], ip[1], ip[2], ip[3]}
}
