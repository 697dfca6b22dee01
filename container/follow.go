package container

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/camada/camada/container/cgroup"
	"github.com/camada/camada/container/cgroup/systemd"
	"github.com/camada/camada/container/internal/program"
	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// makeGroup makes the cgroups of a container, nil on a machine without any. With the systemd driver they are in a
// scope, which is to be closed when a process is in them.
func makeGroup(ctx context.Context, cfg Config) (*cgroup.Group, *scope, error) {
	layout, err := place(ctx)
	if err != nil {
		return nil, nil, err
	}
	linux := cfg.Spec.Linux
	name, err := cgroup.Path(linux.CgroupsPath, cfg.ID)
	if err != nil {
		return nil, nil, err
	}
	var unit *scope
	if cfg.SystemdCgroup {
		if unit, err = openScope(ctx, layout, linux.CgroupsPath, cfg.ID); err != nil {
			return nil, nil, fmt.Errorf("container %s: %w", cfg.ID, err)
		}
	}
	create := layout.Create
	if cfg.AllCgroups {
		create = layout.CreateAll
	}
	g, err := create(name, linux.Resources)
	if err != nil {
		unit.close()
		return nil, nil, fmt.Errorf("container %s: %w", cfg.ID, err)
	}
	return g, unit, nil
}

// place finds the hierarchies in which this process can start others. An ordinary user who logged in stands beside the subtree
// that is his; where his systemd does not take the process in there, he has none.
func place(ctx context.Context) (cgroup.Layout, error) {
	layout, err := cgroup.Detect()
	if err != nil || !layout.Apart {
		return layout, err
	}
	// Another thread may have it done just now: what counts is where the process stands.
	entering := enter(ctx)
	for range 10 {
		if layout, err = cgroup.Detect(); err != nil || !layout.Apart {
			return layout, err
		}
		if entering == nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	layout.Unified, layout.Apart = "", false
	return layout, nil
}

// enter has the user's systemd take this process into its subtree, in a scope that ends with it.
func enter(ctx context.Context) error {
	pid := os.Getpid()
	return systemd.Start(ctx, systemd.Scope{
		Name: "camada-" + strconv.Itoa(pid) + ".scope", Description: "camada, which looks after a container", Pid: pid, User: true, Stops: true,
	})
}

// removeGroup ends all that is left in a group and removes it.
func removeGroup(ctx context.Context, g *cgroup.Group) error {
	if g == nil || !g.Tracks() {
		return nil
	}
	if err := g.Kill(ctx); err != nil {
		return err
	}
	return g.Remove(ctx)
}

// fork starts the child. A parent-death signal is sent when the thread that
// forked ends, not the process; so that thread is kept for as long as the
// container lives.
func (s *starter) fork(proc *Process) (*program.Child, error) {
	opts := program.ForkOptions{Flags: s.forkFlags(), CgroupFD: -1}
	if s.group != nil {
		opts.CgroupFD = s.group.FD()
	}
	return forkProgram(s.p, opts, s.cfg.DieWithParent, proc)
}

func forkProgram(p *program.Program, opts program.ForkOptions, keepThread bool, proc *Process) (*program.Child, error) {
	if !keepThread {
		return p.Fork(opts)
	}
	type result struct {
		child *program.Child
		err   error
	}
	forked := make(chan result)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		child, err := p.Fork(opts)
		forked <- result{child, err}
		if err == nil {
			<-proc.done
		}
	}()
	r := <-forked
	return r.child, r.err
}

// follow does the parent's part until the program is executed.
func (s *starter) follow(ctx context.Context, child *program.Child, proc *Process) error {
	proc.pid = child.Pid
	s.goRead.Close()
	if s.told != nil {
		s.told.Close()
	}
	err := s.lead(ctx, child, proc)
	if err != nil {
		proc.abort()
		name := s.spec.Process.Args[0]
		if s.cfg.Init {
			name = initPath
		}
		return startError(name, err)
	}
	if !s.cfg.Leave {
		go proc.collect()
	}
	return nil
}

func (s *starter) lead(ctx context.Context, child *program.Child, proc *Process) error {
	stop := context.AfterFunc(ctx, func() { _ = unix.Kill(proc.pid, unix.SIGKILL) })
	defer stop()
	if s.early() {
		if err := s.giveIDs(proc.pid); err != nil {
			return err
		}
	}
	if s.twoSteps() {
		if err := proc.adopt(ctx, child); err != nil {
			return err
		}
	}
	if s.fresh[specs.UserNamespace] && !s.early() {
		if err := s.giveIDs(proc.pid); err != nil {
			return err
		}
	}
	if s.cfg.Mounted != nil {
		if err := s.await(ctx, child, proc.pid, s.cfg.Mounted); err != nil {
			return err
		}
	}
	if s.cfg.Network != nil {
		if err := s.cfg.Network(ctx, proc.pid); err != nil {
			return fmt.Errorf("set up the network: %w", err)
		}
		s.cfg.stage("network")
	}
	if s.gated() {
		if err := s.await(ctx, child, proc.pid, s.cfg.Created); err != nil {
			return err
		}
		s.cfg.stage("root file system, in the first process")
	}
	ev, err := s.notice.next(ctx, child, proc.pid, proc.pid, s.letGo)
	if err != nil || ctx.Err() != nil || s.hold != nil && !ev.Ready {
		return ended(ctx, err)
	}
	if s.heard != nil {
		// A Go program that does not listen yet is ended by SIGTERM and its kin, with exit code 2 as the first process of a namespace, before it started anything.
		_, _ = s.heard.Read(make([]byte, 1))
	}
	s.cfg.stage("confine and execute the program")
	return nil
}

// await waits for the child to come to its next wait, calls f, and lets it go on.
func (s *starter) await(ctx context.Context, child *program.Child, pid int, f func(context.Context, int) error) error {
	if ev, err := child.Next(); err != nil || !ev.Ready {
		return ended(ctx, err)
	}
	if f != nil {
		if err := f(ctx, pid); err != nil {
			return err
		}
	}
	return s.letGo()
}

// giveIDs fills the user namespace of the child, which waits for it.
func (s *starter) giveIDs(pid int) error {
	if err := writeMaps(pid, s.spec.Linux); err != nil {
		return err
	}
	return s.letGo()
}

// letGo lets the child pass its next wait.
func (s *starter) letGo() error { return goOn(s.goWrite) }

// ended says why a child did not come as far as was awaited.
func ended(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return err
	}
	return program.ErrEnded
}

// writeMaps writes the ids of a new user namespace.
func writeMaps(pid int, linux *specs.Linux) error {
	if len(linux.UIDMappings) == 0 || len(linux.GIDMappings) == 0 {
		return errdefs.Invalid("a user namespace without id mappings")
	}
	dir := "/proc/" + strconv.Itoa(pid)
	if os.Geteuid() != 0 {
		// Without rights over groups the kernel wants setgroups to be given up.
		if err := os.WriteFile(dir+"/setgroups", []byte("deny"), 0); err != nil {
			return fmt.Errorf("give up setgroups: %w", err)
		}
	}
	if err := os.WriteFile(dir+"/gid_map", idMap(linux.GIDMappings), 0); err != nil {
		return fmt.Errorf("map group ids: %w", err)
	}
	if err := os.WriteFile(dir+"/uid_map", idMap(linux.UIDMappings), 0); err != nil {
		return fmt.Errorf("map user ids: %w", err)
	}
	return nil
}

func idMap(maps []specs.LinuxIDMapping) []byte {
	var b strings.Builder
	for _, m := range maps {
		fmt.Fprintf(&b, "%d %d %d\n", m.ContainerID, m.HostID, m.Size)
	}
	return []byte(b.String())
}
