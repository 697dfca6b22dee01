package kv

import (
	"bytes"
	"math/bits"
	"math/rand/v2"
)

// memory is a skip list of the newest entries. Who uses it holds a lock.
type memory struct {
	head    node
	bytes   int
	entries int
	// Of one that is frozen: the segments that have its records, the last of these, and the segment that follows.
	segments []segmentInfo
	seq      uint64
	before   uint64
}

// segmentInfo is what is known of a segment that is not written any more.
type segmentInfo struct {
	number uint64
	bodies bool
}

const maxLevel = 20

type node struct {
	entry *Entry
	next  []*node
}

func newMemory() *memory { return &memory{head: node{next: make([]*node, maxLevel)}} }

// seek finds the first node whose key is not below key, and for each level the last one before it, when before is not nil.
func (m *memory) seek(key []byte, before *[maxLevel]*node) *node {
	n := &m.head
	var found *node
	for level := maxLevel - 1; level >= 0; level-- {
		for {
			next := n.next[level]
			if next == nil || next == found || bytes.Compare(next.entry.Key, key) >= 0 {
				found = next
				break
			}
			n = next
		}
		if before != nil {
			before[level] = n
		}
	}
	return found
}

// find returns the entry of a key, or nil.
func (m *memory) find(key []byte) *Entry {
	if n := m.seek(key, nil); n != nil && bytes.Equal(n.entry.Key, key) {
		return n.entry
	}
	return nil
}

// put adds an entry, or puts it in place of the one of its key.
func (m *memory) put(e *Entry) {
	var before [maxLevel]*node
	if n := m.seek(e.Key, &before); n != nil && bytes.Equal(n.entry.Key, e.Key) {
		m.bytes += len(e.Head) - len(n.entry.Head)
		n.entry = e
		return
	}
	level := min(maxLevel, 1+bits.TrailingZeros64(rand.Uint64())/2) // a quarter goes up
	n := &node{entry: e, next: make([]*node, level)}
	for i := range level {
		n.next[i] = before[i].next[i]
		before[i].next[i] = n
	}
	m.entries++
	m.bytes += len(e.Key) + len(e.Head) + entryCost
}

// entryCost is about what an entry takes in memory beside its bytes.
const entryCost = 150

// scan calls fn for entries from one key on up to another until it returns false; it reports whether it did.
func (m *memory) scan(from, to []byte, fn func(*Entry) bool) bool {
	for n := m.seek(from, nil); n != nil; n = n.next[0] {
		if to != nil && bytes.Compare(n.entry.Key, to) >= 0 {
			return false
		}
		if !fn(n.entry) {
			return true
		}
	}
	return false
}
