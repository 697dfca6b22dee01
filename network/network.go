// Package network connects containers to the outside and to each other without a daemon. As root
// it keeps bridges, gives each container addresses and pairs of veth
// interfaces, and lets nftables translate addresses and published ports. For an
// ordinary user the bridges are in a network namespace of his own, and camada passes on what goes to the outside; or pasta does that job.
//
//	ports, err := network.ParsePort("127.0.0.1:8080:80/tcp")
//	res, err := network.Setup(ctx, network.Options{
//		StateDir: network.DefaultStateDir, ContainerID: id, Pid: pid, Ports: ports,
//	})
//	... // the container runs; res.Reserved stays open as long
//	err = network.Teardown(ctx, network.DefaultStateDir, id)
//
// Networks that users make are kept by Definitions and named by Options.Endpoints; Connect and Disconnect change a container that runs. Names
// finds the containers on them for a resolver, whose sockets OpenResolver makes.
//
// # What is kept where
//
// The state directory belongs to a network namespace of the host, not to a
// store: all stores of a machine share its bridge, addresses and ports. It is best
// on a tmpfs, because all that it describes ends with the machine too.
//
//	<StateDir>/
//	  lock                     flock: held for the moments of allocating
//	  bridges/<interface>.json subnets, gateways, MTU and network of a bridge
//	  last, last-<network>     the address that was given out last
//	  addresses/<ip>           symbolic link whose target is the container's id; <network>-<ip> on networks that users made
//	  ports/<proto>-<port>-<ip>   likewise
//	  names/<network>/<name>/<id> an empty file: the container has the name on the network
//	  containers/<id>.json     who the owner is and what it holds
//	  router.json              of an ordinary user: which network namespace the bridges are in
//
// A container's file is written before anything is made for it, and names the
// container's first process with its start time. So whatever a killed camada
// leaves behind is found by the next one that needs it, and by Reconcile.
package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/camada/camada/errdefs"
	"golang.org/x/sys/unix"
)

// DefaultStateDir is where root's networks are described. Another user's
// belong below $XDG_RUNTIME_DIR.
const DefaultStateDir = "/run/camada/network"

// DefaultBridge is the name of the bridge.
const DefaultBridge = "camada0"

// Driver is how a container is connected.
type Driver string

// The drivers.
const (
	// Auto takes Bridge where interfaces may be made. Elsewhere it takes Embedded for networks that users made, and for the default one Pasta, else
	// Embedded, and Slirp where the kernel lacks what that needs.
	Auto   Driver = ""
	Bridge Driver = "bridge"
	// Embedded are bridges in a network namespace of the user's, from which the process that looks after the container passes on what it sends.
	Embedded Driver = "embedded"
	Pasta    Driver = "pasta"
	Slirp    Driver = "slirp4netns"
)

// Options describes one container's connection.
type Options struct {
	// StateDir is explained at the package. It is made when missing.
	StateDir string
	// ContainerID is unique in StateDir: letters, digits, "_", "-" and ".".
	ContainerID string
	// Pid is the container's first process: its network namespace is what gets
	// connected, and its end is the end of the connection.
	Pid int
	// Driver is Auto for the best one.
	Driver Driver
	// Endpoints are the networks that a container is connected to, in the order of its interfaces; none is the default bridge. The
	// drivers in user space have only that.
	Endpoints []Endpoint
	// Ports are published on the host.
	Ports []PortMapping
	// Bridge is the name of the default bridge, DefaultBridge when empty.
	Bridge string
	// Subnets are tried in turn when the bridge is made; the first that overlaps
	// no route of the host is taken. Nil is DefaultSubnets.
	Subnets []netip.Prefix
	// MTU of the bridge when it is made; 0 takes that of the host's default route.
	MTU int

	six bool // the default bridge of a router has IPv6, as the host has
}

// Result is what a container got.
type Result struct {
	Driver  Driver
	Address netip.Prefix // with the subnet's length
	Gateway netip.Addr
	MAC     net.HardwareAddr // nil for drivers in user space
	// Interface is its name inside the container.
	Interface string
	// Connections are all of a container on bridges and their like, of which the above are the first's.
	Connections []Connection
	// Ports have the host ports that were chosen, and an address each: what was published on all addresses is there once for each family.
	Ports []PortMapping
	// Nameserver answers inside the container where the driver has one of its
	// own. It goes in front of the host's in resolv.conf.
	Nameserver netip.Addr
	// Reserved are sockets that are bound to the published ports, so that no other program takes them. The caller serves those that are Relayed, and
	// passes on what comes to where Targets says. It keeps all of them open as long as the container runs, and closes them.
	Reserved []Reserved
	// Host is this machine's address as the container reaches it, where that is not the gateway.
	Host netip.Addr
	// Outlet has what the container sends to the outside, nil but for Embedded. The caller passes it on, and closes it when the container has ended.
	Outlet *Outlet
}

// Reserved is a socket that is bound to a published port, and close-on-exec.
type Reserved struct {
	File *os.File
	Port PortMapping
	// Relayed says that the rules do not translate what comes to the port, or not all of it: because the host has rules of its own for what comes
	// in, which are obeyed so, or because the container has no address of the port's family.
	Relayed bool
}

func closeAll(rs []Reserved) {
	for _, r := range rs {
		r.File.Close()
	}
}

// Setup connects the container. Errors: ErrConflict for a port that is in use,
// ErrAlreadyExists for a container that is connected, ErrUnavailable when no
// address is free, ErrUnsupported when this user has no way to connect one. On an
// error nothing is left behind.
func Setup(ctx context.Context, o Options) (Result, error) {
	if err := o.complete(); err != nil {
		return Result{}, err
	}
	if err := ctx.Err(); err != nil {
		return Result{}, err
	}
	var other Driver // when the first is not possible here
	if o.Driver == Auto {
		o.Driver = Bridge
		if !mayBridge() {
			o.Driver, other = o.userspaceDrivers()
		}
	}
	var res Result
	var err error
	switch o.Driver {
	case Bridge:
		res, err = setupBridge(ctx, o)
	case Embedded:
		res, err = setupEmbedded(ctx, o)
		if other != Auto && errdefs.IsUnsupported(err) {
			o.Driver = other
			res, err = setupUserspace(ctx, o)
		}
	case Pasta, Slirp:
		res, err = setupUserspace(ctx, o)
	default:
		err = errdefs.Invalid("network driver %q: not known", o.Driver)
	}
	if err != nil {
		return Result{}, fmt.Errorf("connect container %.12s: %w", o.ContainerID, err)
	}
	return res, nil
}

// validID tells that an id can be a file name.
func validID(id string) bool {
	for i, c := range []byte(id) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && (i == 0 || c != '_' && c != '-' && c != '.') {
			return false
		}
	}
	return id != "" && len(id) <= 128
}

func (o *Options) complete() error {
	if !validID(o.ContainerID) {
		return errdefs.Invalid("container id %q", o.ContainerID)
	}
	if o.StateDir == "" || o.Pid <= 0 {
		return errdefs.Invalid("connect container %s: needs a state directory and a process", o.ContainerID)
	}
	if o.Bridge == "" {
		o.Bridge = DefaultBridge
	}
	if len(o.Bridge) >= unix.IFNAMSIZ {
		return errdefs.Invalid("bridge name %q: longer than %d bytes", o.Bridge, unix.IFNAMSIZ-1)
	}
	if o.Subnets == nil {
		o.Subnets = DefaultSubnets()
	}
	return nil
}

// Teardown takes back what Setup gave: rules, ports, address, helper process. It
// may be called again, and for a container that was never connected. Interfaces go
// with the container's network namespace when its process has ended, which
// the kernel does in the background; those of a process that still runs are
// removed at once.
func Teardown(ctx context.Context, stateDir, containerID string) error {
	s := state{dir: stateDir}
	unlock, err := s.lock()
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("disconnect container %.12s: %w", containerID, err)
	}
	defer unlock()
	r, err := s.load(containerID)
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err == nil {
		err = s.release(ctx, r)
	}
	if err != nil {
		return fmt.Errorf("disconnect container %.12s: %w", containerID, err)
	}
	return nil
}

// Reconcile takes back what containers hold whose process is gone, and removes
// interfaces of the bridge that belong to nobody. It returns the containers' ids.
func Reconcile(ctx context.Context, stateDir string) ([]string, error) {
	s := state{dir: stateDir}
	unlock, err := s.lock()
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reconcile networks: %w", err)
	}
	defer unlock()
	gone, err := s.reconcile(ctx)
	if err != nil {
		return gone, fmt.Errorf("reconcile networks: %w", err)
	}
	return gone, nil
}
