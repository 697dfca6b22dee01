package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"github.com/camada/camada/build/op"
	"github.com/camada/camada/network"
	"github.com/camada/camada/userns"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// networkDir is where the networks of this machine (or, rootless, of this user) are described.
func (e *Engine) networkDir() string {
	if !userns.Rootless() {
		return network.DefaultStateDir
	}
	if dir := e.getenv("XDG_RUNTIME_DIR"); dir != "" {
		return filepath.Join(dir, "camada", "network")
	}
	return filepath.Join(e.root, "network")
}

// cgroupsPath names the control group of a container; those of one store have a prefix in common, so that
// its collection finds them.
func (e *Engine) cgroupsPath(id string) string { return "camada/" + e.cgroupPrefix() + id }

func (e *Engine) cgroupPrefix() string {
	sum := sha256.Sum256([]byte(e.root))
	return hex.EncodeToString(sum[:4]) + "-"
}

// inUserNamespace reports whether root's rights end at a user namespace.
func inUserNamespace() bool {
	if userns.Rootless() {
		return true
	}
	b, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return false
	}
	var inside, outside, n uint64
	_, err = fmt.Sscan(string(b), &inside, &outside, &n)
	return err != nil || outside != 0 || n < 1<<32-1
}

// bridged connects one container to the bridge and writes its network files.
type bridged struct {
	stateDir, id, files, hostname string
	hosts                         []op.Host // more lines of /etc/hosts
	ports                         []network.PortMapping
	result                        network.Result
	connected                     bool
}

func (n *bridged) connect(ctx context.Context, pid int) error {
	res, err := network.Setup(ctx, network.Options{StateDir: n.stateDir, ContainerID: n.id, Pid: pid, Ports: n.ports})
	if err != nil {
		return err
	}
	n.result, n.connected = res, true
	if err := rewrite(filepath.Join(n.files, "hosts"), network.Hosts(res.Address.Addr(), n.hostname, "", hostLines(n.hosts, res.Gateway))); err != nil {
		return err
	}
	if !res.Nameserver.IsValid() {
		return nil
	}
	host, err := network.HostResolvConf()
	if err != nil {
		return err
	}
	return rewrite(filepath.Join(n.files, "resolv.conf"), network.ResolvConf(host, network.DNS{InsideNameserver: res.Nameserver}))
}

func (n *bridged) disconnect() {
	for _, f := range n.result.Reserved {
		f.Close()
	}
	if n.connected {
		_ = network.Teardown(context.Background(), n.stateDir, n.id) // what is left is found by the next Reconcile
	}
}

// rewrite replaces the content of a file that is mounted somewhere, and so must stay the same file. Every user of the
// container can read it, whatever the umask here is.
func rewrite(name string, b []byte) error {
	err := os.WriteFile(name, b, 0o644)
	if err == nil {
		err = os.Chmod(name, 0o644)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(name), err)
	}
	return nil
}

// networkFiles writes hosts, hostname and resolv.conf into dir and returns their mounts. Addresses are filled in when there are any.
func networkFiles(dir, hostname string, hostNetwork bool) ([]specs.Mount, error) {
	host, err := network.HostResolvConf()
	if err != nil {
		return nil, err
	}
	resolv := network.ResolvConf(host, network.DNS{KeepLoopback: hostNetwork})
	hosts := network.Hosts(netip.Addr{}, hostname, "", nil)
	if hostNetwork {
		if b, err := os.ReadFile("/etc/hosts"); err == nil {
			hosts = b
		}
	}
	var mounts []specs.Mount
	for name, b := range map[string][]byte{"resolv.conf": resolv, "hosts": hosts, "hostname": network.Hostname(hostname)} {
		file := filepath.Join(dir, name)
		if err := rewrite(file, b); err != nil {
			return nil, err
		}
		mounts = append(mounts, specs.Mount{Destination: "/etc/" + name, Type: "bind", Source: file, Options: []string{"rbind", "rprivate"}})
	}
	slices.SortFunc(mounts, func(a, b specs.Mount) int {
		if a.Destination < b.Destination {
			return -1
		}
		return 1
	})
	return mounts, nil
}
