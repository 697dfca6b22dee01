package outbox

import (
	"container/heap"
	"context"
	"time"
)

// target is a Target and what is known of it.
type target struct {
	Target
	// waiting has all entries, queue those that are not being sent now.
	waiting map[string]*entry
	queue   queue
	sending int
	wake    chan struct{}
	// cuts end what is being sent; out is set while the target is taken out.
	cuts map[*entry]context.CancelFunc
	out  bool

	// What happened since the box was opened.
	sent, failed, dropped int64
	succeeded, erred      time.Time
	lastError             string
	// failures without an answer in a row, in this process; failing is since when, over restarts, began is since when in this process.
	failures       int
	failing, began time.Time
	rest           time.Time
	givenUp        bool
}

func newTarget(t Target) *target {
	return &target{Target: t.withDefaults(), waiting: map[string]*entry{}, wake: make(chan struct{}, 1), cuts: map[*entry]context.CancelFunc{}}
}

func (t Target) withDefaults() Target {
	if t.Workers <= 0 {
		t.Workers = defaultWorkers
	}
	if t.Max <= 0 {
		t.Max = defaultMax
	}
	if t.Patience <= 0 {
		t.Patience = defaultPatience
	}
	return t
}

// cutOff ends what is being sent, when that does no harm; it waits again then.
func (t *target) cutOff() {
	if !t.Cut {
		return
	}
	for _, cancel := range t.cuts {
		cancel()
	}
}

// entry is an item that waits; its body is on the disk.
type entry struct {
	key    string
	seq    uint64
	queued time.Time
	due    time.Time
	tries  int
	err    string
	// sending is set while it is sent, parked while another one of its key is; place is that in the queue otherwise.
	sending, parked bool
	place           int
}

// poke wakes who sends.
func (t *target) poke() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// put adds an entry, in the place of the one of the same key. Two of one key are not sent at once.
func (t *target) put(e *entry) {
	old := t.waiting[e.key]
	t.waiting[e.key] = e
	switch {
	case old == nil:
	case old.sending, old.parked:
		e.parked = true
		return
	default:
		heap.Remove(&t.queue, old.place)
	}
	heap.Push(&t.queue, e)
}

// unpark puts what came meanwhile into the queue, once the one before it was sent.
func (t *target) unpark(key string) {
	if e := t.waiting[key]; e != nil && e.parked {
		e.parked = false
		heap.Push(&t.queue, e)
	}
}

// forget removes an entry of the queue.
func (t *target) forget(e *entry) {
	heap.Remove(&t.queue, e.place)
	delete(t.waiting, e.key)
}

// clear removes all entries but those that are being sent.
func (t *target) clear(fn func(*entry)) {
	for _, e := range t.queue {
		fn(e)
		delete(t.waiting, e.key)
	}
	t.queue = nil
}

// oldest is the entry that waits longest; nil when none does.
func (t *target) oldest() *entry {
	var first *entry
	for _, e := range t.queue {
		if first == nil || e.seq < first.seq {
			first = e
		}
	}
	return first
}

// hurry makes all entries due.
func (t *target) hurry() {
	for _, e := range t.queue {
		e.due = time.Time{}
	}
	heap.Init(&t.queue)
}

// take returns the next entry to send; nil when there is none now, with how long to wait for one, 0 for until something changes.
func (t *target) take(now time.Time) (*entry, time.Duration) {
	limit := t.Workers
	if t.failures > 0 {
		limit = 1 // one is enough to see whether it answers again
	}
	if t.givenUp || t.out || t.sending >= limit || len(t.queue) == 0 {
		return nil, 0
	}
	due := t.queue[0].due
	if t.rest.After(due) {
		due = t.rest
	}
	if due.After(now) {
		return nil, due.Sub(now)
	}
	e, _ := heap.Pop(&t.queue).(*entry)
	e.sending = true
	t.sending++
	return e, 0
}

// queue is a heap of entries: what is due first, and of those the oldest.
type queue []*entry

// Len implements heap.Interface.
func (q queue) Len() int { return len(q) }

// Less implements heap.Interface.
func (q queue) Less(i, j int) bool {
	if !q[i].due.Equal(q[j].due) {
		return q[i].due.Before(q[j].due)
	}
	return q[i].seq < q[j].seq
}

// Swap implements heap.Interface.
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].place, q[j].place = i, j
}

// Push implements heap.Interface.
func (q *queue) Push(x any) {
	e, _ := x.(*entry)
	e.place = len(*q)
	*q = append(*q, e)
}

// Pop implements heap.Interface.
func (q *queue) Pop() any {
	old := *q
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return e
}
