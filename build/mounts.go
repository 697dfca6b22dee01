package build

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/camada/camada/build/op"
	"github.com/camada/camada/build/source"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/mount"
	"github.com/opencontainers/go-digest"
)

// mountInputs finds out what the mounts of a RUN step show: the digests of what is bound, and of what caches begin with.
func (w *work) mountInputs(ctx context.Context, o *op.Run) error {
	w.shown = make([]digest.Digest, len(o.Mounts))
	for i, m := range o.Mounts {
		var err error
		switch m.From {
		case op.FromEmpty:
			continue
		case op.FromContext:
			w.shown[i], err = w.contextDigest(ctx, m.Context, m.Source)
		default:
			w.shown[i], err = w.run.treeDigest(ctx, w.run.of(w.s.v.Sources[m.From]), m.Source)
		}
		if err != nil {
			return fmt.Errorf("mount on %s: %w", m.Target, err)
		}
		w.ins = append(w.ins, "mount "+m.Target+"="+w.shown[i].String())
	}
	return nil
}

// contextDigest is that of a file or directory of the context.
func (w *work) contextDigest(ctx context.Context, of, name string) (digest.Digest, error) {
	tree, m, err := w.run.contextAt(ctx, of, name)
	if err != nil {
		return "", err
	}
	found := []source.Match{m}
	d, err := tree.Digest(ctx, found)
	if err == nil {
		w.mounted = append(w.mounted, &ContextFiles{Digest: d, tree: tree, found: found})
	}
	return d, err
}

// contextAt looks up a path of a context, whose name is "" for the build context.
func (r *run) contextAt(ctx context.Context, of, name string) (*source.Tree, source.Match, error) {
	tree, err := r.contextOf(of)
	if err != nil {
		return nil, source.Match{}, err
	}
	where := "build context"
	if of != "" {
		where = "context " + of
	}
	m, err := at(ctx, tree, name, where)
	return tree, m, err
}

// at looks up what a mount shows.
func at(ctx context.Context, tree *source.Tree, name, where string) (source.Match, error) {
	m, err := tree.At(ctx, name)
	if errdefs.IsNotFound(err) {
		return m, &missingSource{fmt.Errorf("source %q is not in the %s: %w", name, where, err), name[1:], tree.Near(ctx, name[1:])}
	}
	return m, err
}

// treeDigest is that of a file or directory in the file system of a result. It is remembered: what is in a chain
// of layers never changes, and reading it may mean to unpack it.
func (r *run) treeDigest(ctx context.Context, res *result, name string) (digest.Digest, error) {
	chainID, err := res.chain(ctx)
	if err != nil {
		return "", err
	}
	known := filepath.Join(r.p.CacheDir, TreeDigests, digest.FromString(chainID.String()+" "+name).Encoded())
	if data, err := os.ReadFile(known); err == nil {
		if d, err := digest.Parse(string(data)); err == nil {
			now := time.Now()
			_ = os.Chtimes(known, now, now) // when it was used last, for those who remove old ones
			return d, nil
		}
	}
	var done closers
	defer func() { done.close() }()
	tree, m, err := r.resultAt(ctx, res, name, &done)
	if err != nil {
		return "", err
	}
	d, err := tree.Identity(ctx, m)
	if err != nil {
		return "", err
	}
	// It spares work, and nothing is lost without it.
	if os.MkdirAll(filepath.Dir(known), 0o755) == nil && os.WriteFile(known+".tmp", []byte(d), 0o644) == nil {
		_ = os.Rename(known+".tmp", known)
	}
	return d, nil
}

// TreeDigests is where, in the cache directory, the digests of trees that steps mounted are remembered: small files, each as old
// as its last use. Removing them is harmless.
const TreeDigests = "trees"

func (r *run) resultAt(ctx context.Context, res *result, name string, done *closers) (*source.Tree, source.Match, error) {
	tree, err := r.view(ctx, res, done)
	if err != nil {
		return nil, source.Match{}, err
	}
	m, err := at(ctx, tree, name, "stage or image that is mounted from")
	return tree, m, err
}

// stepMounts makes what the mounts of a step show. release takes back what is thrown away after the step.
func (w *work) stepMounts(ctx context.Context, o *op.Run) (mounts []op.StepMount, release func(), err error) {
	var written []string
	release = func() {
		for _, id := range written {
			if w.run.p.Snapshots.Remove(context.WithoutCancel(ctx), id) == nil {
				w.run.snaps.keep(id)
			}
		}
	}
	hasCache := slices.ContainsFunc(o.Mounts, func(m op.Mount) bool { return m.Type == op.MountCache })
	for i, m := range o.Mounts {
		sm := op.StepMount{Mount: m}
		switch m.Type {
		case op.MountBind:
			var id string
			if sm.Tree, sm.Path, id, err = w.bound(ctx, m, hasCache); id != "" {
				written = append(written, id)
			}
		case op.MountCache:
			if m.From != op.FromEmpty {
				sm.From, sm.Fill = w.shown[i], w.fill(m)
			}
		}
		if err != nil {
			release()
			return nil, nil, fmt.Errorf("mount on %s: %w", m.Target, err)
		}
		mounts = append(mounts, sm)
	}
	return mounts, release, nil
}

// bound is the file system of a bind, and the path in it. written is a snapshot that is of no use after the step.
func (w *work) bound(ctx context.Context, m op.Mount, ownTimes bool) (tree mount.Mount, name, written string, err error) {
	r := w.run
	id, name := "", "/"
	switch m.From {
	case op.FromEmpty:
	case op.FromContext:
		id, err = r.contextSnapshot(ctx, m.Context, m.Source, ownTimes)
		name = "/" + op.TreeName
	default:
		id, err = r.of(w.s.v.Sources[m.From]).unpack(ctx)
		name = m.Source
	}
	if err != nil {
		return tree, "", "", err
	}
	if !m.ReadOnly || id == "" {
		info, err := r.p.Snapshots.Prepare(ctx, id)
		if err != nil {
			return tree, "", "", err
		}
		r.snaps.add(info.ID)
		id, written = info.ID, info.ID
	}
	tree, err = r.p.Snapshots.Mount(ctx, id)
	return tree, name, written, err
}

// boundContext is a part of the context that steps of this build mount.
type boundContext struct {
	once sync.Once
	id   string
	err  error
}

// contextSnapshot copies a file or directory of the context into a snapshot, once, where it is called op.TreeName. Its
// files belong to root. They have the build's epoch as their time; ownTimes keeps their own. That is for steps with a cache:
// programs like make and cargo compare the times of sources with those of what they have cached, and would take
// changed sources for old ones.
func (r *run) contextSnapshot(ctx context.Context, of, name string, ownTimes bool) (string, error) {
	key := fmt.Sprint(ownTimes, of, " ", name)
	r.boundMu.Lock()
	b := r.bound[key]
	if b == nil {
		b = &boundContext{}
		if r.bound == nil {
			r.bound = make(map[string]*boundContext)
		}
		r.bound[key] = b
	}
	r.boundMu.Unlock()
	b.once.Do(func() { b.id, b.err = r.copyContext(ctx, of, name, ownTimes) })
	return b.id, b.err
}

func (r *run) copyContext(ctx context.Context, of, name string, ownTimes bool) (string, error) {
	tree, m, err := r.contextAt(ctx, of, name)
	if err != nil {
		return "", err
	}
	plan, err := op.PlanTree(ctx, tree, m, op.TreeOptions{Times: ownTimes, Epoch: r.epoch})
	if err != nil {
		return "", err
	}
	pr, pw := io.Pipe()
	go func() { pw.CloseWithError(plan.Write(ctx, pw, nil)) }()
	info, err := r.p.Snapshots.Apply(ctx, "", bufio.NewReaderSize(pr, 256<<10))
	pr.CloseWithError(errors.Join(err, io.ErrClosedPipe)) // nobody reads any more
	if err != nil {
		return "", err
	}
	r.snaps.add(info.ID)
	return info.ID, nil
}

// fill writes what a new cache directory begins with.
func (w *work) fill(m op.Mount) func(context.Context, io.Writer) error {
	return func(ctx context.Context, out io.Writer) error {
		var done closers
		defer func() { done.close() }()
		var tree *source.Tree
		var match source.Match
		var err error
		if m.From == op.FromContext {
			tree, match, err = w.run.contextAt(ctx, m.Context, m.Source)
		} else {
			tree, match, err = w.run.resultAt(ctx, w.run.of(w.s.v.Sources[m.From]), m.Source, &done)
		}
		if err != nil {
			return err
		}
		plan, err := op.PlanTree(ctx, tree, match, op.TreeOptions{Keep: m.From != op.FromContext, Times: true})
		if err != nil {
			return err
		}
		return plan.Write(ctx, out, nil)
	}
}
