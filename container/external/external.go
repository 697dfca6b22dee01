// Package external runs containers with another program that speaks the command line of an OCI runtime: runc, crun, runsc.
//
//	r := external.Runtime{Path: "/usr/bin/crun", State: "/run/camada/external", Bundle: dir}
//	p, err := r.Start(ctx, container.Config{ID: id, Spec: spec, Rootfs: m})
//	more, err := r.Exec(ctx, external.ExecConfig{ID: id, Process: process})
//	err = r.Kill(ctx, id, unix.SIGTERM)
//	status, err := p.Wait(ctx)
//	err = r.Delete(ctx, id)
//
// The root file system is mounted in a mount namespace of a thread, from which the program makes its own, so that nothing is left on the
// host here either. What the program starts becomes a child of the caller and dies with it; what the program knows of it then is taken away by Delete.
//
// Nothing here enters a container or signals its processes: with a runtime that has a kernel of its own, they are not processes of this machine.
package external

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/camada/camada/container"
	"github.com/camada/camada/errdefs"
	"golang.org/x/sys/unix"
)

// Runtime is a program and where it keeps what it knows.
type Runtime struct {
	// Path of the program, and flags that stand before each of its verbs.
	Path  string
	Flags []string
	// State is its --root, Bundle a directory for the bundle of this container alone, which Start makes and Delete removes. Its path is
	// short: a socket lies in it.
	State, Bundle string
	// CgroupsPath is the container's group as package container takes it, Cgroup the same from the root of the hierarchies, as other programs take it.
	CgroupsPath, Cgroup string
}

// Start creates and starts a container, and returns when its program has been executed. Init, ExtraFiles, MountPoint and DieWithParent of the Config are not for
// other runtimes. The process becomes a child of the caller, and dies with it. On an error nothing is left.
func (r Runtime) Start(ctx context.Context, cfg container.Config) (*container.Process, error) {
	if cfg.Init {
		return nil, errdefs.Unsupported("--init: another runtime cannot be given the small init")
	}
	p, err := r.start(ctx, cfg)
	if err != nil {
		err = fmt.Errorf("start container %s with %s: %w", cfg.ID, filepath.Base(r.Path), err)
		return nil, errors.Join(err, r.Delete(context.WithoutCancel(ctx), cfg.ID))
	}
	return p, nil
}

func (r Runtime) start(ctx context.Context, cfg container.Config) (*container.Process, error) {
	if err := adoptOrphans(); err != nil {
		return nil, err
	}
	before := children()
	console, err := r.create(ctx, cfg)
	if err != nil {
		reapHelpers(before, 0)
		return nil, err
	}
	p, err := r.adopt(container.Adopted{
		Console: console, ID: cfg.ID, CgroupsPath: r.CgroupsPath,
		Signal: func(sig syscall.Signal) error { return r.Kill(context.WithoutCancel(ctx), cfg.ID, sig) },
		After:  func(ctx context.Context) error { return r.Delete(ctx, cfg.ID) },
	}, filepath.Join(r.Bundle, "pid"))
	if err != nil {
		reapHelpers(before, 0)
		return nil, err
	}
	reapHelpers(before, p.Pid())
	if err := r.begin(ctx, cfg, p.Pid()); err != nil {
		_ = p.Kill(ctx)
		_, _ = p.Wait(context.WithoutCancel(ctx)) // which deletes it
		if console != nil {
			console.Close()
		}
		return nil, err
	}
	return p, nil
}

// begin does what is to be done before the program of a container that was created is executed, and has that done.
func (r Runtime) begin(ctx context.Context, cfg container.Config, pid int) error {
	if cfg.Verify != nil { // the runtime has joined by now what is to be joined
		if err := cfg.Verify(); err != nil {
			return err
		}
	}
	for _, f := range []func(context.Context, int) error{cfg.Network, cfg.Created} {
		if f == nil {
			continue
		}
		if err := f(ctx, pid); err != nil {
			return err
		}
	}
	return r.run(ctx, nil, "start", cfg.ID)
}

// adopt takes the process whose number the program has written into a file.
func (r Runtime) adopt(a container.Adopted, file string) (*container.Process, error) {
	var err error
	if a.Pid, err = readPid(file); err == nil {
		var p *container.Process
		if p, err = container.Adopt(a); err == nil {
			return p, nil
		}
	}
	if a.Console != nil {
		a.Console.Close()
	}
	return nil, err
}

// readPid reads a pid file.
func readPid(file string) (int, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, fmt.Errorf("read the runtime's pid file: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || pid <= 1 {
		return 0, errdefs.Corrupt("the runtime's pid file has %.20q", b)
	}
	return pid, nil
}

// Kill sends a signal to the first process of a container.
func (r Runtime) Kill(ctx context.Context, id string, sig syscall.Signal) error {
	if err := r.run(ctx, nil, "kill", id, strconv.Itoa(int(sig))); err != nil {
		return fmt.Errorf("signal container %s with %s: %w", id, filepath.Base(r.Path), err)
	}
	return nil
}

// Delete ends a container and takes away what the runtime knows of it. One that it does not know is no error, nor is a program that is not there any more:
// then only the files go.
func (r Runtime) Delete(ctx context.Context, id string) error {
	known, err := filepath.Glob(filepath.Join(r.State, id+"*")) // a directory, or a file of the sandbox that it is in
	if err != nil {
		return errdefs.Invalid("the container's id %q: %w", id, err)
	}
	if len(known) > 0 {
		if err := r.delete(ctx, id, known); err != nil {
			return err
		}
	}
	err = r.removeGroups(ctx, id)
	if berr := r.removeBundle(); berr != nil {
		err = errors.Join(err, fmt.Errorf("remove the bundle: %w", berr))
	}
	return err
}

// removeBundle takes the bundle's name away first: an Exec that is just beginning puts no more files into it then.
func (r Runtime) removeBundle() error {
	gone := r.Bundle + ".gone"
	err := os.RemoveAll(gone) // of one that was killed here
	if rerr := os.Rename(r.Bundle, gone); rerr != nil {
		if errors.Is(rerr, os.ErrNotExist) {
			return err
		}
		return errors.Join(err, rerr)
	}
	return errors.Join(err, os.RemoveAll(gone))
}

// removeGroups removes the container's groups that the runtime has left: of a creation that failed, for one. Those of a hierarchy that limits nothing, as
// systemd's, are known to the runtime alone.
func (r Runtime) removeGroups(ctx context.Context, id string) error {
	if r.Cgroup == "" {
		return nil
	}
	err := container.Cleanup(ctx, id, r.CgroupsPath)
	const mounted = "/sys/fs/cgroup"
	hierarchies, _ := os.ReadDir(mounted)
	for _, h := range hierarchies {
		_ = unix.Rmdir(filepath.Join(mounted, h.Name(), r.Cgroup)) // nothing is there, as a rule
	}
	return err
}

func (r Runtime) delete(ctx context.Context, id string, known []string) error {
	if err := os.MkdirAll(r.Bundle, 0o700); err != nil { // the log is there
		return fmt.Errorf("make the bundle: %w", err)
	}
	err := r.run(ctx, nil, "delete", "--force", id)
	if _, lost := os.Stat(r.Path); !errors.Is(lost, os.ErrNotExist) {
		return err
	}
	for _, name := range known {
		if err := os.RemoveAll(name); err != nil {
			return fmt.Errorf("remove what a runtime knew that is gone: %w", err)
		}
	}
	return nil
}

// adoptOrphans makes this process the parent of what the program leaves running.
func adoptOrphans() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become the reaper of the container: %w", err)
	}
	return nil
}
