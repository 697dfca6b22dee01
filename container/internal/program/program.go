// Package program runs a list of system calls in a forked child.
//
// Setting up a container means to make some hundred system calls in a process
// of its own. A process started from the Go binary pays 1 to 2 ms for the
// start of the Go runtime before it makes the first of them, and being
// multi-threaded it may not join a user namespace. So the calls are collected
// as data by the parent, in ordinary Go, and a fork of it works through
// them without any Go runtime, as the only thread that it has:
//
//	p := program.New(3)
//	defer p.Close()
//	p.Stage("set the host name")
//	p.Call(unix.SYS_SETHOSTNAME, p.Str("web"), program.Int(3))
//	p.Stage("enter /srv")
//	fd := p.Slot()
//	p.Call(unix.SYS_OPENAT, program.Int(unix.AT_FDCWD), p.Str("/srv"), program.Int(unix.O_PATH)).Into(fd)
//	p.Call(unix.SYS_FCHDIR, fd.Arg())
//	err := p.AppendExec(program.Exec{Paths: []string{"/bin/sh"}, Args: []string{"sh"}})
//	child, err := p.Fork(program.ForkOptions{Flags: unix.CLONE_NEWUTS, CgroupFD: -1})
//	event, err := child.Next() // Executed, or why not
//
// A call that fails ends the child, and the parent learns the stage and the
// error number over a pipe. There are no loops, and jumps go forward only: so
// every program ends.
package program

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What to do after a call; a value of 0 and above is a jump target.
const (
	next = -1
	fail = -2
)

// Pseudo calls, which the interpreter carries out itself.
const (
	opJump   = ^uintptr(0) - iota // go on at onOK
	opFail                        // fail with errno args[0]
	opNoted                       // fail with the noted errno, or else args[0]
	opReport                      // send a record: args[0] kind, args[1] value
)

// op is one system call and what follows from its outcome.
type op struct {
	nr   uintptr
	args [6]uintptr
	// slots has bit i set when args[i] is the number of a slot.
	slots uint8
	// note keeps an errno other than ENOENT and ENOTDIR for opNoted.
	note bool
	// tolerated errnos count as success, without a result.
	tolerated [3]syscall.Errno
	onErr     int32
	onOK      int32
	onZero    int32
	onMissing int32
	into      int32
	stage     int32
}

// Program is a list of system calls. It belongs to one goroutine.
type Program struct {
	ops    []op
	slots  []uintptr
	stages []string
	labels []int32
	memory memory
	keep   []*os.File
	err    error
	fds    []int
	above  int
	owned  []*os.File
	status statusPipe
	// statusNumber is the descriptor that the child reports on.
	statusNumber uintptr
	execAt       int
	// forked tells that the memory is the child's, to be given back with that.
	forked bool
}

// New returns an empty program. The descriptors that the program itself uses
// (of the status pipe, of the stub, and of File) are numbered from above on:
// descriptors below can be overwritten by dup3.
func New(above int) *Program {
	return &Program{
		above:  above,
		slots:  make([]uintptr, 0, 128),
		stages: append(make([]string, 0, 64), "start"),
	}
}

// allocate returns n bytes of the child's memory. Where there is none, Fork fails.
func (p *Program) allocate(n int) []byte {
	b, err := p.memory.take(n)
	if err != nil {
		p.err = err
		return make([]byte, n)
	}
	return b
}

// Arg is an argument of a call.
type Arg struct {
	value uintptr
	slot  bool
}

// Int is a number as argument.
func Int(v int) Arg { return Arg{value: uintptr(v)} }

// Uint is an unsigned number as argument.
func Uint(v uint64) Arg { return Arg{value: uintptr(v)} }

// Slot holds the result of a call for later ones.
type Slot int32

// Arg makes the slot's value an argument.
func (s Slot) Arg() Arg { return Arg{value: uintptr(s), slot: true} }

// Slot makes a new slot of value 0.
func (p *Program) Slot() Slot {
	p.slots = append(p.slots, 0)
	return Slot(len(p.slots) - 1)
}

// Str is a NUL-terminated string as argument. A string with a NUL inside makes
// Fork fail.
func (p *Program) Str(s string) Arg {
	if strings.IndexByte(s, 0) >= 0 {
		p.err = fmt.Errorf("%q: a string with a NUL byte", s)
		return Arg{}
	}
	b := p.allocate(len(s) + 1)
	copy(b, s)
	return Arg{value: uintptr(unsafe.Pointer(&b[0]))}
}

// Bytes is the address of a copy of b as argument.
func (p *Program) Bytes(b []byte) Arg {
	if len(b) == 0 {
		return Arg{}
	}
	to := p.allocate(len(b))
	copy(to, b)
	return Arg{value: uintptr(unsafe.Pointer(&to[0]))}
}

// Ptr is the address of a copy of v as argument, made now. v holds no pointers.
func Ptr[T any](p *Program, v *T) Arg { return List(p, unsafe.Slice(v, 1)) }

// List is the address of a copy of all elements as argument. They hold no pointers.
func List[T any](p *Program, all []T) Arg {
	if len(all) == 0 {
		return Arg{}
	}
	return p.Bytes(unsafe.Slice((*byte)(unsafe.Pointer(&all[0])), len(all)*int(unsafe.Sizeof(all[0]))))
}

// Strs is the address of a NULL-terminated list of strings, as execve takes it.
func (p *Program) Strs(strs []string) Arg {
	b := p.allocate((len(strs) + 1) * int(unsafe.Sizeof(uintptr(0))))
	at := unsafe.Slice((*uintptr)(unsafe.Pointer(&b[0])), len(strs)+1)
	for i, s := range strs {
		at[i] = p.Str(s).value
	}
	return Arg{value: uintptr(unsafe.Pointer(&b[0]))}
}

// File is a descriptor of the parent as argument. The child gets no others. f
// must stay open until Fork.
func (p *Program) File(f *os.File) Arg {
	fd := int(f.Fd())
	if fd < p.above {
		dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, p.above)
		if err != nil {
			p.err = fmt.Errorf("duplicate a descriptor: %w", err)
			return Arg{}
		}
		p.owned = append(p.owned, os.NewFile(uintptr(dup), f.Name()))
		fd = dup
	}
	p.fds = append(p.fds, fd)
	p.keep = append(p.keep, f)
	return Int(fd)
}

// Own hands f over: Close closes it.
func (p *Program) Own(f *os.File) { p.owned = append(p.owned, f) }

// gaps are the ranges above 2 in between the descriptors that the child needs.
func (p *Program) gaps() [][2]uintptr {
	slices.Sort(p.fds)
	var gaps [][2]uintptr
	from := 3
	for _, fd := range p.fds {
		if fd > from {
			gaps = append(gaps, [2]uintptr{uintptr(from), uintptr(fd - 1)})
		}
		from = max(from, fd+1)
	}
	return append(gaps, [2]uintptr{uintptr(from), math.MaxUint32})
}

// Close closes the parent's copies of what the program was given. The program
// cannot be forked any more. Closing twice does no harm.
func (p *Program) Close() {
	for _, f := range p.owned {
		f.Close()
	}
	p.owned = nil
	p.status.close()
	if !p.forked {
		p.release()
	}
}

// release gives the memory back, which nothing may point to any more.
func (p *Program) release() {
	p.ops = nil
	p.memory.release()
}

// Status makes the child report over a pipe of the caller's, whose ends the program takes. Without it AppendExec makes
// one. The writing end may be one that can be read, too: then a child whose parent is gone is not killed by reporting.
func (p *Program) Status(read, write *os.File) { p.status = statusPipe{read: read, write: write} }

// statusPipe is made when the first call refers to it.
type statusPipe struct{ read, write *os.File }

func (s *statusPipe) take() (read, write *os.File, err error) {
	if s.read == nil {
		return nil, nil, errors.New("a program without an end: AppendExec was not called")
	}
	read, write = s.read, s.write
	s.read, s.write = nil, nil
	return read, write, nil
}

func (s *statusPipe) close() {
	if s.read != nil {
		s.read.Close()
		s.write.Close()
	}
}

// Stage names what the following calls do, for errors: "mount /proc".
func (p *Program) Stage(format string, args ...any) {
	if len(args) > 0 {
		format = fmt.Sprintf(format, args...)
	}
	p.stages = append(p.stages, format)
}

// Call appends a system call. By default its failure ends the child.
func (p *Program) Call(nr uintptr, args ...Arg) *Call {
	o := op{nr: nr, onErr: fail, onOK: next, onZero: next, onMissing: next, into: -1, stage: int32(len(p.stages) - 1)}
	for i, a := range args {
		o.args[i] = a.value
		if a.slot {
			o.slots |= 1 << i
		}
	}
	if len(p.ops) == cap(p.ops) {
		p.grow()
	}
	p.ops = append(p.ops, o)
	return &Call{p: p, at: len(p.ops) - 1}
}

// grow makes room for more calls, which are in the child's memory from the start.
func (p *Program) grow() {
	const usual = 320 // calls of a container's start
	ops, err := list[op](&p.memory, max(usual, 2*cap(p.ops)))
	if err != nil {
		p.err = err
		return // the list goes on elsewhere, and is never run
	}
	p.ops = append(ops[:0], p.ops...)
}

// Call is a call just appended, to say what follows from it.
type Call struct {
	p  *Program
	at int
}

// Into keeps the result in s.
func (c *Call) Into(s Slot) *Call { c.p.ops[c.at].into = int32(s); return c }

// Tolerate treats the given errnos (at most three) as success.
func (c *Call) Tolerate(errnos ...syscall.Errno) *Call {
	copy(c.p.ops[c.at].tolerated[:], errnos)
	return c
}

// Ignore goes on whatever the outcome.
func (c *Call) Ignore() *Call { c.p.ops[c.at].onErr = next; return c }

// OnMissing goes on at l when the call says that nothing is there; other
// errors end the child.
func (c *Call) OnMissing(l Label) *Call { c.p.ops[c.at].onMissing = labelBase + int32(l); return c }

// Note remembers the errno for FailNoted unless it says that nothing is there.
func (c *Call) Note() *Call { c.p.ops[c.at].note = true; return c }

// Label is a place later in the program.
type Label int32

// Label makes a label, to be placed by Mark.
func (p *Program) Label() Label {
	p.labels = append(p.labels, -1)
	return Label(len(p.labels) - 1)
}

// Mark places l before the next call.
func (p *Program) Mark(l Label) { p.labels[l] = int32(len(p.ops)) }

// labelBase tells labels from the other values of onErr and onOK until Fork resolves them.
const labelBase = 1 << 24

// OnError goes on at l when the call fails.
func (c *Call) OnError(l Label) *Call { c.p.ops[c.at].onErr = labelBase + int32(l); return c }

// OnSuccess goes on at l when the call succeeds.
func (c *Call) OnSuccess(l Label) *Call { c.p.ops[c.at].onOK = labelBase + int32(l); return c }

// OnZero goes on at l when the call succeeds with 0, as clone does in the child
// and read at the end of a file.
func (c *Call) OnZero(l Label) *Call { c.p.ops[c.at].onZero = labelBase + int32(l); return c }

// Jump goes on at l.
func (p *Program) Jump(l Label) { p.Call(opJump).OnSuccess(l) }

// Fail ends the child with errno.
func (p *Program) Fail(errno syscall.Errno) { p.Call(opFail, Uint(uint64(errno))) }

// FailNoted ends the child with the errno noted last, or errno if none was.
func (p *Program) FailNoted(errno syscall.Errno) { p.Call(opNoted, Uint(uint64(errno))) }

// Ready tells the parent that the child has come so far.
func (p *Program) Ready() { p.Call(opReport, Uint(recordReady), Int(0)) }

// Pid tells the parent the process id held in s.
func (p *Program) Pid(s Slot) { p.Call(opReport, Uint(recordPid), s.Arg()) }

// Listener tells the parent the number of the descriptor held in s, which it shall take.
func (p *Program) Listener(s Slot) { p.Call(opReport, Uint(recordListener), s.Arg()) }

// resolve turns labels into positions.
func (p *Program) resolve() error {
	if p.err != nil {
		return p.err
	}
	for i := range p.ops {
		for _, target := range []*int32{&p.ops[i].onErr, &p.ops[i].onOK, &p.ops[i].onZero, &p.ops[i].onMissing} {
			if *target < labelBase {
				continue
			}
			at := p.labels[*target-labelBase]
			if at <= int32(i) {
				return fmt.Errorf("stage %q: jump back or to a label that is not placed", p.stages[p.ops[i].stage])
			}
			*target = at
		}
	}
	return nil
}
