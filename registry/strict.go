package registry

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/camada/camada/errdefs"
)

// part is what a value of a manifest is, as far as its names matter.
type part uint8

const (
	partOther part = iota
	partTop
	partDescriptor
)

// names that are known of a part.
func (p part) names() []string {
	switch p {
	case partTop:
		return []string{"schemaVersion", "mediaType", "artifactType", "config", "layers", "blobs", "manifests", "subject", "annotations"}
	case partDescriptor:
		return []string{"mediaType", "digest", "size", "urls", "annotations", "data", "platform", "artifactType"}
	default:
		return nil
	}
}

// below is what the value of a name is.
func (p part) below(name string) part {
	if p == partTop && slices.Contains([]string{"config", "layers", "blobs", "manifests", "subject"}, name) {
		return partDescriptor
	}
	return partOther
}

// nest is an object or a list that is open.
type nest struct {
	part
	list bool
	// next is what the next value is.
	next part
	seen []string
}

// unambiguous is an ErrInvalid when a document has a name twice that matters, or in other letters: {"layers":[…],"Layers":[]}. Some parsers take the first, some
// the last, and Go's takes either case; so the registry would check another image than clients see. data is JSON that could be parsed.
func unambiguous(data []byte) error {
	var open []nest
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '{', '[':
			n := nest{part: partTop, list: data[i] == '['}
			if len(open) > 0 {
				n.part = open[len(open)-1].next
			}
			n.next = partOther
			if n.list { // what is in a list is what the list is
				n.next, n.part = n.part, partOther
			}
			open = append(open, n)
		case '}', ']':
			if len(open) > 0 {
				open = open[:len(open)-1]
			}
		case '"':
			end := endOfText(data, i)
			if len(open) > 0 && !open[len(open)-1].list && isName(data[end:]) {
				if err := open[len(open)-1].name(data[i:end]); err != nil {
					return err
				}
			}
			i = end - 1
		}
	}
	return nil
}

// endOfText is where the text that begins at i ends, after its quote.
func endOfText(data []byte, i int) int {
	for i++; i < len(data); i++ {
		switch data[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(data)
}

// isName reports whether a text before rest is a name.
func isName(rest []byte) bool {
	for _, c := range rest {
		switch c {
		case ' ', '\t', '\r', '\n':
		default:
			return c == ':'
		}
	}
	return false
}

// name notes a name of the object.
func (n *nest) name(quoted []byte) error {
	var name string
	if err := json.Unmarshal(quoted, &name); err != nil {
		return errdefs.Invalid("a name in the manifest cannot be read")
	}
	n.next = n.below(name)
	for _, known := range n.names() {
		switch {
		case name == known && slices.Contains(n.seen, name):
			return errdefs.Invalid("the manifest has %q twice in one place", name)
		case name == known:
			n.seen = append(n.seen, name)
		case strings.EqualFold(name, known):
			return errdefs.Invalid("the manifest has %.40q, which some read as %q", name, known)
		}
	}
	return nil
}
