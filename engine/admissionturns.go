package engine

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/camada/camada/errdefs"
)

// What is looked into at the same time for a Kubernetes. Whoever may make a pod names the registry, and one that answers slowly, or for ever, shall not keep the others waiting.
const (
	// judging is how many images are, altogether and of one registry.
	judging, judgingOne = 6, 2
	// judgingKnown is how many are of registries of which an image was judged: one turn is left for others.
	judgingKnown = 5
	// judgingStrangers is how many are of registries of which no image was judged yet, each of them with one.
	judgingStrangers = 3
	// waiting is how many wait for that, altogether, for strangers, and for one registry.
	waiting, waitingStrangers, waitingOne = 256, 128, 32
	// maxHosts is how many registries are remembered.
	maxHosts = 4096
)

// conduct is what a judgement tells of the registry.
type conduct int

const (
	// hostAnswered is neither proof nor blame: there is no such image, it is shown to others only, or it is none.
	hostAnswered conduct = iota
	// hostJudged is an image that was there, with all that was asked for.
	hostJudged
	// hostSilent is a registry that could not be asked, or was too slow.
	hostSilent
)

// conductOf tells it from what a judgement ended with.
func conductOf(err error) conduct {
	switch {
	case err == nil:
		return hostJudged
	case errdefs.IsUnavailable(err), errors.Is(err, context.DeadlineExceeded):
		return hostSilent
	}
	return hostAnswered
}

// turns shares out what is looked into among registries. A turn that takes longer than who asked waits is overdue: it goes on as long as nobody needs it. It gives way
// to a registry of which nothing is looked into, so that no registry holds turns for long by being slow. A registry that only needs more than it may have waits for its own, so that
// what is large ends at some time.
type turns struct {
	// patience is when a turn is overdue.
	patience time.Duration

	mu sync.Mutex
	// running and waits are in the order in which they came.
	running, waits []*turn
	// known are the registries of which an image was judged, and none was silent since.
	known map[string]bool
}

// turn is that of one image.
type turn struct {
	turns *turns
	host  string
	// begun is closed when it begins, stop ends with a reason what it is for.
	begun chan struct{}
	stop  func(error)
	// stranger tells that the registry was none of the known ones when it began.
	stranger bool
	clock    *time.Timer
	overdue  bool
	// leaving tells that it was stopped for another one, whose way it is.
	leaving bool
	way     *turn
}

func newTurns(patience time.Duration) *turns {
	return &turns{patience: patience, known: map[string]bool{}}
}

// take waits for a turn, whose end must be called. stop is called at any time until then, when it has to give way. ErrUnavailable says why there is none.
func (t *turns) take(ctx context.Context, host string, stop func(error)) (*turn, error) {
	n := &turn{turns: t, host: host, stop: stop, begun: make(chan struct{})}
	if err := t.enter(n); err != nil {
		return nil, err
	}
	select {
	case <-n.begun:
		return n, nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.Index(t.waits, n)
	if i < 0 { // it begins at this moment
		return n, nil
	}
	t.waits = slices.Delete(t.waits, i, i+1)
	return nil, errdefs.Unavailable("%d images are looked into, %d of them of the registry %s", len(t.running), count(t.running, n.same), host)
}

// enter lets in who finds a free turn, and as many others as may wait.
func (t *turns) enter(n *turn) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.free(n.host) {
		of := count(t.waits, n.same)
		if len(t.waits) >= waiting || of >= waitingOne || !t.known[n.host] && count(t.waits, t.unknown) >= waitingStrangers {
			return errdefs.Unavailable("too many images at once, %d of them of the registry %s", of, n.host)
		}
	}
	t.waits = append(t.waits, n)
	t.share()
	return nil
}

// free reports whether a turn of a registry may begin.
func (t *turns) free(host string) bool {
	of := count(t.running, func(r *turn) bool { return r.host == host })
	strangers := count(t.running, func(r *turn) bool { return r.stranger })
	switch {
	case len(t.running) >= judging:
		return false
	case t.known[host]:
		return of < judgingOne && len(t.running)-strangers < judgingKnown
	}
	return of == 0 && strangers < judgingStrangers
}

// share begins what may begin, and stops what has to give way.
func (t *turns) share() {
	for n := t.next(); n != nil; n = t.next() {
		t.waits = slices.DeleteFunc(t.waits, func(w *turn) bool { return w == n })
		t.running = append(t.running, n)
		n.stranger = !t.known[n.host]
		n.clock = time.AfterFunc(t.patience, n.late)
		close(n.begun)
	}
	for _, w := range t.waits {
		if way := t.wayOf(w); way != nil {
			w.way, way.leaving = way, true
			way.stop(errdefs.Unavailable("the registry %s did not give all that is asked for in %s, and others wait", way.host, t.patience))
		}
	}
}

// next is who begins first: who has the least, a known registry, who came first.
func (t *turns) next() *turn {
	var best *turn
	least := 0
	for _, w := range t.waits {
		rank := 2 * count(t.running, w.same)
		if t.unknown(w) {
			rank++
		}
		if t.free(w.host) && (best == nil || rank < least) {
			best, least = w, rank
		}
	}
	return best
}

// wayOf is what has to give way to one that waits, nil for nothing: of what is overdue a stranger's, and then one of the registry that has the most, the oldest. To a stranger only strangers
// give way.
func (t *turns) wayOf(w *turn) *turn {
	if slices.ContainsFunc(t.running, w.same) || slices.ContainsFunc(t.waits, func(o *turn) bool { return w.same(o) && slices.Contains(t.running, o.way) }) {
		return nil
	}
	known := count(t.running, func(r *turn) bool { return !r.stranger })
	var best *turn
	most := 0
	for _, r := range t.running {
		rank := count(t.running, func(o *turn) bool { return r.same(o) && !o.leaving })
		if r.stranger {
			rank = judgingOne + 1
		}
		helps := r.stranger && known < judgingKnown || !r.stranger
		if t.unknown(w) {
			helps = r.stranger
		}
		if helps && r.overdue && !r.leaving && rank > most {
			best, most = r, rank
		}
	}
	return best
}

// late is called when a turn is overdue.
func (n *turn) late() {
	n.turns.mu.Lock()
	defer n.turns.mu.Unlock()
	n.overdue = true
	n.turns.share()
}

// end gives a turn back, with what it told of the registry.
func (n *turn) end(c conduct) {
	t := n.turns
	t.mu.Lock()
	defer t.mu.Unlock()
	n.clock.Stop()
	t.running = slices.DeleteFunc(t.running, func(r *turn) bool { return r == n })
	switch {
	case c == hostJudged:
		t.remember(n.host)
	case c == hostSilent && !n.leaving: // whoever was not let finish is not to blame
		delete(t.known, n.host)
	}
	t.share()
}

// remember makes a registry known. When there are too many, any other one is a stranger again.
func (t *turns) remember(host string) {
	for h := range t.known {
		if len(t.known) < maxHosts || t.known[host] {
			break
		}
		delete(t.known, h)
	}
	t.known[host] = true
}

// unknown reports whether a turn is for a stranger now.
func (t *turns) unknown(n *turn) bool { return !t.known[n.host] }

// same reports whether two turns are of one registry.
func (n *turn) same(o *turn) bool { return o.host == n.host }

// count is how many turns are so.
func count(list []*turn, so func(*turn) bool) int {
	n := 0
	for _, t := range list {
		if so(t) {
			n++
		}
	}
	return n
}
