package proxy

import (
	"sync"
	"time"
)

const (
	// maxRecent bounds what is remembered of one kind: some megabytes.
	maxRecent = 1 << 15
	// maxLists bounds the lists that are remembered.
	maxLists = 256
)

// recent remembers values for some time, the latest ones at least.
type recent[V any] struct {
	now func() time.Time
	max int

	mu sync.Mutex
	// older is replaced by newer when that is full.
	newer, older map[string]remembered[V]
}

type remembered[V any] struct {
	until time.Time
	value V
}

func newRecent[V any](now func() time.Time, most int) *recent[V] {
	return &recent[V]{now: now, max: most, newer: map[string]remembered[V]{}}
}

// add remembers a value for a time.
func (r *recent[V]) add(key string, value V, lasts time.Duration) {
	if lasts <= 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.newer) >= r.max/2 {
		r.newer, r.older = map[string]remembered[V]{}, r.newer
	}
	r.newer[key] = remembered[V]{r.now().Add(lasts), value}
}

// get returns a value that counts still.
func (r *recent[V]) get(key string) (V, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m, ok := r.newer[key]
	if !ok {
		m, ok = r.older[key]
	}
	if !ok || !r.now().Before(m.until) {
		var none V
		return none, false
	}
	return m.value, true
}

func (r *recent[V]) has(key string) bool {
	_, ok := r.get(key)
	return ok
}

// drop forgets a value.
func (r *recent[V]) drop(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.newer, key)
	delete(r.older, key)
}
