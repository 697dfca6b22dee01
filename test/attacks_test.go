package test

import (
	"debug/elf"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestNothingIsLoaded wants a program that loads no libraries: those of a container, where it looks into one, would be hostile.
func TestNothingIsLoaded(t *testing.T) {
	f, err := elf.Open(shipped(t))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if libs, err := f.ImportedLibraries(); err != nil || len(libs) > 0 {
		t.Errorf("it needs %v, %v", libs, err)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("it has a part of type %v", p.Type)
		}
	}
}

// TestTheTestsOfTheSecurityPage looks for the tests that docs/security.md names.
func TestTheTestsOfTheSecurityPage(t *testing.T) {
	page, err := os.ReadFile("../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, m := range regexp.MustCompile("`(Test[A-Za-z0-9]+)(?:/[a-z_]+)?`|`([a-z]+\\.txtar)`").FindAllStringSubmatch(string(page), -1) {
		names[m[1]+m[2]] = false
	}
	if len(names) < 20 {
		t.Fatalf("the page names %d tests", len(names))
	}
	err = filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "bin"):
			return fs.SkipDir
		case strings.HasSuffix(path, ".txtar"):
			if _, named := names[d.Name()]; named {
				names[d.Name()] = true
			}
		case strings.HasSuffix(path, "_test.go"):
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for line := range strings.Lines(string(text)) {
				if rest, ok := strings.CutPrefix(line, "func "); ok {
					if name, _, _ := strings.Cut(rest, "("); strings.HasPrefix(name, "Test") {
						if _, named := names[name]; named {
							names[name] = true
						}
					}
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, found := range names {
		if !found {
			t.Errorf("there is no %s", name)
		}
	}
}
