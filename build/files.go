package build

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/camada/camada/archive/compression"
	"github.com/camada/camada/build/op"
	"github.com/camada/camada/build/source"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/layer"
	"github.com/camada/camada/layer/index"
	"github.com/camada/camada/snapshot"
	"golang.org/x/sys/unix"
)

// missingSource says that a COPY names what is not there.
type missingSource struct {
	err    error
	name   string
	others []string // what is there instead
}

func (m *missingSource) Error() string { return m.err.Error() }
func (m *missingSource) Unwrap() error { return m.err }

// match looks up the sources of a copy.
func match(ctx context.Context, tree *source.Tree, c *op.Copy, where string) ([]op.Item, error) {
	var items []op.Item
	filter := source.Filter{Exclude: c.Exclude, Parents: c.Parents}
	for i, p := range c.Sources {
		ms, err := tree.Select(ctx, p, filter)
		if errdefs.IsNotFound(err) {
			clean := strings.TrimPrefix(path.Clean("/"+p), "/")
			return nil, &missingSource{fmt.Errorf("source %q is not in the %s: %w", p, where, err), clean, tree.Near(ctx, clean)}
		}
		if err != nil {
			return nil, fmt.Errorf("source %q: %w", p, err)
		}
		for _, m := range ms {
			items = append(items, op.Item{Tree: tree, Match: m, Source: i})
		}
	}
	return items, nil
}

func matchesOf(items []op.Item) []source.Match {
	ms := make([]source.Match, len(items))
	for i, it := range items {
		ms[i] = it.Match
	}
	return ms
}

// closers are closed in reverse order.
type closers []func()

func (c *closers) add(fn func()) { *c = append(*c, fn) }
func (c closers) close() {
	for i := len(c) - 1; i >= 0; i-- {
		c[i]()
	}
}

// view opens the file system of a result; nil for an empty one.
func (r *run) view(ctx context.Context, res *result, done *closers) (*source.Tree, error) {
	id, err := res.unpack(ctx)
	if err != nil || id == "" {
		return nil, err
	}
	return r.viewID(ctx, id, done)
}

func (r *run) viewID(ctx context.Context, id string, done *closers) (*source.Tree, error) {
	v, err := r.p.Snapshots.View(ctx, id)
	if err != nil {
		return nil, err
	}
	done.add(func() { v.Close() })
	tree, err := source.Open(v.Dir(), source.Options{})
	if err != nil {
		return nil, err
	}
	done.add(func() { tree.Close() })
	return tree, nil
}

// planner is an operation that makes its layer directly.
type planner interface {
	Plan(ctx context.Context, in op.CopyInput) (*op.Plan, error)
}

// files executes COPY, ADD and WORKDIR. It is cached when the result was found by the files that are copied.
func (w *work) files(ctx, writeCtx context.Context) (cached bool, err error) {
	r := w.run
	var done closers
	defer func() { done.close() }()
	in := op.CopyInput{Epoch: r.epoch}
	if c, ok := w.s.v.Op.(*op.Copy); ok {
		if cached, err = w.copyItems(ctx, c, &done); cached || err != nil {
			return cached, err
		}
		in.Items = w.items
	}
	if c, ok := w.s.v.Op.(*op.Copy); !ok || !c.Link {
		if in.Target, err = r.view(ctx, w.parent, &done); err != nil {
			return false, err
		}
	}
	plan, err := w.s.v.Op.(planner).Plan(ctx, in)
	if err != nil {
		return false, err
	}
	l, id, err := w.write(ctx, func(out io.Writer, known index.Known) error { return plan.Write(ctx, out, known) })
	if err != nil {
		return false, err
	}
	w.finish(writeCtx, id, func() (layer.Layer, error) { return l, nil })
	return false, nil
}

// write stores the layer that produce makes and, when a later step reads it, unpacks it
// on the way. It returns the snapshot, "" for none.
func (w *work) write(ctx context.Context, produce func(io.Writer, index.Known) error) (layer.Layer, string, error) {
	r := w.run
	opts := r.layerOptions()
	tee, done, err := w.guarded(ctx, &opts)
	if err != nil {
		return layer.Layer{}, "", err
	}
	defer done()
	if !r.needed(w.s.v) {
		l, err := r.indexes.Write(ctx, r.p.Content, opts, produce, tee...)
		return l, "", err
	}
	below, err := w.parent.unpack(ctx)
	if err != nil {
		return layer.Layer{}, "", err
	}
	pr, pw := io.Pipe()
	type applied struct {
		info snapshot.Info
		err  error
	}
	result := make(chan applied, 1)
	go func() {
		info, err := r.p.Snapshots.Apply(ctx, below, bufio.NewReaderSize(pr, 256<<10))
		pr.CloseWithError(errors.Join(err, io.ErrClosedPipe)) // nobody reads any more
		result <- applied{info, err}
	}()
	l, err := r.indexes.Write(ctx, r.p.Content, opts, produce, append(tee, pw)...)
	var a applied
	select {
	case a = <-result: // before the end of the stream: it failed, and is the cause
	default:
		pw.CloseWithError(err) // nil is the end of the stream
		a = <-result
	}
	if a.err == nil {
		r.snaps.add(a.info.ID)
	} else if err == nil || errors.Is(err, io.ErrClosedPipe) {
		err = a.err
	}
	return l, a.info.ID, err
}

// copyItems finishes the list of sources: files of other stages are looked up, and
// archives unpacked. It ends early when the files of another stage are all that it takes to find the result.
func (w *work) copyItems(ctx context.Context, c *op.Copy, done *closers) (cached bool, err error) {
	r := w.run
	if c.From && len(c.Sources) > 0 {
		tree, err := r.view(ctx, r.of(w.s.v.Sources[0]), done)
		if err != nil {
			return false, err
		}
		if tree == nil {
			tree = source.Empty()
		}
		if w.items, err = match(ctx, tree, c, "stage or image that is copied from"); err != nil {
			return false, err
		}
		if cached, err = w.identifyCopied(ctx, c); cached || err != nil {
			return cached, err
		}
	}
	if c.Unpack {
		for i := range w.items {
			if err := w.unpack(ctx, &w.items[i], done); err != nil {
				return false, err
			}
		}
	}
	return false, w.fetched(ctx, c, done)
}

// unpack makes an item that is a tar archive into what is in the archive.
func (w *work) unpack(ctx context.Context, it *op.Item, done *closers) error {
	if it.Match.Entry.Type() != unix.S_IFREG {
		return nil
	}
	tree, err := w.unpackArchive(ctx, *it, done)
	if err != nil {
		return fmt.Errorf("unpack %s: %w", it.Match, err)
	}
	if tree == nil {
		return nil
	}
	root, err := tree.Match(ctx, "/")
	if err != nil {
		return err
	}
	*it = op.Item{Tree: tree, Match: root[0], Unpacked: true, Source: it.Source}
	return nil
}

// unpackArchive returns what a tar archive holds; nil when the file is none.
// Snapshots unpack hostile archives already, so it goes through one.
func (w *work) unpackArchive(ctx context.Context, it op.Item, done *closers) (*source.Tree, error) {
	r := w.run
	f, err := it.Tree.File(it.Match.Path, it.Match.Entry)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if !isTar(f) {
		return nil, nil
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	tar, err := compression.NewReader(f, compression.Limits{})
	if err != nil {
		return nil, err
	}
	defer tar.Close()
	info, err := r.p.Snapshots.Apply(ctx, "", tar)
	if err != nil {
		return nil, err
	}
	r.snaps.add(info.ID)
	return r.viewID(ctx, info.ID, done)
}

// isTar reports whether the file is a tar archive, compressed or not, by the checksum
// of its first header.
func isTar(f io.Reader) bool {
	r, err := compression.NewReader(f, compression.Limits{MaxBytes: 1 << 20})
	if err != nil {
		return false
	}
	defer r.Close()
	var b [512]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return false
	}
	var want, have int
	digits := strings.Trim(string(b[148:156]), " \x00")
	if digits == "" || len(digits) > 7 {
		return false
	}
	for _, d := range []byte(digits) {
		if d < '0' || d > '7' {
			return false
		}
		want = want*8 + int(d-'0')
	}
	for i, c := range b {
		if i >= 148 && i < 156 {
			c = ' '
		}
		have += int(c)
	}
	return have == want
}
