package local

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"time"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry"
	"github.com/camada/camada/registry/local/kv"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func encodeTag(t registry.Tag) []byte {
	return fields(nil).digest(t.Descriptor.Digest).text(t.Descriptor.MediaType).number(t.Descriptor.Size).time(t.Updated)
}

func decodeTag(name string, b []byte) (registry.Tag, error) {
	s := scanner{rest: b}
	t := registry.Tag{Name: name}
	t.Descriptor = ocispec.Descriptor{Digest: s.digest(), MediaType: s.text(), Size: s.number()}
	t.Updated = s.time()
	if t.Descriptor.Digest == "" {
		s.bad = true
	}
	return t, s.err("a tag")
}

// tag finds a tag; false when there is none.
func (s *Store) tag(repository, tag string) (registry.Tag, bool, error) {
	t, _, ok, err := s.tagEntry(repository, tag)
	return t, ok, err
}

func (s *Store) tagEntry(repository, tag string) (registry.Tag, kv.Entry, bool, error) {
	e, ok, err := s.db.Get(tagKey(repository, tag))
	if !ok || err != nil {
		return registry.Tag{}, e, false, err
	}
	t, err := decodeTag(tag, e.Head)
	return t, e, err == nil, err
}

// Tag tells what a tag points to.
func (s *Store) Tag(ctx context.Context, repository, tag string) (registry.Tag, error) {
	if err := ctx.Err(); err != nil {
		return registry.Tag{}, err
	}
	t, e, ok, err := s.tagEntry(repository, tag)
	if err == nil && !ok {
		err = noTag(repository, tag)
	}
	if err == nil {
		err = s.db.Settle(e)
	}
	return t, err
}

func noTag(repository, tag string) error {
	return errdefs.NotFound("repository %s has no tag %s", repository, tag)
}

// ListTags lists tags.
func (s *Store) ListTags(ctx context.Context, repository, after string, n int) ([]string, error) {
	return s.list(ctx, newKey(kindTag, repository), after, n)
}

// MoveTag moves or removes a tag.
func (s *Store) MoveTag(ctx context.Context, repository, tag string, m registry.Move) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if m.To != "" {
		if err := content.CheckDigest(m.To); err != nil {
			return err
		}
	}
	unlock := s.tags.lock(tagNames(repository, []string{tag})...)
	s.mutex.RLock()
	seq, err := s.moveTagTo(repository, tag, m)
	s.mutex.RUnlock()
	unlock()
	if err != nil {
		return err
	}
	return s.db.Sync(seq)
}

func (s *Store) moveTagTo(repository, tag string, m registry.Move) (uint64, error) {
	var to ocispec.Descriptor
	if m.To != "" {
		entry, ok, err := s.manifest(repository, m.To)
		if err != nil {
			return 0, err
		}
		if !ok {
			return 0, noManifest(repository, m.To)
		}
		to = ocispec.Descriptor{MediaType: entry.mediaType, Digest: m.To, Size: entry.size}
	}
	var b kv.Batch
	if err := s.moveTag(&b, repository, tag, to, m); err != nil {
		return 0, err
	}
	s.changes.note(repository)
	return s.db.Write(&b)
}

// moveTag adds what moves a tag, or removes it when to has no digest. Nobody else moves it meanwhile.
func (s *Store) moveTag(b *kv.Batch, repository, tag string, to ocispec.Descriptor, m registry.Move) error {
	old, ok, err := s.tag(repository, tag)
	if err != nil {
		return err
	}
	if m.Expect != nil && *m.Expect != old.Descriptor.Digest {
		return errdefs.Conflict("tag %s of repository %s points to %q and not to %q: it was moved", tag, repository, old.Descriptor.Digest, *m.Expect)
	}
	if !ok && to.Digest == "" {
		return noTag(repository, tag)
	}
	if ok && old.Descriptor.Digest == to.Digest {
		return nil
	}
	at := s.now()
	if last, err := s.lastMove(repository, tag); err != nil {
		return err
	} else if !at.After(last) {
		at = last.Add(1)
	}
	if ok {
		b.Delete(taggedKey(repository, old.Descriptor.Digest, tag))
	}
	if to.Digest == "" {
		b.Delete(tagKey(repository, tag))
	} else {
		b.Put(tagKey(repository, tag), encodeTag(registry.Tag{Descriptor: to, Updated: at}))
		b.Put(taggedKey(repository, to.Digest, tag), nil)
	}
	line := fields(nil).digest(old.Descriptor.Digest).digest(to.Digest).text(m.Mover.Verb).text(m.Mover.Who)
	b.Put(logKey(repository, tag, at), line)
	return nil
}

// errEnough ends a scan.
var errEnough = errors.New("enough")

// lastMove is when a tag was last moved.
func (s *Store) lastMove(repository, tag string) (time.Time, error) {
	prefix := logPrefix(repository, tag)
	var last time.Time
	err := s.db.Scan(prefix, end(prefix), func(e kv.Entry) error {
		l, err := decodeLog(e.Key[len(prefix):], e.Head)
		last = l.Time
		return errors.Join(err, errEnough)
	})
	if errors.Is(err, errEnough) && !errdefs.IsCorrupt(err) {
		err = nil
	}
	return last, err
}

func decodeLog(rest, value []byte) (registry.LogEntry, error) {
	if len(rest) != 8 {
		return registry.LogEntry{}, errdefs.Corrupt("a line of a tag's log cannot be read")
	}
	s := scanner{rest: value}
	at := time.Unix(0, int64(math.MaxUint64-binary.BigEndian.Uint64(rest))).UTC()
	l := registry.LogEntry{Time: at, From: s.digest(), To: s.digest(), Verb: s.text(), Who: s.text()}
	return l, s.err("a line of a tag's log")
}

// TagLog returns the moves of a tag.
func (s *Store) TagLog(ctx context.Context, repository, tag string) ([]registry.LogEntry, error) {
	var log []registry.LogEntry
	err := s.each(ctx, logPrefix(repository, tag), func(rest []byte, e kv.Entry) error {
		l, err := decodeLog(rest, e.Head)
		log = append(log, l)
		return err
	})
	if err == nil && log == nil {
		err = noTag(repository, tag)
	}
	return log, err
}
