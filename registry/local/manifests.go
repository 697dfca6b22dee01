package local

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry"
	"github.com/camada/camada/registry/local/kv"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// manifestEntry is the value of a kindManifest key.
type manifestEntry struct {
	mediaType string
	size      int64
	pushed    time.Time
	subject   digest.Digest
	requires  []registry.Requirement // without sizes
	entry     kv.Entry
}

func (m manifestEntry) encode() []byte {
	f := fields(nil).text(m.mediaType).number(m.size).time(m.pushed).digest(m.subject)
	for _, r := range m.requires {
		var flag int64
		if r.Manifest {
			flag = 1
		}
		f = f.number(flag).digest(r.Digest)
	}
	return f
}

func decodeManifest(b []byte) (manifestEntry, error) {
	s := scanner{rest: b}
	m := manifestEntry{mediaType: s.text(), size: s.number(), pushed: s.time(), subject: s.digest()}
	for len(s.rest) > 0 {
		m.requires = append(m.requires, registry.Requirement{Manifest: s.number() == 1, Digest: s.digest()})
	}
	return m, s.err("the entry of a manifest")
}

// manifest finds a manifest of a repository.
func (s *Store) manifest(repository string, d digest.Digest) (manifestEntry, bool, error) {
	e, ok, err := s.db.Get(manifestKey(repository, d))
	if !ok || err != nil {
		return manifestEntry{}, false, err
	}
	m, err := decodeManifest(e.Head)
	m.entry = e
	return m, err == nil, err
}

func noManifest(repository string, d digest.Digest) error {
	return errdefs.NotFound("manifest %s is not in repository %s", d, repository)
}

// Manifest reads a manifest.
func (s *Store) Manifest(ctx context.Context, repository string, d digest.Digest) (registry.Manifest, error) {
	if err := ctx.Err(); err != nil {
		return registry.Manifest{}, err
	}
	if err := content.CheckDigest(d); err != nil {
		return registry.Manifest{}, err
	}
	read, ok, seen := s.hot.get(repository, d)
	if ok {
		return read, nil
	}
	read, err := s.readManifest(repository, d)
	if err == nil {
		s.hot.add(repository, read, seen)
	}
	return read, err
}

// readManifest reads a manifest from the disk.
func (s *Store) readManifest(repository string, d digest.Digest) (registry.Manifest, error) {
	m, ok, err := s.manifest(repository, d)
	if err != nil {
		return registry.Manifest{}, err
	}
	if !ok {
		return registry.Manifest{}, noManifest(repository, d)
	}
	if err := s.db.Settle(m.entry); err != nil {
		return registry.Manifest{}, err
	}
	c, ok, err := s.content(d)
	if err != nil {
		return registry.Manifest{}, err
	}
	if !ok {
		return registry.Manifest{}, errdefs.Corrupt("manifest %s of repository %s: its bytes are gone", d, repository)
	}
	data, err := s.bytes(d, c)
	if err != nil {
		return registry.Manifest{}, err
	}
	return registry.Manifest{
		Descriptor: ocispec.Descriptor{MediaType: m.mediaType, Digest: d, Size: m.size},
		Data:       data, Subject: m.subject,
	}, nil
}

// bytes reads bytes that are few.
func (s *Store) bytes(d digest.Digest, c stored) ([]byte, error) {
	if c.size > content.MaxManifest {
		return nil, errdefs.Corrupt("manifest %s has %d bytes", d, c.size)
	}
	r, err := s.open(d, c)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b := make([]byte, c.size)
	if n, err := r.ReadAt(b, 0); int64(n) != c.size {
		return nil, class("read manifest "+d.String(), err)
	}
	return b, nil
}

// PutManifest stores a manifest and moves tags to it.
func (s *Store) PutManifest(ctx context.Context, repository string, m registry.Manifest, opts registry.PutOptions) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := content.CheckDigest(m.Descriptor.Digest); err != nil {
		return err
	}
	unlock := s.tags.lock(tagNames(repository, opts.Tags)...)
	s.mutex.RLock()
	seq, err := s.putManifest(repository, m, opts)
	s.mutex.RUnlock()
	unlock()
	if err != nil {
		return err
	}
	return s.db.Sync(seq)
}

func tagNames(repository string, tags []string) []string {
	names := make([]string, len(tags))
	for i, tag := range tags {
		names[i] = repository + ":" + tag
	}
	return names
}

func (s *Store) putManifest(repository string, m registry.Manifest, opts registry.PutOptions) (uint64, error) {
	if err := s.complete(repository, m.Requires); err != nil {
		return 0, err
	}
	var b kv.Batch
	d := m.Descriptor.Digest
	if err := s.addManifest(&b, repository, m); err != nil {
		return 0, err
	}
	for _, tag := range slices.Compact(slices.Sorted(slices.Values(opts.Tags))) {
		if err := s.moveTag(&b, repository, tag, m.Descriptor, registry.Move{To: d, Expect: opts.Expect, Mover: opts.Mover}); err != nil {
			return 0, err
		}
	}
	s.changes.note(repository)
	seq, err := s.db.Write(&b)
	s.hot.forget(repository, d)
	return seq, err
}

// complete checks that all that a manifest requires is in the repository.
func (s *Store) complete(repository string, requires []registry.Requirement) error {
	var missing []digest.Digest
	for _, r := range requires {
		k := blobKey(repository, r.Digest)
		if r.Manifest {
			k = manifestKey(repository, r.Digest)
		}
		ok, err := s.has(k)
		if err == nil && ok {
			_, ok, err = s.content(r.Digest)
		}
		if err != nil {
			return err
		}
		if !ok && !slices.Contains(missing, r.Digest) {
			missing = append(missing, r.Digest)
		}
	}
	if missing != nil {
		return &registry.MissingError{Digests: missing}
	}
	return nil
}

// addManifest adds the entries of a manifest.
func (s *Store) addManifest(b *kv.Batch, repository string, m registry.Manifest) error {
	d, now := m.Descriptor.Digest, s.now()
	old, ok, err := s.manifest(repository, d)
	if err != nil {
		return err
	}
	if ok {
		removeEdges(b, repository, d, old)
	}
	if _, ok, err := s.content(d); err != nil {
		return err
	} else if !ok {
		b.PutBody(contentKey(d), stored{size: int64(len(m.Data)), at: now}.encode(), m.Data)
	}
	if ok, err := s.has(repositoryKey(repository)); err != nil {
		return err
	} else if !ok {
		b.Put(repositoryKey(repository), fields(nil).time(now))
	}
	b.Put(userKey(d, repository), nil)
	b.Put(manifestKey(repository, d), manifestEntry{
		mediaType: m.Descriptor.MediaType, size: int64(len(m.Data)), pushed: now, subject: m.Subject, requires: m.Requires,
	}.encode())
	for _, r := range m.Requires {
		b.Put(requiredKey(repository, r.Digest, d), nil)
	}
	if m.Subject != "" {
		b.Put(referrerKey(repository, m.Subject, d), encodeReferrer(m.Referrer()))
	}
	return nil
}

// removeEdges adds what removes the ways that lead from a manifest.
func removeEdges(b *kv.Batch, repository string, d digest.Digest, m manifestEntry) {
	for _, r := range m.requires {
		b.Delete(requiredKey(repository, r.Digest, d))
	}
	if m.subject != "" {
		b.Delete(referrerKey(repository, m.subject, d))
	}
}

// DeleteManifest removes a manifest and its tags.
func (s *Store) DeleteManifest(ctx context.Context, repository string, d digest.Digest, by registry.Mover) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := content.CheckDigest(d); err != nil {
		return err
	}
	s.mutex.Lock()
	seq, err := s.deleteManifest(ctx, repository, d, by)
	s.mutex.Unlock()
	if err != nil {
		return err
	}
	return s.db.Sync(seq)
}

func (s *Store) deleteManifest(ctx context.Context, repository string, d digest.Digest, by registry.Mover) (uint64, error) {
	m, ok, err := s.manifest(repository, d)
	if err != nil {
		return 0, err
	}
	if !ok {
		return 0, noManifest(repository, d)
	}
	required, err := s.any(newKey(kindRequired, repository).digest(d))
	if err != nil {
		return 0, err
	}
	if required {
		return 0, errdefs.Conflict("manifest %s is required by an index of repository %s; delete that first", d, repository)
	}
	var b kv.Batch
	err = s.each(ctx, newKey(kindTagged, repository).digest(d), func(tag []byte, _ kv.Entry) error {
		return s.moveTag(&b, repository, string(tag), ocispec.Descriptor{}, registry.Move{Mover: by})
	})
	if err != nil {
		return 0, err
	}
	if err := s.removeManifest(&b, repository, d, m); err != nil {
		return 0, err
	}
	s.changes.note(repository)
	seq, err := s.db.Write(&b)
	s.hot.forget(repository, d)
	return seq, err
}

// removeManifest adds what takes a manifest out of a repository; the bytes stay in it when they are a blob as well.
func (s *Store) removeManifest(b *kv.Batch, repository string, d digest.Digest, m manifestEntry) error {
	removeEdges(b, repository, d, m)
	b.Delete(manifestKey(repository, d))
	also, err := s.has(blobKey(repository, d))
	if err == nil && !also {
		b.Delete(userKey(d, repository))
	}
	return err
}

// Referrers lists what refers to a digest.
func (s *Store) Referrers(ctx context.Context, repository string, d digest.Digest) ([]ocispec.Descriptor, error) {
	if err := content.CheckDigest(d); err != nil {
		return nil, err
	}
	list := []ocispec.Descriptor{}
	err := s.each(ctx, newKey(kindReferrer, repository).digest(d), func(rest []byte, e kv.Entry) error {
		by, _, err := parseDigest(rest)
		if err != nil {
			return err
		}
		if len(e.Head) > 0 {
			desc, err := decodeReferrer(by, e.Head)
			list = append(list, desc)
			return err
		}
		m, err := s.Manifest(ctx, repository, by)
		if errdefs.IsNotFound(err) {
			return nil // removed meanwhile
		}
		if err != nil {
			return err
		}
		m, err = registry.ParseManifest(m.Descriptor.MediaType, m.Data, by.Algorithm())
		list = append(list, m.Referrer())
		return err
	})
	return list, err
}

// maxReferrer is how big the descriptor of a referrer may be to be kept beside the manifest; bigger ones are read from it.
const maxReferrer = 4 << 10

func encodeReferrer(d ocispec.Descriptor) []byte {
	f := fields(nil).text(d.MediaType).number(d.Size).text(d.ArtifactType)
	for _, name := range slices.Sorted(maps.Keys(d.Annotations)) {
		f = f.text(name).text(d.Annotations[name])
	}
	if len(f) > maxReferrer {
		return nil
	}
	return f
}

func decodeReferrer(by digest.Digest, b []byte) (ocispec.Descriptor, error) {
	s := scanner{rest: b}
	d := ocispec.Descriptor{Digest: by, MediaType: s.text(), Size: s.number(), ArtifactType: s.text()}
	for len(s.rest) > 0 {
		if d.Annotations == nil {
			d.Annotations = map[string]string{}
		}
		name := s.text()
		d.Annotations[name] = s.text()
	}
	return d, s.err("the entry of a referrer")
}

// WalkManifests calls fn for each manifest.
func (s *Store) WalkManifests(ctx context.Context, repository string, fn func(registry.ManifestInfo) error) error {
	return s.each(ctx, newKey(kindManifest, repository), func(rest []byte, e kv.Entry) error {
		d, _, err := parseDigest(rest)
		if err != nil {
			return err
		}
		m, err := decodeManifest(e.Head)
		if err != nil {
			return err
		}
		return fn(registry.ManifestInfo{Digest: d, Size: m.size, Pushed: m.pushed})
	})
}
