package house

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestSecurityTable: the tests that docs/registry-security.md names are there, in the packages that it names.
func TestSecurityTable(t *testing.T) {
	page, err := os.ReadFile("../../docs/registry-security.md")
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for dir := range packagesOf(string(page)) {
		files, err := filepath.Glob(filepath.Join("../..", dir, "*_test.go"))
		if err != nil || len(files) == 0 {
			t.Errorf("%s has no tests: %v", dir, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`).FindAllStringSubmatch(string(text), -1) {
				have = append(have, m[1])
			}
		}
	}
	named := regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w*`).FindAllString(string(page), -1)
	if len(named) < 40 {
		t.Errorf("only %d tests are named", len(named))
	}
	for _, name := range named {
		if !slices.Contains(have, name) {
			t.Errorf("there is no test %s", name)
		}
	}
}

// packagesOf finds the packages that a page names in its first paragraphs, as `registry/api`.
func packagesOf(page string) map[string]bool {
	found := map[string]bool{}
	head, _, _ := strings.Cut(page, "\n|")
	for _, m := range regexp.MustCompile("`([a-z0-9/]+)`").FindAllStringSubmatch(head, -1) {
		found[m[1]] = true
	}
	return found
}
