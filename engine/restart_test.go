package engine

import (
	"context"
	"os/exec"
	"testing"
	"time"

	"github.com/camada/camada/container/record"
)

// TestAwaitOrphan: a container whose keeper was killed still runs for a moment, and is one that should run then.
func TestAwaitOrphan(t *testing.T) {
	c, err := record.Open(t.TempDir()).Create(t.Context(), record.Config{Name: "box", Command: []string{"true"}, Restart: "always"})
	if err != nil {
		t.Fatal(err)
	}
	dying := exec.Command("sleep", "0.2")
	if err := dying.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = dying.Wait() }()
	if err := c.SetState(record.Started(dying.Process.Pid)); err != nil {
		t.Fatal(err)
	}
	if !c.Running() || shouldRun(c) {
		t.Fatalf("state %+v", c.State)
	}
	if err := awaitOrphan(t.Context(), c); err != nil || c.Running() || !shouldRun(c) {
		t.Errorf("%v, state %+v", err, c.State)
	}

	living := exec.Command("sleep", "100")
	if err := living.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = living.Process.Kill(); _ = living.Wait() }()
	if err := c.SetState(record.Started(living.Process.Pid)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := awaitOrphan(ctx, c); err == nil {
		t.Error("it waits no longer than it is asked to, and says so")
	}
	keep, err := c.Keep(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer keep.Close()
	if err := awaitOrphan(t.Context(), c); err != nil || !c.Running() {
		t.Errorf("one that is looked after: %v, state %+v", err, c.State)
	}
}
