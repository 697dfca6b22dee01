package history

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/flock"
)

// History is the history of the builds of one store. It may be used by many goroutines and processes.
type History struct {
	dir string
}

// Open returns the history in dir, which need not be there.
func Open(dir string) *History { return &History{dir: dir} }

// lock takes the lock between builds that point to objects and Prune.
func (h *History) lock(ctx context.Context, how func(context.Context, *os.File) error) (*os.File, error) {
	if err := os.MkdirAll(h.dir, 0o711); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(h.dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := how(ctx, f); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (h *History) objectPath(sum [sha256.Size]byte) string {
	name := hex.EncodeToString(sum[:])
	return filepath.Join(h.dir, "objects", name[:2], name)
}

// putObject keeps bytes under their hash. The lock is held.
func (h *History) putObject(b []byte) ([sha256.Size]byte, error) {
	sum := sha256.Sum256(b)
	path := h.objectPath(sum)
	if _, err := os.Lstat(path); err == nil {
		return sum, nil
	}
	return sum, replace(path, b)
}

// object returns what is kept under a hash. Damaged bytes are removed.
func (h *History) object(sum [sha256.Size]byte) ([]byte, error) {
	path := h.objectPath(sum)
	b, err := readFile(path, maxChunkBytes)
	if err != nil {
		return nil, err
	}
	if sha256.Sum256(b) != sum {
		os.Remove(path)
		return nil, errdefs.NotFound("object %x of the build history was damaged", sum[:6])
	}
	return b, nil
}

// replace writes a file at once, making its directory. It is not synced.
func replace(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), temporary+"*")
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(path), 0o711); err != nil {
			return err
		}
		f, err = os.CreateTemp(filepath.Dir(path), temporary+"*")
	}
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// temporary begins the names of files that are being made.
const temporary = ".new-"

// readFile reads a regular file of at most limit bytes.
func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errdefs.NotFound("%s is not kept any more", path)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = errdefs.Limit("%s has more than %d bytes", path, limit)
	}
	return b, err
}

// Keep says which builds stay.
type Keep struct {
	// Builds is how many of the youngest stay at most; 0 is no limit.
	Builds int
	// Time is how long they stay; 0 is no limit.
	Time time.Duration
}

// DefaultKeep is what builds keep when they clean up themselves.
func DefaultKeep() Keep { return Keep{Builds: 500, Time: 90 * 24 * time.Hour} }

// Prune removes builds, and the objects that no build needs any more, and returns how many builds are
// gone, or would be in a dry run. Builds that go on stay.
func (h *History) Prune(ctx context.Context, keep Keep, dryRun bool) (int, error) {
	if _, err := os.Lstat(h.dir); errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	l, err := h.lock(ctx, flock.Exclusive)
	if err != nil {
		return 0, fmt.Errorf("prune the build history: %w", err)
	}
	defer l.Close()
	names, err := h.names()
	if err != nil {
		return 0, fmt.Errorf("prune the build history: %w", err)
	}
	gone := 0
	var kept []string
	for i, n := range names { // the youngest first
		old := keep.Time > 0 && time.Since(timeOf(n)) > keep.Time
		if !old && (keep.Builds <= 0 || i < keep.Builds) || h.isOpen(n) {
			kept = append(kept, n)
			continue
		}
		gone++
		if !dryRun {
			if err := os.Remove(h.buildPath(n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return gone, fmt.Errorf("prune the build history: %w", err)
			}
		}
	}
	if dryRun {
		return gone, nil
	}
	return gone, h.sweep(kept)
}

// sweep removes lists and objects that the builds do not name, and what killed processes left.
func (h *History) sweep(builds []string) error {
	lists, objects := map[string]bool{}, map[string]bool{}
	for _, n := range builds {
		b, err := h.read(n, false)
		if err != nil {
			continue
		}
		objects[b.plan] = true
		for _, s := range b.Steps {
			if s == nil {
				continue
			}
			for _, d := range append(s.Mounted, s.Files) {
				if d.Validate() == nil {
					lists[d.Encoded()] = true
				}
			}
		}
	}
	err := h.each("lists", func(dir, name string) {
		if !lists[name] {
			os.Remove(filepath.Join(dir, name))
			return
		}
		b, err := readFile(filepath.Join(dir, name), maxListBytes)
		if err != nil {
			return
		}
		sums, _ := parseList(b)
		for _, s := range sums {
			objects[hex.EncodeToString(s[:])] = true
		}
	})
	if err != nil {
		return err
	}
	dirs, err := os.ReadDir(filepath.Join(h.dir, "objects"))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	for _, d := range dirs {
		err = errors.Join(err, h.each(filepath.Join("objects", d.Name()), func(dir, name string) {
			if !objects[name] {
				os.Remove(filepath.Join(dir, name))
			}
		}))
	}
	return errors.Join(err, h.each("builds", func(dir, name string) {
		if strings.HasPrefix(name, temporary) && !h.isOpen(name) {
			os.Remove(filepath.Join(dir, name))
		}
	}), h.each(".", func(dir, name string) {
		if strings.HasPrefix(name, "key.") {
			os.Remove(filepath.Join(dir, name))
		}
	}))
}

// each calls fn for each file of a directory.
func (h *History) each(sub string, fn func(dir, name string)) error {
	dir := filepath.Join(h.dir, sub)
	list, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range list {
		fn(dir, e.Name())
	}
	return nil
}

func (h *History) buildPath(name string) string { return filepath.Join(h.dir, "builds", name) }

// names are those of all builds, the youngest first.
func (h *History) names() ([]string, error) {
	list, err := os.ReadDir(filepath.Join(h.dir, "builds"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the build history: %w", err)
	}
	var out []string
	for _, e := range list {
		if _, _, _, ok := splitName(e.Name()); ok {
			out = append(out, e.Name())
		}
	}
	slices.Reverse(out)
	return out, nil
}

// isOpen reports whether the build goes on: its file is locked.
func (h *History) isOpen(name string) bool {
	f, err := os.Open(h.buildPath(name))
	if err != nil {
		return false
	}
	defer f.Close()
	ok, err := flock.TryShared(f)
	return err == nil && !ok
}
