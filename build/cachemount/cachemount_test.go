package cachemount

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/camada/camada/build/op"
	"github.com/camada/camada/errdefs"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func acquire(t *testing.T, s *Store, key Key, sharing op.Sharing) *Handle {
	t.Helper()
	h, err := s.Acquire(t.Context(), key, Options{Sharing: sharing})
	must(t, err)
	return h
}

// TestSharing is what each kind of sharing gives while another use lasts.
func TestSharing(t *testing.T) {
	for _, c := range []struct {
		holds, wants op.Sharing
		same         bool
	}{
		{op.SharingShared, op.SharingShared, true},
		{op.SharingShared, op.SharingPrivate, false},
		{op.SharingPrivate, op.SharingPrivate, false},
		{op.SharingPrivate, op.SharingShared, false},
		{op.SharingLocked, op.SharingPrivate, false},
	} {
		s := Open(t.TempDir())
		key := Key{ID: "k"}
		first := acquire(t, s, key, c.holds)
		must(t, os.WriteFile(first.Dir()+"/f", nil, 0o644))
		second := acquire(t, Open(s.dir), key, c.wants)
		if (first.Dir() == second.Dir()) != c.same {
			t.Errorf("%s while %s: %s, %s", c.wants, c.holds, first.Dir(), second.Dir())
		}
		second.Release()
		first.Release()
		third := acquire(t, s, key, c.wants)
		if third.Dir() != first.Dir() {
			t.Errorf("%s after %s: %s, want %s", c.wants, c.holds, third.Dir(), first.Dir())
		}
		if _, err := os.Stat(third.Dir() + "/f"); err != nil {
			t.Errorf("what was in it is gone: %v", err)
		}
		third.Release()
	}
}

// TestLocked: the next one waits, or gives up with its context.
func TestLocked(t *testing.T) {
	s := Open(t.TempDir())
	key := Key{ID: "k"}
	first := acquire(t, s, key, op.SharingLocked)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if h, err := s.Acquire(ctx, key, Options{Sharing: op.SharingLocked}); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v, %v", h, err)
	}
	got := make(chan *Handle)
	go func() {
		h, err := s.Acquire(t.Context(), key, Options{Sharing: op.SharingLocked})
		if err != nil {
			t.Error(err)
		}
		got <- h
	}()
	select {
	case <-got:
		t.Fatal("it did not wait")
	case <-time.After(50 * time.Millisecond):
	}
	first.Release()
	second := <-got
	if second == nil || second.Dir() != first.Dir() {
		t.Fatalf("got %v", second)
	}
	second.Release()
}

// TestCrowd: many that want it locked never meet, while it expires again and again.
func TestCrowd(t *testing.T) {
	s := Open(t.TempDir())
	key := Key{ID: "k"}
	ctx, stop := context.WithCancel(t.Context())
	var collector, users sync.WaitGroup
	collector.Go(func() {
		for ctx.Err() == nil {
			if _, _, err := s.Expire(t.Context(), time.Now().Add(time.Hour), false, nil); err != nil {
				t.Error(err)
			}
		}
	})
	for range 8 {
		users.Go(func() {
			for range 20 {
				h, err := s.Acquire(t.Context(), key, Options{Sharing: op.SharingLocked})
				if err != nil {
					t.Error(err)
					return
				}
				f, err := os.OpenFile(h.Dir()+"/alone", os.O_CREATE|os.O_EXCL, 0o644)
				if err != nil {
					t.Error(err)
				} else {
					f.Close()
					os.Remove(f.Name())
				}
				h.Release()
			}
		})
	}
	users.Wait()
	stop()
	collector.Wait()
}

// TestNew is how a new directory begins.
func TestNew(t *testing.T) {
	s := Open(t.TempDir())
	n := func(v uint32) *uint32 { return &v }
	h := acquire(t, s, Key{ID: "plain"}, "")
	st, err := os.Stat(h.Dir())
	must(t, err)
	if st.Mode().Perm() != 0o755 {
		t.Errorf("mode %v", st.Mode())
	}
	h.Release()
	h = acquire(t, s, Key{ID: "plain", Mode: n(0o1770)}, "")
	if st, err = os.Stat(h.Dir()); err != nil || st.Mode() != os.ModeDir|os.ModeSticky|0o770 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	h.Release()
	fill := func(names ...string) Options {
		return Options{Fill: func(_ context.Context, w io.Writer) error {
			tw := tar.NewWriter(w)
			for _, name := range names {
				hdr := &tar.Header{Name: name, Mode: 0o750, Typeflag: tar.TypeDir}
				if !strings.HasSuffix(name, "/") {
					hdr.Typeflag = tar.TypeReg
				}
				if err := tw.WriteHeader(hdr); err != nil {
					return err
				}
			}
			return tw.Close()
		}}
	}
	if h, err := s.Acquire(t.Context(), Key{ID: "file"}, fill("tree")); !errdefs.IsInvalid(err) {
		t.Errorf("a file as a cache: %v, %v", h, err)
	}
	for range 2 { // the second time it is there
		h, err = s.Acquire(t.Context(), Key{ID: "full", From: "sha256:x"}, fill("tree/", "tree/file"))
		must(t, err)
		if _, err := os.Stat(h.Dir() + "/file"); err != nil {
			t.Error(err)
		}
		h.Release()
	}
	if left, err := filepath.Glob(s.dir + "/" + trash + "*"); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// TestExpire removes what is old and not in use, and nothing else.
func TestExpire(t *testing.T) {
	s := Open(t.TempDir())
	old, used, young := acquire(t, s, Key{ID: "old"}, ""), acquire(t, s, Key{ID: "used"}, ""), acquire(t, s, Key{ID: "young"}, "")
	must(t, os.WriteFile(old.Dir()+"/f", []byte("12345"), 0o644))
	old.Release()
	young.Release()
	for _, h := range []*Handle{old, used} {
		must(t, os.Chtimes(h.Dir()+".lock", time.Unix(5, 0), time.Unix(5, 0)))
	}
	must(t, os.MkdirAll(filepath.Join(s.dir, trash+"killed", "gone", "x"), 0o755))
	for _, dryRun := range []bool{true, false} {
		n, bytes, err := s.Expire(t.Context(), time.Unix(6, 0), dryRun, func(string) int64 { return 5 })
		if n != 1 || bytes != 5 || err != nil {
			t.Errorf("dry run %v: %d, %d bytes, %v", dryRun, n, bytes, err)
		}
	}
	var left []string
	must(t, s.Each(t.Context(), func(i Info) error {
		left = append(left, i.Key.ID)
		if i.Busy != (i.Key.ID == "used") {
			t.Errorf("%s is busy: %v", i.Key.ID, i.Busy)
		}
		return nil
	}))
	if len(left) != 2 {
		t.Errorf("left: %v", left)
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("left on disk: %v, %v", entries, err)
	}
	used.Release()
	again := acquire(t, s, Key{ID: "old"}, "")
	defer again.Release()
	if _, err := os.Stat(again.Dir() + "/f"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is not new: %v", err)
	}
}
