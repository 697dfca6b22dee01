package outbox

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry/local/kv"
)

// Keys of the map: a letter, the name of a target, and of items a zero byte and their own key.
const (
	kindItem    = 'I' // number, time, body
	kindFailing = 'F' // since when the target does not answer
	kindGivenUp = 'G' // the target was given up
)

func itemKey(target, key string) []byte {
	return append(append(append([]byte{kindItem}, target...), 0), key...)
}

func stateKey(kind byte, target string) []byte { return append([]byte{kind}, target...) }

func encodeItem(seq uint64, queued time.Time, body []byte) []byte {
	b := binary.AppendUvarint(nil, seq)
	b = binary.AppendVarint(b, queued.UnixNano())
	return append(b, body...)
}

func decodeItem(b []byte) (seq uint64, queued time.Time, body []byte, err error) {
	seq, n := binary.Uvarint(b)
	if n > 0 {
		at, m := binary.Varint(b[n:])
		if m > 0 {
			return seq, time.Unix(0, at), b[n+m:], nil
		}
	}
	return 0, time.Time{}, nil, errdefs.Corrupt("a delivery that waits cannot be read")
}

func encodeTime(t time.Time) []byte { return binary.AppendVarint(nil, t.UnixNano()) }

func decodeTime(b []byte) time.Time {
	n, m := binary.Varint(b)
	if m <= 0 {
		return time.Time{}
	}
	return time.Unix(0, n)
}

// load reads what waits for targets that nobody else knows yet. At first it drops, too, what waits too long for targets that are not named.
func (b *Box) load(now time.Time, targets map[string]*target, first bool) error {
	var drop kv.Batch
	var found []loaded
	err := b.db.Scan(nil, nil, func(e kv.Entry) error {
		kind, rest := e.Key[0], e.Key[1:]
		name, key, _ := bytes.Cut(rest, []byte{0})
		t := targets[string(name)]
		switch {
		case t == nil && !first:
		case kind == kindItem:
			seq, queued, _, err := decodeItem(e.Head)
			if err != nil || t == nil && now.Sub(queued) > defaultPatience {
				drop.Delete(e.Key)
				return nil //nolint:nilerr // what cannot be read will never be sent
			}
			b.seq = max(b.seq, seq)
			if t != nil {
				found = append(found, loaded{t, &entry{key: string(key), seq: seq, queued: queued}})
			}
		case t == nil:
			drop.Delete(e.Key)
		case kind == kindFailing:
			t.failing = decodeTime(e.Head)
		case kind == kindGivenUp:
			drop.Delete(e.Key)
			drop.Delete(stateKey(kindFailing, t.Name))
			t.givenUp = true
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read the deliveries that wait: %w", err)
	}
	slices.SortFunc(found, func(a, b loaded) int { return cmp.Compare(a.seq, b.seq) })
	for _, f := range found {
		f.t.put(f.entry)
	}
	for _, t := range targets {
		if t.givenUp { // a new start is a new try
			t.givenUp, t.failing = false, time.Time{}
			if t.Overflow != nil {
				b.overflow(t, &drop, now)
			}
		}
	}
	_, err = b.db.Write(&drop)
	return err
}

// loaded is an entry of a target.
type loaded struct {
	t *target
	*entry
}

// The states of a target.
const (
	// Idle: nothing waits.
	Idle = "idle"
	// Sending: what waits is on its way.
	Sending = "sending"
	// Failing: it does not answer, and is tried again later.
	Failing = "failing"
	// GivenUp: it did not answer for too long; nothing is sent.
	GivenUp = "given up"
)

// Status is what is known of a target.
type Status struct {
	Target  string `json:"target"`
	State   string `json:"state"`
	Waiting int    `json:"waiting"`
	// Oldest is when the item was added that waits longest.
	Oldest *time.Time `json:"oldest,omitempty"`
	// Sent, Failed (tries) and Dropped count since the registry was started.
	Sent    int64 `json:"sent"`
	Failed  int64 `json:"failed"`
	Dropped int64 `json:"dropped"`
	// Failing is since when it does not answer, Next when it is tried again.
	Failing *time.Time `json:"failing,omitempty"`
	Next    *time.Time `json:"next,omitempty"`
	// Succeeded and Error are of the last success and the last failure.
	Succeeded *time.Time `json:"succeeded,omitempty"`
	Erred     *time.Time `json:"erred,omitempty"`
	Error     string     `json:"error,omitempty"`
}

// Status tells of all targets, in the order in which they were given.
func (b *Box) Status() []Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	list := make([]Status, 0, len(b.names))
	for _, name := range b.names {
		t := b.targets[name]
		s := Status{Target: name, State: Idle, Waiting: len(t.waiting), Sent: t.sent, Failed: t.failed, Dropped: t.dropped, Failing: moment(t.failing),
			Succeeded: moment(t.succeeded), Erred: moment(t.erred), Error: t.lastError}
		var oldest time.Time
		for _, e := range t.waiting {
			if oldest.IsZero() || e.queued.Before(oldest) {
				oldest = e.queued
			}
		}
		s.Oldest = moment(oldest)
		switch {
		case t.givenUp:
			s.State = GivenUp
		case t.failures > 0:
			s.State = Failing
		case len(t.waiting) > 0:
			s.State = Sending
		}
		if len(t.queue) > 0 && !t.givenUp {
			next := t.queue[0].due
			if t.rest.After(next) {
				next = t.rest
			}
			if next.After(now) {
				s.Next = moment(next)
			}
		}
		list = append(list, s)
	}
	return list
}

// moment is a time in UTC; nil for none.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// Waiting is an item that waits.
type Waiting struct {
	Key    string     `json:"key"`
	Added  time.Time  `json:"added"`
	Tries  int        `json:"tries"`
	Next   *time.Time `json:"next,omitempty"`
	Error  string     `json:"error,omitempty"`
	number uint64
}

// Waiting lists at most n of the items that wait for a target, the oldest first.
func (b *Box) Waiting(target string, n int) []Waiting {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := []Waiting{}
	t := b.targets[target]
	if t == nil {
		return list
	}
	for _, e := range t.waiting {
		list = append(list, Waiting{Key: e.key, Added: e.queued.UTC(), Tries: e.tries, Next: moment(e.due), Error: e.err, number: e.seq})
	}
	slices.SortFunc(list, func(a, b Waiting) int { return cmp.Compare(a.number, b.number) })
	return list[:min(n, len(list))]
}
