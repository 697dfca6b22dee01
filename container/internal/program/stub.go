package program

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The forked child does not execute the user's program itself. Until it does,
// /proc/self/exe is the host's camada binary, and a program that is a script
// of "#!/proc/self/exe" would run that binary as the container's process, from
// where a second process could open it for writing (CVE-2019-5736). So the
// child first executes the stub: some hundred bytes of machine code in a
// sealed memfd, which do nothing but load the seccomp filter and execute the
// user's program. There is no way from a container to the host's binary then,
// and nothing of camada's memory or descriptors is left in the process when
// the user's program is looked up. Writing the memfd costs 20 µs; a second
// start of a Go program from a read-only mount would cost 1.5 ms.
//
// Loading the filter in the stub has a second use: the only call made under
// it is execve, so a profile needs to allow nothing for camada's sake.
//
//	offset  the file, mapped as a whole at stubBase, not writable
//	0       ELF header, one program header
//	0x80    status fd · position of the exec call · position for the filter's error
//	0x98    struct sock_fprog {len, pointer} · seccomp flags
//	0xc0    code
//	...     the filter's instructions
const (
	stubBase   = 0x10000000
	stubData   = 0x80
	stubCodeAt = 0xc0
	stubEnd    = "camada.."
)

// stubCode returns the address of the stub's code in this binary.
func stubCode() unsafe.Pointer

// Exec is the end of a program: path is executed by way of the stub.
type Exec struct {
	// Paths are tried in turn; those that do not exist or are directories
	// are passed over.
	Paths []string
	// Args and Env are the program's.
	Args, Env []string
	// Filter is a seccomp filter as the kernel's struct sock_filter[], loaded
	// last; empty for none. The process must be allowed to do so: by
	// no_new_privs or CAP_SYS_ADMIN.
	Filter []byte
	// FilterFlags are SECCOMP_FILTER_FLAG_*.
	FilterFlags uint64
	// Hold appends a wait between the look whether there is a program and its execution; nil for none.
	Hold func()
}

// AppendExec appends the calls that execute e and end the program.
func (p *Program) AppendExec(e Exec) error {
	status, err := p.statusFD()
	if err != nil {
		return err
	}
	p.Stage("load the seccomp filter")
	filterAt := p.marker()
	name := ""
	if len(e.Args) > 0 {
		name = e.Args[0]
	}
	p.Stage("execute %q", name)
	execAt := p.marker()
	p.execAt = execAt
	image, err := stubImage(uint64(status), uint64(execAt), uint64(filterAt), e)
	if err != nil {
		return err
	}
	f, err := stubFile(image)
	if err != nil {
		return err
	}
	p.owned = append(p.owned, f)
	stub := p.File(f)
	p.Call(unix.SYS_FCNTL, Int(status), Int(unix.F_SETFD), Int(0))
	env := p.Strs(e.Env)
	if e.Hold != nil {
		found := p.Label()
		for _, path := range e.Paths {
			skip := p.look(path, len(e.Paths) > 1)
			if len(e.Paths) == 1 { // execve would say so, but only when others believe that all is well
				file := p.Label()
				p.Call(unix.SYS_FACCESSAT, Int(unix.AT_FDCWD), p.Str(path+"/."), Int(0)).OnError(file)
				p.Fail(unix.EACCES)
				p.Mark(file)
			}
			p.Jump(found)
			p.Mark(skip)
		}
		p.FailNoted(unix.ENOENT)
		p.Mark(found)
		e.Hold()
		p.Stage("execute %q", name)
	}
	for _, path := range e.Paths {
		skip := p.look(path, len(e.Paths) > 1)
		argv := p.Strs(append([]string{path}, e.Args...))
		p.Call(unix.SYS_EXECVEAT, stub, p.Str(""), argv, env, Int(unix.AT_EMPTY_PATH))
		p.Mark(skip)
	}
	p.FailNoted(unix.ENOENT)
	return nil
}

// AppendEnd ends a program that executes nothing: its process ends when it has come so far.
func (p *Program) AppendEnd() error {
	_, err := p.statusFD()
	p.execAt = math.MaxInt
	return err
}

// look appends calls that go on at the label when path cannot be executed.
func (p *Program) look(path string, search bool) Label {
	const xOK = 1
	skip := p.Label()
	p.Call(unix.SYS_FACCESSAT, Int(unix.AT_FDCWD), p.Str(path), Int(xOK)).Note().OnError(skip)
	if search {
		p.Call(unix.SYS_FACCESSAT, Int(unix.AT_FDCWD), p.Str(path+"/."), Int(0)).Ignore().OnSuccess(skip)
	}
	return skip
}

// marker appends a call that does nothing, for the stub to name a stage by.
func (p *Program) marker() int {
	p.Call(opJump)
	return len(p.ops) - 1
}

// LoadFilter appends the calls that load a seccomp filter at once, for a
// process without no_new_privs that may do so by CAP_SYS_ADMIN. What follows
// runs under the filter. With SECCOMP_FILTER_FLAG_NEW_LISTENER the result is a descriptor.
func (p *Program) LoadFilter(filter []byte, flags uint64) *Call {
	p.Stage("load the seccomp filter")
	prog := &struct { // struct sock_fprog
		length uint16
		filter uintptr
	}{uint16(len(filter) / 8), p.Bytes(filter).value}
	const setModeFilter = 1
	return p.Call(unix.SYS_SECCOMP, Int(setModeFilter), Uint(flags), Ptr(p, prog))
}

// statusFD makes the status pipe and gives the descriptor of its writing end.
func (p *Program) statusFD() (int, error) {
	if p.status.write == nil {
		r, w, err := os.Pipe()
		if err != nil {
			return 0, fmt.Errorf("make a status pipe: %w", err)
		}
		p.Status(r, w)
	}
	fd := p.File(p.status.write)
	p.statusNumber = fd.value
	return int(fd.value), p.err
}

// stubImage makes the ELF file.
func stubImage(status, execAt, filterAt uint64, e Exec) ([]byte, error) {
	code := unsafe.Slice((*byte)(stubCode()), 512)
	n := bytes.Index(code, []byte(stubEnd))
	if n < 0 {
		return nil, errors.New("the stub's code is damaged")
	}
	filter := (stubCodeAt + n + 15) &^ 15
	b := make([]byte, filter+len(e.Filter))
	le := binary.LittleEndian
	copy(b, "\x7fELF\x02\x01\x01")
	le.PutUint16(b[16:], 2) // ET_EXEC
	machine := map[string]uint16{"amd64": 62, "arm64": 183}[runtime.GOARCH]
	le.PutUint16(b[18:], machine)
	le.PutUint32(b[20:], 1)
	le.PutUint64(b[24:], stubBase+stubCodeAt)
	le.PutUint64(b[32:], 64) // program headers
	le.PutUint16(b[52:], 64)
	le.PutUint16(b[54:], 56)
	le.PutUint16(b[56:], 1)
	ph := b[64:]
	le.PutUint32(ph, 1)     // PT_LOAD
	le.PutUint32(ph[4:], 5) // readable, executable
	le.PutUint64(ph[16:], stubBase)
	le.PutUint64(ph[24:], stubBase)
	le.PutUint64(ph[32:], uint64(len(b)))
	le.PutUint64(ph[40:], uint64(len(b)))
	le.PutUint64(ph[48:], 0x10000)
	d := b[stubData:]
	le.PutUint64(d, status)
	le.PutUint64(d[8:], execAt)
	le.PutUint64(d[16:], filterAt)
	le.PutUint64(d[24:], uint64(len(e.Filter)/8))
	le.PutUint64(d[32:], uint64(stubBase+filter))
	le.PutUint64(d[40:], e.FilterFlags)
	copy(b[stubCodeAt:], code[:n])
	copy(b[filter:], e.Filter)
	return b, nil
}

// stubFile puts the image into a sealed memfd.
func stubFile(image []byte) (*os.File, error) {
	const mfdExec = 0x10
	fd, err := unix.MemfdCreate("camada-start", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|mfdExec)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3
		fd, err = unix.MemfdCreate("camada-start", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, fmt.Errorf("make a memfd for the start stub: %w", err)
	}
	f := os.NewFile(uintptr(fd), "camada-start")
	if _, err := unix.Write(fd, image); err != nil {
		f.Close()
		return nil, fmt.Errorf("write the start stub: %w", err)
	}
	const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		f.Close()
		return nil, fmt.Errorf("seal the start stub: %w", err)
	}
	return f, nil
}
