package hcl

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/camada/camada/errdefs"
)

// Parse reads a file. Errors say its name and the line.
func Parse(name string, src []byte) (*Body, error) {
	if len(src) > MaxSize {
		return nil, errdefs.Limit("%s has %d bytes, more than %d", name, len(src), MaxSize)
	}
	if !utf8.Valid(src) {
		return nil, errdefs.Invalid("%s: not UTF-8 text", name)
	}
	p := &parser{src: strings.TrimPrefix(strings.ReplaceAll(string(src), "\r\n", "\n"), "\ufeff"), line: 1}
	b, err := p.body(true)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return b, nil
}

// ParseTemplate reads a string of a JSON file, in which ${...} is an expression and %{...} a directive. line is where it stands, 0 when it is not known.
func ParseTemplate(text string, line int) (Expr, error) {
	if len(text) > MaxSize {
		return nil, invalid(line, "a string of %d bytes", len(text))
	}
	p := &parser{src: text, line: line}
	return p.template(manner{}, false)
}

// parser reads src from pos on. Newlines end attributes, so whoever skips space says whether it skips them.
type parser struct {
	src   string
	pos   int
	line  int
	depth int
}

func (p *parser) deeper() error {
	if p.depth++; p.depth > maxDepth {
		return at(p.line, errdefs.Limit("more than %d levels of nesting", maxDepth))
	}
	return nil
}

func (p *parser) peek() byte {
	if p.pos < len(p.src) {
		return p.src[p.pos]
	}
	return 0
}

func (p *parser) next() {
	if p.pos < len(p.src) {
		if p.src[p.pos] == '\n' {
			p.line++
		}
		p.pos++
	}
}

func (p *parser) has(s string) bool { return strings.HasPrefix(p.src[p.pos:], s) }

// take goes over s if it comes next.
func (p *parser) take(s string) bool {
	if !p.has(s) {
		return false
	}
	for range len(s) {
		p.next()
	}
	return true
}

// space goes over white space and comments, and over newlines when they mean nothing here.
func (p *parser) space(newlines bool) {
	for p.pos < len(p.src) {
		c := p.peek()
		switch {
		case c == ' ' || c == '\t' || c == '\r' || c == '\n' && newlines:
			p.next()
		case c == '#' || p.has("//"):
			for p.pos < len(p.src) && p.peek() != '\n' {
				p.next()
			}
		case p.has("/*"):
			p.pos += 2
			for p.pos < len(p.src) && !p.has("*/") {
				p.next()
			}
			p.take("*/")
		default:
			return
		}
	}
}

func isIdent(r rune, first bool) bool {
	return r == '_' || unicode.IsLetter(r) || !first && (r == '-' || unicode.IsDigit(r))
}

// ident reads a name; "" when none is next.
func (p *parser) ident() string {
	from := p.pos
	for p.pos < len(p.src) {
		r, n := utf8.DecodeRuneInString(p.src[p.pos:])
		if !isIdent(r, p.pos == from) {
			break
		}
		p.pos += n
	}
	return p.src[from:p.pos]
}

// unexpected is the error of something that does not belong here.
func (p *parser) unexpected(want string) error {
	have := "the end"
	if p.pos < len(p.src) {
		r, _ := utf8.DecodeRuneInString(p.src[p.pos:])
		have = fmt.Sprintf("%q", r)
	}
	return invalid(p.line, "found %s where %s is expected", have, want)
}

// body reads up to the end of the file, or up to a closing brace.
func (p *parser) body(top bool) (*Body, error) {
	if err := p.deeper(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	b := &Body{}
	for {
		p.space(true)
		if p.pos >= len(p.src) {
			if top {
				return b, nil
			}
			return nil, p.unexpected("}")
		}
		if !top && p.take("}") {
			return b, nil
		}
		if err := p.item(b); err != nil {
			return nil, err
		}
	}
}

// item reads an attribute or a block.
func (p *parser) item(b *Body) error {
	line := p.line
	var name string
	if p.peek() == '"' {
		var err error
		if name, err = p.literal(); err != nil {
			return err
		}
	} else if name = p.ident(); name == "" {
		return p.unexpected("a name")
	}
	p.space(false)
	if p.peek() == '=' && !p.has("==") {
		p.next()
		e, err := p.expr(false)
		if err != nil {
			return err
		}
		for _, a := range b.Attrs {
			if a.Name == name {
				return invalid(line, "%s is set twice; the first is at line %d", name, a.Line)
			}
		}
		b.Attrs = append(b.Attrs, Attr{Name: name, Expr: e, Line: line})
		p.space(false)
		if p.pos < len(p.src) && p.peek() != '\n' && p.peek() != '}' {
			return p.unexpected("the end of the line")
		}
		return nil
	}
	blk := Block{Type: name, Line: line}
	for p.peek() != '{' {
		var label string
		if p.peek() == '"' {
			var err error
			if label, err = p.literal(); err != nil {
				return err
			}
		} else if label = p.ident(); label == "" {
			return p.unexpected("= or {")
		}
		blk.Labels = append(blk.Labels, label)
		p.space(false)
	}
	p.next()
	inner, err := p.body(false)
	if err != nil {
		return err
	}
	blk.Body = *inner
	b.Blocks = append(b.Blocks, blk)
	return nil
}

// literal reads a string that has no expression in it.
func (p *parser) literal() (string, error) {
	line := p.line
	e, err := p.primary(false)
	if err != nil {
		return "", err
	}
	v, ok := e.(value)
	s, isText := v.v.(string)
	if !ok || !isText {
		return "", invalid(line, "a name cannot have an expression in it")
	}
	return s, nil
}
