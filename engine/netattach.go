package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/camada/camada/container/record"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/network"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// connectionsFile is in the directory of a container whose networks were changed after it was made: the requests that count from then on.
const connectionsFile = "networks.json"

// definitions are the networks that users of this store made.
func (e *Engine) definitions() network.Definitions {
	return network.Definitions{Dir: filepath.Join(e.root, "networks"), StateDir: e.networkDir()}
}

// findNetworks looks whether the networks that a container names are there, and replaces container names by IDs.
func (e *Engine) findNetworks(ctx context.Context, l *launch) error {
	for i := range l.Requests {
		r := &l.Requests[i]
		switch {
		case r.Network == networkBridge, r.Network == networkHost, r.Network == networkNone:
		case strings.HasPrefix(r.Network, networkContainer):
			c, err := e.joinedContainer(ctx, r.Network)
			if err != nil {
				return err
			}
			r.Network = networkContainer + c.Config.ID
		default:
			n, err := e.definitions().Get(r.Network)
			if err != nil {
				return fmt.Errorf("--network: %w", err)
			}
			if n.Kind == network.KindNone && len(l.Requests) > 1 {
				return errdefs.Invalid("--network %s: cannot be combined with other networks", r.Network)
			}
			r.Network = n.Name
		}
	}
	l.opts.Network = l.Requests[0].Network
	return nil
}

// requests are the networks of a container: those that it was made with, or what network connect and disconnect made of them.
func (e *Engine) requests(c *record.Container, made []network.Request) ([]network.Request, error) {
	b, err := os.ReadFile(filepath.Join(c.Dir(), connectionsFile))
	if errors.Is(err, fs.ErrNotExist) {
		if len(made) == 0 { // by an older version
			made = []network.Request{{Network: orElse(c.Config.Network, networkBridge)}}
		}
		return made, nil
	}
	var changed []network.Request
	if err == nil {
		err = json.Unmarshal(b, &changed)
	}
	if err != nil {
		return nil, fmt.Errorf("read the networks of container %s: %w", c.Config.Name, err)
	}
	return changed, nil
}

// keepRequests notes changed networks. Whoever looks after the container sees the file come.
func keepRequests(c *record.Container, rs []network.Request) error {
	b, err := json.Marshal(rs)
	if err != nil {
		return err
	}
	name := filepath.Join(c.Dir(), connectionsFile)
	if err := os.WriteFile(name+".tmp", b, 0o600); err != nil {
		return fmt.Errorf("note the networks of container %s: %w", c.Config.Name, err)
	}
	if err := os.Rename(name+".tmp", name); err != nil {
		return fmt.Errorf("note the networks of container %s: %w", c.Config.Name, err)
	}
	return nil
}

// endpoints are what a container is connected to when it starts; none when it has only its own loopback, or shares a network.
func (e *Engine) endpoints(l *launch) ([]network.Endpoint, error) {
	rs, err := e.requests(l.c, l.Requests)
	if err != nil {
		return nil, err
	}
	var ends []network.Endpoint
	for _, r := range rs {
		switch {
		case r.Network == networkHost, r.Network == networkNone, strings.HasPrefix(r.Network, networkContainer):
		case r.Network == networkBridge:
			ends = append(ends, r.Endpoint(nil))
		default:
			end, err := e.endpoint(l.c, r)
			if err != nil {
				return nil, err
			}
			if end.Network.Kind != network.KindNone {
				ends = append(ends, end)
			}
		}
	}
	return ends, nil
}

// endpoint is a request to a network that a user made; others on it find the container by its name, its short ID and its host name.
func (e *Engine) endpoint(c *record.Container, r network.Request) (network.Endpoint, error) {
	n, err := e.definitions().Get(r.Network)
	if err != nil {
		return network.Endpoint{}, err
	}
	return r.Endpoint(&n, c.Config.Name, c.Config.ID[:12], c.Config.Hostname), nil
}

// networkMounts writes the network files of a container and gives their mounts, and the network namespace to join, "" for none.
func (e *Engine) networkMounts(ctx context.Context, l *launch) ([]specs.Mount, string, error) {
	cfg := l.c.Config
	if strings.HasPrefix(cfg.Network, networkContainer) {
		other, err := e.joinedContainer(ctx, cfg.Network)
		if err != nil {
			return nil, "", err
		}
		l.joined = append(l.joined, other)
		return sharedFiles(other), fmt.Sprintf("/proc/%d/ns/net", other.State.Pid), nil
	}
	mounts, err := networkFiles(l.c.Dir(), cfg.Hostname, cfg.Network == networkHost, l.opts.Net)
	for _, m := range mounts {
		err = errors.Join(err, idsOf(cfg).give(m.Source))
	}
	return mounts, "", err
}

// joinNetwork puts a container into a network namespace.
func joinNetwork(s *specs.Spec, path string) {
	i := slices.IndexFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.NetworkNamespace })
	if i >= 0 {
		s.Linux.Namespaces[i].Path = path
	}
}
