// Package layout keeps refs and their reflog in a directory that is a valid OCI
// image layout at every moment (OCI image-spec, image-layout.md).
//
//	refs := layout.Open(root)
//	err := refs.Set(ctx, ref, desc, image.SetOptions{Verb: "build"})
//	tag, err := refs.Rollback(ctx, ref, 1, check)
//
// # On disk
//
//	oci-layout, index.json                     regenerated from refs/, for other tools
//	refs/<host>/<repository>/_tags/<tag>       JSON: what the ref points to
//	reflog/<host>/<repository>/_tags/<tag>     JSON lines, appended: what it pointed to
//	refs/.lock                                 flock: shared to list, exclusive to move refs
//	refs/.pending                              the name of the ref that is being moved
//
// # A move, and what a crash in it means
//
// Under the exclusive lock a move (1) writes refs/.pending and, under names that
// begin with a dot, the files that it will rename, (2) appends a line to the
// reflog and syncs it, (3) renames or removes the ref's file and syncs, (4)
// renames index.json, (5) removes refs/.pending. The line makes the move: once
// it is whole the ref has moved, and what is missing of steps 3 to 5 is done from
// it by whoever comes next, reader or writer. A line without its newline is a move
// that did not happen; it is cut off by the next writer.
//
// Names that begin with a dot are free for this, because neither a host nor a
// part of a repository nor a tag begins with one.
package layout

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/internal/flock"
	"github.com/camada/camada/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// tagsDir stands between repository and tag: no part of a repository begins
// with an underscore.
const tagsDir = "_tags"

// maxFile bounds the size of a ref's file and of a line of a reflog in bytes.
const maxFile = 64 << 10

// Refs are the refs of the store at a root. Many processes and goroutines may
// use one root at once.
type Refs struct {
	root string
}

var _ image.Refs = (*Refs)(nil)

// Open returns the refs of the store at root. Nothing is read or made before it
// is needed.
func Open(root string) *Refs { return &Refs{root: root} }

// Init makes the directory a valid, empty image layout, and does nothing when it is
// a layout already. Set does so too.
func (r *Refs) Init(ctx context.Context) error {
	if _, err := os.Lstat(filepath.Join(r.root, ocispec.ImageLayoutFile)); err == nil {
		return nil
	}
	unlock, err := r.lock(ctx, flock.Exclusive)
	if err != nil {
		return err
	}
	defer unlock()
	return r.initLocked()
}

func (r *Refs) initLocked() error {
	file := filepath.Join(r.root, ocispec.ImageLayoutFile)
	if _, err := os.Lstat(file); err == nil {
		return nil
	}
	if err := makeDir(filepath.Join(r.root, "blobs")); err != nil {
		return err
	}
	if err := r.writeIndex(); err != nil {
		return err
	}
	// Last, because it says that the rest is there.
	tmp := r.temporary("layout")
	if err := writeSync(tmp, []byte(layoutFile)); err != nil {
		return err
	}
	return r.rename(tmp, file)
}

// lock opens refs/.lock and locks it. The caller calls unlock.
func (r *Refs) lock(ctx context.Context, how func(context.Context, *os.File) error) (unlock func(), err error) {
	f, err := r.openLock()
	if err != nil {
		return nil, err
	}
	if err := how(ctx, f); err != nil {
		f.Close()
		return nil, errdefs.With(errdefs.ErrUnavailable, err)
	}
	return func() { f.Close() }, nil
}

func (r *Refs) openLock() (*os.File, error) {
	path := filepath.Join(r.root, "refs", ".lock")
	f, err := os.OpenFile(path, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeDir(filepath.Dir(path)); err != nil {
			return nil, err
		}
		f, err = os.OpenFile(path, os.O_RDONLY|os.O_CREATE, 0o600)
	}
	if err != nil {
		return nil, class("lock refs", err)
	}
	return f, nil
}

// paths returns the files of a ref's value and of its log.
func (r *Refs) paths(ref reference.Reference) (value, log string) {
	rel := filepath.Join(ref.Host, ref.Repository, tagsDir, ref.Tag)
	return filepath.Join(r.root, "refs", rel), filepath.Join(r.root, "reflog", rel)
}

// tagOf checks a reference, which may not come from Parse, and returns it without
// its digest: a name that Parse accepts is safe as a path.
func tagOf(ref reference.Reference) (reference.Reference, error) {
	ref.Digest = ""
	if ref.Tag == "" {
		return ref, errdefs.Invalid("%s has no tag", ref.Name())
	}
	p, err := reference.Parse(ref.String())
	if err != nil {
		return ref, err
	}
	if p != ref {
		return ref, errdefs.Invalid("%q is not a canonical image name", ref.String())
	}
	return ref, nil
}

// refOf is the inverse of paths: rel is relative to refs/ or reflog/.
func refOf(rel string) (reference.Reference, bool) {
	dir, tag := filepath.Split(rel)
	dir, tags := filepath.Split(strings.TrimSuffix(dir, "/"))
	host, repository, ok := strings.Cut(strings.TrimSuffix(dir, "/"), "/")
	if !ok || tags != tagsDir {
		return reference.Reference{}, false
	}
	ref := reference.Reference{Host: host, Repository: repository, Tag: tag}
	_, err := tagOf(ref)
	return ref, err == nil
}

// temporary returns the name of a file to be renamed. One is enough for each purpose,
// because the exclusive lock is held.
func (r *Refs) temporary(purpose string) string {
	return filepath.Join(r.root, "refs", "."+purpose+".tmp")
}

// rename puts a file that was written and synced in its place, durably.
func (r *Refs) rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return class("replace "+to, err)
	}
	return syncDir(filepath.Dir(to))
}

func writeSync(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o644)
	if err != nil {
		return class("write "+path, err)
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		os.Remove(path)
		return class("write "+path, err)
	}
	return nil
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return class("sync directory", err)
	}
	defer f.Close()
	// Some file systems cannot sync directories, and need not.
	if err := f.Sync(); err != nil && !errors.Is(err, unix.EINVAL) {
		return class("sync directory", err)
	}
	return nil
}

// makeDir makes a directory durably, with its parents.
func makeDir(dir string) error {
	if _, err := os.Lstat(dir); err == nil {
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := makeDir(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil
		}
		return class("make directory", err)
	}
	return syncDir(parent)
}

// class gives an error of the file system the class that says what can be done.
func class(doing string, err error) error {
	c := errdefs.ErrUnavailable
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS) {
		c = errdefs.ErrPermission
	}
	return errdefs.With(c, fmt.Errorf("%s: %w", doing, err))
}

// later returns now, but after t: the order of moves is the order of their times.
func later(t time.Time) time.Time {
	now := time.Now().UTC().Round(0)
	if !now.After(t) {
		now = t.Add(time.Nanosecond)
	}
	return now
}
