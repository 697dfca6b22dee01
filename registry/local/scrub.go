package local

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry"
	"github.com/camada/camada/registry/local/kv"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// scrub is one scrub under way.
type scrub struct {
	*Store
	fn     func(registry.Problem) error
	report registry.ScrubReport
}

// Scrub reads everything. Bytes that are not what their digest says are marked, so that the next push of them replaces them.
func (s *Store) Scrub(ctx context.Context, fn func(registry.Problem) error) (registry.ScrubReport, error) {
	c := &scrub{Store: s, fn: fn}
	for _, step := range []func(context.Context) error{c.contents, c.repositories, c.files} {
		if err := step(ctx); err != nil {
			return c.report, err
		}
	}
	return c.report, nil
}

func (c *scrub) problem(repository, what string, d digest.Digest, format string, args ...any) error {
	c.report.Problems++
	return c.fn(registry.Problem{Repository: repository, What: what, Digest: d, Text: fmt.Sprintf(format, args...)})
}

// contents verifies all bytes.
func (c *scrub) contents(ctx context.Context) error {
	return c.each(ctx, key{kindContent}, func(rest []byte, e kv.Entry) error {
		d, _, err := parseDigest(rest)
		if err != nil {
			return err
		}
		st, err := decodeStored(e)
		if err != nil {
			return c.problem("", "bad-blob", d, "%v", err)
		}
		c.report.Blobs++
		c.report.Bytes += st.size
		bad := c.verify(ctx, d, st)
		if bad == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		if !errdefs.IsCorrupt(bad) && !errdefs.IsNotFound(bad) {
			return bad // it cannot be read now, which does not make it bad
		}
		marked, err := c.markDamaged(e.Key, st)
		if err != nil || !marked {
			return err // it was swept or replaced meanwhile
		}
		return c.problem("", "bad-blob", d, "%v", bad)
	})
}

func (c *scrub) verify(ctx context.Context, d digest.Digest, st stored) error {
	r, err := c.open(d, st)
	if err != nil {
		return err
	}
	defer r.Close()
	v, err := content.NewVerifyReader(&contextReader{ctx, r}, ocispec.Descriptor{Digest: d, Size: st.size})
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, v)
	return err
}

// markDamaged notes that bytes are not what they should be; false when they are not the same any more.
func (c *scrub) markDamaged(k []byte, st stored) (bool, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	e, ok, err := c.db.Get(k)
	if err != nil || !ok {
		return false, err
	}
	now, err := decodeStored(e)
	if err != nil || now.file != st.file || !now.at.Equal(st.at) {
		return false, err
	}
	if now.damaged {
		return true, nil
	}
	now.damaged = true
	var b kv.Batch
	// A body goes: nobody could trust it.
	if now.file == "" {
		b.PutBody(k, stored{at: now.at, damaged: true}.encode(), nil)
	} else {
		b.Put(k, now.encode())
	}
	_, err = c.db.Write(&b)
	return true, err
}

// repositories looks whether all that repositories name is there.
func (c *scrub) repositories(ctx context.Context) error {
	return c.each(ctx, key{kindRepository}, func(rest []byte, _ kv.Entry) error {
		repository := string(rest)
		c.report.Repositories++
		return errors.Join(c.blobs(ctx, repository), c.manifests(ctx, repository), c.tagsOf(ctx, repository))
	})
}

func (c *scrub) blobs(ctx context.Context, repository string) error {
	return c.each(ctx, newKey(kindBlob, repository), func(rest []byte, e kv.Entry) error {
		d, _, err := parseDigest(rest)
		if err != nil {
			return err
		}
		if ok, err := c.has(contentKey(d)); err != nil || ok {
			return err
		}
		if ok, err := c.has(e.Key); err != nil || !ok {
			return err // it was swept meanwhile
		}
		return c.problem(repository, "missing-blob", d, "%v", lost(d))
	})
}

func (c *scrub) manifests(ctx context.Context, repository string) error {
	return c.each(ctx, newKey(kindManifest, repository), func(rest []byte, e kv.Entry) error {
		d, _, err := parseDigest(rest)
		if err != nil {
			return err
		}
		c.report.Manifests++
		m, err := c.readManifest(repository, d)
		if errdefs.IsNotFound(err) {
			return nil // it was removed meanwhile
		}
		if err == nil {
			m, err = registry.ParseManifest(m.Descriptor.MediaType, m.Data, d.Algorithm())
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return c.problem(repository, "bad-manifest", d, "%v", err)
		}
		return c.requires(repository, d, m)
	})
}

// requires looks whether all that a manifest requires is there.
func (c *scrub) requires(repository string, d digest.Digest, m registry.Manifest) error {
	var missing *registry.MissingError
	err := c.complete(repository, m.Requires)
	if !errors.As(err, &missing) {
		return err
	}
	if ok, err := c.has(manifestKey(repository, d)); err != nil || !ok {
		return err // it was removed meanwhile, with what it requires
	}
	for _, r := range m.Requires {
		for _, gone := range missing.Digests {
			if gone != r.Digest {
				continue
			}
			what := "missing-blob"
			if r.Manifest {
				what = "missing-manifest"
			}
			if err := c.problem(repository, what, gone, "manifest %s requires it", d); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *scrub) tagsOf(ctx context.Context, repository string) error {
	return c.each(ctx, newKey(kindTag, repository), func(rest []byte, e kv.Entry) error {
		c.report.Tags++
		tag := string(rest)
		t, err := decodeTag(tag, e.Head)
		if err != nil {
			return c.problem(repository, "bad-tag", "", "tag %s: %v", tag, err)
		}
		if ok, err := c.has(manifestKey(repository, t.Descriptor.Digest)); err != nil || ok {
			return err
		}
		// A tag goes in one step with its manifest.
		if now, ok, err := c.tag(repository, tag); err != nil || !ok || now.Descriptor.Digest != t.Descriptor.Digest {
			return err
		}
		return c.problem(repository, "bad-tag", t.Descriptor.Digest, "tag %s points to a manifest that is not there", tag)
	})
}

// files looks for files that are no blob's.
func (c *scrub) files(ctx context.Context) error {
	return c.walkFiles(ctx, func(path string, d digest.Digest, file string) error {
		stray, err := c.stray(path, d, file)
		if err != nil || !stray {
			return err
		}
		return c.problem("", "stray", d, "%s is no blob's; a sweep removes it", path)
	})
}
