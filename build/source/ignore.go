package source

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

// maxIgnoreFile is the largest .dockerignore that is read, in bytes.
const maxIgnoreFile = 4 << 20

// IgnoreFile reads the patterns of <dockerfile>.dockerignore, or, when that is
// not there, of .dockerignore in the context. dockerfile may be "".
func IgnoreFile(contextDir, dockerfile string) ([]string, error) {
	var names []string
	if dockerfile != "" {
		names = append(names, dockerfile+".dockerignore")
	}
	for _, name := range append(names, path.Join(contextDir, ".dockerignore")) {
		info, err := os.Stat(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, classify(err)
		}
		if !info.Mode().IsRegular() || info.Size() > maxIgnoreFile {
			return nil, errdefs.Invalid("%s: not a file of at most %d bytes", name, maxIgnoreFile)
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, classify(err)
		}
		patterns, err := ignorefile.ReadAll(bytes.NewReader(data))
		if err != nil {
			return nil, errdefs.Invalid("%s: %w", name, err)
		}
		if _, err := newIgnore(patterns); err != nil {
			return nil, errdefs.Invalid("%s: %w", name, err)
		}
		return patterns, nil
	}
	return nil, nil
}

// ignore is a set of .dockerignore patterns. A nil ignore excludes nothing. It is
// used by one goroutine: clone it for others.
type ignore struct {
	patterns []string
	m        *patternmatcher.PatternMatcher
	// exceptions are the literal beginnings of the "!" patterns.
	exceptions []string
}

func newIgnore(patterns []string) (*ignore, error) {
	if len(patterns) == 0 {
		return nil, nil
	}
	m, err := patternmatcher.New(patterns)
	if err != nil {
		return nil, errdefs.Invalid("ignore patterns: %w", err)
	}
	ig := &ignore{patterns: patterns, m: m}
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
	// The first match compiles the patterns; errors show here, not later.
	if _, err := m.MatchesOrParentMatches("a"); err != nil {
		return nil, errdefs.Invalid("ignore patterns: %w", err)
	}
	return ig, nil
}

func (ig *ignore) clone() *ignore {
	if ig == nil {
		return nil
	}
	c, _ := newIgnore(ig.patterns) // they were good before
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
	if ig == nil || name == "" {
		return false
	}
	out, err := ig.m.MatchesOrParentMatches(name)
	return err == nil && out
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
