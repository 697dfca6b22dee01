package hcl

import (
	"strconv"
	"strings"

	"github.com/camada/camada/errdefs"
)

// template reads text with ${expressions} up to end, which is `"` for a quoted string and "" for all of the source. raw
// text, that of heredocs and JSON, has no escapes but $${ and %%{.
func (p *parser) template(end string, raw bool) (Expr, error) {
	if err := p.deeper(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	t := template{line: p.line}
	var text strings.Builder
	flush := func() {
		if text.Len() > 0 {
			t.parts = append(t.parts, value{text.String()})
			text.Reset()
		}
	}
	for {
		switch {
		case p.pos >= len(p.src):
			if end != "" {
				return nil, invalid(t.line, "the string has no end")
			}
			flush()
			return t.simple(), nil
		case end != "" && p.take(end):
			flush()
			return t.simple(), nil
		case p.take("$${"):
			text.WriteString("${")
		case p.take("%%{"):
			text.WriteString("%{")
		case p.take("${"):
			flush()
			p.take("~")
			e, err := p.expr(true)
			if err != nil {
				return nil, err
			}
			p.space(true)
			p.take("~")
			if !p.take("}") {
				return nil, p.unexpected("}")
			}
			t.parts = append(t.parts, e)
		case p.has("%{"):
			return nil, at(p.line, errdefs.Unsupported("template directives (%%{...}) are not supported; use a condition in ${...}"))
		case p.peek() == '\n' && end == `"`:
			return nil, invalid(t.line, "the string has no end on its line")
		case p.peek() == '\\' && end == `"` && !raw:
			s, err := p.escape()
			if err != nil {
				return nil, err
			}
			text.WriteString(s)
		default:
			text.WriteByte(p.peek())
			p.next()
		}
	}
}

func (p *parser) escape() (string, error) {
	p.next()
	c := p.peek()
	p.next()
	switch c {
	case 'n':
		return "\n", nil
	case 'r':
		return "\r", nil
	case 't':
		return "\t", nil
	case '"', '\\':
		return string(c), nil
	case 'u', 'U':
		n := 4
		if c == 'U' {
			n = 8
		}
		if p.pos+n <= len(p.src) {
			if r, err := strconv.ParseUint(p.src[p.pos:p.pos+n], 16, 32); err == nil && r <= 0x10ffff {
				p.pos += n
				return string(rune(r)), nil
			}
		}
	}
	return "", invalid(p.line, "%q is not an escape that strings have", `\`+string(rune(c)))
}

// heredoc reads <<NAME or <<-NAME, its lines, and the line with the name.
func (p *parser) heredoc() (Expr, error) {
	line := p.line
	p.take("<<")
	indented := p.take("-")
	name := p.ident()
	if name == "" || p.peek() != '\n' {
		return nil, p.unexpected("a name and a newline behind <<")
	}
	p.next()
	var lines []string
	first := p.line
	for {
		if p.pos >= len(p.src) {
			return nil, invalid(line, "no later line is just %q", name)
		}
		text, _, _ := strings.Cut(p.src[p.pos:], "\n")
		if strings.TrimSpace(text) == name {
			p.pos += len(text)
			break
		}
		lines = append(lines, text)
		p.pos = min(p.pos+len(text)+1, len(p.src))
		p.line++
	}
	if indented {
		outdent(lines)
	}
	body := strings.Join(lines, "\n")
	if len(lines) > 0 {
		body += "\n"
	}
	inner := &parser{src: body, line: first, depth: p.depth}
	return inner.template("", true)
}

// outdent takes away the white space that all lines begin with.
func outdent(lines []string) {
	least := -1
	for _, l := range lines {
		if strings.TrimSpace(l) == "" {
			continue
		}
		if n := len(l) - len(strings.TrimLeft(l, " \t")); least < 0 || n < least {
			least = n
		}
	}
	for i, l := range lines {
		lines[i] = l[min(max(least, 0), len(l)):]
	}
}
