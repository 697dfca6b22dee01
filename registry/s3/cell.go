package s3

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry/s3/internal/object"
	"github.com/opencontainers/go-digest"
)

// state of a cell.
type state string

const (
	// live: it is there.
	live state = "live"
	// pending: it will be there when what it needs was found. Nobody sees it, but a sweep keeps what it needs.
	pending state = "pending"
	// condemned: it is there, and a sweep takes it away after the grace time. Who tells somebody of it makes it live again before.
	condemned state = "condemned"
	// leaving: it is there, and is being deleted by somebody who still looks whether it may be. Who comes to need it makes it live again.
	leaving state = "leaving"
	// deleted: it is not there. Whoever wants to may write over it.
	deleted state = "deleted"
	// dead: it is not there, and the object is being removed. Nobody may write over it, see deadFor.
	dead state = "dead"
)

// visible reports whether somebody who asks is told of a cell in the state.
func (s state) visible() bool { return s == live || s == condemned || s == leaving }

// needs reports whether a cell in the state keeps what it needs.
func (s state) needs() bool { return s.visible() || s == pending }

// deadFor is how long nobody writes over a dead cell, as the removal of the object has no condition and may be under way. It is signed at most removeWithin
// after the cell died, and no store accepts a signature that is older than 15 minutes.
const (
	deadFor      = 20 * time.Minute
	removeWithin = time.Minute
)

// head is the first line of a cell.
type head struct {
	// Nonce makes each version's bytes, and so its ETag, another.
	Nonce string `json:"nonce"`
	State state  `json:"state"`
	// Pushed is when it came to be live for the first time.
	Pushed time.Time `json:"pushed,omitzero"`
	// Size is a blob's size.
	Size int64 `json:"size,omitempty"`
	// ID is where a blob's bytes are; "" is the cell's body.
	ID string `json:"id,omitempty"`
	// MediaType is a manifest's, and Subject what it refers to.
	MediaType string        `json:"mediaType,omitempty"`
	Subject   digest.Digest `json:"subject,omitempty"`
}

// cell is one version of an object that changes. It is not changed in memory: others may have it, too.
type cell struct {
	head

	key, etag string
	modified  time.Time
	body      []byte
}

// maxCell bounds what is read as a cell: a manifest, or the state of an upload with 10,000 parts.
const maxCell = 12 << 20

// encode writes a cell. Its length is even when it is live, and odd otherwise: so a list of keys tells it, too.
func encode(h head, body []byte) ([]byte, error) {
	line, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("write the state of an object: %w", err)
	}
	if even := (len(line)+1+len(body))%2 == 0; even != (h.State == live) {
		line = append(line, ' ')
	}
	return append(append(line, '\n'), body...), nil
}

// isLive tells from a list whether a cell is live.
func isLive(e object.Entry) bool { return e.Size%2 == 0 }

// decode reads a cell.
func decode(key string, data []byte) (head, []byte, error) {
	line, body, ok := bytes.Cut(data, []byte("\n"))
	var h head
	if !ok {
		return h, nil, errdefs.Corrupt("%s is not as it was written", key)
	}
	if err := json.Unmarshal(line, &h); err != nil {
		return h, nil, errdefs.Corrupt("%s is not as it was written: %w", key, err)
	}
	if h.Nonce == "" || h.Size < 0 {
		return h, nil, errdefs.Corrupt("%s is not as it was written", key)
	}
	return h, body, nil
}

// read reads a cell as it is now; ErrNotFound when there is none.
func (s *Store) read(ctx context.Context, key string) (*cell, error) {
	known := s.cache.get(key)
	etag := ""
	if known != nil {
		etag = known.etag
	}
	data, info, err := s.o.ReadAll(ctx, key, etag, maxCell)
	if known != nil && errdefs.IsConflict(err) {
		return known, nil
	}
	if err != nil {
		return nil, err
	}
	c, err := s.parse(key, data, info)
	if err == nil {
		s.cache.add(c)
	}
	return c, err
}

// readListed reads a cell that a list has just shown, or takes it from memory when it is still the same.
func (s *Store) readListed(ctx context.Context, e object.Entry) (*cell, error) {
	if known := s.cache.get(e.Key); known != nil && known.etag == e.ETag {
		return known, nil
	}
	return s.read(ctx, e.Key)
}

func (s *Store) parse(key string, data []byte, info object.Info) (*cell, error) {
	h, body, err := decode(key, data)
	if err != nil {
		return nil, err
	}
	return &cell{head: h, key: key, etag: info.ETag, modified: info.Modified, body: body}, nil
}

// write makes the next version of a cell: after old, or the first one when old is nil. It is ErrConflict when somebody else was faster.
func (s *Store) write(ctx context.Context, key string, old *cell, h head, body []byte) (*cell, error) {
	h.Nonce = newID()[:16]
	data, err := encode(h, body)
	if err != nil {
		return nil, err
	}
	cond := object.IfAbsent()
	if old != nil {
		cond = object.IfMatch(old.etag)
	}
	etag, err := s.o.Put(ctx, key, data, cond)
	if err == nil {
		c := &cell{head: h, key: key, etag: etag, modified: s.o.Now(), body: body}
		s.cache.add(c)
		return c, nil
	}
	if old != nil && errdefs.IsNotFound(err) {
		err = errdefs.Conflict("%s was removed: %w", key, err)
	}
	if !errdefs.IsConflict(err) && !errdefs.IsUnavailable(err) {
		return nil, err
	}
	// It may be that we won and the answer was lost.
	if now, e := s.read(ctx, key); e == nil && now.Nonce == h.Nonce {
		return now, nil
	}
	return nil, err
}

// set writes the next version of a cell with another state.
func (s *Store) set(ctx context.Context, c *cell, to state) (*cell, error) {
	h := c.head
	h.State = to
	return s.write(ctx, c.key, c, h, c.body)
}

// tries bounds how often something is begun again because others were faster.
const tries = 100

// again calls fn until it is not ErrConflict, with growing pauses of random length: of those who collide, one wins each time.
func again(ctx context.Context, fn func() error) error {
	for try := 0; ; try++ {
		err := fn()
		switch {
		case err == nil || !errdefs.IsConflict(err) || isFinal(err):
			return unfinal(err)
		case try == tries:
			return errdefs.Unavailable("others were faster %d times: %v", tries, err)
		case try == 0:
			continue
		}
		select {
		case <-time.After(rand.N(min(time.Duration(2<<min(try, 10))*time.Millisecond, 250*time.Millisecond))):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// ignoreConflict is nil when somebody else was faster.
func ignoreConflict(err error) error {
	if errdefs.IsConflict(err) {
		return nil
	}
	return err
}

// finalError is a conflict that lasts.
type finalError struct{ error }

func (e finalError) Unwrap() error { return e.error }

func isFinal(err error) bool { _, ok := err.(finalError); return ok } //nolint:errorlint // it is never wrapped

func unfinal(err error) error {
	if f, ok := err.(finalError); ok { //nolint:errorlint // it is never wrapped
		return f.error
	}
	return err
}

// overDead waits until a dead cell is gone. It is nil when the cell may be written over or is gone, and others have changed what they want.
func (s *Store) overDead(ctx context.Context, c *cell) (*cell, error) {
	end := time.Now().Add(5 * time.Second)
	for c != nil && c.State == dead && s.o.Now().Sub(c.modified) < deadFor {
		if time.Now().After(end) {
			return nil, errdefs.Unavailable("%s is being removed by a sweep that did not come to its end; try again in %s", c.key, deadFor)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		var err error
		if c, err = s.find(ctx, c.key); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// find is read for what may not be there: then it is nil.
func (s *Store) find(ctx context.Context, key string) (*cell, error) {
	c, err := s.read(ctx, key)
	if errdefs.IsNotFound(err) {
		return nil, nil
	}
	return c, err
}

// remove takes a cell away for good: it dies first, which only one of those who want to change it can bring about.
func (s *Store) remove(ctx context.Context, c *cell) error {
	if _, err := s.write(ctx, c.key, c, head{State: dead}, nil); err != nil {
		return err
	}
	return s.bury(ctx, c.key, time.Now())
}

// bury removes the object of a cell that died at a time.
func (s *Store) bury(ctx context.Context, key string, died time.Time) error {
	ctx, cancel := context.WithDeadline(ctx, died.Add(removeWithin))
	defer cancel()
	s.cache.drop(key)
	return s.o.Delete(ctx, key)
}
