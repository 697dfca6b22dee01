package op

import (
	"context"
	"path"
	"time"

	"github.com/camada/camada/build/source"
	"github.com/camada/camada/errdefs"
)

// TreeName is where a tree that PlanTree takes is in its layer.
const TreeName = "tree"

// forever is a time that no file has.
const forever = 1 << 40

// TreeOptions shape a tree.
type TreeOptions struct {
	// Keep keeps the owners and the attributes of the files; otherwise root owns them.
	Keep bool
	// Times keeps the times of the files; otherwise all have Epoch.
	Times bool
	Epoch time.Time
}

// PlanTree is the plan of a layer with one tree alone: m, a file or a directory with all below it, at TreeName.
func PlanTree(ctx context.Context, t *source.Tree, m source.Match, opts TreeOptions) (*Plan, error) {
	p := newPlan(CopyInput{Epoch: opts.Epoch})
	if opts.Times {
		p.epoch = time.Unix(forever, 0)
	}
	err := t.Walk(ctx, m, func(rel string, e *source.Entry) error {
		typ := entryType(e)
		if typ == 0 {
			return nil // a socket means nothing without the process behind it
		}
		from := path.Join(m.Path, rel)
		n := &node{typ: typ, perm: e.Mode & permMask, tree: t, path: from, from: e, copied: from, oldTime: opts.Keep, dated: opts.Times}
		if opts.Keep {
			n.uid, n.gid = int(e.UID), int(e.GID)
		}
		p.nodes[path.Join(TreeName, rel)] = n
		return nil
	})
	if err != nil {
		return nil, err
	}
	if p.nodes[TreeName] == nil {
		return nil, errdefs.Invalid("%s is a socket", m)
	}
	return p, nil
}
