// Package xmltree reads plain XML into elements with their texts.
//
//	e, err := xmltree.Parse(data)
//	e.Name, e.Get("version"), e.All("dependency")
//
// Attributes and namespaces are passed over, and a document type is refused: what programs write for programs has none. The standard library's
// package costs each start of the program a sixth of a millisecond.
//
// The text is hostile: depth and number of elements are bounded; the caller bounds its size.
package xmltree

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/camada/camada/errdefs"
)

// The bounds of what is read.
const (
	// maxDepth is how deep elements lie in one another.
	maxDepth = 32
	// maxElements is how many there are.
	maxElements = 500_000
)

// Element is an element: its name without a namespace, its text, and the elements in it.
type Element struct {
	Name string
	Text string
	In   []*Element
}

// Parse reads a document. Errors are of class ErrCorrupt, or ErrLimit.
func Parse(data []byte) (*Element, error) {
	p := parser{rest: bytes.TrimPrefix(data, []byte("\ufeff")), left: maxElements}
	root := &Element{}
	if err := p.inside(root, 0); err != nil {
		return nil, err
	}
	if len(root.In) != 1 {
		return nil, errdefs.Corrupt("%d elements where a document has one", len(root.In))
	}
	return root.In[0], nil
}

// All are the elements of a name.
func (e *Element) All(name string) []*Element {
	var found []*Element
	for _, c := range e.In {
		if c.Name == name {
			found = append(found, c)
		}
	}
	return found
}

// First is the first element of a name; an empty one when there is none.
func (e *Element) First(name string) *Element {
	for _, c := range e.In {
		if c.Name == name {
			return c
		}
	}
	return &Element{}
}

// Get is the text of the first element of a name; "" when it is not there.
func (e *Element) Get(name string) string { return e.First(name).Text }

type parser struct {
	rest []byte
	// left is how many elements there may still be.
	left int
}

// cut takes what stands before a mark, and the mark.
func (p *parser) cut(mark string) ([]byte, error) {
	before, after, ok := bytes.Cut(p.rest, []byte(mark))
	if !ok {
		return nil, errdefs.Corrupt("no %q follows", mark)
	}
	p.rest = after
	return before, nil
}

// inside parses what is in an element, up to its end tag, or to the end of the document at depth 0.
func (p *parser) inside(e *Element, depth int) error {
	if depth > maxDepth {
		return errdefs.Limit("elements lie too deep")
	}
	var text strings.Builder
	defer func() { e.Text = text.String() }()
	for {
		i := bytes.IndexByte(p.rest, '<')
		if i < 0 {
			if depth > 0 {
				return errdefs.Corrupt("<%.40s> does not end", e.Name)
			}
			return nil
		}
		part, err := unescape(p.rest[:i])
		if err != nil {
			return err
		}
		text.WriteString(part)
		p.rest = p.rest[i:]
		switch {
		case p.skip("<!--"):
			_, err = p.cut("-->")
		case p.skip("<![CDATA["):
			var raw []byte
			raw, err = p.cut("]]>")
			text.Write(raw)
		case p.skip("<?"):
			_, err = p.cut("?>")
		case p.skip("<!"):
			err = errdefs.Corrupt("a document type")
		case p.skip("</"):
			var name []byte
			if name, err = p.cut(">"); err == nil && (depth == 0 || local(name) != e.Name) {
				err = errdefs.Corrupt("<%.40s> ends with %.40q", e.Name, name)
			}
			return err
		default:
			err = p.child(e, depth)
		}
		if err != nil {
			return err
		}
	}
}

// skip skips a text when it stands next.
func (p *parser) skip(s string) bool {
	ok := bytes.HasPrefix(p.rest, []byte(s))
	if ok {
		p.rest = p.rest[len(s):]
	}
	return ok
}

// child parses an element in another one.
func (p *parser) child(e *Element, depth int) error {
	p.rest = p.rest[1:]
	tag, err := p.cut(">")
	if err != nil {
		return err
	}
	tag, empty := bytes.CutSuffix(tag, []byte("/"))
	c := &Element{Name: local(tag)}
	if c.Name == "" {
		return errdefs.Corrupt("an element without a name")
	}
	if p.left--; p.left < 0 {
		return errdefs.Limit("more than %d elements", maxElements)
	}
	e.In = append(e.In, c)
	if empty {
		return nil
	}
	return p.inside(c, depth+1)
}

// local is the name in a tag, without its namespace.
func local(tag []byte) string {
	if i := bytes.IndexAny(tag, " \t\r\n"); i >= 0 {
		tag = tag[:i]
	}
	return string(tag[bytes.LastIndexByte(tag, ':')+1:])
}

// unescape puts characters in the place of their names.
func unescape(data []byte) (string, error) {
	s := string(data)
	if !strings.Contains(s, "&") {
		return s, nil
	}
	var b strings.Builder
	for {
		before, after, ok := strings.Cut(s, "&")
		b.WriteString(before)
		if !ok {
			return b.String(), nil
		}
		name, rest, ok := strings.Cut(after, ";")
		c := entity(name)
		if !ok || c == utf8.RuneError {
			return "", errdefs.Corrupt("the character &%.20s is not known", name)
		}
		b.WriteRune(c)
		s = rest
	}
}

// entity is the character of a name; utf8.RuneError when there is none.
func entity(name string) rune {
	switch name {
	case "amp":
		return '&'
	case "lt":
		return '<'
	case "gt":
		return '>'
	case "quot":
		return '"'
	case "apos":
		return '\''
	}
	number, ok := strings.CutPrefix(name, "#")
	base := 10
	if hex, isHex := strings.CutPrefix(number, "x"); isHex {
		number, base = hex, 16
	}
	n, err := strconv.ParseUint(number, base, 21)
	if !ok || err != nil || !utf8.ValidRune(rune(n)) {
		return utf8.RuneError
	}
	return rune(n)
}
