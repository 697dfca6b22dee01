package layoutdir

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/internal/flock"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// Create opens the layout in a directory, and makes an empty one where there
// is none. A directory with other things in it is ErrConflict.
func Create(ctx context.Context, dir string) (*Dir, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, class("make layout", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, class("make layout", err)
	}
	d := &Dir{root: root, index: ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageIndex,
		Manifests: []ocispec.Descriptor{},
	}}
	err = d.share(ctx, func(f *os.File) (bool, error) { return true, flock.Shared(ctx, f) })
	if err == nil {
		err = d.load()
	}
	if errdefs.IsNotFound(err) {
		err = d.alone(ctx, d.create) // of several who make it, one does
	}
	if err != nil {
		_ = d.Close()
		return nil, fmt.Errorf("make layout %s: %w", dir, err)
	}
	return d, nil
}

func (d *Dir) create() error {
	entries, err := fs.ReadDir(d.root.FS(), ".")
	if err != nil {
		return class("list", err)
	}
	if len(entries) > 0 {
		err := d.load()
		if errdefs.IsNotFound(err) {
			return errdefs.Conflict("the directory is not empty and is no layout: %w", err)
		}
		return err
	}
	if err := d.root.MkdirAll(ocispec.ImageBlobsDir+"/sha256", 0o755); err != nil {
		return class("make blobs", err)
	}
	if err := d.replace(ocispec.ImageLayoutFile, []byte(`{"imageLayoutVersion":"`+ocispec.ImageLayoutVersion+`"}`)); err != nil {
		return err
	}
	return d.writeIndex()
}

// Add adds an entry to index.json, in place of the one with the same name if there
// is one. name goes to org.opencontainers.image.ref.name; "" leaves that out. The
// blobs must be there. What others added meanwhile stays.
func (d *Dir) Add(ctx context.Context, desc ocispec.Descriptor, name string) error {
	unlock, err := d.lockIndex(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := d.load(); err != nil {
		return err
	}
	annotations := map[string]string{}
	for k, v := range desc.Annotations {
		if k != ocispec.AnnotationRefName && k != image.NameAnnotation {
			annotations[k] = v
		}
	}
	if name != "" {
		annotations[ocispec.AnnotationRefName] = name
	}
	desc.Annotations = annotations
	if len(annotations) == 0 {
		desc.Annotations = nil
	}
	var kept []ocispec.Descriptor
	for _, m := range d.index.Manifests {
		old := m.Annotations[ocispec.AnnotationRefName]
		if old == name && (name != "" || m.Digest == desc.Digest) {
			continue
		}
		kept = append(kept, m)
	}
	d.index.Manifests = append(kept, desc)
	return d.writeIndex()
}

// Remove removes the entries of index.json that have the name; ErrNotFound when there is none. The blobs stay until Prune.
func (d *Dir) Remove(ctx context.Context, name string) error {
	unlock, err := d.lockIndex(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := d.load(); err != nil {
		return err
	}
	before := len(d.index.Manifests)
	kept := slices.DeleteFunc(d.index.Manifests, func(m ocispec.Descriptor) bool { return name != "" && m.Annotations[ocispec.AnnotationRefName] == name })
	if len(kept) == before {
		return errdefs.NotFound("the layout has no image %s", name)
	}
	d.index.Manifests = kept
	return d.writeIndex()
}

func (d *Dir) writeIndex() error {
	data, err := json.Marshal(d.index)
	if err != nil {
		return fmt.Errorf("encode %s: %w", ocispec.ImageIndexFile, err)
	}
	return d.replace(ocispec.ImageIndexFile, data)
}

// replace writes a file in one step.
func (d *Dir) replace(name string, data []byte) error {
	f, tmp, err := d.temp(".")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = d.root.Rename(tmp, name)
	}
	if err != nil {
		return errors.Join(class("write "+name, err), d.root.Remove(tmp))
	}
	return nil
}

// temp makes a file of a random name in a directory of the layout.
func (d *Dir) temp(dir string) (*os.File, string, error) {
	name := path.Join(dir, tempPrefix+strings.ToLower(rand.Text()))
	f, err := d.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, "", class("write into layout", err)
	}
	return f, name, nil
}

// Writer begins a blob. Ingests cannot be resumed: the options' Ref is not used.
func (d *Dir) Writer(ctx context.Context, opts content.WriterOptions) (content.Writer, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if opts.Algorithm == "" {
		opts.Algorithm = digest.SHA256
	}
	if opts.Algorithm != digest.SHA256 && opts.Algorithm != digest.SHA512 {
		return nil, errdefs.Unsupported("write blob: algorithm %q is neither sha256 nor sha512", opts.Algorithm)
	}
	dir := ocispec.ImageBlobsDir + "/" + opts.Algorithm.String()
	if err := d.root.MkdirAll(dir, 0o755); err != nil {
		return nil, class("make "+dir, err)
	}
	f, tmp, err := d.temp(dir)
	if err != nil {
		return nil, err
	}
	return &writer{dir: d, file: f, tmp: tmp, alg: opts.Algorithm, hash: opts.Algorithm.Hash(), noSync: opts.NoSync}, nil
}

type writer struct {
	dir    *Dir
	file   *os.File
	tmp    string
	alg    digest.Algorithm
	hash   hash.Hash
	offset int64
	// begun is up to where the disk was told to write.
	begun  int64
	noSync bool
	done   bool
}

// Write appends bytes.
func (w *writer) Write(p []byte) (int, error) {
	if w.done {
		return 0, errdefs.Conflict("write blob: the writer is closed")
	}
	n, err := w.file.Write(p)
	w.hash.Write(p[:n])
	w.offset += int64(n)
	if err != nil {
		return n, class("write blob", err)
	}
	w.settle()
	return n, nil
}

// settleEvery is after how many bytes the disk is told to begin with them.
const settleEvery = 8 << 20

// settle has the disk write while further bytes come, so that little is left to wait for at Commit. It is
// advice: whether the bytes are on the disk is what Commit finds out.
func (w *writer) settle() {
	if w.noSync || w.offset-w.begun < settleEvery {
		return
	}
	_ = unix.SyncFileRange(int(w.file.Fd()), w.begun, w.offset-w.begun, unix.SYNC_FILE_RANGE_WRITE)
	w.begun = w.offset
}

// Offset is how many bytes were written.
func (w *writer) Offset() int64 { return w.offset }

// Digest is the digest of the bytes so far.
func (w *writer) Digest() digest.Digest { return digest.NewDigest(w.alg, w.hash) }

// Truncate drops all bytes.
func (w *writer) Truncate() error {
	if w.done {
		return errdefs.Conflict("truncate blob: the writer is closed")
	}
	if err := w.file.Truncate(0); err != nil {
		return class("truncate blob", err)
	}
	if _, err := w.file.Seek(0, 0); err != nil {
		return class("truncate blob", err)
	}
	w.hash.Reset()
	w.offset, w.begun = 0, 0
	return nil
}

// Commit publishes the bytes under their digest.
func (w *writer) Commit(ctx context.Context, size int64, expected digest.Digest) (ocispec.Descriptor, error) {
	if w.done {
		return ocispec.Descriptor{}, errdefs.Conflict("commit blob: the writer is closed")
	}
	if err := ctx.Err(); err != nil {
		return ocispec.Descriptor{}, err
	}
	if expected != "" && expected.Algorithm() != w.alg {
		return ocispec.Descriptor{}, errdefs.Invalid("commit blob %s: the writer hashes with %s", expected, w.alg)
	}
	got := w.Digest()
	if size >= 0 && size != w.offset || expected != "" && expected != got {
		err := errdefs.Corrupt("commit blob: %d bytes with digest %s came instead of %d with %s", w.offset, got, size, expected)
		return ocispec.Descriptor{}, errors.Join(err, w.Abort())
	}
	if !w.noSync {
		if err := w.file.Sync(); err != nil {
			return ocispec.Descriptor{}, class("commit blob "+got.String(), err)
		}
	}
	path, err := blobPath(got)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	if err := w.dir.root.Rename(w.tmp, path); err != nil {
		return ocispec.Descriptor{}, class("commit blob "+got.String(), err)
	}
	w.done = true
	if err := w.file.Close(); err != nil {
		return ocispec.Descriptor{}, class("commit blob "+got.String(), err)
	}
	return ocispec.Descriptor{Digest: got, Size: w.offset}, nil
}

// Close ends the use of the writer. Nothing is kept: an ingest cannot be resumed.
func (w *writer) Close() error { return w.Abort() }

// Abort ends the use of the writer and removes what was written.
func (w *writer) Abort() error {
	if w.done {
		return nil
	}
	w.done = true
	w.file.Close()
	if err := w.dir.root.Remove(w.tmp); err != nil {
		return class("remove blob", err)
	}
	return nil
}
