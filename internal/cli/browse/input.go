package browse

// key obeys a key. It reports whether the browser is to end.
func (m *model) key(k key) (quit bool) {
	if k == keyInterrupt {
		return true
	}
	if m.typing {
		m.typed(k)
		return false
	}
	if m.help {
		m.help = false
		return false
	}
	switch k {
	case 'q', 'Q':
		return true
	case keyEscape:
		if m.filter != "" {
			m.filter = ""
			m.refilter()
		}
	case '?', 'h':
		m.help = true
	case keyTab, keyBackTab:
		m.focus = onTree - m.focus
	case '/':
		m.typing, m.focus = true, onTree
	case 'a':
		m.all = !m.all
		m.rebuild()
	case 'u':
		m.same = !m.same
		m.rebuild()
	case 's':
		m.bySize = !m.bySize
		m.flatten()
	case 'n', ']':
		m.setLayer(m.layer + 1)
	case 'p', '[':
		m.setLayer(m.layer - 1)
	default:
		if m.focus == onLayers {
			m.layerKey(k)
		} else {
			m.treeKey(k)
		}
	}
	return false
}

// typed takes a key for the filter.
func (m *model) typed(k key) {
	switch k {
	case keyEscape:
		m.typing, m.filter = false, ""
	case keyEnter, keyTab, keyDown:
		m.typing = false
		return
	case keyBackspace:
		if r := []rune(m.filter); len(r) > 0 {
			m.filter = string(r[:len(r)-1])
		}
	default:
		if k < ' ' {
			return
		}
		m.filter += string(rune(k))
	}
	m.refilter()
}

func (m *model) setLayer(i int) {
	i = max(0, min(i, len(m.img.Layers)-1))
	if i != m.layer {
		m.layer = i
		m.rebuild()
	}
}

func (m *model) layerKey(k key) {
	switch k {
	case keyUp, 'k':
		m.setLayer(m.layer - 1)
	case keyDown, 'j':
		m.setLayer(m.layer + 1)
	case keyHome, keyPageUp, 'g':
		m.setLayer(0)
	case keyEnd, keyPageDown, 'G':
		m.setLayer(len(m.img.Layers) - 1)
	case keyRight, keyEnter:
		m.focus = onTree
	}
}

func (m *model) treeKey(k key) {
	n := m.selected()
	last := len(m.rows) - 1
	switch k {
	case keyUp, 'k':
		m.cursor--
	case keyDown, 'j':
		m.cursor++
	case keyPageUp:
		m.cursor -= m.page
	case keyPageDown:
		m.cursor += m.page
	case keyHome, 'g':
		m.cursor = 0
	case keyEnd, 'G':
		m.cursor = last
	case keyEnter, ' ':
		if n != nil && m.sums[n].inside > 0 {
			m.setOpen(n, !m.isOpen(n))
		}
	case keyRight, 'l':
		if n != nil && m.sums[n].inside > 0 && !m.isOpen(n) {
			m.setOpen(n, true)
		}
	case keyLeft:
		switch {
		case n == nil:
		case m.sums[n].inside > 0 && m.isOpen(n):
			m.setOpen(n, false)
		case n.Parent != nil && n.Parent.Parent != nil:
			m.moveTo(n.Parent)
		default:
			m.focus = onLayers
		}
	case 'c': // close all
		clear(m.open)
		m.openAll = false
		m.cursor = 0
		m.flatten()
	case 'o': // open all
		clear(m.open)
		m.openAll = true
		m.flatten()
		m.moveTo(n)
	}
	m.cursor = max(0, min(m.cursor, len(m.rows)-1))
}
