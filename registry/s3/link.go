package s3

import (
	"context"
	"time"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry/s3/internal/object"
	"github.com/opencontainers/go-digest"
)

// inline is how large a blob may be to lie in its link: then it is written and read with one request.
const inline = 16 << 10

func (s *Store) bytesKey(id string) string       { return s.prefix + "b/" + id }
func (s *Store) condemnedKey(id string) string   { return s.prefix + "x/" + id }
func (s *Store) whereKey(d digest.Digest) string { return s.prefix + "d/" + encodeDigest(d) + "/" }

// link finds the link of a blob, for somebody who is told that the blob is there: a sweep that has condemned it begins its grace time again. With
// need, it is for something that will lead to the blob, and who is deleting it is stopped, too.
func (s *Store) link(ctx context.Context, r repo, d digest.Digest, need bool) (*cell, error) {
	return s.look(ctx, r.link(d), need, func() error { return errdefs.NotFound("blob %s is not in the repository", d) })
}

// look finds a cell that is visible, see link.
func (s *Store) look(ctx context.Context, key string, need bool, missing func() error) (*cell, error) {
	var found *cell
	err := again(ctx, func() error {
		c, err := s.find(ctx, key)
		switch {
		case err != nil:
			return err
		case c == nil || !c.State.visible():
			return missing()
		case c.State == condemned || need && c.State == leaving:
			if c, err = s.set(ctx, c, live); err != nil {
				return err
			}
		}
		found = c
		return nil
	})
	return found, err
}

// infoOf tells of a blob by its link.
func infoOf(d digest.Digest, c *cell) content.Info {
	return content.Info{Digest: d, Size: c.Size, ModTime: c.Pushed}
}

// WalkBlobs calls fn for each blob.
func (s *Store) WalkBlobs(ctx context.Context, repository string, fn func(content.Info) error) error {
	r, err := s.repo(repository)
	if err != nil {
		return err
	}
	return s.walkCells(ctx, r.links(), func(c *cell) error {
		d := decodeDigest(base(c.key))
		if d == "" || !c.State.visible() {
			return nil
		}
		return fn(infoOf(d, c))
	})
}

// linkInline makes a small blob one of a repository's.
func (s *Store) linkInline(ctx context.Context, r repo, d digest.Digest, data []byte) (*cell, error) {
	h := head{State: live, Pushed: s.o.Now().UTC(), Size: int64(len(data))}
	return s.link1(ctx, r.link(d), h, data, nil)
}

// link1 makes a link live that needs nothing else. held, when not nil, is the link in the state that makes the writer sure of its bytes: when it has
// changed meanwhile, it is ErrConflict.
func (s *Store) link1(ctx context.Context, key string, h head, body []byte, held *cell) (*cell, error) {
	if held != nil {
		return s.write(ctx, key, held, h, body)
	}
	// Mostly there is no such link; then one request does.
	if c, err := s.write(ctx, key, nil, h, body); err == nil || !errdefs.IsConflict(err) {
		return c, err
	}
	var made *cell
	err := again(ctx, func() error {
		c, err := s.find(ctx, key)
		if err != nil {
			return err
		}
		if c, err = s.overDead(ctx, c); err != nil {
			return err
		}
		switch {
		case c != nil && c.State == live:
			made = c
			return nil
		case c != nil && c.State.visible():
			made, err = s.set(ctx, c, live)
		default:
			made, err = s.write(ctx, key, c, h, body)
		}
		return err
	})
	return made, err
}

// linkTo makes a blob one of a repository's whose bytes are at an id that nothing holds for us; ErrNotFound when they are condemned or gone.
// First the link is written so that a sweep sees it, and then it is looked whether a sweep was faster.
func (s *Store) linkTo(ctx context.Context, r repo, d digest.Digest, size int64, id string) (*cell, error) {
	var made *cell
	err := again(ctx, func() error {
		held, done, err := s.hold(ctx, r.link(d), size, id)
		if err != nil || done {
			made = held
			return err
		}
		if err := s.sure(ctx, id); err != nil {
			if errdefs.IsNotFound(err) {
				_, _ = s.set(ctx, held, deleted) // a sweep does it otherwise
			}
			return err
		}
		made, err = s.set(ctx, held, live)
		return err
	})
	return made, err
}

// pendingFor is how long a link may be on its way in before somebody else begins it again.
const pendingFor = 3 * time.Second

// hold writes a link that is pending; done says that there is one already that somebody may be told of.
func (s *Store) hold(ctx context.Context, key string, size int64, id string) (held *cell, done bool, err error) {
	h := head{State: pending, Pushed: s.o.Now().UTC(), Size: size, ID: id}
	c, err := s.find(ctx, key)
	for c != nil && err == nil && c.State == pending && s.o.Now().Sub(c.modified) < pendingFor {
		// Somebody else is about to make the same link.
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return nil, false, context.Cause(ctx)
		}
		c, err = s.find(ctx, key)
	}
	if err != nil {
		return nil, false, err
	}
	if c, err = s.overDead(ctx, c); err != nil {
		return nil, false, err
	}
	switch {
	case c != nil && c.State == live:
		return c, true, nil
	case c != nil && c.State.visible():
		c, err = s.set(ctx, c, live)
		return c, true, err
	}
	held, err = s.write(ctx, key, c, h, nil)
	return held, false, err
}

// sure is nil when the bytes are there and not condemned, in this order: condemned bytes lose the mark only after they are gone.
func (s *Store) sure(ctx context.Context, id string) error {
	_, err := s.o.Head(ctx, s.condemnedKey(id))
	if err == nil {
		return errdefs.NotFound("the bytes at %s are being removed", id)
	}
	if !errdefs.IsNotFound(err) {
		return err
	}
	_, err = s.o.Head(ctx, s.bytesKey(id))
	return err
}

// linkKnown makes a blob one of a repository's whose bytes are there already, for another repository; ErrNotFound when they are not.
func (s *Store) linkKnown(ctx context.Context, r repo, d digest.Digest, size int64) (*cell, error) {
	var ids []string
	where := s.whereKey(d)
	err := s.o.List(ctx, object.ListOptions{Prefix: where, Page: 10}, func(e object.Entry) (bool, error) {
		ids = append(ids, e.Key[len(where):])
		return len(ids) < 10, nil
	})
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		c, err := s.linkTo(ctx, r, d, size, id)
		if err == nil || !errdefs.IsNotFound(err) {
			return c, err
		}
	}
	return nil, errdefs.NotFound("no other repository has %s", d)
}

// noteWhere notes where the bytes of a digest are, so that they need not be kept twice.
func (s *Store) noteWhere(ctx context.Context, d digest.Digest, id string) error {
	_, err := s.o.Put(ctx, s.whereKey(d)+id, nil, object.Always())
	return err
}

// detached is a context for what must still be done when the caller's has ended, and its end.
func detached(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
}
