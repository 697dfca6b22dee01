package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry/s3/internal/object"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// urlLasts is how long the addresses of BlobURL work.
const urlLasts = 10 * time.Minute

// StatBlob tells of a blob.
func (s *Store) StatBlob(ctx context.Context, repository string, dgst digest.Digest) (content.Info, error) {
	r, err := s.repo(repository)
	if err != nil {
		return content.Info{}, err
	}
	c, err := s.link(ctx, r, dgst, false)
	if err != nil {
		return content.Info{}, fmt.Errorf("repository %s: %w", repository, err)
	}
	return infoOf(dgst, c), nil
}

// OpenBlob opens a blob: its bytes are asked for by the first Read, in one request, and by each ReadAt.
func (s *Store) OpenBlob(ctx context.Context, repository string, dgst digest.Digest) (content.Reader, error) {
	r, err := s.repo(repository)
	if err != nil {
		return nil, err
	}
	c, err := s.link(ctx, r, dgst, false)
	if err != nil {
		return nil, fmt.Errorf("repository %s: %w", repository, err)
	}
	if c.ID == "" {
		return &memory{bytes.NewReader(c.body)}, nil
	}
	return &reader{ctx: ctx, o: s.o, key: s.bytesKey(c.ID), size: c.Size}, nil
}

// BlobURL is where the bytes can be had from the object store itself.
func (s *Store) BlobURL(ctx context.Context, repository string, dgst digest.Digest) (string, error) {
	r, err := s.repo(repository)
	if err != nil {
		return "", err
	}
	c, err := s.link(ctx, r, dgst, false)
	if err != nil {
		return "", fmt.Errorf("repository %s: %w", repository, err)
	}
	if c.ID == "" {
		return "", nil
	}
	return s.o.Presign(ctx, s.bytesKey(c.ID), urlLasts)
}

// PutBlob stores a blob. A small one is one request, one that makes no part of an upload is three, and all others are uploads.
func (s *Store) PutBlob(ctx context.Context, repository string, desc ocispec.Descriptor, r io.Reader) error {
	rp, err := s.repo(repository)
	if err != nil {
		return err
	}
	v, err := content.NewVerifyReader(r, desc)
	if err != nil {
		return err
	}
	if desc.Size >= object.MinPart {
		return s.putLarge(ctx, repository, desc, v)
	}
	var buf bytes.Buffer
	_, err = io.Copy(&buf, io.LimitReader(v, object.MinPart))
	if err != nil {
		return fmt.Errorf("blob %s: %w", desc.Digest, err)
	}
	if buf.Len() == object.MinPart {
		return s.putLarge(ctx, repository, desc, io.MultiReader(&buf, v))
	}
	return s.putSmall(ctx, rp, desc.Digest, buf.Bytes())
}

// putLarge stores a blob that is more than one part.
func (s *Store) putLarge(ctx context.Context, repository string, desc ocispec.Descriptor, verified io.Reader) error {
	up, err := s.NewUpload(ctx, repository, desc.Digest.Algorithm())
	if err != nil {
		return err
	}
	defer up.Close()
	if _, err = up.Append(ctx, verified); err == nil {
		_, err = up.Commit(ctx, desc.Digest)
	}
	if err != nil {
		end, cancel := detached(ctx)
		defer cancel()
		return errors.Join(err, up.Cancel(end))
	}
	return nil
}

// putSmall stores bytes that are what the digest names.
func (s *Store) putSmall(ctx context.Context, r repo, d digest.Digest, data []byte) error {
	if len(data) <= inline {
		_, err := s.linkInline(ctx, r, d, data)
		return err
	}
	size := int64(len(data))
	if _, err := s.linkKnown(ctx, r, d, size); err == nil || !errdefs.IsNotFound(err) {
		return err
	}
	return again(ctx, func() error {
		id := newID()
		// The link is there before the bytes are: so a sweep that sees them knows for whom they are.
		held, done, err := s.hold(ctx, r.link(d), size, id)
		if err != nil || done {
			return err
		}
		if _, err = s.o.Put(ctx, s.bytesKey(id), data, object.Always()); err != nil {
			return err
		}
		if err = s.noteWhere(ctx, d, id); err != nil {
			return err
		}
		if _, err = s.set(ctx, held, live); err != nil {
			_ = s.o.Delete(ctx, s.bytesKey(id)) // nobody else knows them; a sweep does it otherwise
		}
		return err
	})
}

// MountBlob makes a blob of one repository one of another's.
func (s *Store) MountBlob(ctx context.Context, repository, from string, dgst digest.Digest) error {
	to, err := s.repo(repository)
	if err != nil {
		return err
	}
	other, err := s.repo(from)
	if err != nil {
		return err
	}
	c, err := s.link(ctx, other, dgst, false)
	if err == nil {
		if c.ID == "" {
			_, err = s.linkInline(ctx, to, dgst, c.body)
		} else {
			_, err = s.linkTo(ctx, to, dgst, c.Size, c.ID)
		}
	}
	if err != nil {
		return fmt.Errorf("mount from repository %s: %w", from, err)
	}
	return nil
}

// DeleteBlob takes a blob out of a repository. It is marked before it is looked whether a manifest requires it: a manifest that comes
// meanwhile takes the mark away, and then it stays.
func (s *Store) DeleteBlob(ctx context.Context, repository string, dgst digest.Digest) error {
	r, err := s.repo(repository)
	if err != nil {
		return err
	}
	return again(ctx, func() error {
		c, err := s.find(ctx, r.link(dgst))
		if err != nil {
			return err
		}
		if c == nil || !c.State.visible() {
			return errdefs.NotFound("repository %s: blob %s is not in the repository", repository, dgst)
		}
		if c, err = s.set(ctx, c, leaving); err != nil {
			return err
		}
		by, err := s.requiredBy(ctx, r, dgst)
		if err == nil && by == "" {
			_, err = s.write(ctx, c.key, c, head{State: deleted, Size: c.Size, ID: c.ID}, nil)
			return err
		}
		end, cancel := detached(ctx)
		defer cancel()
		if _, e := s.set(end, c, live); e != nil && !errdefs.IsConflict(e) {
			err = errors.Join(err, e)
		}
		if err == nil {
			err = finalError{errdefs.Conflict("repository %s: blob %s is required by the manifest %s", repository, dgst, by)}
		}
		return err
	})
}

// memory is a blob that came with its link.
type memory struct{ *bytes.Reader }

func (memory) Close() error { return nil }
