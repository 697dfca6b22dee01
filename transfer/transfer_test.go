package transfer_test

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/image/imagetest"
	"github.com/camada/camada/progress"
	"github.com/camada/camada/transfer"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// sample stores an index of two images that share a layer.
func sample(tb testing.TB, store *imagetest.Memory) (index, one, two ocispec.Descriptor) {
	tb.Helper()
	shared := imagetest.Layer("shared", "s")
	one = imagetest.Write(tb, store, imagetest.Config(), shared, imagetest.Layer("one", "1"))
	cfg := imagetest.Config()
	cfg.Architecture = "s390x"
	two = imagetest.Write(tb, store, cfg, shared, imagetest.Layer("two", "2"))
	index, err := image.WriteIndex(context.Background(), store, []ocispec.Descriptor{one, two}, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return index, one, two
}

// ordered is a destination that checks that children come before their parents.
type ordered struct {
	*imagetest.Memory
	src content.Provider
	mu  sync.Mutex
	// types are those of indexes and manifests, by digest.
	types  map[digest.Digest]string
	errs   []error
	writes int
	synced []digest.Digest
}

func (o *ordered) Writer(ctx context.Context, opts content.WriterOptions) (content.Writer, error) {
	w, err := o.Memory.Writer(ctx, opts)
	if !opts.NoSync {
		o.errs = append(o.errs, errors.New("a blob is synced by itself"))
	}
	return &orderedWriter{w, o}, err
}

func (o *ordered) Sync(_ context.Context, dgsts ...digest.Digest) error {
	o.synced = append(o.synced, dgsts...)
	return nil
}

type orderedWriter struct {
	content.Writer
	o *ordered
}

func (w *orderedWriter) Commit(ctx context.Context, size int64, d digest.Digest) (ocispec.Descriptor, error) {
	w.o.mu.Lock()
	defer w.o.mu.Unlock()
	w.o.writes++
	children, err := image.Children(ctx, w.o.src, ocispec.Descriptor{MediaType: w.o.types[d], Digest: d, Size: size})
	if err != nil {
		w.o.errs = append(w.o.errs, err)
	}
	for _, c := range children {
		if _, err := w.o.Stat(ctx, c.Digest); err != nil {
			w.o.errs = append(w.o.errs, errors.New(d.String()+" came before its child "+c.Digest.String()))
		}
	}
	return w.Writer.Commit(ctx, size, d)
}

func TestCopy(t *testing.T) {
	ctx := context.Background()
	src := &imagetest.Memory{}
	index, one, two := sample(t, src)
	dst := &ordered{Memory: &imagetest.Memory{}, src: src, types: map[digest.Digest]string{
		index.Digest: index.MediaType, one.Digest: one.MediaType, two.Digest: two.MediaType,
	}}
	var mu sync.Mutex
	states := map[progress.State]int{}
	opts := transfer.Options{Progress: progress.Func(func(e progress.Event) {
		mu.Lock()
		defer mu.Unlock()
		states[e.State]++
	})}
	if err := transfer.Copy(ctx, src, dst, index, opts); err != nil {
		t.Fatal(err)
	}
	for _, err := range dst.errs {
		t.Error(err)
	}
	// An index, two manifests, two configs, three layers.
	if dst.Len() != 8 || dst.writes != 8 || states[progress.Done] != 8 || len(dst.synced) != 8 {
		t.Errorf("%d blobs, %d writes, %d synced, events %v; want 8 of each", dst.Len(), dst.writes, len(dst.synced), states)
	}
	if err := transfer.Copy(ctx, src, dst, index, opts); err != nil {
		t.Fatal(err)
	}
	if dst.writes != 8 || states[progress.Cached] != 8 {
		t.Errorf("what is there was copied again: %d writes, events %v", dst.writes, states)
	}
	if len(dst.synced) != 16 {
		t.Errorf("what another process may have written was not synced: %d", len(dst.synced))
	}
}

func TestPartial(t *testing.T) {
	ctx := context.Background()
	src := &imagetest.Memory{}
	index, one, two := sample(t, src)
	if err := src.Delete(ctx, two.Digest); err != nil {
		t.Fatal(err)
	}
	err := transfer.Copy(ctx, src, &imagetest.Memory{}, index, transfer.Options{})
	var side *transfer.Error
	if !errors.As(err, &side) || side.Side != transfer.AtSource || side.Digest != two.Digest || !errdefs.IsNotFound(err) {
		t.Errorf("a missing manifest: %v", err)
	}
	dst := &imagetest.Memory{}
	if err := transfer.Copy(ctx, src, dst, index, transfer.Options{Partial: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := image.Open(ctx, dst, one, ocispec.Platform{}); err != nil || dst.Len() != 5 {
		t.Errorf("%d blobs: %v", dst.Len(), err)
	}
	if err := src.Delete(ctx, one.Digest); err != nil {
		t.Fatal(err)
	}
	if err := transfer.Copy(ctx, src, dst, index, transfer.Options{Partial: true}); !errdefs.IsNotFound(err) {
		t.Errorf("an index of nothing: %v", err)
	}
}

// lying is a source whose layers have a changed byte, or cannot be read.
type lying struct {
	content.Provider
	victim digest.Digest
	fail   error
}

func (l lying) Open(ctx context.Context, desc ocispec.Descriptor) (content.Reader, error) {
	r, err := l.Provider.Open(ctx, desc)
	if err != nil || desc.Digest != l.victim {
		return r, err
	}
	return lyingReader{r, l.fail}, nil
}

type lyingReader struct {
	content.Reader
	fail error
}

func (r lyingReader) Read(p []byte) (int, error) {
	if r.fail != nil {
		return 0, r.fail
	}
	n, err := r.Reader.Read(p)
	if n > 0 {
		p[0]++
	}
	return n, err
}

// full is a destination without room.
type full struct{ *imagetest.Memory }

type fullWriter struct{ content.Writer }

func (f full) Writer(ctx context.Context, opts content.WriterOptions) (content.Writer, error) {
	w, err := f.Memory.Writer(ctx, opts)
	return fullWriter{w}, err
}

func (fullWriter) Write([]byte) (int, error) { return 0, errNoRoom }

var errNoRoom = errors.New("no room")

func TestSides(t *testing.T) {
	ctx := context.Background()
	src := &imagetest.Memory{}
	_, one, _ := sample(t, src)
	img, err := image.Open(ctx, src, one, ocispec.Platform{})
	if err != nil {
		t.Fatal(err)
	}
	layer := img.Layers[0].Digest
	for name, tc := range map[string]struct {
		src   transfer.Source
		dst   transfer.Destination
		side  transfer.Side
		cause error
	}{
		"changed byte":       {lying{src, layer, nil}, &imagetest.Memory{}, transfer.AtSource, errdefs.ErrCorrupt},
		"source cannot read": {lying{src, layer, io.ErrClosedPipe}, &imagetest.Memory{}, transfer.AtSource, io.ErrClosedPipe},
		"lying manifest":     {lying{src, one.Digest, nil}, &imagetest.Memory{}, transfer.AtSource, errdefs.ErrCorrupt},
		"no room":            {src, full{&imagetest.Memory{}}, transfer.AtDestination, errNoRoom},
	} {
		err := transfer.Copy(ctx, tc.src, tc.dst, one, transfer.Options{Concurrency: 1})
		var side *transfer.Error
		if !errors.As(err, &side) || side.Side != tc.side || !errors.Is(err, tc.cause) {
			t.Errorf("%s: %v; want %s at the %s", name, err, tc.cause, tc.side)
		}
		if _, err := tc.dst.Stat(ctx, one.Digest); !errdefs.IsNotFound(err) {
			t.Errorf("%s: the manifest is there without its layers", name)
		}
	}
}

func TestCanceled(t *testing.T) {
	src := &imagetest.Memory{}
	index, _, _ := sample(t, src)
	ctx, cancel := context.WithCancel(context.Background())
	dst := &imagetest.Memory{}
	sink := progress.Func(func(e progress.Event) {
		if e.State == progress.Done {
			cancel()
		}
	})
	if err := transfer.Copy(ctx, src, dst, index, transfer.Options{Concurrency: 1, Progress: sink}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v; want canceled", err)
	}
	if dst.Len() > 2 {
		t.Errorf("%d blobs were copied after the cancel", dst.Len())
	}
}

func TestForeignLayer(t *testing.T) {
	ctx := context.Background()
	src := &imagetest.Memory{}
	cfg := imagetest.Config()
	cfg.RootFS.DiffIDs = []digest.Digest{digest.FromString("x")}
	layer := ocispec.Descriptor{MediaType: image.DockerForeignGzip, Digest: digest.FromString("y"), Size: 9, URLs: []string{"https://example.org/y"}}
	desc, err := image.Write(ctx, src, cfg, []ocispec.Descriptor{layer}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := transfer.Copy(ctx, src, &imagetest.Memory{}, desc, transfer.Options{}); err != nil {
		t.Errorf("a layer that is to be had elsewhere: %v", err)
	}
}
