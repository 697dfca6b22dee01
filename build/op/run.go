package op

import "net/netip"

// Run executes a program in a container on top of the parent.
type Run struct {
	Args    []string
	Env     []string
	Cwd     string
	User    string
	Network Network
	// Platform is what the program is made for, as os/arch[/variant]; "" is the machine's own.
	Platform string
	// Insecure gives the program all rights.
	Insecure bool
	// Mounts in the order in which they are made: what lies below another comes after it.
	Mounts []Mount
	// Devices in the order of the flags.
	Devices []Device
	// Settings hold for all RUN steps of a build.
	Settings Settings
	// Proxy is more environment, which is no part of the definition.
	Proxy []string
	// Script, when not nil, is a file that the program finds as
	// ScriptDir/<name>, executable.
	Script *File
}

// ScriptDir is where the script of a heredoc with a "#!" line is seen.
const ScriptDir = "/dev/pipes"

// Settings are what the command line says of all RUN steps.
type Settings struct {
	// Hosts are more lines of /etc/hosts.
	Hosts []Host `json:"hosts,omitempty"`
	// ShmSize is the size of /dev/shm in bytes; 0 is the default.
	ShmSize int64    `json:"shmSize,omitempty"`
	Ulimits []Ulimit `json:"ulimits,omitempty"`
	// CgroupParent is the control group in which those of the steps are made; "" is the default.
	CgroupParent string `json:"cgroupParent,omitempty"`
}

// Host is a name for an address. The address is no part of a definition, as in BuildKit: it says where
// a service runs, not what it is.
type Host struct {
	Name string `json:"name"`
	// Addr is the zero Addr for the machine that the step runs on.
	Addr netip.Addr `json:"-"`
}

// Ulimit is a limit of setrlimit(2); -1 is none.
type Ulimit struct {
	// Name is as in "nofile", without RLIMIT_.
	Name string `json:"name"`
	Soft int64  `json:"soft"`
	Hard int64  `json:"hard"`
}

// Device is a device of the Container Device Interface.
type Device struct {
	// Name is "vendor/class=device", "vendor/class" for its first one, "vendor/class=*" for all,
	// or a class that the devices' specifications name.
	Name string `json:"name"`
	// Required makes the step fail when the machine has none.
	Required bool `json:"required,omitempty"`
}

// MountType is a type of RUN --mount.
type MountType string

// The types, with the names that RUN --mount uses.
const (
	MountBind   MountType = "bind"
	MountCache  MountType = "cache"
	MountTmpfs  MountType = "tmpfs"
	MountSecret MountType = "secret"
	MountSSH    MountType = "ssh"
)

// Sharing says who may use a cache directory at once.
type Sharing string

// The kinds of sharing, with the names that RUN --mount uses.
const (
	// SharingShared lets all use it.
	SharingShared Sharing = "shared"
	// SharingPrivate gives each one a directory that nobody else uses now.
	SharingPrivate Sharing = "private"
	// SharingLocked lets the next one wait.
	SharingLocked Sharing = "locked"
)

// Where the tree of a mount comes from, when Mount.From is no index.
const (
	// FromContext is the build context.
	FromContext = -1
	// FromEmpty is an empty file system.
	FromEmpty = -2
)

// Mount is one mount of a RUN step. The fields without a name in JSON are no part of the step's definition:
// what they lead to is among its inputs, or does not count, as in BuildKit.
type Mount struct {
	Type MountType `json:"type"`
	// Target is absolute and clean, and not "/"; "" for a secret that is in the environment only.
	Target string `json:"target,omitempty"`
	// ReadOnly forbids writing. What is written to a bind otherwise is thrown away after the step.
	ReadOnly bool `json:"readOnly,omitempty"`
	// From is the index of the tree of a bind, or of what a new cache begins with, in the vertex's Sources.
	From int `json:"-"`
	// Context is the name of the context that FromContext means, "" for the build context.
	Context string `json:"-"`
	// Source is the path of a bind's file or directory in its tree, or of a cache's directory that is shown: absolute and clean.
	Source string `json:"-"`
	// CacheID names the cache; Sharing says who may use it at once.
	CacheID string  `json:"-"`
	Sharing Sharing `json:"-"`
	// Size limits a tmpfs, in bytes; 0 is the kernel's default.
	Size int64 `json:"size,omitempty"`
	// ID names the secret or the agent that the user gave.
	ID string `json:"id,omitempty"`
	// Env is the variable that the secret is in; "" for none.
	Env string `json:"env,omitempty"`
	// Required makes the step fail when the user gave none.
	Required bool `json:"required,omitempty"`
	// Mode, UID and GID are those of the secret, of the socket, or of a new cache directory; nil is the default.
	Mode *uint32 `json:"mode,omitempty"`
	UID  *uint32 `json:"uid,omitempty"`
	GID  *uint32 `json:"gid,omitempty"`
}

// Definition returns the op as JSON without Proxy.
func (r *Run) Definition() string {
	return definition("run.v1", struct {
		Args     []string `json:"args"`
		Env      []string `json:"env"`
		Cwd      string   `json:"cwd"`
		User     string   `json:"user,omitempty"`
		Network  Network  `json:"network,omitempty"`
		Insecure bool     `json:"insecure,omitempty"`
		Mounts   []Mount  `json:"mounts,omitempty"`
		Devices  []Device `json:"devices,omitempty"`
		Settings Settings `json:"settings,omitzero"`
		Script   *File    `json:"script,omitempty"`
		// Only of other machines' programs, whose results may differ from those of one's own.
		Platform string `json:"platform,omitempty"`
	}{r.Args, r.Env, r.Cwd, r.User, r.Network, r.Insecure, r.Mounts, r.Devices, r.Settings, r.Script, r.Platform})
}
