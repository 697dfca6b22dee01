package policy

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/pattern"
)

// licenseRule says which licences are accepted.
type licenseRule struct {
	allow, deny []string
	// unknown accepts packages whose licence is not known.
	unknown bool
}

func (l licenseRule) condition() condition {
	return condition{"licenses", costPackages, func(ctx context.Context, j *judge) (finding, error) {
		list, err := j.facts.Packages(ctx)
		if err != nil {
			return finding{}, err
		}
		none, first := 0, ""
		for _, p := range list {
			if p.License == "" {
				if none++; first == "" {
					first = p.Name
				}
				continue
			}
			if !l.accepts(p.License) {
				return finding{"the licence of " + p.Name + " is " + p.License, fmt.Sprintf("the licence of %s %s is %s", p.Name, p.Version, p.License), "do without the package, or make an exception with a reason"}, nil
			}
		}
		if none > 0 && !l.unknown {
			return finding{fix: "accept them with unknown: true below licenses"}, errdefs.NotFound("the licences of %d packages are not known, such as that of %s", none, first)
		}
		return finding{fact: fmt.Sprintf("the licences of %d packages are accepted, those of %d are not known", len(list)-none, none)}, nil
	}}
}

// accepts judges an expression as SPDX or Debian writes it. Of alternatives one is enough.
func (l licenseRule) accepts(expression string) bool {
	p := licenseParser{words: licenseWords(expression), leaf: func(id string) bool {
		return !l.denies(id) && (len(l.allow) == 0 || pattern.Any(l.allow, id))
	}}
	ok := p.any(0)
	return ok && !p.bad && len(p.words) == 0
}

// denies takes no notice of the case of letters, as SPDX does: who writes agpl-3.0 means the same.
func (l licenseRule) denies(id string) bool {
	return pattern.Any(l.deny, id) || slices.ContainsFunc(l.deny, func(p string) bool { return pattern.Match(strings.ToLower(p), strings.ToLower(id)) })
}

// licenseWords cuts an expression at its operators and brackets.
func licenseWords(s string) []string {
	s = strings.NewReplacer("(", " ( ", ")", " ) ", ",", " AND ").Replace(s)
	var out []string
	for _, w := range strings.Fields(s) {
		switch strings.ToUpper(w) {
		case "AND", "OR", "(", ")":
			out = append(out, strings.ToUpper(w))
			continue
		}
		// Words without an operator between them are one name: GPL-2.0-only WITH Classpath-exception-2.0.
		if n := len(out); n > 0 && out[n-1] != "AND" && out[n-1] != "OR" && out[n-1] != "(" && out[n-1] != ")" {
			out[n-1] += " " + w
			continue
		}
		out = append(out, w)
	}
	return out
}

// licenseParser judges an expression: AND binds tighter than OR.
type licenseParser struct {
	words []string
	leaf  func(string) bool
	// bad is set when it is no expression: then nothing is accepted.
	bad bool
}

func (p *licenseParser) take(w string) bool {
	if len(p.words) == 0 || p.words[0] != w {
		return false
	}
	p.words = p.words[1:]
	return true
}

func (p *licenseParser) any(depth int) bool {
	ok := p.all(depth)
	for p.take("OR") {
		other := p.all(depth)
		ok = ok || other
	}
	return ok
}

func (p *licenseParser) all(depth int) bool {
	ok := p.one(depth)
	for p.take("AND") {
		other := p.one(depth)
		ok = ok && other
	}
	return ok
}

func (p *licenseParser) one(depth int) bool {
	if depth > 32 || len(p.words) == 0 {
		p.bad = true
		return false
	}
	if p.take("(") {
		ok := p.any(depth + 1)
		p.bad = p.bad || !p.take(")")
		return ok
	}
	w := p.words[0]
	p.words = p.words[1:]
	// An operator or a bracket is no name, and nothing stands behind a name but those.
	next := "AND"
	if len(p.words) > 0 {
		next = p.words[0]
	}
	p.bad = p.bad || w == "AND" || w == "OR" || w == ")" || next != "AND" && next != "OR" && next != ")"
	return p.leaf(w)
}
