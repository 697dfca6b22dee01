package s3

import (
	"context"
	"slices"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry/s3/internal/object"
)

// tags removes what is left of tags that point nowhere, when their log is older than it must be. A list of keys tells which these may be.
func (w *sweeper) tags(ctx context.Context, r repo) error {
	if w.opts.DryRun {
		return nil
	}
	var some []object.Entry
	look := func() error {
		err := each(ctx, len(some), func(ctx context.Context, i int) error { return w.tag(ctx, r, some[i]) })
		some = some[:0]
		return err
	}
	err := w.s.o.List(ctx, object.ListOptions{Prefix: r.tags()}, func(e object.Entry) (bool, error) {
		if isLive(e) {
			return true, nil
		}
		if some = append(some, e); len(some) < page {
			return true, nil
		}
		return true, look()
	})
	if err != nil {
		return err
	}
	return look()
}

func (w *sweeper) tag(ctx context.Context, r repo, e object.Entry) error {
	c, err := w.s.readListed(ctx, e)
	if err != nil {
		if errdefs.IsNotFound(err) {
			return nil // it went meanwhile
		}
		return err
	}
	if over, err := w.forgotten(c); !over || err != nil {
		return err
	}
	n, err := w.s.write(ctx, c.key, c, head{State: dead}, nil)
	if err != nil {
		return ignoreConflict(err)
	}
	died := time.Now()
	// Nobody begins the log again before the object is gone.
	err = w.s.o.List(ctx, object.ListOptions{Prefix: r.chunk(base(c.key), "")}, func(e object.Entry) (bool, error) {
		return true, w.s.o.Delete(ctx, e.Key)
	})
	if err != nil {
		return err
	}
	return w.s.bury(ctx, n.key, died)
}

// forgotten reports whether nothing of a tag must be kept.
func (w *sweeper) forgotten(c *cell) (bool, error) {
	if c.State == dead { // by a sweep that stopped
		return w.old(c.modified, deadFor), nil
	}
	t, err := tagOf(c)
	if err != nil || t.target() != "" {
		return false, err
	}
	now := w.s.o.Now()
	if slices.ContainsFunc(t.Next, func(i intent) bool { return now.Sub(i.At) <= intentLasts }) {
		return false, nil
	}
	n := len(t.Log)
	return n == 0 || w.opts.Log < 0 || now.Sub(t.Log[n-1].Time) > w.opts.Log, nil
}
