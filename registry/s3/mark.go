package s3

import (
	"context"
	"strings"
	"time"

	"github.com/camada/camada/registry/s3/internal/object"
	"github.com/opencontainers/go-digest"
)

// node is what a sweep knows of a manifest.
type node struct {
	cell     *cell
	requires []digest.Digest // manifests
	subject  digest.Digest
	kept     bool
}

// repositories sweeps all repositories, one after the other: memory is that of the largest one, and of the names of all bytes.
func (w *sweeper) repositories(ctx context.Context) error {
	prefix := w.s.prefix + "r/"
	return w.s.o.List(ctx, object.ListOptions{Prefix: prefix, Folders: true}, func(e object.Entry) (bool, error) {
		name := strings.TrimSuffix(strings.TrimPrefix(e.Key, prefix), "/")
		if decodeName(name) == "" {
			return true, nil
		}
		return true, w.repository(ctx, repo{w.s.prefix, name})
	})
}

// repository sweeps one. Links are read before the manifests that may need them, and manifests before the tags.
func (w *sweeper) repository(ctx context.Context, r repo) error {
	var links []*cell
	if err := w.s.walkCells(ctx, r.links(), func(c *cell) error {
		small := *c
		if c.ID == "" {
			small.body = nil
		}
		links = append(links, &small)
		return nil
	}); err != nil {
		return err
	}
	nodes, needed := make(map[digest.Digest]*node), make(map[digest.Digest][]digest.Digest)
	var over []*cell
	if err := w.s.walkCells(ctx, r.manifests(), func(c *cell) error {
		d := decodeDigest(base(c.key))
		if d == "" {
			return nil
		}
		if !c.State.needs() {
			small := *c
			small.body = nil
			over = append(over, &small)
			return nil
		}
		m, err := parsed(d, c)
		if err != nil {
			return err
		}
		small := *c
		n := &node{cell: &small, subject: m.Subject}
		for _, q := range m.Requires {
			if q.Manifest {
				n.requires = append(n.requires, q.Digest)
			} else {
				needed[d] = append(needed[d], q.Digest)
			}
		}
		n.cell.body = nil
		nodes[d] = n
		return nil
	}); err != nil {
		return err
	}
	if err := w.keep(ctx, r, nodes); err != nil {
		return err
	}
	if err := w.tags(ctx, r); err != nil {
		return err
	}
	if err := w.manifests(ctx, r, nodes, over); err != nil {
		return err
	}
	need := make(map[digest.Digest]bool)
	for d, n := range nodes {
		for _, b := range needed[d] {
			need[b] = need[b] || n.kept
		}
	}
	return w.links(ctx, links, need)
}

// keep marks the manifests that stay: those that are young, those that a tag, its log or its intents lead to, what they require, and what refers to them.
func (w *sweeper) keep(ctx context.Context, r repo, nodes map[digest.Digest]*node) error {
	now := w.s.o.Now()
	for _, n := range nodes {
		n.kept = w.opts.Untagged == 0 || now.Sub(n.cell.Pushed) <= w.opts.Untagged || n.cell.State == pending
	}
	if w.opts.Untagged != 0 {
		if err := w.tagged(ctx, r, nodes); err != nil {
			return err
		}
	}
	referrers := make(map[digest.Digest][]*node)
	for _, n := range nodes {
		if n.subject != "" {
			referrers[n.subject] = append(referrers[n.subject], n)
		}
	}
	var work []digest.Digest
	for d, n := range nodes {
		if n.kept {
			work = append(work, d)
		}
	}
	for len(work) > 0 {
		d := work[len(work)-1]
		work = work[:len(work)-1]
		next := func(d digest.Digest, n *node) {
			if n != nil && !n.kept {
				n.kept = true
				work = append(work, d)
			}
		}
		for _, c := range nodes[d].requires {
			next(c, nodes[c])
		}
		for _, f := range referrers[d] {
			next(decodeDigest(base(f.cell.key)), f)
		}
	}
	return nil
}

// tagged marks what tags lead to.
func (w *sweeper) tagged(ctx context.Context, r repo, nodes map[digest.Digest]*node) error {
	mark := func(d digest.Digest) {
		if n := nodes[d]; n != nil {
			n.kept = true
		}
	}
	since := w.s.o.Now().Add(-w.opts.Log)
	return w.s.walkCells(ctx, r.tags(), func(c *cell) error {
		t, err := tagOf(c)
		if err != nil {
			return err
		}
		mark(t.target())
		for _, i := range t.Next {
			mark(i.To)
		}
		if w.opts.Log < 0 {
			return nil
		}
		return w.logged(ctx, r, base(c.key), t, since, mark)
	})
}

// logged marks what a tag pointed to since a time.
func (w *sweeper) logged(ctx context.Context, r repo, tag string, t tagState, since time.Time, mark func(digest.Digest)) error {
	for log, chunk := t.Log, t.Chunks; ; {
		for i := len(log) - 1; i >= 0; i-- {
			// Until then it pointed to what it came from.
			if log[i].Time.Before(since) {
				return nil
			}
			mark(log[i].From)
		}
		if chunk--; chunk < 0 {
			return nil
		}
		var err error
		if log, err = w.s.readChunk(ctx, r, tag, chunk); err != nil {
			return err
		}
	}
}

// manifests condemns those that are not kept, or takes them away; nodes are those that are left then.
func (w *sweeper) manifests(ctx context.Context, r repo, nodes map[digest.Digest]*node, over []*cell) error {
	type job struct {
		d    digest.Digest
		n    *node
		cell *cell
	}
	var jobs []job
	for d, n := range nodes {
		if n.kept && n.cell.State != condemned && n.cell.State != pending {
			continue
		}
		jobs = append(jobs, job{d, n, n.cell})
	}
	for _, c := range over {
		jobs = append(jobs, job{decodeDigest(base(c.key)), nil, c})
	}
	err := each(ctx, len(jobs), func(ctx context.Context, i int) error {
		j := jobs[i]
		// Its bytes were not kept in memory.
		c, err := w.s.find(ctx, j.cell.key)
		if err != nil || c == nil || c.etag != j.cell.etag {
			return err
		}
		if j.n != nil && j.n.kept && c.State == condemned {
			return w.save(ctx, c)
		}
		gone, err := w.manifest(ctx, r, j.d, c)
		if gone && j.n != nil {
			w.mu.Lock()
			defer w.mu.Unlock()
			if c.State.visible() {
				w.report.Manifests++
			}
			delete(nodes, j.d)
		}
		return err
	})
	return err
}

// manifest condemns one, or takes it away, and before its object goes what says that it refers to another one and what it requires: so nobody can
// push it again in between.
func (w *sweeper) manifest(ctx context.Context, r repo, d digest.Digest, c *cell) (bool, error) {
	takes := false
	switch c.State {
	case condemned, deleted, pending:
		takes = w.dueCell(c)
	case dead:
		takes = w.old(c.modified, deadFor)
	}
	if !takes || w.opts.DryRun {
		return w.condemn(ctx, c)
	}
	n, err := w.s.set(ctx, c, dead)
	if err != nil {
		return false, ignoreConflict(err)
	}
	died := time.Now()
	if c.Subject != "" {
		if err := w.s.o.Delete(ctx, r.referrer(c.Subject, d)); err != nil {
			return false, err
		}
	}
	if m, err := parsed(d, c); err == nil { // what cannot be read is no manifest, and required nothing
		err := each(ctx, len(m.Requires), func(ctx context.Context, i int) error { return w.s.o.Delete(ctx, r.needer(m.Requires[i].Digest, d)) })
		if err != nil {
			return false, err
		}
	}
	w.change()
	return true, w.s.bury(ctx, n.key, died)
}

// links condemns those that no manifest needs, or takes them away. need has those that some manifest needs, and whether one that is kept does.
func (w *sweeper) links(ctx context.Context, links []*cell, need map[digest.Digest]bool) error {
	return each(ctx, len(links), func(ctx context.Context, i int) error {
		c := links[i]
		d := decodeDigest(base(c.key))
		kept, needed := need[d]
		gone := false
		switch {
		case kept && c.State != condemned, needed && !kept && c.State == condemned:
		default:
			// Its bytes were not kept in memory.
			now, err := w.s.find(ctx, c.key)
			if err != nil {
				return err
			}
			switch {
			case now == nil || now.etag != c.etag:
			case kept:
				err = w.save(ctx, now)
			default:
				gone, err = w.condemn(ctx, now)
			}
			if err != nil {
				return err
			}
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		switch {
		case gone:
			w.gone[d] = c.Size
		case c.State.needs():
			w.kept[d] = c.Size
			if c.ID != "" {
				w.held[c.ID] = true
			}
		}
		return nil
	})
}
