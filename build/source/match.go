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
	// Entry is what is there: never a symbolic link. All below a directory has been read.
	Entry *Entry
}

// Match returns what a path or a pattern means, in the order of names. Patterns
// are those of path.Match, component by component. A pattern without wildcards that
// means nothing is ErrNotFound; one with wildcards may mean nothing.
func (t *Tree) Match(ctx context.Context, pattern string) ([]Match, error) {
	clean := path.Join("/", pattern)[1:]
	literal, wild := splitWildcards(clean)
	t.mu.Lock()
	defer t.mu.Unlock()
	if wild == "" {
		m, err := t.match(ctx, literal)
		if err != nil {
			return nil, err
		}
		return []Match{m}, nil
	}
	if _, err := path.Match(wild, ""); err != nil {
		return nil, errdefs.Invalid("%s: not a good pattern", pattern)
	}
	base, e, err := t.resolve(literal)
	if err != nil {
		return nil, err
	}
	if !e.IsDir() {
		return nil, nil
	}
	var names []string
	if err := t.glob(ctx, e, base, "", strings.Split(wild, "/"), &names); err != nil {
		return nil, err
	}
	var out []Match
	for _, n := range names {
		m, err := t.match(ctx, path.Join(literal, n))
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, nil
}

// match resolves one path and reads all below it.
func (t *Tree) match(ctx context.Context, name string) (Match, error) {
	real, e, err := t.resolve(name)
	if err != nil {
		if errdefs.IsNotFound(err) {
			return Match{}, t.missing(name, real, err)
		}
		return Match{}, err
	}
	out, info, err := t.ignore.info(real)
	if err != nil {
		return Match{}, errdefs.Invalid("ignore patterns: %w", err)
	}
	if out && (!e.IsDir() || !t.ignore.mayHaveExceptions(real)) {
		return Match{}, errdefs.NotFound("%s is left out by .dockerignore", name)
	}
	if e.IsDir() {
		if !e.dir.loaded {
			e.dir.match, e.dir.ignored = info, out
		}
		if err := t.loadAll(ctx, e, real); err != nil {
			return Match{}, err
		}
		if t.ignore != nil {
			prune(e)
		}
	}
	return Match{Name: name, Path: real, Entry: e}, nil
}

// missing says why nothing is at name; real is where the way ended.
func (t *Tree) missing(name, real string, err error) error {
	if t.ignore.excluded(real) {
		return errdefs.NotFound("%s is left out by .dockerignore", name)
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

// prune drops excluded directories below e in which nothing is.
func prune(e *Entry) {
	d := e.dir
	kept := d.entries[:0]
	for i := range d.entries {
		c := &d.entries[i]
		if c.IsDir() {
			prune(c)
			if c.dir.ignored && len(c.dir.entries) == 0 {
				continue
			}
		}
		kept = append(kept, *c)
	}
	d.entries = kept
}

// Walk visits a match and all below it, a directory before what is in it and names
// sorted bytewise. rel is the path below the match, "" for itself.
func (t *Tree) Walk(ctx context.Context, m Match, fn func(rel string, e *Entry) error) error {
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
