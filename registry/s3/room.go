package s3

import (
	"container/list"
	"context"
	"sync"
)

// room bounds the bytes of parts that are held in memory, of all uploads together. Who waits gets some in turn.
type room struct {
	mu      sync.Mutex
	free    int64
	all     int64
	waiting list.List // of *waiter
}

type waiter struct {
	n    int64
	come chan struct{}
}

func newRoom(n int64) *room { return &room{free: n, all: n} }

// size is how much is taken for n bytes: more than all that there is would never come.
func (r *room) size(n int64) int64 { return min(n, r.all) }

// take waits for room for n bytes.
func (r *room) take(ctx context.Context, n int64) error {
	n = r.size(n)
	r.mu.Lock()
	if r.free >= n && r.waiting.Len() == 0 {
		r.free -= n
		r.mu.Unlock()
		return nil
	}
	w := &waiter{n, make(chan struct{})}
	at := r.waiting.PushBack(w)
	r.mu.Unlock()
	select {
	case <-w.come:
		return nil
	case <-ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-w.come: // it came at the same moment
		r.free += n
	default:
		r.waiting.Remove(at)
	}
	r.next()
	return context.Cause(ctx)
}

// try takes room for n bytes when there is some that nobody waits for.
func (r *room) try(n int64) bool {
	n = r.size(n)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.free < n || r.waiting.Len() > 0 {
		return false
	}
	r.free -= n
	return true
}

// give gives room for n bytes back.
func (r *room) give(n int64) {
	n = r.size(n)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.free += n
	r.next()
}

// crowded reports whether somebody waits.
func (r *room) crowded() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.waiting.Len() > 0
}

// next lets those in who fit; the lock is held.
func (r *room) next() {
	for e := r.waiting.Front(); e != nil; e = r.waiting.Front() {
		w := e.Value.(*waiter)
		if w.n > r.free {
			return
		}
		r.free -= w.n
		r.waiting.Remove(e)
		close(w.come)
	}
}
