package engine

import (
	"context"
	"testing"
)

// TestSlimWaitBothEnded: a container that ended when all commands were done has done all, whichever is heard of first.
func TestSlimWaitBothEnded(t *testing.T) {
	for range 100 {
		r := &slimRun{s: &slimmer{o: SlimOptions{Execs: [][]string{{"x"}}, After: SlimExit}}}
		done, acted := make(chan slimEnd, 1), make(chan error, 1)
		done <- slimEnd{}
		acted <- nil
		ctx, cancel := context.WithCancel(t.Context())
		if _, err := r.wait(ctx, cancel, done, acted); err != nil {
			t.Fatal(err)
		}
		cancel()
	}
}
