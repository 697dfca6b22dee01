package lint_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/camada/camada/build"
	"github.com/camada/camada/dockerfile/lint"
	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "write what is found into the golden files")

// golden reads a file of testdata/rules: a rule's code is its name. bad has what the rule finds, as "want" says, with what "fixed" makes of it; good has
// what is like it and must not be found. config is a configuration for both.
func golden(t *testing.T, file string) (*txtar.Archive, map[string]string) {
	t.Helper()
	a, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	parts := map[string]string{}
	for _, f := range a.Files {
		parts[f.Name] = string(f.Data)
	}
	return a, parts
}

func look(t *testing.T, source string, cfg lint.Config) *lint.Report {
	t.Helper()
	r, err := build.Lint(t.Context(), "Dockerfile", []byte(source), "", cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRules(t *testing.T) {
	// What only a build with its base images and context finds is tested there.
	elsewhere := map[string]bool{"CopyIgnoredFile": true, "InvalidBaseImagePlatform": true}
	for _, rule := range lint.Rules() {
		t.Run(rule.Code, func(t *testing.T) {
			if rule.Name == "" || rule.Reason == "" || rule.Fix == "" {
				t.Errorf("a rule without words: %+v", rule)
			}
			if elsewhere[rule.Code] {
				return
			}
			file := filepath.Join("testdata", "rules", rule.Code+".txtar")
			a, parts := golden(t, file)
			cfg, err := lint.ParseConfig([]byte(parts["config"]))
			if err != nil {
				t.Fatal(err)
			}
			if rule.Severity == lint.Ignore {
				cfg.Override(rule.Code, lint.Info)
			}
			if rule.Code == "InvalidDefinitionDescription" {
				cfg.Checks = "experimental=InvalidDefinitionDescription"
			}
			report := look(t, parts["bad"], cfg)
			var want strings.Builder
			kept := report.Findings[:0:0]
			for _, f := range report.Findings {
				if f.Code == "DL1000" && rule.Code != "DL1000" {
					t.Errorf("bad: %s", f.Message)
				}
				if f.Code == rule.Code {
					kept = append(kept, f)
					fmt.Fprintf(&want, "%d:%d-%d:%d %s: %s\n", f.Range.Start.Line, f.Range.Start.Column, f.Range.End.Line, f.Range.End.Column, f.Severity, f.Message)
				}
			}
			report.Findings = kept
			fixed, n := report.Fixed()
			if *update {
				rewrite(t, a, file, want.String(), string(fixed), n)
				return
			}
			if want.Len() == 0 || want.String() != parts["want"] {
				t.Errorf("found\n%swant\n%s", want.String(), parts["want"])
			}
			if n > 0 && string(fixed) != parts["fixed"] {
				t.Errorf("fixed\n%swant\n%s", fixed, parts["fixed"])
			}
			if _, ok := parts["fixed"]; ok && n == 0 {
				t.Error("nothing was fixed")
			}
			if parts["good"] == "" {
				t.Error("no good case")
			}
			for _, f := range look(t, parts["good"], cfg).Findings {
				if f.Code == rule.Code || f.Code == "DL1000" {
					t.Errorf("good: %s at line %d: %s", f.Code, f.Range.Start.Line, f.Message)
				}
			}
		})
	}
}

func rewrite(t *testing.T, a *txtar.Archive, file, want, fixed string, n int) {
	var files []txtar.File
	for _, f := range a.Files {
		if f.Name != "want" && f.Name != "fixed" {
			files = append(files, f)
		}
	}
	files = append(files, txtar.File{Name: "want", Data: []byte(want)})
	if n > 0 {
		files = append(files, txtar.File{Name: "fixed", Data: []byte(fixed)})
	}
	a.Files = files
	if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
		t.Fatal(err)
	}
}
