package registrytest

import (
	"bytes"
	"errors"
	"slices"
	"strconv"
	"sync"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry"
	"github.com/opencontainers/go-digest"
)

func testNotes(s *suite) {
	ctx := s.Context()
	_, _, err := s.Note(ctx, "a/b")
	s.class("no note", err, errdefs.ErrNotFound)
	s.class("one that should be there", s.PutNote(ctx, "a/b", []byte("1"), "x"), errdefs.ErrConflict)
	s.ok(s.PutNote(ctx, "a/b", []byte("1"), ""))
	s.class("one that is there", s.PutNote(ctx, "a/b", []byte("2"), ""), errdefs.ErrConflict)
	got, v1, err := s.Note(ctx, "a/b")
	s.ok(err)
	if string(got) != "1" || v1 == "" {
		s.Errorf("note %q, version %q", got, v1)
	}
	big := bytes.Repeat([]byte("0123456789abcdef"), registry.MaxNote/16)
	s.ok(s.PutNote(ctx, "a/b", big, v1))
	s.class("after another one", s.PutNote(ctx, "a/b", []byte("3"), v1), errdefs.ErrConflict)
	s.class("too big", s.PutNote(ctx, "c", append(big, 1), ""), errdefs.ErrLimit)
	s.class("a bad name", s.PutNote(ctx, "../c", []byte("1"), ""), errdefs.ErrInvalid)
	s.ok(s.PutNote(ctx, "a/b/c", []byte("below"), ""))
	s.ok(s.PutNote(ctx, "a/a-b", []byte{}, ""))
	s.ok(s.PutNote(ctx, "ab/c", []byte("other"), ""))
	names, err := s.ListNotes(ctx, "a")
	s.ok(err)
	if want := []string{"a/a-b", "a/b", "a/b/c"}; !slices.Equal(names, want) {
		s.Errorf("notes %q, want %q", names, want)
	}
	// No sweep takes them, and a new process finds them.
	_, err = s.Sweep(ctx, registry.SweepOptions{Grace: s.driver.Grain, Log: -1, Untagged: s.driver.Grain, Uploads: s.driver.Grain})
	s.ok(err)
	s.Storage = s.driver.Reopen(s.T, s.Storage)
	got, v2, err := s.Note(ctx, "a/b")
	s.ok(err)
	if !bytes.Equal(got, big) || v2 == v1 {
		s.Errorf("note of %d bytes, version %q after %q", len(got), v2, v1)
	}
	s.ok(s.PutNote(ctx, "a/b", nil, v2))
	_, _, err = s.Note(ctx, "a/b")
	s.class("a note that was removed", err, errdefs.ErrNotFound)
	s.class("one that was removed", s.PutNote(ctx, "a/b", []byte("3"), v2), errdefs.ErrConflict)
	s.ok(s.PutNote(ctx, "a/b", []byte("4"), ""))
	if list, err := s.ListRepositories(ctx, "", -1); err != nil || len(list) > 0 {
		s.Errorf("notes made repositories: %q, %v", list, err)
	}
}

// testNoteManyWriters: of those who count at once, no count is lost.
func testNoteManyWriters(s *suite) {
	const writers, each = 4, 5
	var wg sync.WaitGroup
	errs := make(chan error, writers)
	for range writers {
		wg.Go(func() {
			for done := 0; done < each; {
				data, version, err := s.Note(s.Context(), "count")
				if err != nil && !errdefs.IsNotFound(err) {
					errs <- err
					return
				}
				n, _ := strconv.Atoi(string(data))
				err = s.PutNote(s.Context(), "count", []byte(strconv.Itoa(n+1)), version)
				if err == nil {
					done++
				} else if !errdefs.IsConflict(err) {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		s.Error(err)
	}
	data, _, err := s.Note(s.Context(), "count")
	s.ok(err)
	if string(data) != strconv.Itoa(writers*each) {
		s.Errorf("the count is %s, want %d", data, writers*each)
	}
}

func testWalkBlobs(s *suite) {
	want := map[digest.Digest]int64{}
	for i, n := range []int{0, 10, 70_000, 200_000} {
		d := s.blob("a", data(n, i+40))
		want[d.Digest] = d.Size
	}
	s.blob("a/b", data(5, 50))
	got := map[digest.Digest]int64{}
	s.ok(s.WalkBlobs(s.Context(), "a", func(i content.Info) error { got[i.Digest] = i.Size; return nil }))
	if len(got) != len(want) {
		s.Errorf("%d blobs, want %d", len(got), len(want))
	}
	for d, n := range want {
		if got[d] != n {
			s.Errorf("blob %s has %d bytes, want %d", d, got[d], n)
		}
	}
	stop := errors.New("stop")
	if err := s.WalkBlobs(s.Context(), "a", func(content.Info) error { return stop }); !errors.Is(err, stop) {
		s.Errorf("a walk that was stopped: %v", err)
	}
	s.ok(s.WalkBlobs(s.Context(), "none", func(i content.Info) error { s.Errorf("blob %s of nothing", i.Digest); return nil }))
}
