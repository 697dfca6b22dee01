package outbox

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry/local/kv"
)

// Before a target is given up it has to fail so often and so long in this process: one that was not up for days may start a moment after us.
const (
	giveUpFailures = 4
	giveUpTime     = 10 * time.Minute
)

// serve sends to one target until ctx is done.
func (b *Box) serve(ctx context.Context, t *target) {
	var under sync.WaitGroup
	defer under.Wait()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		b.mu.Lock()
		e, wait := t.take(time.Now())
		if e != nil {
			to, name := t.Send, t.Name // those of now: Put may replace them
			sending, cancel := context.WithCancel(ctx)
			t.cuts[e] = cancel
			under.Go(func() {
				defer cancel()
				b.done(sending, t, e, b.send(sending, to, name, e))
				t.poke()
			})
		}
		b.mu.Unlock()
		if e != nil {
			continue
		}
		if wait <= 0 {
			wait = time.Hour
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
		case <-t.wake:
		case <-timer.C:
		}
	}
}

// send sends an entry.
func (b *Box) send(ctx context.Context, to func(context.Context, Item) error, name string, e *entry) error {
	found, ok, err := b.db.Get(itemKey(name, e.key))
	if err != nil {
		return fmt.Errorf("read a delivery: %w", err)
	}
	if !ok {
		return nil // it was dropped a moment ago
	}
	_, _, body, err := decodeItem(found.Head)
	if err != nil {
		b.opts.Fault(fmt.Errorf("a delivery to %s: %w", name, err))
		return nil // it will never be read
	}
	return to(ctx, Item{Target: name, Key: e.key, Body: body})
}

// done notes what became of an entry; ctx is that with which it was sent.
func (b *Box) done(ctx context.Context, t *target, e *entry, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	var batch kv.Batch
	e.sending = false
	t.sending--
	delete(t.cuts, e)
	mine := t.waiting[e.key] == e // nobody put another one in its place meanwhile
	t.unpark(e.key)
	var refused *RefusedError
	switch {
	case err != nil && ctx.Err() != nil:
		if mine {
			heap.Push(&t.queue, e)
		}
		return
	case err == nil:
		t.sent++
		t.answered(now, &batch)
		if mine {
			delete(t.waiting, e.key)
			batch.Delete(itemKey(t.Name, e.key))
		}
	case errors.As(err, &refused):
		t.fail(e, now, err)
		t.answered(time.Time{}, &batch)
		e.due = now.Add(b.pause(err, e.tries, b.opts.ItemPauseMax))
	default:
		t.fail(e, now, err)
		t.failures++
		if t.failures == 1 {
			t.began = now
		}
		if t.failing.IsZero() {
			t.failing = now
			batch.Put(stateKey(kindFailing, t.Name), encodeTime(now))
		}
		t.rest = now.Add(b.pause(err, t.failures, b.opts.PauseMax))
		e.due = now.Add(b.pause(err, e.tries, b.opts.PauseMax)) // another one is the next to be tried
		if t.hopeless(now) {
			b.giveUp(t, &batch)
			mine = false
		}
	}
	if err != nil && mine {
		// What cannot be reached is given up as a whole: after days in which we were not up, no item may be lost by the first failure.
		if refused != nil && now.Sub(e.queued) >= t.Patience {
			delete(t.waiting, e.key)
			batch.Delete(itemKey(t.Name, e.key))
			t.dropped++
		} else {
			heap.Push(&t.queue, e)
		}
	}
	if _, err := b.db.Write(&batch); err != nil { // without it something is sent twice
		b.opts.Fault(fmt.Errorf("note a delivery to %s: %w", t.Name, err))
	}
}

// fail notes that an entry was not sent.
func (t *target) fail(e *entry, now time.Time, err error) {
	t.failed++
	e.tries++
	e.err = err.Error()
	t.erred, t.lastError = now, e.err
}

// answered notes that a target answers; the time is zero when it refused something.
func (t *target) answered(succeeded time.Time, batch *kv.Batch) {
	if !succeeded.IsZero() {
		t.succeeded = succeeded
	}
	if !t.failing.IsZero() {
		batch.Delete(stateKey(kindFailing, t.Name))
	}
	t.failures, t.failing, t.rest = 0, time.Time{}, time.Time{}
}

// hopeless reports whether a target did not answer for too long.
func (t *target) hopeless(now time.Time) bool {
	return now.Sub(t.failing) >= t.Patience && now.Sub(t.began) >= min(t.Patience, giveUpTime) && t.failures >= giveUpFailures
}

// giveUp drops what waits for a target.
func (b *Box) giveUp(t *target, batch *kv.Batch) {
	for _, e := range t.waiting {
		batch.Delete(itemKey(t.Name, e.key))
		t.dropped++
	}
	t.waiting, t.queue = map[string]*entry{}, nil
	t.givenUp = true
	batch.Put(stateKey(kindGivenUp, t.Name), nil)
	b.opts.Fault(errdefs.Unavailable("deliveries to %s are given up until they are resumed: it has not answered since %s: %s", t.Name, t.failing.UTC().Format(time.RFC3339), t.lastError))
}

// pause is how long to wait after some failures.
func (b *Box) pause(err error, failures int, most time.Duration) time.Duration {
	d := b.opts.Pause
	for i := 1; i < failures && d < most; i++ {
		d *= 2
	}
	d = min(d, most)
	d -= rand.N(d/2 + 1)
	var later *LaterError
	if errors.As(err, &later) {
		d = max(d, min(later.After, defaultItemPauseMax))
	}
	return d
}
