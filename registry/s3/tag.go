package s3

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// tagState is the body of a tag's cell: where it points, and its log. Both move in one write. The cell is live when it points anywhere, and stays when it does not.
type tagState struct {
	Descriptor ocispec.Descriptor `json:"descriptor,omitzero"`
	Updated    time.Time          `json:"updated,omitzero"`
	// Log are the last moves, the oldest first; Chunks is how many objects have older ones.
	Log    []entry `json:"log,omitempty"`
	Chunks int     `json:"chunks,omitempty"`
	// Next are the manifests that writers are about to point the tag to: nobody deletes them, and no sweep takes them.
	Next []intent `json:"next,omitempty"`
}

// entry is a move, with a name by which its writer finds it.
type entry struct {
	registry.LogEntry

	ID string `json:"id"`
}

// intent is a move that its writer is about to make.
type intent struct {
	ID string        `json:"id"`
	To digest.Digest `json:"to"`
	At time.Time     `json:"at"`
}

// The log in a tag's cell has at most logMax moves; the oldest logChunk of them then become an object of their own.
const (
	logMax   = 40
	logChunk = 20
	// maxChunks is more than a tag ever has: the names of these objects have eight digits.
	maxChunks = 99_999_999
	// intentLasts is after how long an intent is of somebody who will not come back.
	intentLasts = 10 * time.Minute
)

func tagOf(c *cell) (tagState, error) {
	var t tagState
	if c == nil || c.State == dead {
		return t, nil
	}
	if err := json.Unmarshal(c.body, &t); err != nil {
		return t, errdefs.Corrupt("%s: %w", c.key, err)
	}
	if t.Chunks < 0 || t.Chunks > maxChunks {
		return t, errdefs.Corrupt("%s: a log in %d parts", c.key, t.Chunks)
	}
	return t, nil
}

// target is what the tag points to; "" for nothing.
func (t *tagState) target() digest.Digest { return t.Descriptor.Digest }

// saveTag writes the next version of a tag.
func (s *Store) saveTag(ctx context.Context, key string, old *cell, t tagState) error {
	now := s.o.Now()
	t.Next = slices.DeleteFunc(slices.Clone(t.Next), func(i intent) bool { return now.Sub(i.At) > intentLasts })
	body, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("tag: %w", err)
	}
	st := live
	if t.target() == "" {
		st = deleted
	}
	_, err = s.write(ctx, key, old, head{State: st}, body)
	return err
}

// readTag reads a tag as it is now; the cell is nil when there never was one.
func (s *Store) readTag(ctx context.Context, key string) (*cell, tagState, error) {
	c, err := s.find(ctx, key)
	if err != nil {
		return nil, tagState{}, err
	}
	t, err := tagOf(c)
	return c, t, err
}

// openTag is readTag for who will write: one that a sweep is removing is waited for.
func (s *Store) openTag(ctx context.Context, key string) (*cell, tagState, error) {
	c, err := s.find(ctx, key)
	if err == nil {
		c, err = s.overDead(ctx, c)
	}
	if err != nil {
		return nil, tagState{}, err
	}
	t, err := tagOf(c)
	return c, t, err
}

// Tag tells what a tag points to.
func (s *Store) Tag(ctx context.Context, repository, tag string) (registry.Tag, error) {
	r, err := s.repo(repository)
	if err != nil {
		return registry.Tag{}, err
	}
	key, err := r.tag(tag)
	if err != nil {
		return registry.Tag{}, err
	}
	_, t, err := s.readTag(ctx, key)
	if err != nil {
		return registry.Tag{}, err
	}
	if t.target() == "" {
		return registry.Tag{}, errdefs.NotFound("repository %s has no tag %s", repository, tag)
	}
	return registry.Tag{Name: tag, Descriptor: t.Descriptor, Updated: t.Updated}, nil
}

// move is one move of a tag, under way.
type move struct {
	s      *Store
	repo   repo
	tag    string
	key    string
	id     string
	to     ocispec.Descriptor
	expect *digest.Digest
	by     registry.Mover
	// stays says that the tag pointed there when the move began.
	stays bool
	// tried says that a write may have happened.
	tried bool
}

func (s *Store) newMove(r repo, tag string, to ocispec.Descriptor, expect *digest.Digest, by registry.Mover) (*move, error) {
	key, err := r.tag(tag)
	if err != nil {
		return nil, err
	}
	return &move{s: s, repo: r, tag: tag, key: key, id: newID()[:16], to: to, expect: expect, by: by}, nil
}

// check is a conflict that lasts when the tag is not what the mover expects.
func (m *move) check(t tagState) error {
	if m.expect == nil || *m.expect == t.target() {
		return nil
	}
	is := string(t.target())
	if is == "" {
		is = "nothing"
	}
	return finalError{errdefs.Conflict("tag %s points to %s", m.tag, is)}
}

// begin writes down that the tag will point to the manifest, so that the manifest stays.
func (m *move) begin(ctx context.Context) error {
	return again(ctx, func() error {
		c, t, err := m.s.openTag(ctx, m.key)
		if err != nil {
			return err
		}
		if err := m.check(t); err != nil {
			return err
		}
		if m.stays = t.target() == m.to.Digest; m.stays {
			return nil
		}
		if slices.ContainsFunc(t.Next, func(i intent) bool { return i.ID == m.id }) {
			return nil
		}
		t.Next = append(slices.Clone(t.Next), intent{ID: m.id, To: m.to.Digest, At: m.s.o.Now().UTC()})
		return m.s.saveTag(ctx, m.key, c, t)
	})
}

// errBegin says that the intent is gone, and with it what made sure that the manifest stays.
type errBegin struct{}

func (errBegin) Error() string { return "the manifest was deleted meanwhile" }
func (errBegin) Unwrap() error { return errdefs.ErrConflict }

// finish points the tag to the manifest; to nothing when there is none. It is errBegin when somebody else took the intent away.
func (m *move) finish(ctx context.Context) error {
	if m.stays {
		return nil
	}
	return again(ctx, func() error {
		c, t, err := m.s.openTag(ctx, m.key)
		if err != nil {
			return err
		}
		// An answer may have been lost, and others moved the tag since.
		if done, err := m.done(ctx, t); done || err != nil {
			return err
		}
		if err := m.check(t); err != nil {
			return err
		}
		if m.to.Digest == "" && t.target() == "" {
			return errdefs.NotFound("there is no tag %s", m.tag)
		}
		if m.to.Digest != "" && !slices.ContainsFunc(t.Next, func(i intent) bool { return i.ID == m.id }) {
			return finalError{errBegin{}}
		}
		now := m.s.o.Now().UTC()
		if n := len(t.Log); n > 0 && !now.After(t.Log[n-1].Time) {
			now = t.Log[n-1].Time.Add(1) // the clocks of replicas differ
		}
		t.Next = slices.DeleteFunc(slices.Clone(t.Next), func(i intent) bool { return i.ID == m.id })
		if t.target() != m.to.Digest {
			t.Log = append(slices.Clone(t.Log), entry{registry.LogEntry{Time: now, From: t.target(), To: m.to.Digest, Verb: m.by.Verb, Who: m.by.Who}, m.id})
			t.Descriptor, t.Updated = m.to, now
		}
		if err := m.s.rollLog(ctx, m.repo, m.tag, &t); err != nil {
			return err
		}
		m.tried = true
		return m.s.saveTag(ctx, m.key, c, t)
	})
}

// done reports whether the log has the move.
func (m *move) done(ctx context.Context, t tagState) (bool, error) {
	ours := func(e entry) bool { return e.ID == m.id }
	if !m.tried || slices.ContainsFunc(t.Log, ours) {
		return m.tried, nil
	}
	for i := t.Chunks - 1; i >= 0 && i >= t.Chunks-2; i-- {
		c, err := m.s.readChunk(ctx, m.repo, m.tag, i)
		if err != nil || slices.ContainsFunc(c, ours) {
			return err == nil, err
		}
	}
	return false, nil
}

// drop takes the intent back.
func (m *move) drop(ctx context.Context) {
	ctx, cancel := detached(ctx)
	defer cancel()
	// It would end by itself, and harms nothing until then.
	_ = m.s.dropIntents(ctx, m.key, func(i intent) bool { return i.ID == m.id })
}

// dropIntents takes intents away.
func (s *Store) dropIntents(ctx context.Context, key string, which func(intent) bool) error {
	return again(ctx, func() error {
		c, t, err := s.openTag(ctx, key)
		if err != nil || !slices.ContainsFunc(t.Next, which) {
			return err
		}
		t.Next = slices.DeleteFunc(slices.Clone(t.Next), which)
		return s.saveTag(ctx, key, c, t)
	})
}
