package transfer_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/camada/camada/content"
	"github.com/camada/camada/content/local"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/transfer"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// piped is a source whose only blob comes through a pipe.
type piped struct {
	r    io.Reader
	size int64
}

func (p piped) Open(context.Context, ocispec.Descriptor) (content.Reader, error) {
	return pipedReader{p.r, p.size}, nil
}

type pipedReader struct {
	io.Reader
	size int64
}

func (p pipedReader) Size() int64                       { return p.size }
func (p pipedReader) Close() error                      { return nil }
func (p pipedReader) ReadAt([]byte, int64) (int, error) { return 0, errors.ErrUnsupported }

// TestFlow reads a blob while it comes: bytes before the end is there, and the end only when the digest was right.
func TestFlow(t *testing.T) {
	data := make([]byte, 1<<20)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(data)
	for name, tc := range map[string]struct {
		damage, begun bool
		class         errdefs.Class
	}{"whole": {}, "damaged": {damage: true, class: errdefs.ErrCorrupt}, "resumed": {begun: true}} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			store := local.Open(t.TempDir(), local.Options{})
			desc := ocispec.Descriptor{MediaType: "application/octet-stream", Digest: digest.FromBytes(data), Size: int64(len(data))}
			if tc.begun {
				w, err := store.Writer(ctx, content.WriterOptions{Ref: "copy-" + desc.Digest.String()})
				if err != nil {
					t.Fatal(err)
				}
				_, _ = w.Write(data[:1000])
				if err := w.Close(); err != nil {
					t.Fatal(err)
				}
			}
			flow := transfer.NewFlow(store)
			r, err := flow.Open(ctx, desc) // before anything is written
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			in, out := io.Pipe()
			copied := make(chan error, 1)
			go func() {
				err := transfer.Copy(ctx, piped{in, desc.Size}, store, desc, transfer.Options{Flow: flow, Resume: true})
				flow.End(err)
				copied <- err
			}()
			half := len(data) / 2
			_, _ = out.Write(data[:half])
			got := make([]byte, half)
			// All but what the copy holds in its hands is there; the pipe gives that only with the next bytes.
			go func() {
				rest := bytes.Clone(data[half:])
				if tc.damage {
					rest[len(rest)-1] ^= 1
				}
				_, _ = io.ReadFull(r, got)
				_, _ = out.Write(rest)
				out.Close()
			}()
			err = <-copied
			if tc.class != "" && !errors.Is(err, tc.class) || tc.class == "" && err != nil {
				t.Fatalf("copy: %v", err)
			}
			if !bytes.Equal(got, data[:half]) {
				t.Error("what was read before the end differs")
			}
			rest, err := io.ReadAll(r)
			if tc.class != "" {
				if !errors.Is(err, tc.class) {
					t.Errorf("a damaged blob ends with %v", err)
				}
				return
			}
			if err != nil || !bytes.Equal(rest, data[half:]) {
				t.Errorf("%d bytes more, %v", len(rest), err)
			}
		})
	}
}

// TestFlowEnds: who waits for what does not come is told.
func TestFlowEnds(t *testing.T) {
	store := local.Open(t.TempDir(), local.Options{})
	desc := ocispec.Descriptor{Digest: digest.FromString("x"), Size: 1}
	gone := errors.New("gone")
	flow := transfer.NewFlow(store)
	r, err := flow.Open(t.Context(), desc)
	if err != nil {
		t.Fatal(err)
	}
	go flow.End(gone)
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, gone) {
		t.Errorf("read: %v", err)
	}
	desc.Digest = digest.FromString("y")
	if r, err = flow.Open(t.Context(), desc); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(make([]byte, 1)); !errdefs.IsNotFound(err) {
		t.Errorf("read after the end: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if r, err = transfer.NewFlow(store).Open(ctx, desc); err != nil {
		t.Fatal(err)
	}
	go cancel()
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("read with a canceled context: %v", err)
	}
}
