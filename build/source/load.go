package source

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"unsafe"

	"github.com/camada/camada/errdefs"
	"github.com/moby/patternmatcher"
	"golang.org/x/sys/unix"
)

// direntBuffer is how much of a directory is read at once.
const direntBuffer = 64 << 10

// loader lists directories. Each goroutine has its own.
type loader struct {
	t      *Tree
	ignore *ignore
	buf    []byte
	names  []byte // of one directory, each with a NUL behind it
}

func (t *Tree) loader() *loader {
	return &loader{t: t, ignore: t.ignore.clone(), buf: make([]byte, direntBuffer)}
}

// load lists the directory e, which is at name, and looks at each file in it.
// It does nothing when that was done.
func (l *loader) load(e *Entry, name string) error {
	d := e.dir
	if d.loaded {
		return nil
	}
	fd, err := openBeneath(int(l.t.dir.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC)
	if err != nil {
		return classify(&os.PathError{Op: "open", Path: name, Err: err})
	}
	defer unix.Close(fd)
	n, err := l.list(fd, name)
	if err != nil {
		return err
	}
	if l.t.count.Add(int64(n)) > MaxEntries {
		return errdefs.Limit("more than %d files", MaxEntries)
	}
	d.entries, err = l.stats(fd, name, d, n)
	if err != nil {
		return err
	}
	slices.SortFunc(d.entries, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	d.loaded = true
	return nil
}

// list reads the names of an open directory into l.names and returns how many there are.
func (l *loader) list(fd int, name string) (int, error) {
	l.names = l.names[:0]
	count := 0
	for {
		n, err := unix.Getdents(fd, l.buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return 0, classify(&os.PathError{Op: "read directory", Path: name, Err: err})
		}
		if n == 0 {
			return count, nil
		}
		for b := l.buf[:n]; len(b) > 0; {
			// struct linux_dirent64: ino, off, reclen, type, name
			reclen := int(binary.NativeEndian.Uint16(b[16:]))
			s := b[19:reclen]
			s = s[:bytes.IndexByte(s, 0)+1]
			b = b[reclen:]
			if string(s) == ".\x00" || string(s) == "..\x00" {
				continue
			}
			l.names = append(l.names, s...)
			count++
		}
	}
}

// stats looks at each name of l.names. The names of a directory share one string, and
// the system call gets them as they came, so a file costs no allocation.
func (l *loader) stats(fd int, dir string, d *directory, count int) ([]Entry, error) {
	all := string(l.names)
	entries := make([]Entry, 0, count)
	prefix := ""
	if dir != "" {
		prefix = dir + "/"
	}
	var st unix.Statx_t
	for pos := 0; pos < len(all); {
		end := pos + strings.IndexByte(all[pos:], 0)
		name := all[pos:end]
		ptr := unsafe.Pointer(unsafe.StringData(all[pos:]))
		pos = end + 1
		var out bool
		var info patternmatcher.MatchInfo
		var err error
		if l.ignore != nil {
			if out, info, err = l.ignore.excludes(prefix+name, d.match); err != nil {
				return nil, errdefs.Invalid("ignore patterns: %w", err)
			}
			if out && !l.ignore.mayHaveExceptions(prefix+name) {
				continue
			}
		}
		_, _, errno := unix.Syscall6(unix.SYS_STATX, uintptr(fd), uintptr(ptr), unix.AT_SYMLINK_NOFOLLOW,
			unix.STATX_BASIC_STATS, uintptr(unsafe.Pointer(&st)), 0)
		if errno == unix.ENOENT {
			continue // gone since it was listed
		}
		if errno != 0 {
			return nil, classify(&os.PathError{Op: "stat", Path: prefix + name, Err: errno})
		}
		entries = append(entries, Entry{Name: name})
		e := &entries[len(entries)-1]
		e.fill(&st)
		switch {
		case e.IsDir():
			e.dir.match, e.dir.ignored = info, out
		case out:
			entries = entries[:len(entries)-1]
		case e.Type() == unix.S_IFLNK:
			if e.Link, err = readlink(fd, name, e.Size); err != nil {
				return nil, err
			}
		}
	}
	return entries, nil
}

// loaders is how many goroutines list directories: system calls on one
// file system gain little from more.
const loaders = 2

// loadAll lists the directory e and all below it.
func (t *Tree) loadAll(ctx context.Context, e *Entry, name string) error {
	type job struct {
		e    *Entry
		name string
	}
	var (
		mu      sync.Mutex
		more    = sync.NewCond(&mu)
		jobs    = []job{{e, name}}
		running int
		failed  error
		wg      sync.WaitGroup
	)
	work := func() {
		defer wg.Done()
		l := t.loader()
		mu.Lock()
		defer mu.Unlock()
		for {
			for len(jobs) == 0 && running > 0 && failed == nil {
				more.Wait()
			}
			if len(jobs) == 0 || failed != nil {
				more.Broadcast()
				return
			}
			j := jobs[len(jobs)-1]
			jobs = jobs[:len(jobs)-1]
			running++
			mu.Unlock()
			err := ctx.Err()
			if err == nil {
				err = l.load(j.e, j.name)
			}
			mu.Lock()
			running--
			if err != nil && failed == nil {
				failed = err
			}
			if err == nil {
				for i := range j.e.dir.entries {
					if c := &j.e.dir.entries[i]; c.IsDir() {
						jobs = append(jobs, job{c, path.Join(j.name, c.Name)})
					}
				}
			}
			more.Broadcast()
		}
	}
	for range loaders {
		wg.Add(1)
		go work()
	}
	wg.Wait()
	return failed
}
