package layout_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/image"
	"github.com/camada/camada/image/layout"
	"github.com/camada/camada/internal/flock"
)

// A move changes files in a fixed order. The tests put a store together as it is when the
// writer was killed after each of the changes, from the files before and after the move.

// copyTree copies regular files.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	check(t, filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		dst := filepath.Join(to, strings.TrimPrefix(path, from))
		if d.IsDir() {
			return os.MkdirAll(dst, 0o755)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(dst, data, 0o644)
	}))
}

// take makes one file in root what it is in after: with its bytes, or gone.
func take(t *testing.T, after, root, rel string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(after, rel))
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.Remove(filepath.Join(root, rel)); !errors.Is(err, fs.ErrNotExist) {
			check(t, err)
		}
		return
	}
	check(t, err)
	check(t, os.MkdirAll(filepath.Dir(filepath.Join(root, rel)), 0o755))
	check(t, os.WriteFile(filepath.Join(root, rel), data, 0o644))
}

const (
	refFile = "refs/docker.io/library/app/_tags/1"
	logFile = "reflog/docker.io/library/app/_tags/1"
)

func TestCrash(t *testing.T) {
	moves := []struct {
		name, before, after string
		move                func(*testing.T, *layout.Refs)
	}{
		{"make", "", "one", func(t *testing.T, r *layout.Refs) { set(t, r, "app:1", "one") }},
		{"move", "one", "two", func(t *testing.T, r *layout.Refs) { set(t, r, "app:1", "two") }},
		{"remove", "one", "", func(t *testing.T, r *layout.Refs) {
			check(t, r.Delete(t.Context(), parse(t, "app:1"), image.SetOptions{Verb: "untag"}))
		}},
	}
	steps := []struct {
		name  string
		files []string // that are as after the move
		torn  bool     // the line of the reflog lacks its end
		moved bool     // the ref must have moved
	}{
		{"pending", nil, false, false},
		{"torn line", nil, true, false},
		{"line", []string{logFile}, false, true},
		{"ref", []string{logFile, refFile}, false, true},
		{"index", []string{logFile, refFile, "index.json"}, false, true},
	}
	nexts := []struct {
		name string
		do   func(*testing.T, *layout.Refs)
	}{
		{"reader", func(t *testing.T, r *layout.Refs) {
			_, err := r.List(t.Context())
			check(t, err)
		}},
		{"other writer", func(t *testing.T, r *layout.Refs) { set(t, r, "other:1", "x") }},
		{"same writer", func(t *testing.T, r *layout.Refs) { set(t, r, "app:1", "next") }},
		{"fsck", func(t *testing.T, r *layout.Refs) {
			check(t, r.Check(t.Context(), false, "", func(layout.Finding) {}))
		}},
	}
	for _, m := range moves {
		before, after := t.TempDir(), t.TempDir()
		set(t, layout.Open(before), "stays:1", "stays")
		if m.before != "" {
			set(t, layout.Open(before), "app:1", m.before)
		}
		copyTree(t, before, after)
		m.move(t, layout.Open(after))
		for _, step := range steps {
			for _, next := range nexts {
				// When the machine stops, the marker of the move can be lost too.
				for _, marker := range []string{"marker", "no marker"} {
					name := strings.Join([]string{m.name, step.name, next.name, marker}, "/")
					t.Run(name, func(t *testing.T) {
						root := t.TempDir()
						copyTree(t, before, root)
						for _, f := range step.files {
							take(t, after, root, f)
						}
						if step.torn {
							tear(t, after, root)
						}
						if marker == "marker" {
							check(t, os.WriteFile(filepath.Join(root, "refs/.pending"), []byte("docker.io/library/app:1"), 0o644))
						}
						want := m.before
						if step.moved {
							want = m.after
						}
						next.do(t, layout.Open(root))
						wantRecovered(t, root, want, next.name == "same writer", marker == "marker")
					})
				}
			}
		}
	}
}

// tear puts the reflog of after without the end of its last line into root.
func tear(t *testing.T, after, root string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(after, logFile))
	check(t, err)
	check(t, os.MkdirAll(filepath.Dir(filepath.Join(root, logFile)), 0o755))
	check(t, os.WriteFile(filepath.Join(root, logFile), data[:len(data)-10], 0o644))
}

// wantRecovered checks that the ref is what it should be, or was when it has moved on.
func wantRecovered(t *testing.T, root, want string, movedOn, marker bool) {
	t.Helper()
	refs := layout.Open(root)
	if movedOn {
		log, err := refs.Log(t.Context(), parse(t, "app:1"))
		check(t, err)
		if got := log[0].From.Digest; want != "" && got != desc(want).Digest || want == "" && got != "" {
			t.Errorf("the next move is from %s, want the one of %q", got, want)
		}
		want = "next"
	} else if !marker {
		// Nobody can see it but fsck, which repairs it.
		check(t, refs.Check(t.Context(), true, filepath.Join(root, "lost"), func(f layout.Finding) {
			if !f.Repaired {
				t.Errorf("not repaired: %+v", f)
			}
		}))
	}
	wantRef(t, refs, "app:1", want)
	wantRef(t, refs, "stays:1", "stays")
	wantValid(t, root, refs)
}

func FuzzReadLog(f *testing.F) {
	f.Add([]byte(`{"time":"2026-01-02T03:04:05Z","to":{"mediaType":"m","digest":"sha256:` + strings.Repeat("a", 64) + `","size":1},"verb":"build"}` + "\n"))
	f.Add([]byte("\n\n{}\n\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		root := t.TempDir()
		path := filepath.Join(root, logFile)
		check(t, os.MkdirAll(filepath.Dir(path), 0o755))
		check(t, os.WriteFile(path, data, 0o644))
		refs := layout.Open(root)
		log, err := refs.Log(t.Context(), parse(t, "app:1"))
		if err == nil {
			_, _ = layout.Target(log, 1)
		}
		// Whatever the log is, after a repair the store is whole and can be used.
		check(t, refs.Check(t.Context(), true, filepath.Join(root, "lost"), func(layout.Finding) {}))
		set(t, refs, "app:1", "next")
		wantRef(t, refs, "app:1", "next")
		wantValid(t, root, refs)
	})
}

// TestPendingBesideReader leaves a move that was made and not finished, while another reader is at work: who lists and who checks waits for
// its end and finishes the move, and does not take what the ref was before for what it is.
func TestPendingBesideReader(t *testing.T) {
	before, after := t.TempDir(), t.TempDir()
	set(t, layout.Open(before), "app:1", "one")
	copyTree(t, before, after)
	set(t, layout.Open(after), "app:1", "two")
	for name, do := range map[string]func(*testing.T, *layout.Refs){
		"list": func(t *testing.T, r *layout.Refs) {
			tags, err := r.List(t.Context())
			check(t, err)
			if len(tags) != 1 || tags[0].Descriptor.Digest != desc("two").Digest {
				t.Errorf("listed %+v, want what the move made", tags)
			}
		},
		"check": func(t *testing.T, r *layout.Refs) {
			check(t, r.Check(t.Context(), false, "", func(f layout.Finding) { t.Errorf("found %s: %v", f.Kind, f.Err) }))
		},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			copyTree(t, before, root)
			take(t, after, root, logFile)
			check(t, os.WriteFile(filepath.Join(root, "refs/.pending"), []byte("docker.io/library/app:1"), 0o644))
			other, err := os.Open(filepath.Join(root, "refs/.lock"))
			check(t, err)
			defer other.Close()
			check(t, flock.Shared(t.Context(), other))
			time.AfterFunc(50*time.Millisecond, func() { flock.Unlock(other) }) //nolint:errcheck // the file is closed in any case
			do(t, layout.Open(root))
		})
	}
}
