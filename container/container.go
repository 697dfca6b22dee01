// Package container runs processes in isolation: our own OCI runtime. It knows
// no images: it is given a root file system as a mount, an OCI runtime-spec,
// and where the standard streams go.
//
//	p, err := container.Start(ctx, container.Config{ID: id, Spec: spec, Rootfs: m, Stdout: os.Stdout})
//	status, err := p.Wait(ctx)
//
// All mounts, the root file system's too, are made by the container's first
// process in its own mount namespace, so that nothing is left on the host
// however it ends.
package container

import (
	"context"
	"os"
	"time"

	"github.com/camada/camada/mount"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Config is one container to be started.
type Config struct {
	// ID is unique on the host; it names the cgroup.
	ID string
	// Spec says what runs and how it is confined. Spec.Root.Path is not used when Rootfs is set.
	Spec *specs.Spec
	// Bundle is the directory that the spec came from, for the agent of a seccomp profile with notifications; "" for none.
	Bundle string
	// Rootfs becomes "/" of the container. The zero Mount is a bind of Spec.Root.Path.
	Rootfs mount.Mount
	// MapOwners shows Rootfs with the owners that its files have in the container's user namespace: what belongs to user 0 on the disk
	// belongs to user 0 there. Without one it has no meaning.
	MapOwners bool
	// Stdin, Stdout and Stderr are given to the process as they are; nil is
	// /dev/null. Ignored when Spec.Process.Terminal is set.
	Stdin, Stdout, Stderr *os.File
	// Network is called with the pid of the container's first process once its
	// namespaces are there and before the user's program is executed. Nil
	// leaves a new network namespace with loopback up only.
	Network func(ctx context.Context, pid int) error
	// Verify is called when the namespaces to be joined are open, and before they are: an error ends Start. It looks whether the
	// processes whose namespaces they are are still those that the caller means, as ids are used again. Nil trusts the paths.
	Verify func() error
	// Created is called like Network, after it and with all set up but the
	// program: it may block until the program shall be executed. An error ends
	// the container.
	Created func(ctx context.Context, pid int) error
	// Mounted is called with the pid of the container's first process when its namespaces and mounts are there but its
	// root file system is not "/" yet: in its mount namespace that is Spec.Root.Path. An error ends the container.
	Mounted func(ctx context.Context, pid int) error
	// Agent is given the descriptor of the notifications of the spec's seccomp profile (seccomp_unotify(2)) instead of the profile's
	// listenerPath, before the process goes on, and owns it. An error ends the container. See package trace.
	Agent func(ctx context.Context, listener *os.File) error
	// InOrder shows the mounts in the order of the spec in the container's /proc/self/mountinfo, which goes by the time when
	// they were made. It costs one more call for each.
	InOrder bool
	// AllCgroups makes the container's group in every hierarchy of cgroup v1, not only where it is needed: callers of OCI runtimes look there.
	AllCgroups bool
	// Hold lets Start return while the process waits to execute the program, with all else done. It is a directory
	// that nobody else can write to, in which Start makes two FIFOs: see Release. "" does not wait.
	Hold string
	// Detached are mounts that are attached nowhere, by the Source of the mounts of the spec whose Type is
	// TypeDetached. They stay the caller's.
	Detached map[string]*os.File
	// MountPoint is called for each file or directory that Start makes in Rootfs because a mount has to be put on
	// something: in the order in which they are made, by the caller's goroutine, also when Start fails in the end.
	MountPoint func(MountPoint)
	// Stage is called at the end of each stage of the start, with its name; nil is nobody.
	Stage func(name string)
	// ExtraFiles are inherited from descriptor 3 on.
	ExtraFiles []*os.File
	// SystemdCgroup puts the cgroups into a scope that systemd makes; Spec.Linux.CgroupsPath has its form slice:prefix:name then.
	SystemdCgroup bool
	// NoNewKeyring leaves the process in the caller's session keyring.
	NoNewKeyring bool
	// DieWithParent kills the container when the process that called Start dies.
	DieWithParent bool
	// Leave leaves the process's end to whoever inherits it from the caller, who ends soon: nobody here waits for it, so that a quick end
	// is not lost. Wait does not return then, and the cgroups stay.
	Leave bool
	// Init runs a small first process that reaps orphans and forwards signals.
	// The main function of the calling program has to serve it: see IsInit.
	Init bool
}

// TypeDetached is the type of a mount of the spec that the caller has made: see Config.Detached.
const TypeDetached = "detached"

// MountPoint is an empty file or directory that was made for a mount.
type MountPoint struct {
	// Path in the root file system: absolute, and free of symbolic links.
	Path string
	// Before and After are the modification times of its directory before and after it was made.
	Before, After time.Time
}

// ExitStatus is how a container's process ended.
type ExitStatus struct {
	// Code is the exit code, or 128+n when signal n ended it.
	Code int
	// Signal that ended it, 0 for none.
	Signal int
	// OOMKilled tells that the memory limit ended a process of the container.
	OOMKilled bool
}

// StartError says that the user's program could not be executed, with the exit
// code that shells and Docker give: 127 when it is not there, 126 when it
// cannot be executed.
type StartError struct {
	Code int
	Err  error
}

func (e *StartError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *StartError) Unwrap() error { return e.Err }
