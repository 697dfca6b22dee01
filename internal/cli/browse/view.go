package browse

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/camada/camada/anatomy"
	"github.com/camada/camada/layer/index"
)

// The styles, as SGR parameters. Reverse and bold are no colours.
const (
	styleSelected = "7"
	styleTitle    = "1"
	styleAdded    = "32"
	styleChanged  = "33"
	styleRemoved  = "31"
	styleSame     = "34"
	styleDim      = "2"
)

// view is the screen: h lines of at most w columns.
func (m *model) view(w, h int) []string {
	if m.help {
		return m.fill(helpText(), w, h)
	}
	if w < 40 || h < 8 {
		return m.fill([]string{"the terminal is too small:", "40 columns and 8 lines at least", "q ends"}, w, h)
	}
	left := max(30, min(w*9/20, 60))
	if w-left-1 < 24 {
		left = w - 25
	}
	body := h - 2
	layers := min(len(m.img.Layers)+2, max(body/2, 4))
	leftLines := append(m.layerPane(left, layers), m.details(left, body-layers)...)
	right := m.treePane(w-left-1, body)
	out := []string{m.paint(styleTitle, fit(m.title(), w))}
	for i := range body {
		out = append(out, leftLines[i]+m.paint(styleDim, "│")+right[i])
	}
	return append(out, m.footer(w))
}

// fill shows text alone.
func (m *model) fill(text []string, w, h int) []string {
	out := make([]string, h)
	for i := range out {
		if i < len(text) {
			out[i] = fit(text[i], w)
		}
	}
	return out
}

func (m *model) title() string {
	return fmt.Sprintf(" %s  %d layers  %s stored  efficiency %.1f %%  wasted %s", m.opts.Name, len(m.img.Layers), m.human(m.size), 100*m.score, m.human(m.wasted))
}

func (m *model) human(n int64) string {
	if m.opts.Human == nil {
		return fmt.Sprintf("%dB", n)
	}
	return m.opts.Human(n)
}

func (m *model) footer(w int) string {
	if m.typing {
		return fit("/"+m.filter+"_  (Enter keeps it, Esc clears)", w)
	}
	text := " q quit  Tab side  a all  / filter  Space open  c/o close/open  s size  ? help"
	if m.filter != "" {
		text = fmt.Sprintf(" /%s: %d rows (Esc clears)", m.filter, len(m.rows))
	}
	return m.paint(styleDim, fit(text, w))
}

// header is the first line of a pane.
func (m *model) header(text string, w int, focused bool) string {
	mark := "  "
	if focused {
		mark = "● "
	}
	s := fit(mark+text, w)
	if focused {
		return m.paint(styleTitle, s)
	}
	return s
}

func (m *model) layerPane(w, h int) []string {
	out := []string{m.header("Layers", w, m.focus == onLayers), m.paint(styleDim, fit(m.layerLine(w, "", "#", "stored", "unpacked", "instruction"), w))}
	room := h - 2
	first := max(0, min(m.layer-room/2, len(m.img.Layers)-room))
	for i := first; i < min(first+room, len(m.img.Layers)); i++ {
		l := &m.img.Layers[i]
		cursor := " "
		if i == m.layer {
			cursor = ">"
		}
		s := fit(m.layerLine(w, cursor, strconv.Itoa(i+1), m.human(l.Descriptor.Size), m.human(l.Unpacked), oneLine(anatomy.Instruction(l.Instruction))), w)
		if i == m.layer {
			s = m.paint(styleSelected, s)
		}
		out = append(out, s)
	}
	return pad(out, w, h)
}

// layerLine leaves the stored size out where there is little room.
func (m *model) layerLine(w int, cursor, number, stored, unpacked, instruction string) string {
	if w < 46 {
		return fmt.Sprintf("%1s%3s %8s %s", cursor, number, unpacked, instruction)
	}
	return fmt.Sprintf("%1s%3s %8s %8s  %s", cursor, number, stored, unpacked, instruction)
}

// details tells of what is selected.
func (m *model) details(w, h int) []string {
	if h <= 0 {
		return nil
	}
	var text []string
	title := ""
	if n := m.selected(); m.focus == onTree && n != nil {
		title, text = "File", m.fileDetails(n)
	} else if m.layer < len(m.img.Layers) {
		title, text = fmt.Sprintf("Layer %d", m.layer+1), m.layerDetails()
	}
	out := []string{m.paint(styleDim, fit(strings.Repeat("─", 2)+" "+title+" "+strings.Repeat("─", w), w))}
	for _, t := range text {
		for _, l := range wrap(t, w-1) {
			out = append(out, fit(" "+l, w))
		}
	}
	return pad(out, w, h)
}

func (m *model) layerDetails() []string {
	l := &m.img.Layers[m.layer]
	text := []string{
		oneLine(anatomy.Instruction(l.Instruction)),
		fmt.Sprintf("%s stored, %s unpacked, %s hidden later", m.human(l.Descriptor.Size), m.human(l.Unpacked), m.human(l.Wasted)),
		fmt.Sprintf("%d entries: +%d ~%d -%d", l.Files, l.Added, l.Changed, l.Removed),
		l.Descriptor.Digest.String(),
	}
	if !l.Created.IsZero() {
		text = append(text, "made "+l.Created.UTC().Format("2006-01-02 15:04:05"))
	}
	if len(m.waste) > 0 {
		text = append(text, "", "most wasted in the image:")
		for _, w := range m.waste[:min(len(m.waste), 12)] {
			gone := ""
			if w.Removed {
				gone = ", removed"
			}
			text = append(text, fmt.Sprintf("%8s %d× /%s%s", m.human(w.Bytes), w.Copies, w.Path, gone))
		}
	}
	return text
}

func (m *model) fileDetails(n *anatomy.Node) []string {
	text := []string{"/" + n.Path()}
	if e := m.shown(n); e != nil {
		s := fmt.Sprintf("%s, mode %04o, owner %d:%d", e.Kind, e.Mode, e.UID, e.GID)
		if e.Kind == index.Reg {
			s += fmt.Sprintf(", %s (%d bytes)", m.human(e.Size), e.Size)
		}
		text = append(text, s)
		if e.Link != "" {
			text = append(text, "-> "+e.Link)
		}
		if e.Kind == index.Char || e.Kind == index.Block {
			text = append(text, fmt.Sprintf("device %d,%d", e.Major, e.Minor))
		}
		text = append(text, "changed "+e.Time().Format("2006-01-02 15:04:05"))
		if e.HasSum {
			text = append(text, e.Digest().String())
		}
		for k := range e.Xattrs {
			text = append(text, "xattr "+k)
		}
	}
	text = append(text, "")
	for i := range n.Versions {
		v := &n.Versions[i]
		s := fmt.Sprintf("layer %d %s", v.Layer+1, v.Change)
		if v.Entry != nil && v.Entry.Kind == index.Reg {
			s += ", " + m.human(v.Entry.Size)
		}
		if v.By != "" && v.By != n.Path() {
			s += " with /" + v.By
		}
		text = append(text, s)
	}
	return text
}

// shown is the entry that details are told of.
func (m *model) shown(n *anatomy.Node) *index.Entry {
	v := n.At(m.layer)
	if v == nil {
		v = n.At(m.layer - 1)
	}
	if v == nil {
		return nil
	}
	return v.Entry
}

func (m *model) treePane(w, h int) []string {
	what := fmt.Sprintf("Files of layer %d", m.layer+1)
	if m.all {
		what = fmt.Sprintf("Files with layer %d", m.layer+1)
	}
	if m.filter != "" {
		what += "  /" + m.filter
	}
	out := []string{m.header(what, w, m.focus == onTree)}
	m.page = max(1, h-1)
	m.top = max(min(m.top, m.cursor), m.cursor-m.page+1)
	m.top = max(0, min(m.top, len(m.rows)-m.page))
	for i := m.top; i < min(m.top+m.page, len(m.rows)); i++ {
		out = append(out, m.treeRow(i, w))
	}
	if len(m.rows) == 0 {
		out = append(out, fit("  nothing", w))
	}
	return pad(out, w, h)
}

func (m *model) treeRow(i, w int) string {
	r := m.rows[i]
	s := m.sums[r.n]
	sign := "  "
	if s.inside > 0 {
		sign = "▸ "
		if m.isOpen(r.n) {
			sign = "▾ "
		}
	}
	name := printable(r.n.Name)
	e := m.shown(r.n)
	if e == nil || e.Kind == index.Dir {
		name += "/"
	} else if e.Kind == index.Symlink {
		name += " -> " + printable(e.Link)
	}
	meta := ""
	if w >= 72 {
		owner, mode := "", ""
		if e != nil { // nothing is known of a directory that is only implied
			owner, mode = fmt.Sprintf("%d:%d", e.UID, e.GID), modeText(e)
		}
		meta = fmt.Sprintf("%10s %11s ", mode, owner)
	}
	line := fit(fmt.Sprintf(" %c %s%8s %s%s%s", s.mark, meta, m.human(s.size), strings.Repeat("  ", r.depth), sign, name), w)
	style := map[byte]string{'+': styleAdded, '~': styleChanged, '-': styleRemoved, '=': styleSame}[s.mark]
	if i == m.cursor && m.focus == onTree {
		return m.paint(styleSelected, line)
	}
	return m.paint(style, line)
}

// modeText is the mode as ls shows it.
func modeText(e *index.Entry) string {
	types := map[index.Kind]byte{index.Dir: 'd', index.Symlink: 'l', index.Char: 'c', index.Block: 'b', index.Fifo: 'p'}
	b := []byte("-rwxrwxrwx")
	if t := types[e.Kind]; t != 0 {
		b[0] = t
	}
	for i := range 9 {
		if e.Mode&(1<<(8-i)) == 0 {
			b[i+1] = '-'
		}
	}
	for i, c := range []byte("sst") {
		if e.Mode&(0o4000>>i) != 0 {
			at := 3 + 3*i
			if b[at] == '-' {
				c -= 'a' - 'A'
			}
			b[at] = c
		}
	}
	return string(b)
}

// paint gives a line a style. Colours are left out when they are not wanted.
func (m *model) paint(style, s string) string {
	if style == "" || !m.opts.Color && style[0] == '3' {
		return s
	}
	return "\x1b[" + style + "m" + s + "\x1b[0m"
}

func helpText() []string {
	return strings.Split(`
  Tab, ← →       change sides
  ↑ ↓, j k       move; PgUp PgDn Home End too
  n p            the next layer, the one before
  a              the files of the layer, or all with those of the layers below
  u              leave out, with all files, what the layer did not touch
  Space, Enter   open or close a directory
  c  o           close all, open all
  s              sort by size, or by name
  /              filter by a part of the path, or by a name with * and ?
  Esc            clear the filter
  q              quit

  +  added       ~  changed (in a directory: something in it)
  -  removed     =  written again, the same as before

  Sizes are of files as they are unpacked; of a directory all that is in it.
  Any key goes back.`, "\n")
}
