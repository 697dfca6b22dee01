package source

import (
	"context"
	"path"
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/moby/patternmatcher"
)

// Filter narrows what a pattern means. The zero Filter takes all.
type Filter struct {
	// Exclude are patterns as in .dockerignore ("**", and "!" for exceptions), relative to the
	// directory that is copied. What they match is left out, and so is a file that a wildcard found
	// under a name that they match. A file that is named without a wildcard stays.
	Exclude []string
	// Parents means the directories of the path too: what the pattern says is looked for
	// below the root, or below the part before the first "/./", and "**" is any number
	// of directories. The Match is that root.
	Parents bool
}

// CheckExclude fails for patterns that are none.
func CheckExclude(patterns []string) error {
	_, err := newMatcher(patterns)
	return err
}

func newMatcher(patterns []string) (*patternmatcher.PatternMatcher, error) {
	if len(patterns) == 0 {
		return nil, nil
	}
	m, err := patternmatcher.New(patterns)
	if err == nil {
		_, err = m.MatchesOrParentMatches("a") // the first use compiles them
	}
	if err != nil {
		return nil, errdefs.Invalid("pattern %s: %w", strings.Join(patterns, ", "), err)
	}
	return m, nil
}

// selection is what a filter leaves of a match.
type selection struct {
	items []selected
	// ways are the directories that no pattern means, and that are there for what is in them.
	ways map[string]bool
}

type selected struct {
	rel string
	e   *Entry
}

// OnlyWay reports whether the directory rel of a walk was not meant itself, but is on
// the way to something that was.
func (m Match) OnlyWay(rel string) bool { return m.sel != nil && m.sel.ways[rel] }

// splitParents parts a pattern of Filter.Parents into the directory below which
// the parents are kept, and the rest.
func splitParents(pattern string) (base, rest string) {
	base, rest, found := strings.Cut(pattern, "/./")
	if !found {
		base, rest = "/", pattern
	}
	return base, path.Join("/", rest)[1:]
}

// selector walks a directory and keeps what the patterns leave.
type selector struct {
	t                *Tree
	l                *loader
	include, exclude *patternmatcher.PatternMatcher
	// literal are the first components of the include pattern, up to a wildcard: nothing else
	// is listed.
	literal []string
	sel     *selection
	// waiting are the directories on the way to where the walk is, of which none was kept yet.
	waiting []selected
}

// selectBelow keeps of the directory e, which is at, what the patterns leave.
func (t *Tree) selectBelow(ctx context.Context, e *Entry, at, include string, f Filter) (*selection, error) {
	s := &selector{t: t, l: t.loader(), sel: &selection{items: []selected{{"", e}}}}
	var err error
	if s.exclude, err = newMatcher(f.Exclude); err != nil {
		return nil, err
	}
	if f.Parents {
		if s.include, err = newMatcher([]string{include}); err != nil {
			return nil, err
		}
		for _, part := range strings.Split(include, "/") {
			if strings.ContainsAny(part, `*?[\!`) {
				break
			}
			s.literal = append(s.literal, part)
		}
	}
	err = s.dir(ctx, e, at, "", 0, patternmatcher.MatchInfo{}, patternmatcher.MatchInfo{})
	return s.sel, err
}

// dir looks at what is in the directory e, which is at, depth levels below where the walk began.
func (s *selector) dir(ctx context.Context, e *Entry, at, rel string, depth int, inc, exc patternmatcher.MatchInfo) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.l.load(e, at); err != nil {
		return err
	}
	prefix := rel
	if rel != "" {
		prefix += "/"
	}
	for i := range e.dir.entries {
		c := &e.dir.entries[i]
		if err := s.entry(ctx, c, path.Join(at, c.Name), prefix+c.Name, depth, inc, exc); err != nil {
			return err
		}
	}
	return nil
}

func (s *selector) entry(ctx context.Context, c *Entry, at, rel string, depth int, inc, exc patternmatcher.MatchInfo) error {
	keep := true
	var skip bool
	var err error
	if s.include != nil {
		if keep, inc, err = s.include.MatchesUsingParentResults(rel, inc); err != nil {
			return errdefs.Invalid("%s: %w", rel, err)
		}
		if !keep && depth < len(s.literal) && c.Name != s.literal[depth] {
			return nil
		}
	}
	if s.exclude != nil {
		if skip, exc, err = s.exclude.MatchesUsingParentResults(rel, exc); err != nil {
			return errdefs.Invalid("%s: %w", rel, err)
		}
		if skip && !s.exclude.Exclusions() {
			return nil
		}
		keep = keep && !skip
	}
	item := selected{rel, c}
	if !c.IsDir() {
		if keep {
			s.keep(item)
		}
		return nil
	}
	if c.dir.ignored { // is it there at all?
		if err := s.t.loadAll(ctx, c, at); err != nil {
			return err
		}
		if prune(c); len(c.dir.entries) == 0 {
			return nil
		}
	}
	n := len(s.waiting)
	if keep {
		s.keep(item)
	} else {
		s.waiting = append(s.waiting, item)
	}
	err = s.dir(ctx, c, at, rel, depth+1, inc, exc)
	s.waiting = s.waiting[:min(n, len(s.waiting))]
	return err
}

// keep takes an entry, and first the directories on the way to it.
func (s *selector) keep(item selected) {
	for _, w := range s.waiting {
		if s.sel.ways == nil {
			s.sel.ways = make(map[string]bool)
		}
		s.sel.ways[w.rel] = true
		s.sel.items = append(s.sel.items, w)
	}
	s.waiting = s.waiting[:0]
	s.sel.items = append(s.sel.items, item)
}
