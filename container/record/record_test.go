package record_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/camada/camada/container/record"
	"github.com/camada/camada/errdefs"
)

func create(t *testing.T, s *record.Store, name string) *record.Container {
	t.Helper()
	c, err := s.Create(t.Context(), record.Config{Name: name, Command: []string{"true"}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestFindByNameIDAndPrefix(t *testing.T) {
	s := record.Open(t.TempDir())
	web, other := create(t, s, "web"), create(t, s, "")
	if other.Config.Name == "" {
		t.Error("no name was chosen")
	}
	for _, q := range []string{"web", web.Config.ID, web.Config.ID[:12]} {
		got, err := s.Get(t.Context(), q)
		if err != nil || got.Config.ID != web.Config.ID {
			t.Errorf("Get(%s) = %v, %v", q, got, err)
		}
	}
	for _, q := range []string{"nosuch", "", "../x", strings.Repeat("f", 64)} {
		if _, err := s.Get(t.Context(), q); !errdefs.IsNotFound(err) {
			t.Errorf("Get(%q): %v, want not found", q, err)
		}
	}
	list, err := s.List(t.Context())
	if err != nil || len(list) != 2 || list[0].Config.ID != other.Config.ID {
		t.Errorf("List = %v, %v; want the newest first", list, err)
	}
}

func TestANameIsTakenOnce(t *testing.T) {
	s := record.Open(t.TempDir())
	var wg sync.WaitGroup
	made := make(chan error, 20)
	for range 20 {
		wg.Go(func() {
			_, err := s.Create(context.Background(), record.Config{Name: "one"})
			made <- err
		})
	}
	wg.Wait()
	close(made)
	n := 0
	for err := range made {
		if err == nil {
			n++
		} else if !errdefs.IsAlreadyExists(err) {
			t.Error(err)
		}
	}
	if n != 1 {
		t.Errorf("%d containers have the name", n)
	}
	c, err := s.Get(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(t.Context(), c.Config.ID); err != nil {
		t.Fatal(err)
	}
	create(t, s, "one")
}

func TestANameOfAKilledCreatorIsFree(t *testing.T) {
	dir := t.TempDir()
	s := record.Open(dir)
	create(t, s, "x")
	gone := record.NewID()
	if err := os.Symlink(gone, filepath.Join(dir, "names", "left")); err != nil {
		t.Fatal(err)
	}
	create(t, s, "left")
	half := record.NewID()
	if err := os.Mkdir(filepath.Join(dir, half), 0o700); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(filepath.Join(dir, half), old, old); err != nil {
		t.Fatal(err)
	}
	if ids, err := s.Unfinished(); err != nil || len(ids) != 1 || ids[0] != half {
		t.Errorf("Unfinished = %v, %v", ids, err)
	}
}

func TestStateFollowsTheProcess(t *testing.T) {
	s := record.Open(t.TempDir())
	c := create(t, s, "job")
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := c.SetState(record.Started(cmd.Process.Pid)); err != nil {
		t.Fatal(err)
	}
	if got, _ := s.Get(t.Context(), "job"); !got.Running() {
		t.Errorf("state = %+v, want running", got.State)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if got, _ := s.Get(t.Context(), "job"); got.Running() || got.State.ExitCode != 137 {
		t.Errorf("state = %+v, want exited 137", got.State)
	}
	st := record.Started(os.Getpid())
	st.StartTick++ // the number was given to another process
	if err := c.SetState(st); err != nil {
		t.Fatal(err)
	}
	if got, _ := s.Get(t.Context(), "job"); got.Running() {
		t.Error("a reused pid counts as running")
	}
}

func TestWaitEndsWithTheKeeper(t *testing.T) {
	s := record.Open(t.TempDir())
	c := create(t, s, "job")
	keep, err := c.Keep()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SetState(record.Started(os.Getpid())); err != nil {
		t.Fatal(err)
	}
	other, err := s.Get(t.Context(), "job")
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := other.Wait(short); err == nil {
		t.Error("Wait ended while the container is looked after")
	}
	if err := c.SetState(record.State{Status: record.Exited, ExitCode: 7}); err != nil {
		t.Fatal(err)
	}
	keep.Close()
	if code, err := other.Wait(t.Context()); err != nil || code != 7 {
		t.Errorf("Wait = %d, %v; want 7", code, err)
	}
}

func TestLog(t *testing.T) {
	s := record.Open(t.TempDir())
	c := create(t, s, "job")
	keep, err := c.Keep()
	if err != nil {
		t.Fatal(err)
	}
	log, err := c.OpenLog()
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&text, "line %d\n", i)
	}
	text.WriteString("no end")
	var tee strings.Builder
	if err := log.Copy("stdout", strings.NewReader(text.String()), &tee); err != nil {
		t.Fatal(err)
	}
	if tee.String() != text.String() {
		t.Error("the tee got something else")
	}
	read := func(o record.ReadOptions) string {
		var b strings.Builder
		if err := c.ReadLog(t.Context(), o, func(l record.Line) error { b.WriteString(l.Log); return nil }); err != nil {
			t.Error(err)
		}
		return b.String()
	}
	if got := read(record.ReadOptions{Tail: -1}); got != text.String() {
		t.Errorf("the log has %d bytes, want %d", len(got), text.Len())
	}
	for n, want := range map[int]string{0: "", 1: "no end", 3: "line 998\nline 999\nno end", 5000: text.String()} {
		if got := read(record.ReadOptions{Tail: n}); got != want {
			t.Errorf("the last %d lines have %d bytes, want %d", n, len(got), len(want))
		}
	}
	followed := make(chan string)
	go func() { followed <- read(record.ReadOptions{Tail: 0, Follow: true}) }()
	time.Sleep(20 * time.Millisecond)
	if err := log.Copy("stderr", strings.NewReader("late\n"), nil); err != nil {
		t.Fatal(err)
	}
	keep.Close()
	if got := <-followed; got != "late\n" {
		t.Errorf("followed %q", got)
	}
}
