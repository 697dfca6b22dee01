package local

import (
	"container/list"
	"sync"

	"github.com/camada/camada/registry"
	"github.com/opencontainers/go-digest"
)

// hotBytes bounds the manifests that are kept in memory.
const hotBytes = 8 << 20

// hot keeps the manifests that were read last.
type hot struct {
	mu    sync.Mutex
	bytes int
	order list.List // of *hotManifest, the newest first
	found map[hotKey]*list.Element
	// forgotten counts what was thrown out because it changed: what was read before that must not come in after it.
	forgotten uint64
}

type hotKey struct {
	repository string
	digest     digest.Digest
}

type hotManifest struct {
	key      hotKey
	manifest registry.Manifest
}

// cost is what a manifest takes in memory, with its keys.
func (h *hotManifest) cost() int { return len(h.manifest.Data) + len(h.key.repository) + 500 }

// get returns a manifest, or what add must be told when it is not there.
func (h *hot) get(repository string, d digest.Digest) (registry.Manifest, bool, uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.found[hotKey{repository, d}]
	if e == nil {
		return registry.Manifest{}, false, h.forgotten
	}
	h.order.MoveToFront(e)
	return e.Value.(*hotManifest).manifest, true, h.forgotten
}

func (h *hot) add(repository string, m registry.Manifest, seen uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	k := hotKey{repository, m.Descriptor.Digest}
	n := &hotManifest{k, m}
	if h.forgotten != seen || h.found[k] != nil || n.cost() > hotBytes/4 {
		return
	}
	if h.found == nil {
		h.found = map[hotKey]*list.Element{}
	}
	h.found[k] = h.order.PushFront(n)
	for h.bytes += n.cost(); h.bytes > hotBytes; {
		h.drop(h.order.Back())
	}
}

func (h *hot) drop(e *list.Element) {
	old := h.order.Remove(e).(*hotManifest)
	delete(h.found, old.key)
	h.bytes -= old.cost()
}

// forget throws out a manifest that was just changed or removed.
func (h *hot) forget(repository string, d digest.Digest) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.forgotten++
	if e := h.found[hotKey{repository, d}]; e != nil {
		h.drop(e)
	}
}
