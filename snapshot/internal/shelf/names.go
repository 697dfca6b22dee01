package shelf

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/snapshot"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// durableAge is how old a name must be before MarkDurable syncs for it: by then the
// kernel has written most of the bytes by itself.
const durableAge = 2 * time.Minute

// name is what the symbolic link of a chain says.
type name struct {
	id string
	// boot in which the bytes may not yet be on the disk, "" when they are.
	boot string
}

func (n name) String() string {
	if n.boot == "" {
		return n.id
	}
	return n.id + "@" + n.boot
}

func parseName(text string) (name, bool) {
	id, boot, has := strings.Cut(text, "@")
	return name{id: id, boot: boot}, validID(id) && (!has || boot != "")
}

// trusted tells whether the bytes behind the name can be relied on.
func (s *Shelf) trusted(n name) bool { return n.boot == "" || n.boot == s.boot() }

func (s *Shelf) link(chain digest.Digest) (string, error) {
	if err := chain.Validate(); err != nil {
		return "", errdefs.Invalid("chainID %q: %w", chain, err)
	}
	return s.path(chainsDir, chain.Algorithm().String()+"-"+chain.Encoded()), nil
}

// readName reads a link. A link that says nothing is taken as none.
func readName(link string) (name, error) {
	text, err := os.Readlink(link)
	if err != nil {
		return name{}, err
	}
	n, ok := parseName(text)
	if !ok {
		return name{}, fmt.Errorf("%s: %w", link, fs.ErrNotExist)
	}
	return n, nil
}

// Lookup returns the committed snapshot of a chain, pinned; ErrNotFound when
// there is none that can be trusted.
func (s *Shelf) Lookup(ctx context.Context, chain digest.Digest) (Record, error) {
	link, err := s.link(chain)
	if err != nil {
		return Record{}, err
	}
	missing := errdefs.NotFound("chain %s is not unpacked", chain)
	var last name
	for range maxTries {
		n, err := readName(link)
		if errors.Is(err, fs.ErrNotExist) || err == nil && n == last {
			return Record{}, missing
		}
		if err != nil {
			return Record{}, class(err, "look up chain %s", chain)
		}
		if !s.trusted(n) {
			return Record{}, errors.Join(missing, s.forgetName(ctx, link, n))
		}
		rec, err := s.Get(ctx, n.id)
		switch {
		case err == nil && rec.State == snapshot.Committed && rec.ChainID == chain:
			return rec, nil
		case err != nil && !errdefs.IsNotFound(err) && !errdefs.IsCorrupt(err):
			return Record{}, err
		}
		last = n // gone between two looks, or not what it is said to be
	}
	return Record{}, missing
}

// forgetName removes a link if it still says n. A store that cannot be written stays as it is.
func (s *Shelf) forgetName(ctx context.Context, link string, n name) error {
	err := s.locked(ctx, func() error {
		if now, err := os.Readlink(link); err == nil && now == n.String() {
			return os.Remove(link)
		}
		return nil
	})
	if errdefs.IsPermission(err) || errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS) {
		return nil
	}
	return err
}

// Name commits a frozen snapshot under its chainID, or returns the one that
// already has this chainID.
func (s *Shelf) Name(ctx context.Context, id string, chain digest.Digest) (Record, error) {
	link, err := s.link(chain)
	if err != nil {
		return Record{}, err
	}
	for range maxTries {
		winner, err := s.Lookup(ctx, chain) // and pinned, before the lock
		if err != nil && !errdefs.IsNotFound(err) {
			return Record{}, err
		}
		rec, err := s.Get(ctx, id)
		if err != nil {
			return Record{}, err
		}
		if rec.State == snapshot.Active {
			return Record{}, errdefs.Conflict("snapshot %s is still written and cannot be named", id)
		}
		err = s.locked(ctx, func() error { return s.nameLocked(link, chain, &rec, &winner) })
		if err == nil {
			return winner, nil
		}
		if !errors.Is(err, errCrossed) {
			return Record{}, fmt.Errorf("name snapshot %s %s: %w", id, chain, err)
		}
	}
	return Record{}, errCrossed
}

// nameLocked makes the link, unless another made one since winner was looked up.
func (s *Shelf) nameLocked(link string, chain digest.Digest, rec, winner *Record) error {
	n, err := readName(link)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil && s.trusted(n) {
		if n.id == winner.ID {
			return nil
		}
		if now, err := s.read(n.id); err == nil && now.State == snapshot.Committed && now.ChainID == chain {
			return errCrossed
		}
	}
	if _, err := os.Lstat(s.path(rec.ID)); err != nil {
		return class(err, "snapshot %s", rec.ID)
	}
	rec.State, rec.ChainID = snapshot.Committed, chain
	if err := s.update(*rec); err != nil {
		return err
	}
	boot := s.boot()
	if boot == "" {
		boot = "unknown"
	}
	*winner = *rec
	return s.relink(link, name{id: rec.ID, boot: boot})
}

// relink makes or replaces a link. The lock is held.
func (s *Shelf) relink(link string, n name) error {
	tmp := s.path(chainsDir, "."+newID())
	err := os.Symlink(n.String(), tmp)
	if errors.Is(err, fs.ErrNotExist) {
		// The process that makes the shelf is not that far yet.
		if err := s.make(); err != nil {
			return err
		}
		err = os.Symlink(n.String(), tmp)
	}
	if err == nil {
		err = os.Rename(tmp, link)
	}
	if err != nil {
		os.Remove(tmp) //nolint:errcheck // the first error tells
	}
	return err
}

// links calls fn for each name.
func (s *Shelf) links(fn func(link string, n name) error) error {
	entries, err := os.ReadDir(s.path(chainsDir))
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return class(err, "list snapshot names")
	}
	for _, e := range entries {
		link := s.path(chainsDir, e.Name())
		n, err := readName(link)
		if err != nil || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		if err := fn(link, n); err != nil {
			return err
		}
	}
	return nil
}

// MarkDurable makes names last over a power cut that are older than durableAge: it
// syncs the file system once if there are such names.
func (s *Shelf) MarkDurable(ctx context.Context) error {
	return s.markDurable(ctx, time.Now().Add(-durableAge))
}

func (s *Shelf) markDurable(ctx context.Context, before time.Time) error {
	old := map[string]name{}
	err := s.links(func(link string, n name) error {
		if n.boot != "" && s.trusted(n) {
			if info, err := os.Lstat(link); err == nil && info.ModTime().Before(before) {
				old[link] = n
			}
		}
		return nil
	})
	if err != nil || len(old) == 0 {
		return err
	}
	dir, err := os.Open(s.path(chainsDir))
	if err != nil {
		return class(err, "make snapshots durable")
	}
	defer dir.Close()
	if err := unix.Syncfs(int(dir.Fd())); err != nil {
		return class(err, "make snapshots durable: sync file system")
	}
	err = s.locked(ctx, func() error {
		for link, n := range old {
			if now, err := readName(link); err != nil || now != n {
				continue
			}
			if err := s.relink(link, name{id: n.id}); err != nil {
				return class(err, "make snapshots durable")
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := dir.Sync(); err != nil {
		return class(err, "make snapshots durable")
	}
	return nil
}
