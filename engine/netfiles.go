package engine

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"github.com/camada/camada/container/record"
	"github.com/camada/camada/network"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

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
// options say more of both.
func networkFiles(dir, hostname string, hostNetwork bool, options NetOptions) ([]specs.Mount, error) {
	host, err := network.HostResolvConf()
	if err != nil {
		return nil, err
	}
	conf := options.dns()
	conf.KeepLoopback = hostNetwork
	resolv := network.ResolvConf(host, conf)
	var here netip.Addr
	if hostNetwork {
		here = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	var extra []string
	if hostNetwork || !options.needsGateway() { // else they are filled in with the addresses
		if extra, err = options.addHosts(here); err != nil {
			return nil, err
		}
	}
	hosts := network.Hosts(netip.Addr{}, hostname, "", extra)
	if hostNetwork {
		if b, err := os.ReadFile("/etc/hosts"); err == nil {
			hosts = append(b, network.HostsLines(extra)...)
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

// sharedFiles are the mounts of the files of a container whose network namespace is shared.
func sharedFiles(c *record.Container) []specs.Mount {
	var mounts []specs.Mount
	for _, name := range []string{"hostname", "hosts", "resolv.conf"} {
		file := filepath.Join(c.Dir(), name)
		if _, err := os.Stat(file); err == nil {
			mounts = append(mounts, specs.Mount{Destination: "/etc/" + name, Type: "bind", Source: file, Options: []string{"rbind", "rprivate"}})
		}
	}
	return mounts
}
