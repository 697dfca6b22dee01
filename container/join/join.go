// Package join runs this program again in the user namespace of another process, which an ordinary user may do with those that he made.
//
//	pid, err := join.Start(ns, args, env)
//	p, err := os.FindProcess(pid)
//	state, err := p.Wait()
//
// A Go program has several threads from its first moment on, and the kernel lets nobody into a user namespace who has. So the step is made by
// a plain fork, and the program that it executes finds itself inside.
package join

import (
	"errors"
	"fmt"
	"os"

	"github.com/camada/camada/container/internal/program"
	"golang.org/x/sys/unix"
)

// Start executes this program as root of the user namespace ns, in a mount namespace of its own, with the caller's standard streams and no other
// descriptors. The caller waits for the process.
func Start(ns *os.File, args, env []string) (int, error) {
	pid, err := start(ns, args, env)
	if err != nil {
		return 0, fmt.Errorf("join a user namespace: %w", err)
	}
	return pid, nil
}

func start(ns *os.File, args, env []string) (int, error) {
	p := program.New(3)
	defer p.Close()
	p.Stage("enter the namespace")
	p.Call(unix.SYS_SETNS, p.File(ns), program.Int(unix.CLONE_NEWUSER))
	p.Stage("make a mount namespace")
	p.Call(unix.SYS_UNSHARE, program.Int(unix.CLONE_NEWNS))
	if err := p.AppendEnd(); err != nil {
		return 0, err
	}
	p.Stage("start again inside")
	p.Call(unix.SYS_EXECVE, p.Str("/proc/self/exe"), p.Strs(args), p.Strs(env))
	child, err := p.Fork(program.ForkOptions{CgroupFD: -1})
	if err != nil {
		return 0, err
	}
	defer child.Close()
	ev, err := child.Next()
	if err == nil && !ev.Executed {
		err = program.ErrEnded
	}
	if err == nil {
		return child.Pid, nil
	}
	for {
		if _, werr := unix.Wait4(child.Pid, nil, 0, nil); !errors.Is(werr, unix.EINTR) {
			return 0, err
		}
	}
}
