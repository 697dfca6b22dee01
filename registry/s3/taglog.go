package s3

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry"
	"github.com/camada/camada/registry/s3/internal/object"
)

// rollLog moves the oldest moves into an object of their own when there are too many. Which ones go to which object is determined by the log
// alone: so all who do it at once write the same, and it counts when the tag's cell says so.
func (s *Store) rollLog(ctx context.Context, r repo, tag string, t *tagState) error {
	if len(t.Log) <= logMax {
		return nil
	}
	data, err := json.Marshal(t.Log[:logChunk])
	if err != nil {
		return fmt.Errorf("log of the tag %s: %w", tag, err)
	}
	if _, err := s.o.Put(ctx, r.chunk(tag, chunkName(t.Chunks)), data, object.Always()); err != nil {
		return err
	}
	t.Log, t.Chunks = slices.Clone(t.Log[logChunk:]), t.Chunks+1
	return nil
}

func chunkName(n int) string { return fmt.Sprintf("%08d", n) }

// maxChunk bounds what is read as older moves.
const maxChunk = 1 << 20

func (s *Store) readChunk(ctx context.Context, r repo, tag string, n int) ([]entry, error) {
	key := r.chunk(tag, chunkName(n))
	data, _, err := s.o.ReadAll(ctx, key, "", maxChunk)
	if err != nil {
		return nil, err
	}
	var l []entry
	if err := json.Unmarshal(data, &l); err != nil {
		return nil, errdefs.Corrupt("%s: %w", key, err)
	}
	return l, nil
}

// TagLog returns all moves of a tag, the newest first.
func (s *Store) TagLog(ctx context.Context, repository, tag string) ([]registry.LogEntry, error) {
	r, err := s.repo(repository)
	if err != nil {
		return nil, err
	}
	key, err := r.tag(tag)
	if err != nil {
		return nil, err
	}
	_, t, err := s.readTag(ctx, key)
	if err != nil {
		return nil, err
	}
	chunks := make([][]entry, t.Chunks)
	err = each(ctx, t.Chunks, func(ctx context.Context, i int) (err error) {
		chunks[i], err = s.readChunk(ctx, r, tag, i)
		return err
	})
	if err != nil {
		return nil, err
	}
	var log []registry.LogEntry
	for _, c := range append(chunks, t.Log) {
		for _, e := range c {
			log = append(log, e.LogEntry)
		}
	}
	if len(log) == 0 {
		return nil, errdefs.NotFound("repository %s never had a tag %s", repository, tag)
	}
	slices.Reverse(log)
	return log, nil
}

// MoveTag points a tag to a manifest, or removes it.
func (s *Store) MoveTag(ctx context.Context, repository, tag string, mv registry.Move) error {
	r, err := s.repo(repository)
	if err != nil {
		return err
	}
	m, err := s.newMove(r, tag, descriptorOf(mv.To, nil), mv.Expect, mv.Mover)
	if err != nil {
		return err
	}
	if mv.To != "" {
		// Nothing is written for what is not there.
		c, err := s.findManifest(ctx, r, mv.To, false)
		if err != nil {
			return fmt.Errorf("repository %s, tag %s: %w", repository, tag, err)
		}
		m.to = descriptorOf(mv.To, c)
		err = s.point(ctx, r, m)
		if err != nil {
			return fmt.Errorf("repository %s, tag %s: %w", repository, tag, err)
		}
		return nil
	}
	if err := m.finish(ctx); err != nil {
		return fmt.Errorf("repository %s: %w", repository, err)
	}
	return nil
}

// point points a tag to a manifest that is there.
func (s *Store) point(ctx context.Context, r repo, m *move) error {
	for try := 0; ; try++ {
		if err := m.begin(ctx); err != nil {
			return err
		}
		_, err := s.findManifest(ctx, r, m.to.Digest, true)
		if err == nil {
			err = m.finish(ctx)
		}
		if err == nil {
			return nil
		}
		m.drop(ctx)
		if !isBegin(err) || try == 5 {
			return err
		}
	}
}

// ListTags lists the names of tags. A list of keys is enough: it tells which are live.
func (s *Store) ListTags(ctx context.Context, repository, after string, n int) ([]string, error) {
	r, err := s.repo(repository)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, nil
	}
	prefix := r.tags()
	o := object.ListOptions{Prefix: prefix}
	if n > 0 {
		o.Page = n + 1
	}
	if after != "" {
		o.After = prefix + after
	}
	var names []string
	err = s.o.List(ctx, o, func(e object.Entry) (bool, error) {
		if isLive(e) {
			names = append(names, e.Key[len(prefix):])
		}
		return len(names) != n, nil
	})
	return names, err
}
