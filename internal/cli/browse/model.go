package browse

import (
	"cmp"
	"path"
	"slices"
	"strings"

	"github.com/camada/camada/anatomy"
	"github.com/camada/camada/layer/index"
)

// The parts of the screen that keys go to.
const (
	onLayers = iota
	onTree
)

// maxOpen is how many rows a layer may have to be shown with all directories open.
const maxOpen = 400

// model is the state of the browser.
type model struct {
	img  *anatomy.Image
	opts Options
	// layer is the selected one, from 0; all tells to show its files on top of those below, not its own alone.
	layer int
	all   bool
	focus int
	// same shows what the layer left as it was, too.
	same   bool
	bySize bool
	// filter is what was typed; typing tells that keys go there.
	filter string
	typing bool
	help   bool

	// open is what the user said of directories; others are as openAll says.
	open    map[*anatomy.Node]bool
	openAll bool
	sums    map[*anatomy.Node]sum
	rows    []row
	cursor  int
	top     int // the first row on the screen
	page    int // rows on the screen
	waste   []anatomy.Waste
	size    int64
	// score and wasted do not change.
	score  float64
	wasted int64
}

// row is one line of the tree.
type row struct {
	n     *anatomy.Node
	depth int
}

// sum is what is known of a node in the current layer and mode.
type sum struct {
	mark byte // + ~ - = or a space; 0: not there
	// shown tells that it, or something in it, is in the tree; matched the same of the filter.
	shown, matched bool
	size           int64
	// inside counts what is shown below.
	inside int
}

func newModel(img *anatomy.Image, opts Options) *model {
	m := &model{img: img, opts: opts, same: true, waste: img.Waste(), score: img.Efficiency(), wasted: img.Wasted(), layer: max(0, len(img.Layers)-1)}
	for i := range img.Layers {
		m.size += img.Layers[i].Descriptor.Size
	}
	m.rebuild()
	return m
}

// rebuild computes the tree for the layer and the mode.
func (m *model) rebuild() {
	m.sums = map[*anatomy.Node]sum{}
	m.open = map[*anatomy.Node]bool{}
	root := m.measure(m.img.Root())
	m.openAll = root.inside <= maxOpen
	m.cursor, m.top = 0, 0
	m.flatten()
}

// refilter computes it after the filter changed.
func (m *model) refilter() {
	m.sums = map[*anatomy.Node]sum{}
	m.measure(m.img.Root())
	m.cursor, m.top = 0, 0
	m.flatten()
}

// markOf says what the layer did to a node.
func (m *model) markOf(n *anatomy.Node) byte {
	var last *anatomy.Version
	for i := range n.Versions {
		if v := &n.Versions[i]; v.Layer == m.layer {
			last = v
		}
	}
	was := n.At(m.layer - 1)
	switch {
	case last == nil && was == nil:
		return 0
	case last == nil:
		return ' '
	case last.Change == anatomy.Gone && was == nil:
		return 0
	case last.Change == anatomy.Gone:
		return '-'
	case was == nil:
		return '+'
	case last.Change == anatomy.Repeated:
		return '='
	}
	return '~'
}

// measure fills in sums for n and all below it.
func (m *model) measure(n *anatomy.Node) sum {
	s := sum{mark: m.markOf(n)}
	if e := m.entryOf(n); e != nil && e.Kind == index.Reg {
		s.size = e.Size
	}
	touched := false
	n.EachChild(func(k *anatomy.Node) {
		c := m.measure(k)
		if c.shown {
			s.shown, s.inside = true, s.inside+1+c.inside
			touched = touched || c.mark != ' '
		}
		s.matched = s.matched || c.matched
		s.size += c.size
	})
	if s.mark == ' ' && touched || s.mark == '=' && touched {
		s.mark = '~' // something in it is different
	}
	switch {
	case s.mark == 0:
	case m.all:
		s.shown = s.shown || m.same || s.mark != ' '
	default:
		s.shown = s.shown || s.mark != ' '
	}
	if !s.matched && s.shown {
		s.matched = m.matches(n)
	}
	m.sums[n] = s
	return s
}

// entryOf is what shows of a node; of one that the layer removed, what was there.
func (m *model) entryOf(n *anatomy.Node) *index.Entry {
	v := n.At(m.layer)
	if v == nil {
		v = n.At(m.layer - 1)
	} else if !m.all && v.Layer != m.layer {
		return nil
	}
	if v == nil {
		return nil
	}
	return v.Entry
}

// matches reports whether a path has what was typed; with wildcards its name has to match.
func (m *model) matches(n *anatomy.Node) bool {
	if m.filter == "" {
		return true
	}
	f := strings.ToLower(m.filter)
	if anatomy.IsPattern(f) {
		ok, _ := path.Match(f, strings.ToLower(n.Name))
		return ok
	}
	return strings.Contains(strings.ToLower("/"+n.Path()), f)
}

// isOpen reports whether what is in a directory is shown.
func (m *model) isOpen(n *anatomy.Node) bool {
	if said, ok := m.open[n]; ok {
		return said
	}
	return m.openAll || m.filter != ""
}

// flatten makes the rows of what is open.
func (m *model) flatten() {
	m.rows = m.rows[:0]
	m.add(m.img.Root(), 0)
	m.cursor = max(0, min(m.cursor, len(m.rows)-1))
}

func (m *model) add(n *anatomy.Node, depth int) {
	kids := n.Children()
	if m.bySize {
		slices.SortStableFunc(kids, func(a, b *anatomy.Node) int { return cmp.Compare(m.sums[b].size, m.sums[a].size) })
	}
	for _, k := range kids {
		s := m.sums[k]
		if !s.shown || !s.matched {
			continue
		}
		m.rows = append(m.rows, row{k, depth})
		if s.inside > 0 && m.isOpen(k) {
			m.add(k, depth+1)
		}
	}
}

// selected is the node under the cursor; nil for none.
func (m *model) selected() *anatomy.Node {
	if m.cursor >= len(m.rows) {
		return nil
	}
	return m.rows[m.cursor].n
}

// setOpen opens or closes a directory and keeps the cursor where it is.
func (m *model) setOpen(n *anatomy.Node, open bool) {
	m.open[n] = open
	m.flatten()
}

// moveTo puts the cursor on a node.
func (m *model) moveTo(n *anatomy.Node) {
	for i := range m.rows {
		if m.rows[i].n == n {
			m.cursor = i
			return
		}
	}
}
