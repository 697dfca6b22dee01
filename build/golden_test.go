package build_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/camada/camada/build"
	"github.com/camada/camada/dockerfile"
	"github.com/google/go-cmp/cmp"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

var update = flag.Bool("update", false, "write the golden files")

// goldenContext is the context of all golden cases.
func goldenContext() map[string]string {
	return map[string]string{
		"a.txt": "a\n", "b.txt": "b\n", "sub/c.txt": "c\n", "sub/deep/d.txt": "d\n", "empty/": "", "link": "-> a.txt",
		"linkdir": "-> sub", "out": "-> ../../../../etc/passwd", "abs": "-> /etc/passwd", "new\nline": "n\n", ".hidden": "h\n",
	}
}

// TestGolden builds testdata/golden/*/Dockerfile, and compares image config and new
// layers, or the error, with the file "expected" beside it. "ignore" is the .dockerignore, and "base" the Dockerfile of
// an image that is called base.
func TestGolden(t *testing.T) {
	cases, err := filepath.Glob("testdata/golden/*/Dockerfile")
	if err != nil || len(cases) < 30 {
		t.Fatalf("%d cases, %v", len(cases), err)
	}
	f := newFixture(t)
	f.withShell()
	amd64 := &ocispec.Platform{OS: "linux", Architecture: "amd64"} // wherever the test runs
	for _, name := range cases {
		t.Run(filepath.Base(filepath.Dir(name)), func(t *testing.T) {
			f.t = t
			dir := tree(t, goldenContext())
			src, err := os.ReadFile(name)
			must(t, err)
			files := map[string]string{"Dockerfile": string(src)}
			if data, err := os.ReadFile(filepath.Join(filepath.Dir(name), "ignore")); err == nil {
				files[".dockerignore"] = string(data)
			}
			addFiles(t, dir, files)
			if text, err := os.ReadFile(filepath.Join(filepath.Dir(name), "base")); err == nil {
				f.name("base", f.build(build.Options{Context: dir, Source: text, Platform: amd64}))
			}
			var got string
			res, err := f.builder.Build(t.Context(), build.Options{Context: dir, Platform: amd64, BuildArgs: map[string]string{"given": "1", "HTTP_PROXY": "p"}}, f)
			if err != nil {
				var e *dockerfile.Error
				if !errors.As(err, &e) {
					t.Errorf("not a *dockerfile.Error: %v", err)
				}
				got = err.Error() + "\n"
			} else {
				base := 0
				if strings.Contains(string(src), "FROM sh") {
					base = 3
				}
				got = config(t, res) + "\n" + f.listing(res, min(base, len(res.Layers)))
			}
			golden := filepath.Join(filepath.Dir(name), "expected")
			if *update {
				must(t, os.WriteFile(golden, []byte(got), 0o644))
			}
			want, err := os.ReadFile(golden)
			must(t, err)
			if diff := cmp.Diff(withoutDigests(string(want)), withoutDigests(got)); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
	f.t = t
	f.nothingLeft()
}

// withoutDigests leaves out what depends on the compiled shell.
func withoutDigests(s string) string {
	var out []string
	for l := range strings.Lines(s) {
		if !strings.Contains(l, `"sha256:`) {
			out = append(out, l)
		}
	}
	return strings.Join(out, "")
}
