package s3

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestRoom: no more is taken than there is, everybody gets some in turn, and who gives up leaves nothing taken.
func TestRoom(t *testing.T) {
	r := newRoom(10)
	var now, most atomic.Int64
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			n := int64(1 + i%12) // some want more than there is
			if err := r.take(t.Context(), n); err != nil {
				t.Error(err)
				return
			}
			taken := now.Add(min(n, 10))
			for m := most.Load(); taken > m && !most.CompareAndSwap(m, taken); m = most.Load() {
			}
			time.Sleep(time.Millisecond)
			now.Add(-min(n, 10))
			r.give(n)
		})
	}
	for range 20 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Millisecond)
			defer cancel()
			if r.take(ctx, 10) == nil {
				r.give(10)
			}
		})
	}
	wg.Wait()
	if most.Load() > 10 || r.free != 10 || r.waiting.Len() != 0 {
		t.Errorf("%d of 10 were taken at once; %d are free, %d wait", most.Load(), r.free, r.waiting.Len())
	}
	if !r.try(10) || r.try(1) || r.crowded() {
		t.Error("what is there was not given, or more than that")
	}
	go func() { _ = r.take(t.Context(), 1) }()
	for !r.crowded() {
		time.Sleep(time.Millisecond)
	}
	r.give(10)
	for r.crowded() {
		time.Sleep(time.Millisecond)
	}
}
