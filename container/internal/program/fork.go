package program

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Kinds of the records that a child writes to the status pipe. A record is
// three machine words: kind and two values. End of file without an error
// record says that the child has executed its program.
const (
	recordError    = 1 + iota // position of the call, errno
	recordPid                 // process id
	recordReady               // -
	recordListener            // descriptor
)

// RecordSize is the size of a record in bytes.
const RecordSize = 3 * 8

// childState is what the interpreter uses. It is in the child's memory, and all that it refers to.
type childState struct {
	ops   []op
	slots []uintptr
	// gaps are ranges of descriptors that the child closes first.
	gaps   [][2]uintptr
	status uintptr
	noted  syscall.Errno
	record [3]uintptr
	// mask has the signals that are blocked once the child has forgotten what to do about signals, and byDefault is a
	// struct sigaction of zeros: SIG_DFL.
	mask      uint64
	byDefault [4]uint64
}

// ForkOptions say how the child is made.
type ForkOptions struct {
	// Flags are CLONE_NEW* flags.
	Flags uintptr
	// CgroupFD is a descriptor of a cgroup v2 directory to start in, or -1.
	CgroupFD int
}

// Child is a forked child. Its exit is to be collected by wait4.
type Child struct {
	// Pid is the child's process id.
	Pid int
	// status reads the records.
	status *os.File
	prog   *Program
	early  []news
}

// Error is a failed call of a child.
type Error struct {
	// Stage is what was being done.
	Stage string
	// Errno is the kernel's answer.
	Errno syscall.Errno
	// Exec tells that all went well but the execution itself.
	Exec bool
	// Found tells that the program is there: its interpreter may be missing.
	Found bool
}

func (e *Error) Error() string { return e.Stage + ": " + e.Errno.Error() }

// Unwrap returns the errno.
func (e *Error) Unwrap() error { return e.Errno }

// ErrEnded is returned when a child ended before it said how far it came:
// somebody killed it.
var ErrEnded = errors.New("the child ended early")

//go:linkname beforeFork syscall.runtime_BeforeFork
func beforeFork()

//go:linkname afterFork syscall.runtime_AfterFork
func afterFork()

// forkOnto makes the system call nr, a clone with a stack for the child. The child calls fn, the address of a compiled function, with c.
func forkOnto(nr, a1, a2, fn uintptr, c *childState) (r uintptr)

// Fork starts the child. It sees of the parent's descriptors only 0 to 2 and
// those that were given by File, and of its memory the program, the text and the variables, but not the heap: that holds
// things which are no child's business, and sharing it takes time. It is called once, and closes the program.
func (p *Program) Fork(opts ForkOptions) (*Child, error) {
	if err := p.resolve(); err != nil {
		return nil, err
	}
	read, write, err := p.status.take()
	if err != nil {
		return nil, err
	}
	// The parent's copies would keep the pipe from ending.
	p.forked = true
	defer p.Close()
	defer write.Close()
	child := &Child{status: read, prog: p}
	c, stack, err := p.childState()
	if err != nil {
		child.Close()
		return nil, err
	}
	args := &cloneArgs{flags: uint64(opts.Flags), exitSignal: uint64(unix.SIGCHLD), stack: uint64(stack), stackSize: childStack}
	nr, a1, a2 := uintptr(unix.SYS_CLONE), opts.Flags|uintptr(unix.SIGCHLD), stack+childStack
	if opts.CgroupFD >= 0 {
		args.flags |= unix.CLONE_INTO_CGROUP
		args.cgroup = uint64(opts.CgroupFD)
		nr, a1, a2 = unix.SYS_CLONE3, uintptr(unsafe.Pointer(args)), unsafe.Sizeof(*args)
	}
	var errno syscall.Errno
	syscall.ForkLock.Lock()
	withoutHeap(p, func() { child.Pid, errno = fork(c, nr, a1, a2) })
	syscall.ForkLock.Unlock()
	runtime.KeepAlive(args)
	if errno != 0 {
		child.Close()
		return nil, fmt.Errorf("fork: %w", errno)
	}
	return child, nil
}

// childState puts what the child needs into its memory, and makes its stack, of which it returns the lowest address.
func (p *Program) childState() (c *childState, stack uintptr, err error) {
	state, err := list[childState](&p.memory, 1)
	if err != nil {
		return nil, 0, err
	}
	c = &state[0]
	c.ops, c.status = p.ops, p.statusNumber
	if c.slots, err = list[uintptr](&p.memory, len(p.slots)); err != nil {
		return nil, 0, err
	}
	gaps := p.gaps()
	if c.gaps, err = list[[2]uintptr](&p.memory, len(gaps)); err != nil {
		return nil, 0, err
	}
	copy(c.gaps, gaps)
	b, err := p.memory.take(childStack)
	if err != nil {
		return nil, 0, err
	}
	return c, uintptr(unsafe.Pointer(&b[0])), nil
}

// cloneArgs is the kernel's struct clone_args.
type cloneArgs struct {
	flags, pidfd, childTid, parentTid, exitSignal, stack, stackSize, tls, setTid, setTidSize, cgroup uint64
}

// fork makes the child. As in the syscall
// package, nothing between the two hooks may grow the stack, allocate or take
// a lock. All signals are blocked there, in the child too: nothing could handle one.
//
//go:noinline
//go:norace
//go:nocheckptr
func fork(c *childState, nr, a1, a2 uintptr) (int, syscall.Errno) {
	runtime.LockOSThread() // its mask of signals is asked for
	defer runtime.UnlockOSThread()
	const block = 0 // nothing
	_, _, _ = syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, block, 0, uintptr(unsafe.Pointer(&c.mask)), signalSetSize, 0, 0)
	child := run
	fn := **(**uintptr)(unsafe.Pointer(&child))
	beforeFork()
	r := forkOnto(nr, a1, a2, fn, c)
	afterFork()
	if -int(r) > 0 && -int(r) < 4096 {
		return 0, syscall.Errno(-r)
	}
	return int(r), 0
}

// Of the kernel: the bytes of a sigset_t, and the last signal.
const (
	signalSetSize = 8
	lastSignal    = 64
)

// heedSignals has each signal do what it does by default, and lets them in. Those that the parent ignores, or whoever started it did (nohup, a shell for
// its background jobs), would stay so in the program that is executed, and a shell cannot even trap them then.
//
//go:nosplit
//go:norace
func heedSignals(c *childState) {
	for sig := uintptr(1); sig <= lastSignal; sig++ { // it fails for two, which is as well
		_, _, _ = syscall.RawSyscall6(unix.SYS_RT_SIGACTION, sig, uintptr(unsafe.Pointer(&c.byDefault)), 0, signalSetSize, 0, 0)
	}
	const set = 2
	_, _, _ = syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, set, uintptr(unsafe.Pointer(&c.mask)), 0, signalSetSize, 0, 0)
}

// run works through the calls. It is all that the child does, on a stack of its own and without a goroutine or a heap.
//
//go:nosplit
//go:norace
//go:nocheckptr
func run(c *childState) {
	heedSignals(c)
	for i := range c.gaps {
		// The kernel may not know close_range (before Linux 5.9): what is
		// left open then is closed by exec.
		_, _, _ = syscall.RawSyscall6(unix.SYS_CLOSE_RANGE, c.gaps[i][0], c.gaps[i][1], 0, 0, 0, 0)
	}
	pc := int32(0)
	for int(pc) < len(c.ops) {
		o := &c.ops[pc]
		var r uintptr
		var errno syscall.Errno
		switch o.nr {
		case opJump:
		case opFail:
			errno = syscall.Errno(o.args[0])
		case opNoted:
			errno = c.noted
			if errno == 0 {
				errno = syscall.Errno(o.args[0])
			}
		case opReport:
			v := o.args[1]
			if o.slots&2 != 0 {
				v = c.slots[v]
			}
			report(c, o.args[0], v, 0)
		default:
			r, errno = call(c, o)
		}
		if errno != 0 && (errno == o.tolerated[0] || errno == o.tolerated[1] || errno == o.tolerated[2]) {
			errno = 0
		} else if errno == 0 && o.into >= 0 {
			c.slots[o.into] = r
		}
		to := o.onOK
		if r == 0 && errno == 0 && o.onZero != next {
			to = o.onZero
		}
		if errno != 0 {
			if o.note && errno != syscall.ENOENT && errno != syscall.ENOTDIR {
				c.noted = errno
			}
			to = o.onErr
			if o.onMissing != next && (errno == syscall.ENOENT || errno == syscall.ENOTDIR) {
				to = o.onMissing
			}
		}
		switch to {
		case fail:
			report(c, recordError, uintptr(pc), uintptr(errno))
			exit(1)
		case next:
			pc++
		default:
			pc = to
		}
	}
	exit(0)
}

// call makes one system call, again when a signal interrupted it.
//
//go:nosplit
//go:norace
func call(c *childState, o *op) (uintptr, syscall.Errno) {
	a := o.args
	for i := range a {
		if o.slots&(1<<i) != 0 {
			a[i] = c.slots[a[i]]
		}
	}
	for {
		r, _, errno := syscall.RawSyscall6(o.nr, a[0], a[1], a[2], a[3], a[4], a[5])
		if errno != syscall.EINTR {
			return r, errno
		}
	}
}

//go:nosplit
//go:norace
func report(c *childState, kind, a, b uintptr) {
	c.record[0], c.record[1], c.record[2] = kind, a, b
	_, _, _ = syscall.RawSyscall6(unix.SYS_WRITE, c.status, uintptr(unsafe.Pointer(&c.record)), RecordSize, 0, 0, 0)
}

//go:nosplit
//go:norace
func exit(code uintptr) {
	for {
		_, _, _ = syscall.RawSyscall6(unix.SYS_EXIT_GROUP, code, 0, 0, 0, 0, 0)
	}
}

// Event is how far a child came.
type Event struct {
	// Pid is set when the child told the id of the process that goes on in its place.
	Pid int
	// Ready is set when the child passed Ready.
	Ready bool
	// Listener is set when the child told the number of a descriptor of its own that the parent shall take.
	Listener int
	// Executed is set when the program was executed (or the child was killed).
	Executed bool
}

// Next waits for the child's next event, or returns its failure as *Error.
func (c *Child) Next() (Event, error) {
	if len(c.early) > 0 {
		first := c.early[0]
		c.early = c.early[1:]
		return first.ev, first.err
	}
	return c.read()
}

// NextPid waits for the id of the process that goes on in the child's place. That process may be faster than the child that
// tells of it: what it told before is what Next returns then. ErrEnded when the child ended without telling.
func (c *Child) NextPid() (int, error) {
	for {
		ev, err := c.read()
		var told *Error
		switch {
		case err == nil && ev.Pid > 0:
			return ev.Pid, nil
		case err == nil && ev.Executed:
			if len(c.early) > 0 && c.early[0].err != nil {
				return 0, c.early[0].err // the child's own failure
			}
			return 0, ErrEnded
		case err != nil && !errors.As(err, &told):
			return 0, err
		}
		c.early = append(c.early, news{ev, err})
	}
}

// news is what a child told before it was asked.
type news struct {
	ev  Event
	err error
}

func (c *Child) read() (Event, error) {
	var b [RecordSize]byte
	_, err := io.ReadFull(c.status, b[:])
	switch {
	case errors.Is(err, io.EOF):
		return Event{Executed: true}, nil
	case err != nil:
		return Event{}, fmt.Errorf("read a child's status: %w", err)
	}
	a, v := binary.NativeEndian.Uint64(b[8:]), binary.NativeEndian.Uint64(b[16:])
	switch binary.NativeEndian.Uint64(b[:]) {
	case recordPid:
		return Event{Pid: int(a)}, nil
	case recordReady:
		return Event{Ready: true}, nil
	case recordListener:
		return Event{Listener: int(a)}, nil
	}
	if a >= uint64(len(c.prog.ops)) {
		return Event{}, fmt.Errorf("a child's status is out of range: %d", a)
	}
	return Event{}, &Error{Stage: c.prog.stages[c.prog.ops[a].stage], Errno: syscall.Errno(v), Exec: int(a) >= c.prog.execAt, Found: int(a) == c.prog.execAt}
}

// Close closes the parent's end of the status pipe, and gives back the program's memory. Closing twice does no harm.
func (c *Child) Close() {
	c.status.Close()
	c.prog.release()
}
