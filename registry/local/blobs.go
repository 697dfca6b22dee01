package local

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry/local/kv"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// touchEvery is how old the note may be that a blob was asked for before a new one is written.
const touchEvery = time.Second

// blob finds a blob of a repository.
func (s *Store) blob(repository string, d digest.Digest) (link kv.Entry, c stored, err error) {
	if err := content.CheckDigest(d); err != nil {
		return link, c, err
	}
	link, ok, err := s.db.Get(blobKey(repository, d))
	if err == nil && ok {
		c, ok, err = s.content(d)
	}
	if err == nil && !ok {
		err = errdefs.NotFound("blob %s is not in repository %s", d, repository)
	}
	return link, c, err
}

// StatBlob tells of a blob.
func (s *Store) StatBlob(ctx context.Context, repository string, d digest.Digest) (content.Info, error) {
	if err := ctx.Err(); err != nil {
		return content.Info{}, err
	}
	link, c, err := s.touch(repository, d)
	if err != nil {
		return content.Info{}, err
	}
	return content.Info{Digest: d, Size: c.size, ModTime: c.at}, s.db.Settle(link)
}

// touch finds a blob and notes that it was asked for.
func (s *Store) touch(repository string, d digest.Digest) (kv.Entry, stored, error) {
	s.mutex.RLock()
	defer s.mutex.RUnlock()
	link, c, err := s.blob(repository, d)
	if err == nil && s.now().Sub(stamp(link)) > touchEvery {
		var b kv.Batch
		b.Put(link.Key, fields(nil).time(s.now()))
		_, err = s.db.Write(&b)
	}
	return link, c, err
}

// stamp is when a blob was last pushed, mounted or asked for.
func stamp(link kv.Entry) time.Time {
	v := scanner{rest: link.Head}
	return v.time()
}

// OpenBlob opens a blob.
func (s *Store) OpenBlob(ctx context.Context, repository string, d digest.Digest) (content.Reader, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	link, c, err := s.blob(repository, d)
	if err != nil {
		return nil, err
	}
	if err := s.db.Settle(link); err != nil {
		return nil, err
	}
	return s.open(d, c)
}

// PutBlob stores a blob.
func (s *Store) PutBlob(ctx context.Context, repository string, desc ocispec.Descriptor, r io.Reader) error {
	if err := content.CheckDigest(desc.Digest); err != nil {
		return err
	}
	in := s.newIncoming(filepath.Join(s.root, "uploads", "t-"+rand.Text()), desc.Digest.Algorithm())
	published := false
	defer func() { in.drop(published) }()
	if _, err := in.append(&contextReader{ctx: ctx, r: r}); err != nil {
		return fmt.Errorf("store blob %s: %w", desc.Digest, err)
	}
	if desc.Size >= 0 && in.size != desc.Size {
		return errdefs.Corrupt("store blob %s: %d bytes came instead of %d", desc.Digest, in.size, desc.Size)
	}
	if err := in.verify(desc.Digest); err != nil {
		return fmt.Errorf("store blob %s: %w", desc.Digest, err)
	}
	_, err := s.publish(ctx, repository, desc.Digest, in, &kv.Batch{})
	published = err == nil && in.named
	return err
}

// MountBlob makes a blob of one repository one of another too.
func (s *Store) MountBlob(ctx context.Context, repository, from string, d digest.Digest) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mutex.RLock()
	_, _, err := s.blob(from, d)
	var seq uint64
	if err == nil {
		var b kv.Batch
		if err = s.addBlob(&b, repository, d); err == nil {
			seq, err = s.db.Write(&b)
		}
	}
	s.mutex.RUnlock()
	if err != nil {
		return err
	}
	return s.db.Sync(seq)
}

// DeleteBlob takes a blob out of a repository.
func (s *Store) DeleteBlob(ctx context.Context, repository string, d digest.Digest) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := content.CheckDigest(d); err != nil {
		return err
	}
	s.mutex.Lock()
	seq, err := s.deleteBlob(repository, d)
	s.mutex.Unlock()
	if err != nil {
		return err
	}
	return s.db.Sync(seq)
}

func (s *Store) deleteBlob(repository string, d digest.Digest) (uint64, error) {
	ok, err := s.has(blobKey(repository, d))
	if err != nil {
		return 0, err
	}
	if !ok {
		return 0, errdefs.NotFound("blob %s is not in repository %s", d, repository)
	}
	required, err := s.any(newKey(kindRequired, repository).digest(d))
	if err != nil {
		return 0, err
	}
	if required {
		return 0, errdefs.Conflict("blob %s is required by a manifest of repository %s; delete that first", d, repository)
	}
	var b kv.Batch
	if err := s.removeBlob(&b, repository, d); err != nil {
		return 0, err
	}
	return s.db.Write(&b)
}

// removeBlob adds what takes a blob out of a repository; the bytes stay in it when they are a manifest as well.
func (s *Store) removeBlob(b *kv.Batch, repository string, d digest.Digest) error {
	b.Delete(blobKey(repository, d))
	also, err := s.has(manifestKey(repository, d))
	if err == nil && !also {
		b.Delete(userKey(d, repository))
	}
	return err
}

// WalkBlobs calls fn for each blob.
func (s *Store) WalkBlobs(ctx context.Context, repository string, fn func(content.Info) error) error {
	return s.each(ctx, newKey(kindBlob, repository), func(rest []byte, _ kv.Entry) error {
		d, _, err := parseDigest(rest)
		if err != nil {
			return err
		}
		c, ok, err := s.content(d)
		if err != nil || !ok {
			return err
		}
		return fn(content.Info{Digest: d, Size: c.size, ModTime: c.at})
	})
}

// contextReader ends with its context.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
