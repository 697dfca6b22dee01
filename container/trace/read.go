package trace

import (
	"bytes"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// maxPath is the longest path that the kernel takes, in bytes, with its NUL.
const maxPath = 4096

// process is the one that waits for an answer, by what /proc has of it.
type process struct {
	pid int
	dir string
}

// read finds out what a call looks up. What cannot be read is left out: the process has been killed, or its path is none.
func (t *Tracer) read(n *notification) []Event {
	lookups := t.calls[call{n.arch, n.nr}]
	if len(lookups) == 0 || n.pid == 0 {
		return nil
	}
	p := process{int(n.pid), "/proc/" + strconv.FormatUint(uint64(n.pid), 10)}
	var out []Event
	for i := range lookups {
		if e, ok := p.event(&lookups[i], n); ok {
			out = append(out, e)
		}
	}
	return out
}

// event is what one of the call's paths says.
func (p process) event(l *lookup, n *notification) (Event, bool) {
	e := Event{How: l.how}
	if l.list {
		name, ok := p.place(int32(n.args[l.dir]))
		e.Path, e.Real = name, name
		return e, ok
	}
	name, ok := p.text(n.args[l.path])
	if !ok || name == "" { // an empty one means the descriptor
		return e, false
	}
	flags := 0
	if l.flags >= 0 {
		flags = int(int32(n.args[l.flags]))
	}
	e.NoFollow = l.noFollow == always || flags&l.noFollow != 0
	if l.opens {
		e.How = Open
		if flags&(unix.O_ACCMODE|unix.O_CREAT|unix.O_TRUNC) != 0 && flags&unix.O_PATH == 0 {
			e.How = Write
		}
		if flags&(unix.O_CREAT|unix.O_EXCL) == unix.O_CREAT|unix.O_EXCL {
			e.NoFollow = true
		}
	}
	root, ok := p.link("root")
	if !ok {
		return e, false
	}
	if root == "/" { // the process has not changed it
		root = ""
	}
	if name[0] == '/' {
		e.Path, e.Real = root+name, p.resolve(name, e.NoFollow)
		return e, true
	}
	base, ok := p.base(l, n)
	if !ok {
		return e, false
	}
	e.Path = base + "/" + name
	e.Real = p.resolve(strings.TrimPrefix(e.Path, root), e.NoFollow)
	return e, true
}

// base is the directory that a relative path begins in.
func (p process) base(l *lookup, n *notification) (string, bool) {
	if l.dir == none || int32(n.args[l.dir]) == unix.AT_FDCWD {
		return p.link("cwd")
	}
	return p.place(int32(n.args[l.dir]))
}

// place is the path of what a descriptor of the process is.
func (p process) place(fd int32) (string, bool) {
	if fd == unix.AT_FDCWD {
		return p.link("cwd")
	}
	return p.link("fd/" + strconv.Itoa(int(fd)))
}

// link reads one of the process's links of /proc. What is no path (a pipe), or none any more, is not ok.
func (p process) link(name string) (string, bool) {
	to, err := os.Readlink(p.dir + "/" + name)
	if err != nil || !strings.HasPrefix(to, "/") || strings.HasSuffix(to, " (deleted)") {
		return "", false
	}
	return to, true
}

// resolve looks a path up in the process's root file system, as it is now, and returns where it leads to in the container's; "" when nothing is there.
func (p process) resolve(name string, noFollow bool) string {
	dir, err := unix.Open(p.dir+"/root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(dir)
	how := &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT}
	if noFollow {
		how.Flags |= unix.O_NOFOLLOW
	}
	fd, err := unix.Openat2(dir, name, how)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	to, ok := process{dir: "/proc/self"}.place(int32(fd))
	if !ok {
		return ""
	}
	return to
}

// text reads a text that ends with a NUL out of the process's memory: page by page, as what is behind the last one may not be there.
func (p process) text(address uint64) (string, bool) {
	if address == 0 {
		return "", false
	}
	const page = 4096
	var buf [maxPath]byte
	have := 0
	for have < len(buf) {
		n := min(page-int(address%page), len(buf)-have)
		local := []unix.Iovec{{Base: &buf[have]}}
		local[0].SetLen(n)
		got, err := unix.ProcessVMReadv(p.pid, local, []unix.RemoteIovec{{Base: uintptr(address), Len: n}}, 0)
		if err != nil || got <= 0 {
			return "", false
		}
		if end := bytes.IndexByte(buf[have:have+got], 0); end >= 0 {
			return string(buf[:have+end]), true
		}
		have += got
		address += uint64(got)
	}
	return "", false
}
