package shelf

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/flock"
	"golang.org/x/sys/unix"
)

// Remove removes a snapshot and deletes its files: ErrConflict while
// another one is on top of it, ErrNotFound when it is not there.
func (s *Shelf) Remove(ctx context.Context, id string) error {
	finish, err := s.Discard(ctx, id)
	if err != nil {
		return err
	}
	return finish(ctx)
}

// Discard is Remove without the deletion of the files, which finish does, or Recover.
func (s *Shelf) Discard(ctx context.Context, id string) (finish func(context.Context) error, err error) {
	if err := s.retire(ctx, id); err != nil {
		return nil, err
	}
	return func(context.Context) error {
		if err := removeTree(s.path(removedPrefix + id)); err != nil {
			return class(err, "delete files of snapshot %s", id)
		}
		return nil
	}, nil
}

func (s *Shelf) retire(ctx context.Context, id string) error {
	if !validID(id) {
		return errdefs.Invalid("snapshot %q: not an id", id)
	}
	rec, err := s.read(id)
	if err != nil && !errdefs.IsCorrupt(err) {
		return err
	}
	if err := s.putAway(ctx, id); err != nil {
		return err
	}
	s.forgetChild(rec.Parent, id)
	if rec.ChainID == "" {
		return nil
	}
	link, err := s.link(rec.ChainID)
	if err != nil {
		return nil //nolint:nilerr // a record that says nonsense has no name
	}
	n, err := readName(link)
	if err != nil || n.id != id {
		return nil //nolint:nilerr // the name is gone, or another snapshot's
	}
	return s.forgetName(ctx, link, n)
}

// putAway takes the place of a snapshot that has no children. None can come between the look and the rename: who makes one holds the
// snapshot. Until then all of the snapshot is where its users look for it.
func (s *Shelf) putAway(ctx context.Context, id string) error {
	dir, err := s.hold(ctx, id, flock.Exclusive)
	if err != nil {
		return class(err, "remove snapshot %s", id)
	}
	defer dir.Close()
	if err := s.childless(id); err != nil {
		return err
	}
	if err := os.Rename(s.path(id), s.path(removedPrefix+id)); err != nil {
		return class(err, "remove snapshot %s", id)
	}
	return nil
}

// hold opens the directory of a snapshot and locks it: shared against its removal, or exclusively against new children. ErrNotExist when it was
// removed meanwhile.
func (s *Shelf) hold(ctx context.Context, id string, lock func(context.Context, *os.File) error) (*os.File, error) {
	dir, err := os.Open(s.path(id))
	if err != nil {
		return nil, err
	}
	if err := lock(ctx, dir); err != nil {
		dir.Close()
		return nil, err
	}
	if !sameFile(dir, s.path(id)) {
		dir.Close()
		return nil, fmt.Errorf("%s: %w", s.path(id), fs.ErrNotExist)
	}
	return dir, nil
}

// sameFile tells whether what was opened still has the name.
func sameFile(f *os.File, name string) bool {
	var opened, named unix.Stat_t
	return unix.Fstat(int(f.Fd()), &opened) == nil && unix.Lstat(name, &named) == nil && opened.Ino == named.Ino
}

// childless returns ErrConflict if a live snapshot or draft is on top of id.
func (s *Shelf) childless(id string) error {
	entries, err := os.ReadDir(s.path(id, childrenDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return class(err, "look for children of snapshot %s", id)
	}
	for _, e := range entries {
		child := e.Name()
		// In this order: a draft becomes a snapshot, never the reverse.
		if s.draftLives(child) {
			return errdefs.Conflict("snapshot %s is the parent of %s, which is being made", id, child)
		}
		if _, err := os.Lstat(s.path(child)); err == nil {
			return errdefs.Conflict("snapshot %s is the parent of %s", id, child)
		}
	}
	return nil
}

// draftLives tells whether a process works on the draft of id. A directory that a
// process has just made and not locked yet has no children files anywhere.
func (s *Shelf) draftLives(id string) bool {
	f, err := os.Open(s.path(draftPrefix + id))
	if err != nil {
		return false
	}
	defer f.Close()
	ok, err := flock.TryShared(f)
	return err != nil || !ok
}

// Recover deletes what processes that died and Discard have left, and names that
// point to nothing.
func (s *Shelf) Recover(ctx context.Context) error {
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return class(err, "recover snapshots")
	}
	var errs []error
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return errors.Join(append(errs, err)...)
		}
		if err := s.recover(ctx, e.Name()); err != nil {
			errs = append(errs, fmt.Errorf("recover snapshots: %s: %w", e.Name(), err))
		}
	}
	for _, e := range entries {
		if validID(e.Name()) {
			s.recoverChildren(e.Name())
		}
	}
	return errors.Join(append(errs, s.recoverNames(ctx))...)
}

// recoverChildren forgets children whose making a killed process did not finish. What stays does no harm.
func (s *Shelf) recoverChildren(id string) {
	entries, err := os.ReadDir(s.path(id, childrenDir))
	if err != nil {
		return
	}
	for _, e := range entries {
		child := e.Name()
		// In this order: a draft becomes a snapshot, never the reverse.
		if s.draftLives(child) {
			continue
		}
		if _, err := os.Lstat(s.path(child)); errors.Is(err, fs.ErrNotExist) {
			s.forgetChild(id, child)
		}
	}
}

func (s *Shelf) recover(ctx context.Context, entry string) error {
	if id, ok := strings.CutPrefix(entry, removedPrefix); ok && validID(id) {
		return removeTree(s.path(entry))
	}
	if id, ok := strings.CutPrefix(entry, draftPrefix); ok && validID(id) {
		return s.recoverDraft(id)
	}
	if !validID(entry) {
		return nil
	}
	// Only a power cut leaves a snapshot without a readable record.
	if _, err := s.read(entry); errdefs.IsCorrupt(err) {
		if err := s.Remove(ctx, entry); err != nil && !errdefs.IsNotFound(err) && !errdefs.IsConflict(err) {
			return err
		}
	}
	return nil
}

// recoverDraft deletes a draft whose process is dead.
func (s *Shelf) recoverDraft(id string) error {
	dir := s.path(draftPrefix + id)
	f, err := os.Open(dir)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	defer f.Close()
	if ok, err := flock.TryExclusive(f); err != nil || !ok {
		return err
	}
	if !sameFile(f, dir) {
		return nil // published or discarded between open and lock
	}
	return removeTree(dir)
}

func (s *Shelf) recoverNames(ctx context.Context) error {
	err := s.links(func(link string, n name) error {
		if _, err := os.Lstat(s.path(n.id)); errors.Is(err, fs.ErrNotExist) || !s.trusted(n) {
			return s.forgetName(ctx, link, n)
		}
		return nil
	})
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(s.path(chainsDir))
	if err != nil {
		return nil //nolint:nilerr // nothing was ever named
	}
	return s.locked(ctx, func() error {
		for _, e := range entries {
			// Links on their way are made under the lock: these are dead.
			if strings.HasPrefix(e.Name(), ".") {
				os.Remove(s.path(chainsDir, e.Name())) //nolint:errcheck // the next one tries again
			}
		}
		return nil
	})
}
