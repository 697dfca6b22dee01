package test

import (
	"archive/zip"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/camada/camada/internal/peers"
	"github.com/camada/camada/vuln"
)

// fixes are, for each source package of an ecosystem, the versions that real advisories call repaired.
type fixes map[string][]string

// advisories finds exports of OSV's: where CAMADA_TEST_ADVISORIES says, or beside the repository.
func advisories(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("CAMADA_TEST_ADVISORIES")
	if dir == "" {
		dir = "../../shared/data/osv"
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "Debian", "all.zip")); err != nil {
		t.Skipf("no real advisories: %v; CAMADA_TEST_ADVISORIES names a directory with exports of OSV", err)
	}
	return dir
}

// fixesOf reads an export.
func fixesOf(t *testing.T, file, ecosystem string) fixes {
	t.Helper()
	z, err := zip.OpenReader(file)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	out := fixes{}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		var rec struct {
			Affected []struct {
				Package struct{ Ecosystem, Name string }
				Ranges  []struct {
					Events []struct{ Fixed string }
				}
			}
		}
		err = json.NewDecoder(r).Decode(&rec)
		r.Close()
		if err != nil {
			t.Fatal(f.Name, err)
		}
		for _, a := range rec.Affected {
			for _, rg := range a.Ranges {
				for _, e := range rg.Events {
					if a.Package.Ecosystem == ecosystem && e.Fixed != "" {
						out[a.Package.Name] = append(out[a.Package.Name], e.Fixed)
					}
				}
			}
		}
	}
	return out
}

// TestScanAsOSVScanner scans images whose packages have versions around those of real advisories, and compares package, version, advisory and what repairs it
// with what osv-scanner says on the same exports.
func TestScanAsOSVScanner(t *testing.T) {
	dir := advisories(t)
	scanner := peers.Built(t, "osv-scanner", "github.com/google/osv-scanner/v2/cmd/osv-scanner", "v2.5.1")
	camada := shipped(t)
	work := t.TempDir()
	run := func(name string, args ...string) []byte {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir, cmd.Env = work, append(os.Environ(), "CAMADA_ROOT="+filepath.Join(work, "store"))
		var said strings.Builder
		cmd.Stderr = &said
		out, err := cmd.Output()
		var exit *exec.ExitError
		if err != nil && (name != scanner || !errors.As(err, &exit) || exit.ExitCode() != 1) { // 1 tells of findings
			t.Fatalf("%s %v: %v\n%s%s", name, args, err, out, said.String())
		}
		return out
	}
	// osv-scanner looks for its exports below a directory of this name.
	if err := os.Mkdir(filepath.Join(work, "peer"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(dir, filepath.Join(work, "peer", "osv-scalibr")); err != nil {
		t.Fatal(err)
	}
	run(camada, "db", "update", "--progress", "quiet", "--from", dir)
	total := 0
	for _, c := range []struct {
		export, ecosystem, release, list string
		entry                            func(name, version string) string
	}{
		{"Debian", "Debian:12", "ID=debian\nVERSION_ID=\"12\"\n", "var/lib/dpkg/status", dpkgEntry},
		{"Debian", "Debian:10", "ID=debian\nVERSION_ID=\"10\"\n", "var/lib/dpkg/status", dpkgEntry},
		{"Alpine", "Alpine:v3.11", "ID=alpine\nVERSION_ID=3.11.2\n", "lib/apk/db/installed", apkEntry},
	} {
		all := fixesOf(t, filepath.Join(dir, c.export, "all.zip"), c.ecosystem)
		for round, change := range []func([]string) string{
			func(v []string) string { return v[len(v)/2] },
			func(v []string) string { return before(c.export, v[0]) },
			func(v []string) string { return before(c.export, v[len(v)-1]) },
		} {
			var list strings.Builder
			for _, name := range slices.Sorted(maps.Keys(all)) {
				if name != "linux" { // neither looks at the kernel
					list.WriteString(c.entry(name, change(all[name])))
				}
			}
			ctx := filepath.Join(work, "ctx")
			for name, text := range map[string]string{"root/etc/os-release": c.release, "root/" + c.list: list.String(), "Dockerfile": "FROM scratch\nCOPY root /\nCMD [\"sh\"]\n"} {
				if err := os.MkdirAll(filepath.Dir(filepath.Join(ctx, name)), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(ctx, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			run(camada, "build", "-q", "-t", "app", ctx)
			run(camada, "save", "--format", "docker-archive", "-o", "app.tar", "app")
			ours := oursOf(t, run(camada, "scan", "--format", "json", "app"))
			theirs := theirsOf(t, run(scanner, "scan", "image", "--archive", "--offline", "--local-db-path", filepath.Join(work, "peer"), "--format", "json", "app.tar"))
			total += len(theirs)
			for f := range theirs {
				if !ours[f] {
					t.Errorf("%s, round %d: missed %s", c.ecosystem, round, f)
				}
			}
			for f := range ours {
				if !theirs[f] {
					t.Errorf("%s, round %d: too much: %s", c.ecosystem, round, f)
				}
			}
			if err := os.RemoveAll(ctx); err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(filepath.Join(work, "app.tar")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if total < 1000 {
		t.Errorf("only %d findings were compared", total)
	}
	t.Logf("%d findings are the same", total)
}

// before makes a version that is a little older.
func before(export, version string) string {
	if export == "Debian" {
		return version + "~1"
	}
	if upstream, _, ok := strings.Cut(version, "-r"); ok {
		return upstream + "_rc1-r9"
	}
	return version
}

// TestScanSBOMAsOSVScanner compares packages of languages, which come from SBOMs. osv-scanner misses what it looks up under another spelling of the name, and
// advisories in which a range of commits stands before that of versions; nothing else may differ.
func TestScanSBOMAsOSVScanner(t *testing.T) {
	dir := advisories(t)
	scanner := peers.Built(t, "osv-scanner", "github.com/google/osv-scanner/v2/cmd/osv-scanner", "v2.5.1")
	camada := shipped(t)
	work := t.TempDir()
	run := func(name string, args ...string) []byte {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir, cmd.Env = work, append(os.Environ(), "CAMADA_ROOT="+filepath.Join(work, "store"))
		out, err := cmd.Output()
		var exit *exec.ExitError
		if err != nil && (name != scanner || !errors.As(err, &exit) || exit.ExitCode() != 1) {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
		return out
	}
	if err := os.Mkdir(filepath.Join(work, "peer"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(dir, filepath.Join(work, "peer", "osv-scalibr")); err != nil {
		t.Fatal(err)
	}
	run(camada, "db", "update", "--progress", "quiet", "--from", dir)
	for _, c := range []struct{ ecosystem, purl, before string }{{"Go", "golang", "v"}, {"PyPI", "pypi", ""}, {"npm", "npm", ""}} {
		versions, missed := languageVersions(t, filepath.Join(dir, c.ecosystem, "all.zip"), c.ecosystem)
		type component struct {
			Type string `json:"type"`
			Name string `json:"name"`
			PURL string `json:"purl"`
		}
		var list []component
		for i, name := range slices.Sorted(maps.Keys(versions)) {
			v := versions[name][i%len(versions[name])]
			parts := strings.Split(name, "/")
			for i := range parts {
				parts[i] = url.PathEscape(parts[i])
			}
			list = append(list, component{"library", name, "pkg:" + c.purl + "/" + strings.ReplaceAll(strings.Join(parts, "/"), "@", "%40") + "@" + url.PathEscape(c.before+v)})
		}
		doc, err := json.Marshal(map[string]any{"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "components": list})
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(work, c.purl+".cdx.json")
		if err := os.WriteFile(file, doc, 0o600); err != nil {
			t.Fatal(err)
		}
		pairs := func(set map[string]bool) map[string]bool { // name, version and advisory
			out := map[string]bool{}
			for line := range set {
				f := strings.SplitN(line, " ", 5)
				out[strings.Join([]string{vuln.Key(c.ecosystem, strings.ToLower(f[1])), strings.TrimPrefix(f[2], "v"), f[3]}, " ")] = true
			}
			return out
		}
		ours := pairs(oursOf(t, run(camada, "scan", "--format", "json", file)))
		theirs := pairs(theirsOf(t, run(scanner, "scan", "source", "--offline", "--local-db-path", filepath.Join(work, "peer"), "--format", "json", "-L", file)))
		for f := range theirs {
			if !ours[f] {
				t.Errorf("%s: missed %s", c.ecosystem, f)
			}
		}
		for f := range ours {
			words := strings.Fields(f)
			if !theirs[f] && !missed[words[0]+" "+words[2]] {
				t.Errorf("%s: too much: %s", c.ecosystem, f)
			}
		}
		if len(theirs) < 200 {
			t.Errorf("%s: only %d findings were compared", c.ecosystem, len(theirs))
		}
		t.Logf("%s: %d findings are the same, %d more are ours", c.ecosystem, len(theirs), len(ours)-len(theirs))
	}
}

// languageVersions are versions of each package that advisories name, and the advisories about it that osv-scanner misses: by name and ID.
func languageVersions(t *testing.T, file, ecosystem string) (versions map[string][]string, missed map[string]bool) {
	t.Helper()
	z, err := zip.OpenReader(file)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	versions, missed = map[string][]string{}, map[string]bool{}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		var rec struct {
			ID       string
			Affected []struct {
				Package struct{ Ecosystem, Name string }
				Ranges  []struct {
					Type   string
					Events []map[string]string
				}
				Versions []string
			}
		}
		err = json.NewDecoder(r).Decode(&rec)
		r.Close()
		if err != nil {
			t.Fatal(f.Name, err)
		}
		for _, a := range rec.Affected {
			name := a.Package.Name
			if a.Package.Ecosystem != ecosystem {
				continue
			}
			versions[name] = append(versions[name], a.Versions[:min(len(a.Versions), 2)]...)
			key := vuln.Key(ecosystem, strings.ToLower(name))
			if key != name || len(a.Ranges) > 1 && a.Ranges[0].Type == "GIT" {
				missed[key+" "+rec.ID] = true
			}
			for _, rg := range a.Ranges {
				for _, e := range rg.Events {
					for _, v := range e {
						if rg.Type != "GIT" && v != "0" {
							versions[name] = append(versions[name], v)
						}
					}
				}
			}
		}
	}
	maps.DeleteFunc(versions, func(_ string, v []string) bool { return len(v) == 0 })
	for name := range versions {
		slices.Sort(versions[name])
	}
	return versions, missed
}

func dpkgEntry(name, version string) string {
	return fmt.Sprintf("Package: %s-bin\nStatus: install ok installed\nArchitecture: amd64\nSource: %s\nVersion: %s\n\n", name, name, version)
}

func apkEntry(name, version string) string {
	return fmt.Sprintf("P:%s-bin\nV:%s\nA:x86_64\no:%s\n\n", name, version, name)
}

func oursOf(t *testing.T, doc []byte) map[string]bool {
	t.Helper()
	var r struct {
		Findings []struct{ Package, Version, ID, Fixed, Ecosystem string }
	}
	if err := json.Unmarshal(doc, &r); err != nil {
		t.Fatal(err)
	}
	out := map[string]bool{}
	for _, f := range r.Findings {
		out[strings.Join([]string{f.Ecosystem, f.Package, f.Version, f.ID, f.Fixed}, " ")] = true
	}
	return out
}

func theirsOf(t *testing.T, doc []byte) map[string]bool {
	t.Helper()
	var r struct {
		Results []struct {
			Packages []struct {
				Package struct {
					Name, Version, Ecosystem string
					OS                       string `json:"os_package_name"`
				}
				Vulnerabilities []struct {
					ID       string
					Affected []struct {
						Package struct{ Ecosystem, Name string }
						Ranges  []struct {
							Events []struct{ Fixed string }
						}
					}
				}
			}
		}
	}
	if err := json.Unmarshal(doc, &r); err != nil {
		t.Fatal(err)
	}
	out := map[string]bool{}
	for _, res := range r.Results {
		for _, p := range res.Packages {
			for _, v := range p.Vulnerabilities {
				fixed := ""
				for _, a := range v.Affected { // the data has one range with one fix for each
					if a.Package.Ecosystem != p.Package.Ecosystem || a.Package.Name != p.Package.Name || len(a.Ranges) == 0 {
						continue
					}
					for _, e := range a.Ranges[0].Events {
						fixed = e.Fixed + fixed
					}
				}
				name := p.Package.OS
				if name == "" {
					name = p.Package.Name
				}
				out[strings.Join([]string{p.Package.Ecosystem, name, p.Package.Version, v.ID, fixed}, " ")] = true
			}
		}
	}
	return out
}
