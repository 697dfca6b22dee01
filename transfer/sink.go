package transfer

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// putter is a Putter as a sink.
type putter struct {
	Putter
	// there is what is known of the destination's blobs.
	there map[digest.Digest]bool
}

func (p *putter) have(ctx context.Context, desc ocispec.Descriptor) (bool, error) {
	if there, ok := p.there[desc.Digest]; ok && !image.IsIndex(desc.MediaType) && !image.IsManifest(desc.MediaType) {
		return there, nil
	}
	return p.Have(ctx, desc)
}

func (p *putter) put(ctx context.Context, src *counting, desc ocispec.Descriptor) error {
	return src.blame(desc.Digest, p.Put(ctx, src, desc))
}

// store is a Destination as a sink.
type store struct {
	dst    Destination
	resume bool
	flow   *Flow
}

func (s *store) have(ctx context.Context, desc ocispec.Descriptor) (bool, error) {
	return content.Exists(ctx, s.dst, desc.Digest)
}

// put copies a blob. What an interrupted copy left may be damaged, since nothing synced it: then all is copied anew.
func (s *store) put(ctx context.Context, src *counting, d ocispec.Descriptor) error {
	resumed, err := s.try(ctx, src, d)
	if resumed && errdefs.IsCorrupt(err) {
		_, err = s.try(ctx, src, d) // the ingest is gone
	}
	return err
}

// try copies a blob, or the rest of it, and reports whether it was a rest.
func (s *store) try(ctx context.Context, src *counting, d ocispec.Descriptor) (resumed bool, err error) {
	opts := content.WriterOptions{Algorithm: d.Digest.Algorithm()}
	_, opts.NoSync = s.dst.(content.Syncer)
	if s.resume {
		opts.Ref = "copy-" + d.Digest.String()
	}
	w, err := s.writer(ctx, d, opts)
	if err != nil {
		return resumed, fail(AtDestination, d.Digest, err)
	}
	if w == nil {
		return false, nil
	}
	defer func() { _ = w.Close() }()
	r, err := src.Open(ctx, d)
	if err != nil {
		return resumed, errors.Join(src.blame(d.Digest, err), s.forget(w))
	}
	defer r.Close()
	if err := skip(w, r); err != nil {
		return resumed, src.blame(d.Digest, err)
	}
	resumed = w.Offset() > 0
	stream := s.flow.stream(d.Digest)
	stream.begin(w)
	in := io.LimitReader(r, d.Size+1-w.Offset())
	if stream != nil {
		in = following{in, w, stream}
	}
	if _, err := io.Copy(w, in); err != nil {
		return resumed, src.blame(d.Digest, err)
	}
	stream.advance(w.Offset())
	// Bytes that are not what the digest names are the source's fault.
	if _, err := w.Commit(ctx, d.Size, d.Digest); errdefs.IsCorrupt(err) {
		return resumed, fail(AtSource, d.Digest, err)
	} else if err != nil {
		return resumed, fail(AtDestination, d.Digest, err)
	}
	return resumed, nil
}

// forget leaves no named ingest of nothing behind.
func (s *store) forget(w content.Writer) error {
	if w.Offset() == 0 {
		return w.Abort()
	}
	return nil
}

// writer opens the ingest. While another one has it, it waits; nil when the other has finished the blob.
func (s *store) writer(ctx context.Context, d ocispec.Descriptor, opts content.WriterOptions) (content.Writer, error) {
	const often = 50 * time.Millisecond
	for {
		w, err := s.dst.Writer(ctx, opts)
		if opts.Ref == "" || err != nil && !errdefs.IsUnavailable(err) {
			return w, err
		}
		// Another one may have finished it since it was looked for.
		there, statErr := content.Exists(ctx, s.dst, d.Digest)
		if err == nil && !there && statErr == nil {
			return w, nil
		}
		if err == nil {
			err = w.Abort()
		}
		if there || statErr != nil {
			return nil, statErr
		}
		t := time.NewTimer(often)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, errors.Join(context.Cause(ctx), err)
		}
	}
}

// skip brings source and ingest to the same offset: where the ingest ends when the source can begin there, else the start.
func skip(w content.Writer, r content.Reader) error {
	off := w.Offset()
	if off == 0 {
		return nil
	}
	if s, ok := r.(io.Seeker); ok && off <= r.Size() {
		if _, err := s.Seek(off, io.SeekStart); err == nil {
			return nil
		}
	}
	return w.Truncate()
}
