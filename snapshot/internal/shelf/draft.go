package shelf

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/flock"
	"github.com/camada/camada/lease"
	"github.com/camada/camada/snapshot"
	"golang.org/x/sys/unix"
)

// maxTries bounds how often something is begun again that another process crossed.
const maxTries = 16

// Draft is a snapshot that nobody sees yet. Its process is known to live by an
// flock on the directory.
type Draft struct {
	s      *Shelf
	id     string
	parent string   // that knows of the draft
	dir    *os.File // nil when published or discarded
}

// Draft begins a snapshot on top of parent ("" for none): a directory with an empty fs
// in it, which has mode, owner and extended attributes of the parent's. The
// parent, which must be frozen or committed, and the new snapshot are pinned. The record
// that comes back is to be completed and given to Publish.
func (s *Shelf) Draft(ctx context.Context, parent string) (*Draft, Record, error) {
	if parent != "" && !validID(parent) {
		return nil, Record{}, errdefs.Invalid("snapshot %q: not an id", parent)
	}
	for try := 0; ; try++ {
		d, rec, err := s.draft(ctx, parent)
		if err == nil || try == maxTries || !errors.Is(err, errCrossed) {
			return d, rec, err
		}
	}
}

// errCrossed is that another process took the id or cleaned up what did
// not look alive yet.
var errCrossed = errdefs.Unavailable("make snapshot: others were always faster")

func (s *Shelf) draft(ctx context.Context, parent string) (*Draft, Record, error) {
	d := &Draft{s: s, id: newID()}
	pins := []lease.Resource{lease.Snapshot(d.id)}
	if parent != "" {
		pins = append(pins, lease.Snapshot(parent))
	}
	if err := s.pins.Pin(ctx, pins...); err != nil {
		return nil, Record{}, err
	}
	rec := Record{Info: snapshot.Info{ID: d.id, Parent: parent, Created: time.Now().UTC().Truncate(time.Second)}}
	if parent != "" {
		p, err := s.read(parent)
		if err != nil {
			return nil, Record{}, err
		}
		if p.State == snapshot.Active {
			return nil, Record{}, errdefs.Conflict("snapshot %s is still written and cannot be a parent", parent)
		}
		rec.Below = p.On()
	}
	if err := d.make(); err != nil {
		return nil, Record{}, err
	}
	if parent != "" {
		d.parent = parent
		// From now on the parent is not removed; refused when it was meanwhile.
		err := s.addChild(ctx, parent, d.id)
		if err == nil {
			err = copyRoot(s.Files(parent), d.Files())
		}
		if err != nil {
			d.Discard()
			return nil, Record{}, class(err, "make snapshot on %s", parent)
		}
	}
	return d, rec, nil
}

// make makes the directories and takes the lock.
func (d *Draft) make() error {
	err := os.Mkdir(d.Dir(), 0o700)
	if errors.Is(err, fs.ErrNotExist) {
		if err := d.s.make(); err != nil {
			return err
		}
		err = os.Mkdir(d.Dir(), 0o700)
	}
	if errors.Is(err, fs.ErrExist) {
		return errCrossed
	}
	if err != nil {
		return class(err, "make snapshot")
	}
	f, err := os.Open(d.Dir())
	if err != nil {
		return crossed(err)
	}
	ok, err := flock.TryExclusive(f)
	if err == nil && ok {
		err = unix.Mkdirat(int(f.Fd()), filesDir, 0o755)
	}
	if err == nil && ok {
		err = unix.Fchmodat(int(f.Fd()), filesDir, 0o755, 0) // whatever the umask
	}
	if err != nil || !ok {
		f.Close()
		return crossed(err)
	}
	d.dir = f
	return nil
}

// crossed is what went wrong with a directory that was just made.
func crossed(err error) error {
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return errCrossed
	}
	return class(err, "make snapshot")
}

// ID is the id that the snapshot will have.
func (d *Draft) ID() string { return d.id }

// Dir is the directory of the draft, and Files its fs.
func (d *Draft) Dir() string { return d.s.path(draftPrefix + d.id) }

// Files is the directory for the files of the snapshot.
func (d *Draft) Files() string { return d.Dir() + "/" + filesDir }

// Publish makes the draft a snapshot as rec says, Active or Frozen.
// After an error the draft can only be discarded.
func (d *Draft) Publish(rec Record) (Record, error) {
	if err := d.publish(rec); err != nil {
		return Record{}, err
	}
	d.dir.Close()
	d.dir = nil
	return rec, nil
}

func (d *Draft) publish(rec Record) error {
	if rec.State != snapshot.Active {
		if err := mkdir(d.Dir()+"/"+childrenDir, 0o700); err != nil {
			return class(err, "make snapshot")
		}
	}
	if err := writeRecord(d.Dir()+"/"+recordFile, rec); err != nil {
		return class(err, "make snapshot")
	}
	if err := os.Rename(d.Dir(), d.s.path(d.id)); err != nil {
		return class(err, "make snapshot")
	}
	return nil
}

// Discard throws the draft away. After Publish it does nothing.
func (d *Draft) Discard() {
	if d.dir == nil {
		return
	}
	removeTree(d.Dir()) //nolint:errcheck // what stays is recovered
	d.s.forgetChild(d.parent, d.id)
	d.dir.Close()
	d.dir = nil
}

// addChild makes a file with the child's id in the parent's directory of children. It
// is another name of the parent's record, because a new file costs more, or a new
// file when the record has too many names.
func (s *Shelf) addChild(ctx context.Context, parent, child string) error {
	held, err := s.hold(ctx, parent, flock.Shared)
	if err != nil {
		return err
	}
	defer held.Close()
	path := s.path(parent, childrenDir, child)
	// A record that is replaced between the kernel's look-up and its link is gone for link(2): then a new file, too.
	if err = unix.Link(s.path(parent, recordFile), path); err != nil {
		err = unix.Mknod(path, unix.S_IFREG|0o600, 0)
	}
	return err
}

// forgetChild takes back what Draft told the parent. A leftover does no harm.
func (s *Shelf) forgetChild(parent, child string) {
	if parent != "" {
		unix.Unlink(s.path(parent, childrenDir, child)) //nolint:errcheck // a leftover is seen through
	}
}

// Freeze ends the writing of an active snapshot. Freezing again does nothing.
func (s *Shelf) Freeze(ctx context.Context, id string) (Record, error) {
	rec, err := s.Get(ctx, id)
	if err != nil || rec.State != snapshot.Active {
		return rec, err
	}
	if err := mkdir(s.path(id, childrenDir), 0o700); err != nil {
		return rec, class(err, "freeze snapshot %s", id)
	}
	rec.State = snapshot.Frozen
	return rec, s.update(rec)
}
