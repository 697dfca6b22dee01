package hcl

import (
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// manner is how the text of a template is written, and where it ends: a quoted string at its quote, a heredoc at the line
// that is just its marker, and what is neither, a string of a JSON file, at the end of the source.
type manner struct {
	quoted bool
	marker string
}

// piece is what a template is cut into.
type piece struct {
	line int
	// kind is "" for text, "${" for an expression, and the word of a directive for %{...}.
	kind string
	text string
	// expr is the expression, the condition of an if, or what a for goes over.
	expr       Expr
	key, value string // the names that a for gives
}

// template reads text with ${expressions} and %{directives}. outdented takes away what the lines are indented by in common.
func (p *parser) template(m manner, outdented bool) (Expr, error) {
	if err := p.deeper(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	line := p.line
	all, err := p.pieces(m)
	if err != nil {
		return nil, err
	}
	if outdented {
		outdent(all)
	}
	if len(all) == 1 && all[0].kind == "${" {
		return all[0].expr, nil // its value keeps its type
	}
	a := assembly{pieces: all, line: line, depth: p.depth}
	parts, _, err := a.parts(nil)
	if err != nil {
		return nil, err
	}
	if len(parts) == 0 {
		return value{""}, nil
	}
	if v, ok := parts[0].(value); ok && len(parts) == 1 {
		return v, nil
	}
	return template{line, parts}, nil
}

// pieces cuts a template up. The text of heredocs and of JSON comes in lines, so that a ~ takes away what is between it
// and the next text of its own line, and the newline, but not what the next line is indented by.
func (p *parser) pieces(m manner) ([]piece, error) {
	var out []piece
	begin, fresh, strip := p.line, true, false
	for {
		switch {
		case fresh && p.atMarker(m.marker):
			return out, nil
		case p.pos >= len(p.src) && m.marker != "":
			return nil, invalid(max(begin-1, 0), "no later line is just %q", m.marker)
		case p.pos >= len(p.src) && m.quoted:
			return nil, invalid(begin, "the string has no end")
		case p.pos >= len(p.src), m.quoted && p.take(`"`):
			return out, nil
		case p.has("${"), p.has("%{"):
			if last := len(out) - 1; last >= 0 && out[last].kind == "" && (p.has("${~") || p.has("%{~")) {
				out[last].text = strings.TrimRightFunc(out[last].text, unicode.IsSpace)
			}
			var pc piece
			var err error
			if pc, strip, err = p.sequence(); err != nil {
				return nil, err
			}
			out, fresh = append(out, pc), false
		default:
			pc := piece{line: p.line}
			var err error
			if pc.text, err = p.text(m); err != nil {
				return nil, err
			}
			fresh = p.line > pc.line
			if strip {
				pc.text = strings.TrimLeftFunc(pc.text, unicode.IsSpace)
			}
			out, strip = append(out, pc), false
		}
	}
}

// atMarker goes over a line that is just the marker of a heredoc, up to its newline.
func (p *parser) atMarker(marker string) bool {
	if marker == "" {
		return false
	}
	line, _, _ := strings.Cut(p.src[p.pos:], "\n")
	if strings.TrimSpace(line) != marker {
		return false
	}
	p.pos += len(line)
	return true
}

// text reads up to an expression, a directive, the end of the template, or over the end of the line. All text has the
// escapes $${ and %%{; a quoted string has those with a backslash besides.
func (p *parser) text(m manner) (string, error) {
	line := p.line
	var b strings.Builder
	for p.pos < len(p.src) {
		switch c := p.peek(); {
		case p.take("$${"):
			b.WriteString("${")
		case p.take("%%{"):
			b.WriteString("%{")
		case p.has("${"), p.has("%{"), m.quoted && c == '"':
			return b.String(), nil
		case c == '\n' && m.quoted:
			return "", invalid(line, "the string has no end on its line")
		case c == '\n':
			p.next()
			b.WriteByte('\n')
			return b.String(), nil
		case c == '\\' && m.quoted:
			s, err := p.escape()
			if err != nil {
				return "", err
			}
			b.WriteString(s)
		default:
			b.WriteByte(c)
			p.next()
		}
	}
	return b.String(), nil
}

// sequence reads ${expression} or %{directive}. strip tells that it ends with ~, which takes away the white space behind it.
func (p *parser) sequence() (pc piece, strip bool, err error) {
	pc = piece{line: p.line, kind: "${"}
	directive := p.has("%{")
	p.pos += len("${")
	p.take("~")
	if directive {
		err = p.directive(&pc)
	} else {
		pc.expr, err = p.expr(true)
	}
	if err != nil {
		return pc, false, err
	}
	p.space(true)
	strip = p.take("~")
	if !p.take("}") {
		return pc, false, p.unexpected("}")
	}
	return pc, strip, nil
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
	p.take("<<")
	outdented := p.take("-")
	name := p.ident()
	if name == "" || p.peek() != '\n' {
		return nil, p.unexpected("a name and a newline behind <<")
	}
	p.next()
	return p.template(manner{marker: name}, outdented)
}

// outdent takes away the white space that all lines begin with. Lines of nothing else do not count, and stay.
func outdent(all []piece) {
	least, fresh := math.MaxInt, true
	var lines []*piece
	for i := range all {
		pc := &all[i]
		if fresh {
			indent := 0
			if pc.kind == "" {
				rest := strings.TrimLeftFunc(pc.text, unicode.IsSpace)
				if rest == "" && strings.HasSuffix(pc.text, "\n") {
					indent = math.MaxInt
				} else {
					indent = utf8.RuneCountInString(pc.text[:len(pc.text)-len(rest)])
					lines = append(lines, pc)
				}
			}
			least = min(least, indent)
		}
		fresh = pc.kind == "" && strings.HasSuffix(pc.text, "\n")
	}
	for _, pc := range lines {
		pc.text = string([]rune(pc.text)[least:])
	}
}
