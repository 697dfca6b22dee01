package local

import (
	"hash/maphash"
	"slices"
	"sync"
)

// stripes are locks of names; two names may share one.
type stripes struct {
	seed  maphash.Seed
	once  sync.Once
	locks [64]sync.Mutex
}

// lock locks names and returns what unlocks them.
func (s *stripes) lock(names ...string) func() {
	s.once.Do(func() { s.seed = maphash.MakeSeed() })
	var which []int
	for _, name := range names {
		which = append(which, int(maphash.String(s.seed, name)%uint64(len(s.locks))))
	}
	slices.Sort(which) // all take them in one order, so nobody waits in a ring
	which = slices.Compact(which)
	for _, i := range which {
		s.locks[i].Lock()
	}
	return func() {
		for _, i := range which {
			s.locks[i].Unlock()
		}
	}
}

// names is a set.
type names struct {
	mu  sync.Mutex
	set map[string]int
}

func (n *names) add(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.set == nil {
		n.set = map[string]int{}
	}
	n.set[name]++
}

func (n *names) remove(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.set[name]--; n.set[name] == 0 {
		delete(n.set, name)
	}
}

func (n *names) has(name string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.set[name] > 0
}

// changes counts how often what leads to manifests changed in a repository, while somebody wants to know.
type changes struct {
	mu     sync.Mutex
	counts map[string]int // nil when nobody wants to know
}

func (c *changes) watch(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts = nil
	if on {
		c.counts = map[string]int{}
	}
}

func (c *changes) note(repository string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counts != nil {
		c.counts[repository]++
	}
}

func (c *changes) of(repository string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counts[repository]
}
