package quota

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/pattern"
	"github.com/camada/camada/registry"
)

// state is what a note says.
type state struct {
	// Repository is that of a limit for each.
	Repository string `json:"repository,omitempty"`
	Used       Amount `json:"used"`
	// Less says that something was removed: it may be less than Used.
	Less bool `json:"less,omitempty"`
	// Counted is when it was counted last.
	Counted time.Time `json:"counted"`
	// Counting names a count that is under way, and Since is what was claimed since it began.
	Counting string `json:"counting,omitempty"`
	Since    Amount `json:"since,omitzero"`
}

// fullError says that there is no room. It is of the class ErrPermission.
type fullError struct{ error }

func (e fullError) Unwrap() error { return e.error }

func isFull(err error) bool { return errors.As(err, new(fullError)) }

// account is a limit and what of it is used.
type account struct {
	storage    *Storage
	limit      *Limit
	name       string
	repository string

	mu      sync.Mutex
	waiting []*change
	writing bool
	ready   bool // there is a note
	anew    bool // what it says does not count

	counting sync.Mutex
}

// change is one change of the state that waits to be written.
type change struct {
	apply func(*state) error
	err   error
	done  chan struct{}
}

// change changes the state. All that wait while somebody writes are written together.
func (a *account) change(ctx context.Context, apply func(*state) error) error {
	c := &change{apply: apply, done: make(chan struct{})}
	a.mu.Lock()
	a.waiting = append(a.waiting, c)
	leads := !a.writing
	a.writing = true
	a.mu.Unlock()
	if leads {
		a.write(context.WithoutCancel(ctx)) // others wait for it as well
	}
	<-c.done
	return c.err
}

// write writes what waits until nothing does.
func (a *account) write(ctx context.Context) {
	for {
		a.mu.Lock()
		batch := a.waiting
		a.waiting = nil
		if len(batch) == 0 {
			a.writing = false
			a.mu.Unlock()
			return
		}
		a.mu.Unlock()
		a.together(ctx, batch)
		for _, c := range batch {
			close(c.done)
		}
	}
}

// tries bounds how often a note is written again because another replica was faster.
const tries = 50

func (a *account) together(ctx context.Context, batch []*change) {
	var err error
	for range tries {
		var st state
		var version string
		if st, version, err = a.read(ctx); err != nil {
			break
		}
		before := st
		for _, c := range batch {
			next := st
			if c.err = c.apply(&next); c.err == nil {
				st = next
			}
		}
		if st == before {
			return
		}
		var data []byte
		if data, err = json.Marshal(st); err != nil {
			break
		}
		if err = a.storage.PutNote(ctx, a.name, data, version); err == nil {
			return
		}
		if !errdefs.IsConflict(err) {
			break
		}
	}
	for _, c := range batch {
		if c.err == nil {
			c.err = errdefs.With(errdefs.ErrUnavailable, fmt.Errorf("note what of a quota is used: %w", err))
		}
	}
}

// read reads the note; one that nobody can read is as good as none.
func (a *account) read(ctx context.Context) (state, string, error) {
	data, version, err := a.storage.Note(ctx, a.name)
	st := state{Repository: a.repository}
	if errdefs.IsNotFound(err) {
		return st, "", nil
	}
	if err != nil {
		return st, "", err
	}
	if json.Unmarshal(data, &st) != nil {
		st = state{Repository: a.repository}
	}
	return st, version, nil
}

// claim takes an amount, when it is there.
func (a *account) claim(ctx context.Context, n Amount) error {
	return a.change(ctx, func(st *state) error {
		next, may := st.Used.plus(n), a.limit.Allowed
		for _, l := range []struct {
			what            string
			used, next, may int64
		}{{"bytes", st.Used.Bytes, next.Bytes, may.Bytes}, {"manifests", st.Used.Manifests, next.Manifests, may.Manifests}, {"tags", st.Used.Tags, next.Tags, may.Tags}} {
			if l.may > 0 && l.next > l.may && l.next > l.used {
				return fullError{errdefs.Permission("the quota of %s is used up: %d of %d %s are used, and %d more are wanted", a.of(), l.used, l.may, l.what, l.next-l.used)}
			}
		}
		st.Used = next
		if st.Counting != "" {
			st.Since = st.Since.plus(n)
		}
		return nil
	})
}

// of names what the quota is of.
func (a *account) of() string {
	if a.repository != "" {
		return a.repository
	}
	return a.limit.Repositories[0]
}

// giveBack gives back what was claimed and not stored. When that fails, the next count does it.
func (a *account) giveBack(ctx context.Context, n Amount) {
	_ = a.change(ctx, func(st *state) error {
		st.Used = st.Used.plus(Amount{-n.Bytes, -n.Manifests, -n.Tags})
		st.Less = st.Less || st.Counting != ""
		return nil
	})
}

// removed notes that there may be less.
func (s *Storage) removed(ctx context.Context, repository string, err error) {
	if err != nil {
		return
	}
	for _, a := range s.of(repository) {
		_ = a.change(context.WithoutCancel(ctx), func(st *state) error { st.Less = true; return nil }) // the next sweep counts anyway
	}
}

// ready counts what has never been counted.
func (s *Storage) ready(ctx context.Context, repository string) error {
	for _, a := range s.of(repository) {
		if a.isReady() {
			continue
		}
		st, _, err := a.read(ctx)
		if err == nil && a.doubtful(st) {
			err = a.count(ctx)
		}
		if err != nil {
			return err
		}
		a.mu.Lock()
		a.ready = true
		a.mu.Unlock()
	}
	return nil
}

func (a *account) isReady() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ready
}

// doubtful reports whether what a note says was never counted, or not kept up to date since.
func (a *account) doubtful(st state) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.anew || st.Counted.IsZero()
}

// countAge is how old a count may be before somebody is refused because of it.
const countAge = time.Minute

// countAgain counts what a repository's accounts have, when something was removed since, or a count is old. It reports whether it did.
func (s *Storage) countAgain(ctx context.Context, repository string) (bool, error) {
	did := false
	for _, a := range s.of(repository) {
		st, _, err := a.read(ctx)
		if err != nil {
			return false, err
		}
		if !st.Less && s.opts.Now().Sub(st.Counted) < countAge {
			continue
		}
		if err := a.count(ctx); err != nil {
			return false, err
		}
		did = true
	}
	return did, nil
}

// count counts anew. In this process nobody stores anything meanwhile; what other replicas claim is added, and so may be counted twice until the next time,
// but never missed.
func (a *account) count(ctx context.Context) error {
	a.counting.Lock()
	defer a.counting.Unlock()
	s := a.storage
	s.pushing.Lock()
	defer s.pushing.Unlock()
	id := rand.Text()
	err := a.change(ctx, func(st *state) error { st.Counting, st.Since = id, Amount{}; return nil })
	if err != nil {
		return err
	}
	n, err := a.walk(ctx)
	if err != nil {
		return fmt.Errorf("count what %s holds: %w", a.of(), err)
	}
	a.mu.Lock()
	a.anew = false
	a.mu.Unlock()
	return a.change(ctx, func(st *state) error {
		if st.Counting != id {
			return nil // another replica began after us, and is better
		}
		*st = state{Repository: a.repository, Used: n.plus(st.Since), Counted: s.opts.Now().UTC()}
		return nil
	})
}

// walk walks through what there is.
func (a *account) walk(ctx context.Context) (Amount, error) {
	var total Amount
	if a.repository != "" {
		return a.storage.hold(ctx, a.repository)
	}
	for after := ""; ; {
		names, err := a.storage.ListRepositories(ctx, after, 1000)
		if err != nil || len(names) == 0 {
			return total, err
		}
		for _, name := range names {
			after = name
			if !pattern.Any(a.limit.Repositories, name) {
				continue
			}
			n, err := a.storage.hold(ctx, name)
			if err != nil {
				return total, err
			}
			total = total.plus(n)
		}
	}
}

// hold is what a repository holds.
func (s *Storage) hold(ctx context.Context, repository string) (Amount, error) {
	var n Amount
	err := s.Storage.WalkBlobs(ctx, repository, func(i content.Info) error { n.Bytes += i.Size; return nil })
	if err == nil {
		err = s.Storage.WalkManifests(ctx, repository, func(i registry.ManifestInfo) error {
			n.Manifests++
			n.Bytes += i.Size
			return nil
		})
	}
	for after := ""; err == nil; {
		var tags []string
		if tags, err = s.Storage.ListTags(ctx, repository, after, 1000); len(tags) == 0 {
			break
		}
		after = tags[len(tags)-1]
		n.Tags += int64(len(tags))
	}
	return n, err
}

// all returns the accounts that there are notes of, and those of limits for all together.
func (s *Storage) all(ctx context.Context) ([]*account, error) {
	var list []*account
	for i := range s.opts.Limits {
		l := &s.opts.Limits[i]
		if !l.Each {
			list = append(list, s.account(l, ""))
			continue
		}
		names, err := s.ListNotes(ctx, l.group())
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			data, _, err := s.Note(ctx, name)
			var st state
			if errdefs.IsNotFound(err) || err == nil && (json.Unmarshal(data, &st) != nil || l.name(st.Repository) != name) {
				continue
			}
			if err != nil {
				return nil, err
			}
			list = append(list, s.account(l, st.Repository))
		}
	}
	return list, nil
}

// Usage tells what of each limit is used. What may have changed by a removal is counted again.
func (s *Storage) Usage(ctx context.Context) ([]Used, error) {
	accounts, err := s.all(ctx)
	if err != nil {
		return nil, err
	}
	list := []Used{}
	for _, a := range accounts {
		st, _, err := a.read(ctx)
		if err == nil && (st.Less || a.doubtful(st)) {
			if err = a.count(ctx); err == nil {
				st, _, err = a.read(ctx)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("find out what of a quota is used: %w", err)
		}
		list = append(list, Used{Repositories: a.limit.Repositories, Repository: a.repository, Used: st.Used, Allowed: a.limit.Allowed})
	}
	return list, nil
}
