package source

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

// maxIgnoreFile is the largest .dockerignore that is read, in bytes.
const maxIgnoreFile = 4 << 20

// Ignore is what a .dockerignore file says. The zero Ignore leaves nothing out.
type Ignore struct {
	// Name is what messages call the file.
	Name string
	// Patterns in the order of the file, cleaned, with "!" before exceptions.
	Patterns []string
	// Lines are the numbers of the lines on which the patterns stand, from 1.
	Lines []int
}

// IgnoreFile reads <dockerfile>.dockerignore, or, when that is not there, .dockerignore in the
// context. dockerfile may be "", and need not be in the context.
func IgnoreFile(contextDir, dockerfile string) (Ignore, error) {
	var names []string
	if dockerfile != "" {
		names = append(names, dockerfile+ignoreName)
	}
	for _, name := range append(names, filepath.Join(contextDir, ignoreName)) {
		info, err := os.Stat(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return Ignore{}, classify(err)
		}
		if !info.Mode().IsRegular() || info.Size() > maxIgnoreFile {
			return Ignore{}, errdefs.Invalid("%s: not a file of at most %d bytes", name, maxIgnoreFile)
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return Ignore{}, classify(err)
		}
		short := name
		if rel, err := filepath.Rel(contextDir, name); err == nil && filepath.IsLocal(rel) {
			short = rel
		}
		return ParseIgnore(short, data)
	}
	return Ignore{}, nil
}

const ignoreName = ".dockerignore"

// ParseIgnore reads the text of a .dockerignore file.
func ParseIgnore(name string, data []byte) (Ignore, error) {
	patterns, err := ignorefile.ReadAll(bytes.NewReader(data))
	if err != nil {
		return Ignore{}, errdefs.Invalid("%s: %w", name, err)
	}
	ig := Ignore{Name: name, Patterns: patterns}
	n := 0
	for line := range strings.Lines(strings.TrimPrefix(string(data), "\ufeff")) {
		n++
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		if strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "" {
			continue
		}
		if len(ig.Lines) == len(patterns) {
			break // ReadAll is the one that decides
		}
		ig.Lines = append(ig.Lines, n)
		if _, err := newMatcher(patterns[len(ig.Lines)-1 : len(ig.Lines)]); err != nil {
			return Ignore{}, errdefs.Invalid("%s:%d: %w", name, n, err)
		}
	}
	return ig, nil
}

// ignore is a set of .dockerignore patterns. A nil ignore excludes nothing. It is
// used by one goroutine: clone it for others.
type ignore struct {
	Ignore
	m *patternmatcher.PatternMatcher
	// exceptions are the literal beginnings of the "!" patterns.
	exceptions []string
}

func newIgnore(file Ignore) (*ignore, error) {
	m, err := newMatcher(file.Patterns)
	if m == nil {
		return nil, err
	}
	ig := &ignore{Ignore: file, m: m}
	for _, p := range m.Patterns() {
		if !p.Exclusion() {
			continue
		}
		s := p.String()
		if i := strings.IndexAny(s, "*?[\\"); i >= 0 {
			s = s[:i]
		}
		ig.exceptions = append(ig.exceptions, s)
	}
	return ig, nil
}

// Out returns a function that tells whether a path of the context is left out for sure. With "!" patterns nothing
// is sure, because something below the path may be in: then, and without patterns, it is nil.
func (file Ignore) Out() func(string) bool {
	ig, err := newIgnore(file)
	if err != nil || ig == nil || ig.m.Exclusions() {
		return nil
	}
	all := false
	for _, p := range ig.m.Patterns() {
		all = all || p.String() == "*" || p.String() == "**" || p.String() == "**/*"
	}
	return func(name string) bool {
		if !all && (name == "." || name == "/") {
			return false // the root is not a path that can be left out
		}
		out, err := ig.m.MatchesOrParentMatches(name)
		return err == nil && out
	}
}

func (ig *ignore) clone() *ignore {
	if ig == nil {
		return nil
	}
	c, _ := newIgnore(ig.Ignore) // they were good before
	return c
}

// excludes tells what the patterns say of a file, given what they said of its directory.
func (ig *ignore) excludes(name string, parent patternmatcher.MatchInfo) (bool, patternmatcher.MatchInfo, error) {
	if ig == nil {
		return false, parent, nil
	}
	return ig.m.MatchesUsingParentResults(name, parent)
}

// mayHaveExceptions reports whether something below the excluded directory could be in.
func (ig *ignore) mayHaveExceptions(dir string) bool {
	for _, e := range ig.exceptions {
		if strings.HasPrefix(e, dir+"/") || strings.HasPrefix(dir+"/", e) {
			return true
		}
	}
	return false
}

// excluded tells whether a path is out, by itself or with a directory above it.
func (ig *ignore) excluded(name string) bool {
	out, _, err := ig.info(name)
	return err == nil && out
}

// by says which line leaves a path out: the one after which it is out for good; "" when none does.
func (ig *ignore) by(name string) string {
	if !ig.excluded(name) {
		return ""
	}
	last := len(ig.Patterns)
	for last > 1 {
		before, err := newIgnore(Ignore{Patterns: ig.Patterns[:last-1]})
		if err != nil || !before.excluded(name) {
			break
		}
		last--
	}
	if last > len(ig.Lines) {
		return ignoreName
	}
	return fmt.Sprintf("line %d of %s (%s)", ig.Lines[last-1], ig.Name, ig.Patterns[last-1])
}

// info returns what the patterns say of a directory at name, from the root down.
func (ig *ignore) info(name string) (bool, patternmatcher.MatchInfo, error) {
	var out bool
	var info patternmatcher.MatchInfo
	if ig == nil || name == "" {
		return false, info, nil
	}
	for i := 0; i <= len(name); i++ {
		if i < len(name) && name[i] != '/' {
			continue
		}
		var err error
		if out, info, err = ig.m.MatchesUsingParentResults(name[:i], info); err != nil {
			return false, info, err
		}
	}
	return out, info, nil
}
