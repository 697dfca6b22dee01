package program_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/camada/camada/container/internal/program"
	"golang.org/x/sys/unix"
)

// run forks p, which ends in e, and returns what it wrote to its standard
// output, how it ended, and the error reported.
func run(t *testing.T, p *program.Program, build func(), e program.Exec) (string, syscall.WaitStatus, error) {
	t.Helper()
	outR, outW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer outR.Close()
	defer p.Close()
	p.Stage("redirect")
	p.Call(unix.SYS_DUP3, p.File(outW), program.Int(1), program.Int(0))
	build()
	if err := p.AppendExec(e); err != nil {
		t.Fatal(err)
	}
	c, err := p.Fork(program.ForkOptions{CgroupFD: -1})
	outW.Close()
	if err != nil {
		return "", 0, err
	}
	defer c.Close()
	_, nextErr := c.Next()
	out, err := io.ReadAll(outR)
	if err != nil {
		t.Fatal(err)
	}
	var ws syscall.WaitStatus
	if _, err := syscall.Wait4(c.Pid, &ws, 0, nil); err != nil {
		t.Fatal(err)
	}
	return string(out), ws, nextErr
}

func TestExec(t *testing.T) {
	p := program.New(10)
	out, ws, err := run(t, p, func() {}, program.Exec{
		Paths: []string{"/nonexistent/sh", "/etc", "/bin/sh"},
		Args:  []string{"name", "-c", `echo "$0 $1 $A"; readlink /proc/self/fd/* | grep -c memfd; exit 7`, "zero", "one"},
		Env:   []string{"A=b", "PATH=/bin:/usr/bin"},
	})
	if err != nil || ws.ExitStatus() != 7 {
		t.Fatalf("status %v, error %v", ws, err)
	}
	if out != "zero one b\n0\n" {
		t.Errorf("output %q", out)
	}
}

// TestSignalsAreHeeded executes a program that ignores none, whatever the process that started it ignores.
func TestSignalsAreHeeded(t *testing.T) {
	ignored := []os.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGUSR2}
	signal.Ignore(ignored...)
	defer signal.Reset(ignored...)
	out, _, err := run(t, program.New(10), func() {}, program.Exec{Paths: []string{"/bin/grep"}, Args: []string{"grep", "SigIgn", "/proc/self/status"}})
	if err != nil || out != "SigIgn:\t0000000000000000\n" {
		t.Errorf("%q, %v", out, err)
	}
}

func TestExecErrors(t *testing.T) {
	for _, c := range []struct {
		path string
		want syscall.Errno
	}{
		{"/nonexistent/program", unix.ENOENT},
		{"/etc/passwd", unix.EACCES},
		{"/etc", unix.EACCES},
	} {
		_, _, err := run(t, program.New(10), func() {}, program.Exec{Paths: []string{c.path}, Args: []string{"prog"}})
		var pe *program.Error
		if !errors.As(err, &pe) || pe.Errno != c.want || !strings.Contains(pe.Stage, `execute "prog"`) {
			t.Errorf("%s: error %v, want %v", c.path, err, c.want)
		}
	}
}

func TestJumpsSlotsAndNotes(t *testing.T) {
	p := program.New(10)
	_, ws, err := run(t, p, func() {
		fd := p.Slot()
		missing, after := p.Label(), p.Label()
		p.Stage("open")
		p.Call(unix.SYS_OPENAT, program.Int(unix.AT_FDCWD), p.Str("/nonexistent"), program.Int(0), program.Int(0)).OnError(missing)
		p.Fail(unix.EBADE)
		p.Mark(missing)
		p.Call(unix.SYS_OPENAT, program.Int(unix.AT_FDCWD), p.Str("/tmp"), program.Int(unix.O_PATH), program.Int(0)).Into(fd)
		p.Call(unix.SYS_MKDIRAT, program.Int(unix.AT_FDCWD), p.Str("/tmp"), program.Int(0)).Tolerate(unix.EEXIST)
		p.Jump(after)
		p.Fail(unix.EBADE)
		p.Mark(after)
		p.Call(unix.SYS_FCHDIR, fd.Arg())
	}, program.Exec{Paths: []string{"/bin/sh"}, Args: []string{"sh", "-c", `test "$PWD" = /tmp`}})
	if err != nil || ws != 0 {
		t.Errorf("status %v, error %v", ws, err)
	}
}

func TestErrorNamesTheStage(t *testing.T) {
	p := program.New(10)
	_, ws, err := run(t, p, func() {
		p.Stage("enter %s", "/nonexistent")
		p.Call(unix.SYS_CHDIR, p.Str("/nonexistent"))
	}, program.Exec{Paths: []string{"/bin/true"}, Args: []string{"true"}})
	if !errors.Is(err, unix.ENOENT) || err.Error() != "enter /nonexistent: no such file or directory" {
		t.Errorf("error %v", err)
	}
	if ws.ExitStatus() != 1 {
		t.Errorf("status %v", ws)
	}
}

// TestNoHeap has a child look at a string of the heap of its parent, which it does not have.
func TestNoHeap(t *testing.T) {
	heap := bytes.Repeat([]byte("/tmp\x00"), 10)
	p := program.New(10)
	_, _, err := run(t, p, func() {
		p.Stage("read the heap")
		p.Call(unix.SYS_CHDIR, program.Uint(uint64(uintptr(unsafe.Pointer(&heap[0])))))
	}, program.Exec{Paths: []string{"/bin/true"}, Args: []string{"true"}})
	runtime.KeepAlive(heap)
	if !errors.Is(err, unix.EFAULT) {
		t.Errorf("error %v, want a bad address", err)
	}
}

func TestBadPrograms(t *testing.T) {
	p := program.New(10)
	back := p.Label()
	p.Mark(back)
	p.Jump(back)
	if _, _, err := run(t, p, func() {}, program.Exec{}); err == nil {
		t.Error("a jump back was accepted")
	}
	p = program.New(10)
	p.Call(unix.SYS_CHDIR, p.Str("a\x00b"))
	defer p.Close()
	if err := p.AppendExec(program.Exec{}); err == nil {
		t.Error("a NUL byte was accepted")
	}
}

// TestFilterIsLoadedLast gives a filter that forbids everything but execve and exit.
func TestFilterIsLoadedLast(t *testing.T) {
	p := program.New(10)
	kill := []byte{0x06, 0, 0, 0, 0, 0, 0, 0x80} // return SECCOMP_RET_KILL_PROCESS
	_, ws, err := run(t, p, func() {
		p.Call(unix.SYS_PRCTL, program.Int(unix.PR_SET_NO_NEW_PRIVS), program.Int(1), program.Int(0), program.Int(0), program.Int(0))
	}, program.Exec{Paths: []string{"/bin/true"}, Args: []string{"true"}, Filter: kill})
	if err != nil || ws.Signal() != unix.SIGSYS {
		t.Errorf("status %v, error %v", ws, err)
	}
	p = program.New(10)
	_, _, err = run(t, p, func() {
		p.Call(unix.SYS_PRCTL, program.Int(unix.PR_SET_NO_NEW_PRIVS), program.Int(1), program.Int(0), program.Int(0), program.Int(0))
	}, program.Exec{Paths: []string{"/bin/true"}, Args: []string{"true"}, Filter: []byte{0xff, 0xff, 0, 0, 0, 0, 0, 0}})
	if !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), "seccomp") {
		t.Errorf("a broken filter: %v", err)
	}
}
