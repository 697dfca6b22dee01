package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/camada/camada/errdefs"
	"golang.org/x/sys/unix"
)

func setupBridge(ctx context.Context, o Options) (res Result, err error) {
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
	seen, err := lookAround(len(o.Ports) > 0)
	if err != nil {
		return res, err
	}
	h := held{ID: o.ContainerID, Owner: owner, Driver: Bridge, Relayed: seen.filters}
	plans, err := s.allocate(ctx, c, o, &h, &res)
	if err != nil {
		return res, err
	}
	defer func() {
		if err != nil {
			closeAll(res.Reserved)
			err = errors.Join(err, Teardown(context.Background(), o.StateDir, o.ContainerID))
		}
	}()
	res.Driver, res.Ports, res.Connections = Bridge, h.Ports, h.Connections
	first := h.Connections[0]
	res.Address, res.Gateway, res.Interface = first.Address, first.Gateway, first.Interface
	res.MAC, _ = net.ParseMAC(first.MAC)
	if err = makeInterfaces(c, netns, plans); err != nil {
		return res, err
	}
	if err = inNamespace(netns, func() error { return configureInside(h.Connections, nil) }); err != nil {
		return res, err
	}
	if !slices.ContainsFunc(h.Connections, func(n Connection) bool { return n.Bare }) {
		if err = s.publish(h, seen); err != nil {
			return res, err
		}
	}
	return res, awaitAll(c, plans)
}

// makeInterfaces makes the interfaces, with their inner ends in the network namespace.
func makeInterfaces(c *rtnl, netns *os.File, plans []plan) error {
	for _, p := range plans {
		mac, _ := net.ParseMAC(p.MAC) // ipvlan has none
		if p.Kind != KindBridge {
			if err := makeSubInterface(c, p, netns, mac); err != nil {
				return err
			}
			continue
		}
		reqs := []*request{newVeth(p.Host, p.Interface, p.parent, int(netns.Fd()), mac), noIPv6(p.Host), portMode(p.Host, p.bridge.Isolated), setUp(p.Host)}
		if err := c.do(reqs...); err != nil {
			return err
		}
	}
	return nil
}

func awaitAll(c *rtnl, plans []plan) error {
	for _, p := range plans {
		if p.Host == "" {
			continue
		}
		names := []string{p.Host}
		if p.parent.state != operUp { // a bridge that had no other port, which drops packets for as long
			names = append(names, p.parent.name)
		}
		for _, name := range names {
			if err := c.awaitCarrier(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// configureInside runs in the container's network namespace: it gives addresses to the new interfaces, and default routes unless an earlier
// one of old has them.
func configureInside(added, old []Connection) error {
	c, err := dialRtnl()
	if err != nil {
		return err
	}
	defer c.close()
	reqs := []*request{setUp("lo")}
	for _, n := range added {
		l, err := c.linkByName(n.Interface)
		if err != nil {
			return err
		}
		if !n.Address6.IsValid() {
			reqs = append(reqs, noIPv6(l.name))
		} else if err := sysctl("net/ipv6/conf/"+l.name+"/disable_ipv6", "0"); err != nil {
			return err
		}
		reqs = append(reqs, setUp(l.name), newAddress(l, n.Address))
		if n.Address6.IsValid() {
			reqs = append(reqs, newAddress(l, n.Address6))
		}
		reqs = append(reqs, routes(old, n, l)...)
		old = append(old, n)
	}
	return c.do(reqs...)
}

// routes are the default routes through n that no earlier connection has.
func routes(earlier []Connection, n Connection, l link) []*request {
	four, six := true, n.Address6.IsValid()
	for _, e := range earlier {
		if e.wayOut() {
			four, six = false, six && !e.Address6.IsValid()
		}
	}
	if !n.wayOut() || n.Bare {
		return nil
	}
	var reqs []*request
	if four {
		reqs = append(reqs, defaultRoute(n.Gateway, unix.AF_INET, l))
	}
	if six {
		reqs = append(reqs, defaultRoute(n.Gateway6, unix.AF_INET6, l))
	}
	return reqs
}

// wayOut tells whether a network leads to the outside.
func (n Connection) wayOut() bool { return !n.Internal }

// allocate makes the bridges that are missing and takes addresses and the
// ports, all under the lock. What was taken stands in the container's file.
func (s state) allocate(ctx context.Context, c *rtnl, o Options, h *held, res *Result) ([]plan, error) {
	ctx = context.WithoutCancel(ctx)
	unlock, err := s.begin(ctx, h.ID)
	if err != nil {
		return nil, err
	}
	defer unlock()
	plans, err := s.takeAll(ctx, c, o, h, res)
	if err != nil {
		closeAll(res.Reserved)
		err = errors.Join(err, s.release(ctx, *h))
	}
	return plans, err
}

// begin takes the lock, and takes back what the container held before.
func (s state) begin(ctx context.Context, id string) (unlock func(), err error) {
	if err := s.prepare(); err != nil {
		return nil, err
	}
	if unlock, err = s.lock(); err != nil {
		return nil, err
	}
	if err := s.clear(ctx, id); err != nil {
		unlock()
		return nil, err
	}
	return unlock, nil
}

// clear takes back what the container held when it ran before. The caller has the lock.
func (s state) clear(ctx context.Context, id string) error {
	old, err := s.load(id)
	if err != nil {
		return nil //nolint:nilerr // it held nothing, or nothing that can be read
	}
	if old.Owner.alive() {
		return errdefs.AlreadyExists("it has a network already")
	}
	return s.release(ctx, old)
}

func (s state) takeAll(ctx context.Context, c *rtnl, o Options, h *held, res *Result) (_ []plan, err error) {
	ends := o.Endpoints
	if len(ends) == 0 {
		ends = []Endpoint{{}}
	}
	plans := make([]plan, 0, len(ends))
	h.Connections = make([]Connection, 0, len(ends)) // plans point into it
	for _, e := range ends {
		p, err := s.join(ctx, c, o, e, h)
		if err != nil {
			return nil, err
		}
		plans = append(plans, p)
		h.Relayed = h.Relayed || p.Bare
	}
	to, _ := h.target()
	for _, p := range o.Ports {
		if !to.IsValid() {
			return nil, errdefs.Invalid("publish %s: no network of the container can publish ports: it needs a bridge that is not internal", p)
		}
		var chosen []Reserved
		take := func() (err error) {
			chosen, err = reserve(p, h.relays, func(m PortMapping) (bool, error) { return s.portTaken(ctx, m) })
			return err
		}
		if h.Driver == Embedded { // this is the router
			err = onHost(take)
		} else {
			err = take()
		}
		if err != nil {
			return nil, err
		}
		for _, r := range chosen {
			res.Reserved = append(res.Reserved, r)
			h.Ports = append(h.Ports, r.Port)
		}
	}
	if err := s.save(*h); err != nil {
		return nil, err
	}
	for _, p := range h.Ports {
		if err := s.take(ctx, portName(p), h.ID); err != nil {
			return nil, err
		}
	}
	for _, n := range h.Connections {
		if err := s.takeClaims(ctx, n, h.ID); err != nil {
			return nil, err
		}
	}
	return plans, nil
}

func (s state) take(ctx context.Context, name, id string) error {
	ok, err := s.claim(ctx, name, id)
	if err == nil && !ok {
		err = errdefs.Conflict("%s is in use by another container", strings.ReplaceAll(name, "/", " "))
	}
	return err
}

// takeClaims makes the links of addresses, and the files of names, which many may have.
func (s state) takeClaims(ctx context.Context, n Connection, id string) error {
	addresses, names := n.claims()
	for _, a := range addresses {
		if err := s.take(ctx, a, id); err != nil {
			return err
		}
	}
	for _, name := range names {
		if err := os.MkdirAll(s.path(name), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(s.path(name, id), nil, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// relays tells whether a port's socket is served. One of IPv6 always is: no packet is led from [::1] to elsewhere, and the container may have no
// address of IPv6. What the rules translate never comes to the socket.
func (h held) relays(p PortMapping) bool { return h.Relayed || p.HostIP.Is6() }

// target is where published ports lead to: the first bridge that has a way out.
func (h held) target() (to, to6 netip.Addr) {
	for _, n := range h.Connections {
		if n.Kind == KindBridge && n.wayOut() {
			return n.Address.Addr(), n.Address6.Addr()
		}
	}
	return to, to6
}
