package kv

import (
	"container/list"
	"sync"
)

// cacheBytes bounds the blocks that are kept in memory.
const cacheBytes = 4 << 20

// cache keeps the blocks that were used last.
type cache struct {
	mu    sync.Mutex
	bytes int
	order list.List // of *cached, the newest first
	found map[blockID]*list.Element
}

type blockID struct {
	table uint64
	block int
}

type cached struct {
	id    blockID
	bytes []byte
}

func newCache() *cache { return &cache{found: map[blockID]*list.Element{}} }

// block returns a block of a table whose index is loaded.
func (c *cache) block(t *table, i int) ([]byte, error) {
	id := blockID{t.number, i}
	c.mu.Lock()
	if e := c.found[id]; e != nil {
		c.order.MoveToFront(e)
		c.mu.Unlock()
		return e.Value.(*cached).bytes, nil
	}
	c.mu.Unlock()
	b, err := t.piece(t.index[i].offset, t.index[i].size)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.found[id] == nil {
		c.found[id] = c.order.PushFront(&cached{id, b})
		c.bytes += len(b)
	}
	for c.bytes > cacheBytes {
		e := c.order.Back()
		old := c.order.Remove(e).(*cached)
		delete(c.found, old.id)
		c.bytes -= len(old.bytes)
	}
	return b, nil
}
