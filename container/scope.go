package container

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/camada/camada/container/cgroup"
	"github.com/camada/camada/container/cgroup/systemd"
	"github.com/camada/camada/container/internal/program"
	"github.com/camada/camada/errdefs"
	"golang.org/x/sys/unix"
)

// scope holds a scope of systemd open until the container's first process is in it: a child that waits, in a group of its
// own below the scope, so that controllers can be handed on to that of the container.
type scope struct {
	child *program.Child
	gate  *os.File
}

// openScope makes the scope of a cgroupsPath of the form slice:prefix:name.
func openScope(ctx context.Context, layout cgroup.Layout, cgroupsPath, id string) (_ *scope, err error) {
	if layout.Unified == "" {
		return nil, errdefs.Unsupported("the systemd cgroup driver: needs cgroup v2")
	}
	parts := strings.Split(cgroupsPath, ":")
	if len(parts) != 3 {
		return nil, errdefs.Invalid("cgroups path %q: with the systemd driver it has the form slice:prefix:name", cgroupsPath)
	}
	name, err := cgroup.Path(cgroupsPath, id)
	if err != nil {
		return nil, err
	}
	s, err := hold()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	slice := parts[0]
	if slice == "" {
		slice = "system.slice"
	}
	unit := filepath.Dir(name) // the container's own group is below
	err = systemd.Start(ctx, systemd.Scope{
		Name: filepath.Base(unit), Slice: slice, Description: "container " + id, Pid: s.child.Pid,
		User: layout.InUserNS || os.Geteuid() != 0,
	})
	if err != nil {
		return nil, err
	}
	waiting := filepath.Join(layout.Unified, unit, "start")
	if err := unix.Mkdir(waiting, 0o755); err != nil {
		return nil, fmt.Errorf("make the cgroup %s: %w", waiting, err)
	}
	if err := os.WriteFile(waiting+"/cgroup.procs", fmt.Appendf(nil, "%d", s.child.Pid), 0); err != nil {
		return nil, fmt.Errorf("make room in the scope: %w", err)
	}
	return s, nil
}

// hold forks a child that does nothing until close.
func hold() (*scope, error) {
	read, write, err := goPipe()
	if err != nil {
		return nil, err
	}
	defer read.Close()
	p := program.New(3)
	defer p.Close()
	p.Stage("hold a scope")
	p.Call(unix.SYS_READ, p.File(read), program.Ptr(p, new([8]byte)), program.Int(1))
	err = p.AppendEnd()
	var child *program.Child
	if err == nil {
		child, err = p.Fork(program.ForkOptions{CgroupFD: -1})
	}
	if err != nil {
		write.Close()
		return nil, err
	}
	return &scope{child: child, gate: write}, nil
}

// close ends the child. The scope goes on as long as somebody else is in it.
func (s *scope) close() {
	if s == nil {
		return
	}
	s.gate.Close()
	s.child.Close()
	_ = unix.Kill(s.child.Pid, unix.SIGKILL)
	for {
		if _, err := unix.Wait4(s.child.Pid, nil, 0, nil); err != unix.EINTR {
			return
		}
	}
}
