// Package shelf keeps the directories of snapshots: their ids, records and names,
// and what is left of them when a process is killed. Snapshotters put the
// files in.
//
//	d, rec, err := shelf.Draft(ctx, parentID)
//	defer d.Discard()
//	... fill d.Dir() + "/fs" ...
//	rec, err = d.Publish(rec)
//
// # On disk
//
//	<dir>/<id>/record.json     what is known of the snapshot
//	<dir>/<id>/fs/             its files
//	<dir>/<id>/children/<id>   one file for each snapshot on top; made when it is frozen
//	<dir>/by-chain/<alg>-<hex> symbolic link with the text <id> or <id>@<boot id>
//	<dir>/tmp-<id>/            being filled, under an flock of the process that does
//	<dir>/rm-<id>/             removed, its files being deleted
//	<dir>/busy/<alg>-<hex>     under an flock of the process that unpacks this chain
//	<dir>/lock                 held while names change, for moments
//
// A snapshot becomes visible and goes away by a rename. A draft writes its id
// into its parent's children directory before it uses the parent, under a shared flock
// on the parent; a parent is removed under an exclusive one, and not while it
// has a child that lives. No other order between processes is needed.
//
// Nothing is synced. A name is made with the boot id of the machine, and is worth
// nothing in another boot, unless MarkDurable synced the file system meanwhile
// and made the name without it.
package shelf

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/flock"
	"github.com/camada/camada/lease"
)

const (
	draftPrefix   = "tmp-"
	removedPrefix = "rm-"
	chainsDir     = "by-chain"
	busyDir       = "busy"
	childrenDir   = "children"
	filesDir      = "fs"
	recordFile    = "record.json"
	idLength      = 8
)

// Shelf is a directory of snapshots. It may be used by many goroutines and
// processes.
type Shelf struct {
	dir  string
	pins lease.Pinner
	boot func() string
}

// Open returns the shelf at dir, absolute. Nothing is read or made before it is needed.
// Each snapshot is pinned with pins before it is relied on; nil pins nothing.
func Open(dir string, pins lease.Pinner) *Shelf {
	if pins == nil {
		pins = lease.None{}
	}
	return &Shelf{dir: dir, pins: pins, boot: sync.OnceValue(bootID)}
}

// bootID is "" where it cannot be read; then no name is trusted that is not durable.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// Dir is the directory of the shelf.
func (s *Shelf) Dir() string { return s.dir }

// Files is the directory with the files of a snapshot.
func (s *Shelf) Files(id string) string { return s.path(id, filesDir) }

// Path is the place of a name in a snapshot's directory.
func (s *Shelf) Path(id, name string) string { return s.path(id, name) }

func (s *Shelf) path(elem ...string) string {
	return s.dir + "/" + strings.Join(elem, "/")
}

// make makes the shelf's own directories. Only their owner gets in: layers
// hold set-user-ID programs of strangers.
func (s *Shelf) make() error {
	err := os.MkdirAll(filepath.Dir(s.dir), 0o755)
	if err == nil {
		err = mkdir(s.dir, 0o700)
	}
	for _, d := range []string{chainsDir, busyDir} {
		if err == nil {
			err = mkdir(s.path(d), 0o700)
		}
	}
	if err != nil {
		return class(err, "make snapshot store")
	}
	return nil
}

func mkdir(dir string, mode os.FileMode) error {
	if err := os.Mkdir(dir, mode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// locked calls fn while no other process changes names. fn must not pin: a
// collector that excludes pins may be waiting for the lock.
func (s *Shelf) locked(ctx context.Context, fn func() error) error {
	f, err := os.OpenFile(s.path("lock"), os.O_RDONLY|os.O_CREATE, 0o600)
	if err != nil {
		return class(err, "lock snapshot names")
	}
	defer f.Close()
	if err := flock.Exclusive(ctx, f); err != nil {
		return fmt.Errorf("lock snapshot names: %w", err)
	}
	return fn()
}

// newID returns an id that is most likely not taken.
func newID() string {
	const digits = "0123456789abcdefghijklmnopqrstuvwxyz"
	var b [idLength]byte
	for i := range b {
		b[i] = digits[rand.IntN(len(digits))] //nolint:gosec // taken ids are noticed, and nobody gains by guessing one
	}
	return string(b[:])
}

// validID tells ids from all other names in the directory.
func validID(id string) bool {
	if len(id) != idLength {
		return false
	}
	for i := range len(id) {
		if c := id[i]; (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}

// class gives an error of the file system the class that says what can be done.
func class(err error, format string, args ...any) error {
	c := errdefs.ErrUnavailable
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c = errdefs.ErrNotFound
	case errors.Is(err, fs.ErrPermission):
		c = errdefs.ErrPermission
	}
	return errdefs.New(c, format+": %w", append(args, err)...)
}
