// Package layoutdir reads and writes OCI image layouts in directories (OCI
// image-spec, image-layout.md) that other tools made or shall read.
//
//	dir, err := layoutdir.Open(path)
//	for _, img := range dir.Images() {
//		err = transfer.Copy(ctx, dir, store, img.Descriptor, transfer.Options{})
//	}
//
//	dir, err := layoutdir.Create(ctx, path)
//	err = transfer.Copy(ctx, store, dir, desc, transfer.Options{})
//	err = dir.Add(ctx, desc, "app:1.2")
//	err = dir.Prune(ctx) // what no entry leads to any more
//
// Several processes may read and write one layout. The directory is under a shared flock as long as a Dir is open, and under an exclusive
// one while it is made or pruned; the file oci-layout is under an exclusive one while index.json is changed. On a file
// system without locks all goes on, but nothing is pruned.
//
// A layout made by others is hostile: blobs are opened only as regular files
// below the directory, whatever links lead out of it, and who parses them
// verifies them. The store's own layout, which many processes use at
// once, is package image/layout.
package layoutdir

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"syscall"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/internal/flock"
	"github.com/camada/camada/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Dir is a layout. It is used by one goroutine at a time but for Open, Stat and Writer.
type Dir struct {
	root  *os.Root
	index ocispec.Index
	// held is the directory, locked; nil when it could not be.
	held *os.File
}

var (
	_ content.Provider = (*Dir)(nil)
	_ content.Statter  = (*Dir)(nil)
	_ content.Ingester = (*Dir)(nil)
)

// Open opens a layout. ErrNotFound when the directory is none, ErrCorrupt when
// its documents are malformed. The caller closes it.
func Open(path string) (*Dir, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, class("open layout", err)
	}
	d := &Dir{root: root}
	// Who prunes holds the lock for moments, and what is read in such a moment is not what it removes.
	err = d.share(context.Background(), flock.TryShared)
	if err == nil {
		err = d.load()
	}
	if err != nil {
		_ = d.Close()
		return nil, fmt.Errorf("open layout %s: %w", path, err)
	}
	return d, nil
}

// Close releases the directory.
func (d *Dir) Close() error {
	if d.held != nil {
		_ = d.held.Close()
	}
	return d.root.Close()
}

func (d *Dir) load() error {
	data, err := d.document(ocispec.ImageLayoutFile)
	if err != nil {
		return err
	}
	var v ocispec.ImageLayout
	if err := json.Unmarshal(data, &v); err != nil {
		return errdefs.Corrupt("%s: %w", ocispec.ImageLayoutFile, err)
	}
	if v.Version != ocispec.ImageLayoutVersion {
		return errdefs.Unsupported("%s: version %.50q; only %s is known", ocispec.ImageLayoutFile, v.Version, ocispec.ImageLayoutVersion)
	}
	if data, err = d.document(ocispec.ImageIndexFile); err != nil {
		return err
	}
	if d.index, err = image.ParseIndex(data, ocispec.MediaTypeImageIndex); err != nil {
		return fmt.Errorf("%s: %w", ocispec.ImageIndexFile, err)
	}
	return nil
}

// document reads a document of the layout.
func (d *Dir) document(name string) ([]byte, error) {
	f, err := d.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, image.MaxManifest+1))
	if err != nil {
		return nil, class("read "+name, err)
	}
	if len(data) > image.MaxManifest {
		return nil, errdefs.Limit("%s has more than %d bytes", name, image.MaxManifest)
	}
	return data, nil
}

// open opens a regular file of the layout for reading.
func (d *Dir) open(name string) (*os.File, error) {
	// Without O_NONBLOCK a named pipe would hold us up.
	f, err := d.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, class("open "+name, err)
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = errdefs.Corrupt("%s is no regular file", name)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Entries returns the entries of index.json, in their order: descriptors of
// indexes, manifests or other things, with annotations. image.EntryName tells their names.
func (d *Dir) Entries() []ocispec.Descriptor { return slices.Clone(d.index.Manifests) }

// Image is what index.json names, with all its names.
type Image struct {
	// Descriptor of an index or a manifest, without annotations.
	Descriptor ocispec.Descriptor
	Names      []reference.Reference
	// RefName is org.opencontainers.image.ref.name when that is a bare word, such as
	// "latest", and no name of an image; "" otherwise.
	RefName string
}

// Images returns the images of index.json, each once, in their order. Entries with a
// malformed name count as entries without one.
func (d *Dir) Images() []Image {
	var all []Image
	at := map[digest.Digest]int{}
	for _, m := range d.index.Manifests {
		if !image.IsIndex(m.MediaType) && !image.IsManifest(m.MediaType) {
			continue
		}
		i, ok := at[m.Digest]
		if !ok {
			i = len(all)
			at[m.Digest] = i
			all = append(all, Image{Descriptor: m})
			all[i].Descriptor.Annotations = nil
		}
		ref, word, err := image.EntryName(m.Annotations)
		if err == nil && ref != nil && !slices.Contains(all[i].Names, *ref) {
			all[i].Names = append(all[i].Names, *ref)
		}
		if word != "" {
			all[i].RefName = word
		}
	}
	return all
}

// reader is an open blob.
type reader struct {
	*os.File
	size int64
}

func (r *reader) Size() int64 { return r.size }

func blobPath(d digest.Digest) (string, error) {
	if err := content.CheckDigest(d); err != nil {
		return "", err
	}
	return ocispec.ImageBlobsDir + "/" + d.Algorithm().String() + "/" + d.Encoded(), nil
}

// Open opens a blob.
func (d *Dir) Open(ctx context.Context, desc ocispec.Descriptor) (content.Reader, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	path, err := blobPath(desc.Digest)
	if err != nil {
		return nil, err
	}
	f, err := d.open(path)
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err == nil && desc.Size > 0 && fi.Size() != desc.Size {
		err = errdefs.Corrupt("blob %s has %d bytes instead of %d", desc.Digest, fi.Size(), desc.Size)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &reader{File: f, size: fi.Size()}, nil
}

// Stat tells of a blob.
func (d *Dir) Stat(ctx context.Context, dgst digest.Digest) (content.Info, error) {
	if err := ctx.Err(); err != nil {
		return content.Info{}, err
	}
	path, err := blobPath(dgst)
	if err != nil {
		return content.Info{}, err
	}
	fi, err := d.root.Stat(path)
	if err != nil {
		return content.Info{}, class("blob "+dgst.String(), err)
	}
	return content.Info{Digest: dgst, Size: fi.Size(), ModTime: fi.ModTime()}, nil
}

// class gives an error of the file system its class.
func class(doing string, err error) error {
	err = fmt.Errorf("%s: %w", doing, err)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return errdefs.With(errdefs.ErrNotFound, err)
	case errors.Is(err, fs.ErrPermission):
		return errdefs.With(errdefs.ErrPermission, err)
	}
	return errdefs.With(errdefs.ErrUnavailable, err)
}
