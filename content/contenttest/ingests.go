package contenttest

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func testResume(t *testing.T, s content.Store) {
	ctx := t.Context()
	b := data(1<<20, 10)
	cut := []int{0, 1, 1000, 1 << 19, 1 << 20}
	for i := 1; i < len(cut); i++ {
		w := must[content.Writer](t)(s.Writer(ctx, content.WriterOptions{Ref: "pull"}))
		if w.Offset() != int64(cut[i-1]) || w.Digest() != digest.FromBytes(b[:cut[i-1]]) {
			t.Fatalf("resumed at %d with %s, want %d", w.Offset(), w.Digest(), cut[i-1])
		}
		must[int](t)(w.Write(b[cut[i-1]:cut[i]]))
		ok(t, w.Close())
	}
	w := must[content.Writer](t)(s.Writer(ctx, content.WriterOptions{Ref: "pull"}))
	must[ocispec.Descriptor](t)(w.Commit(ctx, int64(len(b)), digest.FromBytes(b)))
	wantBlob(t, s, digest.FromBytes(b), b)
	w = must[content.Writer](t)(s.Writer(ctx, content.WriterOptions{Ref: "pull"}))
	defer w.Abort()
	if w.Offset() != 0 {
		t.Errorf("the ingest has %d bytes after Commit", w.Offset())
	}
}

func testResumeOtherAlgorithm(t *testing.T, s content.Store) {
	ctx := t.Context()
	w := must[content.Writer](t)(s.Writer(ctx, content.WriterOptions{Ref: "a"}))
	must[int](t)(w.Write([]byte("hello ")))
	ok(t, w.Close())
	w = must[content.Writer](t)(s.Writer(ctx, content.WriterOptions{Ref: "a", Algorithm: digest.SHA512}))
	must[int](t)(w.Write([]byte("world")))
	must[ocispec.Descriptor](t)(w.Commit(ctx, 11, digest.SHA512.FromString("hello world")))
}

func testUnnamed(t *testing.T, s content.Store) {
	w := must[content.Writer](t)(s.Writer(t.Context(), content.WriterOptions{}))
	must[int](t)(w.Write([]byte("gone")))
	ok(t, w.Close())
	w = must[content.Writer](t)(s.Writer(t.Context(), content.WriterOptions{}))
	defer w.Close()
	if w.Offset() != 0 {
		t.Error("an ingest without a name was resumed")
	}
}

func testAbortAndTruncate(t *testing.T, s content.Store) {
	ctx := t.Context()
	w := must[content.Writer](t)(s.Writer(ctx, content.WriterOptions{Ref: "x"}))
	must[int](t)(w.Write(data(100, 1)))
	ok(t, w.Abort())
	ok(t, w.Abort())
	w = must[content.Writer](t)(s.Writer(ctx, content.WriterOptions{Ref: "x"}))
	if w.Offset() != 0 {
		t.Error("an aborted ingest was resumed")
	}
	must[int](t)(w.Write(data(100, 1)))
	ok(t, w.Truncate())
	if w.Offset() != 0 || w.Digest() != digest.FromString("") {
		t.Errorf("after Truncate: offset %d, digest %s", w.Offset(), w.Digest())
	}
	must[int](t)(w.Write([]byte("new")))
	must[ocispec.Descriptor](t)(w.Commit(ctx, 3, digest.FromString("new")))
	wantBlob(t, s, digest.FromString("new"), []byte("new"))
}

func testRefInUse(t *testing.T, s content.Store) {
	ctx := t.Context()
	w := must[content.Writer](t)(s.Writer(ctx, content.WriterOptions{Ref: "x"}))
	_, err := s.Writer(ctx, content.WriterOptions{Ref: "x"})
	wantClass(t, "a second Writer", err, errdefs.ErrUnavailable)
	other := must[content.Writer](t)(s.Writer(ctx, content.WriterOptions{Ref: "../x/../../y"}))
	ok(t, other.Abort())
	ok(t, w.Close())
	w = must[content.Writer](t)(s.Writer(ctx, content.WriterOptions{Ref: "x"}))
	ok(t, w.Abort())
}

func testSync(t *testing.T, s content.Store) {
	a := put(t, s, data(10000, 1), content.WriterOptions{NoSync: true})
	b := put(t, s, data(10000, 2), content.WriterOptions{NoSync: true, Ref: "b", Algorithm: digest.SHA512})
	c := put(t, s, data(10000, 3), content.WriterOptions{})
	wantBlob(t, s, a.Digest, data(10000, 1))
	for range 2 {
		ok(t, s.Sync(t.Context(), a.Digest, b.Digest, c.Digest))
	}
	wantBlob(t, s, a.Digest, data(10000, 1))
	wantBlob(t, s, b.Digest, data(10000, 2))
}

func testDeleteAndWalk(t *testing.T, s content.Store) {
	ctx := t.Context()
	want := map[digest.Digest]int64{}
	for i := range 20 {
		alg := []digest.Algorithm{digest.SHA256, digest.SHA512}[i%2]
		d := put(t, s, data(100+i, byte(i)), content.WriterOptions{Algorithm: alg})
		want[d.Digest] = d.Size
	}
	walk := func() map[digest.Digest]int64 {
		got := map[digest.Digest]int64{}
		ok(t, s.Walk(ctx, func(i content.Info) error { got[i.Digest] = i.Size; return nil }))
		return got
	}
	if got := walk(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("Walk found %v, want %v", got, want)
	}
	for d := range want {
		if len(want) > 10 {
			ok(t, s.Delete(ctx, d))
			wantNone(t, s, d)
			delete(want, d)
		}
	}
	if got := walk(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("after Delete, Walk found %v, want %v", got, want)
	}
	stop := errors.New("stop")
	n := 0
	if err := s.Walk(ctx, func(content.Info) error { n++; return stop }); !errors.Is(err, stop) || n != 1 {
		t.Errorf("Walk with a failing function: %v after %d calls", err, n)
	}
	// Deleting while walking is what a collector does.
	ok(t, s.Walk(ctx, func(i content.Info) error { return s.Delete(ctx, i.Digest) }))
	if got := walk(); len(got) != 0 {
		t.Errorf("%d blobs left", len(got))
	}
}

func testConcurrentSame(t *testing.T, s content.Store) {
	b := data(200_000, 1)
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			opts := content.WriterOptions{NoSync: i%3 == 0}
			if i%2 == 0 {
				opts.Ref = fmt.Sprint("w", i)
			}
			w, err := s.Writer(t.Context(), opts)
			if err != nil {
				t.Error(err)
				return
			}
			defer w.Close()
			if _, err := w.Write(b); err != nil {
				t.Error(err)
			}
			if _, err := w.Commit(t.Context(), int64(len(b)), digest.FromBytes(b)); err != nil {
				t.Error(err)
			}
			if _, err := content.ReadAll(t.Context(), s, ocispec.Descriptor{Digest: digest.FromBytes(b), Size: -1}, 1<<20); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	wantBlob(t, s, digest.FromBytes(b), b)
}

func testConcurrentMany(t *testing.T, s content.Store) {
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 25 {
				b := data(500+i, byte(g))
				desc, err := content.WriteBlob(t.Context(), s, b)
				if err != nil {
					t.Error(err)
					return
				}
				got, err := content.ReadAll(t.Context(), s, desc, 1<<20)
				if err != nil || !bytes.Equal(got, b) {
					t.Errorf("read back: %v", err)
				}
			}
		})
	}
	wg.Wait()
}

func testFunctions(t *testing.T, s content.Store) {
	ctx := t.Context()
	b := data(5000, 9)
	want := ocispec.Descriptor{MediaType: "a/b", Digest: digest.FromBytes(b), Size: 5000}
	desc := must[ocispec.Descriptor](t)(content.WriteReader(ctx, s, bytes.NewReader(b), want))
	if desc.MediaType != "a/b" || desc.Digest != want.Digest || desc.Size != 5000 {
		t.Errorf("WriteReader returned %+v", desc)
	}
	wantBlob(t, s, want.Digest, b)
	for name, r := range map[string][]byte{"long": data(5001, 9), "short": data(4999, 9), "other": data(5000, 8)} {
		_, err := content.WriteReader(ctx, s, bytes.NewReader(r), want)
		wantClass(t, name, err, errdefs.ErrCorrupt)
	}
	_, err := content.ReadAll(ctx, s, ocispec.Descriptor{Digest: want.Digest, Size: -1}, 4999)
	wantClass(t, "ReadAll above the limit", err, errdefs.ErrLimit)
	j := must[ocispec.Descriptor](t)(content.WriteJSON(ctx, s, "x/json", map[string]int{"a": 1}))
	wantBlob(t, s, j.Digest, []byte(`{"a":1}`))
	if j.MediaType != "x/json" {
		t.Errorf("WriteJSON returned the media type %q", j.MediaType)
	}
	there, err := content.Exists(ctx, s, j.Digest)
	if !there || err != nil {
		t.Errorf("Exists = %v, %v", there, err)
	}
}
