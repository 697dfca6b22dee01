package snapshottest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/lease"
	"github.com/camada/camada/snapshot"
)

const (
	envJob = "SNAPSHOTTEST_JOB"
	envDir = "SNAPSHOTTEST_DIR"
)

func newRecorder() *recorder { return &recorder{pins: map[lease.Resource]bool{}} }

// Main runs the tests, or does the work of another process for them. It does not return.
func Main(m *testing.M, open Open) {
	job := os.Getenv(envJob)
	if job == "" {
		os.Exit(m.Run())
	}
	s, err := open(os.Getenv(envDir), nil)
	if err == nil {
		err = work(context.Background(), s, job)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// work is what the other processes do.
func work(ctx context.Context, s snapshot.Snapshotter, job string) error {
	switch job {
	case "apply": // what comes from the standard input
		_, err := s.Apply(ctx, "", os.Stdin)
		return err
	case "name": // the same chain as all others
		info, err := s.Apply(ctx, "", layerOf(base()...))
		if err == nil {
			info, err = s.Name(ctx, info.ID, chainOf("race"))
		}
		fmt.Print(info.ID)
		return err
	case "churn": // until killed
		for i := 0; ; i++ {
			if err := churn(ctx, s, i); err != nil {
				return err
			}
		}
	}
	return errdefs.Invalid("job %q", job)
}

// churn takes a few snapshots through all of their life.
func churn(ctx context.Context, s snapshot.Snapshotter, i int) error {
	chain := chainOf(fmt.Sprint("churn", i%3))
	base, err := s.Lookup(ctx, chain)
	if errdefs.IsNotFound(err) {
		if base, err = s.Apply(ctx, "", layerOf(base2(i)...)); err == nil {
			base, err = s.Name(ctx, base.ID, chain)
		}
	}
	if err != nil {
		return err
	}
	step, err := s.Prepare(ctx, base.ID)
	if errdefs.IsNotFound(err) {
		return nil // another one has removed the base
	}
	if err != nil {
		return err
	}
	if _, err := s.Freeze(ctx, step.ID); err != nil {
		return err
	}
	if err := s.Diff(ctx, step.ID, io.Discard, snapshot.DiffOptions{}); err != nil {
		return err
	}
	err = s.Remove(ctx, step.ID)
	if i%2 == 0 {
		if err2 := s.Remove(ctx, base.ID); !errdefs.IsConflict(err2) && !errdefs.IsNotFound(err2) {
			err = errors.Join(err, err2)
		}
	}
	return err
}

func base2(i int) []entry { return append(base(), file("i", fmt.Sprint(i))) }

// child starts this program again for a job on the fixture's store.
func (f *fixture) child(job string) *exec.Cmd {
	f.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		f.t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), envJob+"="+job, envDir+"="+f.dir)
	return cmd
}

func testNameRace(t *testing.T, open Open) {
	f := newFixture(t, open)
	const each = 6
	ids := make([]string, 2*each)
	var wg sync.WaitGroup
	for i := range each {
		wg.Go(func() {
			out, err := f.child("name").Output()
			if err != nil {
				t.Errorf("process: %v", err)
			}
			ids[i] = string(out)
		})
		wg.Go(func() {
			info, err := f.Apply(t.Context(), "", layerOf(base()...))
			if err == nil {
				info, err = f.Name(t.Context(), info.ID, chainOf("race"))
			}
			if err != nil {
				t.Error(err)
			}
			ids[each+i] = info.ID
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Errorf("several won: %q", ids)
			break
		}
	}
	committed := 0
	for _, info := range f.all() {
		if info.State == snapshot.Committed {
			committed++
		}
	}
	if committed != 1 {
		t.Errorf("%d snapshots have the name: %+v", committed, f.all())
	}
	checkLeftovers(t, f, 2*each)
}

func testReserve(t *testing.T, open Open) {
	f := newFixture(t, open)
	r, ok := f.Snapshotter.(snapshot.Reserver)
	if !ok {
		t.Skip("no Reserver")
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				release, err := r.Reserve(t.Context(), chainOf("r"))
				if err != nil {
					t.Error(err)
					return
				}
				if !mu.TryLock() {
					t.Error("two have the chain reserved")
				} else {
					mu.Unlock()
				}
				release()
			}
		})
	}
	wg.Wait()
	release, err := r.Reserve(t.Context(), chainOf("r"))
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := r.Reserve(ctx, chainOf("r")); err == nil {
		t.Error("the chain was reserved twice")
	}
}

func testConcurrent(t *testing.T, open Open) {
	f := newFixture(t, open)
	var wg sync.WaitGroup
	for w := range 6 {
		wg.Go(func() {
			s, err := open(f.dir, nil)
			if err != nil {
				t.Error(err)
				return
			}
			for i := range 15 {
				if err := churn(t.Context(), s, w+i); err != nil {
					t.Errorf("worker %d: %v", w, err)
				}
				if i%5 == 0 {
					f.recover()
				}
			}
		})
	}
	wg.Wait()
	f.recover()
	f.removeAll()
	checkLeftovers(t, f, 0)
}

// removeAll removes all snapshots, those on top first.
func (f *fixture) removeAll() {
	f.t.Helper()
	for range 3 {
		for id := range f.all() {
			if err := f.Remove(f.t.Context(), id); err != nil && !errdefs.IsConflict(err) {
				f.t.Errorf("Remove: %v", err)
			}
		}
	}
}

func testKilledInApply(t *testing.T, open Open) {
	f := newFixture(t, open)
	layer := layerOf(base()...).Bytes()
	half := len(layer) / 1024 * 512
	// One that lives, in this process, while the other dies and is cleaned up.
	r, w := io.Pipe()
	alive := make(chan error, 1)
	go func() {
		_, err := f.Apply(t.Context(), "", r)
		alive <- err
	}()
	if _, err := w.Write(layer[:half]); err != nil {
		t.Fatal(err)
	}
	cmd := f.child("apply")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Write(layer[:half]); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return drafts(t, f.dir) == 2 })
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait() //nolint:errcheck // it was killed
	if all := f.all(); len(all) != 0 {
		t.Errorf("half a layer is shown: %+v", all)
	}
	f.recover()
	if n := drafts(t, f.dir); n != 1 {
		t.Errorf("%d half-made snapshots after Recover, want the one that is alive", n)
	}
	if _, err := w.Write(layer[half:]); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if err := <-alive; err != nil {
		t.Errorf("the live Apply was disturbed: %v", err)
	}
	checkLeftovers(t, f, 1)
}

func waitFor(t *testing.T, cond func() bool) {
	t.Helper()
	for range 2000 {
		if cond() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("it did not come")
}

func testKilledAnywhere(t *testing.T, open Open) {
	f := newFixture(t, open)
	for range 25 {
		cmd := f.child("churn")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(10+rand.IntN(40)) * time.Millisecond) //nolint:gosec // any moment will do
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		err := cmd.Wait()
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.Exited() {
			t.Fatalf("the process ended by itself: %v", err)
		}
		// Whoever comes next finds a store that works, cleaned up or not.
		if rand.IntN(2) == 0 { //nolint:gosec // either will do
			f.recover()
		}
		for i := range 3 {
			if err := churn(t.Context(), f, i); err != nil {
				t.Fatalf("after a kill: %v", err)
			}
		}
		for id := range f.all() {
			if tree := f.tree(id); len(tree) != len(base())+1 {
				t.Errorf("snapshot %s has %d files after a kill: %q", id, len(tree), names(tree))
			}
		}
	}
	f.removeAll()
	f.recover()
	checkLeftovers(t, f, 0)
}

// drafts counts the half-made snapshots on disk.
func drafts(t *testing.T, dir string) int {
	t.Helper()
	found, err := filepath.Glob(dir + "/*/tmp-*")
	if err != nil {
		t.Fatal(err)
	}
	return len(found)
}
