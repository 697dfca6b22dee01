package engine

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/camada/camada/archive/compression"
	"github.com/camada/camada/build/advise"
	"github.com/camada/camada/build/history"
	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/layer"
	"github.com/camada/camada/layer/index"
	"github.com/camada/camada/lease"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Advise says how the Dockerfile of a build could be arranged better, from at most last builds of the same Dockerfile, context,
// target and platform. See findBuild for the name.
func (e *Engine) Advise(ctx context.Context, name string, last int) (*advise.Report, error) {
	b, err := e.findBuild(ctx, name)
	if err != nil {
		return nil, err
	}
	var builds []*history.Build
	take := func(o *history.Build) bool {
		if o.Status == history.Completed && o.Target == b.Target && o.Platform == b.Platform {
			builds = append(builds, o)
		}
		return len(builds) < last
	}
	h := e.history()
	if take(b) {
		if err := h.Before(ctx, b, take); err != nil {
			return nil, err
		}
	}
	if len(builds) == 0 {
		return nil, errdefs.NotFound("no build of %s in the history succeeded", orElse(name, b.Dockerfile))
	}
	slices.Reverse(builds)
	return advise.Advise(ctx, builds, advise.Parts{Files: h.Files, Layer: e.layerFiles, Compressed: e.compressed})
}

// descriptorOf is what is known of a step's layer; its media type is that of any compression, which is told from the bytes.
func descriptorOf(s *history.Step) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerGzip, Digest: s.Layer, Size: s.Size}
}

// layerFiles lists the regular files of a step's layer.
func (e *Engine) layerFiles(ctx context.Context, s *history.Step, fn func(path string, size int64)) error {
	if err := e.lease.Pin(ctx, lease.Blob(s.Layer)); err != nil {
		return err
	}
	x, err := e.indexes().Of(ctx, e.content, descriptorOf(s), s.DiffID)
	if err != nil {
		return err
	}
	for i := range x.Entries {
		if f := &x.Entries[i]; f.Kind == index.Reg {
			fn(f.Path, f.Size)
		}
	}
	return nil
}

// counter counts bytes.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// compressed compresses some files of a step's layer by themselves, and tells how many bytes that makes.
func (e *Engine) compressed(ctx context.Context, s *history.Step, match func(path string) bool) (int64, error) {
	var n counter
	err := compressSome(ctx, e.content, s, match, &n)
	if err != nil {
		return 0, fmt.Errorf("measure layer %s: %w", s.Layer, err)
	}
	return int64(n), nil
}

func compressSome(ctx context.Context, p content.Provider, s *history.Step, match func(path string) bool, out io.Writer) error {
	r, err := layer.Open(ctx, p, descriptorOf(s), s.DiffID, layer.OpenOptions{})
	if err != nil {
		return err
	}
	defer r.Close()
	z, err := compression.NewWriter(out, compression.Gzip)
	if err != nil {
		return err
	}
	w := tar.NewWriter(z)
	for in := tar.NewReader(r); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return errors.Join(err, z.Close())
		}
		if !match(strings.TrimPrefix(h.Name, "/")) {
			continue
		}
		if err = w.WriteHeader(h); err == nil {
			_, err = io.Copy(w, in)
		}
		if err != nil {
			return errors.Join(err, z.Close())
		}
	}
	return errors.Join(w.Close(), z.Close())
}
