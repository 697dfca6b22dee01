package hcl

import "github.com/camada/camada/errdefs"

// directive reads what is in %{...}.
func (p *parser) directive(pc *piece) (err error) {
	p.space(true)
	if pc.kind = p.ident(); pc.kind == "" {
		return p.unexpected("if, else, endif, for or endfor")
	}
	switch pc.kind {
	case "if":
		pc.expr, err = p.expr(true)
	case "for":
		pc.key, pc.value, pc.expr, err = p.forHead()
	case "else", "endif", "endfor":
	default:
		err = invalid(pc.line, "%%{%s} is no directive: want if, else, endif, for or endfor", pc.kind)
	}
	return err
}

// assembly makes expressions of the pieces of a template.
type assembly struct {
	pieces []piece
	pos    int
	line   int
	depth  int
}

// parts returns what stands up to one of the words, which is returned as well. open is the directive that they end, nil
// for the whole template.
func (a *assembly) parts(open *piece, words ...string) (parts []Expr, word string, err error) {
	if a.depth++; a.depth > maxDepth {
		return nil, "", at(a.line, errdefs.Limit("more than %d levels of nesting", maxDepth))
	}
	defer func() { a.depth-- }()
	for a.pos < len(a.pieces) {
		pc := &a.pieces[a.pos]
		a.pos++
		var e Expr
		switch pc.kind {
		case "":
			if pc.text == "" {
				continue
			}
			e = value{pc.text}
		case "${":
			e = pc.expr
		case "if":
			e, err = a.choice(pc)
		case "for":
			e, err = a.repetition(pc)
		default:
			for _, w := range words {
				if w == pc.kind {
					return parts, w, nil
				}
			}
			if open == nil {
				return nil, "", invalid(pc.line, "%%{%s} ends nothing: there is no %%{if} or %%{for} before it", pc.kind)
			}
			return nil, "", invalid(pc.line, "found %%{%s} where the %%{%s} of line %d wants %%{end%s}", pc.kind, open.kind, open.line, open.kind)
		}
		if err != nil {
			return nil, "", err
		}
		parts = append(parts, e)
	}
	if open != nil {
		return nil, "", invalid(open.line, "the %%{%s} has no %%{end%s}", open.kind, open.kind)
	}
	return parts, "", nil
}

func (a *assembly) choice(open *piece) (Expr, error) {
	yes, word, err := a.parts(open, "else", "endif")
	if err != nil {
		return nil, err
	}
	var no []Expr
	if word == "else" {
		if no, _, err = a.parts(open, "endif"); err != nil {
			return nil, err
		}
	}
	return condition{open.line, open.expr, template{open.line, yes}, template{open.line, no}}, nil
}

func (a *assembly) repetition(open *piece) (Expr, error) {
	parts, _, err := a.parts(open, "endfor")
	if err != nil {
		return nil, err
	}
	return repetition{loop{line: open.line, key: open.key, value: open.value, over: open.expr, result: template{open.line, parts}}}, nil
}
