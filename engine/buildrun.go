package engine

import (
	"cmp"
	"net/netip"
	"path"
	"strings"

	"github.com/camada/camada/build"
	"github.com/camada/camada/build/graph"
	"github.com/camada/camada/build/op"
	"github.com/camada/camada/errdefs"
	"github.com/docker/go-units"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// BuildRun is what the RUN steps of a build get from its user; the names are those of docker build's flags.
type BuildRun struct {
	Secrets []BuildSecret
	Agents  []BuildAgent
	// Allow are entitlements: network.host, security.insecure, device[=NAME].
	Allow []string
	// Network is default, none or host; "" is default. host allows network.host, too.
	Network string
	// AddHosts are NAME:ADDRESS or NAME=ADDRESS; the address host-gateway is the machine that builds.
	AddHosts []string
	// ShmSize is the size of /dev/shm in bytes; 0 is the default.
	ShmSize int64
	// Ulimits are NAME=SOFT[:HARD].
	Ulimits      []string
	CgroupParent string
	// Memory and MemorySwap in bytes, MemorySwap -1 for no limit; CPUPeriod and CPUQuota in microseconds. 0 is no limit.
	Memory, MemorySwap     int64
	CPUShares, CPUPeriod   uint64
	CPUQuota               int64
	CPUSetCPUs, CPUSetMems string
}

// BuildSecret is a secret for RUN --mount=type=secret.
type BuildSecret struct {
	ID string
	// File is where it is read when it is first needed; Value is the secret itself when File is "".
	File  string
	Value []byte `json:"-"`
}

// BuildAgent signs for RUN --mount=type=ssh.
type BuildAgent struct {
	ID string
	// Paths are one socket of an agent, or files of keys without passphrase.
	Paths []string
}

// stepExecutor returns what runs the steps of a build, and puts what a build has to know of their settings into its options.
func (e *Engine) stepExecutor(b BuildRun, o *build.Options) (x *executor, err error) {
	x = &executor{e: e, limits: b}
	if x.devices, err = b.apply(o); err != nil {
		return nil, err
	}
	if x.secrets, err = newSecrets(b.Secrets); err != nil {
		return nil, err
	}
	if x.agents, err = newAgents(b.Agents); err != nil {
		return nil, err
	}
	return x, nil
}

// apply puts what a build has to know of it into its options.
func (b BuildRun) apply(o *build.Options) (devices deviceGrants, err error) {
	if o.Allow, devices, err = entitlements(b.Allow); err != nil {
		return devices, err
	}
	switch b.Network {
	case "", string(op.NetworkDefault):
	case string(op.NetworkNone):
		o.Network = op.NetworkNone
	case string(op.NetworkHost):
		o.Network, o.Allow.HostNetwork = op.NetworkHost, true
	default:
		return devices, errdefs.Invalid("--network %q: want default, none or host", b.Network)
	}
	o.Settings.ShmSize = b.ShmSize
	if b.CgroupParent != "" {
		o.Settings.CgroupParent = path.Join("/", b.CgroupParent)
	}
	for _, s := range b.AddHosts {
		h, err := parseHost(s)
		if err != nil {
			return devices, err
		}
		o.Settings.Hosts = append(o.Settings.Hosts, h)
	}
	for _, s := range b.Ulimits {
		u, err := units.ParseUlimit(s)
		if err != nil {
			return devices, errdefs.Invalid("--ulimit %s: %w; want NAME=SOFT or NAME=SOFT:HARD", s, err)
		}
		o.Settings.Ulimits = append(o.Settings.Ulimits, op.Ulimit{Name: u.Name, Soft: u.Soft, Hard: u.Hard})
	}
	return devices, nil
}

// parseHost reads a host of --add-host.
func parseHost(s string) (op.Host, error) {
	name, addr, ok := strings.Cut(s, "=")
	if !ok {
		name, addr, ok = strings.Cut(s, ":")
	}
	if !ok || name == "" || strings.ContainsAny(name, " \t\r\n#") {
		return op.Host{}, errdefs.Invalid("--add-host %q: want NAME:ADDRESS", s)
	}
	h := op.Host{Name: strings.ToLower(name)}
	if addr == hostGateway {
		return h, nil
	}
	if inner, ok := strings.CutPrefix(addr, "["); ok {
		addr = strings.TrimSuffix(inner, "]")
	}
	var err error
	if h.Addr, err = netip.ParseAddr(addr); err != nil {
		return op.Host{}, errdefs.Invalid("--add-host %q: %q is no address", s, addr)
	}
	return h, nil
}

// hostGateway stands for the address of the machine that builds.
const hostGateway = "host-gateway"

// deviceGrants says which devices of RUN --device a build may use: all, or those with the names; a name's value is what
// it stands for, when not "".
type deviceGrants struct {
	all   bool
	names map[string]string
}

// entitlements reads --allow.
func entitlements(allow []string) (e graph.Entitlements, devices deviceGrants, err error) {
	devices.names = map[string]string{}
	for _, s := range allow {
		name, value, _ := strings.Cut(s, "=")
		switch {
		case s == "network.host":
			e.HostNetwork = true
		case s == "security.insecure":
			e.Insecure = true
		case name == "device" && value == "":
			devices.all = true
		case name == "device":
			device, alias, _ := strings.Cut(value, ",alias=")
			if alias != "" {
				devices.names[alias] = device
			} else {
				devices.names[device] = ""
			}
		default:
			return e, devices, errdefs.Invalid("--allow %s: unknown entitlement; want network.host, security.insecure or device[=NAME]", s)
		}
	}
	return e, devices, nil
}

// limits are the resources that each step may use.
func (b BuildRun) limits(r *specs.LinuxResources) {
	if b.Memory > 0 || b.MemorySwap != 0 {
		r.Memory = &specs.LinuxMemory{}
		if b.Memory > 0 {
			r.Memory.Limit = &b.Memory
		}
		if b.MemorySwap != 0 {
			r.Memory.Swap = &b.MemorySwap
		}
	}
	if cmp.Or(b.CPUShares, b.CPUPeriod, uint64(b.CPUQuota)) != 0 || b.CPUSetCPUs != "" || b.CPUSetMems != "" {
		r.CPU = &specs.LinuxCPU{Cpus: b.CPUSetCPUs, Mems: b.CPUSetMems}
		if b.CPUShares > 0 {
			r.CPU.Shares = &b.CPUShares
		}
		if b.CPUPeriod > 0 {
			r.CPU.Period = &b.CPUPeriod
		}
		if b.CPUQuota > 0 {
			r.CPU.Quota = &b.CPUQuota
		}
	}
}
