package lease_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/lease"
)

// TestMain lets the test binary be a process that holds a lease.
func TestMain(m *testing.M) {
	if root := os.Getenv("LEASE_TEST_HOLD"); root != "" {
		if err := hold(root); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// hold pins what comes on standard input, a line each, and answers each line.
func hold(root string) error {
	l, err := lease.Open(root).Acquire(context.Background(), "hold")
	if err != nil {
		return err
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		if in.Text() == "release" {
			err = l.Release()
		} else {
			err = l.Pin(context.Background(), lease.Resource(in.Text()))
		}
		fmt.Println("done", err)
	}
	return nil
}

// holder is another process that holds a lease.
type holder struct {
	t   *testing.T
	cmd *exec.Cmd
	in  *os.File
	out *bufio.Scanner
}

func startHolder(t *testing.T, root string) *holder {
	t.Helper()
	r, w, err := os.Pipe()
	check(t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "LEASE_TEST_HOLD="+root)
	cmd.Stdin = r
	out, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	r.Close()
	h := &holder{t, cmd, w, bufio.NewScanner(out)}
	t.Cleanup(h.kill)
	return h
}

func (h *holder) do(line string) {
	h.t.Helper()
	fmt.Fprintln(h.in, line)
	if !h.out.Scan() || h.out.Text() != "done <nil>" {
		h.t.Fatalf("%s: %q", line, h.out.Text())
	}
}

func (h *holder) kill() {
	h.in.Close()
	_ = h.cmd.Process.Kill()
	_ = h.cmd.Wait()
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func collect(t *testing.T, m *lease.Manager) *lease.Collector {
	t.Helper()
	c, err := m.Collect(t.Context())
	check(t, err)
	return c
}

// wantLive checks what a collector believes to be live.
func wantLive(t *testing.T, c *lease.Collector, want ...lease.Resource) {
	t.Helper()
	got, err := c.Live(t.Context())
	check(t, err)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Fatalf("live: %v, want %v", got, want)
	}
	check(t, c.Sweep(t.Context(), func(_ context.Context, live func(lease.Resource) bool) error {
		for _, r := range want {
			if !live(r) {
				t.Errorf("%s is not live in Sweep", r)
			}
		}
		if live("blob/none") {
			t.Error("a resource that nobody pinned is live")
		}
		return nil
	}))
}

func files(t *testing.T, root string) (leases []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(root, "leases"))
	if !errors.Is(err, os.ErrNotExist) {
		check(t, err)
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".lock") {
			leases = append(leases, e.Name())
		}
	}
	return leases
}

func TestNothingPinnedTouchesNothing(t *testing.T) {
	root := t.TempDir()
	l, err := lease.Open(root).Acquire(t.Context(), "version")
	check(t, err)
	check(t, l.Pin(t.Context()))
	check(t, l.Release())
	check(t, l.Release())
	if _, err := os.Stat(filepath.Join(root, "leases")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("leases/ was made: %v", err)
	}
	if err := l.Pin(t.Context(), "blob/a"); !errdefs.IsConflict(err) {
		t.Errorf("Pin after Release: %v", err)
	}
}

func TestPinInOneProcess(t *testing.T) {
	root := t.TempDir()
	m := lease.Open(root)
	l, err := m.Acquire(t.Context(), "build")
	check(t, err)
	var wg sync.WaitGroup
	var want []lease.Resource
	for i := range 50 {
		r := lease.Resource(fmt.Sprint("snapshot/", i))
		want = append(want, r)
		for range 4 {
			wg.Go(func() {
				if err := l.Pin(t.Context(), r, "snapshot/all"); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	c := collect(t, m)
	wantLive(t, c, append(want, "snapshot/all")...)
	check(t, c.Close())
	check(t, l.Release())
	c = collect(t, m)
	defer c.Close()
	wantLive(t, c)
	if left := files(t, root); len(left) != 0 {
		t.Errorf("left after Release: %v", left)
	}
}

func TestBadResources(t *testing.T) {
	l, err := lease.Open(t.TempDir()).Acquire(t.Context(), "x")
	check(t, err)
	defer l.Release()
	for _, r := range []lease.Resource{"", "a\nb", lease.Resource(strings.Repeat("x", 1000))} {
		if err := l.Pin(t.Context(), r); !errdefs.IsInvalid(err) {
			t.Errorf("Pin(%.10q): %v", r, err)
		}
	}
	for _, verb := range []string{"", "a/b", ".x", "a\nb"} {
		if _, err := lease.Open(t.TempDir()).Acquire(t.Context(), verb); !errdefs.IsInvalid(err) {
			t.Errorf("Acquire(%q): %v", verb, err)
		}
	}
}

func TestOtherProcess(t *testing.T) {
	root := t.TempDir()
	m := lease.Open(root)
	a, b := startHolder(t, root), startHolder(t, root)
	a.do("blob/a")
	b.do("blob/b")
	c := collect(t, m)
	wantLive(t, c, "blob/a", "blob/b")
	a.do("blob/a2")
	wantLive(t, c, "blob/a", "blob/a2", "blob/b")
	// What ends while a collector is at work still counts: the ref that follows the
	// lease may be newer than what the collector has read.
	a.do("release")
	b.kill()
	wantLive(t, c, "blob/a", "blob/a2", "blob/b")
	check(t, c.Close())

	infos, err := m.List(t.Context())
	check(t, err)
	if len(infos) != 2 || infos[0].Alive || infos[1].Alive || infos[0].Resources+infos[1].Resources != 3 {
		t.Errorf("List: %+v", infos)
	}
	c = collect(t, m)
	defer c.Close()
	wantLive(t, c)
	if left := files(t, root); len(left) != 0 {
		t.Errorf("dead leases left: %v", left)
	}
}

func TestKilledHolderIsDead(t *testing.T) {
	root := t.TempDir()
	m := lease.Open(root)
	for range 5 {
		h := startHolder(t, root)
		h.do("blob/a")
		h.kill()
	}
	if n := len(files(t, root)); n != 5 {
		t.Fatalf("%d lease files, want 5", n)
	}
	c := collect(t, m)
	defer c.Close()
	wantLive(t, c)
}

func TestPinWaitsForSweep(t *testing.T) {
	root := t.TempDir()
	m := lease.Open(root)
	c := collect(t, m)
	defer c.Close()
	l, err := m.Acquire(t.Context(), "pull")
	check(t, err)
	defer l.Release()
	pinned := make(chan error, 1)
	check(t, c.Sweep(t.Context(), func(ctx context.Context, live func(lease.Resource) bool) error {
		short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
		defer cancel()
		if err := l.Pin(short, "blob/x"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Pin during Sweep: %v", err)
		}
		go func() { pinned <- l.Pin(t.Context(), "blob/x") }()
		select {
		case <-pinned:
			t.Error("Pin returned during Sweep")
		case <-time.After(10 * time.Millisecond):
		}
		if live("blob/x") {
			t.Error("live before it is pinned")
		}
		return nil
	}))
	check(t, <-pinned)
	wantLive(t, c, "blob/x")
}

func TestOneCollectorAtATime(t *testing.T) {
	m := lease.Open(t.TempDir())
	c := collect(t, m)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := m.Collect(ctx); !errdefs.IsUnavailable(err) {
		t.Errorf("a second Collect: %v", err)
	}
	check(t, c.Close())
	check(t, collect(t, m).Close())
}

// TestTornLine: what a failed write left is no resource, and does not spoil
// the next one.
func TestTornLine(t *testing.T) {
	root := t.TempDir()
	h := startHolder(t, root)
	h.do("blob/a")
	f, err := os.OpenFile(filepath.Join(root, "leases", files(t, root)[0]), os.O_WRONLY|os.O_APPEND, 0)
	check(t, err)
	_, err = f.WriteString("blob/to")
	check(t, err)
	f.Close()
	c := collect(t, lease.Open(root))
	defer c.Close()
	wantLive(t, c, "blob/a")
	h.do("blob/bee")
	wantLive(t, c, "blob/a", "blob/bee")
}

func BenchmarkPin(b *testing.B) {
	m := lease.Open(b.TempDir())
	for b.Loop() {
		l, _ := m.Acquire(context.Background(), "run")
		if err := l.Pin(context.Background(), "blob/a", "blob/b", "snapshot/c"); err != nil {
			b.Fatal(err)
		}
		l.Release()
	}
}
