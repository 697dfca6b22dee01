package record_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
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

// TestRemovedWithItsName looks at containers that are being removed: as long as one is there, its name leads to it, or a kill at that moment would
// leave one that cannot be removed by its name.
func TestRemovedWithItsName(t *testing.T) {
	s := record.Open(t.TempDir())
	for range 300 {
		id := create(t, s, "web").Config.ID
		var nameless atomic.Bool
		removed := make(chan struct{})
		var look sync.WaitGroup
		look.Go(func() {
			for {
				select {
				case <-removed:
					return
				default:
				}
				if _, err := s.Get(context.Background(), "web"); !errdefs.IsNotFound(err) {
					continue
				}
				if _, err := s.Get(context.Background(), id); err == nil { // asked after its name
					nameless.Store(true)
				}
			}
		})
		err := s.Remove(t.Context(), id)
		close(removed)
		look.Wait()
		if err != nil || nameless.Load() {
			t.Fatalf("it was there without its name: %t, %v", nameless.Load(), err)
		}
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
	half, removed := "new-"+record.NewID(), record.NewID()
	for _, d := range []string{half, "new-" + removed} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(removed, filepath.Join(dir, "names", "right")); err != nil {
		t.Fatal(err)
	}
	if err := s.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, gone := range []string{half, "new-" + removed, "names/right"} {
		if _, err := os.Lstat(filepath.Join(dir, gone)); err == nil {
			t.Errorf("%s is left", gone)
		}
	}
	if list, err := s.List(t.Context()); err != nil || len(list) != 2 {
		t.Errorf("List = %v, %v; want the two containers", list, err)
	}
}

// TestMakersAndCollectors: whoever takes away what is dead never takes what is being made.
func TestMakersAndCollectors(t *testing.T) {
	s := record.Open(t.TempDir())
	stop := make(chan struct{})
	var collectors, makers sync.WaitGroup
	for range 2 {
		collectors.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := s.Recover(context.Background()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range 4 {
		makers.Go(func() {
			for range 50 {
				name := fmt.Sprint("n", i)
				c, err := s.Create(context.Background(), record.Config{Name: name})
				if err != nil {
					t.Error(err)
					return
				}
				got, err := s.Get(context.Background(), name)
				if err != nil || got.Config.ID != c.Config.ID {
					t.Errorf("Get(%s) = %v, %v", name, got, err)
				}
				if err := s.Remove(context.Background(), c.Config.ID); err != nil {
					t.Error(err)
				}
			}
		})
	}
	makers.Wait()
	close(stop)
	collectors.Wait()
}

func TestDamagedRecords(t *testing.T) {
	dir := t.TempDir()
	s := record.Open(dir)
	good, bad, odd := create(t, s, "good"), create(t, s, "bad"), create(t, s, "odd")
	for file, text := range map[string]string{bad.Config.ID + "/config.json": `{"id": "`, odd.Config.ID + "/state.json": "not JSON"} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	list, err := s.List(t.Context())
	if err != nil || len(list) != 3 {
		t.Fatalf("List = %v, %v; want all three", list, err)
	}
	for _, c := range list {
		want := record.Dead
		if c.Config.ID == good.Config.ID {
			want = record.Created
		}
		if c.State.Status != want || want == record.Dead && c.State.Error == "" {
			t.Errorf("%.12s: %+v, want %s", c.Config.ID, c.State, want)
		}
	}
	for _, c := range []*record.Container{bad, odd} {
		if err := s.Remove(t.Context(), c.Config.ID); err != nil {
			t.Error(err)
		}
	}
	create(t, s, "bad")
	create(t, s, "odd")
}

func TestAnAmbiguousBeginningIsAConflict(t *testing.T) {
	s := record.Open(t.TempDir())
	for _, digit := range []string{"1", "2"} {
		if _, err := s.Create(t.Context(), record.Config{ID: "abc" + strings.Repeat(digit, 61)}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Get(t.Context(), "abc"); !errdefs.IsConflict(err) {
		t.Errorf("Get(abc): %v, want a conflict", err)
	}
	if _, err := s.Get(t.Context(), "abc1"); err != nil {
		t.Error(err)
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
	keep, err := c.Keep(t.Context())
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

// TestWaitForWhatIsRemovedAtItsEnd: who waits learns how it ended all the same.
func TestWaitForWhatIsRemovedAtItsEnd(t *testing.T) {
	s := record.Open(t.TempDir())
	c := create(t, s, "job")
	keep, err := c.Keep(t.Context())
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
	code := make(chan int)
	go func() {
		n, err := other.Wait(context.Background())
		if err != nil {
			t.Error(err)
		}
		code <- n
	}()
	time.Sleep(20 * time.Millisecond)
	if err := c.SetState(record.State{Status: record.Exited, ExitCode: 9}); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(t.Context(), c.Config.ID); err != nil {
		t.Fatal(err)
	}
	keep.Close()
	if n := <-code; n != 9 {
		t.Errorf("Wait = %d, want 9", n)
	}
	if _, err := c.Keep(t.Context()); !errdefs.IsNotFound(err) {
		t.Errorf("Keep of a removed container: %v", err)
	}
}

// TestKeepBesideAnother waits for another process that begins or ends, and not for one whose container runs.
func TestKeepBesideAnother(t *testing.T) {
	s := record.Open(t.TempDir())
	c := create(t, s, "job")
	keep, err := c.Keep(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	other, err := s.Get(t.Context(), "job")
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := other.Keep(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("beside one that begins: %v", err)
	}
	if err := c.SetState(record.Started(os.Getpid())); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Keep(t.Context()); !errdefs.IsConflict(err) {
		t.Errorf("beside one that runs: %v", err)
	}
	if err := c.SetState(record.State{Status: record.Exited}); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(20*time.Millisecond, func() { keep.Close() })
	mine, err := other.Keep(t.Context())
	if err != nil {
		t.Fatalf("after one that ended: %v", err)
	}
	mine.Close()
}

// TestNobodySeesAWrongEnd reads the state while its keeper writes the last one and goes.
func TestNobodySeesAWrongEnd(t *testing.T) {
	s := record.Open(t.TempDir())
	for range 200 {
		c := create(t, s, "")
		keep, err := c.Keep(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		st := record.Started(os.Getpid())
		st.StartTick++ // its process has just ended
		if err := c.SetState(st); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for {
					got, err := s.Get(context.Background(), c.Config.ID)
					if err != nil {
						t.Error(err)
						return
					}
					if got.State.Status == record.Exited {
						if got.State.ExitCode != 3 {
							t.Errorf("exit code %d, want 3", got.State.ExitCode)
						}
						return
					}
				}
			})
		}
		if err := c.SetState(record.State{Status: record.Exited, ExitCode: 3}); err != nil {
			t.Fatal(err)
		}
		keep.Close()
		wg.Wait()
		if err := s.Remove(t.Context(), c.Config.ID); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLogKeepsBytes(t *testing.T) {
	s := record.Open(t.TempDir())
	c := create(t, s, "job")
	log, err := c.OpenLog(record.LogOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	text := "caf\xe9\n\x00\xff\xfe\n" + strings.Repeat("\u00e9", 20<<10) + "\n\ufffd <&>\u2028\n" + strings.Repeat("\x01", 40<<10)
	if err := log.Copy("stdout", strings.NewReader(text), nil); err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	if err := c.ReadLog(t.Context(), record.ReadOptions{Tail: -1}, func(l record.Line) error { got.WriteString(l.Log); return nil }); err != nil {
		t.Fatal(err)
	}
	if got.String() != text {
		t.Errorf("the log gave back %d bytes of %d, or other ones", got.Len(), len(text))
	}
}

func TestLog(t *testing.T) {
	s := record.Open(t.TempDir())
	c := create(t, s, "job")
	keep, err := c.Keep(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	log, err := c.OpenLog(record.LogOptions{})
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
	followed := make(chan string, 1)
	begun := make(chan struct{})
	go func() {
		var b strings.Builder
		err := c.ReadLog(t.Context(), record.ReadOptions{Tail: 1, Follow: true}, func(l record.Line) error {
			if b.WriteString(l.Log); b.String() == "no end" {
				close(begun)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		followed <- b.String()
	}()
	<-begun
	if err := log.Copy("stderr", strings.NewReader("late\n"), nil); err != nil {
		t.Fatal(err)
	}
	keep.Close()
	if got := <-followed; got != "no endlate\n" {
		t.Errorf("followed %q", got)
	}
}

// TestKeepAfterKill takes over a container whose keeper is dead: it does not run any more.
func TestKeepAfterKill(t *testing.T) {
	s := record.Open(t.TempDir())
	c := create(t, s, "job")
	if err := c.SetState(record.State{Status: record.Running, Pid: 1 << 22, StartTick: 1}); err != nil {
		t.Fatal(err)
	}
	f, err := c.Keep(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if c.State.Status != record.Exited || c.State.ExitCode != 137 {
		t.Errorf("%+v", c.State)
	}
}

// TestAnotherBoot is a container of a machine that was started again: another process may have its number and time now.
func TestAnotherBoot(t *testing.T) {
	s := record.Open(t.TempDir())
	c := create(t, s, "job")
	st := record.Started(os.Getpid())
	if st.Boot == "" {
		t.Fatal("no boot id")
	}
	if err := errors.Join(c.SetState(st), c.Refresh()); err != nil || !c.Running() {
		t.Errorf("%+v, %v", c.State, err)
	}
	st.Boot = "another"
	if err := errors.Join(c.SetState(st), c.Refresh()); err != nil || c.State.Status != record.Exited || c.State.ExitCode != 255 {
		t.Errorf("%+v, %v", c.State, err)
	}
}
