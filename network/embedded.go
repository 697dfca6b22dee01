package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"

	"github.com/camada/camada/errdefs"
)

// setupEmbedded connects a container to bridges in the user's router. What it sends to the outside arrives at Result.Outlet.
func setupEmbedded(ctx context.Context, o Options) (res Result, err error) {
	for _, e := range o.Endpoints {
		if e.Network != nil && e.Network.Kind != KindBridge {
			return res, errdefs.Unsupported("network %s: the driver %s needs root", e.Network.Name, e.Network.Kind)
		}
	}
	if err := mayTap(tunDevice); err != nil {
		return res, err
	}
	owner, err := findProcess(o.Pid)
	if err != nil {
		return res, errdefs.With(errdefs.ErrNotFound, err)
	}
	keeper, err := findProcess(os.Getpid())
	if err != nil {
		return res, err
	}
	netns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", o.Pid))
	if err != nil {
		return res, err
	}
	defer netns.Close()
	if err := o.surveyHost(); err != nil {
		return res, err
	}
	s := state{dir: o.StateDir}
	h := held{ID: o.ContainerID, Owner: owner, Driver: Embedded, Keeper: keeper, Relayed: true}
	plans, err := s.settle(ctx, o, &h, &res)
	if err != nil {
		return res, err
	}
	defer func() {
		if err != nil {
			closeAll(res.Reserved)
			err = errors.Join(err, Teardown(context.Background(), o.StateDir, o.ContainerID), res.Outlet.Close())
		}
	}()
	res.Driver, res.Ports, res.Connections, res.Host = Embedded, h.Ports, h.Connections, hostAddress()
	first := h.Connections[0]
	res.Address, res.Gateway, res.Interface = first.Address, first.Gateway, first.Interface
	res.MAC, _ = net.ParseMAC(first.MAC)
	err = res.Outlet.Inside(func() error {
		c, err := dialRtnl()
		if err != nil {
			return err
		}
		defer c.close()
		if err := makeInterfaces(c, netns, plans); err != nil {
			return err
		}
		if err := inNamespace(netns, func() error { return configureInside(h.Connections, nil) }); err != nil {
			return err
		}
		for _, n := range h.Connections {
			if err := h.lead(c, n); err != nil {
				return err
			}
		}
		return awaitAll(c, plans)
	})
	return res, err
}

// settle finds or makes the router, opens the container's outlet and takes addresses and ports, all under the lock.
func (s state) settle(ctx context.Context, o Options, h *held, res *Result) (plans []plan, err error) {
	ctx = context.WithoutCancel(ctx)
	unlock, err := s.begin(ctx, h.ID)
	if err != nil {
		return nil, err
	}
	defer unlock()
	router, err := s.openRouter()
	if err != nil {
		return nil, err
	}
	err = inNamespace(router, func() error {
		c, err := dialRtnl()
		if err != nil {
			return err
		}
		defer c.close()
		if err := plainBridges(); err != nil {
			return err
		}
		if res.Outlet, h.Out, err = openOutlet(c, router); err != nil {
			return err
		}
		plans, err = s.takeAll(ctx, c, o, h, res)
		return err
	})
	if err != nil {
		closeAll(res.Reserved)
		err = errors.Join(err, s.release(ctx, *h))
		if res.Outlet != nil {
			res.Outlet.Close()
		} else {
			router.Close()
		}
		return nil, err
	}
	return plans, nil
}

// releaseEmbedded closes the ways of a container in the router. A process that cannot enter it leaves them: they lead to nobody, and who gets the
// address next removes them.
func (s state) releaseEmbedded(h held) error {
	return s.inside(func() error {
		c, err := dialRtnl()
		if err != nil {
			return err
		}
		defer c.close()
		var errs []error
		for _, n := range h.Connections {
			errs = append(errs, h.unlead(c, n))
			if h.Owner.alive() {
				errs = append(errs, removeInterface(h.Owner, n))
			}
		}
		return errors.Join(errs...)
	})
}

// hostAddress is this machine's on its way out, or else its first one that is more than the loopback's; the zero value without any. Nothing is sent.
func hostAddress() netip.Addr {
	if c, err := net.Dial("udp4", "192.0.2.1:9"); err == nil { //nolint:noctx // it waits for nothing
		defer c.Close()
		if a, ok := c.LocalAddr().(*net.UDPAddr); ok {
			return a.AddrPort().Addr().Unmap()
		}
	}
	all, _ := net.InterfaceAddrs() // none is as good as an error here
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && p.Addr().IsGlobalUnicast() {
			return p.Addr()
		}
	}
	return netip.Addr{}
}

// needsBridges tells that only bridges can connect the container so.
func (o Options) needsBridges() bool {
	return len(o.Endpoints) > 1 || slices.ContainsFunc(o.Endpoints, func(e Endpoint) bool { return e.Network != nil })
}
