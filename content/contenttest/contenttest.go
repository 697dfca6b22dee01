// Package contenttest checks that a content.Store keeps the promises of package
// content. An implementation calls it from its tests:
//
//	func TestStore(t *testing.T) {
//		contenttest.Run(t, func(t *testing.T) content.Store { return local.Open(t.TempDir(), local.Options{}) })
//	}
package contenttest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Run runs the suite. open makes a new, empty store for each test.
func Run(t *testing.T, open func(t *testing.T) content.Store) {
	tests := []struct {
		name string
		run  func(*testing.T, content.Store)
	}{
		{"Read", testRead},
		{"Algorithms", testAlgorithms},
		{"NotFound", testNotFound},
		{"BadDigests", testBadDigests},
		{"CommitMismatch", testCommitMismatch},
		{"CommitTwice", testCommitTwice},
		{"CommitExisting", testCommitExisting},
		{"AfterTheEnd", testAfterTheEnd},
		{"InvisibleBeforeCommit", testInvisible},
		{"Resume", testResume},
		{"ResumeOtherAlgorithm", testResumeOtherAlgorithm},
		{"UnnamedIsThrownAway", testUnnamed},
		{"AbortAndTruncate", testAbortAndTruncate},
		{"RefInUse", testRefInUse},
		{"Sync", testSync},
		{"DeleteAndWalk", testDeleteAndWalk},
		{"Cancel", testCancel},
		{"ConcurrentSameBlob", testConcurrentSame},
		{"ConcurrentBlobs", testConcurrentMany},
		{"Functions", testFunctions},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.run(t, open(t)) })
	}
}

func data(n int, seed byte) []byte {
	b := make([]byte, n)
	x := uint32(seed) + 1
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantClass(t *testing.T, what string, err error, class errdefs.Class) {
	t.Helper()
	if !errors.Is(err, class) {
		t.Errorf("%s: got error %v, want class %q", what, err, class)
	}
}

// put writes b in two pieces and commits it.
func put(t *testing.T, s content.Store, b []byte, opts content.WriterOptions) ocispec.Descriptor {
	t.Helper()
	ctx := t.Context()
	w := must[content.Writer](t)(s.Writer(ctx, opts))
	must[int](t)(w.Write(b[:len(b)/2]))
	must[int](t)(w.Write(b[len(b)/2:]))
	return must[ocispec.Descriptor](t)(w.Commit(ctx, int64(len(b)), ""))
}

func wantBlob(t *testing.T, s content.Store, d digest.Digest, b []byte) {
	t.Helper()
	got, err := content.ReadAll(t.Context(), s, ocispec.Descriptor{Digest: d, Size: int64(len(b))}, 1<<30)
	if err != nil {
		t.Fatalf("read %s: %v", d, err)
	}
	if !bytes.Equal(got, b) {
		t.Fatalf("blob %s has other bytes than were written", d)
	}
}

func wantNone(t *testing.T, s content.Store, d digest.Digest) {
	t.Helper()
	_, err := s.Stat(t.Context(), d)
	wantClass(t, "Stat", err, errdefs.ErrNotFound)
	r, err := s.Open(t.Context(), ocispec.Descriptor{Digest: d, Size: -1})
	wantClass(t, "Open", err, errdefs.ErrNotFound)
	if err == nil {
		r.Close()
	}
}

func testRead(t *testing.T, s content.Store) {
	for _, n := range []int{0, 1, 4095, 1 << 20} {
		b := data(n, 1)
		before := time.Now().Add(-time.Minute)
		desc := put(t, s, b, content.WriterOptions{})
		if want := digest.FromBytes(b); desc.Digest != want || desc.Size != int64(n) {
			t.Errorf("Commit returned %s with %d bytes, want %s with %d", desc.Digest, desc.Size, want, n)
		}
		info := must[content.Info](t)(s.Stat(t.Context(), desc.Digest))
		if info.Digest != desc.Digest || info.Size != int64(n) || info.ModTime.Before(before) {
			t.Errorf("Stat returned %+v", info)
		}
		r := must[content.Reader](t)(s.Open(t.Context(), desc))
		if r.Size() != int64(n) {
			t.Errorf("Size is %d, want %d", r.Size(), n)
		}
		part := make([]byte, n/2)
		if _, err := r.ReadAt(part, int64(n/4)); err != nil || !bytes.Equal(part, b[n/4:n/4+n/2]) {
			t.Errorf("ReadAt of %d bytes: error %v or other bytes", n/2, err)
		}
		if got := must[[]byte](t)(io.ReadAll(r)); !bytes.Equal(got, b) {
			t.Errorf("%d bytes read differ from the ones written", n)
		}
		ok(t, r.Close())
	}
	_, err := s.Open(t.Context(), ocispec.Descriptor{Digest: digest.FromBytes(data(1, 1)), Size: 2})
	wantClass(t, "Open with another size", err, errdefs.ErrCorrupt)
}

func testAlgorithms(t *testing.T, s content.Store) {
	b := data(1000, 2)
	for _, alg := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
		desc := put(t, s, b, content.WriterOptions{Algorithm: alg})
		if want := alg.FromBytes(b); desc.Digest != want {
			t.Errorf("%s: Commit returned %s, want %s", alg, desc.Digest, want)
		}
		wantBlob(t, s, desc.Digest, b)
	}
	_, err := s.Writer(t.Context(), content.WriterOptions{Algorithm: "md5"})
	wantClass(t, "Writer with md5", err, errdefs.ErrUnsupported)
}

func testNotFound(t *testing.T, s content.Store) {
	d := digest.FromString("nothing")
	wantNone(t, s, d)
	wantClass(t, "Delete", s.Delete(t.Context(), d), errdefs.ErrNotFound)
	wantClass(t, "Sync", s.Sync(t.Context(), d), errdefs.ErrNotFound)
	if there, err := content.Exists(t.Context(), s, d); there || err != nil {
		t.Errorf("Exists = %v, %v", there, err)
	}
	ok(t, s.Walk(t.Context(), func(i content.Info) error { t.Errorf("Walk of an empty store found %v", i); return nil }))
}

func testBadDigests(t *testing.T, s content.Store) {
	for d, class := range map[digest.Digest]errdefs.Class{
		"":                               errdefs.ErrInvalid,
		"sha256:":                        errdefs.ErrInvalid,
		"sha256:../../../etc/passwd":     errdefs.ErrInvalid,
		"sha256:00":                      errdefs.ErrInvalid,
		"../x":                           errdefs.ErrInvalid,
		"md5:d41d8cd98f00b204e9800998ec": errdefs.ErrUnsupported,
	} {
		_, err := s.Stat(t.Context(), d)
		wantClass(t, "Stat "+string(d), err, class)
		_, err = s.Open(t.Context(), ocispec.Descriptor{Digest: d, Size: -1})
		wantClass(t, "Open "+string(d), err, class)
		wantClass(t, "Delete "+string(d), s.Delete(t.Context(), d), class)
	}
}

func testCommitMismatch(t *testing.T, s content.Store) {
	ctx := t.Context()
	b := data(100, 3)
	good := digest.FromBytes(b)
	for _, tt := range []struct {
		name  string
		size  int64
		dgst  digest.Digest
		class errdefs.Class
	}{
		{"digest", -1, digest.FromString("other"), errdefs.ErrCorrupt},
		{"short", 101, "", errdefs.ErrCorrupt},
		{"long", 99, good, errdefs.ErrCorrupt},
		{"algorithm", -1, digest.SHA512.FromBytes(b), errdefs.ErrInvalid},
		{"malformed", -1, "sha256:zz", errdefs.ErrInvalid},
	} {
		w := must[content.Writer](t)(s.Writer(ctx, content.WriterOptions{Ref: tt.name}))
		must[int](t)(w.Write(b))
		_, err := w.Commit(ctx, tt.size, tt.dgst)
		wantClass(t, tt.name, err, tt.class)
		ok(t, w.Close())
		wantNone(t, s, good)
		w = must[content.Writer](t)(s.Writer(ctx, content.WriterOptions{Ref: tt.name}))
		if tt.class == errdefs.ErrCorrupt && w.Offset() != 0 {
			t.Errorf("%s: the ingest of wrong bytes was kept", tt.name)
		}
		ok(t, w.Abort())
	}
}

func testCommitTwice(t *testing.T, s content.Store) {
	w := must[content.Writer](t)(s.Writer(t.Context(), content.WriterOptions{Ref: "x"}))
	must[int](t)(w.Write(data(10, 4)))
	desc := must[ocispec.Descriptor](t)(w.Commit(t.Context(), 10, digest.FromBytes(data(10, 4))))
	ok(t, w.Close())
	ok(t, w.Abort())
	ok(t, w.Close())
	wantBlob(t, s, desc.Digest, data(10, 4))
	if _, err := w.Commit(t.Context(), -1, ""); err == nil {
		t.Error("a second Commit succeeded")
	}
}

func testCommitExisting(t *testing.T, s content.Store) {
	b := data(5000, 5)
	for _, opts := range []content.WriterOptions{{}, {Ref: "r"}, {NoSync: true}, {Ref: "r", NoSync: true}, {}, {Ref: "r"}} {
		desc := put(t, s, b, opts)
		wantBlob(t, s, desc.Digest, b)
	}
	n := 0
	ok(t, s.Walk(t.Context(), func(content.Info) error { n++; return nil }))
	if n != 1 {
		t.Errorf("%d blobs after six commits of the same bytes", n)
	}
	// The name is free for other bytes.
	other := put(t, s, data(7, 6), content.WriterOptions{Ref: "r"})
	wantBlob(t, s, other.Digest, data(7, 6))
}

func testAfterTheEnd(t *testing.T, s content.Store) {
	for name, end := range map[string]func(content.Writer) error{
		"Close":  content.Writer.Close,
		"Abort":  content.Writer.Abort,
		"Commit": func(w content.Writer) error { _, err := w.Commit(t.Context(), -1, ""); return err },
	} {
		w := must[content.Writer](t)(s.Writer(t.Context(), content.WriterOptions{Ref: name}))
		ok(t, end(w))
		if _, err := w.Write([]byte("x")); err == nil {
			t.Errorf("Write after %s succeeded", name)
		}
		if err := w.Truncate(); err == nil {
			t.Errorf("Truncate after %s succeeded", name)
		}
	}
}

func testInvisible(t *testing.T, s content.Store) {
	b := data(3000, 7)
	w := must[content.Writer](t)(s.Writer(t.Context(), content.WriterOptions{}))
	defer w.Close()
	must[int](t)(w.Write(b))
	if w.Digest() != digest.FromBytes(b) || w.Offset() != 3000 {
		t.Errorf("Digest %s and Offset %d before Commit", w.Digest(), w.Offset())
	}
	wantNone(t, s, digest.FromBytes(b))
	ok(t, s.Walk(t.Context(), func(i content.Info) error { t.Errorf("Walk found %v before Commit", i); return nil }))
}

func testCancel(t *testing.T, s content.Store) {
	b := data(200, 8)
	ctx, cancel := context.WithCancel(t.Context())
	w := must[content.Writer](t)(s.Writer(ctx, content.WriterOptions{Ref: "c"}))
	must[int](t)(w.Write(b))
	cancel()
	if _, err := w.Commit(ctx, -1, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("Commit with a canceled context: %v", err)
	}
	wantNone(t, s, digest.FromBytes(b))
	ok(t, w.Close())
	w = must[content.Writer](t)(s.Writer(t.Context(), content.WriterOptions{Ref: "c"}))
	if w.Offset() != 200 {
		t.Errorf("the ingest has %d bytes after a canceled Commit, want 200", w.Offset())
	}
	desc := must[ocispec.Descriptor](t)(w.Commit(t.Context(), 200, digest.FromBytes(b)))
	if _, err := s.Writer(ctx, content.WriterOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Writer with a canceled context: %v", err)
	}
	if err := s.Walk(ctx, func(content.Info) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("Walk with a canceled context: %v", err)
	}
	if err := s.Delete(ctx, desc.Digest); !errors.Is(err, context.Canceled) {
		t.Errorf("Delete with a canceled context: %v", err)
	}
}
