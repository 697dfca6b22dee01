// Package outbox keeps what is to be sent to others until it was sent: over restarts and kills, and while they cannot be reached.
//
//	box, err := outbox.Open(dir, []outbox.Target{{Name: "ci", Send: send}}, outbox.Options{})
//	defer box.Close()
//	go box.Run(ctx)                                                        // sends until ctx is done
//	err = box.Add(ctx, outbox.Item{Target: "ci", Key: id, Body: body})     // durable once it returns
//
// What was added is sent at least once: a kill between the sending and the note of it sends it again. The oldest goes first; no order is promised.
// A target that does not answer rests, longer each time, and is then tried with one item at a time. One that does not answer for days is given
// up: what waits for it is dropped, and so is what comes, until Resume or the next Open.
//
// While it runs, Put names another target or replaces one, and Drop takes one out.
//
// Items are in an ordered map of package kv, so that many who add share one fdatasync. One process owns the directory; the caller sees to that.
package outbox

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry/local/kv"
)

// Item is something to be sent.
type Item struct {
	// Target is who gets it.
	Target string
	// Key names it among those of its target; an item that waits under the same key is replaced.
	Key  string
	Body []byte
}

// Target is somebody to whom things are sent.
type Target struct {
	// Name is a word.
	Name string
	// Send sends an item; it has a limit of its own on the time that it takes. An error that wraps a *RefusedError is about the item; any other one
	// says that the target cannot be reached. It is called by Workers goroutines.
	Send func(ctx context.Context, item Item) error
	// Workers is how many items are sent at once; 0 means 4.
	Workers int
	// Max is how many items wait; 0 means 10,000. When there are more, the oldest is dropped.
	Max int
	// Overflow, when there is one, comes in the place of all that waits, instead of dropping one of them; and after Resume.
	Overflow *Item
	// Patience is after what time without an answer the target is given up, and an item that is refused dropped; 0 means 3 days.
	Patience time.Duration
	// Cut says that what is being sent when the target is replaced or taken out is cut off, and sent again by the next one of that name. Otherwise it ends by itself.
	Cut bool
}

// RefusedError is an error of Send that is about the item alone.
type RefusedError struct{ Err error }

// Error returns the text.
func (e *RefusedError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *RefusedError) Unwrap() error { return e.Err }

// LaterError is an error of Send that says when to try again at the earliest.
type LaterError struct {
	After time.Duration
	Err   error
}

// Error returns the text.
func (e *LaterError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *LaterError) Unwrap() error { return e.Err }

// Options of a Box.
type Options struct {
	// Pause is that after a first failure, and each further one is twice as long, up to PauseMax for a target and ItemPauseMax for an item that is refused. 0 is a
	// second, a minute, and an hour. A random part of up to a half is taken off.
	Pause, PauseMax, ItemPauseMax time.Duration
	// Fault is told of errors that are the box's own; nil drops them.
	Fault func(error)
}

// The defaults of Options and Target.
const (
	defaultPause        = time.Second
	defaultPauseMax     = time.Minute
	defaultItemPauseMax = time.Hour
	defaultWorkers      = 4
	defaultMax          = 10_000
	defaultPatience     = 3 * 24 * time.Hour
)

// Limits of what is added.
const (
	maxKey  = 1 << 10
	maxBody = 64 << 10
)

// Box is an outbox. It is safe for use by many goroutines.
type Box struct {
	db   *kv.DB
	opts Options

	mu      sync.Mutex // guards all below
	targets map[string]*target
	names   []string
	seq     uint64
	more    chan struct{} // tells Run of a target
}

// Open opens the box in a directory, which is made when it is not there. What waits there for targets that are not named stays for some days, since
// a configuration may be wrong for a while.
func Open(dir string, targets []Target, opts Options) (*Box, error) {
	if opts.Pause <= 0 {
		opts.Pause = defaultPause
	}
	if opts.PauseMax <= 0 {
		opts.PauseMax = defaultPauseMax
	}
	if opts.ItemPauseMax <= 0 {
		opts.ItemPauseMax = defaultItemPauseMax
	}
	if opts.Fault == nil {
		opts.Fault = func(error) {}
	}
	b := &Box{opts: opts, targets: map[string]*target{}, more: make(chan struct{}, 1)}
	for _, t := range targets {
		if b.targets[t.Name] != nil {
			return nil, errdefs.Invalid("the name of a target of deliveries, %q, is there twice", t.Name)
		}
		if err := checkName(t.Name); err != nil {
			return nil, err
		}
		b.targets[t.Name] = newTarget(t)
		b.names = append(b.names, t.Name)
	}
	var err error
	if b.db, err = kv.Open(dir, kv.Options{SegmentBytes: 4 << 20, MemoryBytes: 1 << 20}); err != nil {
		return nil, err
	}
	if err := b.load(time.Now(), b.targets, true); err != nil {
		b.db.Close()
		return nil, err
	}
	return b, nil
}

func checkName(name string) error {
	if name == "" || strings.ContainsRune(name, 0) {
		return errdefs.Invalid("a target of deliveries cannot have the name %q", name)
	}
	return nil
}

// Close ends the use of the box; Run has to have returned.
func (b *Box) Close() error { return b.db.Close() }

// Run sends until ctx is done. What is being sent then is given up, and sent again by the next Run.
func (b *Box) Run(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	served := map[*target]bool{}
	for {
		b.mu.Lock()
		for _, t := range b.targets {
			if !served[t] {
				served[t] = true
				all.Go(func() { b.serve(ctx, t) })
			}
		}
		b.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-b.more:
		}
	}
}

// Add adds items; they are on the disk when it returns.
func (b *Box) Add(_ context.Context, items ...Item) error {
	seq, err := b.add(items)
	if err == nil {
		err = b.db.Sync(seq)
	}
	return err
}

func (b *Box) add(items []Item) (uint64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	var batch kv.Batch
	added := make([]*entry, len(items))
	for i, it := range items {
		t := b.targets[it.Target]
		if t == nil || t.out {
			return 0, errdefs.NotFound("deliveries have no target %s", it.Target)
		}
		if it.Key == "" || len(it.Key) > maxKey || len(it.Body) > maxBody {
			return 0, errdefs.Limit("a delivery to %s with a key of %d and a body of %d bytes", it.Target, len(it.Key), len(it.Body))
		}
		if t.givenUp {
			continue
		}
		b.seq++
		added[i] = &entry{key: it.Key, seq: b.seq, queued: now}
		batch.Put(itemKey(it.Target, it.Key), encodeItem(b.seq, now, it.Body))
	}
	seq, err := b.db.Write(&batch)
	if err != nil {
		return 0, err
	}
	for i, e := range added {
		t := b.targets[items[i].Target]
		if e == nil {
			t.dropped++
			continue
		}
		t.put(e)
		if len(t.waiting) > t.Max {
			if seq, err = b.shrink(t, now, seq); err != nil {
				return 0, err
			}
		}
		t.poke()
	}
	return seq, nil
}

// shrink makes room for a target that has too much waiting. It returns the number of the last batch.
func (b *Box) shrink(t *target, now time.Time, seq uint64) (uint64, error) {
	var batch kv.Batch
	if t.Overflow == nil {
		oldest := t.oldest()
		if oldest == nil {
			return seq, nil // all are being sent
		}
		batch.Delete(itemKey(t.Name, oldest.key))
		t.forget(oldest)
		t.dropped++
	} else {
		t.clear(func(e *entry) { batch.Delete(itemKey(t.Name, e.key)) })
		b.overflow(t, &batch, now)
	}
	return b.db.Write(&batch)
}

// overflow adds what comes in the place of others.
func (b *Box) overflow(t *target, batch *kv.Batch, now time.Time) {
	b.seq++
	batch.Put(itemKey(t.Name, t.Overflow.Key), encodeItem(b.seq, now, t.Overflow.Body))
	t.put(&entry{key: t.Overflow.Key, seq: b.seq, queued: now})
}

// Resume takes a target up again that was given up, or that rests. ErrNotFound when there is none of that name.
func (b *Box) Resume(name string) error {
	seq, err := b.resume(name)
	if err == nil {
		err = b.db.Sync(seq)
	}
	return err
}

func (b *Box) resume(name string) (uint64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.targets[name]
	if t == nil || t.out {
		return 0, errdefs.NotFound("deliveries have no target %s", name)
	}
	return b.revive(t)
}

// revive makes a target be tried at once.
func (b *Box) revive(t *target) (uint64, error) {
	var batch kv.Batch
	if t.givenUp {
		batch.Delete(stateKey(kindGivenUp, t.Name))
		batch.Delete(stateKey(kindFailing, t.Name))
		if t.Overflow != nil {
			b.overflow(t, &batch, time.Now())
		}
	}
	seq, err := b.db.Write(&batch)
	if err != nil {
		return 0, err
	}
	t.givenUp, t.failures, t.failing, t.rest = false, 0, time.Time{}, time.Time{}
	t.hurry()
	t.poke()
	return seq, nil
}
