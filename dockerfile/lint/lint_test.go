package lint_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/camada/camada/dockerfile"
	"github.com/camada/camada/dockerfile/lint"
	"github.com/rogpeppe/go-internal/txtar"
)

// TestDocumented compares the table of docs/lint.md with the rules.
func TestDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/lint.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range lint.Rules() {
		code := r.Code
		if len(r.Aliases) > 0 {
			code += " " + strings.Join(r.Aliases, " ")
		}
		severity := r.Severity.String()
		if r.Severity == lint.Ignore {
			severity = "off"
		}
		if row := fmt.Sprintf("| %s | %s | %s |", code, severity, strings.ReplaceAll(r.Name, "|", `\|`)); !strings.Contains(string(page), row+"\n") {
			t.Errorf("docs/lint.md has no line\n%s", row)
		}
	}
}

// TestNoFalseErrors looks at all Dockerfiles of the repository's comparisons with BuildKit, and of its examples: what is built there has no errors, but for
// ADD of plain files, which is compared there.
func TestNoFalseErrors(t *testing.T) {
	seen := 0
	check := func(path string, src []byte) {
		seen++
		r := look(t, string(src), lint.Config{})
		for _, f := range r.Findings {
			line := strings.ToUpper(strings.Split(string(src), "\n")[f.Range.Start.Line-1])
			if f.Severity == lint.Error && (f.Code != "DL3020" || !strings.Contains(line, "ADD")) {
				t.Errorf("%s:%d %s: %s", path, f.Range.Start.Line, f.Code, f.Message)
			}
		}
	}
	for _, root := range []string{"../../test/testdata", "../../examples"} {
		err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() || strings.Contains(path, "/script/") {
				return err
			}
			src, err := os.ReadFile(path)
			if err != nil || !strings.HasSuffix(path, ".txtar") {
				if err == nil && strings.HasPrefix(d.Name(), "Dockerfile") && !strings.HasSuffix(path, "ignore") {
					check(path, src)
				}
				return err
			}
			a := txtar.Parse(src)
			comment := "\n" + string(a.Comment)
			if strings.Contains(comment, "\narg: ") {
				return nil // without it the build fails
			}
			if strings.Contains(comment, "\nfails") || strings.Contains(comment, "\nstrict:") || strings.Contains(comment, "\nlenient:") {
				return nil
			}
			for _, f := range a.Files {
				if f.Name == "Dockerfile" {
					check(path, []byte(strings.NewReplacer("{{server}}", "http://127.0.0.1:1", "{{tab}}", "\t").Replace(string(f.Data))))
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if seen < 100 {
		t.Errorf("only %d Dockerfiles", seen)
	}
}

func TestIgnores(t *testing.T) {
	for _, c := range []struct {
		name, source string
		cfg          lint.Config
		found        bool
	}{
		{"nothing", "FROM debian\n", lint.Config{}, true},
		{"hadolint", "# hadolint ignore=DL3006\nFROM debian\n", lint.Config{}, false},
		{"several", "# hadolint ignore=DL3007, DL3006\nFROM debian\n", lint.Config{}, false},
		{"another rule", "# hadolint ignore=DL3007\nFROM debian\n", lint.Config{}, true},
		{"another instruction", "FROM debian\n# hadolint ignore=DL3006\nRUN true\n", lint.Config{}, true},
		{"camada with a reason", "# camada ignore=DL3006 it is a mirror\nFROM debian\n", lint.Config{}, false},
		{"the reason names no rules", "# camada ignore=DL3007 see DL3006\nFROM debian\n", lint.Config{}, true},
		{"all", "# camada ignore=all\nFROM debian\n", lint.Config{}, false},
		{"global", "FROM debian\nRUN true\n# hadolint global ignore=DL3006\n", lint.Config{}, false},
		{"check of the file", "# check=skip=DL3006\nFROM debian\n", lint.Config{}, false},
		{"check of the file, all", "# check=skip=all\nFROM debian\n", lint.Config{}, false},
		{"check of an instruction", "ARG A=1\n# check=skip=DL3006\nFROM debian\n", lint.Config{}, false},
		{"comments do not count", "# hadolint ignore=DL3006\nFROM debian\n", lint.Config{NoPragmas: true}, true},
		{"by configuration", "FROM debian\n", lint.Config{Ignored: []string{"DL3006"}}, false},
		{"in a heredoc it is text", "FROM debian\nCOPY <<EOF /x\n# hadolint global ignore=DL3006\nEOF\n", lint.Config{}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			found := false
			for _, f := range look(t, c.source, c.cfg).Findings {
				found = found || f.Code == "DL3006"
			}
			if found != c.found {
				t.Errorf("found is %v", found)
			}
		})
	}
}

// TestPlaces looks at where findings are in files that are hard to count in.
func TestPlaces(t *testing.T) {
	for name, c := range map[string]struct{ source, want string }{
		"carriage returns":  {"FROM debian:12\r\nRUN true && \\\r\n  apt list\r\n", "3:3-3:11"},
		"a mark of order":   {"\xef\xbb\xbfFROM debian:12\nRUN apt list\n", "2:5-2:13"},
		"wide characters":   {"FROM debian:12\nRUN echo 'é€' && apt list\n", "2:18-2:26"},
		"another escape":    {"# escape=`\nFROM debian:12\nRUN true && `\n  # comment\n\n  apt list\n", "6:3-6:11"},
		"a heredoc":         {"FROM debian:12\nRUN <<EOF\necho\napt list\nEOF\n", "4:1-4:9"},
		"a chomped heredoc": {"FROM debian:12\nRUN <<-EOF\n\techo\n\tapt list\n\tEOF\n", "4:2-4:10"},
		"flags before":      {"FROM debian:12\nRUN --network=none \\\n  apt list\n", "3:3-3:11"},
		"a trigger":         {"FROM debian:12\nONBUILD RUN apt list\n", "2:13-2:21"},
		"a list":            {"FROM debian:12\nRUN [\"apt\", \"list\"]\n", "2:1-2:20"},
		"sh -c in a list":   {"FROM debian:12\nRUN [\"sh\", \"-c\", \"apt list\"]\n", "2:1-2:29"},
		"no end of line":    {"FROM debian:12\nRUN apt list", "2:5-2:13"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, f := range look(t, c.source, lint.Config{}).Findings {
				if f.Code != "DL3027" {
					continue
				}
				got := fmt.Sprintf("%d:%d-%d:%d", f.Range.Start.Line, f.Range.Start.Column, f.Range.End.Line, f.Range.End.Column)
				if got != c.want {
					t.Errorf("at %s, want %s", got, c.want)
				}
				return
			}
			t.Error("not found")
		})
	}
}

func TestParseConfig(t *testing.T) {
	cfg, err := lint.ParseConfig([]byte("ignored: [DL3008, {rule: SC2086, reason: none}]\noverride: {error: [DL3007], style: [DL3003]}\nfailure-threshold: warning\ntrustedRegistries: docker.io,ghcr.io\nno-fail: true\n"))
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(cfg.Ignored, cfg.TrustedRegistries) != "[DL3008 SC2086] [docker.io ghcr.io]" || cfg.Severities["DL3007"] != lint.Error || cfg.Threshold != lint.Warning || !cfg.NoFail {
		t.Errorf("%+v", cfg)
	}
	for _, bad := range []string{"- a", "nothing: 1", "ignored: 3", "ignored: [{reason: x}]", "override: {loud: [DL3000]}", "override: [DL3000]", "failure-threshold: 7", "label-schema: {a: b}", "no-fail: 1"} {
		if _, err := lint.ParseConfig([]byte(bad)); err == nil {
			t.Errorf("%s is read", bad)
		}
	}
}

// FuzzCheck looks for files that make the linter fail, or mend a file so that it cannot be built any more.
func FuzzCheck(f *testing.F) {
	files, err := filepath.Glob("testdata/rules/*.txtar")
	if err != nil || len(files) == 0 {
		f.Fatal(err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		_, b, _ = bytes.Cut(b, []byte("-- bad --\n"))
		bad, _, _ := bytes.Cut(b, []byte("-- "))
		f.Add(bad)
	}
	f.Add([]byte("# escape=`\nFROM a\nRUN x `\n\n# c\n<<E\n\nE\n"))
	f.Add([]byte("FROM a\nRUN <<A <<B\n$(`\nA\n\"\nB\n"))
	f.Fuzz(func(t *testing.T, src []byte) {
		r := lint.Check(lint.Input{Name: "Dockerfile", Source: src}, lint.Config{})
		for _, finding := range r.Findings {
			if at := finding.Range; at.Start.Line < 1 || at.Start.Column < 1 || at.End.Line < at.Start.Line {
				t.Errorf("%s is at %+v", finding.Code, at)
			}
		}
		fixed, n := r.Fixed()
		if n == 0 {
			if !bytes.Equal(fixed, src) {
				t.Error("changed without a fix")
			}
			return
		}
		after, err := dockerfile.Parse("Dockerfile", fixed)
		if err != nil {
			t.Fatalf("mended it is not read: %v\n%s\nit was\n%s", err, fixed, src)
		}
		before, err := dockerfile.Parse("Dockerfile", src)
		if err != nil || len(before.Stages) != len(after.Stages) {
			t.Fatalf("mended it has other stages: %v\n%s\nit was\n%s", err, fixed, src)
		}
		for i := range before.Stages {
			if len(before.Stages[i].Commands) != len(after.Stages[i].Commands) {
				t.Fatalf("mended it has other instructions:\n%s\nit was\n%s", fixed, src)
			}
		}
	})
}

// FuzzConfig reads foreign configurations.
func FuzzConfig(f *testing.F) {
	f.Add([]byte("ignored: [DL3008, {rule: SC2086, reason: x}]\noverride: {error: [DL3007]}\nlabel-schema: {a: semver}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		cfg, err := lint.ParseConfig(data)
		if err == nil {
			lint.Check(lint.Input{Name: "Dockerfile", Source: []byte("FROM debian\nLABEL a=b\n")}, cfg)
		}
	})
}

// TestHostile looks at files that are made to take long or go deep: it ends, and with what was promised of the rest.
func TestHostile(t *testing.T) {
	const n = 4000
	for name, source := range map[string]string{
		"parentheses":      "FROM a\nRUN <<E\n" + strings.Repeat(strings.Repeat("(", 3000)+"\n", 30) + "\nE\n",
		"substitutions":    "FROM a\nRUN <<E\necho " + strings.Repeat("$(", 1900) + strings.Repeat(")", 1900) + "\nE\n",
		"ifs":              "FROM a\nRUN <<E\n" + strings.Repeat("if\n", 10_000) + "\nE\n",
		"many calls":       "FROM a\nRUN <<E\n" + strings.Repeat("apt-get update\n", 8000) + "E\n",
		"many runs":        "FROM a\n" + strings.Repeat("RUN apt-get install x; rm y; cd /z\n", n),
		"many variables":   "FROM a\n" + strings.Repeat("ENV A=1 B=$A C=${B}\nRUN echo $A $b\n", n/2),
		"many stages":      strings.Repeat("FROM a AS b\nRUN x | y\n", 900),
		"a tower":          "FROM a AS s0\n" + tower(900),
		"many warnings":    "FROM scratch\n" + strings.Repeat("ENV a $b\n", n),
		"many copies":      "FROM a\n" + strings.Repeat("COPY x.tar.gz y\n", n),
		"many labels":      "FROM scratch\nLABEL " + strings.Repeat("+x=1 ", n/10) + "\n",
		"many pairs":       "FROM scratch\nENV " + strings.Repeat("A=$B B=$A ", n/10) + "\n",
		"many comments":    "FROM a\n" + strings.Repeat("# hadolint ignore=DL3008\n", n) + "RUN x\n",
		"a long line":      "FROM a\nRUN echo " + strings.Repeat("$x", 10_000) + "\n",
		"many empty lines": "FROM a\nRUN a \\\n" + strings.Repeat("\n", n) + "b\n",
	} {
		t.Run(name, func(t *testing.T) {
			r := look(t, source, lint.Config{})
			if len(r.Findings) > 5000 {
				t.Errorf("%d findings", len(r.Findings))
			}
			r.Fixed()
		})
	}
}

func tower(n int) string {
	var b strings.Builder
	for i := 1; i <= n; i++ {
		fmt.Fprintf(&b, "FROM s%d AS s%d\nENV V%d=1\nRUN echo $V1 $w\n", i-1, i, i)
	}
	return b.String()
}
