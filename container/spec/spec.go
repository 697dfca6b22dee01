package spec

import (
	"path"

	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Options are what a user can ask for. The zero value, with Args, is a container with Docker's defaults.
type Options struct {
	Args []string
	Env  []string
	// Cwd is absolute; "" is "/".
	Cwd  string
	User User
	// Terminal gives the process a terminal.
	Terminal bool
	Hostname string
	// ReadOnly makes the root file system read-only.
	ReadOnly bool
	// HostNetwork leaves the container in the caller's network namespace.
	HostNetwork bool
	// Privileged takes all protection away.
	Privileged bool
	// CapAdd and CapDrop are names with or without CAP_, or ALL.
	CapAdd, CapDrop []string
	// Mounts are added to the default ones; one with the same target replaces it.
	Mounts []specs.Mount
	// CgroupsPath is where the control group is made.
	CgroupsPath string
	// Memory in bytes, NanoCPUs in billionths of a processor, PidsLimit; 0 is no limit.
	Memory, NanoCPUs, PidsLimit int64
	Confinement
	// PID, IPC and UTS are the namespaces that the container does not have to itself: Host, or the path of another one's. "" is
	// one of its own. HostCgroup leaves it in the caller's cgroup namespace.
	PID, IPC, UTS string
	HostCgroup    bool
	// NoShm leaves out /dev/shm.
	NoShm bool
	// UserNamespace says that the caller is root of a user namespace only: what is not permitted there is left out.
	UserNamespace bool
	// UserIDs and GroupIDs are the ids of a user namespace of the container's own; Users is the path of another one's, with these ids. Without
	// ids the container shares the caller's.
	UserIDs, GroupIDs []specs.LinuxIDMapping
	Users             string
	// SharedNetwork says that the network namespace is another container's.
	SharedNetwork bool
}

// ownUsers reports whether the container is in another user namespace than the caller.
func (o Options) ownUsers() bool { return len(o.UserIDs) > 0 }

// Host stands for a namespace of the caller's.
const Host = "host"

// User is who the process runs as.
type User struct {
	UID, GID uint32
	// Groups are the supplementary ones.
	Groups []uint32
	// Home is the home directory, "" when it is not known.
	Home string
}

// CPUPeriod is the length of a period of the processor limit in microseconds, Docker's.
const CPUPeriod = 100_000

// New makes the spec. Errors are of class ErrInvalid.
func New(o Options) (*specs.Spec, error) {
	if len(o.Args) == 0 {
		return nil, errdefs.Invalid("no command was given, and the image has none")
	}
	if o.Cwd == "" {
		o.Cwd = "/"
	}
	if !path.IsAbs(o.Cwd) {
		return nil, errdefs.Invalid("working directory %q: want an absolute path", o.Cwd)
	}
	caps, err := capabilities(o)
	if err != nil {
		return nil, err
	}
	s := &specs.Spec{
		Version: specs.Version,
		Process: &specs.Process{
			Terminal: o.Terminal, Args: o.Args, Env: o.Env, Cwd: o.Cwd,
			User:         specs.User{UID: o.User.UID, GID: o.User.GID, AdditionalGids: o.User.Groups},
			Capabilities: granted(caps, o.User.UID),
		},
		Root:     &specs.Root{Readonly: o.ReadOnly},
		Hostname: hostname(o),
		Mounts:   mounts(o),
		Linux: &specs.Linux{
			Namespaces:  namespaces(o),
			CgroupsPath: o.CgroupsPath,
			Resources:   resources(o),
		},
	}
	if o.ownUsers() && o.Users == "" {
		s.Linux.UIDMappings, s.Linux.GIDMappings = o.UserIDs, o.GroupIDs
	}
	if o.Privileged {
		if s.Linux.Devices, err = hostDevices(o); err != nil {
			return nil, err
		}
	}
	return s, o.confine(s, caps)
}

// hostname is what the container sets: nothing where it would be another one's name.
func hostname(o Options) string {
	if o.UTS != "" {
		return ""
	}
	return o.Hostname
}

func namespaces(o Options) []specs.LinuxNamespace {
	ns := []specs.LinuxNamespace{{Type: specs.MountNamespace}}
	for _, n := range []struct {
		kind specs.LinuxNamespaceType
		path string
	}{{specs.PIDNamespace, o.PID}, {specs.IPCNamespace, o.IPC}, {specs.UTSNamespace, o.UTS}} {
		if n.path != Host {
			ns = append(ns, specs.LinuxNamespace{Type: n.kind, Path: n.path})
		}
	}
	if o.ownUsers() {
		ns = append(ns, specs.LinuxNamespace{Type: specs.UserNamespace, Path: o.Users})
	}
	if !o.HostCgroup {
		ns = append(ns, specs.LinuxNamespace{Type: specs.CgroupNamespace})
	}
	if !o.HostNetwork {
		ns = append(ns, specs.LinuxNamespace{Type: specs.NetworkNamespace})
	}
	return ns
}

func resources(o Options) *specs.LinuxResources {
	r := &specs.LinuxResources{}
	if !o.UserNamespace { // there, nodes cannot be made, so that there is nothing to forbid
		r.Devices = deviceRules(o.Privileged)
	}
	if o.Memory > 0 {
		r.Memory = &specs.LinuxMemory{Limit: &o.Memory}
	}
	if o.NanoCPUs > 0 {
		period, quota := uint64(CPUPeriod), o.NanoCPUs*CPUPeriod/1e9
		r.CPU = &specs.LinuxCPU{Period: &period, Quota: &quota}
	}
	if o.PidsLimit > 0 {
		r.Pids = &specs.LinuxPids{Limit: &o.PidsLimit}
	}
	return r
}

// deviceRules are Docker's: nodes can be made of all devices, and opened of those that every container has.
func deviceRules(all bool) []specs.LinuxDeviceCgroup {
	if all {
		return []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}
	}
	rule := func(kind string, major, minor int64, access string) specs.LinuxDeviceCgroup {
		return specs.LinuxDeviceCgroup{Allow: true, Type: kind, Major: &major, Minor: &minor, Access: access}
	}
	const any = -1
	return []specs.LinuxDeviceCgroup{
		{Allow: false, Access: "rwm"},
		rule("c", any, any, "m"), rule("b", any, any, "m"),
		rule("c", 1, 3, "rwm"), rule("c", 1, 5, "rwm"), rule("c", 1, 7, "rwm"), rule("c", 1, 8, "rwm"), rule("c", 1, 9, "rwm"),
		rule("c", 5, 0, "rwm"), rule("c", 5, 1, "rwm"), rule("c", 5, 2, "rwm"), rule("c", 136, any, "rwm"),
	}
}
