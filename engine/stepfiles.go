package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/camada/camada/build/op"
	"github.com/camada/camada/container"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// stepFiles are the files that connect a step to the network. Without a network the root file system's own serve.
func (x *executor) stepFiles(req op.RunRequest, files string) ([]specs.Mount, error) {
	if req.Network == op.NetworkNone && len(req.Settings.Hosts) == 0 {
		return nil, nil
	}
	mounts, err := networkFiles(files, req.Hostname, req.Network == op.NetworkHost, NetOptions{})
	if err != nil {
		return nil, err
	}
	if req.Network == op.NetworkNone {
		mounts = slices.DeleteFunc(mounts, func(m specs.Mount) bool { return m.Destination != "/etc/hosts" })
	}
	if len(req.Settings.Hosts) == 0 {
		return mounts, nil
	}
	f, err := os.OpenFile(filepath.Join(files, "hosts"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("add hosts: %w", err)
	}
	defer f.Close()
	for _, line := range hostLines(req.Settings.Hosts, netip.AddrFrom4([4]byte{127, 0, 0, 1})) {
		name, addr, _ := strings.Cut(line, ":")
		if _, err := fmt.Fprintf(f, "%s\t%s\n", addr, name); err != nil {
			return nil, fmt.Errorf("add hosts: %w", err)
		}
	}
	return mounts, nil
}

// hostLines are hosts in the form "name:address". gateway is the address of this machine as the step sees it.
func hostLines(hosts []op.Host, gateway netip.Addr) []string {
	var lines []string
	for _, h := range hosts {
		addr := h.Addr
		if !addr.IsValid() {
			addr = gateway
		}
		if addr.IsValid() {
			lines = append(lines, h.Name+":"+addr.String())
		}
	}
	return lines
}

// visible leaves out the mounts that the step's own would hide: their places would have to be made in what the step mounts.
func visible(mounts, step []specs.Mount) []specs.Mount {
	return slices.DeleteFunc(mounts, func(m specs.Mount) bool {
		return slices.ContainsFunc(step, func(s specs.Mount) bool {
			return m.Destination == s.Destination || strings.HasPrefix(m.Destination, strings.TrimSuffix(s.Destination, "/")+"/")
		})
	})
}

// withEnv returns env with the variables of more, which replace others of their names. env is not changed.
func withEnv(env, more []string) []string {
	out := make([]string, 0, len(env)+len(more)+1)
	for i, kv := range slices.Concat(env, more) {
		name, _, _ := strings.Cut(kv, "=")
		if i >= len(env) {
			out = slices.DeleteFunc(out, func(o string) bool { return strings.HasPrefix(o, name+"=") })
		}
		out = append(out, kv)
	}
	return out
}

// cgroupsPathIn is cgroupsPath below another group; "" is the usual place.
func (e *Engine) cgroupsPathIn(parent, id string) string {
	return strings.TrimPrefix(path.Join(parent, e.cgroupsPath(id)), "/")
}

// noted is a control group at an unusual place, in a file of the step's temporary directory: whoever finds that directory without an
// owner knows what else to remove.
type noted struct{ ID, Path string }

const notedGroup = "cgroup.json"

func noteGroup(dir, id, path string) error {
	data, err := json.Marshal(noted{id, path})
	if err != nil {
		return fmt.Errorf("note a control group: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, notedGroup), data, 0o600); err != nil {
		return fmt.Errorf("note a control group: %w", err)
	}
	return nil
}

// removeNotedGroup removes the control group that is noted in dir, if there is one.
func removeNotedGroup(ctx context.Context, dir string) error {
	data, err := os.ReadFile(filepath.Join(dir, notedGroup))
	if err != nil {
		return nil //nolint:nilerr // there is none
	}
	var n noted
	if json.Unmarshal(data, &n) != nil || n.ID == "" || n.Path == "" {
		return nil //nolint:nilerr // half written: the group was not made yet
	}
	return container.Cleanup(ctx, n.ID, n.Path)
}
