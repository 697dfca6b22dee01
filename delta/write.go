package delta

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/camada/camada/content"
	"github.com/camada/camada/delta/patch"
	"github.com/camada/camada/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Store makes the blob of a layer and commits it, when it has its digest and size; ErrCorrupt otherwise. It does not sync
// it (content.WriterOptions).
func (j *Job) Store(ctx context.Context, lp *LayerPlan, ing content.Ingester) (ocispec.Descriptor, error) {
	fail := func(err error) (ocispec.Descriptor, error) {
		return ocispec.Descriptor{}, fmt.Errorf("make layer %s: %w", lp.Digest, err)
	}
	blob, err := ing.Writer(ctx, content.WriterOptions{Algorithm: lp.Digest.Algorithm(), NoSync: true})
	if err != nil {
		return fail(err)
	}
	defer blob.Abort() //nolint:errcheck // harmless after Commit
	z, err := Compress(&limited{w: blob, left: lp.Plain}, lp.Recipe)
	if err != nil {
		return fail(err)
	}
	err = j.Write(ctx, lp, z)
	if closed := z.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return fail(err)
	}
	desc, err := blob.Commit(ctx, lp.Plain, lp.Digest)
	if err != nil {
		return fail(err)
	}
	return desc, nil
}

// Write writes the layer's tar. It returns no error only if the tar has its diffID.
func (j *Job) Write(ctx context.Context, lp *LayerPlan, w io.Writer) error {
	apply, err := patch.NewApplier()
	if err != nil {
		return err
	}
	sum := lp.DiffID.Algorithm().Hash()
	rest := &stream{ctx: ctx, j: j, lp: lp, apply: apply, units: lp.Rest, ways: lp.rest}
	fresh := &stream{ctx: ctx, j: j, lp: lp, apply: apply, units: lp.Fresh, ways: lp.fresh}
	runs := &runs{j: j, lp: lp}
	out := bufio.NewWriterSize(&limited{w: io.MultiWriter(sum, w), left: lp.Size}, readBuffer)
	buf := make([]byte, 128<<10)
	err = join(out, rest, func(m member, w io.Writer) error {
		from, ok, err := runs.next()
		if err != nil {
			return err
		}
		if !ok {
			_, err := io.CopyBuffer(w, io.LimitReader(fresh, m.size), buf)
			return err
		}
		if from.Length != m.size {
			return errdefs.Corrupt("delta: a content of %d bytes instead of %d", from.Length, m.size)
		}
		_, err = io.CopyBuffer(w, j.local.section(from), buf)
		return err
	})
	if err == nil {
		err = out.Flush()
	}
	if err != nil {
		return err
	}
	if got := digest.NewDigest(lp.DiffID.Algorithm(), sum); got != lp.DiffID {
		return errdefs.Corrupt("delta: the layer that was made has the diffID %s instead of %s", got, lp.DiffID)
	}
	return nil
}

// limited fails when more is written than there should be.
type limited struct {
	w    io.Writer
	left int64
}

func (l *limited) Write(p []byte) (int, error) {
	if l.left -= int64(len(p)); l.left < 0 {
		return 0, errdefs.Corrupt("delta: the layer that was made is longer than it should be")
	}
	return l.w.Write(p)
}

// runs goes through the contents of a layer.
type runs struct {
	j           *Job
	lp          *LayerPlan
	run, in, at int // the run, how many of it are done, how many sums are
}

// next tells where the next content is in the spool; ok is false for a fresh one.
func (r *runs) next() (at Range, ok bool, err error) {
	for r.run < len(r.lp.Runs) && r.in == r.lp.Runs[r.run].Count {
		r.run, r.in = r.run+1, 0
	}
	if r.run == len(r.lp.Runs) {
		return at, false, errdefs.Corrupt("delta: a layer with more files than the document names")
	}
	run := r.lp.Runs[r.run]
	r.in++
	if run.Source < 0 {
		return at, false, nil
	}
	r.at++
	if r.j.plan.has[run.Source] {
		at, ok = r.j.members[run.Source][run.First+r.in]
	} else {
		at, ok = r.j.sums[r.lp.sums.runs[r.at-1]]
	}
	if !ok {
		err = errdefs.Corrupt("delta: a content that is not here any more")
	}
	return at, ok, err
}

// stream reads the units of a stream one after the other, one at a time in memory.
type stream struct {
	ctx   context.Context // that of Write: io.Reader has no room for one
	j     *Job
	lp    *LayerPlan
	apply *patch.Applier
	units []Unit
	ways  []*Way
	cur   bytes.Reader
}

func (s *stream) Read(p []byte) (int, error) {
	for s.cur.Len() == 0 {
		if len(s.units) == 0 {
			return 0, io.EOF
		}
		if err := s.ctx.Err(); err != nil {
			return 0, err
		}
		data, err := s.unit(s.ways[0], s.units[0].Size)
		if err != nil {
			return 0, err
		}
		s.cur.Reset(data)
		s.units, s.ways = s.units[1:], s.ways[1:]
	}
	return s.cur.Read(p)
}

// unit applies a patch.
func (s *stream) unit(w *Way, size int) ([]byte, error) {
	packed, err := read(s.j.pack, Range{s.j.packed[w.Range], w.Range.Length}, nil)
	if err != nil {
		return nil, err
	}
	var old []byte
	for _, r := range w.Refs {
		at, ok := s.j.members[r.Source][r.Member]
		if !s.j.plan.has[r.Source] {
			at, ok = s.j.sums[s.lp.sums.refs[r]]
		}
		if !ok || r.Offset+r.Length > at.Length {
			return nil, errdefs.Corrupt("delta: a piece of a layer that is not there")
		}
		if old, err = read(s.j.local, Range{at.Offset + r.Offset, r.Length}, old); err != nil {
			return nil, err
		}
	}
	return s.apply.Apply(packed, old, size)
}
