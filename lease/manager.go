package lease

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/flock"
	"golang.org/x/sys/unix"
)

// maxResource bounds the length of one resource in bytes.
const maxResource = 512

// Manager makes the leases of one store. It may be used by many goroutines.
type Manager struct {
	dir string
}

// Open returns the leases of the store at root, kept in root/leases. Nothing is
// read or made before it is needed.
func Open(root string) *Manager { return &Manager{dir: filepath.Join(root, "leases")} }

// Acquire makes a lease for a verb, e.g. "build". The file behind it is made by the
// first Pin. The caller releases it.
func (m *Manager) Acquire(ctx context.Context, verb string) (*Lease, error) {
	if verb == "" || strings.ContainsAny(verb, "/\n") || verb[0] == '.' {
		return nil, errdefs.Invalid("acquire lease: %q is not a verb", verb)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return &Lease{m: m, verb: verb}, nil
}

// Lease is a set of pinned resources. It may be used by many goroutines.
type Lease struct {
	m    *Manager
	verb string

	mu       sync.Mutex
	pinned   map[Resource]struct{}
	gate     *os.File // pin.lock
	file     *os.File // the lease's own file, under flock
	size     int64    // of whole lines in file
	released bool
}

// Pin adds resources to the lease; see Pinner. Pins that the lease has already
// cost no system call. A lease that was released gives ErrConflict; a store
// that cannot be written ErrPermission or ErrUnavailable.
func (l *Lease) Pin(ctx context.Context, rs ...Resource) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.released {
		return errdefs.Conflict("pin: the lease %s was released", l.verb)
	}
	var lines bytes.Buffer
	for _, r := range rs {
		if _, ok := l.pinned[r]; ok {
			continue
		}
		if r == "" || len(r) > maxResource || strings.ContainsRune(string(r), '\n') {
			return errdefs.Invalid("pin: %.100q is not a resource", r)
		}
		lines.WriteString(string(r))
		lines.WriteByte('\n')
	}
	if lines.Len() == 0 {
		return nil
	}
	if err := l.append(ctx, lines.Bytes()); err != nil {
		return fmt.Errorf("pin for %s: %w", l.verb, err)
	}
	if l.pinned == nil {
		l.pinned = make(map[Resource]struct{}, len(rs))
	}
	for _, r := range rs {
		l.pinned[r] = struct{}{}
	}
	return nil
}

// append writes whole lines to the lease's file while no Sweep is under way.
func (l *Lease) append(ctx context.Context, lines []byte) error {
	if l.gate == nil {
		gate, err := l.m.openLock("pin.lock")
		if err != nil {
			return err
		}
		l.gate = gate
	}
	if err := flock.Shared(ctx, l.gate); err != nil {
		l.gate.Close()
		l.gate = nil
		return err
	}
	defer flock.Unlock(l.gate)
	if l.file == nil {
		// Made and locked while no collector looks: a collector sees it locked or
		// not at all.
		f, err := l.m.create(l.verb)
		if err != nil {
			return err
		}
		l.file = f
	}
	n, err := l.file.WriteAt(lines, l.size)
	if err != nil {
		// A part of a line must not become the beginning of another.
		if n > 0 {
			err = errors.Join(err, l.file.Truncate(l.size))
		}
		return errdefs.With(errdefs.ErrUnavailable, fmt.Errorf("write lease: %w", err))
	}
	l.size += int64(n)
	return nil
}

// Release ends the lease. What it pinned and nothing else refers to can be
// collected from then on. Releasing twice is harmless.
func (l *Lease) Release() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.released {
		return nil
	}
	l.released = true
	var err error
	if l.file != nil {
		err = l.m.retire(l.file)
		l.file.Close()
	}
	if l.gate != nil {
		l.gate.Close()
	}
	return err
}

// create makes a lease file under an exclusive flock.
func (m *Manager) create(verb string) (*os.File, error) {
	name := verb + "-" + strings.ToLower(rand.Text()[:20])
	f, err := os.OpenFile(filepath.Join(m.dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, class("make lease", err)
	}
	if ok, err := flock.TryExclusive(f); err != nil || !ok {
		os.Remove(f.Name())
		f.Close()
		return nil, errdefs.With(errdefs.ErrUnavailable, fmt.Errorf("lock lease %s: %w", name, err))
	}
	return f, nil
}

// retire removes a lease's file, unless a collector is at work: then the file stays,
// counts as live until that collector ends, and is removed by the next one.
func (m *Manager) retire(f *os.File) error {
	lock, err := m.openLock("collector.lock")
	if err != nil {
		return err
	}
	defer lock.Close()
	ok, err := flock.TryShared(lock)
	if err != nil || !ok {
		return err
	}
	if err := os.Remove(f.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return class("release lease", err)
	}
	return nil
}

// openLock opens one of the lock files, and makes it and its directory when needed.
func (m *Manager) openLock(name string) (*os.File, error) {
	path := filepath.Join(m.dir, name)
	f, err := os.OpenFile(path, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(m.dir, 0o755); err == nil {
			f, err = os.OpenFile(path, os.O_RDONLY|os.O_CREATE, 0o600)
		}
	}
	if err != nil {
		return nil, class("open lock", err)
	}
	return f, nil
}

// class gives an error of the file system the class that says what can be done.
func class(doing string, err error) error {
	c := errdefs.ErrUnavailable
	switch {
	case errors.Is(err, fs.ErrPermission):
		c = errdefs.ErrPermission
	case errors.Is(err, unix.EROFS): // whoever only looks needs no lease
		return errdefs.With(errdefs.ErrPermission, fmt.Errorf("%s: %w; mount the store so that it can be written, or name another one with --root or CAMADA_ROOT", doing, err))
	}
	return errdefs.With(c, fmt.Errorf("%s: %w", doing, err))
}
