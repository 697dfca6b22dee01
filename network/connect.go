package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"

	"github.com/camada/camada/errdefs"
)

// Connect connects a container that runs to one more network. Errors are those of Setup; ErrNotFound when the container is not connected to
// bridges at all.
func Connect(ctx context.Context, stateDir, containerID string, e Endpoint) (Connection, error) {
	n, err := attach(context.WithoutCancel(ctx), stateDir, containerID, e)
	if err != nil {
		return n, fmt.Errorf("connect container %.12s: %w", containerID, err)
	}
	return n, nil
}

func attach(ctx context.Context, stateDir, id string, e Endpoint) (n Connection, err error) {
	s := state{dir: stateDir}
	unlock, err := s.lock()
	if err != nil {
		return n, err
	}
	defer unlock()
	h, err := s.running(id)
	if err != nil {
		return n, err
	}
	netns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", h.Owner.Pid))
	if err != nil {
		return n, err
	}
	defer netns.Close()
	o := Options{Bridge: DefaultBridge, Subnets: DefaultSubnets()}
	if h.Driver == Embedded {
		if e.Network != nil && e.Network.Kind != KindBridge {
			return n, errdefs.Unsupported("network %s: the driver %s needs root", e.Network.Name, e.Network.Kind)
		}
		if err := o.surveyHost(); err != nil {
			return n, err
		}
	}
	err = s.insideOf(h, func() error {
		n, err = s.attachTo(ctx, h, o, e, netns)
		return err
	})
	return n, err
}

// insideOf runs f where the bridges of a container are.
func (s state) insideOf(h held, f func() error) error {
	if h.Driver != Embedded {
		return f()
	}
	router, err := s.findRouter()
	if err != nil {
		return err
	}
	if router == nil {
		return errdefs.Unavailable("whoever looks after it has just ended")
	}
	defer router.Close()
	return inNamespace(router, f)
}

// attachTo does it where the bridges are.
func (s state) attachTo(ctx context.Context, h held, o Options, e Endpoint, netns *os.File) (n Connection, err error) {
	id := h.ID
	c, err := dialRtnl()
	if err != nil {
		return n, err
	}
	defer c.close()
	before := h
	before.Connections = slices.Clone(h.Connections)
	p, err := s.join(ctx, c, o, e, &h)
	if err != nil {
		return n, err
	}
	n = *p.Connection
	defer func() {
		if err != nil {
			err = errors.Join(err, removeInterface(h.Owner, n), s.dropClaims(n, id), s.save(before))
		}
	}()
	if err = s.save(h); err != nil {
		return n, err
	}
	if err = s.takeClaims(ctx, n, id); err != nil {
		return n, err
	}
	plans := []plan{p}
	if err = makeInterfaces(c, netns, plans); err != nil {
		return n, err
	}
	if err = inNamespace(netns, func() error { return configureInside([]Connection{n}, before.Connections) }); err != nil {
		return n, err
	}
	if err = republish(before, h); err != nil {
		return n, err
	}
	if h.Driver == Embedded {
		if err = h.lead(c, n); err != nil {
			return n, err
		}
	}
	return n, awaitAll(c, plans)
}

// running loads a container that can be connected and disconnected.
func (s state) running(id string) (held, error) {
	h, err := s.load(id)
	switch {
	case err != nil:
		return h, err
	case h.Driver != Bridge && h.Driver != Embedded:
		return h, errdefs.Unsupported("its network is that of %s, which connects to nothing else; start it with --network and the name of a network that was made with camada network create", h.Driver)
	case !h.Owner.alive():
		return h, errdefs.NotFound("it does not run")
	}
	return h, nil
}

// Disconnect takes a container that runs off a network; network is the ID of its definition, "" the default bridge's.
func Disconnect(ctx context.Context, stateDir, containerID, network string) error {
	if err := detach(context.WithoutCancel(ctx), stateDir, containerID, network); err != nil {
		return fmt.Errorf("disconnect container %.12s: %w", containerID, err)
	}
	return nil
}

func detach(_ context.Context, stateDir, id, network string) error {
	s := state{dir: stateDir}
	unlock, err := s.lock()
	if err != nil {
		return err
	}
	defer unlock()
	h, err := s.running(id)
	if err != nil {
		return err
	}
	gone := h.on(network)
	if gone == nil {
		return errdefs.NotFound("it is not connected to the network")
	}
	n, before := *gone, h
	before.Connections = slices.Clone(h.Connections)
	h.Connections = slices.DeleteFunc(h.Connections, func(c Connection) bool { return c.Network == network })
	if err := republish(before, h); err != nil {
		return err
	}
	// The file goes last: what was interrupted is done again.
	err = s.insideOf(h, func() error {
		if h.Driver != Embedded {
			return removeInterface(h.Owner, n)
		}
		c, err := dialRtnl()
		if err != nil {
			return err
		}
		defer c.close()
		return errors.Join(h.unlead(c, n), removeInterface(h.Owner, n))
	})
	if err := errors.Join(err, s.dropClaims(n, id), s.save(h)); err != nil {
		return err
	}
	return rerouteInside(h, n)
}

// rerouteInside gives the way out that went with a connection to the first that is left.
func rerouteInside(h held, gone Connection) error {
	if !gone.wayOut() {
		return nil
	}
	i := slices.IndexFunc(h.Connections, Connection.wayOut)
	if i < 0 {
		return nil
	}
	netns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", h.Owner.Pid))
	if err != nil {
		return err
	}
	defer netns.Close()
	return inNamespace(netns, func() error {
		c, err := dialRtnl()
		if err != nil {
			return err
		}
		defer c.close()
		l, err := c.linkByName(h.Connections[i].Interface)
		if err != nil {
			return err
		}
		reqs := routes(nil, h.Connections[i], l)
		for _, r := range reqs {
			r.optional = true // one that is there already
		}
		return c.do(reqs...)
	})
}

// republish leads published ports to where a container can be reached now.
func republish(before, after held) error {
	from, from6 := before.target()
	to, to6 := after.target()
	if len(before.Ports) == 0 || from == to && from6 == to6 {
		return nil
	}
	if err := unpublish(before); err != nil {
		return err
	}
	return addPorts(after)
}

// Holder is a container on a network.
type Holder struct {
	ID string
	Connection
}

// Holders lists the living containers on a network; "" is the default bridge.
func Holders(stateDir, network string) ([]Holder, error) {
	all, err := state{dir: stateDir}.all()
	if err != nil {
		return nil, fmt.Errorf("list the containers of a network: %w", err)
	}
	var hs []Holder
	for _, h := range all {
		if n := h.on(network); n != nil && h.Owner.alive() {
			hs = append(hs, Holder{ID: h.ID, Connection: *n})
		}
	}
	return hs, nil
}

// Connections lists what a living container is connected to.
func Connections(stateDir, containerID string) ([]Connection, error) {
	h, err := state{dir: stateDir}.load(containerID)
	if errdefs.IsNotFound(err) || err == nil && !h.Owner.alive() {
		return nil, nil
	}
	return h.Connections, err
}

// Targets are where a relay passes on what comes to a published port; the second is for when nobody listens at the first. There are none when the
// container has no such network.
func Targets(stateDir, containerID string, p PortMapping) (to []netip.AddrPort) {
	h, err := state{dir: stateDir}.load(containerID)
	if err != nil {
		return nil
	}
	four, six := h.target()
	if p.HostIP.Is6() && six.IsValid() {
		to = append(to, netip.AddrPortFrom(six, p.ContainerPort))
	}
	if four.IsValid() {
		to = append(to, netip.AddrPortFrom(four, p.ContainerPort))
	}
	return to
}

// DefaultPool gives the subnet and gateway of the default bridge, once there is one.
func DefaultPool(stateDir string) (subnet netip.Prefix, gateway netip.Addr, ok bool) {
	var b bridge
	err := readJSON(state{dir: stateDir}.path("bridges", DefaultBridge+".json"), &b)
	return b.Pool.Subnet, b.Pool.Gateway, err == nil && b.Pool.Subnet.IsValid()
}
