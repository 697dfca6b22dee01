package source

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/moby/patternmatcher"
)

// forest is a tree of which the test knows each path without reading it.
type forest struct {
	dir  string
	dirs map[string]bool // every path; true for a directory
}

// plant makes n files in directories whose names patterns like to meet.
func plant(t *testing.T, n int, rnd *rand.Rand) *forest {
	t.Helper()
	dirNames := []string{"a", "b", "ab", "src", "docs", "node_modules", ".git", "x1", "x2"}
	fileNames := []string{"f.go", "f.md", "README.md", "keep", ".env", "t.tmp", "a", "x1.go", "b.txt"}
	f := &forest{dir: t.TempDir(), dirs: map[string]bool{}}
	for made := 0; made < n; {
		dir := ""
		for range rnd.IntN(7) {
			next := path.Join(dir, dirNames[rnd.IntN(len(dirNames))])
			if isDir, there := f.dirs[next]; there && !isDir {
				break
			}
			f.dirs[next], dir = true, next
		}
		must(t, os.MkdirAll(filepath.Join(f.dir, dir), 0o755))
		for range 1 + rnd.IntN(4) {
			name := path.Join(dir, fileNames[rnd.IntN(len(fileNames))])
			if _, there := f.dirs[name]; there {
				name = path.Join(dir, fmt.Sprintf("n%d.txt", made))
			}
			f.dirs[name] = false
			must(t, os.WriteFile(filepath.Join(f.dir, name), []byte(name), 0o644))
			made++
		}
	}
	return f
}

// pattern is a random one of up to four components.
func pattern(rnd *rand.Rand, deep, negate bool) string {
	words := []string{"*", "a", "b", "?", "src", "docs", "x[12]", "*.md", "*.go", "[!a]*", "[^a]*", ".*", "node_modules", "README.md", "keep", "a*", "*b"}
	if deep {
		words = append(words, "**", "**")
	}
	var parts []string
	for range 1 + rnd.IntN(4) {
		parts = append(parts, words[rnd.IntN(len(words))])
	}
	p := strings.Join(parts, "/")
	if negate && rnd.IntN(3) == 0 {
		p = "!" + p
	}
	return p
}

// verdicts says of each path below root what the patterns say of it, asked for every path by
// itself and in the order in which BuildKit asks: a directory before what is in it.
func verdicts(t *testing.T, paths []string, root string, patterns []string) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	if len(patterns) == 0 {
		return out
	}
	pm, err := patternmatcher.New(patterns)
	must(t, err)
	infos := map[string]patternmatcher.MatchInfo{}
	for _, p := range paths {
		rel, ok := below(root, p)
		if !ok || rel == "" {
			continue
		}
		hit, info, err := pm.MatchesUsingParentResults(rel, infos[path.Dir(rel)])
		must(t, err)
		out[p], infos[rel] = hit, info
	}
	return out
}

func below(root, p string) (string, bool) {
	if root == "" {
		return p, true
	}
	if p == root {
		return "", true
	}
	return strings.CutPrefix(p, root+"/")
}

// withAncestors adds the directories from root down to each path of kept.
func withAncestors(kept map[string]bool, root string) {
	for _, p := range slices.Collect(maps.Keys(kept)) {
		for p != root && p != "." {
			kept[p] = true
			p = path.Dir(p)
		}
	}
}

// selectNaively is what Select is to find: "root > path" for each.
func (f *forest) selectNaively(t *testing.T, source string, ignore []string, filter Filter) []string {
	t.Helper()
	all := slices.Sorted(maps.Keys(f.dirs))
	out := verdicts(t, all, "", ignore)
	there := map[string]bool{}
	for _, p := range all {
		if !out[p] {
			there[p] = true
		}
	}
	withAncestors(there, "")
	base, include := source, []string(nil)
	if filter.Parents {
		b, rest := splitParents(source)
		base, include = b, []string{rest}
	}
	base = path.Join("/", base)[1:]
	var roots []string
	switch {
	case hasWildcard(base):
		for p := range there {
			if ok, err := path.Match(base, p); err == nil && ok {
				roots = append(roots, p)
			}
		}
	case base == "" || there[base]:
		roots = []string{base}
	}
	var found []string
	for _, root := range roots {
		if root != "" && !f.dirs[root] {
			byName := verdicts(t, []string{path.Base(root)}, "", filter.Exclude)
			if !filter.Parents && !(hasWildcard(base) && byName[path.Base(root)]) {
				found = append(found, root+" > ")
			}
			continue
		}
		inc, exc := verdicts(t, all, root, include), verdicts(t, all, root, filter.Exclude)
		kept := map[string]bool{}
		for p := range there {
			if rel, ok := below(root, p); ok && rel != "" && !exc[p] && (include == nil || inc[p]) {
				kept[p] = true
			}
		}
		withAncestors(kept, root)
		kept[root] = true
		for p := range kept {
			rel, _ := below(root, p)
			if p == "" {
				rel = ""
			}
			found = append(found, root+" > "+rel)
		}
	}
	slices.Sort(found)
	return found
}

// TestSelectIsExact compares Select, which lists and asks as little as it can, with every path asked for
// by itself, for random patterns in a context of 20,000 files.
func TestSelectIsExact(t *testing.T) {
	if testing.Short() {
		t.Skip("it makes 20,000 files")
	}
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 1))
	f := plant(t, 20000, rnd)
	rounds := 25
	if os.Getenv("CAMADA_TEST_LONG") != "" {
		rounds = 400
	}
	for range rounds {
		var ignore, exclude []string
		for range rnd.IntN(4) {
			ignore = append(ignore, pattern(rnd, true, true))
		}
		for range rnd.IntN(4) {
			exclude = append(exclude, pattern(rnd, true, true))
		}
		filter := Filter{Exclude: exclude, Parents: rnd.IntN(2) == 0}
		source := []string{".", "src", "a/b", pattern(rnd, false, false)}[rnd.IntN(4)]
		if filter.Parents {
			if source = pattern(rnd, true, false); rnd.IntN(2) == 0 {
				source = pattern(rnd, false, false) + "/./" + source
			}
		}
		what := fmt.Sprintf("seed %d: source %q, ignore %q, %+v", seed, source, ignore, filter)
		tr := open(t, f.dir, Options{Ignore: Ignore{Patterns: ignore}})
		ms, err := tr.Select(t.Context(), source, filter)
		want := f.selectNaively(t, source, ignore, filter)
		if err != nil {
			// Without a wildcard, what finds nothing is an error.
			if base, rest := splitParents(source); len(want) > 1 && !(filter.Parents && !hasWildcard(base+rest)) {
				t.Errorf("%s: %v, want %d", what, err, len(want))
			}
			continue
		}
		var got []string
		for _, m := range ms {
			must(t, tr.Walk(t.Context(), m, func(rel string, _ *Entry) error {
				got = append(got, m.Path+" > "+rel)
				return nil
			}))
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %d, want %d: %s", what, len(got), len(want), difference(got, want))
		}
	}
}

// difference shows the first few that are in one list only.
func difference(got, want []string) string {
	var out []string
	for _, g := range got {
		if _, ok := slices.BinarySearch(want, g); !ok && len(out) < 5 {
			out = append(out, "+"+g)
		}
	}
	for _, w := range want {
		if _, ok := slices.BinarySearch(got, w); !ok && len(out) < 10 {
			out = append(out, "-"+w)
		}
	}
	return strings.Join(out, ", ")
}

// TestDigestOfSelected changes files that are copied, and files that are not.
func TestDigestOfSelected(t *testing.T) {
	dir := files(t, map[string]string{"src/a.go": "1", "src/a.md": "1", "src/deep/b.go": "1", "src/none/c.md": "1", "other/d.go": "1"})
	for _, filter := range []Filter{{Exclude: []string{"**/*.md"}}, {Parents: true}} {
		source := "src"
		if filter.Parents {
			source = "**/*.go"
		}
		digest := func() string {
			tr := open(t, dir, Options{})
			ms, err := tr.Select(t.Context(), source, filter)
			must(t, err)
			d, err := tr.Digest(t.Context(), ms)
			must(t, err)
			return d.String()
		}
		before := digest()
		must(t, os.WriteFile(filepath.Join(dir, "src/a.md"), []byte("2"+before), 0o644))
		must(t, os.WriteFile(filepath.Join(dir, "src/none/new.md"), nil, 0o644))
		if digest() != before {
			t.Errorf("%+v: a file that is not copied changes the digest", filter)
		}
		must(t, os.WriteFile(filepath.Join(dir, "src/deep/b.go"), []byte("2"+before), 0o644))
		if digest() == before {
			t.Errorf("%+v: a file that is copied does not change the digest", filter)
		}
	}
}
