package dockerfile

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/camada/camada/errdefs"
	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files")

// describe is the golden form of a parsed file.
func describe(f *File) string {
	var b strings.Builder
	if f.Escape != '\\' {
		fmt.Fprintf(&b, "escape %c\n", f.Escape)
	}
	if f.Syntax != "" {
		fmt.Fprintf(&b, "syntax %s\n", f.Syntax)
	}
	if f.Check != "" {
		fmt.Fprintf(&b, "check %s\n", f.Check)
	}
	for _, a := range f.Args {
		fmt.Fprintf(&b, "global %s\n", a.String())
	}
	for _, s := range f.Stages {
		first, last := lineRange(s.Location)
		fmt.Fprintf(&b, "stage %d %s from %q platform %q lines %d-%d\n", s.Index, s.Title(), s.BaseName, s.Platform, first, last)
		for _, c := range s.Commands {
			first, last := lineRange(c.Location())
			fmt.Fprintf(&b, "  %d-%d %s\n", first, last, c)
		}
	}
	for _, w := range f.Warnings {
		fmt.Fprintf(&b, "warning %s\n", w)
	}
	return b.String()
}

// TestGolden parses testdata/*/Dockerfile and compares with what lies beside it.
func TestGolden(t *testing.T) {
	dirs, err := filepath.Glob("testdata/*/Dockerfile")
	if err != nil || len(dirs) < 20 {
		t.Fatalf("%d cases, %v", len(dirs), err)
	}
	for _, name := range dirs {
		t.Run(filepath.Base(filepath.Dir(name)), func(t *testing.T) {
			src, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			var got string
			f, err := Parse("Dockerfile", src)
			if err != nil {
				var e *Error
				if !errors.As(err, &e) {
					t.Fatalf("not an *Error: %v", err)
				}
				class := "?"
				for _, c := range []errdefs.Class{errdefs.ErrInvalid, errdefs.ErrUnsupported, errdefs.ErrLimit} {
					if errors.Is(err, c) {
						class = string(c)
					}
				}
				got = class + "\n" + err.Error() + "\n"
			} else {
				got = describe(f)
			}
			golden := filepath.Join(filepath.Dir(name), "expected")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	_, err := Parse("Dockerfile", make([]byte, MaxSize+1))
	if !errdefs.IsLimit(err) {
		t.Errorf("a file that is too large: %v", err)
	}
	_, err = Parse("Dockerfile", []byte(strings.Repeat("FROM scratch\n", maxStages+1)))
	if !errdefs.IsLimit(err) {
		t.Errorf("too many stages: %v", err)
	}
	if _, err := Parse("Dockerfile", []byte("FROM scratch\nRUN "+strings.Repeat("a", 100<<10))); !errdefs.IsInvalid(err) {
		t.Errorf("a line that is too long: %v", err)
	}
}

func TestErrorHidesControlCharacters(t *testing.T) {
	_, err := Parse("Dockerfile", []byte("FROM scratch\nRUNN \x1b[31mred\x07\n"))
	if err == nil || strings.ContainsAny(err.Error(), "\x1b\x07") {
		t.Errorf("got %q", err)
	}
}

func FuzzParse(f *testing.F) {
	dirs, _ := filepath.Glob("testdata/*/Dockerfile")
	for _, name := range dirs {
		if src, err := os.ReadFile(name); err == nil {
			f.Add(src)
		}
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		file, err := Parse("Dockerfile", src)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("not an *Error: %v", err)
			}
			if e.Line > len(file.linesOrNone())+len(src)+1 {
				t.Fatalf("line %d of a file of %d bytes", e.Line, len(src))
			}
			return
		}
		if len(file.Stages) == 0 {
			t.Fatal("a file without stages")
		}
		if again, err := Parse("Dockerfile", src); err != nil || describe(again) != describe(file) {
			t.Fatalf("parsed to something else the second time: %v", err)
		}
		scope := &Scope{}
		for _, s := range file.Stages {
			for _, c := range s.Commands {
				if err := file.Expand(c, scope); err != nil && !errdefs.IsInvalid(err) {
					t.Fatalf("expand: %v", err)
				}
			}
		}
	})
}

func (f *File) linesOrNone() []string {
	if f == nil {
		return nil
	}
	return f.lines
}
