package tarball

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/camada/camada/archive/compression"
	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/progress"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Save writes images to w as one tar. The bytes depend on the images, names and
// options alone. The caller closes w, and removes what is there when Save fails. When w is an
// *os.File and the blobs are files, the kernel copies them. Blobs are copied
// as they are in the store: their sizes are checked, their digests are not.
func Save(ctx context.Context, w io.Writer, p content.Provider, images []Image, opts SaveOptions) error {
	s := saver{tar: newWriter(w), p: p, sink: progress.Or(opts.Progress)}
	switch opts.Format {
	case Combined, OCI, Docker:
	default:
		return errdefs.Invalid("save: format %q; want %s or %s", opts.Format, OCI, Docker)
	}
	var err error
	if s.plan, err = makePlan(ctx, p, images, opts); err != nil {
		return err
	}
	if opts.Format == Docker {
		err = s.docker(ctx)
	} else {
		err = s.layout(ctx, opts.Format)
	}
	if err != nil {
		return err
	}
	return s.tar.end()
}

type saver struct {
	tar  *writer
	p    content.Provider
	plan *plan
	sink progress.Sink
}

// layout writes an OCI layout, and a manifest.json when Docker has to read it.
// The documents come first, so that a reader knows what the blobs are.
func (s *saver) layout(ctx context.Context, format Format) error {
	index, err := json.Marshal(s.plan.index)
	if err != nil {
		return fmt.Errorf("encode index.json: %w", err)
	}
	if err := s.tar.bytes(ocispec.ImageLayoutFile, []byte(`{"imageLayoutVersion":"`+ocispec.ImageLayoutVersion+`"}`)); err != nil {
		return err
	}
	if err := s.tar.bytes(ocispec.ImageIndexFile, index); err != nil {
		return err
	}
	if format == Combined {
		layer := func(img *image.Image, i int) string { return blobPath(img.Layers[i].Digest) }
		items, err := s.plan.items(blobPath, layer)
		if err != nil {
			return fmt.Errorf("encode manifest.json: %w", err)
		}
		if err := s.tar.bytes(manifestFile, items); err != nil {
			return err
		}
	}
	dirs := map[string]bool{}
	for _, d := range s.plan.blobs {
		for _, dir := range []string{ocispec.ImageBlobsDir, ocispec.ImageBlobsDir + "/" + d.Digest.Algorithm().String()} {
			if !dirs[dir] {
				dirs[dir] = true
				if err := s.tar.dir(dir); err != nil {
					return err
				}
			}
		}
		if err := s.blob(ctx, blobPath(d.Digest), d); err != nil {
			return err
		}
	}
	return nil
}

// blob writes a blob as it is.
func (s *saver) blob(ctx context.Context, name string, d ocispec.Descriptor) error {
	return s.tell(d.Digest, d.Size, func() error {
		r, err := s.p.Open(ctx, d)
		if err != nil {
			return fmt.Errorf("save %s: %w", name, err)
		}
		defer r.Close()
		return s.tar.stream(ctx, name, r, r.Size())
	})
}

// tell reports the writing of an entry.
func (s *saver) tell(d digest.Digest, size int64, write func() error) error {
	e := progress.Event{ID: d.String(), Name: "save " + d.Encoded()[:12], Total: size}
	s.sink.Emit(e)
	err := write()
	e.State, e.Current = progress.Done, size
	if err != nil {
		e.State, e.Current, e.Err = progress.Failed, 0, err
	}
	s.sink.Emit(e)
	return err
}

// docker writes what Docker wrote before version 25.
func (s *saver) docker(ctx context.Context) error {
	config := func(d digest.Digest) string { return d.Encoded() + ".json" }
	layer := func(img *image.Image, i int) string { return img.DiffIDs[i].Encoded() + "/layer.tar" }
	items, err := s.plan.items(config, layer)
	if err != nil {
		return fmt.Errorf("encode manifest.json: %w", err)
	}
	if err := s.tar.bytes(manifestFile, items); err != nil {
		return err
	}
	written := map[digest.Digest]bool{}
	for _, img := range s.plan.images {
		if !written[img.ID()] {
			written[img.ID()] = true
			if err := s.tar.bytes(config(img.ID()), img.ConfigBytes); err != nil {
				return err
			}
		}
		for i, d := range img.DiffIDs {
			if written[d] {
				continue
			}
			written[d] = true
			if err := s.tar.dir(d.Encoded()); err != nil {
				return err
			}
			if err := s.layer(ctx, layer(img, i), img.Layers[i], d); err != nil {
				return err
			}
		}
	}
	return nil
}

// layer writes a layer uncompressed. An entry's size comes before its bytes, so
// a compressed layer is decompressed twice: that needs no room on disk.
func (s *saver) layer(ctx context.Context, name string, d ocispec.Descriptor, diffID digest.Digest) error {
	if d.Digest == diffID {
		return s.blob(ctx, name, d)
	}
	return s.tell(d.Digest, d.Size, func() error {
		size, err := s.measure(ctx, d, diffID)
		if err != nil {
			return fmt.Errorf("save layer %s: %w", d.Digest, err)
		}
		return s.inflate(ctx, d, func(r io.Reader) error { return s.tar.stream(ctx, name, r, size) })
	})
}

// measure returns the uncompressed size of a layer and checks its diffID.
func (s *saver) measure(ctx context.Context, d ocispec.Descriptor, diffID digest.Digest) (int64, error) {
	h := diffID.Algorithm().Hash()
	var size int64
	err := s.inflate(ctx, d, func(r io.Reader) (err error) {
		size, err = io.Copy(h, whileAlive(ctx, r))
		return err
	})
	if err != nil {
		return 0, err
	}
	if got := digest.NewDigest(diffID.Algorithm(), h); got != diffID {
		return 0, errdefs.Corrupt("its diffID is %s, and the config says %s", got, diffID)
	}
	return size, nil
}

func (s *saver) inflate(ctx context.Context, d ocispec.Descriptor, use func(io.Reader) error) error {
	blob, err := s.p.Open(ctx, d)
	if err != nil {
		return err
	}
	defer blob.Close()
	r, err := compression.NewReader(blob, compression.Limits{})
	if err != nil {
		return err
	}
	defer r.Close()
	return use(r)
}

// readerFunc is a reader made of a function.
type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// whileAlive reads r until ctx is done.
func whileAlive(ctx context.Context, r io.Reader) io.Reader {
	return readerFunc(func(p []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		return r.Read(p)
	})
}
