package engine

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"sync"

	"github.com/camada/camada/archive"
	"github.com/camada/camada/archive/compression"
	"github.com/camada/camada/build/cache/carry"
	"github.com/camada/camada/build/cachemount"
	"github.com/camada/camada/build/op"
	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/layer"
	"github.com/camada/camada/progress"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// mountsTag is the tag of the cache mounts that belong to the cache with the given tag.
func mountsTag(tag string) string { return tag + "-mounts" }

// readMounts reads the cache mounts that find finds; none when there are none.
func readMounts(ctx context.Context, p content.Provider, find func() (ocispec.Descriptor, error)) ([]carry.Mount, error) {
	desc, err := find()
	if errdefs.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return carry.ReadMounts(ctx, p, desc)
}

// carriedMounts are the cache mounts that sources of cache have, by their keys. They stay where they are until a step wants one that is
// not on this machine.
type carriedMounts struct {
	blobs *lazy
	byKey map[digest.Digest]carry.Mount
}

// newCarriedMounts takes those of the first source that has one of a key.
func newCarriedMounts(sources cacheSources, blobs *lazy) *carriedMounts {
	c := &carriedMounts{blobs: blobs, byKey: make(map[digest.Digest]carry.Mount)}
	for _, s := range sources {
		for _, m := range s.mounts {
			if _, ok := c.byKey[m.Key]; !ok {
				c.byKey[m.Key] = m
				at := s.place
				at.cache = nil // that it is lost is no reason to build again
				blobs.add(at, m.Layer.Descriptor)
			}
		}
	}
	return c
}

// fill returns what writes the content of a mount that is new here, as an uncompressed tar below op.TreeName; nil when no source has it.
func (c *carriedMounts) fill(key cachemount.Key) func(context.Context, io.Writer) error {
	if c == nil {
		return nil
	}
	m, ok := c.byKey[key.Digest()]
	if !ok {
		return nil
	}
	return func(ctx context.Context, w io.Writer) error {
		ev := progress.Event{ID: "mount-" + m.Key.String(), Name: "restoring cache mount " + m.ID}
		c.blobs.sink.Emit(ev)
		err := c.unpack(ctx, m, w)
		ev.State, ev.Err = progress.Done, err
		if err != nil {
			ev.State = progress.Failed
		}
		c.blobs.sink.Emit(ev)
		return err
	}
}

func (c *carriedMounts) unpack(ctx context.Context, m carry.Mount, w io.Writer) error {
	r, err := layer.Open(ctx, c.blobs, m.Layer.Descriptor, m.Layer.DiffID, layer.OpenOptions{})
	if err != nil {
		return err
	}
	defer r.Close()
	if err := below(r, w, op.TreeName); err != nil {
		return err
	}
	// To the end, where the digests are compared.
	_, err = io.Copy(io.Discard, r)
	return err
}

// below copies a tar, with each name in it below a directory.
func below(r io.Reader, w io.Writer, dir string) error {
	in, out := tar.NewReader(r), tar.NewWriter(w)
	for first := true; ; first = false {
		h, err := in.Next()
		if err != nil && !errors.Is(err, io.EOF) {
			return errdefs.With(errdefs.ErrCorrupt, err)
		}
		if first && (err != nil || path.Join("/", h.Name) != "/") {
			if err := out.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755}); err != nil {
				return err
			}
		}
		if err != nil {
			return out.Close()
		}
		h.Name, h.Format = path.Join(dir, path.Join("/", h.Name)), tar.FormatPAX
		if h.Typeflag == tar.TypeLink {
			h.Linkname = path.Join(dir, path.Join("/", h.Linkname))
		}
		if err := out.WriteHeader(h); err != nil {
			return err
		}
		if _, err := io.Copy(out, in); err != nil {
			return err
		}
	}
}

// packer makes layers of cache mounts, once for all caches that they are written to.
type packer struct {
	once   sync.Once
	mounts []carry.Mount
	err    error
}

// mounts writes the cache mounts of the build's steps.
func (w *cacheWriter) mounts(ctx context.Context, s *cacheSpec, subject *ocispec.Descriptor) error {
	w.packed.once.Do(func() { w.packed.mounts, w.packed.err = w.pack(ctx) })
	if w.packed.err != nil {
		return w.packed.err
	}
	if len(w.packed.mounts) == 0 {
		return nil
	}
	a, err := carry.EncodeMounts(w.packed.mounts, subject)
	if err != nil {
		return err
	}
	return w.put(ctx, s, a, mountsTag(s.entry()))
}

// pack packs the mounts with the ids that steps of the build have, also of steps that were not executed. What is not on this machine, because
// nothing needed it, and a source has, is carried on from there.
func (w *cacheWriter) pack(ctx context.Context) ([]carry.Mount, error) {
	ids := w.steps.mountIDs()
	keys := make(map[digest.Digest]cachemount.Key)
	err := w.e.cacheMounts().Each(ctx, func(i cachemount.Info) error {
		if ids[i.Key.ID] {
			keys[i.Key.Digest()] = i.Key
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var out []carry.Mount
	for d, key := range keys {
		l, err := w.packOne(ctx, key)
		if err != nil {
			return nil, fmt.Errorf("pack cache mount %s: %w", key.ID, err)
		}
		if !l.Empty {
			out = append(out, carry.Mount{Key: d, ID: key.ID, Layer: l})
		}
	}
	for d, m := range w.carried.byKey {
		if _, here := keys[d]; here || !ids[m.ID] {
			continue
		}
		if err := w.guard.sentLayer(ctx, w.blobs, m.Layer); err != nil {
			return nil, fmt.Errorf("cache mount %s: %w", m.ID, err)
		}
		out = append(out, m)
	}
	return out, nil
}

// packOne makes a layer of a mount while nobody uses it. The same files give the same layer.
func (w *cacheWriter) packOne(ctx context.Context, key cachemount.Key) (layer.Layer, error) {
	h, err := w.e.cacheMounts().Acquire(ctx, key, cachemount.Options{Sharing: op.SharingLocked})
	if err != nil {
		return layer.Layer{}, err
	}
	defer h.Release()
	opts := layer.WriteOptions{Compression: compression.Zstd, NoSync: true}
	tee, done, err := w.guard.watch(ctx, &opts)
	if err != nil {
		return layer.Layer{}, err
	}
	defer done()
	return layer.Write(ctx, w.e.content, opts, func(out io.Writer) error {
		return archive.Pack(ctx, h.Dir(), io.MultiWriter(append(tee, out)...), archive.DiffOptions{Shared: true}) // with the steps of other builds
	})
}
