package build

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/camada/camada/build/cache"
	"github.com/camada/camada/build/op"
)

// A copy from another stage or an image is looked up twice. First by the chainID of what it copies from: for that, nothing has to be
// unpacked or even be here. When nothing is found, what it copies from has to be unpacked in any case, and then it is looked up by
// the files that it takes. So a stage that changed in another file does not make the copy again.
const (
	fromInput  = "from="
	filesInput = "files="
)

// byFiles are the inputs with the copied files in place of where they come from; nil while those are not known.
func (w *work) byFiles() []string {
	i := slices.IndexFunc(w.ins, func(in string) bool { return strings.HasPrefix(in, fromInput) })
	if i < 0 || w.copied == "" {
		return nil
	}
	ins := slices.Clone(w.ins)
	ins[i] = filesInput + w.copied.String()
	return ins
}

// identifyCopied finds out which files a copy takes from another stage or image, whose tree is in w.items, and looks for
// the result by them.
func (w *work) identifyCopied(ctx context.Context, c *op.Copy) (hit bool, err error) {
	if !c.From || len(w.items) == 0 {
		return false, nil
	}
	if w.copied, err = w.items[0].Tree.CopyDigest(ctx, matchesOf(w.items), w.run.epoch); err != nil || w.miss == MissForced {
		return false, err
	}
	before := w.miss
	if hit, err = w.lookup(ctx, w.byFiles()); err != nil {
		return false, err
	}
	if !hit {
		if w.miss == MissOperation {
			w.miss = before
		}
		return false, nil
	}
	_ = w.record(ctx) // the next build finds it without the files
	w.end(w.s.res)
	return true, nil
}

// record remembers the step's result, which is ready, under each of its keys.
func (w *work) record(ctx context.Context) error {
	parent, err := w.parent.chain(ctx)
	if err != nil {
		return err
	}
	res := cache.Result{Layer: w.s.res.layer, ChainID: w.s.res.chainID, Files: w.copied}
	err = w.run.cache.Put(w.key(parent), cache.Record{Result: res, Definition: w.definition, Inputs: w.ins})
	if ins := w.byFiles(); ins != nil {
		key := cache.NewKey(w.definition, ins, parent)
		err = errors.Join(err, w.run.cache.Put(key, cache.Record{Result: res, Definition: w.definition, Inputs: ins}))
	}
	return err
}
