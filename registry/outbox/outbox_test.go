package outbox_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry/outbox"
)

// receiver gets items, and answers as it is told.
type receiver struct {
	mu     sync.Mutex
	answer func(outbox.Item) error
	got    []string // bodies
	under  map[string]int
	most   int // sends at once
	twice  bool
	wait   chan struct{} // sends wait until it is closed
}

func (r *receiver) send(ctx context.Context, it outbox.Item) error {
	r.mu.Lock()
	if r.under == nil {
		r.under = map[string]int{}
	}
	r.under[it.Key]++
	r.twice = r.twice || r.under[it.Key] > 1
	n := 0
	for _, u := range r.under {
		n += u
	}
	r.most = max(r.most, n)
	answer, wait := r.answer, r.wait
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		r.under[it.Key]--
		r.mu.Unlock()
	}()
	if wait != nil {
		select {
		case <-wait:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if answer != nil {
		if err := answer(it); err != nil {
			return err
		}
	}
	r.mu.Lock()
	r.got = append(r.got, string(it.Body))
	r.mu.Unlock()
	return nil
}

func (r *receiver) answers(fn func(outbox.Item) error) {
	r.mu.Lock()
	r.answer = fn
	r.mu.Unlock()
}

// bodies are those that arrived, sorted.
func (r *receiver) bodies() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := slices.Clone(r.got)
	slices.Sort(list)
	return list
}

// quick are the options of tests.
func quick(t *testing.T) outbox.Options {
	return outbox.Options{Pause: time.Millisecond, PauseMax: 4 * time.Millisecond, ItemPauseMax: 4 * time.Millisecond, Fault: func(err error) { t.Log(err) }}
}

// open opens a box and runs it until stop is called, or the test ends.
func open(t *testing.T, dir string, run bool, targets ...outbox.Target) (box *outbox.Box, stop func()) {
	t.Helper()
	box, err := outbox.Open(dir, targets, quick(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if run {
			box.Run(ctx)
		}
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		<-ended
		if err := box.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return box, stop
}

func add(t *testing.T, box *outbox.Box, target string, bodies ...string) {
	t.Helper()
	for _, b := range bodies {
		if err := box.Add(t.Context(), outbox.Item{Target: target, Key: "key of " + b, Body: []byte(b)}); err != nil {
			t.Fatal(err)
		}
	}
}

// until waits for something.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for began := time.Now(); !ok(); time.Sleep(time.Millisecond) {
		if time.Since(began) > time.Minute {
			t.Fatalf("never: %s", what)
		}
	}
}

func status(box *outbox.Box, target string) outbox.Status {
	for _, s := range box.Status() {
		if s.Target == target {
			return s
		}
	}
	return outbox.Status{}
}

func names(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("%04d", i)
	}
	return list
}

func TestSend(t *testing.T) {
	dir, r := t.TempDir(), &receiver{}
	box, stop := open(t, dir, true, outbox.Target{Name: "a", Send: r.send})
	want := names(50)
	add(t, box, "a", want...)
	until(t, "all arrive", func() bool { return status(box, "a").Waiting == 0 })
	if got := r.bodies(); !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	if s := status(box, "a"); s.Sent != 50 || s.State != outbox.Idle || s.Oldest != nil || s.Succeeded == nil {
		t.Errorf("%+v", s)
	}
	stop()
	again, _ := open(t, dir, true, outbox.Target{Name: "a", Send: r.send})
	if s := status(again, "a"); s.Waiting != 0 {
		t.Errorf("after a restart: %+v", s)
	}
	if err := again.Add(t.Context(), outbox.Item{Target: "b", Key: "x"}); !errdefs.IsNotFound(err) {
		t.Errorf("an unknown target: %v", err)
	}
	if err := again.Add(t.Context(), outbox.Item{Target: "a", Key: "x", Body: make([]byte, 1<<20)}); !errdefs.IsLimit(err) {
		t.Errorf("a big body: %v", err)
	}
}

// TestOrder: the oldest goes first, also of what was there before a restart.
func TestOrder(t *testing.T) {
	dir, r := t.TempDir(), &receiver{}
	box, stop := open(t, dir, false, outbox.Target{Name: "a", Send: r.send, Workers: 1})
	want := names(60)
	slices.Reverse(want) // the order of their keys is another one
	add(t, box, "a", want[:40]...)
	stop()
	box, _ = open(t, dir, true, outbox.Target{Name: "a", Send: r.send, Workers: 1})
	add(t, box, "a", want[40:]...)
	until(t, "all arrive", func() bool { return status(box, "a").Waiting == 0 })
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Equal(r.got, want) {
		t.Errorf("got %v", r.got)
	}
}

// TestKilled: what Add returned for is in a copy of the directory that is made at that moment, as after a kill.
func TestKilled(t *testing.T) {
	dir, r := t.TempDir(), &receiver{wait: make(chan struct{})}
	box, _ := open(t, dir, true, outbox.Target{Name: "a", Send: r.send})
	want := names(20)
	add(t, box, "a", want...)
	until(t, "some are being sent", func() bool { r.mu.Lock(); defer r.mu.Unlock(); return r.most > 0 })
	then := t.TempDir()
	if err := os.CopyFS(then, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	after := &receiver{}
	other, _ := open(t, then, true, outbox.Target{Name: "a", Send: after.send})
	until(t, "all arrive", func() bool { return status(other, "a").Waiting == 0 })
	if got := after.bodies(); !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

// TestStopped: what is under way when the box is stopped is sent by the next one, and so is what waits for somebody who is not named meanwhile.
func TestStopped(t *testing.T) {
	dir, r := t.TempDir(), &receiver{wait: make(chan struct{})}
	box, stop := open(t, dir, true, outbox.Target{Name: "a", Send: r.send})
	want := names(10)
	add(t, box, "a", want...)
	until(t, "some are being sent", func() bool { r.mu.Lock(); defer r.mu.Unlock(); return r.most == 4 })
	stop()
	_, stop = open(t, dir, true)
	stop()
	r.wait = nil
	box, _ = open(t, dir, true, outbox.Target{Name: "a", Send: r.send})
	until(t, "all arrive", func() bool { return status(box, "a").Waiting == 0 })
	if got := r.bodies(); !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

// TestDown: one target that is down keeps nothing from another, is tried with one item at a time, and gets all once it is up.
func TestDown(t *testing.T) {
	down, up := &receiver{}, &receiver{}
	down.answers(func(outbox.Item) error { return errdefs.Unavailable("connection refused") })
	box, _ := open(t, t.TempDir(), false, outbox.Target{Name: "down", Send: down.send}, outbox.Target{Name: "up", Send: up.send})
	want := names(30)
	add(t, box, "down", want...)
	add(t, box, "up", want...)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { box.Run(ctx) })
	defer running.Wait()
	defer cancel()
	until(t, "the other one gets all", func() bool { return len(up.bodies()) == len(want) })
	until(t, "it fails several times", func() bool { return status(box, "down").Failed > 8 })
	if s := status(box, "down"); s.State != outbox.Failing || s.Waiting != 30 || s.Failing == nil || !strings.Contains(s.Error, "refused") || s.Oldest == nil {
		t.Errorf("%+v", s)
	}
	down.mu.Lock()
	down.most = 0
	down.mu.Unlock()
	n := status(box, "down").Failed
	until(t, "it fails again", func() bool { return status(box, "down").Failed > n+4 })
	down.mu.Lock()
	if down.most > 1 {
		t.Errorf("%d were sent at once to one that does not answer", down.most)
	}
	down.mu.Unlock()
	down.answers(nil)
	until(t, "it gets all", func() bool { return status(box, "down").Waiting == 0 })
	if got := down.bodies(); !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	if s := status(box, "down"); s.State != outbox.Idle || s.Failing != nil {
		t.Errorf("%+v", s)
	}
}

// TestRefused: an item that is refused keeps no other one, and is dropped in the end.
func TestRefused(t *testing.T) {
	r := &receiver{}
	r.answers(func(it outbox.Item) error {
		if string(it.Body) == "bad" {
			return &outbox.RefusedError{Err: errors.New("do not want it")}
		}
		return nil
	})
	box, _ := open(t, t.TempDir(), true, outbox.Target{Name: "a", Send: r.send, Patience: 200 * time.Millisecond})
	add(t, box, "a", "bad", "x", "y")
	until(t, "the others arrive", func() bool { return len(r.bodies()) == 2 })
	if list := box.Waiting("a", 10); len(list) != 1 || list[0].Key != "key of bad" || list[0].Tries > 0 && list[0].Error != "do not want it" {
		t.Errorf("%+v", list)
	}
	until(t, "it is dropped", func() bool { return status(box, "a").Waiting == 0 })
	if s := status(box, "a"); s.Dropped != 1 || s.Failed < 2 || s.State != outbox.Idle {
		t.Errorf("%+v", s)
	}
}

func TestGivenUp(t *testing.T) {
	for _, all := range []*outbox.Item{nil, {Target: "a", Key: "all", Body: []byte("everything")}} {
		t.Run(fmt.Sprint(all != nil), func(t *testing.T) {
			dir, r := t.TempDir(), &receiver{}
			r.answers(func(outbox.Item) error { return errdefs.Unavailable("connection refused") })
			target := outbox.Target{Name: "a", Send: r.send, Patience: 50 * time.Millisecond, Overflow: all}
			box, stop := open(t, dir, true, target)
			add(t, box, "a", "x", "y")
			until(t, "it is given up", func() bool { return status(box, "a").State == outbox.GivenUp })
			add(t, box, "a", "z")
			if s := status(box, "a"); s.Waiting != 0 || s.Dropped != 3 || s.Next != nil {
				t.Errorf("%+v", s)
			}
			r.answers(nil)
			want := []string{"everything", "later"}
			if all == nil {
				want = []string{"later"}
			}
			if err := box.Resume("b"); !errdefs.IsNotFound(err) {
				t.Errorf("resume of an unknown one: %v", err)
			}
			if err := box.Resume("a"); err != nil {
				t.Error(err)
			}
			add(t, box, "a", "later")
			until(t, "what came later arrives", func() bool { return slices.Equal(r.bodies(), want) })
			until(t, "it is noted", func() bool { return status(box, "a").Waiting == 0 })
			// A restart takes it up again, too.
			r.answers(func(outbox.Item) error { return errdefs.Unavailable("connection refused") })
			add(t, box, "a", "x")
			until(t, "it is given up again", func() bool { return status(box, "a").State == outbox.GivenUp })
			stop()
			r.answers(nil)
			r.got = nil
			box, _ = open(t, dir, true, target)
			add(t, box, "a", "later")
			until(t, "what comes after a restart arrives", func() bool { return slices.Equal(r.bodies(), want) })
		})
	}
}

// TestLate starts after a time that is longer than the patience, when the target is not up yet.
func TestLate(t *testing.T) {
	dir, r := t.TempDir(), &receiver{}
	target := outbox.Target{Name: "a", Send: r.send, Patience: 10 * time.Millisecond}
	box, stop := open(t, dir, false, target)
	add(t, box, "a", "x")
	stop()
	time.Sleep(2 * target.Patience)
	var tries atomic.Int32
	r.answers(func(outbox.Item) error {
		if tries.Add(1) == 1 {
			return errdefs.Unavailable("connection refused")
		}
		return nil
	})
	box, _ = open(t, dir, true, target)
	until(t, "it arrives", func() bool { return status(box, "a").Waiting == 0 })
	if got := r.bodies(); !slices.Equal(got, []string{"x"}) {
		t.Errorf("got %v", got)
	}
}

func TestFull(t *testing.T) {
	dir, r := t.TempDir(), &receiver{}
	box, stop := open(t, dir, false, outbox.Target{Name: "a", Send: r.send, Max: 3})
	add(t, box, "a", names(5)...)
	if s := status(box, "a"); s.Waiting != 3 || s.Dropped != 2 {
		t.Errorf("%+v", s)
	}
	stop()
	box, _ = open(t, dir, true, outbox.Target{Name: "a", Send: r.send})
	until(t, "the rest arrives", func() bool { return status(box, "a").Waiting == 0 })
	if got := r.bodies(); !slices.Equal(got, names(5)[2:]) {
		t.Errorf("got %v", got)
	}
	// With something that stands for all nothing is dropped.
	r = &receiver{}
	dir = t.TempDir()
	all := &outbox.Item{Target: "a", Key: "all", Body: []byte("everything")}
	box, stop = open(t, dir, false, outbox.Target{Name: "a", Send: r.send, Max: 3, Overflow: all})
	add(t, box, "a", names(5)...)
	stop()
	box, _ = open(t, dir, true, outbox.Target{Name: "a", Send: r.send})
	until(t, "the rest arrives", func() bool { return status(box, "a").Waiting == 0 })
	if got := r.bodies(); !slices.Equal(got, []string{"0004", "everything"}) || status(box, "a").Dropped != 0 {
		t.Errorf("got %v", got)
	}
}

// TestReplaced: an item takes the place of one of its key, and when that is being sent it is sent afterwards, not beside it.
func TestReplaced(t *testing.T) {
	r := &receiver{wait: make(chan struct{})}
	box, _ := open(t, t.TempDir(), true, outbox.Target{Name: "a", Send: r.send})
	put := func(body string) {
		if err := box.Add(t.Context(), outbox.Item{Target: "a", Key: "k", Body: []byte(body)}); err != nil {
			t.Fatal(err)
		}
	}
	put("1")
	until(t, "the first one is being sent", func() bool { r.mu.Lock(); defer r.mu.Unlock(); return r.under["k"] == 1 })
	put("2")
	put("3")
	if s := status(box, "a"); s.Waiting != 1 {
		t.Errorf("%+v", s)
	}
	close(r.wait)
	until(t, "all arrive", func() bool { return status(box, "a").Waiting == 0 })
	if got := r.bodies(); len(got) == 0 || got[len(got)-1] != "3" || slices.Contains(got, "2") || r.twice {
		t.Errorf("got %v; two at once: %v", got, r.twice)
	}
}

// TestLater: who says when to come again is left alone until then.
func TestLater(t *testing.T) {
	r := &receiver{}
	r.answers(func(outbox.Item) error { return &outbox.LaterError{After: time.Hour, Err: errors.New("busy")} })
	box, _ := open(t, t.TempDir(), true, outbox.Target{Name: "a", Send: r.send})
	add(t, box, "a", "x")
	until(t, "it fails", func() bool { return status(box, "a").Failed == 1 })
	if s := status(box, "a"); s.Next == nil || time.Until(*s.Next) < 50*time.Minute {
		t.Errorf("%+v", s)
	}
	r.answers(nil)
	if err := box.Resume("a"); err != nil {
		t.Error(err)
	}
	until(t, "it arrives when somebody says so", func() bool { return status(box, "a").Waiting == 0 })
}
