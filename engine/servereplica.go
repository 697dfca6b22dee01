package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/reference"
	"github.com/camada/camada/registry"
	"github.com/camada/camada/registry/config"
	"github.com/camada/camada/registry/events"
	"github.com/camada/camada/registry/outbox"
	"github.com/camada/camada/remote"
	"github.com/camada/camada/remote/auth"
	"github.com/camada/camada/remote/unfinished"
	"github.com/camada/camada/transfer"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// replicaWorkers is how many jobs of one replica go on at once.
const replicaWorkers = 4

// follower is a registry that gets what this one has.
type follower struct {
	rule    *config.Replication
	copies  []string // folders of copies of others; they are not replicated
	storage registry.Storage
	opts    remote.Options
	client  atomic.Pointer[remote.Client]
}

// replicaJob says what to bring up to date. It says nothing of how it is to become: that is looked up when its turn comes, so a job is
// done again without harm, and many for one tag are one.
type replicaJob struct {
	// Repository is "" for everything.
	Repository string `json:"repository,omitempty"`
	Tag        string `json:"tag,omitempty"`
	// Digest is a manifest without a tag, Subject what it refers to.
	Digest  digest.Digest `json:"digest,omitempty"`
	Subject digest.Digest `json:"subject,omitempty"`
}

// newFollower makes a follower; uploads is a directory for what is known of uploads that were cut off.
func newFollower(rule *config.Replication, storage registry.Storage, getenv func(string) string, uploads string) *follower {
	kept := unfinished.Open(uploads)
	_, _ = kept.Expire(time.Now().Add(-unfinished.MaxAge), false) // what is too old is not used either
	opts := remote.Options{Sites: replicaSite{rule}, Uploads: kept}
	if file := rule.Credentials; file != "" {
		getenv = func(name string) string {
			if name == "REGISTRY_AUTH_FILE" {
				return file
			}
			return ""
		}
	}
	opts.Credentials = auth.Open(auth.Options{Getenv: getenv})
	if rule.Username != "" {
		opts.Credentials = oneCredential{host: rule.Host, user: rule.Username, file: rule.PasswordFile}
	}
	r := &follower{rule: rule, storage: storage, opts: opts}
	r.client.Store(remote.New(opts))
	return r
}

// renew forgets what is known of the connection: a client keeps the credentials that it was given.
func (r *follower) renew() { r.client.Swap(remote.New(r.opts)).Close() }

// wants reports whether something of a repository may be replicated.
func (r *follower) wants(repository string) bool {
	return r.rule.WantsRepository(repository) && !slices.ContainsFunc(r.copies, func(prefix string) bool { return inFolder(repository, prefix) })
}

// replicaSite is where a replica is, as the configuration says.
type replicaSite struct{ rule *config.Replication }

// Sites implements remote.Sites.
func (s replicaSite) Sites(host, repository string) ([]remote.Site, error) {
	site := remote.Site{Name: host, Scheme: s.rule.Scheme, Repository: repository, Resolve: true, Pull: true, Push: true, Insecure: s.rule.Insecure, Authorities: s.rule.Authorities}
	return []remote.Site{site}, nil
}

// target is the replica as a target of deliveries.
func (r *follower) target() outbox.Target {
	all := r.everything()
	return outbox.Target{Name: replicaPrefix + r.rule.Name, Send: r.send, Workers: replicaWorkers, Overflow: &all, Patience: r.rule.GiveUp, Cut: true}
}

// everything is the job that compares everything.
func (r *follower) everything() outbox.Item { return r.item("*", replicaJob{}) }

func (r *follower) item(key string, j replicaJob) outbox.Item {
	body, err := json.Marshal(j)
	if err != nil {
		panic(err) // it is made of texts
	}
	return outbox.Item{Target: replicaPrefix + r.rule.Name, Key: key, Body: body}
}

// jobs are what an event asks for.
func (r *follower) jobs(e events.Event) []outbox.Item {
	if !r.wants(e.Repository) || e.Kind == events.Delete && !r.rule.Deletions {
		return nil
	}
	var items []outbox.Item
	for _, tag := range e.Tags {
		if r.rule.Wants(e.Repository, tag) {
			items = append(items, r.item(e.Repository+":"+tag, replicaJob{Repository: e.Repository, Tag: tag}))
		}
	}
	if len(e.Tags) == 0 && (e.Subject != "" || e.Kind == events.Delete) {
		items = append(items, r.item(e.Repository+"@"+e.Digest.String(), replicaJob{Repository: e.Repository, Digest: e.Digest, Subject: e.Subject}))
	}
	return items
}

// send does a job.
func (r *follower) send(ctx context.Context, item outbox.Item) error {
	var j replicaJob
	err := json.Unmarshal(item.Body, &j)
	switch {
	case err != nil:
		err = errdefs.Corrupt("a delivery cannot be read: %w", err)
	case j.Repository == "":
		err = r.all(ctx)
	case j.Tag != "":
		err = r.tag(ctx, j.Repository, j.Tag)
	case content.CheckDigest(j.Digest) == nil:
		err = r.untagged(ctx, j)
	}
	if err == nil {
		return nil
	}
	err = fmt.Errorf("replication %s: %w", r.rule.Name, err)
	if errdefs.IsPermission(err) {
		r.renew()
	}
	if r.unreachable(err) {
		return err
	}
	return &outbox.RefusedError{Err: err}
}

// unreachable reports whether an error is of the replica as a whole, rather than of what was to be brought there.
func (r *follower) unreachable(err error) bool {
	var side *transfer.Error
	if errors.As(err, &side) && side.Side == transfer.AtSource {
		return false
	}
	return errdefs.IsUnavailable(err) || errdefs.IsPermission(err)
}

// at is a repository at the replica.
func (r *follower) at(repository string) *remote.Repository {
	return r.client.Load().Repository(reference.Reference{Host: r.rule.Host, Repository: r.rule.Destination(repository)})
}

// tag makes a tag of the replica what it is here. It looks again afterwards: of several who bring a tag, the one who is last has looked last, too.
func (r *follower) tag(ctx context.Context, repository, tag string) error {
	to := r.at(repository)
	for {
		t, err := r.storage.Tag(ctx, repository, tag)
		switch {
		case err == nil:
			err = r.bring(ctx, repository, to, tag, t.Descriptor)
		case errdefs.IsNotFound(err) && r.rule.Deletions:
			err = r.remove(ctx, to, tag)
		case errdefs.IsNotFound(err):
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s:%s: %w", repository, tag, err)
		}
		now, err := r.storage.Tag(ctx, repository, tag)
		if err != nil && !errdefs.IsNotFound(err) {
			return fmt.Errorf("%s:%s: %w", repository, tag, err)
		}
		if now.Descriptor.Digest == t.Descriptor.Digest {
			return nil
		}
	}
}

// bring copies an image, and then what refers to it: whoever adds something that refers to it later finds the image there, see untagged.
func (r *follower) bring(ctx context.Context, repository string, to *remote.Repository, tag string, root ocispec.Descriptor) error {
	src := storedRepository{r.storage, repository}
	o := transfer.Options{Concurrency: copies}
	if err := transfer.Push(ctx, src, to.Target(tag, root), root, o); err != nil {
		return err
	}
	about, err := aboutOf(ctx, src, root, func(d digest.Digest) ([]ocispec.Descriptor, error) { return r.storage.Referrers(ctx, repository, d) })
	if err != nil {
		return err
	}
	for _, d := range about {
		if err := transfer.Push(ctx, src, to.Target("", d), d, o); err != nil {
			return fmt.Errorf("what refers to it, %s: %w", d.Digest, err)
		}
	}
	return nil
}

// remove removes a tag. A replica that removes manifests only is given the digest when nothing else there needs it.
func (r *follower) remove(ctx context.Context, to *remote.Repository, tag string) error {
	shelf := &shelfOfTags{from: &copySource{Provider: to, repo: to}, repo: to, close: nothingToClose}
	kept := map[string]bool{}
	if _, err := to.Resolve(ctx, tag); err != nil {
		return missingIsGood(err)
	}
	all, err := to.Tags(ctx, 0)
	if err != nil {
		return missingIsGood(err)
	}
	for _, other := range all {
		kept[other] = other != tag
	}
	delete(kept, tag)
	return missingIsGood(shelf.remove(ctx, tag, &guard{shelf: shelf, kept: kept}))
}

func missingIsGood(err error) error {
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}

// untagged brings a manifest without a tag that refers to one that the replica has, or removes one that is not here any more.
func (r *follower) untagged(ctx context.Context, j replicaJob) error {
	to := r.at(j.Repository)
	m, err := r.storage.Manifest(ctx, j.Repository, j.Digest)
	if errdefs.IsNotFound(err) {
		if !r.rule.Deletions {
			return nil
		}
		return missingIsGood(to.Delete(ctx, j.Digest.String()))
	}
	if err != nil || j.Subject == "" {
		return err
	}
	// A subject that is not there comes with its tag, and takes along what refers to it then; or it never comes.
	if _, err := to.Resolve(ctx, j.Subject.String()); err != nil {
		return missingIsGood(err)
	}
	if err := r.bring(ctx, j.Repository, to, "", m.Descriptor); err != nil {
		return fmt.Errorf("%s@%s: %w", j.Repository, j.Digest, err)
	}
	return nil
}

// page is how many names are listed at once.
const page = 1000

// all compares everything. What cannot be brought does not keep the rest from it, unless the replica cannot be reached.
func (r *follower) all(ctx context.Context) error {
	var f failures
	for after := ""; ; {
		names, err := r.storage.ListRepositories(ctx, after, page)
		if err != nil {
			return err
		}
		if len(names) == 0 {
			return f.err()
		}
		for _, name := range names {
			if !r.wants(name) {
				continue
			}
			if err := r.repository(ctx, name, &f); err != nil {
				return err
			}
		}
		after = names[len(names)-1]
	}
}

// failures are what could not be brought. The first one stands for all.
type failures struct {
	mu    sync.Mutex
	first error
	n     int
}

func (f *failures) note(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.n++; f.first == nil {
		f.first = err
	}
}

func (f *failures) err() error {
	if f.n > 1 {
		return fmt.Errorf("%d tags were not brought; the first is %w", f.n, f.first)
	}
	return f.first
}

// repository compares the tags of one repository. It returns an error when the replica cannot be reached.
func (r *follower) repository(ctx context.Context, repository string, f *failures) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := make(chan string)
	var wg sync.WaitGroup
	for range replicaWorkers {
		wg.Go(func() {
			for tag := range work {
				err := r.tag(ctx, repository, tag)
				switch {
				case err == nil, ctx.Err() != nil:
				case r.unreachable(err):
					cancel(err)
				default:
					f.note(err)
				}
			}
		})
	}
	err := r.tags(ctx, repository, func(tag string) {
		select {
		case work <- tag:
		case <-ctx.Done():
		}
	})
	close(work)
	wg.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// tags calls fn for the tags of a repository that are to be compared: those that are here, and when deletions are mirrored those that are only there.
func (r *follower) tags(ctx context.Context, repository string, fn func(tag string)) error {
	for after := ""; ; {
		tags, err := r.storage.ListTags(ctx, repository, after, page)
		if err != nil {
			return err
		}
		if len(tags) == 0 {
			break
		}
		for _, tag := range tags {
			if r.rule.Wants(repository, tag) && ctx.Err() == nil {
				fn(tag)
			}
		}
		after = tags[len(tags)-1]
	}
	if !r.rule.Deletions {
		return nil
	}
	there := &shelfOfTags{repo: r.at(repository)}
	tags, err := there.tags(ctx)
	if err != nil {
		return missingIsGood(err)
	}
	for _, tag := range tags {
		if !r.rule.Wants(repository, tag) {
			continue
		}
		if _, err := r.storage.Tag(ctx, repository, tag); errdefs.IsNotFound(err) {
			fn(tag)
		}
	}
	return nil
}

// storedRepository is a repository of a registry's storage as a place that images are copied from.
type storedRepository struct {
	storage    registry.Storage
	repository string
}

// Resolve returns what a tag or a digest stands for.
func (s storedRepository) Resolve(ctx context.Context, at string) (ocispec.Descriptor, error) {
	if dgst, err := digest.Parse(at); err == nil {
		m, err := s.storage.Manifest(ctx, s.repository, dgst)
		if err != nil {
			return ocispec.Descriptor{}, err
		}
		return m.Descriptor, nil
	}
	t, err := s.storage.Tag(ctx, s.repository, at)
	return t.Descriptor, err
}

// Open implements content.Provider.
func (s storedRepository) Open(ctx context.Context, desc ocispec.Descriptor) (content.Reader, error) {
	if !image.IsIndex(desc.MediaType) && !image.IsManifest(desc.MediaType) {
		return s.storage.OpenBlob(ctx, s.repository, desc.Digest)
	}
	m, err := s.storage.Manifest(ctx, s.repository, desc.Digest)
	if err != nil {
		return nil, err
	}
	return inMemory{bytes.NewReader(m.Data)}, nil
}
