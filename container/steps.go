package container

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/camada/camada/container/cgroup"
	"github.com/camada/camada/container/internal/program"
	"github.com/camada/camada/container/namespace"
	"golang.org/x/sys/unix"
)

// Steps of a child's program that Start and Exec share.

// begin appends a child's first steps. While it is a copy of the parent it is
// not dumpable: no process of the container can read its memory or its
// descriptors through /proc (CVE-2016-9962).
func begin(p *program.Program, pdeathsig bool, groups []*os.File) {
	p.Stage("protect the new process")
	p.Call(unix.SYS_PRCTL, program.Int(unix.PR_SET_DUMPABLE), program.Int(0), program.Int(0), program.Int(0), program.Int(0))
	if pdeathsig {
		p.Call(unix.SYS_PRCTL, program.Int(unix.PR_SET_PDEATHSIG), program.Int(int(unix.SIGKILL)), program.Int(0), program.Int(0), program.Int(0))
	}
	for _, f := range groups {
		// "0" is the writer itself: that needs no lock on all the machine's forks,
		// which moving another process takes and waits milliseconds for.
		p.Stage("enter the cgroup %s", f.Name())
		fd := p.File(f)
		p.Call(unix.SYS_WRITE, fd, p.Str("0"), program.Int(1))
		p.Call(unix.SYS_CLOSE, fd)
	}
}

// groupFiles opens the v1 groups for their member to enter. A file that cannot
// be opened fails in the child, with its name.
func groupFiles(g *cgroup.Group, files *[]*os.File) []*os.File {
	if g == nil {
		return nil
	}
	var list []*os.File
	for _, dir := range g.Dirs() {
		if f, err := os.OpenFile(dir+"/tasks", os.O_WRONLY, 0); err == nil {
			list = append(list, f)
		}
	}
	*files = append(*files, list...)
	return list
}

// oomScore appends the change of the process's share in being killed. Lowering
// it takes CAP_SYS_RESOURCE.
func oomScore(p *program.Program, score int) {
	p.Stage("set the OOM score to %d", score)
	fd := p.Slot()
	value := strconv.Itoa(score)
	p.Call(unix.SYS_OPENAT, program.Int(unix.AT_FDCWD), p.Str("/proc/self/oom_score_adj"), program.Int(unix.O_WRONLY|unix.O_CLOEXEC), program.Int(0)).Into(fd)
	p.Call(unix.SYS_WRITE, fd.Arg(), p.Str(value), program.Int(len(value)))
	p.Call(unix.SYS_CLOSE, fd.Arg())
}

// join appends the entering of namespaces.
func join(p *program.Program, set namespace.Set) {
	for _, j := range set {
		p.Stage("join the %s namespace", j.Type)
		fd := p.File(j.File)
		p.Call(unix.SYS_SETNS, fd, program.Uint(uint64(j.Flag)))
		p.Call(unix.SYS_CLOSE, fd)
	}
}

// second appends a further fork, which a joined PID namespace takes effect by.
// The new process is made a child of the caller of Start; the one in between
// tells its id and ends.
func second(p *program.Program, flags uintptr) {
	p.Stage("fork into the namespaces")
	pid, child := p.Slot(), p.Label()
	p.Call(unix.SYS_CLONE, program.Uint(uint64(flags)|unix.CLONE_PARENT|uint64(unix.SIGCHLD)), program.Int(0), program.Int(0), program.Int(0), program.Int(0)).Into(pid).OnZero(child)
	p.Pid(pid)
	p.Call(unix.SYS_EXIT_GROUP, program.Int(0))
	p.Mark(child)
}

// becomeRoot appends the change to user 0 of a user namespace.
func becomeRoot(p *program.Program) {
	p.Stage("become root of the user namespace")
	p.Call(unix.SYS_SETRESGID, program.Int(0), program.Int(0), program.Int(0))
	p.Call(unix.SYS_SETRESUID, program.Int(0), program.Int(0), program.Int(0))
	p.Call(unix.SYS_PRCTL, program.Int(unix.PR_SET_DUMPABLE), program.Int(0), program.Int(0), program.Int(0), program.Int(0))
}

// loopback appends the calls that bring lo up.
func loopback(p *program.Program) {
	p.Stage("bring up the loopback interface")
	fd := p.Slot()
	ifreq := &[40]byte{'l', 'o', 16: unix.IFF_UP}
	p.Call(unix.SYS_SOCKET, program.Int(unix.AF_INET), program.Int(unix.SOCK_DGRAM|unix.SOCK_CLOEXEC), program.Int(0)).Into(fd)
	p.Call(unix.SYS_IOCTL, fd.Arg(), program.Int(unix.SIOCSIFFLAGS), program.Ptr(p, ifreq))
	p.Call(unix.SYS_CLOSE, fd.Arg())
}

// goPipe makes the pipe over which a parent lets its child go on.
func goPipe() (read, write *os.File, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, fmt.Errorf("make a pipe: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "go"), os.NewFile(uintptr(fds[1]), "go"), nil
}

// waitFor appends a wait for one byte of the parent. The end of the pipe says that
// the parent is dead.
func waitFor(p *program.Program, goRead *os.File) {
	dead, alive := p.Label(), p.Label()
	p.Call(unix.SYS_READ, p.File(goRead), program.Ptr(p, new([8]byte)), program.Int(1)).OnZero(dead)
	p.Jump(alive)
	p.Mark(dead)
	p.Fail(unix.EPIPE)
	p.Mark(alive)
}

// goOn lets the child pass its next wait.
func goOn(goWrite *os.File) error {
	if _, err := goWrite.Write([]byte{1}); err != nil {
		return fmt.Errorf("let the container's process go on: %w", err)
	}
	return nil
}

// startError turns a failure of the last stage into what Docker says.
func startError(name string, err error) error {
	var pe *program.Error
	if !errors.As(err, &pe) || !pe.Exec {
		return err
	}
	switch {
	case pe.Errno == unix.ENOENT && !pe.Found && !hasSlash(name):
		return &StartError{Code: 127, Err: fmt.Errorf("exec: %q: executable file not found in $PATH", name)}
	case pe.Errno == unix.ENOENT || pe.Errno == unix.ENOTDIR:
		return &StartError{Code: 127, Err: fmt.Errorf("exec: %q: %w", name, pe.Errno)}
	}
	return &StartError{Code: 126, Err: fmt.Errorf("exec: %q: %w", name, pe.Errno)}
}

func hasSlash(name string) bool {
	for i := range len(name) {
		if name[i] == '/' {
			return true
		}
	}
	return false
}
