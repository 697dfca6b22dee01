package source

import (
	"context"
	"fmt"
	"path"
	"strings"

	"github.com/camada/camada/errdefs"
)

// Match is one file or directory that a pattern means.
type Match struct {
	// Name is the path as the pattern says it; its last component is what a
	// copy into a directory is called. "" is the root.
	Name string
	// Path is where it is, without links; "" is the root.
	Path string
	// Entry is what is there: never a symbolic link. All below a directory that is to be copied has
	// been read.
	Entry *Entry

	sel *selection // nil: all below Entry
}

// Match returns what a path or a pattern means; see Select.
func (t *Tree) Match(ctx context.Context, pattern string) ([]Match, error) {
	return t.Select(ctx, pattern, Filter{})
}

// Select returns what a path or a pattern means, in the order of names, without what f leaves out.
// Patterns are those of path.Match, component by component. A pattern without wildcards that
// means nothing is ErrNotFound; one with wildcards may mean nothing.
func (t *Tree) Select(ctx context.Context, pattern string, f Filter) ([]Match, error) {
	base, include := pattern, ""
	if f.Parents {
		if base, include = splitParents(pattern); include == "" {
			return nil, errdefs.Invalid("with --parents, name what is in a directory, not the directory that has no parents to keep")
		}
	}
	literal, wild := splitWildcards(path.Join("/", base)[1:])
	t.mu.Lock()
	defer t.mu.Unlock()
	if wild == "" {
		m, err := t.match(ctx, literal, include, f)
		if err != nil {
			return nil, err
		}
		if f.Parents && !m.Entry.IsDir() {
			return nil, errdefs.NotFound("%s is not a directory", literal)
		}
		if f.Parents && !hasWildcard(include) && !m.has(include) {
			return nil, t.notSelected(m, include, f)
		}
		return []Match{m}, nil
	}
	names, err := t.globAll(ctx, literal, wild)
	if err != nil {
		return nil, err
	}
	byName, err := newMatcher(f.Exclude)
	if err != nil {
		return nil, err
	}
	var out []Match
	for _, n := range names {
		m, err := t.match(ctx, path.Join(literal, n), include, f)
		if errdefs.IsNotFound(err) && t.ignore.excluded(path.Join(literal, n)) {
			continue // a directory of which .dockerignore left nothing
		}
		if err != nil {
			return nil, err
		}
		if !m.Entry.IsDir() && f.Parents {
			continue
		}
		if byName != nil && !m.Entry.IsDir() {
			if skip, err := byName.MatchesOrParentMatches(path.Base(n)); err == nil && skip {
				continue
			}
		}
		out = append(out, m)
	}
	return out, nil
}

// globAll returns the paths below literal that a pattern with wildcards means, relative to it.
func (t *Tree) globAll(ctx context.Context, literal, wild string) ([]string, error) {
	if _, err := path.Match(wild, ""); err != nil {
		return nil, errdefs.Invalid("%s: not a good pattern", path.Join(literal, wild))
	}
	base, e, err := t.resolve(literal)
	if err != nil || !e.IsDir() {
		return nil, err
	}
	var names []string
	err = t.glob(ctx, e, base, "", strings.Split(wild, "/"), &names)
	return names, err
}

// match resolves one path and reads what is to be copied of all below it.
func (t *Tree) match(ctx context.Context, name, include string, f Filter) (Match, error) {
	real, e, err := t.resolve(name)
	if err != nil {
		if errdefs.IsNotFound(err) {
			return Match{}, t.missing(name, real)
		}
		return Match{}, err
	}
	out, info, err := t.ignore.info(real)
	if err != nil {
		return Match{}, errdefs.Invalid("ignore patterns: %w", err)
	}
	if out && (!e.IsDir() || !t.ignore.mayHaveExceptions(real)) {
		return Match{}, t.missing(name, real)
	}
	m := Match{Name: name, Path: real, Entry: e}
	if !e.IsDir() {
		return m, nil
	}
	if !e.dir.loaded {
		e.dir.match, e.dir.ignored = info, out
	}
	if out { // it is there only if something in it is
		if err := t.loadAll(ctx, e, real); err != nil {
			return Match{}, err
		}
		if prune(e); len(e.dir.entries) == 0 {
			return Match{}, t.missing(name, real)
		}
	}
	if f.Parents || len(f.Exclude) > 0 {
		m.sel, err = t.selectBelow(ctx, e, real, include, f)
		return m, err
	}
	if err := t.loadAll(ctx, e, real); err != nil {
		return Match{}, err
	}
	if t.ignore != nil {
		prune(e)
	}
	return m, nil
}

// has reports whether the match takes what is at a path below it, or something in it.
func (m Match) has(rel string) bool {
	if m.sel == nil {
		return false
	}
	for _, s := range m.sel.items {
		if s.rel == rel || strings.HasPrefix(s.rel, rel+"/") {
			return true
		}
	}
	return false
}

// notSelected says why a path that is looked for with its parents is not copied.
func (t *Tree) notSelected(m Match, include string, f Filter) error {
	name := path.Join(m.Path, include)
	real, _, err := t.resolve(name)
	if err != nil {
		return t.missing(name, real)
	}
	if real != name {
		return errdefs.NotFound("the way to %s goes through a link, to %s, and links are not followed with --parents", name, real)
	}
	if t.ignore.excluded(real) {
		return t.missing(name, real)
	}
	for _, p := range f.Exclude {
		if one, err := newMatcher([]string{p}); err == nil {
			if out, err := one.MatchesOrParentMatches(include); err == nil && out {
				return errdefs.NotFound("%s is left out by --exclude=%s", name, p)
			}
		}
	}
	return errdefs.NotFound("%s is not copied", name)
}

// missing says why nothing is at name; real is where the way ended.
func (t *Tree) missing(name, real string) error {
	if by := t.ignore.by(real); by != "" && real == name {
		return errdefs.NotFound("%s is left out by %s", name, by)
	} else if by != "" {
		return errdefs.NotFound("%s leads to %s, which is left out by %s", name, real, by)
	}
	if real != name {
		return errdefs.NotFound("%s is a link to %s, which is not there", name, real)
	}
	return errdefs.NotFound("%s does not exist", name)
}

// glob adds the paths below the directory e, relative to where it began, that match parts.
func (t *Tree) glob(ctx context.Context, e *Entry, at, rel string, parts []string, names *[]string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !e.dir.loaded && at != "" {
		var err error
		if e.dir.ignored, e.dir.match, err = t.ignore.info(at); err != nil {
			return errdefs.Invalid("ignore patterns: %w", err)
		}
	}
	if err := t.loader().load(e, at); err != nil {
		return err
	}
	for i := range e.dir.entries {
		c := &e.dir.entries[i]
		if ok, err := path.Match(parts[0], c.Name); err != nil || !ok {
			continue
		}
		if len(parts) == 1 {
			*names = append(*names, path.Join(rel, c.Name))
		} else if c.IsDir() {
			if err := t.glob(ctx, c, path.Join(at, c.Name), path.Join(rel, c.Name), parts[1:], names); err != nil {
				return err
			}
		}
	}
	return nil
}

// prune drops excluded directories below e in which nothing is. Entries stay where they are in
// memory: earlier matches point to them.
func prune(e *Entry) {
	d := e.dir
	var empty []int
	for i := range d.entries {
		c := &d.entries[i]
		if !c.IsDir() {
			continue
		}
		if prune(c); c.dir.ignored && len(c.dir.entries) == 0 {
			empty = append(empty, i)
		}
	}
	if len(empty) == 0 {
		return
	}
	kept := make([]Entry, 0, len(d.entries)-len(empty))
	from := 0
	for _, i := range empty {
		kept = append(kept, d.entries[from:i]...)
		from = i + 1
	}
	d.entries = append(kept, d.entries[from:]...)
}

// Walk visits a match and all below it that its filter left, a directory before what is in it and names
// sorted bytewise. rel is the path below the match, "" for itself.
func (t *Tree) Walk(ctx context.Context, m Match, fn func(rel string, e *Entry) error) error {
	if m.sel != nil {
		for _, s := range m.sel.items {
			if err := fn(s.rel, s.e); err != nil {
				return err
			}
		}
		return ctx.Err()
	}
	return walk(ctx, m.Entry, "", fn)
}

func walk(ctx context.Context, e *Entry, rel string, fn func(string, *Entry) error) error {
	if err := fn(rel, e); err != nil {
		return err
	}
	if !e.IsDir() {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	prefix := rel
	if rel != "" {
		prefix += "/"
	}
	for i := range e.dir.entries {
		c := &e.dir.entries[i]
		if err := walk(ctx, c, prefix+c.Name, fn); err != nil {
			return err
		}
	}
	return nil
}

// splitWildcards parts a clean path before its first component with a wildcard.
func splitWildcards(p string) (literal, wild string) {
	parts := strings.Split(p, "/")
	for i, s := range parts {
		if hasWildcard(s) {
			return strings.Join(parts[:i], "/"), strings.Join(parts[i:], "/")
		}
	}
	return p, ""
}

func hasWildcard(s string) bool {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '*', '?', '[':
			return true
		}
	}
	return false
}

// String tells the match for messages.
func (m Match) String() string { return fmt.Sprintf("%q", "/"+m.Path) }

// Near returns the paths that are where name was looked for: what is in the
// deepest directory of it that is there, and how they would be written.
func (t *Tree) Near(ctx context.Context, name string) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	dir := name
	for dir != "" {
		if dir = path.Dir("/" + dir)[1:]; dir == "" {
			break
		}
		if _, e, err := t.resolve(dir); err == nil && e.IsDir() {
			break
		}
	}
	real, e, err := t.resolve(dir)
	if err != nil || !e.IsDir() || ctx.Err() != nil {
		return nil
	}
	if err := t.loader().load(e, real); err != nil {
		return nil
	}
	rest := strings.TrimPrefix(name[len(dir):], "/")
	_, below, deeper := strings.Cut(rest, "/")
	var out []string
	for i := range min(len(e.dir.entries), 1000) {
		s := path.Join(dir, e.dir.entries[i].Name)
		if deeper {
			s += "/" + below
		}
		out = append(out, s)
	}
	return out
}
