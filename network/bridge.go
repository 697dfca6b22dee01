package network

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/camada/camada/errdefs"
	"golang.org/x/sys/unix"
)

// bridge is the file bridge.json.
type bridge struct {
	Name   string       `json:"name"`
	Subnet netip.Prefix `json:"subnet"`
	MTU    int          `json:"mtu"`
}

// gateway is the bridge's own address: the first of the subnet.
func (b bridge) gateway() netip.Addr { return b.Subnet.Masked().Addr().Next() }

// vethPrefix begins the names of the host's ends.
const vethPrefix = "cam"

// vethName is unique for an id, and short enough for an interface.
func vethName(id string) string {
	sum := sha256.Sum256([]byte(id))
	return vethPrefix + hex.EncodeToString(sum[:6])
}

// macOf derives the hardware address from the IP address, so that a neighbour that
// remembers the address of an earlier container is still right.
func macOf(a netip.Addr) net.HardwareAddr {
	ip := a.As4()
	return net.HardwareAddr{0x02, 0xca, ip[0], ip[1], ip[2], ip[3]}
}

func setupBridge(o Options) (res Result, err error) {
	owner, err := findProcess(o.Pid)
	if err != nil {
		return res, errdefs.With(errdefs.ErrNotFound, err)
	}
	netns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", o.Pid))
	if err != nil {
		return res, err
	}
	defer netns.Close()
	c, err := dialRtnl()
	if err != nil {
		return res, err
	}
	defer c.close()
	s := state{dir: o.StateDir}
	h := held{ID: o.ContainerID, Owner: owner, Driver: Bridge, Veth: vethName(o.ContainerID)}
	b, l, err := s.allocate(c, o, &h, &res)
	if err != nil {
		return res, err
	}
	defer func() {
		if err != nil {
			for _, f := range res.Reserved {
				f.Close()
			}
			err = errors.Join(err, Teardown(context.Background(), o.StateDir, o.ContainerID))
		}
	}()
	res.Driver, res.Interface, res.Ports = Bridge, insideName, h.Ports
	res.Address, res.Gateway, res.MAC = netip.PrefixFrom(h.Address, b.Subnet.Bits()), b.gateway(), macOf(h.Address)
	if err = c.do(newVeth(h.Veth, l, int(netns.Fd()), res.MAC), noIPv6(h.Veth), hairpin(h.Veth), setUp(h.Veth)); err != nil {
		return res, err
	}
	if err = inNamespace(netns, func() error { return configureInside(res) }); err != nil {
		return res, err
	}
	if err = s.publish(b, h); err != nil {
		return res, err
	}
	err = c.awaitCarrier(h.Veth)
	return res, err
}

// configureInside runs in the container's network namespace.
func configureInside(res Result) error {
	c, err := dialRtnl()
	if err != nil {
		return err
	}
	defer c.close()
	l, err := c.linkByName(insideName)
	if err != nil {
		return err
	}
	return c.do(setUp("lo"), noIPv6(l.name), setUp(l.name), newAddress(l, res.Address), defaultRoute(res.Gateway))
}

// allocate makes the bridge when it is missing and takes an address and the
// ports, all under the lock. What was taken stands in the container's file.
func (s state) allocate(c *rtnl, o Options, h *held, res *Result) (bridge, link, error) {
	ctx := context.Background()
	if err := s.prepare(); err != nil {
		return bridge{}, link{}, err
	}
	unlock, err := s.lock()
	if err != nil {
		return bridge{}, link{}, err
	}
	defer unlock()
	if old, err := s.load(h.ID); err == nil {
		if old.Owner.alive() {
			return bridge{}, link{}, errdefs.AlreadyExists("it has a network already")
		}
		if err := s.release(ctx, old); err != nil {
			return bridge{}, link{}, err
		}
	}
	b, l, err := s.ensureBridge(c, o)
	if err != nil {
		return b, l, err
	}
	if err = s.takeAll(ctx, b, o, h, res); err != nil {
		for _, f := range res.Reserved {
			f.Close()
		}
		err = errors.Join(err, s.release(ctx, *h))
	}
	return b, l, err
}

func (s state) takeAll(ctx context.Context, b bridge, o Options, h *held, res *Result) error {
	for _, p := range o.Ports {
		if p.HostIP.Is6() && !p.HostIP.IsUnspecified() {
			return errdefs.Unsupported("publish %s: the bridge network has no IPv6", p)
		}
		chosen, f, err := reserve(p, false, func(m PortMapping) (bool, error) { return s.portTaken(ctx, m) })
		if err != nil {
			return err
		}
		res.Reserved = append(res.Reserved, f)
		h.Ports = append(h.Ports, chosen)
	}
	var err error
	if h.Address, err = s.nextAddress(b.Subnet, func(a netip.Addr) bool { return s.isFree(ctx, a) }); err != nil {
		return err
	}
	if err := s.save(*h); err != nil {
		return err
	}
	names := []string{"addresses/" + h.Address.String()}
	for _, p := range h.Ports {
		names = append(names, portName(p))
	}
	for _, name := range names {
		ok, err := s.claim(ctx, name, h.ID)
		if err != nil {
			return err
		}
		if !ok {
			return errdefs.Conflict("%s is in use by another container", strings.ReplaceAll(name, "/", " "))
		}
	}
	return os.WriteFile(s.path("last"), []byte(h.Address.String()), 0o600)
}

// isFree tells whether nobody alive has the address.
func (s state) isFree(ctx context.Context, a netip.Addr) bool {
	free, err := s.reclaim(ctx, "addresses/"+a.String())
	return err == nil && free
}

// nextAddress goes round the subnet from the last address on: an address that
// was just given back is used again last.
func (s state) nextAddress(subnet netip.Prefix, free func(netip.Addr) bool) (netip.Addr, error) {
	first := subnet.Masked().Addr().Next().Next() // behind the network and the gateway
	a := first
	if text, err := os.ReadFile(s.path("last")); err == nil {
		if last, err := netip.ParseAddr(string(text)); err == nil && subnet.Contains(last) {
			a = last.Next()
		}
	}
	for range 1 << min(32-subnet.Bits(), 16) {
		if !subnet.Contains(a) || !subnet.Contains(a.Next()) || a.Less(first) { // the end, or the broadcast address
			a = first
		}
		if free(a) {
			return a, nil
		}
		a = a.Next()
	}
	return a, errdefs.Unavailable("no address is free in %s", subnet)
}

// ensureBridge finds the bridge or makes it, with its rules.
func (s state) ensureBridge(c *rtnl, o Options) (bridge, link, error) {
	var b bridge
	known := readJSON(s.path("bridge.json"), &b) == nil && b.Subnet.IsValid()
	if known && b.Name != o.Bridge {
		return b, link{}, errdefs.Conflict("%s keeps the network of bridge %s, not of %s", s.dir, b.Name, o.Bridge)
	}
	l, err := c.linkByName(o.Bridge)
	if err == nil && known && l.up {
		return b, l, nil
	}
	if err != nil && !errors.Is(err, unix.ENODEV) {
		return b, l, err
	}
	if !known {
		if b, err = s.planBridge(c, o, l); err != nil {
			return b, l, err
		}
		if err := writeJSON(s.path("bridge.json"), b); err != nil {
			return b, l, err
		}
	}
	if l.index == 0 {
		if err := c.do(newBridge(b.Name, macOf(b.gateway()), b.MTU)); err != nil {
			return b, l, err
		}
		if l, err = c.linkByName(b.Name); err != nil {
			return b, l, err
		}
	}
	if err := c.do(noIPv6(b.Name), newAddress(l, netip.PrefixFrom(b.gateway(), b.Subnet.Bits())), setUp(b.Name)); err != nil {
		return b, l, err
	}
	l.up, l.mtu = true, b.MTU
	if err := sysctl("net/ipv4/conf/"+b.Name+"/route_localnet", "1"); err != nil {
		return b, l, err
	}
	if err := sysctl("net/ipv4/ip_forward", "1"); err != nil {
		return b, l, err
	}
	return b, l, s.installRules(b)
}

// planBridge chooses the subnet. A bridge that stands there already, because its
// state was lost, keeps its own.
func (s state) planBridge(c *rtnl, o Options, l link) (bridge, error) {
	b := bridge{Name: o.Bridge, MTU: o.MTU}
	if l.index != 0 {
		b.MTU = l.mtu
		if as, err := c.addressesOf(l); err == nil && len(as) > 0 {
			b.Subnet = as[0].Masked()
			return b, nil
		}
	}
	routes, err := os.ReadFile("/proc/thread-self/net/route")
	if err != nil {
		return b, fmt.Errorf("read the host's routes: %w", err)
	}
	used, device := parseRoutes(routes)
	if b.MTU == 0 {
		b.MTU = 1500
		if out, err := c.linkByName(device); device != "" && err == nil && out.mtu >= 576 {
			b.MTU = out.mtu
		}
	}
	b.Subnet, err = chooseSubnet(o.Subnets, used)
	return b, err
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

func removeVeth(name string) error {
	c, err := dialRtnl()
	if err != nil {
		return err
	}
	defer c.close()
	return c.deleteLink(name)
}
