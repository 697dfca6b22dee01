package shelf

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/camada/camada/snapshot"
	"golang.org/x/sys/unix"
)

// Walk calls fn for each snapshot that is there. Committed are those only that
// their chainID leads to.
func (s *Shelf) Walk(ctx context.Context, fn func(snapshot.Info) error) error {
	named := map[string]string{} // id by link
	err := s.links(func(link string, n name) error {
		if s.trusted(n) {
			named[link] = n.id
		}
		return nil
	})
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return class(err, "list snapshots")
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !validID(e.Name()) {
			continue
		}
		rec, err := s.read(e.Name())
		if err != nil {
			continue // removed meanwhile, or left to Recover
		}
		if rec.State == snapshot.Committed {
			if link, err := s.link(rec.ChainID); err != nil || named[link] != rec.ID {
				rec.State, rec.ChainID = snapshot.Frozen, ""
			}
		}
		if err := fn(rec.Info); err != nil {
			return err
		}
	}
	return nil
}

// Usage is what the files of a snapshot take; a file with several names counts once.
func (s *Shelf) Usage(ctx context.Context, id string) (snapshot.Usage, error) {
	if _, err := s.Get(ctx, id); err != nil {
		return snapshot.Usage{}, err
	}
	fd, err := openDirRead(s.Files(id))
	if err != nil {
		return snapshot.Usage{}, class(err, "usage of snapshot %s", id)
	}
	c := counter{seen: map[uint64]struct{}{}}
	if err := c.dir(ctx, fd); err != nil {
		return snapshot.Usage{}, class(err, "usage of snapshot %s", id)
	}
	return c.Usage, nil
}

type counter struct {
	snapshot.Usage
	seen map[uint64]struct{}
}

// dir counts a directory and what is in it, and closes it.
func (c *counter) dir(ctx context.Context, fd int) error {
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	c.add(&st)
	buf := make([]byte, 32<<10)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := unix.ReadDirent(fd, buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			return err
		}
		_, _, names := unix.ParseDirent(buf[:n], -1, nil)
		for _, name := range names {
			if err := c.entry(ctx, fd, name); err != nil && !errors.Is(err, unix.ENOENT) {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
}

func (c *counter) entry(ctx context.Context, dirfd int, name string) error {
	var st unix.Stat_t
	if err := unix.Fstatat(dirfd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		c.add(&st)
		return nil
	}
	fd, err := unix.Openat(dirfd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return c.dir(ctx, fd)
}

func (c *counter) add(st *unix.Stat_t) {
	if st.Nlink > 1 && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		if _, ok := c.seen[st.Ino]; ok {
			return
		}
		c.seen[st.Ino] = struct{}{}
	}
	c.Bytes += st.Blocks * 512
	c.Inodes++
}

func openDirRead(dir string) (int, error) {
	return unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
}
