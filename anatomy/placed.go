package anatomy

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/inventory"
	"github.com/opencontainers/go-digest"
)

// Kept keeps the package lists of layers, and what was found of languages, so that each layer is read once. *ListStore does.
type Kept interface {
	// Get returns what was kept of a layer, by path; nil when nothing was.
	Get(diffID digest.Digest) map[string][]byte
	Put(diffID digest.Digest, files map[string][]byte) error
	// Told returns what the files of a layer tell of packages of languages; nil when that was not kept.
	Told(diffID digest.Digest) *Told
	PutTold(diffID digest.Digest, t *Told) error
}

// place is where a file's content lies: in the layer, under the path.
type place struct {
	layer int
	path  string
}

// PlacedPackages lists the packages of the system and of languages, and tells for each which layer (from 0) brought it in the version that is there now: the one
// since which the lists, or the file that tells of it, have it. What the layers had is taken from kept, which may be nil, and put there.
func (a *Image) PlacedPackages(ctx context.Context, p content.Provider, kept Kept) (inventory.Inventory, []int, error) {
	inv, layers, err := a.PlacedLists(ctx, p, kept)
	if err != nil {
		return inv, nil, err
	}
	return a.PlaceLanguages(ctx, p, kept, nil, inv, layers)
}

// PlacedLists is PlacedPackages of the system's packages alone.
func (a *Image) PlacedLists(ctx context.Context, p content.Provider, kept Kept) (inventory.Inventory, []int, error) {
	nodes := a.listNodes()
	cuts := map[int]bool{}
	want := map[place]bool{}
	total := int64(0)
	at := func(n *Node, layer int) (place, int64, bool) {
		v := n.At(layer)
		if v == nil || v.File() == nil {
			return place{}, 0, false
		}
		return place{a.layerOf(v), v.File().Path}, v.File().Size, true
	}
	for _, n := range nodes {
		for i := range n.Versions {
			if v := &n.Versions[i]; v.Change == Added || v.Change == Replaced || v.Change == Gone {
				cuts[v.Layer] = true
			}
			pl, size, ok := at(n, n.Versions[i].Layer)
			if !ok || want[pl] {
				continue
			}
			if total += size; size > maxList || total > maxLists {
				return inventory.Inventory{}, nil, errdefs.Limit("the package lists have more than %d bytes", maxLists)
			}
			want[pl] = true
		}
	}
	files, err := a.readPlaces(ctx, p, kept, want)
	if err != nil {
		return inventory.Inventory{}, nil, err
	}
	var out Placer
	var damage error // of a list that no later layer replaces
	for _, cut := range slices.Sorted(maps.Keys(cuts)) {
		root := memory{}
		for name, n := range nodes {
			if pl, _, ok := at(n, cut); ok {
				root[name] = files[pl]
			}
		}
		inv, err := inventory.Read(ctx, root)
		if damage = err; err == nil {
			out.Add(cut, inv)
		}
	}
	if damage != nil {
		return inventory.Inventory{}, nil, damage
	}
	if len(cuts) == 0 { // no lists at all
		inv, err := inventory.Read(ctx, memory{})
		return inv, nil, err
	}
	inv, layers := out.Result()
	return inv, layers, nil
}

// Placer tells since when packages are there, from what there was after each of several layers.
type Placer struct {
	since  map[string]int
	inv    inventory.Inventory
	layers []int
}

// Add takes what is there with a layer, from the lowest to the highest. Layers that change no list can be left out.
func (p *Placer) Add(layer int, inv inventory.Inventory) {
	now := map[string]int{}
	p.inv, p.layers = inv, make([]int, len(inv.Packages))
	for i := range inv.Packages {
		x := &inv.Packages[i]
		key := x.Type + "\x00" + x.Name + "\x00" + x.Version + "\x00" + x.Arch
		was, ok := p.since[key]
		if !ok {
			was = layer
		}
		now[key], p.layers[i] = was, was
	}
	p.since = now
}

// Result is what there is in the end, and for each package the layer since which it is there.
func (p *Placer) Result() (inventory.Inventory, []int) { return p.inv, p.layers }

// readPlaces reads files out of the layers that have them.
func (a *Image) readPlaces(ctx context.Context, p content.Provider, kept Kept, want map[place]bool) (map[place][]byte, error) {
	byLayer := map[int]map[string][]string{} // entry of the tar -> names
	for pl := range want {
		if byLayer[pl.layer] == nil {
			byLayer[pl.layer] = map[string][]string{}
		}
		byLayer[pl.layer][pl.path] = []string{pl.path}
	}
	out := map[place][]byte{}
	for _, i := range slices.Sorted(maps.Keys(byLayer)) {
		l := &a.Layers[i]
		have := memory{}
		if kept != nil {
			have = kept.Get(l.DiffID)
		}
		for name := range byLayer[i] {
			if _, ok := have[name]; ok {
				continue
			}
			have = memory{}
			if err := a.extract(ctx, p, l, byLayer[i], have); err != nil {
				return nil, fmt.Errorf("read package lists of layer %d: %w", i+1, err)
			}
			if kept != nil {
				if err := kept.Put(l.DiffID, have); err != nil {
					return nil, err
				}
			}
			break
		}
		for name := range byLayer[i] {
			out[place{i, name}] = have[name]
		}
	}
	return out, nil
}
