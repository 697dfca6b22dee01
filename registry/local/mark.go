package local

import (
	"context"
	"slices"

	"github.com/camada/camada/registry/local/kv"
	"github.com/opencontainers/go-digest"
)

// sweepManifests removes the manifests of a repository that nothing leads to and that are old enough. Of a dry run it returns them.
func (w *sweep) sweepManifests(ctx context.Context, repository string) (map[digest.Digest]manifestEntry, error) {
	for {
		version := w.changes.of(repository)
		going, err := w.unmarked(ctx, repository)
		if err != nil || len(going) == 0 {
			return nil, err
		}
		if w.opts.DryRun {
			w.report.Manifests += len(going)
			for d := range going {
				if also, err := w.has(blobKey(repository, d)); err != nil {
					return nil, err
				} else if !also {
					w.gone[d]++
				}
			}
			return going, nil
		}
		if done, err := w.removeManifests(ctx, repository, going, version); done || err != nil {
			return nil, err
		}
	}
}

// unmarked returns the manifests that nothing leads to and that are old enough.
func (w *sweep) unmarked(ctx context.Context, repository string) (map[digest.Digest]manifestEntry, error) {
	going := map[digest.Digest]manifestEntry{}
	leads := map[digest.Digest][]digest.Digest{}
	var roots []digest.Digest
	err := w.each(ctx, newKey(kindManifest, repository), func(rest []byte, e kv.Entry) error {
		d, _, err := parseDigest(rest)
		if err != nil {
			return err
		}
		m, err := decodeManifest(e.Head)
		if err != nil {
			return err
		}
		if m.pushed.After(w.untagged) {
			roots = append(roots, d)
		} else {
			going[d] = manifestEntry{}
		}
		for _, r := range m.requires {
			if r.Manifest {
				leads[d] = append(leads[d], r.Digest)
			}
		}
		return nil
	})
	if err != nil || len(going) == 0 {
		return nil, err
	}
	err = w.each(ctx, newKey(kindReferrer, repository), func(rest []byte, _ kv.Entry) error {
		subject, rest, err := parseDigest(rest)
		if err != nil {
			return err
		}
		by, _, err := parseDigest(rest)
		leads[subject] = append(leads[subject], by)
		return err
	})
	if err != nil {
		return nil, err
	}
	err = w.eachRoot(ctx, repository, func(d digest.Digest) { roots = append(roots, d) })
	if err != nil {
		return nil, err
	}
	mark(roots, leads, going)
	return going, nil
}

// eachRoot calls fn for what tags point to, or did a short time ago.
func (w *sweep) eachRoot(ctx context.Context, repository string, fn func(digest.Digest)) error {
	err := w.each(ctx, newKey(kindTag, repository), func(rest []byte, e kv.Entry) error {
		t, err := decodeTag(string(rest), e.Head)
		fn(t.Descriptor.Digest)
		return err
	})
	if err != nil || w.opts.Log < 0 {
		return err
	}
	return w.each(ctx, newKey(kindLog, repository), func(rest []byte, e kv.Entry) error {
		l, err := decodeLog(rest[slices.Index(rest, 0)+1:], e.Head)
		if err == nil && l.Time.After(w.log) {
			fn(l.From)
			fn(l.To)
		}
		return err
	})
}

// mark takes what roots lead to out of going: what they require, and what refers to them. leads has both, in one walk along the keys instead of a search
// for each manifest.
func mark(roots []digest.Digest, leads map[digest.Digest][]digest.Digest, going map[digest.Digest]manifestEntry) {
	seen := map[digest.Digest]bool{}
	for len(roots) > 0 {
		d := roots[len(roots)-1]
		roots = roots[:len(roots)-1]
		if seen[d] {
			continue
		}
		seen[d] = true
		delete(going, d)
		roots = append(roots, leads[d]...)
	}
}

// removeManifests removes manifests, a part at a time; false when what leads to manifests changed meanwhile.
func (w *sweep) removeManifests(ctx context.Context, repository string, going map[digest.Digest]manifestEntry, version int) (bool, error) {
	order, err := w.order(repository, going)
	if err != nil {
		return false, err
	}
	for part := range slices.Chunk(order, atOnce) {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		done, err := w.removePart(repository, part, going, version)
		if !done || err != nil {
			return done, err
		}
	}
	return true, nil
}

func (w *sweep) removePart(repository string, part []digest.Digest, going map[digest.Digest]manifestEntry, version int) (bool, error) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if w.changes.of(repository) != version {
		return false, nil
	}
	var b kv.Batch
	for _, d := range part {
		if err := w.removeManifest(&b, repository, d, going[d]); err != nil {
			return false, err
		}
	}
	_, err := w.db.Write(&b)
	for _, d := range part {
		w.hot.forget(repository, d)
	}
	w.report.Manifests += len(part)
	return err == nil, err
}

// order sorts manifests so that one comes before what it requires, and reads their entries.
func (w *sweep) order(repository string, going map[digest.Digest]manifestEntry) ([]digest.Digest, error) {
	waiting := map[digest.Digest]int{} // by how many others it is required
	for d := range going {
		m, _, err := w.manifest(repository, d)
		if err != nil {
			return nil, err
		}
		going[d] = m
		for _, r := range m.requires {
			if r.Manifest {
				waiting[r.Digest]++
			}
		}
	}
	var order []digest.Digest
	for d := range going {
		if waiting[d] == 0 {
			order = append(order, d)
		}
	}
	for i := 0; i < len(order); i++ {
		for _, r := range going[order[i]].requires {
			if _, ok := going[r.Digest]; !ok || !r.Manifest {
				continue
			}
			if waiting[r.Digest]--; waiting[r.Digest] == 0 {
				order = append(order, r.Digest)
			}
		}
	}
	return order, nil
}
