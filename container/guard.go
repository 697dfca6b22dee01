package container

import (
	"fmt"
	"os"

	"github.com/camada/camada/container/internal/program"
	"golang.org/x/sys/unix"
)

// guard is a child that kills another process when this one has died, however that was. It knows that process by a descriptor, so that it
// can hit no other one.
type guard struct {
	child *program.Child
	alive *os.File
}

// newGuard forks the guard of a process.
func newGuard(pid int) (*guard, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, fmt.Errorf("watch process %d: %w", pid, err)
	}
	victim := os.NewFile(uintptr(fd), "pidfd")
	defer victim.Close()
	read, write, err := goPipe()
	if err != nil {
		return nil, err
	}
	defer read.Close()
	p := program.New(3)
	defer p.Close()
	p.Stage("guard a container")
	p.Call(unix.SYS_SETSID).Ignore() // signals of a terminal are not for it
	p.Call(unix.SYS_CHDIR, p.Str("/")).Ignore()
	p.Call(unix.SYS_CLOSE_RANGE, program.Int(0), program.Int(2), program.Int(0)).Ignore()
	p.Call(unix.SYS_READ, p.File(read), program.Ptr(p, new([8]byte)), program.Int(1)).Ignore()
	p.Call(unix.SYS_PIDFD_SEND_SIGNAL, p.File(victim), program.Int(int(unix.SIGKILL)), program.Int(0), program.Int(0)).Ignore()
	if err = p.AppendEnd(); err == nil {
		g := &guard{alive: write}
		if g.child, err = p.Fork(program.ForkOptions{CgroupFD: -1}); err == nil {
			return g, nil
		}
	}
	write.Close()
	return nil, fmt.Errorf("guard process %d: %w", pid, err)
}

// close ends the guard of a process that has ended.
func (g *guard) close() {
	g.alive.Close()
	g.child.Close()
	for {
		if _, err := unix.Wait4(g.child.Pid, nil, 0, nil); err != unix.EINTR {
			return
		}
	}
}
