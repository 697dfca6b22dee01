// Package trace tells which files the processes of a container ask the kernel for: what they execute, open, list, look at and change, also
// what is not there.
//
//	t := trace.New(func(e trace.Event) { fmt.Println(e.How, e.Path) })
//	t.Start(&cfg)                       // a container.Config; t.Exec for a further process
//	p, err := container.Start(ctx, cfg)
//	status, err := p.Wait(ctx)
//	t.Close()
//
// It is made of seccomp's notifications (seccomp_unotify(2)), so it needs no rights, no program inside, no file system of its own and no
// support of the image's: the container's profile asks here before each call that has a path, the path is read out of the caller's memory, and the
// kernel goes on with the call as if nothing had been. The calls are seen with the path as the program wrote it, before the kernel looks it up. So links are
// seen by their names, and failed lookups too, which neither fanotify (root's alone) nor access times tell.
//
// What it does not see: files that the kernel opens by itself, which are the interpreters of programs (ELF, "#!"); and calls by io_uring, which is
// refused as on kernels without it. Calls with a descriptor (fstat, read, mmap) name nothing that was not opened before.
//
// It is no means of confinement: a program can change the path between the look and the call. What traces an image's own tests need not care.
package trace

import (
	"context"
	"errors"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"unsafe"

	"github.com/camada/camada/container"
	"github.com/camada/camada/container/seccomp"
	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// How is what was done to a path, as bits.
type How uint8

// The ways.
const (
	// Exec: it was to be executed.
	Exec How = 1 << iota
	// Open: it was to be opened for reading, or only looked up.
	Open
	// Write: it was to be opened for writing, or made.
	Write
	// List: the names in the directory were read.
	List
	// Stat: its attributes were asked for.
	Stat
	// Change: it was to be removed, renamed or linked, or its attributes changed.
	Change
)

// words are How's, in the order of the bits.
var words = [...]string{"exec", "open", "write", "list", "stat", "change"}

// Words are the names of the bits that are set: exec, open, write, list, stat, change.
func (h How) Words() []string {
	var out []string
	for i, w := range words {
		if h&(1<<i) != 0 {
			out = append(out, w)
		}
	}
	return out
}

// ParseHow is the opposite of Words. ErrInvalid for a word that is not known.
func ParseHow(list []string) (How, error) {
	var h How
	for _, w := range list {
		i := slices.Index(words[:], w)
		if i < 0 {
			return 0, errdefs.Invalid("%q is no way to use a file: want %s", w, strings.Join(words[:], ", "))
		}
		h |= 1 << i
	}
	return h, nil
}

// Event is one use of a path.
type Event struct {
	// Path is absolute in the container's root file system, as the program wrote it: it may go through links and "..".
	Path string
	// Real is what it led to at that moment, free of links; "" for nothing. A file of a mount has the path that it has in the container.
	Real string
	How  How
	// NoFollow says that a link in the last place was meant itself.
	NoFollow bool
}

// Tracer traces containers. Its methods may be called side by side.
type Tracer struct {
	emit func(Event)
	// calls are the calls with paths: by architecture and number.
	calls map[call][]lookup
	names []string

	mu     sync.Mutex
	closed bool
	stops  []*os.File
	work   sync.WaitGroup
}

// New returns a tracer that tells emit, which is called by several goroutines when several processes were started with it, and must be quick: the program waits.
func New(emit func(Event)) *Tracer {
	t := &Tracer{emit: emit}
	t.calls, t.names = table()
	return t
}

// Start makes cfg trace the container that is to be started with it. The spec's profile is replaced, not changed.
func (t *Tracer) Start(cfg *container.Config) error {
	s, linux := *cfg.Spec, specs.Linux{}
	if s.Linux != nil {
		linux = *s.Linux
	}
	p, err := t.profile(linux.Seccomp)
	if err != nil {
		return err
	}
	linux.Seccomp, s.Linux = p, &linux
	cfg.Spec, cfg.Agent = &s, t.listen
	return nil
}

// Exec makes cfg trace a further process of a container.
func (t *Tracer) Exec(cfg *container.ExecConfig) error {
	p, err := t.profile(cfg.Seccomp)
	if err != nil {
		return err
	}
	cfg.Seccomp, cfg.Agent = p, t.listen
	return nil
}

// Close ends the tracing and waits until the last event was told. Containers that still run get errors for all their lookups: they are to be ended before.
func (t *Tracer) Close() {
	t.mu.Lock()
	t.closed = true
	for _, f := range t.stops {
		f.Close()
	}
	t.stops = nil
	t.mu.Unlock()
	t.work.Wait()
}

// Wait waits until all processes that were traced have ended.
func (t *Tracer) Wait() { t.work.Wait() }

// profile adds the notifications to a profile, which may be nil. Calls that it refuses, or allows on conditions, stay as they are.
func (t *Tracer) profile(p *specs.LinuxSeccomp) (*specs.LinuxSeccomp, error) {
	if p == nil {
		// All that a processor executes: calls of an architecture that a profile does not name are killed.
		p = &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Architectures: []specs.Arch{specs.ArchX86_64, specs.ArchX86, specs.ArchAARCH64, specs.ArchARM}}
	}
	for _, s := range p.Syscalls {
		if s.Action == specs.ActNotify {
			return nil, errdefs.Unsupported("the seccomp profile has an agent of its own: a container has one, and tracing needs it")
		}
	}
	out := *p
	ring := uint(unix.ENOSYS)
	first := []specs.LinuxSyscall{
		{Names: allowed(p, t.names), Action: specs.ActNotify},
		{Names: []string{"io_uring_setup"}, Action: specs.ActErrno, ErrnoRet: &ring},
	}
	out.Syscalls = append(first, p.Syscalls...)
	if waitsKillable() {
		// Without it a signal interrupts a call that waits for its answer, which then asks again: Go's runtime sends itself signals all the time.
		out.Flags = append(slices.Clip(out.Flags), specs.LinuxSeccompFlagWaitKillableRecv)
	}
	return &out, nil
}

// allowed are those of names that a profile allows without conditions.
func allowed(p *specs.LinuxSeccomp, names []string) []string {
	decided := map[string]specs.LinuxSeccompAction{}
	for _, s := range p.Syscalls {
		for _, n := range s.Names {
			if len(s.Args) > 0 {
				decided[n] = "" // on conditions
			} else if _, ok := decided[n]; !ok {
				decided[n] = s.Action
			}
		}
	}
	var out []string
	for _, n := range names {
		act, ok := decided[n]
		if !ok {
			act = p.DefaultAction
		}
		if act == specs.ActAllow || act == specs.ActLog {
			out = append(out, n)
		}
	}
	return out
}

// waitsKillable reports whether the kernel knows SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (since Linux 5.19): it looks at the flags before the filter, which is
// not there.
func waitsKillable() bool {
	const setModeFilter = 1
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, setModeFilter, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER|unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, 0)
	return errno == unix.EFAULT
}

// listen is container.Config.Agent.
func (t *Tracer) listen(_ context.Context, listener *os.File) error {
	r, w, err := os.Pipe()
	if err != nil {
		listener.Close()
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		listener.Close()
		return errors.Join(errdefs.Conflict("the tracing has ended"), r.Close(), w.Close())
	}
	t.stops = append(t.stops, w)
	t.work.Go(func() {
		defer listener.Close()
		defer r.Close()
		t.serve(int(listener.Fd()), int(r.Fd()))
	})
	return nil
}

// notification is the kernel's struct seccomp_notif, with its struct seccomp_data.
type notification struct {
	id         uint64
	pid, flags uint32
	nr         int32
	arch       uint32
	ip         uint64
	args       [6]uint64
}

// answer is the kernel's struct seccomp_notif_resp.
type answer struct {
	id    uint64
	val   int64
	errno int32
	flags uint32
}

// serve answers until all processes under the filter have ended, or the other end of stop is closed.
func (t *Tracer) serve(fd, stop int) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// One processor passes the call to and fro then, which is faster (since Linux 6.6).
	_, _, _ = unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SECCOMP_IOCTL_NOTIF_SET_FLAGS, unix.SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP)
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}, {Fd: int32(stop), Events: unix.POLLIN}}
	for {
		fds[0].Revents, fds[1].Revents = 0, 0
		if _, err := unix.Poll(fds, -1); err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
		switch {
		case fds[0].Revents&unix.POLLIN != 0:
		case fds[0].Revents != 0 || fds[1].Revents != 0:
			return
		default:
			continue
		}
		var n notification
		if err := ioctl(fd, unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&n)); err != nil {
			if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINTR) { // it was killed meanwhile
				continue
			}
			return
		}
		events := t.read(&n)
		// What was read is the caller's only when it still waits: otherwise its id may be another's by now.
		if ioctl(fd, unix.SECCOMP_IOCTL_NOTIF_ID_VALID, unsafe.Pointer(&n.id)) == nil {
			for _, e := range events {
				t.emit(e)
			}
		}
		a := answer{id: n.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
		if err := ioctl(fd, unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&a)); err != nil && !errors.Is(err, unix.ENOENT) {
			return
		}
	}
}

// ioctl asks until no signal comes between: to answer, too, the kernel waits for a lock, and gives up when one comes. An answer that was given up would be no
// end of the program's wait, and a look that was given up would lose what was read.
func ioctl(fd int, request uintptr, p unsafe.Pointer) error {
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(p))
		switch {
		case errno == 0:
			return nil
		case errno != unix.EINTR || request == unix.SECCOMP_IOCTL_NOTIF_RECV: // the one that waits is asked for again by its caller, which looks first whether to end
			return errno
		}
	}
}

// call names a system call: its architecture (AUDIT_ARCH_*) and number.
type call struct {
	arch uint32
	nr   int32
}

// table makes the table of calls with paths for this processor, and lists their names.
func table() (map[call][]lookup, []string) {
	archs := []uint32{unix.AUDIT_ARCH_X86_64, unix.AUDIT_ARCH_I386}
	if runtime.GOARCH == "arm64" {
		archs = []uint32{unix.AUDIT_ARCH_AARCH64, unix.AUDIT_ARCH_ARM}
	}
	calls, names := map[call][]lookup{}, []string(nil)
	for _, c := range lookups() {
		names = append(names, c.name)
		for _, a := range archs {
			if n := seccomp.Number(a, c.name); n >= 0 {
				calls[call{a, int32(n)}] = c.paths
			}
		}
	}
	return calls, names
}
