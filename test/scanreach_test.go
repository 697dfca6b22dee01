package test

import (
	"archive/zip"
	"bytes"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/camada/camada/internal/peers"
)

// TestReachable scans an image that has camada in it, by advisories about functions of which some are linked in: what is certain not to be there can be left out.
func TestReachable(t *testing.T) {
	camada, work := shipped(t), t.TempDir()
	run := scanRunner(t, work)
	const cobra = "github.com/spf13/cobra"
	advisory := func(id, imports string, more ...string) {
		t.Helper()
		text := fmt.Sprintf(`{"id": %q, "modified": "2026-01-02T00:00:00Z"%s, "affected": [{"package": {"ecosystem": "Go", "name": %q}, "ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}, {"fixed": "99.0.0"}]}], "ecosystem_specific": {%s}}]}`,
			id, strings.Join(more, ""), cobra, imports)
		if err := os.WriteFile(filepath.Join(work, "osv", id+".json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"osv", "ctx/bin"} {
		if err := os.MkdirAll(filepath.Join(work, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	advisory("GO-1", `"imports": [{"path": "`+cobra+`", "symbols": ["NoSuch", "Command.ExecuteContext"]}]`)
	advisory("GO-2", `"imports": [{"path": "`+cobra+`", "symbols": ["NoSuch"]}, {"path": "`+cobra+`/nowhere"}]`)
	advisory("GO-3", `"imports": [{"path": "`+cobra+`"}]`)
	advisory("GO-4", `"imports": [{"path": "`+cobra+`", "goos": ["windows"]}]`)
	advisory("GO-5", ``)
	advisory("GHSA-6", ``)
	advisory("GHSA-7", ``, `, "aliases": ["GO-2"]`)
	data, err := os.ReadFile(camada)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(work, "ctx/bin/app"), data, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(work, "ctx/Dockerfile"), []byte("FROM scratch\nCOPY bin /bin\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run(camada, "db", "update", "--progress", "quiet", "--from", "osv")
	run(camada, "build", "-q", "-t", "app", "ctx")
	const want = "GHSA-6 unknown;GHSA-7 no;GO-1 yes;GO-2 no;GO-3 yes;GO-4 no;GO-5 yes;"
	how := []string{"scan", "--partial", "--format", `{{range .Findings}}{{.ID}} {{.Reachable}};{{end}}`}
	for _, c := range []struct{ name, what, want string }{
		{"an image", "app", want}, {"an image that is known", "app", want}, {"a directory", "dir:ctx", want},
	} {
		if got := strings.TrimSpace(string(run(camada, append(how, c.what)...))); got != c.want {
			t.Errorf("%s: got %s\nwant %s", c.name, got, c.want)
		}
	}
	if got := strings.TrimSpace(string(run(camada, append(how, "--reachable", "app")...))); got != "GHSA-6 unknown;GO-1 yes;GO-3 yes;GO-5 yes;" {
		t.Errorf("reachable are %s", got)
	}
	// What was kept of the functions can go at any time.
	kept, err := filepath.Glob(filepath.Join(work, "store/cache/packages/*.functions*"))
	if err != nil || len(kept) != 1 {
		t.Fatalf("kept are %v, %v", kept, err)
	}
	for _, harm := range []func() error{
		func() error { return os.Remove(kept[0]) }, func() error { return os.RemoveAll(filepath.Join(work, "store/cache/scans")) }, func() error { return os.RemoveAll(filepath.Join(work, "store/cache/packages")) },
	} {
		if err := harm(); err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSpace(string(run(camada, append(how, "app")...))); got != want {
			t.Errorf("after it went: %s", got)
		}
	}
	if err := os.Truncate(kept[0], 100); err != nil {
		t.Fatal(err)
	}
	if got := string(run(camada, append(how, "app")...)); strings.Contains(got, " no;") || !strings.Contains(got, "GO-2 unknown") {
		t.Errorf("from a file that is damaged: %s", got)
	}
}

// scanRunner runs a program in a directory, with a store there. Scanners tell of findings by exit codes.
func scanRunner(t *testing.T, work string) func(name string, args ...string) []byte {
	return func(name string, args ...string) []byte {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir, cmd.Env = work, append(os.Environ(), "CAMADA_ROOT="+filepath.Join(work, "store"))
		var said bytes.Buffer
		cmd.Stderr = &said
		out, err := cmd.Output()
		var exit *exec.ExitError
		if err != nil && (!strings.Contains(filepath.Base(name), "osv-scanner") || !errors.As(err, &exit) || exit.ExitCode() != 1) { // 1 tells of findings
			t.Fatalf("%s %v: %v\n%s%s", name, args, err, out, said.String())
		}
		return out
	}
}

// goProgram builds a program of Go that uses old modules; the test is skipped when they cannot be had.
func goProgram(t *testing.T, exe, modules, code string, args ...string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"go.mod": "module example.com/app\n\ngo 1.20\n\nrequire (\n" + modules + ")\n", "main.go": code} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"mod", "tidy"}, append(append([]string{"build", "-o", exe}, args...), ".")} {
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off", "CGO_ENABLED=0", "GOTOOLCHAIN=local")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Skipf("no program with old modules: go %v: %v\n%s", args, err, out)
		}
	}
}

// oldModules have vulnerabilities that are known.
const oldModules = `	github.com/gin-gonic/gin v1.6.3
	golang.org/x/crypto v0.0.0-20210921155107-089bfa567519
	golang.org/x/net v0.0.0-20220127200216-cd36cc0744dd
	golang.org/x/text v0.3.5
	gopkg.in/yaml.v2 v2.2.2
`

const usesModules = `package main

import (
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/gin-gonic/gin"
	"golang.org/x/crypto/ssh"
	"golang.org/x/net/html"
	"golang.org/x/text/language"
	"gopkg.in/yaml.v2"
)

func main() {
	doc, err := html.Parse(strings.NewReader(os.Args[1]))
	fmt.Println(doc, err)
	fmt.Println(language.ParseAcceptLanguage(os.Args[1]))
	var v any
	fmt.Println(yaml.Unmarshal([]byte(os.Args[1]), &v), v)
	_, err = ssh.ParsePrivateKey([]byte(os.Args[1]))
	r := gin.New()
	r.GET("/", func(c *gin.Context) { c.String(http.StatusOK, "x") })
	fmt.Println(err, r.Run())
}
`

// usesFew asks for the same modules, and calls little of them.
const usesFew = `package main

import (
	"fmt"
	"os"

	"golang.org/x/net/html"
	"golang.org/x/text/cases"
	"golang.org/x/text/language"
	"gopkg.in/yaml.v2"
)

func main() {
	fmt.Println(html.EscapeString(os.Args[1]), cases.Title(language.English).String(os.Args[1]))
	out, err := yaml.Marshal(os.Args)
	fmt.Println(string(out), err)
}
`

// TestReachableAsGovulncheck compares which vulnerable functions are in real programs with what govulncheck says of them, on the same advisories. Of programs without symbols govulncheck says only which modules they have.
func TestReachableAsGovulncheck(t *testing.T) {
	dir := advisories(t)
	govulncheck := peers.Built(t, "govulncheck", "golang.org/x/vuln/cmd/govulncheck", "v1.1.4")
	camada, work := shipped(t), t.TempDir()
	run := scanRunner(t, work)
	bin := filepath.Join(work, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	goProgram(t, filepath.Join(bin, "uses"), oldModules, usesModules)
	goProgram(t, filepath.Join(bin, "few"), oldModules, usesFew)
	goProgram(t, filepath.Join(bin, "stripped"), oldModules, usesFew, "-ldflags=-s -w")
	for _, name := range []string{"crane", "oras", "registry", "containerd", "ctr", "runc", "osv-scanner", "buildkitd"} {
		if path, err := exec.LookPath(name); err == nil {
			if err := os.Symlink(path, filepath.Join(bin, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	run(camada, "db", "update", "--progress", "quiet", "--from", filepath.Join(dir, "Go"))
	vulndb := goDatabase(t, filepath.Join(dir, "Go", "all.zip"), filepath.Join(work, "vulndb"))
	entries, err := os.ReadDir(bin)
	if err != nil {
		t.Fatal(err)
	}
	same := 0
	for _, e := range entries {
		path := filepath.Join(bin, e.Name())
		stripped := !hasSymbols(path)
		modules, called := govulncheckFindings(t, run(govulncheck, "-mode=binary", "-format=json", "-db", vulndb, path))
		tree := filepath.Join(work, "tree")
		data, err := os.ReadFile(path)
		if err == nil {
			err = errors.Join(os.RemoveAll(tree), os.Mkdir(tree, 0o755), os.WriteFile(filepath.Join(tree, "app"), data, 0o755))
		}
		if err != nil {
			t.Fatal(err)
		}
		var r struct {
			Findings []struct{ ID, Package, Reachable string }
		}
		if err := json.Unmarshal(run(camada, "scan", "--format", "json", "dir:"+tree), &r); err != nil {
			t.Fatal(err)
		}
		ours := map[string]string{}
		for _, f := range r.Findings {
			if ours[f.ID] != "yes" {
				ours[f.ID] = f.Reachable
			}
			if f.Reachable == "unknown" {
				t.Errorf("%s: nothing is known of %s", e.Name(), f.ID)
			}
		}
		count := map[string]int{}
		for _, id := range slices.Sorted(maps.Keys(modules)) {
			switch got := ours[id]; {
			case got == "":
				t.Errorf("%s: missed %s", e.Name(), id)
			case !stripped && (got == "yes") != called[id]:
				t.Errorf("%s: %s is reachable: %s, govulncheck says %t", e.Name(), id, got, called[id])
			default:
				same++
			}
			count[ours[id]]++
		}
		for id, got := range ours {
			if !modules[id] && got != "no" { // for other systems: govulncheck leaves them out
				t.Errorf("%s: too much: %s %s", e.Name(), id, got)
			}
		}
		t.Logf("%s: %d advisories, vulnerable functions of %d are in it; stripped: %t", e.Name(), len(modules), count["yes"], stripped)
	}
	if same < 50 {
		t.Errorf("only %d were compared", same)
	}
}

func hasSymbols(path string) bool {
	f, err := elf.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	list, err := f.Symbols()
	return err == nil && len(list) > 0
}

// govulncheckFindings are the advisories about modules of a program, and those of which a function is in it.
func govulncheckFindings(t *testing.T, doc []byte) (modules, called map[string]bool) {
	t.Helper()
	modules, called = map[string]bool{}, map[string]bool{}
	for d := json.NewDecoder(bytes.NewReader(doc)); ; {
		var m struct {
			Finding *struct {
				OSV   string
				Trace []struct{ Function string }
			}
		}
		err := d.Decode(&m)
		if errors.Is(err, io.EOF) {
			return modules, called
		}
		if err != nil {
			t.Fatal(err)
		}
		if f := m.Finding; f != nil {
			modules[f.OSV] = true
			if len(f.Trace) > 0 && f.Trace[0].Function != "" {
				called[f.OSV] = true
			}
		}
	}
}

// goDatabase lays advisories out as Go's vulnerability database does (go.dev/doc/security/vuln/database), and returns its URL.
func goDatabase(t *testing.T, export, dir string) string {
	t.Helper()
	z, err := zip.OpenReader(export)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	type of struct {
		ID       string `json:"id"`
		Modified string `json:"modified"`
		Fixed    string `json:"fixed,omitempty"`
	}
	modules := map[string][]of{}
	write := func(name string, v any) {
		t.Helper()
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		r.Close()
		if err != nil {
			t.Fatal(err)
		}
		var rec struct {
			ID, Modified string
			Affected     []struct{ Package struct{ Name string } }
		}
		if err := json.Unmarshal(data, &rec); err != nil {
			t.Fatal(err)
		}
		for _, a := range rec.Affected {
			if list := modules[a.Package.Name]; len(list) == 0 || list[len(list)-1].ID != rec.ID {
				modules[a.Package.Name] = append(list, of{ID: rec.ID, Modified: rec.Modified})
			}
		}
		write("ID/"+rec.ID+".json", json.RawMessage(data))
	}
	type module struct {
		Path  string `json:"path"`
		Vulns []of   `json:"vulns"`
	}
	var list []module
	for _, path := range slices.Sorted(maps.Keys(modules)) {
		list = append(list, module{path, modules[path]})
	}
	write("index/modules.json", list)
	write("index/db.json", map[string]string{"modified": "2026-01-02T00:00:00Z"})
	u := url.URL{Scheme: "file", Path: dir}
	return u.String()
}
