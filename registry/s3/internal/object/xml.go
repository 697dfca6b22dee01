package object

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/camada/camada/errdefs"
)

// element is an element of an answer: its text, or the elements in it. Attributes and namespaces say nothing that is needed.
//
// The answers are of a plain kind, and the standard library's package for XML costs each start of the program a sixth of a millisecond.
type element struct {
	name string
	text string
	in   []*element
}

// maxDepth bounds how deep elements lie in one another.
const maxDepth = 16

// parseXML parses an answer.
func parseXML(data []byte) (*element, error) {
	p := xmlParser{rest: data}
	root := &element{}
	if err := p.inside(root, 0); err != nil {
		return nil, errdefs.Corrupt("the object store's answer is not XML: %w", err)
	}
	if len(root.in) != 1 {
		return nil, errdefs.Corrupt("the object store's answer is not XML")
	}
	return root.in[0], nil
}

// all are the elements of a name.
func (e *element) all(name string) []*element {
	var found []*element
	for _, c := range e.in {
		if c.name == name {
			found = append(found, c)
		}
	}
	return found
}

// get is the text of an element; "" when it is not there.
func (e *element) get(name string) string {
	for _, c := range e.in {
		if c.name == name {
			return c.text
		}
	}
	return ""
}

type xmlParser struct{ rest []byte }

// cut takes what stands before a mark, and the mark.
func (p *xmlParser) cut(mark string) ([]byte, error) {
	before, after, ok := bytes.Cut(p.rest, []byte(mark))
	if !ok {
		return nil, errdefs.Corrupt("no %q follows", mark)
	}
	p.rest = after
	return before, nil
}

// inside parses what is in an element, up to its end tag, or to the end of the answer at depth 0.
func (p *xmlParser) inside(e *element, depth int) error {
	if depth > maxDepth {
		return errdefs.Limit("elements lie too deep")
	}
	for {
		i := bytes.IndexByte(p.rest, '<')
		if i < 0 {
			if depth > 0 {
				return errdefs.Corrupt("<%.40s> does not end", e.name)
			}
			return nil
		}
		text, err := unescape(p.rest[:i])
		if err != nil {
			return err
		}
		e.text += text
		p.rest = p.rest[i:]
		switch {
		case p.skip("<!--"):
			_, err = p.cut("-->")
		case p.skip("<![CDATA["):
			var raw []byte
			raw, err = p.cut("]]>")
			e.text += string(raw)
		case p.skip("<?"):
			_, err = p.cut("?>")
		case p.skip("<!"):
			err = errdefs.Corrupt("a document type")
		case p.skip("</"):
			var name []byte
			if name, err = p.cut(">"); err == nil && (depth == 0 || local(name) != e.name) {
				err = errdefs.Corrupt("<%.40s> ends with %.40q", e.name, name)
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
func (p *xmlParser) skip(s string) bool {
	ok := bytes.HasPrefix(p.rest, []byte(s))
	if ok {
		p.rest = p.rest[len(s):]
	}
	return ok
}

// child parses an element in another one.
func (p *xmlParser) child(e *element, depth int) error {
	p.rest = p.rest[1:]
	tag, err := p.cut(">")
	if err != nil {
		return err
	}
	tag, empty := bytes.CutSuffix(tag, []byte("/"))
	c := &element{name: local(tag)}
	if c.name == "" {
		return errdefs.Corrupt("an element without a name")
	}
	e.in = append(e.in, c)
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
