package volume_test

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/volume"
)

func tree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "sub"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "sub/file"), []byte("seed"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o770); err != nil {
		t.Fatal(err)
	}
	return dir
}

func create(t *testing.T, s *volume.Store, c volume.Config) *volume.Volume {
	t.Helper()
	v, err := s.Create(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestLife(t *testing.T) {
	s := volume.Open(filepath.Join(t.TempDir(), "volumes"))
	if list, err := s.List(); err != nil || len(list) != 0 {
		t.Fatalf("%v %v", list, err)
	}
	v := create(t, s, volume.Config{Name: "b", Labels: map[string]string{"k": "v"}})
	create(t, s, volume.Config{Name: "a", Anonymous: true})
	if again := create(t, s, volume.Config{Name: "b"}); again.Labels["k"] != "v" {
		t.Error("a volume that is there was made anew")
	}
	if err := os.Mkdir(filepath.Join(filepath.Dir(filepath.Dir(v.Dir())), "old"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(s.Path("old"), 0o755); err != nil {
		t.Fatal(err)
	}
	list, err := s.List()
	if err != nil || len(list) != 3 || list[0].Name != "a" || !list[0].Anonymous || list[2].Name != "old" || list[2].Created.IsZero() {
		t.Errorf("%+v %v", list, err)
	}
	if err := s.Remove(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"b", "nosuch", "../a", ".new-x"} {
		if _, err := s.Get(name); !errdefs.IsNotFound(err) {
			t.Errorf("%s: %v, want ErrNotFound", name, err)
		}
		if err := s.Remove(t.Context(), name); !errdefs.IsNotFound(err) {
			t.Errorf("%s: %v, want ErrNotFound", name, err)
		}
	}
	for _, name := range []string{"", "a/b", ".x", "-x", "ä"} {
		if _, err := s.Create(t.Context(), volume.Config{Name: name}); !errdefs.IsInvalid(err) {
			t.Errorf("%q: %v, want ErrInvalid", name, err)
		}
	}
}

func TestFill(t *testing.T) {
	s := volume.Open(t.TempDir())
	v := create(t, s, volume.Config{Name: "v"})
	if !s.NeedsFill("v") {
		t.Error("a new volume has something in it")
	}
	if err := s.Fill(t.Context(), "v", tree(t)); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(v.Dir())
	if err != nil || st.Mode().Perm() != 0o770 {
		t.Errorf("%v %v, want the mode of what it begins with", st.Mode(), err)
	}
	file := filepath.Join(v.Dir(), "sub/file")
	if b, err := os.ReadFile(file); err != nil || string(b) != "seed" {
		t.Errorf("%q %v", b, err)
	}
	if err := os.WriteFile(file, []byte("mine"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := s.Fill(t.Context(), "v", tree(t)); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(file); string(b) != "mine" {
		t.Error("a volume that has something in it was filled")
	}
}

// One that a killed process was filling is filled anew.
func TestFillAfterKill(t *testing.T) {
	dir := t.TempDir()
	s := volume.Open(dir)
	v := create(t, s, volume.Config{Name: "v"})
	for _, name := range []string{filepath.Join(dir, "v/filling"), filepath.Join(v.Dir(), "half")} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if !s.Unfinished("v") {
		t.Error("the volume counts as finished")
	}
	if err := s.Fill(t.Context(), "v", tree(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(v.Dir(), "half")); err == nil {
		t.Error("what the killed process wrote is still there")
	}
	if _, err := os.Stat(filepath.Join(v.Dir(), "sub/file")); err != nil || s.Unfinished("v") {
		t.Errorf("%v, unfinished: %t", err, s.Unfinished("v"))
	}
}

func TestManyAtOnce(t *testing.T) {
	s := volume.Open(t.TempDir())
	from := tree(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := s.Create(context.Background(), volume.Config{Name: "v"}); err != nil {
				t.Error(err)
			}
			if err := s.Fill(context.Background(), "v", from); err != nil {
				t.Error(err)
			}
			if b, err := os.ReadFile(filepath.Join(s.Path("v"), "sub/file")); err != nil || string(b) != "seed" {
				t.Errorf("%q %v", b, err)
			}
		})
	}
	wg.Wait()
}

func TestRecover(t *testing.T) {
	dir := t.TempDir()
	s := volume.Open(dir)
	create(t, s, volume.Config{Name: "v"})
	old := time.Now().Add(-time.Hour)
	for _, name := range []string{".rm-1/x", ".new-dead/_data", ".new-fresh/_data"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chtimes(filepath.Join(dir, ".new-dead"), old, old); err != nil {
		t.Fatal(err)
	}
	if err := s.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if len(names) != 2 || names[0] != ".new-fresh" || names[1] != "v" {
		t.Errorf("%v are left, want those that live", names)
	}
}
