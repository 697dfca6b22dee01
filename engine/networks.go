package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/camada/camada/container/record"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/network"
)

// NetworkOptions say what CreateNetwork makes; the names are those of docker network create's flags.
type NetworkOptions struct {
	Name, Driver string
	// Subnets, Gateways and IPRanges belong together by what contains what; AuxAddresses are NAME=ADDRESS.
	Subnets, Gateways, IPRanges, AuxAddresses []string
	IPv6, Internal, Attachable                bool
	Options, Labels                           map[string]string
}

// CreateNetwork makes a network and returns its ID.
func (e *Engine) CreateNetwork(ctx context.Context, o NetworkOptions) (string, error) {
	n := network.Network{
		Name: o.Name, Kind: network.Kind(orElse(o.Driver, string(network.KindBridge))), IPv6: o.IPv6, Internal: o.Internal, Attachable: o.Attachable,
		Options: o.Options, Labels: o.Labels,
	}
	if n.Kind != network.KindBridge && n.Kind != network.KindNone && e.rootlessNetworks() {
		return "", errdefs.Unsupported("network %s: the driver %s needs root: its interfaces are the host's", n.Name, n.Kind)
	}
	if err := o.pools(&n); err != nil {
		return "", err
	}
	n, err := e.definitions().Create(ctx, n)
	return n.ID, err
}

// rootlessNetworks tells that containers are connected in user space.
func (e *Engine) rootlessNetworks() bool { return os.Geteuid() != 0 || inUserNamespace() }

// pools reads subnets, and puts gateways, ranges and auxiliary addresses into the one that contains them.
func (o NetworkOptions) pools(n *network.Network) error {
	for _, text := range o.Subnets {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return errdefs.Invalid("--subnet %q: want ADDRESS/BITS", text)
		}
		n.Pools = append(n.Pools, network.Pool{Subnet: p})
	}
	in := func(a netip.Addr) *network.Pool {
		for i := range n.Pools {
			if n.Pools[i].Subnet.Contains(a) {
				return &n.Pools[i]
			}
		}
		return nil
	}
	for _, text := range o.Gateways {
		a, err := netip.ParseAddr(text)
		p := in(a)
		if err != nil || p == nil {
			return errdefs.Invalid("--gateway %q: no matching subnet", text)
		}
		p.Gateway = a
	}
	for _, text := range o.IPRanges {
		r, err := netip.ParsePrefix(text)
		p := in(r.Addr())
		if err != nil || p == nil {
			return errdefs.Invalid("--ip-range %q: no matching subnet", text)
		}
		p.Range = r
	}
	for _, text := range o.AuxAddresses {
		name, addr, ok := strings.Cut(text, "=")
		a, err := netip.ParseAddr(addr)
		p := in(a)
		if !ok || name == "" || err != nil || p == nil {
			return errdefs.Invalid("--aux-address %q: want NAME=ADDRESS, in a subnet", text)
		}
		if p.Reserved == nil {
			p.Reserved = map[string]netip.Addr{}
		}
		p.Reserved[name] = a
	}
	return nil
}

// NetworkRow is a network in a list.
type NetworkRow struct {
	ID        string
	Name      string
	Driver    string
	Scope     string
	IPv4      bool
	IPv6      bool
	Internal  bool
	CreatedAt time.Time
	// Labels are NAME=VALUE,... .
	Labels  string
	labels  map[string]string
	builtin bool
}

// Label gives the value of a label, for templates.
func (r NetworkRow) Label(name string) string { return r.labels[name] }

// builtinNetworks are there without being made.
func builtinNetworks() []NetworkRow {
	id := func(name string) string {
		sum := sha256.Sum256([]byte("camada network " + name))
		return hex.EncodeToString(sum[:])
	}
	return []NetworkRow{
		{ID: id(networkBridge), Name: networkBridge, Driver: "bridge", Scope: "local", IPv4: true, builtin: true},
		{ID: id(networkHost), Name: networkHost, Driver: "host", Scope: "local", IPv4: true, builtin: true},
		{ID: id(networkNone), Name: networkNone, Driver: "null", Scope: "local", IPv4: true, builtin: true},
	}
}

func networkRow(n network.Network) NetworkRow {
	return NetworkRow{ID: n.ID, Name: n.Name, Driver: string(n.Kind), Scope: "local", IPv4: n.Kind != network.KindNone, IPv6: n.IPv6, Internal: n.Internal, CreatedAt: n.Created, Labels: labelsText(n.Labels), labels: n.Labels}
}

// Networks lists networks by their names. Filters are name=, id=, driver=, label=, type=custom|builtin, scope=local and dangling=true|false.
func (e *Engine) Networks(ctx context.Context, filters []string) ([]NetworkRow, error) {
	all, err := e.definitions().List()
	if err != nil {
		return nil, err
	}
	rows := builtinNetworks()
	for _, n := range all {
		rows = append(rows, networkRow(n))
	}
	for _, f := range filters {
		keep, err := e.networkFilter(ctx, f)
		if err != nil {
			return nil, err
		}
		rows = slices.DeleteFunc(rows, func(r NetworkRow) bool { return !keep(r) })
	}
	slices.SortFunc(rows, func(a, b NetworkRow) int { return strings.Compare(a.Name, b.Name) })
	return rows, nil
}

func (e *Engine) networkFilter(ctx context.Context, text string) (func(NetworkRow) bool, error) {
	k, v, ok := strings.Cut(text, "=")
	switch {
	case !ok:
	case k == "name":
		return func(r NetworkRow) bool { return strings.Contains(r.Name, v) }, nil
	case k == "id":
		return func(r NetworkRow) bool { return strings.HasPrefix(r.ID, v) }, nil
	case k == "driver":
		return func(r NetworkRow) bool { return r.Driver == v }, nil
	case k == "scope":
		return func(r NetworkRow) bool { return r.Scope == v }, nil
	case k == "type" && (v == "custom" || v == "builtin"):
		return func(r NetworkRow) bool { return r.builtin == (v == "builtin") }, nil
	case k == "label":
		name, value, _ := strings.Cut(v, "=")
		return func(r NetworkRow) bool {
			got, ok := r.labels[name]
			return ok && (value == "" || got == value)
		}, nil
	case k == "dangling" && (v == "true" || v == "1" || v == "false" || v == "0"):
		used, err := e.usedNetworks(ctx)
		unused := v == "true" || v == "1"
		return func(r NetworkRow) bool { return !r.builtin && !used[r.Name] == unused }, err
	}
	return nil, errdefs.Invalid("--filter %q: want name=, id=, driver=, scope=, label=, type=custom|builtin or dangling=true|false", text)
}

// usedNetworks are the names of networks that containers name, running or not.
func (e *Engine) usedNetworks(ctx context.Context) (map[string]bool, error) {
	list, err := e.records.List(ctx)
	if err != nil {
		return nil, err
	}
	used := map[string]bool{}
	for _, c := range list {
		if c.State.Status == record.Dead {
			continue
		}
		rs, err := e.requestsOf(c)
		if err != nil {
			return nil, err
		}
		for _, r := range rs {
			used[r.Network] = true
		}
	}
	return used, nil
}

func (e *Engine) requestsOf(c *record.Container) ([]network.Request, error) {
	l, err := launchOf(c)
	if err != nil {
		l = &launch{} // by an older version: what the record says
	}
	return e.requests(c, l.Requests)
}

// RemoveNetwork removes a network that no running container is connected to, and returns its name. With force it is no error that there is none.
func (e *Engine) RemoveNetwork(ctx context.Context, name string, force bool) error {
	if slices.ContainsFunc(builtinNetworks(), func(r NetworkRow) bool { return r.Name == name }) {
		return errdefs.Permission("%s is a pre-defined network and cannot be removed", name)
	}
	n, err := e.definitions().Get(name)
	if force && errdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return e.definitions().Remove(ctx, n)
}

// PruneNetworks removes the networks that no container names, made before a time when that is not zero, and returns their names.
func (e *Engine) PruneNetworks(ctx context.Context, f PruneFilter) ([]string, error) {
	rows, err := e.Networks(ctx, []string{"dangling=true"})
	if err != nil {
		return nil, err
	}
	var names []string
	var errs []error
	for _, r := range rows {
		if !f.matches(r.CreatedAt, r.labels) {
			continue
		}
		if err := e.RemoveNetwork(ctx, r.Name, true); err != nil {
			if !errdefs.IsConflict(err) { // a container was faster
				errs = append(errs, err)
			}
			continue
		}
		names = append(names, r.Name)
	}
	return names, errors.Join(errs...)
}

// removeNetworks removes all networks of the store.
func (e *Engine) removeNetworks(ctx context.Context) error {
	all, err := e.definitions().List()
	if errdefs.IsCorrupt(err) {
		return nil // the bridges of damaged definitions are removed once those are gone
	}
	for _, n := range all {
		err = errors.Join(err, e.definitions().Remove(ctx, n))
	}
	return err
}

// ConnectNetwork connects a container to one more network: at once when it runs, else at its next start.
func (e *Engine) ConnectNetwork(ctx context.Context, name, container string, r network.Request) error {
	c, n, unlock, err := e.changeNetworks(ctx, name, container)
	if err != nil {
		return err
	}
	defer unlock()
	r.Network = networkBridge
	if n != nil {
		if n.Kind == network.KindNone {
			return errdefs.Invalid("network %s connects to nothing", n.Name)
		}
		r.Network = n.Name
	}
	if err := checkRequest(r, 2); err != nil {
		return err
	}
	rs, err := e.requestsOf(c)
	if err != nil {
		return err
	}
	for _, old := range rs {
		if old.Network == networkHost || strings.HasPrefix(old.Network, networkContainer) {
			return errdefs.Conflict("container %s shares the network of %s: it cannot be connected to others", c.Config.Name, old.Network)
		}
		if old.Network == r.Network {
			return errdefs.AlreadyExists("container %s is connected to network %s already", c.Config.Name, r.Network)
		}
	}
	rs = slices.DeleteFunc(rs, func(o network.Request) bool { return o.Network == networkNone })
	if !c.Running() {
		return keepRequests(c, append(rs, r))
	}
	end := r.Endpoint(nil)
	if n != nil {
		if end, err = e.endpoint(c, r); err != nil {
			return err
		}
	}
	if _, err := network.Connect(ctx, e.networkDir(), c.Config.ID, end); err != nil {
		return err
	}
	if err := keepRequests(c, append(rs, r)); err != nil {
		return errors.Join(err, network.Disconnect(ctx, e.networkDir(), c.Config.ID, networkID(n)))
	}
	if n == nil {
		return nil
	}
	return awaitResolver(ctx, c)
}

func networkID(n *network.Network) string {
	if n == nil {
		return ""
	}
	return n.ID
}

// awaitResolver waits until whoever looks after the container has given it a resolver.
func awaitResolver(ctx context.Context, c *record.Container) error {
	file := filepath.Join(c.Dir(), "resolv.conf")
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); {
		if b, err := os.ReadFile(file); err != nil || strings.Contains(string(b), network.ResolverAddr) {
			return nil //nolint:nilerr // it is being removed
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(2 * time.Millisecond):
		}
	}
	return errdefs.Unavailable("container %s is connected, but finds no names: whoever looks after it gave it no resolver", c.Config.Name)
}

// DisconnectNetwork takes a container off a network. With force it is no error that the container is not there.
func (e *Engine) DisconnectNetwork(ctx context.Context, name, container string, force bool) error {
	c, n, unlock, err := e.changeNetworks(ctx, name, container)
	if force && errdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock()
	known := networkBridge
	if n != nil {
		known = n.Name
	}
	rs, err := e.requestsOf(c)
	if err != nil {
		return err
	}
	left := slices.DeleteFunc(slices.Clone(rs), func(r network.Request) bool { return r.Network == known })
	if len(left) == len(rs) {
		return errdefs.NotFound("container %s is not connected to network %s", c.Config.Name, known)
	}
	if len(left) == 0 {
		left = []network.Request{{Network: networkNone}}
	}
	if c.Running() {
		if err := network.Disconnect(ctx, e.networkDir(), c.Config.ID, networkID(n)); err != nil {
			return err
		}
	}
	return keepRequests(c, left)
}

// changeNetworks finds a container and a network, nil for the default bridge, and keeps others from changing the container's networks.
func (e *Engine) changeNetworks(ctx context.Context, name, container string) (*record.Container, *network.Network, func(), error) {
	fail := func(err error) (*record.Container, *network.Network, func(), error) { return nil, nil, nil, err }
	c, err := e.records.Get(ctx, container)
	if err != nil {
		return fail(err)
	}
	var n *network.Network
	switch {
	case name == networkHost || name == networkNone:
		return fail(errdefs.Invalid("containers are connected to network %s when they are made only", name))
	case name != networkBridge:
		found, err := e.definitions().Get(name)
		if err != nil {
			return fail(err)
		}
		n = &found
	}
	unlock, err := lockDir(ctx, c.Dir())
	if err != nil {
		return fail(fmt.Errorf("change the networks of container %s: %w", c.Config.Name, err))
	}
	if err := c.Refresh(); err != nil {
		unlock()
		return fail(err)
	}
	return c, n, unlock, nil
}
