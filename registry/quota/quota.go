// Package quota bounds what repositories of a registry may hold.
//
//	storage := quota.New(inner, quota.Options{Limits: []quota.Limit{{Repositories: []string{"team/**"}, Bytes: 50 << 30, Tags: 1000}}})
//	list, err := storage.Usage(ctx)
//
// It is a registry.Storage over another one. What a push adds is claimed before it is stored, and given back when it is not; so what is
// stored is never more than what is allowed, however many push at once. What is used is a note of the registry, which all replicas change by conditional writes;
// all who claim at the same moment share one. Nothing is walked through for it, but when there is no note yet, after a sweep, and
// before somebody is refused for what may have been removed meanwhile.
//
// Bytes are those of blobs and manifests, each once in each repository that has it.
package quota

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/pattern"
	"github.com/camada/camada/registry"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Amount is what repositories hold, or may.
type Amount struct {
	Bytes     int64 `json:"bytes"`
	Manifests int64 `json:"manifests"`
	Tags      int64 `json:"tags"`
}

func (a Amount) plus(b Amount) Amount {
	return Amount{a.Bytes + b.Bytes, a.Manifests + b.Manifests, a.Tags + b.Tags}
}

// Limit is what some repositories may hold.
type Limit struct {
	// Repositories are patterns, see pattern.Match.
	Repositories []string
	// Each gives that much to each of them, instead of to all together.
	Each bool
	// Allowed is how much; 0 is without a limit.
	Allowed Amount
}

// Options of a Storage.
type Options struct {
	Limits []Limit
	// Last is a storage whose place this one takes while there are requests to it; nil is none. What limits are about that it did not have is counted anew: nobody
	// kept it up to date.
	Last *Storage
	// Now tells the time; nil is time.Now.
	Now func() time.Time
}

// Used is what of a limit is used.
type Used struct {
	Repositories []string `json:"repositories"`
	// Repository is the one that is meant, of a limit for each; "" of all together.
	Repository string `json:"repository,omitempty"`
	Used       Amount `json:"used"`
	// Allowed is how much may be; 0 is without a limit.
	Allowed Amount `json:"allowed"`
}

// Storage is a registry.Storage with quotas.
type Storage struct {
	registry.Storage

	opts Options

	*turns

	mu       sync.Mutex
	accounts map[string]*account
	// anew are the beginnings of names of notes that count only once they were counted here; sure are those that were, by an earlier storage.
	anew map[string]bool
	sure map[string]bool
}

// turns are shared with storages that take the place of one.
type turns struct {
	// pushing is held shared by who claims and stores, and alone by who counts.
	pushing sync.RWMutex
	same    [64]sync.Mutex // of those who push the same
}

var _ registry.Storage = (*Storage)(nil)

// New returns a storage with quotas; closing it closes inner.
func New(inner registry.Storage, opts Options) *Storage {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	s := &Storage{Storage: inner, opts: opts, turns: &turns{}, accounts: map[string]*account{}, anew: map[string]bool{}, sure: map[string]bool{}}
	if last := opts.Last; last != nil {
		s.opts.Last, s.turns = nil, last.turns
		s.follow(last)
	}
	return s
}

// follow finds out which notes an earlier storage kept up to date.
func (s *Storage) follow(last *Storage) {
	kept := map[string]bool{}
	for i := range last.opts.Limits {
		if group := last.opts.Limits[i].group(); !last.anew[group] {
			kept[group] = true
		}
	}
	for i := range s.opts.Limits {
		if group := s.opts.Limits[i].group(); !kept[group] {
			s.anew[group] = true
		}
	}
	last.mu.Lock()
	defer last.mu.Unlock()
	names := slices.Collect(maps.Keys(last.sure))
	for name, a := range last.accounts {
		if a.isReady() {
			names = append(names, name)
		}
	}
	for _, name := range names {
		if s.anew[groupOf(name)] && slices.ContainsFunc(last.opts.Limits, func(l Limit) bool { return l.group() == groupOf(name) }) {
			s.sure[name] = true
		}
	}
}

// folder has the notes.
const folder = "quota"

// group is what the names of all notes of a limit begin with.
func (l *Limit) group() string {
	h := sha256.Sum256([]byte(fmt.Sprint(l.Each, strings.Join(l.Repositories, "\n"))))
	return folder + "/" + hex.EncodeToString(h[:8])
}

// groupOf is the group of a note.
func groupOf(name string) string { return name[:len(folder)+17] }

// name is that of a limit's note: another limit has another one.
func (l *Limit) name(repository string) string {
	name := l.group()
	if l.Each {
		r := sha256.Sum256([]byte(repository))
		name += "/" + hex.EncodeToString(r[:])
	}
	return name
}

// account returns the account of a note.
func (s *Storage) account(l *Limit, repository string) *account {
	if !l.Each {
		repository = ""
	}
	name := l.name(repository)
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.accounts[name]
	if a == nil {
		a = &account{storage: s, limit: l, name: name, repository: repository, anew: s.anew[l.group()] && !s.sure[name]}
		s.accounts[name] = a
	}
	return a
}

// of returns the accounts that a repository belongs to.
func (s *Storage) of(repository string) []*account {
	var list []*account
	for i := range s.opts.Limits {
		if l := &s.opts.Limits[i]; pattern.Any(l.Repositories, repository) {
			list = append(list, s.account(l, repository))
		}
	}
	return list
}

// claim takes an amount from all accounts of a repository, or from none. Before it refuses it counts again, when that may help.
func (s *Storage) claim(ctx context.Context, repository string, n Amount) error {
	accounts := s.of(repository)
	for i, a := range accounts {
		err := a.claim(ctx, n)
		if err != nil {
			for _, b := range accounts[:i] {
				b.giveBack(ctx, n)
			}
			return err
		}
	}
	return nil
}

func (s *Storage) giveBack(ctx context.Context, repository string, n Amount) {
	for _, a := range s.of(repository) {
		a.giveBack(ctx, n)
	}
}

// store claims what is added, and stores it. add is called first, while nobody else stores the same thing.
func (s *Storage) store(ctx context.Context, repository, what string, add func() (Amount, error), do func() error) error {
	if len(s.of(repository)) == 0 {
		return do()
	}
	var refused error
	for try := 0; ; try++ {
		refused = s.storeOnce(ctx, repository, what, add, do)
		if !isFull(refused) || try == 1 {
			return refused
		}
		counted, err := s.countAgain(ctx, repository)
		if err != nil {
			return err
		}
		if !counted {
			return refused
		}
	}
}

func (s *Storage) storeOnce(ctx context.Context, repository, what string, add func() (Amount, error), do func() error) error {
	if err := s.ready(ctx, repository); err != nil {
		return err
	}
	s.pushing.RLock()
	defer s.pushing.RUnlock()
	lock := &s.same[stripe(repository, what)]
	lock.Lock()
	defer lock.Unlock()
	n, err := add()
	if err != nil {
		return err
	}
	if n == (Amount{}) {
		return do()
	}
	if err := s.claim(ctx, repository, n); err != nil {
		return err
	}
	if err := do(); err != nil {
		s.giveBack(context.WithoutCancel(ctx), repository, n)
		return err
	}
	return nil
}

// stripe chooses one of the locks.
func stripe(repository, what string) int {
	h := sha256.Sum256([]byte(repository + "@" + what))
	return int(h[0]) % 64
}

// blob is what a blob adds.
func (s *Storage) blob(ctx context.Context, repository string, dgst digest.Digest, size func() (int64, error)) func() (Amount, error) {
	return func() (Amount, error) {
		_, err := s.Storage.StatBlob(ctx, repository, dgst)
		if err == nil || !errdefs.IsNotFound(err) {
			return Amount{}, err
		}
		n, err := size()
		return Amount{Bytes: n}, err
	}
}

// upload is an upload that is claimed when it becomes a blob.
type upload struct {
	registry.Upload

	s          *Storage
	repository string
}

// NewUpload begins an upload.
func (s *Storage) NewUpload(ctx context.Context, repository string, alg digest.Algorithm) (registry.Upload, error) {
	up, err := s.Storage.NewUpload(ctx, repository, alg)
	if err != nil || len(s.of(repository)) == 0 {
		return up, err
	}
	return &upload{up, s, repository}, nil
}

// OpenUpload goes on with an upload.
func (s *Storage) OpenUpload(ctx context.Context, repository, id string) (registry.Upload, error) {
	up, err := s.Storage.OpenUpload(ctx, repository, id)
	if err != nil || len(s.of(repository)) == 0 {
		return up, err
	}
	return &upload{up, s, repository}, nil
}

// Commit makes a blob of the upload; when there is no room for it, the upload is gone.
func (u *upload) Commit(ctx context.Context, dgst digest.Digest) (content.Info, error) {
	var info content.Info
	err := u.s.store(ctx, u.repository, dgst.String(), u.s.blob(ctx, u.repository, dgst, func() (int64, error) { return u.Size(), nil }), func() error {
		var err error
		info, err = u.Upload.Commit(ctx, dgst)
		return err
	})
	if isFull(err) {
		_ = u.Cancel(ctx) // a sweep does it otherwise
	}
	return info, err
}

// PutBlob stores a blob.
func (s *Storage) PutBlob(ctx context.Context, repository string, desc ocispec.Descriptor, r io.Reader) error {
	if len(s.of(repository)) == 0 {
		return s.Storage.PutBlob(ctx, repository, desc, r)
	}
	if err := content.CheckDigest(desc.Digest); err != nil {
		return err
	}
	up, err := s.NewUpload(ctx, repository, desc.Digest.Algorithm())
	if err != nil {
		return err
	}
	defer up.Close()
	n, err := up.Append(ctx, r)
	if err == nil && desc.Size >= 0 && n != desc.Size {
		err = errdefs.Corrupt("store blob %s: %d bytes came instead of %d", desc.Digest, n, desc.Size)
	}
	if err == nil {
		_, err = up.Commit(ctx, desc.Digest)
	}
	if err != nil {
		_ = up.Cancel(context.WithoutCancel(ctx)) // nobody knows its ID
	}
	return err
}

// MountBlob makes a blob one of the repository's.
func (s *Storage) MountBlob(ctx context.Context, repository, from string, dgst digest.Digest) error {
	size := func() (int64, error) {
		info, err := s.Storage.StatBlob(ctx, from, dgst)
		return info.Size, err
	}
	return s.store(ctx, repository, dgst.String(), s.blob(ctx, repository, dgst, size), func() error { return s.Storage.MountBlob(ctx, repository, from, dgst) })
}

// DeleteBlob takes a blob out of a repository.
func (s *Storage) DeleteBlob(ctx context.Context, repository string, dgst digest.Digest) error {
	err := s.Storage.DeleteBlob(ctx, repository, dgst)
	s.removed(ctx, repository, err)
	return err
}

// PutManifest stores a manifest and moves tags to it.
func (s *Storage) PutManifest(ctx context.Context, repository string, m registry.Manifest, opts registry.PutOptions) error {
	add := func() (Amount, error) {
		n, err := s.newTags(ctx, repository, opts.Tags)
		if err != nil {
			return Amount{}, err
		}
		_, err = s.Storage.Manifest(ctx, repository, m.Descriptor.Digest)
		if errdefs.IsNotFound(err) {
			n.Manifests, n.Bytes, err = 1, int64(len(m.Data)), nil
		}
		return n, err
	}
	return s.store(ctx, repository, "manifests", add, func() error { return s.Storage.PutManifest(ctx, repository, m, opts) })
}

// newTags counts those that are not there.
func (s *Storage) newTags(ctx context.Context, repository string, tags []string) (Amount, error) {
	var n Amount
	for i, tag := range tags {
		if slices.Contains(tags[:i], tag) {
			continue
		}
		_, err := s.Storage.Tag(ctx, repository, tag)
		if err != nil && !errdefs.IsNotFound(err) {
			return n, err
		}
		if err != nil {
			n.Tags++
		}
	}
	return n, nil
}

// MoveTag points a tag to a manifest, or removes it.
func (s *Storage) MoveTag(ctx context.Context, repository, tag string, m registry.Move) error {
	if m.To == "" {
		err := s.Storage.MoveTag(ctx, repository, tag, m)
		s.removed(ctx, repository, err)
		return err
	}
	add := func() (Amount, error) { return s.newTags(ctx, repository, []string{tag}) }
	return s.store(ctx, repository, "manifests", add, func() error { return s.Storage.MoveTag(ctx, repository, tag, m) })
}

// DeleteManifest removes a manifest and its tags.
func (s *Storage) DeleteManifest(ctx context.Context, repository string, dgst digest.Digest, by registry.Mover) error {
	err := s.Storage.DeleteManifest(ctx, repository, dgst, by)
	s.removed(ctx, repository, err)
	return err
}

// BlobURL is where a blob lies.
func (s *Storage) BlobURL(ctx context.Context, repository string, dgst digest.Digest) (string, error) {
	if direct, ok := s.Storage.(registry.Redirector); ok {
		return direct.BlobURL(ctx, repository, dgst)
	}
	return "", nil
}

// Sweep sweeps, and counts again what is left.
func (s *Storage) Sweep(ctx context.Context, opts registry.SweepOptions) (registry.SweepReport, error) {
	report, err := s.Storage.Sweep(ctx, opts)
	if err != nil || opts.DryRun {
		return report, err
	}
	accounts, err := s.all(ctx)
	for _, a := range accounts {
		if err != nil {
			break
		}
		err = a.count(ctx)
	}
	return report, err
}
