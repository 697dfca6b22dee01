package anatomy

import (
	"cmp"
	"slices"

	"github.com/camada/camada/layer/index"
)

// measure counts what each layer has and did.
func (a *Image) measure() {
	for i := range a.Layers {
		l := &a.Layers[i]
		for k := range l.Index.Entries {
			if e := &l.Index.Entries[k]; !e.Kind.IsMark() {
				l.Files++
				l.Unpacked += e.Size
			}
		}
	}
	needed := map[*index.Entry]bool{}
	var hidden []*Version
	a.Each(func(n *Node) {
		for i := range n.Versions {
			v := &n.Versions[i]
			l := &a.Layers[v.Layer]
			if v.Entry != nil && v.Entry.Size > 0 && i < len(n.Versions)-1 {
				hidden = append(hidden, v)
			}
			switch v.Change {
			case Added:
				if v.Entry != nil {
					l.Added++
				}
			case Replaced, Meta:
				l.Changed++
			case Gone:
				if n.Versions[i-1].Entry != nil {
					l.Removed++
				}
			}
		}
		if v := n.top(); v != nil && v.Target != nil {
			needed[v.Target] = true
		}
	})
	for _, v := range hidden {
		// A file whose other name is there still is no waste.
		if !needed[v.Entry] {
			a.Layers[v.Layer].Wasted += v.Entry.Size
		}
	}
}

// Each calls fn for each path, a directory before what is in it.
func (a *Image) Each(fn func(n *Node)) { each(a.root, fn) }

func each(n *Node, fn func(n *Node)) {
	fn(n)
	for _, k := range n.kids {
		each(k, fn)
	}
}

// Waste is a file that is there more than once, or for nothing.
type Waste struct {
	Path string
	// Bytes are those that do not show, of Copies copies of the file in Layers (counted from 1).
	Bytes  int64
	Copies int
	Layers []int
	// Removed tells that nothing of the path shows in the end.
	Removed bool
}

// Efficiency is dive's score, from 0 to 1: of each path the smallest of its versions, over all of them. A path
// that is removed has a smallest version of 0 bytes. Other than dive it counts what goes with
// its directory.
func (a *Image) Efficiency() float64 {
	var least, all int64
	a.Each(func(n *Node) {
		low := int64(-1)
		for i := range n.Versions {
			var size int64
			if e := n.Versions[i].Entry; e != nil {
				size = e.Size
			}
			all += size
			if low < 0 || size < low {
				low = size
			}
		}
		least += max(low, 0)
	})
	if all == 0 {
		return 1
	}
	return float64(least) / float64(all)
}

// Waste lists what later layers hide, the biggest first.
func (a *Image) Waste() []Waste {
	var out []Waste
	a.Each(func(n *Node) {
		w := Waste{Removed: n.top() == nil}
		for i, v := range n.Versions {
			if v.Entry == nil || v.Entry.Kind != index.Reg {
				continue
			}
			w.Copies++
			w.Layers = append(w.Layers, v.Layer+1)
			if i < len(n.Versions)-1 {
				w.Bytes += v.Entry.Size
			}
		}
		if w.Bytes > 0 {
			w.Path = n.Path()
			out = append(out, w)
		}
	})
	slices.SortFunc(out, func(x, y Waste) int {
		return cmp.Or(cmp.Compare(y.Bytes, x.Bytes), cmp.Compare(x.Path, y.Path))
	})
	return out
}

// Wasted is the sum of what later layers hide, in bytes.
func (a *Image) Wasted() (n int64) {
	for i := range a.Layers {
		n += a.Layers[i].Wasted
	}
	return n
}

// WastedPercent is Wasted in percent of what the layers above the lowest hold, as dive counts; 0 when
// there are none.
func (a *Image) WastedPercent() float64 {
	var user int64
	for i := range a.Layers[min(1, len(a.Layers)):] {
		user += a.Layers[i+1].Unpacked
	}
	if user == 0 {
		return 0
	}
	return 100 * float64(a.Wasted()) / float64(user)
}
