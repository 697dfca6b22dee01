package op

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/camada/camada/mount"
	"github.com/opencontainers/go-digest"
)

// Network says what a RUN step can reach.
type Network string

// The networks, with the names that RUN --network uses.
const (
	// NetworkDefault is the network that the executor gives to build steps.
	NetworkDefault Network = "default"
	// NetworkNone is a network namespace with loopback only.
	NetworkNone Network = "none"
	// NetworkHost is the network of the host.
	NetworkHost Network = "host"
)

// Hostname is the host name of every RUN step, so that no result depends on
// the machine's.
const Hostname = "buildkitsandbox"

// BindMount is a directory or file of the host that a RUN step sees.
type BindMount struct {
	// Source is an absolute path on the host.
	Source string
	// Target is an absolute path in the container. It is made for the run and
	// leaves no trace in the snapshot.
	Target string
	// ReadOnly forbids writing through the mount.
	ReadOnly bool
}

// StepMount is a mount of RUN --mount with what it shows. What a secret or an agent is, the executor knows.
type StepMount struct {
	Mount
	// Tree is the file system of a bind, and Path what is shown of it, looked up as in a chroot.
	Tree mount.Mount
	Path string
	// From is the digest of what a new cache directory begins with, "" for nothing, and Fill writes it
	// as an uncompressed tar, in which it is called TreeName.
	From digest.Digest
	Fill func(ctx context.Context, w io.Writer) error
}

// RunRequest is one RUN step to be executed.
type RunRequest struct {
	// ID is unique on the host; made of [a-z0-9].
	ID string
	// Root is the writable root file system.
	Root mount.Mount
	// Args is the program and its arguments; the program is looked up in the
	// PATH of Env inside Root.
	Args []string
	// Env is the environment, each "name=value". HOME is the executor's to add when it
	// is not set, from Root's /etc/passwd, as OCI runtimes do; nothing else is added.
	Env []string
	// Cwd is absolute. It is made when it is not there.
	Cwd string
	// User is as in an image's config: "", "name", "uid", "name:group" ...; it
	// is resolved with Root's /etc/passwd and /etc/group. "" is root.
	User string
	// Network says what the step can reach.
	Network Network
	// Platform is what the program is made for, as os/arch[/variant]; "" is the machine's own. An executor
	// that cannot run such programs fails with ErrUnsupported.
	Platform string
	// Hostname is the container's host name.
	Hostname string
	// Mounts are made besides the default ones.
	Mounts []BindMount
	// Below names what the step starts from, and Epoch is the time of files that were copied there: both are for cache
	// mounts, whose files must not look newer than sources that changed.
	Below string
	Epoch time.Time
	// StepMounts are those of RUN --mount, in the order in which they are made.
	StepMounts []StepMount
	// Insecure gives the program all rights.
	Insecure bool
	// Devices are those that it may use.
	Devices []Device
	// Settings are what the command line says.
	Settings Settings
	// Stdout and Stderr receive the output. They may be called from different
	// goroutines. Standard input is empty.
	Stdout, Stderr io.Writer
}

// Executor runs a process in a container. The caller owns Root's snapshot.
//
// Run returns when the process and everything that it started have ended and nothing
// of the container is left: no mount, no process, no cgroup. A process that
// ends with a code other than 0 gives an *ExitError (wrapped or not). When ctx ends, the
// container is killed and Run returns ctx's error.
type Executor interface {
	Run(ctx context.Context, req RunRequest) error
}

// ExitError says that a process ended without success.
type ExitError struct {
	// Code is the exit code, or 128+n when signal n ended the process.
	Code int
	// OOMKilled tells that the memory limit ended a process.
	OOMKilled bool
}

// Error tells the code, and the signal that it stands for.
func (e *ExitError) Error() string {
	s := fmt.Sprintf("exit code %d", e.Code)
	if e.Code > 128 && e.Code < 128+65 {
		s += fmt.Sprintf(" (signal %d)", e.Code-128)
	}
	if e.OOMKilled {
		s += ", out of memory"
	}
	return s
}
