package s3

import (
	"container/list"
	"sync"
)

// cache holds the cells that were used last, up to so many bytes. What is in it is a version, and whoever uses it asks the store whether it is the last one.
type cache struct {
	mu    sync.Mutex
	limit int64
	size  int64
	byKey map[string]*list.Element
	order *list.List
}

func newCache(limit int64) *cache {
	return &cache{limit: limit, byKey: make(map[string]*list.Element), order: list.New()}
}

// cost is what a cell takes, about.
func cost(c *cell) int64 { return int64(len(c.body)+len(c.key)) + 400 }

func (c *cache) get(key string) *cell {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.byKey[key]
	if e == nil {
		return nil
	}
	c.order.MoveToFront(e)
	return e.Value.(*cell)
}

func (c *cache) add(v *cell) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.take(v.key)
	if cost(v) > c.limit/4 {
		return
	}
	c.byKey[v.key] = c.order.PushFront(v)
	c.size += cost(v)
	for c.size > c.limit {
		c.take(c.order.Back().Value.(*cell).key)
	}
}

func (c *cache) drop(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.take(key)
}

// take removes a cell; the lock is held.
func (c *cache) take(key string) {
	if e := c.byKey[key]; e != nil {
		c.order.Remove(e)
		delete(c.byKey, key)
		c.size -= cost(e.Value.(*cell))
	}
}
