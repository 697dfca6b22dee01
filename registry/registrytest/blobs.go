package registrytest

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing/iotest"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func testBlobs(s *suite) {
	for i, n := range []int{0, 1, 4095, 64 << 10, 64<<10 + 1, 300_000} {
		for _, alg := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
			b := data(n, i)
			d := describe(b, alg)
			s.wantNoBlob("team/app", d.Digest)
			size := d.Size
			for range 2 { // a second time is no error
				s.ok(s.PutBlob(s.Context(), "team/app", d, iotest.HalfReader(bytes.NewReader(b))))
				s.wantBlob("team/app", d.Digest, b)
				d.Size = -1
			}
			d.Size = size
		}
	}
}

func testBlobsThatDiffer(s *suite) {
	for _, n := range []int{10, 100_000} {
		b := data(n, 1)
		d := describe(b, digest.SHA256)
		for what, sent := range map[string][]byte{"too few": b[1:], "too many": append(bytes.Clone(b), 1), "others": data(n, 2), "none": nil} {
			s.class(what, s.PutBlob(s.Context(), "a", d, bytes.NewReader(sent)), errdefs.ErrCorrupt)
			s.wantNoBlob("a", d.Digest)
		}
		bad := errors.New("cut")
		err := s.PutBlob(s.Context(), "a", d, io.MultiReader(bytes.NewReader(b[1:]), iotest.ErrReader(bad)))
		if !errors.Is(err, bad) {
			s.Errorf("a reader that fails: %v", err)
		}
		s.wantNoBlob("a", d.Digest)
	}
}

func testBlobsOfRepositories(s *suite) {
	b := data(50, 1)
	d := s.blob("a", b)
	s.wantNoBlob("a/b", d.Digest)
	s.wantNoBlob("b", d.Digest)
	s.blob("b", b)
	s.wantBlob("b", d.Digest, b)
	s.wantBlob("a", d.Digest, b)
}

func testMount(s *suite) {
	b := data(70_000, 1)
	d := s.blob("from/here", b)
	other := digest.FromString("other")
	s.class("what is not there", s.MountBlob(s.Context(), "to", "from/here", other), errdefs.ErrNotFound)
	s.class("from another repository", s.MountBlob(s.Context(), "to", "from", d.Digest), errdefs.ErrNotFound)
	s.wantNoBlob("to", d.Digest)
	s.ok(s.MountBlob(s.Context(), "to", "from/here", d.Digest))
	s.ok(s.MountBlob(s.Context(), "to", "from/here", d.Digest))
	s.wantBlob("to", d.Digest, b)
	s.ok(s.DeleteBlob(s.Context(), "from/here", d.Digest))
	s.wantNoBlob("from/here", d.Digest)
	s.wantBlob("to", d.Digest, b)
}

func testDeleteBlob(s *suite) {
	d := s.blob("a", data(10, 1))
	s.ok(s.DeleteBlob(s.Context(), "a", d.Digest))
	s.wantNoBlob("a", d.Digest)
	s.class("again", s.DeleteBlob(s.Context(), "a", d.Digest), errdefs.ErrNotFound)
	s.blob("a", data(10, 1))
	s.wantBlob("a", d.Digest, data(10, 1))

	m := s.push("a", 2)
	s.class("required", s.DeleteBlob(s.Context(), "a", m.Requires[1].Digest), errdefs.ErrConflict)
	s.wantImage("a", m)
	s.ok(s.DeleteManifest(s.Context(), "a", m.Descriptor.Digest, registry.Mover{}))
	s.ok(s.DeleteBlob(s.Context(), "a", m.Requires[1].Digest))
}

func (s *suite) begin(repository string, alg digest.Algorithm) registry.Upload {
	s.Helper()
	u, err := s.NewUpload(s.Context(), repository, alg)
	s.ok(err)
	if ok, err := regexp.MatchString(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, u.ID()); err != nil || !ok {
		s.Errorf("the ID %q", u.ID())
	}
	if u.Size() != 0 {
		s.Errorf("a new upload has %d bytes", u.Size())
	}
	return u
}

func (s *suite) appendTo(u registry.Upload, b []byte) {
	s.Helper()
	before := u.Size()
	n, err := u.Append(s.Context(), bytes.NewReader(b))
	s.ok(err)
	if n != int64(len(b)) || u.Size() != before+n {
		s.Errorf("Append of %d bytes to %d returned %d, and there are %d", len(b), before, n, u.Size())
	}
}

func (s *suite) commit(u registry.Upload, d digest.Digest, size int) content.Info {
	s.Helper()
	info, err := u.Commit(s.Context(), d)
	s.ok(err)
	if info.Digest != d || info.Size != int64(size) {
		s.Errorf("Commit returned %+v", info)
	}
	s.ok(u.Close())
	return info
}

// testUploads: in one piece, in pieces, over several opens and processes.
func testUploads(s *suite) {
	for i, n := range []int{0, 100, 64 << 10, 200_000, 6 << 20} {
		for _, alg := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
			b := data(n, i)
			d := alg.FromBytes(b)
			u := s.begin("a/b", alg)
			s.appendTo(u, b[:n/3])
			s.appendTo(u, b[n/3:n/2])
			s.ok(u.Close())
			if i == 3 {
				s.Storage = s.driver.Reopen(s.T, s.Storage)
			}
			u, err := s.OpenUpload(s.Context(), "a/b", u.ID())
			s.ok(err)
			if u.Size() != int64(n/2) {
				s.Errorf("an upload of %d bytes has %d when it is opened again", n/2, u.Size())
			}
			s.appendTo(u, b[n/2:n-n/4])
			s.ok(u.Close())
			u, err = s.OpenUpload(s.Context(), "a/b", u.ID())
			s.ok(err)
			s.appendTo(u, b[n-n/4:])
			s.wantNoBlob("a/b", d)
			s.commit(u, d, n)
			s.wantBlob("a/b", d, b)
			_, err = s.OpenUpload(s.Context(), "a/b", u.ID())
			s.class("open after Commit", err, errdefs.ErrNotFound)
		}
	}
	b := data(1000, 99)
	u := s.begin("a/b", digest.SHA256)
	s.appendTo(u, b)
	s.commit(u, digest.FromBytes(b), len(b))
	s.wantBlob("a/b", digest.FromBytes(b), b)
}

// testUploadThatFails: what came before a failure counts.
func testUploadThatFails(s *suite) {
	for _, n := range []int{1000, 500_000} {
		b := data(n, n)
		u := s.begin("a", digest.SHA256)
		bad := errors.New("cut")
		got, err := u.Append(s.Context(), io.MultiReader(bytes.NewReader(b[:n/2]), iotest.ErrReader(bad)))
		if !errors.Is(err, bad) || got > int64(n/2) || u.Size() != got {
			s.Errorf("Append that is cut returned %d, %v; there are %d bytes", got, err, u.Size())
		}
		s.ok(u.Close())
		u, err = s.OpenUpload(s.Context(), "a", u.ID())
		s.ok(err)
		if u.Size() != got {
			s.Errorf("%d bytes when it is opened again, want %d", u.Size(), got)
		}
		s.appendTo(u, b[u.Size():])
		s.commit(u, digest.FromBytes(b), n)
		s.wantBlob("a", digest.FromBytes(b), b)
	}
}

func testUploadInUse(s *suite) {
	u := s.begin("a", digest.SHA256)
	_, err := s.OpenUpload(s.Context(), "a", u.ID())
	s.class("open twice", err, errdefs.ErrUnavailable)
	s.appendTo(u, []byte("x"))
	s.ok(u.Close())
	s.ok(u.Close())
	_, err = s.OpenUpload(s.Context(), "b", u.ID())
	s.class("of another repository", err, errdefs.ErrNotFound)
	for _, id := range []string{"", "x", "..", "../a", strings.Repeat("a", 26), strings.Repeat("a", 5000), "a/b", u.ID() + "a"} {
		_, err = s.OpenUpload(s.Context(), "a", id)
		s.class("open "+id, err, errdefs.ErrNotFound)
	}
	u, err = s.OpenUpload(s.Context(), "a", u.ID())
	s.ok(err)
	s.commit(u, digest.FromString("x"), 1)
}

func testUploadOtherAlgorithm(s *suite) {
	for _, n := range []int{100, 100_000} {
		b := data(n, 5)
		u := s.begin("a", digest.SHA256)
		s.appendTo(u, b)
		s.commit(u, digest.SHA512.FromBytes(b), n)
		s.wantBlob("a", digest.SHA512.FromBytes(b), b)
		s.wantNoBlob("a", digest.SHA256.FromBytes(b))
	}
	if u, err := s.NewUpload(s.Context(), "a", digest.SHA384); err == nil {
		s.Error("an upload for sha384 began")
		u.Close()
	}
}

func testUploadThatDiffers(s *suite) {
	for _, n := range []int{100, 100_000} {
		for _, alg := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
			u := s.begin("a", digest.SHA256)
			s.appendTo(u, data(n, 1))
			d := alg.FromBytes(data(n, 2))
			_, err := u.Commit(s.Context(), d)
			s.class("Commit", err, errdefs.ErrCorrupt)
			s.ok(u.Close())
			_, err = s.OpenUpload(s.Context(), "a", u.ID())
			s.class("open after it", err, errdefs.ErrNotFound)
			s.wantNoBlob("a", d)
			s.wantNoBlob("a", digest.FromBytes(data(n, 1)))
		}
	}
}

func testUploadCancel(s *suite) {
	for _, n := range []int{0, 100, 100_000} {
		u := s.begin("a", digest.SHA256)
		s.appendTo(u, data(n, 1))
		s.ok(u.Cancel(s.Context()))
		s.ok(u.Close())
		_, err := s.OpenUpload(s.Context(), "a", u.ID())
		s.class("open after Cancel", err, errdefs.ErrNotFound)
	}
}

func testCanceled(s *suite) {
	ctx, cancel := newCanceled(s.Context())
	defer cancel()
	b := data(10, 1)
	d := describe(b, digest.SHA256)
	for what, err := range map[string]error{
		"PutBlob": s.PutBlob(ctx, "a", d, bytes.NewReader(b)),
		"StatBlob": func() error {
			_, err := s.StatBlob(ctx, "a", d.Digest)
			return err
		}(),
		"PutManifest": s.PutManifest(ctx, "a", s.manifestOf(nil, nil, ocispec.Descriptor{Digest: d.Digest, Size: 10}), registry.PutOptions{}),
		"MoveTag":     s.MoveTag(ctx, "a", "x", registry.Move{}),
	} {
		if !errors.Is(err, ctx.Err()) {
			s.Errorf("%s: %v", what, err)
		}
	}
	s.wantNoBlob("a", d.Digest)
	u := s.begin("a", digest.SHA256)
	s.appendTo(u, b)
	if _, err := u.Commit(ctx, d.Digest); !errors.Is(err, ctx.Err()) {
		s.Errorf("Commit: %v", err)
	}
	s.commit(u, d.Digest, len(b))
}
