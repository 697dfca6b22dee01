package rotated_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/camada/camada/internal/rotated"
)

func write(t *testing.T, w *rotated.Writer, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		if _, err := fmt.Fprintf(w, "line %d\n", i); err != nil {
			t.Fatal(err)
		}
	}
}

func read(t *testing.T, path string, tail int) []string {
	t.Helper()
	var got []string
	err := rotated.Read(t.Context(), path, rotated.ReadOptions{Tail: tail}, func(b []byte) error {
		got = append(got, string(b))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func lines(from, to int) []string {
	var l []string
	for i := from; i < to; i++ {
		l = append(l, fmt.Sprintf("line %d", i))
	}
	return l
}

func TestRotate(t *testing.T) {
	for _, compress := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "log")
		w, err := rotated.OpenWriter(path, rotated.Options{MaxSize: 100, MaxFiles: 4, Compress: compress})
		if err != nil {
			t.Fatal(err)
		}
		write(t, w, 10, 100) // 8 bytes each: 12 a file
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		entries, err := os.ReadDir(filepath.Dir(path))
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		want := []string{"log", "log.5", "log.6", "log.7"}
		if compress {
			want = []string{"log", "log.5.gz", "log.6.gz", "log.7.gz"}
		}
		if !slices.Equal(names, want) {
			t.Errorf("compress %v: the files are %v, want %v", compress, names, want)
		}
		if got := read(t, path, -1); !slices.Equal(got, lines(58, 100)) {
			t.Errorf("compress %v: read %v", compress, got)
		}
		for _, n := range []int{0, 1, 6, 7, 20, 30, 41, 42, 1000} {
			if got := read(t, path, n); !slices.Equal(got, lines(max(58, 100-n), 100)) {
				t.Errorf("compress %v: the last %d are %v", compress, n, got)
			}
		}
	}
}

func TestOneFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	w, err := rotated.OpenWriter(path, rotated.Options{MaxSize: 100})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	write(t, w, 10, 40)
	if got := read(t, path, -1); !slices.Equal(got, lines(34, 40)) {
		t.Errorf("read %v", got)
	}
}

// TestFollow reads while lines are written and files rotated, and sees each line once.
func TestFollow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	w, err := rotated.OpenWriter(path, rotated.Options{MaxSize: 1000, MaxFiles: 1000, Compress: true})
	if err != nil {
		t.Fatal(err)
	}
	write(t, w, 0, 300)
	var more atomic.Bool
	more.Store(true)
	var got []string
	done := make(chan error)
	seen := make(chan struct{})
	go func() {
		opts := rotated.ReadOptions{Tail: 150, More: more.Load}
		done <- rotated.Read(context.Background(), path, opts, func(b []byte) error {
			if got = append(got, string(b)); len(got) == 150 {
				close(seen)
			}
			return nil
		})
	}()
	<-seen
	write(t, w, 300, 3000)
	more.Store(false)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	w.Close()
	if !slices.Equal(got, lines(150, 3000)) {
		t.Errorf("followed %d lines, want 2850", len(got))
	}
}

func TestTorn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte("whole\nto"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := read(t, path, -1); !slices.Equal(got, []string{"whole"}) {
		t.Errorf("read %q", got)
	}
	w, err := rotated.OpenWriter(path, rotated.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	write(t, w, 1, 2)
	if got := read(t, path, -1); !slices.Equal(got, []string{"whole", "to", "line 1"}) {
		t.Errorf("read %q", got)
	}
}

// TestAppend has many writers to one file.
func TestAppend(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	var work sync.WaitGroup
	for n := range 8 {
		work.Go(func() {
			for i := range 50 {
				line := fmt.Sprintf("%d/%d %s\n", n, i, strings.Repeat("x", 20))
				if err := rotated.Append(context.Background(), path, rotated.Options{MaxSize: 1000, MaxFiles: 100}, []byte(line)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	work.Wait()
	seen := map[string]bool{}
	for _, l := range read(t, path, -1) {
		if !strings.HasSuffix(l, strings.Repeat("x", 20)) || seen[l] {
			t.Errorf("read %q", l)
		}
		seen[l] = true
	}
	if len(seen) != 400 {
		t.Errorf("read %d lines, want 400", len(seen))
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("a\nb\n"), 1)
	f.Add([]byte("a\n\n"+strings.Repeat("x", 100)+"\nc"), -1)
	f.Fuzz(func(t *testing.T, b []byte, tail int) {
		path := filepath.Join(t.TempDir(), "log")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		n := 0
		err := rotated.Read(t.Context(), path, rotated.ReadOptions{Tail: tail, MaxLine: 50}, func(l []byte) error {
			if n++; len(l) > 50 || bytes.IndexByte(l, '\n') >= 0 {
				t.Errorf("gave %q", l)
			}
			return nil
		})
		if err != nil || n > bytes.Count(b, []byte("\n")) {
			t.Errorf("%d lines, %v", n, err)
		}
	})
}
