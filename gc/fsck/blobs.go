package fsck

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/progress"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// parallel is how many blobs are verified at once: one reads while one hashes.
const parallel = 2

// blobs verifies the bytes of all blobs.
func (c *check) blobs(ctx context.Context) error {
	if err := c.strays(); err != nil {
		return err
	}
	if c.opts.Quick {
		return nil
	}
	var all []content.Info
	var total int64
	err := c.s.Blobs.Walk(ctx, func(i content.Info) error {
		all = append(all, i)
		total += i.Size
		return nil
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	work := make(chan content.Info)
	errs := make(chan error, parallel)
	for range parallel {
		go func() {
			var err error
			for i := range work {
				if err == nil {
					if err = c.verify(ctx, i, total); err != nil {
						cancel()
					}
				}
			}
			errs <- err
		}()
	}
	for _, i := range all {
		work <- i
	}
	close(work)
	err = nil
	for range parallel {
		err = errors.Join(err, <-errs)
	}
	return err
}

// verify reads one blob.
func (c *check) verify(ctx context.Context, i content.Info, total int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := verifyBlob(ctx, c.s.Blobs, i.Digest)
	if errdefs.IsNotFound(err) {
		return nil // collected meanwhile
	}
	if errdefs.IsCorrupt(err) {
		rel := filepath.Join("blobs", string(i.Digest.Algorithm()), i.Digest.Encoded())
		p := Problem{Kind: BadBlob, Path: rel, Detail: err.Error(), Advice: "--repair moves it to lost+found; then pull or build what needs it again"}
		c.repair(p, func() error { return c.keep(rel) })
	} else if err != nil {
		return err
	}
	c.mu.Lock()
	c.rep.Blobs++
	c.rep.Bytes += i.Size
	done := c.rep.Bytes
	c.mu.Unlock()
	progress.Or(c.opts.Progress).Emit(progress.Event{ID: "fsck", Name: "verify blobs", Current: done, Total: total})
	return nil
}

// strays reports files among the blobs that are none.
func (c *check) strays() error {
	base := filepath.Join(c.s.Root, "blobs")
	algorithms, err := os.ReadDir(base)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, alg := range algorithms {
		entries, err := os.ReadDir(filepath.Join(base, alg.Name()))
		if err != nil && alg.IsDir() {
			return err
		}
		if err != nil {
			entries = []os.DirEntry{alg}
		}
		for _, e := range entries {
			d := digest.NewDigestFromEncoded(digest.Algorithm(alg.Name()), e.Name())
			if e.Type().IsRegular() && content.CheckDigest(d) == nil {
				continue
			}
			rel := filepath.Join("blobs", alg.Name(), e.Name())
			if !alg.IsDir() {
				rel = filepath.Join("blobs", alg.Name())
			}
			c.repair(Problem{Kind: StrayFile, Path: rel, Detail: "it is no blob", Advice: "--repair moves it to lost+found"},
				func() error { return c.keep(rel) })
		}
	}
	return nil
}

// verifyBlob reads a blob to its end.
func verifyBlob(ctx context.Context, p content.Provider, d digest.Digest) error {
	r, err := p.Open(ctx, ocispec.Descriptor{Digest: d, Size: -1})
	if err != nil {
		return err
	}
	defer r.Close()
	v, err := content.NewVerifyReader(r, ocispec.Descriptor{Digest: d, Size: r.Size()})
	if err != nil {
		return err
	}
	buf := make([]byte, 256<<10)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := v.Read(buf); err != nil {
			if errdefs.IsCorrupt(err) {
				return err
			}
			if errors.Is(err, io.EOF) {
				return nil
			}
			return fmt.Errorf("read blob %s: %w", d, err)
		}
	}
}
