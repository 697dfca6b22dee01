package layoutdir

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/camada/camada/content"
	"github.com/camada/camada/image"
	"github.com/camada/camada/internal/flock"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// tempPrefix begins the names of files that are being written.
const tempPrefix = ".tmp-"

// share tells others that the blobs are in use. It fails with ctx alone: there are file systems without locks.
func (d *Dir) share(ctx context.Context, lock func(*os.File) (bool, error)) error {
	f, err := d.root.Open(".")
	if err != nil {
		return class("open layout", err)
	}
	if ok, err := lock(f); err != nil || !ok {
		f.Close()
		return ctx.Err()
	}
	d.held = f
	return nil
}

// alone calls fn while nobody else has the layout open, and waits for that.
func (d *Dir) alone(ctx context.Context, fn func() error) error {
	if d.held == nil {
		return fn()
	}
	if err := flock.Exclusive(ctx, d.held); err != nil {
		return err
	}
	return errors.Join(fn(), flock.Shared(ctx, d.held))
}

// lockIndex keeps others from changing index.json.
func (d *Dir) lockIndex(ctx context.Context) (unlock func(), err error) {
	f, err := d.open(ocispec.ImageLayoutFile)
	if err != nil {
		return nil, err
	}
	if err := flock.Exclusive(ctx, f); err != nil && ctx.Err() != nil {
		f.Close()
		return nil, err
	} // a file system without locks has one writer at a time, one hopes, as with other tools
	return func() { f.Close() }, nil
}

// Prune removes the blobs that no entry leads to, and what writers that were killed left. It removes nothing while others
// have the layout open: the last one who prunes finds it all. It also removes nothing when it cannot be known what an entry leads to.
func (d *Dir) Prune(ctx context.Context) error {
	if d.held == nil {
		return nil
	}
	ok, err := flock.TryExclusive(d.held)
	if err != nil {
		return class("prune layout", err)
	}
	if ok {
		err = d.prune(ctx)
	}
	return errors.Join(err, flock.Shared(ctx, d.held)) // also after a failed try, which lost it
}

func (d *Dir) prune(ctx context.Context) error {
	if err := d.load(); err != nil {
		return err
	}
	keep := make(map[string]bool)
	walk := image.WalkOptions{Missing: func(ocispec.Descriptor) error { return nil }}
	for _, entry := range d.index.Manifests {
		err := image.Walk(ctx, d, entry, walk, func(desc ocispec.Descriptor) error {
			name, err := blobPath(desc.Digest)
			keep[name] = true
			return err
		})
		if err != nil {
			return err
		}
	}
	algorithms, err := fs.ReadDir(d.root.FS(), ocispec.ImageBlobsDir)
	if err != nil {
		return class("list blobs", err)
	}
	for _, alg := range algorithms {
		if alg.IsDir() {
			err = errors.Join(err, d.pruneDir(path.Join(ocispec.ImageBlobsDir, alg.Name()), func(name string) bool {
				dgst := digest.NewDigestFromEncoded(digest.Algorithm(alg.Name()), path.Base(name))
				return content.CheckDigest(dgst) == nil && !keep[name]
			}))
		}
	}
	return errors.Join(err, d.pruneDir(".", func(string) bool { return false }))
}

// pruneDir removes the files of a directory that useless means, and those that were never finished.
func (d *Dir) pruneDir(dir string, useless func(name string) bool) error {
	list, err := fs.ReadDir(d.root.FS(), dir)
	if err != nil {
		return class("list "+dir, err)
	}
	for _, f := range list {
		name := path.Join(dir, f.Name())
		if !f.Type().IsRegular() || !strings.HasPrefix(f.Name(), tempPrefix) && !useless(name) {
			continue
		}
		if err := d.root.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return class("remove "+name, err)
		}
	}
	return nil
}
