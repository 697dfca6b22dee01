package build

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/camada/camada/build/op"
	"github.com/camada/camada/build/source"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/fetch"
	"github.com/camada/camada/progress"
)

// remote is what is known of a source that is fetched, before or after it came.
type remote struct {
	file *fetch.File
	git  *fetch.Git // with Ref made exact
}

// identify adds what the fetched sources are to the inputs of the step. Who names the content, by a checksum or a commit, gets
// what the cache has without asking anybody.
func (w *work) identify(ctx context.Context, c *op.Copy) error {
	w.remotes = make([]remote, len(c.Remotes))
	for i := range c.Remotes {
		if w.run.p.Fetcher == nil {
			return errdefs.Unsupported("nothing here can fetch from other machines")
		}
		var id string
		var err error
		if src := &c.Remotes[i]; src.Git != nil {
			id, err = w.identifyGit(ctx, &w.remotes[i], *src.Git)
		} else {
			id, err = w.identifyURL(ctx, &w.remotes[i], *src.URL)
		}
		if err != nil {
			return err
		}
		w.ins = append(w.ins, id)
	}
	return nil
}

func (w *work) identifyURL(ctx context.Context, r *remote, u fetch.URL) (string, error) {
	if u.Checksum != "" {
		return "url=" + u.Checksum.String(), nil
	}
	f, err := w.fetch(ctx, u)
	if err != nil {
		return "", err
	}
	r.file = f
	at := f.ModTime
	if at.After(w.run.epoch) {
		at = w.run.epoch
	}
	return "url=" + f.Digest.String() + " " + strconv.FormatInt(at.Unix(), 10), nil
}

func (w *work) identifyGit(ctx context.Context, r *remote, g fetch.Git) (string, error) {
	r.git = &g
	id := g.Ref
	switch {
	case fetch.IsCommit(g.Ref):
	case fetch.IsCommit(g.Checksum):
		id = g.Checksum
	default:
		found, err := w.run.p.Fetcher.Commit(ctx, g)
		if err != nil {
			return "", err
		}
		id = found.ID
		if keeps(g) && found.Tag != "" {
			id = found.Tag
		}
	}
	in := "git=" + id
	if keeps(g) { // the name of the ref, and the remote, are in .git
		in += " .git " + fetch.Redact(g.Remote) + " " + g.Ref
	}
	if g.NoSubmodules {
		in += " no submodules"
	}
	if g.Subdir != "" {
		in += " " + g.Subdir
	}
	return in, nil
}

func keeps(g fetch.Git) bool { return g.KeepGitDir != nil && *g.KeepGitDir && g.Subdir == "" }

func (w *work) fetch(ctx context.Context, u fetch.URL) (*fetch.File, error) {
	f, err := w.run.p.Fetcher.File(ctx, u, w.progress())
	if err != nil {
		return nil, err
	}
	return &f, nil
}

// progress makes events of what comes, not too many.
func (w *work) progress() fetch.Progress {
	const every = 100 * time.Millisecond
	var last time.Time
	return func(current, total int64) {
		if now := time.Now(); now.Sub(last) >= every || current == total {
			last = now
			ev := w.run.event(w.s.v, progress.Running)
			ev.Current, ev.Total = current, total
			w.run.sink.Emit(ev)
		}
	}
}

// fetched brings the fetched sources and puts them among the items.
func (w *work) fetched(ctx context.Context, c *op.Copy, done *closers) error {
	items := make([]op.Item, len(c.Remotes))
	for i := range c.Remotes {
		var err error
		if items[i], err = w.bring(ctx, c, &c.Remotes[i], &w.remotes[i], done); err != nil {
			return err
		}
		items[i].Source = c.Remotes[i].At
	}
	for _, it := range slices.Backward(items) { // each before what comes after it
		at := slices.IndexFunc(w.items, func(other op.Item) bool { return other.Source >= it.Source })
		if at < 0 {
			at = len(w.items)
		}
		w.items = slices.Insert(w.items, at, it)
	}
	return nil
}

// bring opens a fetched source.
func (w *work) bring(ctx context.Context, c *op.Copy, src *op.Remote, r *remote, done *closers) (op.Item, error) {
	name, dir := "/", ""
	var err error
	switch {
	case r.git != nil:
		dir, err = w.run.p.Fetcher.Checkout(ctx, *r.git)
	case r.file == nil:
		r.file, err = w.fetch(ctx, *src.URL)
	}
	if err != nil {
		return op.Item{}, err
	}
	if r.file != nil {
		dir, name = filepath.Split(r.file.Path)
	}
	tree, err := source.Open(dir, source.Options{})
	if err != nil {
		return op.Item{}, err
	}
	done.add(func() { tree.Close() })
	found, err := tree.Select(ctx, name, source.Filter{Exclude: c.Exclude})
	if err != nil {
		return op.Item{}, err
	}
	it := op.Item{Tree: tree, Match: found[0]}
	if r.file == nil {
		return it, nil
	}
	it.Match.Name = src.Name
	// Who promises the bytes gets them with the build's time: the layer depends on the promise alone.
	it.Dated = src.URL.Checksum == ""
	if src.Unpack {
		if err := w.unpack(ctx, &it, done); err != nil {
			return op.Item{}, fmt.Errorf("%s: %w", fetch.Redact(src.URL.URL), err)
		}
	}
	return it, nil
}
