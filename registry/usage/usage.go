// Package usage remembers when tags and digests were pulled last, to the minute.
//
//	t := usage.New(storage, usage.Options{Wants: func(repository string) usage.Kinds { return usage.Tags }})
//	t.Note("team/app", "v1", "sha256:...") // in memory
//	err := t.Flush(ctx)                     // once a minute, and at the end
//	last, err := t.Last(ctx, "team/app")
//
// What is noted goes to the notes of the registry (registry.Notes), one for each repository, so that all replicas know it; many pulls of a minute
// are one write. A replica that is killed loses what it noted since it wrote last.
package usage

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry"
)

// Every is how often what was noted should be written.
const Every = time.Minute

const (
	// folder has the notes.
	folder = "pulled"
	// maxRefs bounds what is remembered of a repository: those pulled last. maxName bounds the names, so that a note has room for them.
	maxRefs = 10_000
	// maxRepositories bounds what waits to be written.
	maxRepositories = 10_000
)

// Kinds say what of a repository is worth remembering.
type Kinds uint8

// The kinds.
const (
	Tags Kinds = 1 << iota
	Digests
)

// Options of a Tracker.
type Options struct {
	// Wants says what of a repository is remembered.
	Wants func(repository string) Kinds
	// Now tells the time; nil is time.Now.
	Now func() time.Time
}

// Tracker remembers. It is safe for use by many goroutines.
type Tracker struct {
	notes registry.Notes
	opts  Options

	mu sync.Mutex
	// seen has the minutes since 1970 that are not written yet, by repository and by tag or digest.
	seen    map[string]map[string]int64
	writing sync.Mutex
}

// New returns a tracker that writes to notes.
func New(notes registry.Notes, opts Options) *Tracker {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	return &Tracker{notes: notes, opts: opts, seen: map[string]map[string]int64{}}
}

// Note notes that something was pulled, by its tag ("" when by digest) and with its digest.
func (t *Tracker) Note(repository, tag, digest string) {
	wants := t.opts.Wants(repository)
	if wants == 0 {
		return
	}
	minute := t.opts.Now().Unix() / 60
	t.mu.Lock()
	defer t.mu.Unlock()
	refs := t.seen[repository]
	if refs == nil {
		if len(t.seen) >= maxRepositories {
			return
		}
		refs = map[string]int64{}
		t.seen[repository] = refs
	}
	if wants&Tags != 0 && tag != "" && len(refs) < maxRefs {
		refs[tag] = minute
	}
	if wants&Digests != 0 && digest != "" && len(refs) < maxRefs {
		refs[digest] = minute
	}
}

// Flush writes what was noted. What cannot be written is kept for the next time.
func (t *Tracker) Flush(ctx context.Context) error {
	t.writing.Lock()
	defer t.writing.Unlock()
	t.mu.Lock()
	seen := t.seen
	t.seen = map[string]map[string]int64{}
	t.mu.Unlock()
	for _, repository := range slices.Sorted(maps.Keys(seen)) {
		if err := t.write(ctx, repository, seen[repository]); err != nil {
			t.putBack(seen)
			return fmt.Errorf("note what was pulled of %s: %w", repository, err)
		}
		delete(seen, repository)
	}
	return nil
}

// putBack takes back what was not written.
func (t *Tracker) putBack(seen map[string]map[string]int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for repository, refs := range seen {
		t.seen[repository] = merge(refs, t.seen[repository])
	}
}

// merge adds later minutes to refs.
func merge(refs, more map[string]int64) map[string]int64 {
	if refs == nil {
		refs = map[string]int64{}
	}
	for ref, minute := range more {
		refs[ref] = max(refs[ref], minute)
	}
	return refs
}

// name is that of a repository's note. The longest names of repositories have none.
func name(repository string) string { return folder + "/" + repository }

// read reads a note; one that nobody can read is as good as none.
func (t *Tracker) read(ctx context.Context, repository string) (map[string]int64, string, error) {
	data, version, err := t.notes.Note(ctx, name(repository))
	if errdefs.IsNotFound(err) || errdefs.IsInvalid(err) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	var refs map[string]int64
	if json.Unmarshal(data, &refs) != nil {
		refs = nil
	}
	return refs, version, nil
}

// tries bounds how often a note is written again because another replica was faster.
const tries = 20

func (t *Tracker) write(ctx context.Context, repository string, refs map[string]int64) error {
	for try := 0; ; try++ {
		old, version, err := t.read(ctx, repository)
		if err != nil {
			return err
		}
		all := merge(old, refs)
		bound(all)
		data, err := json.Marshal(all)
		if err != nil {
			return err
		}
		err = t.notes.PutNote(ctx, name(repository), data, version)
		if errdefs.IsInvalid(err) {
			return nil // too long a name
		}
		if !errdefs.IsConflict(err) || try == tries {
			return err
		}
	}
}

// bound drops what was pulled longest ago when there is too much.
func bound(refs map[string]int64) {
	size := 0
	for ref := range refs {
		size += len(ref) + 16
	}
	if len(refs) <= maxRefs && size <= registry.MaxNote {
		return
	}
	order := slices.SortedFunc(maps.Keys(refs), func(a, b string) int { return cmp.Compare(refs[a], refs[b]) })
	for _, ref := range order {
		if len(refs) <= maxRefs*3/4 && size <= registry.MaxNote*3/4 {
			break
		}
		size -= len(ref) + 16
		delete(refs, ref)
	}
}

// Last tells when tags and digests of a repository were pulled last, each to the minute. What is not in it was never pulled, or so long ago that it was forgotten.
func (t *Tracker) Last(ctx context.Context, repository string) (map[string]time.Time, error) {
	refs, _, err := t.read(ctx, repository)
	if err != nil {
		return nil, fmt.Errorf("find out what was pulled of %s: %w", repository, err)
	}
	t.mu.Lock()
	refs = merge(refs, t.seen[repository])
	t.mu.Unlock()
	last := make(map[string]time.Time, len(refs))
	for ref, minute := range refs {
		last[ref] = time.Unix(minute*60, 0)
	}
	return last, nil
}

// since is a note of when it began that is noted what was pulled of something.
type since struct {
	Minute int64  `json:"minute"`
	Of     string `json:"of"`
}

// Since tells since when it is noted what was pulled of something, a word for all that Wants wants. The first one who asks begins it; it begins anew
// when it is of something else, and after Forget.
func (t *Tracker) Since(ctx context.Context, of string) (time.Time, error) {
	for try := 0; ; try++ {
		data, version, err := t.notes.Note(ctx, folder)
		var s since
		if err == nil && json.Unmarshal(data, &s) == nil && s.Of == of {
			return time.Unix(s.Minute*60, 0), nil
		}
		if err != nil && !errdefs.IsNotFound(err) {
			return time.Time{}, fmt.Errorf("find out since when it is noted what is pulled: %w", err)
		}
		if data, err = json.Marshal(since{t.opts.Now().Unix() / 60, of}); err != nil {
			return time.Time{}, err
		}
		if err = t.notes.PutNote(ctx, folder, data, version); err != nil && (!errdefs.IsConflict(err) || try == tries) {
			return time.Time{}, fmt.Errorf("note since when it is noted what is pulled: %w", err)
		}
	}
}

// Forget ends what Since tells.
func (t *Tracker) Forget(ctx context.Context) error {
	_, version, err := t.notes.Note(ctx, folder)
	if err == nil {
		err = t.notes.PutNote(ctx, folder, nil, version)
	}
	if errdefs.IsNotFound(err) || errdefs.IsConflict(err) {
		return nil
	}
	return err
}

// Tidy forgets repositories that are not there any more.
func (t *Tracker) Tidy(ctx context.Context, there func(ctx context.Context, repository string) (bool, error)) error {
	names, err := t.notes.ListNotes(ctx, folder)
	if err != nil {
		return err
	}
	for _, n := range names {
		repository := strings.TrimPrefix(n, folder+"/")
		ok, err := there(ctx, repository)
		if err != nil {
			return err
		}
		if ok {
			continue
		}
		_, version, err := t.notes.Note(ctx, n)
		if err == nil {
			err = t.notes.PutNote(ctx, n, nil, version)
		}
		if err != nil && !errdefs.IsConflict(err) && !errdefs.IsNotFound(err) {
			return fmt.Errorf("forget what was pulled of %s: %w", repository, err)
		}
	}
	return nil
}
