package engine

import (
	"context"
	"sync"

	"github.com/camada/camada/errdefs"
)

// What is looked into at the same time for a Kubernetes. Whoever may make a pod names the registry, and one that answers slowly, or for ever, shall not keep the others waiting.
const (
	// judging is how many images are, altogether and of one registry.
	judging, judgingOne = 6, 2
	// judgingStrangers is how many are of registries of which no image was judged yet, each of them with one.
	judgingStrangers = 3
	// waiting is how many wait for that, altogether and for one registry.
	waiting, waitingOne = 256, 32
	// maxHosts is how many registries are remembered.
	maxHosts = 4096
)

// turns shares out what is looked into among registries.
type turns struct {
	mu                 sync.Mutex
	running, strangers int
	runningOf          map[string]int
	waits              int
	waitsOf            map[string]int
	// known are the registries of which an image was judged, and none was too slow since.
	known map[string]bool
	// ended is closed when a turn ends.
	ended chan struct{}
}

func newTurns() *turns {
	return &turns{runningOf: map[string]int{}, waitsOf: map[string]int{}, known: map[string]bool{}, ended: make(chan struct{})}
}

// take waits for a turn; end must be called, with whether the registry gave what there was to judge. stranger tells that it never did before. ErrUnavailable says why there is none.
func (t *turns) take(ctx context.Context, host string) (end func(good bool), stranger bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.waits >= waiting || t.waitsOf[host] >= waitingOne {
		return nil, false, errdefs.Unavailable("too many images at once, %d of them of the registry %s", t.waitsOf[host], host)
	}
	t.waits, t.waitsOf[host] = t.waits+1, t.waitsOf[host]+1
	defer func() {
		t.waits--
		less(t.waitsOf, host)
	}()
	for !t.free(host) {
		ended := t.ended
		t.mu.Unlock()
		select {
		case <-ended:
			t.mu.Lock()
		case <-ctx.Done():
			t.mu.Lock()
			return nil, false, errdefs.Unavailable("%d images are looked into, %d of them of the registry %s", t.running, t.runningOf[host], host)
		}
	}
	stranger = !t.known[host]
	t.running, t.runningOf[host] = t.running+1, t.runningOf[host]+1
	if stranger {
		t.strangers++
	}
	return func(good bool) { t.end(host, stranger, good) }, stranger, nil
}

func (t *turns) free(host string) bool {
	if t.known[host] {
		return t.running < judging && t.runningOf[host] < judgingOne
	}
	return t.running < judging && t.strangers < judgingStrangers && t.runningOf[host] == 0
}

func (t *turns) end(host string, stranger, good bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.running--
	less(t.runningOf, host)
	if stranger {
		t.strangers--
	}
	switch {
	case !good:
		delete(t.known, host)
	case len(t.known) >= maxHosts:
		clear(t.known)
		fallthrough
	default:
		t.known[host] = true
	}
	close(t.ended)
	t.ended = make(chan struct{})
}

// less counts down, and forgets what is none.
func less(of map[string]int, host string) {
	if of[host]--; of[host] <= 0 {
		delete(of, host)
	}
}
