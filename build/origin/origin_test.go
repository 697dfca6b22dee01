package origin

import (
	"slices"
	"strings"
	"testing"

	"github.com/camada/camada/build/op"
)

func TestCandidates(t *testing.T) {
	for name, c := range map[string]struct {
		op    op.Copy
		names string // what the copy read
		path  string
		want  string
	}{
		"a file to a name":              {op.Copy{Sources: []string{"a/b"}, Dest: "/x/y"}, "", "x/y", "a/b"},
		"a file into a directory":       {op.Copy{Sources: []string{"a/b"}, Dest: "/x/"}, "", "x/b", "a/b/b a/b"},
		"what is in a directory":        {op.Copy{Sources: []string{"./src/"}, Dest: "/app/"}, "", "app/lib/z", "src/lib/z"},
		"all of the context":            {op.Copy{Sources: []string{"."}, Dest: "/"}, "", "lib/z", "lib/z"},
		"the directory itself":          {op.Copy{Sources: []string{"src"}, Dest: "/app"}, "", "app", "src"},
		"a pattern":                     {op.Copy{Sources: []string{"s*/x"}, Dest: "/app/"}, "s1/x s2/x s1/y s1/x/deep", "app/x", "s*/x/x s*/x s1/x/x s1/x s2/x/x s2/x"},
		"a directory that a name finds": {op.Copy{Sources: []string{"s*"}, Dest: "/app/"}, "src/a src/b", "app/a", "s*/a src/a"},
		"parents":                       {op.Copy{Sources: []string{"a/b/c"}, Dest: "/x/", Parents: true}, "", "x/a/b/c", "a/b/c"},
		"parents from a pivot":          {op.Copy{Sources: []string{"a/./b/c"}, Dest: "/x/", Parents: true}, "", "x/b/c", "b/c a/b/c"},
		"another place":                 {op.Copy{Sources: []string{"a"}, Dest: "/x/"}, "", "y/a", ""},
	} {
		m := mapping{c: &c.op, name: c.path, dests: []string{strings.Trim(c.op.Dest, "/")}}
		got := slices.Compact(m.candidates(strings.Fields(c.names)))
		for _, want := range strings.Fields(c.want) {
			if !slices.Contains(got, want) {
				t.Errorf("%s: %q, want %s among them", name, got, want)
			}
		}
		if c.want == "" && len(got) > 0 {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestCopyOf(t *testing.T) {
	c := copyOf((&op.Copy{Sources: []string{"a"}, Dest: "/b", From: true}).Definition())
	if c == nil || c.Dest != "/b" || !c.From || len(c.Sources) != 1 {
		t.Errorf("%+v", c)
	}
	for _, other := range []string{"", "copy.v9", "copy.v2 {", (&op.Run{Args: []string{"a"}}).Definition()} {
		if c := copyOf(other); c != nil {
			t.Errorf("%q is a copy: %+v", other, c)
		}
	}
}
