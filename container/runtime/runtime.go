// Package runtime keeps containers as the OCI runtime-spec wants it (runtime.md): each operation is a process of its
// own, and what it leaves for the next is a directory for each container.
//
//	r := runtime.Runtime{Root: "/run/camada/runtime"}
//	_, err := r.Create(ctx, runtime.CreateOptions{ID: "web", Bundle: dir, Spec: spec, Stdout: os.Stdout, Stderr: os.Stderr})
//	...                                   // the process is there and waits; whoever called may be gone
//	err = r.Start(ctx, "web")             // it executes the program
//	err = r.Kill(ctx, "web", unix.SIGTERM, false)
//	err = r.Delete(ctx, "web", false)
//
// # The directory of a container
//
//	<root>/<id>/
//	  lock          under flock by who changes the container
//	  config.json   the spec as it was at creation; the bundle may be gone
//	  state.json    what is known of the process; replaced as a whole
//	  exec.fifo  status.fifo   as long as the container was not started: package container, Config.Hold
//
// The files say what was done; what is now is asked of the kernel: whether the process lives (its id and its start
// time), whether it waits at the FIFO, whether its cgroup is frozen. So a kill of any operation at any moment leaves
// something that Delete, with force, removes.
package runtime

import (
	"os"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Runtime is the set of containers below a directory.
type Runtime struct {
	// Root is the directory; it is made with mode 0700. It should not outlive the machine's run: /run.
	Root string
}

// StatusPaused is the status of a container whose processes are frozen, besides those of the specification.
const StatusPaused specs.ContainerState = "paused"

// State is what is known of a container (runtime.md, state), and what runc tells besides.
type State struct {
	specs.State
	// Rootfs is the root file system's path.
	Rootfs string `json:"rootfs"`
	// Created is when.
	Created time.Time `json:"created"`
	// Owner is the name of the user whose directory it is, or his number.
	Owner string `json:"owner"`
}

// CreateOptions say what is made.
type CreateOptions struct {
	ID string
	// Bundle is the absolute path of the bundle, Spec what package bundle loaded from it.
	Bundle string
	Spec   *specs.Spec
	// Stdin, Stdout, Stderr and ExtraFiles are those of container.Config.
	Stdin, Stdout, Stderr *os.File
	ExtraFiles            []*os.File
	// ConsoleSocket is the path of a unix socket that gets the master of the terminal; PidFile is written when the
	// process is there. "" for none.
	ConsoleSocket, PidFile string
	// Detach leaves the end of a process that Run or Exec started to whoever inherits it: container.Config, Leave. That of Create is always left.
	Detach bool
	// NoNewKeyring leaves the process in the caller's session keyring.
	NoNewKeyring bool
	// SystemdCgroup lets systemd make the cgroups: container.Config.
	SystemdCgroup bool
}

// maxID bounds the length of a container's name.
const maxID = 255

// checkID takes the names that runc takes.
func checkID(id string) error {
	ok := id != "" && id != "." && id != ".." && len(id) <= maxID && !strings.ContainsFunc(id, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("_+-.", r)
	})
	if !ok {
		return errdefs.Invalid("container id %q: letters, digits and _+-. are possible", id)
	}
	return nil
}
