package network

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/flock"
)

// Definitions keeps the networks that users made, a file each: <Dir>/<name>.json. They outlive the machine's restart, so they belong to a
// store, and not to a state directory. Many processes use them at once.
type Definitions struct {
	// Dir is made when the first network is.
	Dir string
	// StateDir is that of the package.
	StateDir string
}

// builtin are names that mean something else.
func builtin(name string) bool {
	return slices.Contains([]string{"bridge", "host", "none", "default", "container"}, name)
}

// Create completes and keeps a definition: ID, time, and subnets that overlap with nothing in use when it has none. ErrAlreadyExists when the
// name is taken, ErrConflict when a subnet or the name of the bridge is.
func (d Definitions) Create(ctx context.Context, n Network) (Network, error) {
	if builtin(n.Name) {
		return n, errdefs.AlreadyExists("network %s exists already", n.Name)
	}
	if err := n.Check(); err != nil {
		return n, err
	}
	var id [32]byte
	_, _ = rand.Read(id[:]) // it never fails
	n.ID, n.Created = hex.EncodeToString(id[:]), time.Now().UTC()
	unlock, err := d.lock(ctx)
	if err != nil {
		return n, fmt.Errorf("make network %s: %w", n.Name, err)
	}
	defer unlock()
	// What a writer that was killed left: under the lock nobody writes.
	if stale, err := filepath.Glob(filepath.Join(d.Dir, "*.new")); err == nil {
		for _, f := range stale {
			os.Remove(f)
		}
	}
	all, err := d.List()
	if err != nil {
		return n, err
	}
	var used []netip.Prefix
	for _, o := range all {
		if o.Name == n.Name {
			return n, errdefs.AlreadyExists("network %s exists already", n.Name)
		}
		if n.Kind == KindBridge && o.Kind == KindBridge && o.Interface() == n.Interface() {
			return n, errdefs.Conflict("network %s: the bridge %s is that of network %s", n.Name, n.Interface(), o.Name)
		}
		for _, p := range o.Pools {
			used = append(used, p.Subnet)
			for _, mine := range n.Pools {
				if n.Kind == KindBridge && o.Kind == KindBridge && mine.Subnet.Overlaps(p.Subnet) {
					return n, errdefs.Conflict("network %s: subnet %s overlaps with %s of network %s", n.Name, mine.Subnet, p.Subnet, o.Name)
				}
			}
		}
	}
	if err := d.choose(&n, used); err != nil {
		return n, fmt.Errorf("make network %s: %w", n.Name, err)
	}
	if err := n.Check(); err != nil {
		return n, err
	}
	n.file = d.file(n.Name)
	return n, d.write(n)
}

// choose completes the pools.
func (d Definitions) choose(n *Network, used []netip.Prefix) error {
	if n.Kind == KindNone {
		return nil
	}
	routes, err := os.ReadFile("/proc/thread-self/net/route")
	if err != nil {
		return fmt.Errorf("read the host's routes: %w", err)
	}
	routed, _ := parseRoutes(routes)
	bridges, err := state{dir: d.StateDir}.bridges()
	if err != nil {
		return err
	}
	for _, b := range bridges { // of other stores, and those that are down
		routed = append(routed, b.Pool.Subnet)
	}
	for _, p := range n.Pools {
		for _, r := range routed {
			if n.Kind == KindBridge && p.Subnet.Overlaps(r) {
				return errdefs.Conflict("subnet %s overlaps with %s, which this machine uses already", p.Subnet, r)
			}
		}
	}
	if !n.pool(false).Subnet.IsValid() {
		if !slices.ContainsFunc(bridges, func(b bridge) bool { return b.Network == "" }) {
			// The default bridge, when it is made, asks for what is up, and not for definitions: what it would take is left to it.
			if first, err := chooseSubnet(DefaultSubnets(), routed); err == nil {
				used = append(used, first)
			}
		}
		s, err := chooseSubnet(DefaultSubnets(), append(used, routed...))
		if err != nil {
			return err
		}
		n.AutoSubnet = len(n.Pools) == 0
		n.Pools = append(n.Pools, Pool{Subnet: s})
	}
	if n.IPv6 && !n.pool(true).Subnet.IsValid() {
		// A unique local one (RFC 4193), of the ID: nobody else has it.
		sum := sha256.Sum256([]byte(n.ID))
		a := netip.AddrFrom16([16]byte{0xfd, sum[0], sum[1], sum[2], sum[3], sum[4]})
		n.Pools = append(n.Pools, Pool{Subnet: netip.PrefixFrom(a, 64)})
	}
	return nil
}

func (d Definitions) lock(ctx context.Context) (func(), error) {
	if err := os.MkdirAll(d.Dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.Open(d.Dir)
	if err != nil {
		return nil, err
	}
	if err := flock.Exclusive(ctx, f); err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}

func (d Definitions) file(name string) string { return filepath.Join(d.Dir, name+".json") }

// write keeps the definition for good: it is on disk when this returns.
func (d Definitions) write(n Network) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("keep network %s: %w", n.Name, err)
		}
	}()
	data, err := json.Marshal(n)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(d.file(n.Name)+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		os.Remove(f.Name())
		return err
	}
	if err := os.Rename(f.Name(), d.file(n.Name)); err != nil {
		return err
	}
	return syncDir(d.Dir)
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// List gives all networks by their names. A file that cannot be read is an error: a network that seems not to be there could be made again.
func (d Definitions) List() ([]Network, error) {
	entries, err := os.ReadDir(d.Dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("list networks: %w", err)
	}
	var all []Network
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".json")
		if !ok {
			continue
		}
		n, err := d.read(name)
		if errdefs.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, n)
	}
	return all, nil
}

func (d Definitions) read(name string) (Network, error) {
	var n Network
	if err := readJSON(d.file(name), &n); err != nil {
		return n, fmt.Errorf("network %s: %w", name, err)
	}
	if n.Name != name || len(n.ID) != 64 || !validID(n.ID) {
		return n, errdefs.Corrupt("%s: it is of network %q", d.file(name), n.Name)
	}
	n.file = d.file(name)
	return n, nil
}

// Get finds a network by its name, its ID, or the beginning of its ID. ErrNotFound, or ErrConflict when the beginning fits several.
func (d Definitions) Get(query string) (Network, error) {
	if ValidName(query) {
		if n, err := d.read(query); !errdefs.IsNotFound(err) {
			return n, err
		}
	}
	all, err := d.List()
	if err != nil {
		return Network{}, err
	}
	var hits []Network
	for _, n := range all {
		if query != "" && strings.HasPrefix(n.ID, query) {
			hits = append(hits, n)
		}
	}
	switch len(hits) {
	case 0:
		return Network{}, errdefs.NotFound("network %s not found", query)
	case 1:
		return hits[0], nil
	}
	return Network{}, errdefs.Conflict("%s is the beginning of several networks' IDs; give more of it", query)
}

// Remove takes a network down and forgets it. ErrConflict while containers are connected.
func (d Definitions) Remove(ctx context.Context, n Network) error {
	unlock, err := d.lock(ctx)
	if err != nil {
		return fmt.Errorf("remove network %s: %w", n.Name, err)
	}
	defer unlock()
	if now, err := d.read(n.Name); err != nil || now.ID != n.ID {
		return errors.Join(errdefs.NotFound("network %s not found", n.Name), err)
	}
	if err := (state{dir: d.StateDir}).takeDown(ctx, n); err != nil {
		return fmt.Errorf("remove network %s: %w", n.Name, err)
	}
	if err := os.Remove(d.file(n.Name)); err != nil {
		return fmt.Errorf("remove network %s: %w", n.Name, err)
	}
	return syncDir(d.Dir)
}
