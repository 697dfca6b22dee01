package delta

import (
	"bufio"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"

	"github.com/camada/camada/errdefs"
	"github.com/opencontainers/go-digest"
)

// Local gives what a plan was made for.
type Local struct {
	// Tar opens the uncompressed tar of a layer that is here.
	Tar func(ctx context.Context, diffID digest.Digest) (io.ReadCloser, error)
	// Pack opens a piece of the pack.
	Pack func(ctx context.Context, at Range) (io.ReadCloser, error)
	// Dir is where temporary files go: as much as the layers that are made, uncompressed.
	Dir string
}

// Job has all that the layers of a plan are made of.
type Job struct {
	plan    *Plan
	members []map[int]Range // of each source: where its rest (0) and contents are in the spool
	sums    map[uint64]Range
	local   *spool
	pack    *spool
	packed  map[Range]int64 // where pieces of the pack are in its spool
}

// gap is how many bytes of the pack are read for nothing rather than asking once more.
const gap = 16 << 10

// Collect reads what the plan needs of the pack, and of the layers that are here. The caller closes the Job.
func (p *Plan) Collect(ctx context.Context, local Local) (*Job, error) {
	j := &Job{plan: p, members: make([]map[int]Range, len(p.doc.Sources)), sums: map[uint64]Range{}, packed: map[Range]int64{}}
	var err error
	if j.local, err = newSpool(local.Dir); err != nil {
		return nil, err
	}
	if j.pack, err = newSpool(local.Dir); err != nil {
		j.local.Close()
		return nil, err
	}
	err = j.fetch(ctx, local)
	if err == nil {
		err = j.gather(ctx, local)
	}
	if err != nil {
		j.Close()
		return nil, err
	}
	return j, nil
}

// Close removes what was collected.
func (j *Job) Close() {
	j.local.Close()
	j.pack.Close()
}

// fetch reads the patches, neighbours at once.
func (j *Job) fetch(ctx context.Context, local Local) error {
	var want []Range
	for i := range j.plan.Layers {
		for _, w := range slices.Concat(j.plan.Layers[i].rest, j.plan.Layers[i].fresh) {
			want = append(want, w.Range)
		}
	}
	slices.SortFunc(want, func(a, b Range) int { return int(min(max(a.Offset-b.Offset, -1), 1)) })
	for len(want) > 0 {
		all := want[0]
		n := 1
		for n < len(want) && want[n].Offset <= all.Offset+all.Length+gap {
			all.Length = max(all.Length, want[n].Offset+want[n].Length-all.Offset)
			n++
		}
		if err := j.piece(ctx, local, all); err != nil {
			return err
		}
		for _, r := range want[:n] {
			j.packed[r] = j.pack.size - all.Length + r.Offset - all.Offset
		}
		want = want[n:]
	}
	return nil
}

func (j *Job) piece(ctx context.Context, local Local, at Range) error {
	r, err := local.Pack(ctx, at)
	if err != nil {
		return fmt.Errorf("read the delta: %w", err)
	}
	defer r.Close()
	if _, err := io.CopyN(j.pack, r, at.Length); err != nil {
		return fmt.Errorf("read the delta: %w", err)
	}
	return nil
}

// gather takes from layers that are here what is needed of them.
func (j *Job) gather(ctx context.Context, local Local) error {
	wants := make([]map[int]bool, len(j.plan.doc.Sources))
	elsewhere := map[digest.Digest]map[uint64]bool{}
	for i := range j.plan.Layers {
		j.plan.wants(&j.plan.Layers[i], wants, elsewhere)
	}
	for i, id := range j.plan.doc.Sources {
		if wants[i] == nil && elsewhere[id] == nil {
			continue
		}
		if err := j.take(ctx, local, id, i, wants[i], elsewhere[id]); err != nil {
			return err
		}
		delete(elsewhere, id)
	}
	for id, sums := range elsewhere {
		if err := j.take(ctx, local, id, -1, nil, sums); err != nil {
			return err
		}
	}
	return nil
}

// wants notes what a layer needs: members of sources that are here, and sums of layers that were found.
func (p *Plan) wants(lp *LayerPlan, wants []map[int]bool, elsewhere map[digest.Digest]map[uint64]bool) {
	want := func(source, member int, sum func() uint64) {
		if p.has[source] {
			if wants[source] == nil {
				wants[source] = map[int]bool{}
			}
			wants[source][member] = true
			return
		}
		id := p.found[sum()]
		if elsewhere[id] == nil {
			elsewhere[id] = map[uint64]bool{}
		}
		elsewhere[id][sum()] = true
	}
	at := 0
	for _, r := range lp.Runs {
		if r.Source < 0 {
			continue
		}
		for i := range r.Count {
			want(r.Source, r.First+i+1, func() uint64 { return lp.sums.runs[at+i] })
		}
		at += r.Count
	}
	for _, w := range slices.Concat(lp.rest, lp.fresh) {
		for _, r := range w.Refs {
			want(r.Source, r.Member, func() uint64 { return lp.sums.refs[r] })
		}
	}
}

// take reads a layer that is here.
func (j *Job) take(ctx context.Context, local Local, id digest.Digest, source int, members map[int]bool, sums map[uint64]bool) error {
	tar, err := local.Tar(ctx, id)
	if err != nil {
		return fmt.Errorf("read layer %s, which is here: %w", id, err)
	}
	defer tar.Close()
	rest, err := newSpool(local.Dir)
	if err != nil {
		return err
	}
	defer rest.Close()
	to := io.Discard
	if members[0] {
		to = rest
	}
	got := make(map[int]Range, len(members))
	sum := sha256.New()
	buf := make([]byte, 128<<10)
	n := 0
	err = cut(bufio.NewReaderSize(tar, readBuffer), to, func(m member, r io.Reader) error {
		n++
		at := Range{j.local.size, m.size}
		switch {
		case len(sums) > 0:
			var out [sha256.Size]byte
			if err := summed(sum, r, j.local, buf, out[:0]); err != nil {
				return err
			}
			if s := Sum(out); sums[s] {
				j.sums[s] = at
			} else if !members[n] {
				j.local.truncate(at.Offset)
			}
		case members[n]:
			if _, err := io.CopyBuffer(j.local, onlyReader{r}, buf); err != nil {
				return err
			}
		}
		if members[n] {
			got[n] = at
		}
		return ctx.Err()
	})
	if err != nil {
		return fmt.Errorf("read layer %s, which is here: %w", id, err)
	}
	if members[0] {
		got[0] = Range{j.local.size, rest.size}
		if _, err := io.Copy(j.local, rest.section(Range{0, rest.size})); err != nil {
			return err
		}
	}
	if len(got) != len(members) {
		return errdefs.Corrupt("delta: layer %s has not got all that the document names", id)
	}
	if source >= 0 {
		j.members[source] = got
	}
	return nil
}

// onlyReader hides what else a reader can do, so that a copy uses its own buffer.
type onlyReader struct{ io.Reader }
