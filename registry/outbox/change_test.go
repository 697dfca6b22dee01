package outbox_test

import (
	"context"
	"slices"
	"testing"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry/outbox"
)

// TestPut: a target that is replaced while something is sent to it gets it once, and the next one the rest.
func TestPut(t *testing.T) {
	first, second := &receiver{wait: make(chan struct{})}, &receiver{}
	box, _ := open(t, t.TempDir(), true, outbox.Target{Name: "a", Send: first.send, Workers: 2})
	add(t, box, "a", names(10)...)
	until(t, "two are being sent", func() bool { first.mu.Lock(); defer first.mu.Unlock(); return first.most == 2 })
	if err := box.Put(outbox.Target{Name: "a", Send: second.send, Workers: 4}); err != nil {
		t.Fatal(err)
	}
	until(t, "the rest arrives", func() bool { return len(second.bodies()) == 8 })
	close(first.wait)
	until(t, "all arrive", func() bool { return status(box, "a").Waiting == 0 })
	if all := slices.Concat(first.bodies(), second.bodies()); len(first.bodies()) != 2 || !slices.Equal(slices.Sorted(slices.Values(all)), names(10)) {
		t.Errorf("first %v, second %v", first.bodies(), second.bodies())
	}
}

// TestPutCut: who may be cut off is, and the next one gets it.
func TestPutCut(t *testing.T) {
	first, second := &receiver{wait: make(chan struct{})}, &receiver{}
	box, _ := open(t, t.TempDir(), true, outbox.Target{Name: "a", Send: first.send, Cut: true})
	add(t, box, "a", names(5)...)
	until(t, "some are being sent", func() bool { first.mu.Lock(); defer first.mu.Unlock(); return first.most > 0 })
	if err := box.Put(outbox.Target{Name: "a", Send: second.send}); err != nil {
		t.Fatal(err)
	}
	until(t, "all arrive", func() bool { return slices.Equal(second.bodies(), names(5)) })
	if got := first.bodies(); len(got) > 0 {
		t.Errorf("the first got %v", got)
	}
}

// TestDrop: what waits for a target that is taken out stays until it is back, in this process or in the next one.
func TestDrop(t *testing.T) {
	dir, r, other := t.TempDir(), &receiver{}, &receiver{}
	r.answers(func(outbox.Item) error { return errdefs.Unavailable("not now") })
	box, stop := open(t, dir, true, outbox.Target{Name: "a", Send: r.send}, outbox.Target{Name: "b", Send: other.send})
	add(t, box, "a", names(3)...)
	box.Drop("a")
	box.Drop("a")
	box.Drop("nobody")
	r.answers(nil)
	if err := box.Add(t.Context(), outbox.Item{Target: "a", Key: "x"}); !errdefs.IsNotFound(err) {
		t.Errorf("add to what was taken out: %v", err)
	}
	if err := box.Resume("a"); !errdefs.IsNotFound(err) {
		t.Errorf("resume what was taken out: %v", err)
	}
	add(t, box, "b", "other")
	until(t, "the other one gets its own", func() bool { return slices.Equal(other.bodies(), []string{"other"}) })
	if list := box.Status(); len(list) != 1 || list[0].Target != "b" {
		t.Errorf("%+v", list)
	}
	if err := box.Put(outbox.Target{Name: "a", Send: r.send}); err != nil {
		t.Fatal(err)
	}
	until(t, "what waited arrives", func() bool { return len(r.bodies()) == 3 && status(box, "a").Waiting == 0 })
	// Left by one process, and named only later in the next one.
	r.answers(func(outbox.Item) error { return errdefs.Unavailable("not now") })
	add(t, box, "a", "late")
	stop()
	r.answers(nil)
	box, _ = open(t, dir, true)
	for _, name := range []string{"c", "a"} {
		if err := box.Put(outbox.Target{Name: name, Send: r.send}); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "what was left arrives", func() bool { return slices.Contains(r.bodies(), "late") && status(box, "a").Waiting == 0 })
	if err := box.Put(outbox.Target{Name: ""}); !errdefs.IsInvalid(err) {
		t.Errorf("no name: %v", err)
	}
}

// TestPutGivenUp: who was given up and is replaced is tried again.
func TestPutGivenUp(t *testing.T) {
	box, _ := open(t, t.TempDir(), true, outbox.Target{Name: "a", Patience: 1, Send: func(context.Context, outbox.Item) error { return errdefs.Unavailable("gone") }})
	add(t, box, "a", "x")
	until(t, "it is given up", func() bool { return status(box, "a").State == outbox.GivenUp })
	r := &receiver{}
	if err := box.Put(outbox.Target{Name: "a", Send: r.send}); err != nil {
		t.Fatal(err)
	}
	add(t, box, "a", "y")
	until(t, "it gets what comes", func() bool { return slices.Equal(r.bodies(), []string{"y"}) })
}
