package lint_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/camada/camada/dockerfile/lint"
)

// TestShellCheck compares what ShellCheck finds in the bad cases of its rules: a code means the same here and there.
func TestShellCheck(t *testing.T) {
	if os.Getenv("CAMADA_TEST_LONG") == "" {
		t.Skip("a hundred starts of ShellCheck take long: set CAMADA_TEST_LONG=1")
	}
	shellcheck, err := exec.LookPath("shellcheck")
	if err != nil {
		t.Skip("no shellcheck: apt install shellcheck")
	}
	for _, rule := range lint.Rules() {
		if !strings.HasPrefix(rule.Code, "SC") {
			continue
		}
		t.Run(rule.Code, func(t *testing.T) {
			_, parts := golden(t, filepath.Join("testdata", "rules", rule.Code+".txtar"))
			for _, s := range scriptsOf(parts["bad"]) {
				if s.text == "test -f a -o -f b" {
					continue // found since ShellCheck 0.10
				}
				cmd := exec.Command(shellcheck, "-s", s.shell, "-f", "json", "-o", "all", "-")
				cmd.Stdin = strings.NewReader(s.text)
				out, _ := cmd.Output() // it fails when it finds something
				var found []struct{ Code int }
				if err := json.Unmarshal(out, &found); err != nil {
					t.Fatalf("%s: %v", out, err)
				}
				var have []string
				for _, f := range found {
					have = append(have, fmt.Sprintf("SC%d", f.Code))
				}
				if !slices.ContainsFunc(have, func(c string) bool { return c == rule.Code || slices.Contains(rule.Aliases, c) }) {
					t.Errorf("in %q it finds %v", s.text, have)
				}
			}
		})
	}
}

type shellScript struct{ shell, text string }

// scriptsOf takes the scripts out of a Dockerfile of the golden files.
func scriptsOf(source string) []shellScript {
	var out []shellScript
	shell := "sh"
	lines := strings.Split(source, "\n")
	for i := 0; i < len(lines); i++ {
		if strings.HasPrefix(lines[i], "SHELL") && strings.Contains(lines[i], "bash") {
			shell = "bash"
		}
		text, ok := strings.CutPrefix(lines[i], "RUN ")
		if !ok {
			continue
		}
		if text == "<<EOF" {
			text = ""
			for i++; lines[i] != "EOF"; i++ {
				text += lines[i] + "\n"
			}
		}
		for strings.HasSuffix(text, `\`) {
			i++
			text = strings.TrimSuffix(text, `\`) + lines[i]
		}
		out = append(out, shellScript{shell, text})
	}
	return out
}
