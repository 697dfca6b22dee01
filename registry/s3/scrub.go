package s3

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry"
	"github.com/camada/camada/registry/s3/internal/object"
	"github.com/opencontainers/go-digest"
)

// scrubber is one scrub.
type scrubber struct {
	s      *Store
	fn     func(registry.Problem) error
	mu     sync.Mutex
	report registry.ScrubReport
	// read are the bytes that were read, and what was wrong with them; blobs the blobs that were counted.
	read  map[string]error
	blobs map[digest.Digest]bool
}

// Scrub reads everything: each blob's bytes once, each manifest, and each tag. What others change meanwhile is looked at again before it is called a problem.
func (s *Store) Scrub(ctx context.Context, fn func(registry.Problem) error) (registry.ScrubReport, error) {
	w := &scrubber{s: s, fn: fn, read: make(map[string]error), blobs: make(map[digest.Digest]bool)}
	prefix := s.prefix + "r/"
	err := s.o.List(ctx, object.ListOptions{Prefix: prefix, Folders: true}, func(e object.Entry) (bool, error) {
		encoded := strings.TrimSuffix(strings.TrimPrefix(e.Key, prefix), "/")
		name := decodeName(encoded)
		if name == "" {
			return true, w.problem(registry.Problem{What: "stray", Text: e.Key + " belongs to no repository"})
		}
		w.report.Repositories++
		return true, w.repository(ctx, repo{s.prefix, encoded}, name)
	})
	return w.report, err
}

// problem tells of one.
func (w *scrubber) problem(p registry.Problem) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.report.Problems++
	return w.fn(p)
}

func (w *scrubber) repository(ctx context.Context, r repo, name string) error {
	if err := w.s.walkCells(ctx, r.links(), func(c *cell) error { return w.link(ctx, name, c) }); err != nil {
		return err
	}
	if err := w.s.walkCells(ctx, r.manifests(), func(c *cell) error { return w.manifest(ctx, r, name, c) }); err != nil {
		return err
	}
	return w.s.walkCells(ctx, r.tags(), func(c *cell) error { return w.tag(ctx, r, name, c) })
}

// link reads a blob.
func (w *scrubber) link(ctx context.Context, name string, c *cell) error {
	d := decodeDigest(base(c.key))
	if d == "" {
		return w.problem(registry.Problem{Repository: name, What: "stray", Text: c.key + " is no blob"})
	}
	if !c.State.visible() {
		return nil
	}
	read, known := w.read[c.ID]
	switch {
	case c.ID == "":
		read = verify(strings.NewReader(string(c.body)), d, c.Size)
	case !known:
		b := &reader{ctx: ctx, o: w.s.o, key: w.s.bytesKey(c.ID), size: c.Size}
		read = verify(b, d, c.Size)
		b.Close()
		if read != nil && !errdefs.IsCorrupt(read) && !errdefs.IsNotFound(read) {
			return read
		}
		w.read[c.ID] = read
	}
	if !w.blobs[d] {
		w.blobs[d] = true
		w.report.Blobs++
		w.report.Bytes += c.Size
	}
	if read == nil {
		return nil
	}
	if now, err := w.s.find(ctx, c.key); err != nil || now == nil || !now.State.visible() || now.ID != c.ID {
		return err
	}
	what := "bad-blob"
	if errdefs.IsNotFound(read) {
		what = "missing-blob"
	}
	return w.problem(registry.Problem{Repository: name, What: what, Digest: d, Text: read.Error()})
}

// manifest reads a manifest and looks whether what it requires is there.
func (w *scrubber) manifest(ctx context.Context, r repo, name string, c *cell) error {
	d := decodeDigest(base(c.key))
	if d == "" {
		return w.problem(registry.Problem{Repository: name, What: "stray", Text: c.key + " is no manifest"})
	}
	if !c.State.visible() {
		return nil
	}
	w.report.Manifests++
	w.report.Bytes += int64(len(c.body))
	m, err := parsed(d, c)
	if err != nil {
		return w.problem(registry.Problem{Repository: name, What: "bad-manifest", Digest: d, Text: err.Error()})
	}
	return each(ctx, len(m.Requires), func(ctx context.Context, i int) error {
		q := m.Requires[i]
		key, what := r.link(q.Digest), "missing-blob"
		if q.Manifest {
			key, what = r.manifest(q.Digest), "missing-manifest"
		}
		there, err := w.s.find(ctx, key)
		if err != nil || there != nil && there.State.visible() {
			return err
		}
		// The manifest itself may have gone since.
		now, err := w.s.find(ctx, c.key)
		if err != nil || now == nil || !now.State.visible() {
			return err
		}
		return w.problem(registry.Problem{Repository: name, What: what, Digest: q.Digest, Text: fmt.Sprintf("the manifest %s requires it", d)})
	})
}

// tag looks where a tag leads.
func (w *scrubber) tag(ctx context.Context, r repo, name string, c *cell) error {
	t, err := tagOf(c)
	tag := base(c.key)
	if err != nil {
		return w.problem(registry.Problem{Repository: name, What: "bad-tag", Text: err.Error()})
	}
	if t.target() == "" {
		return nil
	}
	w.report.Tags++
	m, err := w.s.find(ctx, r.manifest(t.target()))
	if err != nil || m != nil && m.State.visible() {
		return err
	}
	_, now, err := w.s.readTag(ctx, c.key)
	if err != nil || now.target() != t.target() {
		return err
	}
	return w.problem(registry.Problem{Repository: name, What: "bad-tag", Digest: t.target(), Text: "the tag " + tag + " leads to no manifest"})
}
