package outbox

import (
	"slices"
	"time"
)

// Put adds a target, or replaces the one of the same name, and what waits for that name goes to it. It is tried at once, also when the one before it was
// given up. Of what is being sent meanwhile nothing is sent twice, unless the target says Cut.
func (b *Box) Put(t Target) error {
	if err := checkName(t.Name); err != nil {
		return err
	}
	seq, err := b.put(t)
	if err == nil {
		err = b.db.Sync(seq)
	}
	return err
}

func (b *Box) put(n Target) (uint64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.targets[n.Name]
	if t == nil {
		t = newTarget(n)
		// An earlier process may have left something for it.
		if err := b.load(time.Now(), map[string]*target{t.Name: t}, false); err != nil {
			return 0, err
		}
		b.targets[t.Name] = t
		select {
		case b.more <- struct{}{}:
		default:
		}
	} else {
		t.cutOff()
		t.Target = n.withDefaults()
	}
	if !slices.Contains(b.names, t.Name) {
		b.names = append(b.names, t.Name)
	}
	t.out = false
	return b.revive(t)
}

// Drop takes a target out: nothing is sent to it any more, and nothing can be added. What waits for it stays, as for one that Open was not told of, until
// Put names it again.
func (b *Box) Drop(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.targets[name]
	if t == nil || t.out {
		return
	}
	t.out = true
	t.cutOff()
	b.names = slices.DeleteFunc(slices.Clone(b.names), func(n string) bool { return n == name })
}
