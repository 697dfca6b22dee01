package record_test

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/camada/camada/container/record"
	"github.com/camada/camada/errdefs"
)

func TestRename(t *testing.T) {
	dir := t.TempDir()
	s := record.Open(dir)
	web, other := create(t, s, "web"), create(t, s, "other")
	if err := s.Rename(t.Context(), web, "new"); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Get(t.Context(), "new"); err != nil || got.Config.ID != web.Config.ID || got.Config.Name != "new" {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := s.Get(t.Context(), "web"); !errdefs.IsNotFound(err) {
		t.Errorf("the old name: %v", err)
	}
	if err := s.Rename(t.Context(), other, "new"); !errors.Is(err, errdefs.ErrAlreadyExists) {
		t.Errorf("a name that is taken: %v", err)
	}
	for _, bad := range []string{"", "a/b", "-x", "new"} {
		if err := s.Rename(t.Context(), web, bad); !errdefs.IsInvalid(err) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	create(t, s, "web") // the old name is free
	if err := s.Remove(t.Context(), web.Config.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "names/new")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the link of the removed container: %v", err)
	}
	if err := s.Rename(t.Context(), web, "again"); !errdefs.IsNotFound(err) {
		t.Errorf("a container that was removed: %v", err)
	}
}

// TestKilledWhileRenaming looks at what a process leaves that was killed before, and after, the config was replaced.
func TestKilledWhileRenaming(t *testing.T) {
	dir := t.TempDir()
	s := record.Open(dir)
	c := create(t, s, "here")
	stray := filepath.Join(dir, "names/stray")
	if err := os.Symlink(c.Config.ID, stray); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), "stray"); !errdefs.IsNotFound(err) {
		t.Errorf("the unconfirmed name is found: %v", err)
	}
	if got := create(t, s, "stray"); got.Config.ID == c.Config.ID {
		t.Error("the unconfirmed name is not free")
	}
	stray = filepath.Join(dir, "names/stray2")
	if err := os.Symlink(c.Config.ID, stray); err != nil {
		t.Fatal(err)
	}
	if err := s.Rename(t.Context(), c, "stray2"); err != nil {
		t.Errorf("rename to an unconfirmed name: %v", err)
	}
	if err := os.Symlink(c.Config.ID, filepath.Join(dir, "names/stray3")); err != nil {
		t.Fatal(err)
	}
	if err := s.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	names, err := os.ReadDir(filepath.Join(dir, "names"))
	if err != nil || len(names) != 2 {
		t.Errorf("%v, %v; want stray and stray2", names, err)
	}
}

func TestChangesLoseNothing(t *testing.T) {
	dir := t.TempDir()
	s := record.Open(dir)
	c := create(t, s, "c")
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			mine, err := record.Open(dir).Get(t.Context(), "c")
			if err == nil {
				err = mine.Change(t.Context(), func(cfg *record.Config) error { cfg.Memory++; return nil })
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	got, err := s.Get(t.Context(), "c")
	if err != nil || got.Config.Memory != 20 {
		t.Errorf("%d changes, %v; want 20", got.Config.Memory, err)
	}
	if err := c.Change(t.Context(), func(cfg *record.Config) error { cfg.Memory = 0; return errors.ErrUnsupported }); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("the error of a change: %v", err)
	}
	if got, _ := s.Get(t.Context(), "c"); got.Config.Memory != 20 {
		t.Error("a change that failed was kept")
	}
}
