package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/camada/camada/engine"
	"github.com/camada/camada/errdefs"
	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func newApp(t *testing.T) (*app, *bytes.Buffer, *bytes.Buffer) {
	t.Helper()
	var out, errs bytes.Buffer
	return &app{stdin: os.Stdin, stdout: &out, stderr: &errs, version: "test"}, &out, &errs
}

// walk calls f for each verb that people see.
func walk(cmd *cobra.Command, f func(*cobra.Command)) {
	for _, c := range cmd.Commands() {
		if !c.Hidden && c.Name() != "help" && c.Name() != "completion" {
			f(c)
			walk(c, f)
		}
	}
}

func TestEveryVerbHasAnExample(t *testing.T) {
	a, _, _ := newApp(t)
	n := 0
	walk(a.command(), func(c *cobra.Command) {
		n++
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: Short is %q; want a phrase without a full stop", c.CommandPath(), c.Short)
		}
		if c.Example == "" && !c.HasSubCommands() && c.Args != nil && strings.Contains(c.Use, " ") {
			t.Errorf("%s has no example", c.CommandPath())
		}
		if c.Args == nil {
			t.Errorf("%s does not check its arguments", c.CommandPath())
		}
	})
	if n < 25 {
		t.Errorf("%d verbs, want at least 25", n)
	}
}

// TestFlagsOfTwoNames adds up what is given under either name.
func TestFlagsOfTwoNames(t *testing.T) {
	f := pflag.NewFlagSet("run", pflag.ContinueOnError)
	var o engine.NetOptions
	registerNetwork(f, &o)
	if err := f.Parse(strings.Fields("--net a --network b --dns-option c --dns-opt d --network-alias e --net-alias f")); err != nil {
		t.Fatal(err)
	}
	if got := slices.Concat(o.Networks, o.DNSOptions, o.Aliases); strings.Join(got, "") != "abcdef" {
		t.Errorf("got %v", got)
	}
}

// TestVerbAlone makes the one verb that is called for, and all of them in case of doubt.
func TestVerbAlone(t *testing.T) {
	a, _, _ := newApp(t)
	for line, want := range map[string]string{
		"ps -a": "ps", "--root /x ps": "ps", "--root=/x ps": "ps", "run --rm app ps": "run", "--insecure-registry a --storage-driver native images": "images",
		"network ls": "network", "ls": "", "": "", "--help": "", "-h ps": "", "help ps": "", "--nope ps": "", "nosuch": "", "--root": "", "--root ps": "", "__complete p": "",
	} {
		var got []string
		for _, c := range a.command(strings.Fields(line)...).Commands() {
			got = append(got, c.Name())
		}
		if alone := len(got) == 1; alone != (want != "") || alone && got[0] != want {
			t.Errorf("%q makes %d verbs %.30v; want %q", line, len(got), got, want)
		}
	}
	for _, g := range a.verbs() {
		for _, v := range g.verbs {
			if cmd := v.make(); cmd.Name() != v.name {
				t.Errorf("%s makes %s", v.name, cmd.Name())
			}
		}
	}
}

func TestVerbsThatListOrShowHaveFormat(t *testing.T) {
	a, _, _ := newApp(t)
	var without []string
	walk(a.command(), func(c *cobra.Command) {
		switch c.Name() {
		case "ps", "images", "inspect", "history", "log", "gc", "fsck", "df", "info", "version":
			if c.Flags().Lookup("format") == nil {
				without = append(without, c.Name())
			}
		}
	})
	if len(without) > 0 {
		t.Errorf("no --format: %v", without)
	}
}

func TestUsageErrors(t *testing.T) {
	for _, line := range []string{"run", "build", "run --nope x", "tag one", "images a b", "rollback app x", "nosuchverb", "logs --tail x y"} {
		a, _, errs := newApp(t)
		a.root = t.TempDir()
		cmd := a.command()
		cmd.SetArgs(append(strings.Fields(line), "--root", t.TempDir()))
		if strings.HasPrefix(line, "run") {
			cmd.SetArgs(strings.Fields(line))
		}
		cmd.SetOut(&bytes.Buffer{})
		cmd.SetErr(&bytes.Buffer{})
		err := cmd.ExecuteContext(t.Context())
		if err == nil {
			t.Errorf("%q succeeds", line)
			continue
		}
		code := a.report(cmd, err)
		if code != codeUsage && !(line == "nosuchverb" && code == codeFailed) {
			t.Errorf("%q: exit code %d, want %d", line, code, codeUsage)
		}
		if errs.Len() == 0 {
			t.Errorf("%q says nothing", line)
		}
	}
}

func TestExitCodes(t *testing.T) {
	a, _, _ := newApp(t)
	for want, err := range map[int]error{
		codeFailed:  errdefs.NotFound("x"),
		codeCorrupt: errdefs.Corrupt("x"),
		42:          &exitError{code: 42},
	} {
		if got := a.report(a.command(), err); got != want {
			t.Errorf("%v: exit code %d, want %d", err, got, want)
		}
	}
}

func TestParseBytes(t *testing.T) {
	for in, want := range map[string]int64{"": 0, "64m": 64 << 20, "1g": 1 << 30, "512K": 512 << 10, "1000": 1000, "7b": 7, "1.5g": 3 << 29, "2MiB": 2 << 20, "2gb": 2 << 30} {
		if got, err := parseBytes(in); err != nil || got != want {
			t.Errorf("parseBytes(%q) = %d, %v; want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"x", "-1m", "1mm", "m", "1e30g", "NaN"} {
		if got, err := parseBytes(in); !errdefs.IsInvalid(err) {
			t.Errorf("parseBytes(%q) = %d, %v; want an invalid argument", in, got, err)
		}
	}
}

func TestParseCPUs(t *testing.T) {
	if got, err := parseCPUs("1.5"); err != nil || got != 1_500_000_000 {
		t.Errorf("parseCPUs(1.5) = %d, %v", got, err)
	}
	for _, in := range []string{"0", "-1", "x", "NaN"} {
		if _, err := parseCPUs(in); !errdefs.IsInvalid(err) {
			t.Errorf("parseCPUs(%q): %v", in, err)
		}
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("PASSED", "on")
	file := filepath.Join(t.TempDir(), "env")
	if err := os.WriteFile(file, []byte("# comment\n\n  A=1\nPASSED\nNOT_SET_ANYWHERE\nB=x y=z\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := environment([]string{file}, []string{"C=3", "PASSED"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"A=1", "PASSED=on", "B=x y=z", "C=3", "PASSED=on"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, bad := range []string{"=x", "a b=c"} {
		if _, err := environment(nil, []string{bad}); !errdefs.IsInvalid(err) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if err := os.WriteFile(file, []byte("ok=1\nnot ok=2\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := environment([]string{file}, nil); err == nil || !strings.Contains(err.Error(), "env:2") {
		t.Errorf("a bad line: %v; want file and line", err)
	}
}

func TestKeyValues(t *testing.T) {
	lookup := func(k string) (string, bool) { return "from env", k == "B" }
	got, err := keyValues("--build-arg", []string{"A=1", "B", "C", "D="}, lookup)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"A": "1", "B": "from env", "D": ""}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := keyValues("--build-arg", []string{"=1"}, lookup); !errdefs.IsInvalid(err) {
		t.Errorf("no name: %v", err)
	}
}

func TestReplaceFileIsWholeOrNotAtAll(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "iid")
	for _, text := range []string{"one", "two"} {
		if err := replaceFile(name, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if b, _ := os.ReadFile(name); string(b) != text {
			t.Errorf("%q, want %q", b, text)
		}
	}
	entries, _ := os.ReadDir(dir)
	if len(entries) != 1 {
		t.Errorf("files are left: %v", entries)
	}
	if err := replaceFile(filepath.Join(dir, "no", "iid"), nil); err == nil {
		t.Error("a missing directory is no error")
	}
}

func TestFilesOfOutput(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "out.tar")
	f, finish, err := createFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("half"); err != nil {
		t.Fatal(err)
	}
	if err := finish(errdefs.Corrupt("broken")); !errdefs.IsCorrupt(err) {
		t.Errorf("finish = %v", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("a failed save leaves %v", slices.Collect(func(yield func(string) bool) {
			for _, e := range entries {
				if !yield(e.Name()) {
					return
				}
			}
		}))
	}
}
