package test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/camada/camada/internal/peers"
	"github.com/camada/camada/vuln"
	"github.com/camada/camada/vuln/version"
)

// scanned is a finding as both scanners tell it.
type scanned struct{ ecosystem, name, version, id, fixed string }

// treeOf writes files below a directory: programs are those that a path names.
func treeOf(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestScanImagesAsOSVScanner scans images as they are made: this machine's Debian as it is and as it was before each repair, one without a shell, applications of npm and Python, and programs of Go. All
// findings are compared with osv-scanner's of the same archive, on the same exports: package, version, advisory, and the version that repairs it. Then osv-scanner reads the bills of the images, and lists
// the packages that it lists of the images themselves.
func TestScanImagesAsOSVScanner(t *testing.T) {
	dir := advisories(t)
	scanner := peers.Built(t, "osv-scanner", "github.com/google/osv-scanner/v2/cmd/osv-scanner", "v2.5.1")
	camada, work := shipped(t), t.TempDir()
	run := scanRunner(t, work)
	if err := os.Mkdir(filepath.Join(work, "peer"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(dir, filepath.Join(work, "peer", "osv-scalibr")); err != nil {
		t.Fatal(err)
	}
	run(camada, "db", "update", "--progress", "quiet", "--from", dir)
	_, npmMissed := languageVersions(t, filepath.Join(dir, "npm", "all.zip"), "npm")
	_, pypiMissed := languageVersions(t, filepath.Join(dir, "PyPI", "all.zip"), "PyPI")
	missed := npmMissed
	maps.Copy(missed, pypiMissed)
	for _, c := range []struct {
		name  string
		least int
		make  func(t *testing.T, root string)
		// base is what is taken out of Debian's archive instead: of its last point release, whose state is fixed, without the repairs since.
		base []string
	}{
		{name: "debian-archive", least: 1, base: []string{"--include", "openssl,curl,git,libxml2,python3-minimal"}},
		{name: "distroless-archive", base: []string{"--variant", "distroless", "--include", "libc6,libssl3,ca-certificates,tzdata"}},
		{name: "debian", make: func(t *testing.T, root string) { thisDebian(t, root, nil) }},
		{name: "debian-old", least: 20, make: func(t *testing.T, root string) {
			thisDebian(t, root, fixesOf(t, filepath.Join(dir, "Debian", "all.zip"), "Debian:12"))
		}},
		{name: "distroless", least: 5, make: func(t *testing.T, root string) { distroless(t, root, dir) }},
		{name: "go", least: 50, make: func(t *testing.T, root string) {
			bin := filepath.Join(root, "usr/bin")
			if err := os.MkdirAll(bin, 0o755); err != nil {
				t.Fatal(err)
			}
			goProgram(t, filepath.Join(bin, "uses"), oldModules, usesModules)
			goProgram(t, filepath.Join(bin, "few"), oldModules, usesFew, "-ldflags=-s -w")
			for _, name := range []string{"crane", "oras", "registry", "containerd", "runc"} {
				if exe, err := exec.LookPath(name); err == nil {
					copyProgram(t, filepath.Join(bin, name), exe)
				}
			}
		}},
		{name: "npm", least: 50, make: func(t *testing.T, root string) { nodeModules(t, root, dir) }},
		{name: "python", least: 200, make: func(t *testing.T, root string) { distPackages(t, root, dir) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.base != nil {
				run(camada, append([]string{"base", "debian", "-q", "--suite", "bookworm", "-t", c.name}, c.base...)...)
			} else {
				ctx := filepath.Join(work, c.name)
				c.make(t, filepath.Join(ctx, "root"))
				treeOf(t, ctx, map[string]string{"Dockerfile": "FROM scratch\nCOPY root /\nCMD [\"x\"]\n"})
				run(camada, "build", "-q", "-t", c.name, ctx)
			}
			run(camada, "save", "--format", "docker-archive", "-o", c.name+".tar", c.name)
			ours := ourScan(t, run(camada, "scan", "--partial", "--format", "json", c.name))
			doc := run(scanner, "scan", "image", "--archive", "--all-packages", "--offline", "--local-db-path", filepath.Join(work, "peer"), "--format", "json", c.name+".tar")
			theirs := theirScan(t, doc)
			for f := range theirs {
				if !ours[f] {
					t.Errorf("missed %+v", f)
				}
			}
			more := 0
			for f := range ours {
				switch {
				case theirs[f]:
				case missed[f.name+" "+f.id]: // a range of commits before that of versions: docs/compatibility.md
					more++
				default:
					t.Errorf("too much: %+v", f)
				}
			}
			if len(theirs) < c.least {
				t.Errorf("only %d findings were compared", len(theirs))
			}
			t.Logf("%d findings are the same, %d more are ours", len(ours)-more, more)
			for format, file := range map[string]string{"cyclonedx": c.name + ".cdx.json", "spdx-json": c.name + ".spdx.json"} {
				run(camada, "sbom", "--format", format, "-o", file, c.name)
				spdx := format != "cyclonedx"
				bill := theirPackages(t, run(scanner, "scan", "source", "--all-packages", "--offline", "--local-db-path", filepath.Join(work, "peer"), "--format", "json", "-L", file), spdx)
				sameSet(t, format, bill, theirPackages(t, doc, spdx))
				if again := ourScan(t, run(camada, "scan", "--partial", "--format", "json", file)); !maps.Equal(again, ours) {
					t.Errorf("%s: camada finds %d in the bill, and %d in the image", format, len(again), len(ours))
				}
			}
		})
	}
}

func copyProgram(t *testing.T, to, from string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o755); err != nil {
		t.Fatal(err)
	}
}

// thisDebian has what is installed here, with the versions of before the first repair of each source package that fixes has.
func thisDebian(t *testing.T, root string, old fixes) {
	t.Helper()
	release, err := os.ReadFile("/etc/os-release")
	if err != nil || !strings.Contains(string(release), "VERSION_ID=\"12\"") {
		t.Skip("this is no Debian 12, for which there are advisories")
	}
	status, err := os.ReadFile("/var/lib/dpkg/status")
	if err != nil {
		t.Skip(err)
	}
	var out strings.Builder
	for entry := range strings.SplitSeq(string(status), "\n\n") {
		lines := strings.Split(entry, "\n")
		name, source := "", -1
		for i, line := range lines {
			key, value, _ := strings.Cut(line, ": ")
			switch key {
			case "Package":
				name = value
			case "Source":
				name, source = value, i
			}
		}
		name, _, _ = strings.Cut(name, " ")
		if versions := old[name]; len(versions) > 0 {
			if source >= 0 {
				lines[source] = "Source: " + name
			}
			for i, line := range lines {
				if strings.HasPrefix(line, "Version: ") {
					lines[i] = "Version: " + before("Debian", versions[0])
				}
			}
		}
		out.WriteString(strings.Join(lines, "\n") + "\n\n")
	}
	treeOf(t, root, map[string]string{"etc/os-release": string(release), "var/lib/dpkg/status": out.String()})
}

// distroless has its packages in files of their own, as the images of that name.
func distroless(t *testing.T, root, dir string) {
	t.Helper()
	files := map[string]string{"etc/os-release": "ID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME=\"Distroless\"\n"}
	all := fixesOf(t, filepath.Join(dir, "Debian", "all.zip"), "Debian:12")
	for i, name := range slices.Sorted(maps.Keys(all)) {
		if i%3 == 0 && name != "linux" {
			files["var/lib/dpkg/status.d/"+name] = fmt.Sprintf("Package: %s\nArchitecture: amd64\nVersion: %s\nDescription: x\n", name, before("Debian", all[name][len(all[name])-1]))
			files["var/lib/dpkg/status.d/"+name+".md5sums"] = "d41d8cd98f00b204e9800998ecf8427e  x\n"
		}
	}
	treeOf(t, root, files)
}

// nodeModules is what npm installs: a directory for each package, and its list of them.
func nodeModules(t *testing.T, root, dir string) {
	t.Helper()
	versions, _ := languageVersions(t, filepath.Join(dir, "npm", "all.zip"), "npm")
	files := map[string]string{"app/package.json": `{"name":"app","version":"1.0.0"}`}
	list := map[string]map[string]string{}
	for i, name := range slices.Sorted(maps.Keys(versions)) {
		v := versions[name][i%len(versions[name])]
		if strings.ToLower(name) != name || strings.Count(v, ".") != 2 {
			continue
		}
		files["app/node_modules/"+name+"/package.json"] = fmt.Sprintf(`{"name":%q,"version":%q}`, name, v)
		list["node_modules/"+name] = map[string]string{"version": v, "resolved": "https://registry.example.com/" + name + ".tgz"}
	}
	lock, err := json.Marshal(map[string]any{"name": "app", "lockfileVersion": 3, "requires": true, "packages": list})
	if err != nil {
		t.Fatal(err)
	}
	files["app/node_modules/.package-lock.json"] = string(lock)
	treeOf(t, root, files)
}

// distPackages is what pip installs.
func distPackages(t *testing.T, root, dir string) {
	t.Helper()
	versions, _ := languageVersions(t, filepath.Join(dir, "PyPI", "all.zip"), "PyPI")
	files := map[string]string{}
	for i, name := range slices.Sorted(maps.Keys(versions)) {
		v := versions[name][i%len(versions[name])]
		files["usr/lib/python3/dist-packages/"+strings.ReplaceAll(name, "-", "_")+"-"+v+".dist-info/METADATA"] = "Metadata-Version: 2.1\nName: " + name + "\nVersion: " + v + "\n"
	}
	treeOf(t, root, files)
}

// keyOf makes a finding comparable: names as the ecosystem compares them.
func keyOf(f scanned) scanned {
	f.name, f.version, f.fixed = vuln.Key(f.ecosystem, f.name), strings.TrimPrefix(f.version, "v"), strings.TrimPrefix(f.fixed, "v")
	return f
}

func ourScan(t *testing.T, doc []byte) map[scanned]bool {
	t.Helper()
	var r struct {
		Findings []struct{ Package, Version, ID, Fixed, Ecosystem string }
	}
	if err := json.Unmarshal(doc, &r); err != nil {
		t.Fatal(err)
	}
	out := map[scanned]bool{}
	for _, f := range r.Findings {
		out[keyOf(scanned{f.Ecosystem, f.Package, f.Version, f.ID, f.Fixed})] = true
	}
	return out
}

// theirPackages are those that osv-scanner reads: ecosystem without a release, name and version. What it cannot tell of an image or of a bill is left out: the image itself, packages of the kernel, and
// packages without a version. Of a bill in SPDX' form it keeps only the last part of a name.
func theirPackages(t *testing.T, doc []byte, lastPart bool) map[scanned]bool {
	t.Helper()
	var r struct {
		Results []struct {
			Packages []struct {
				Package struct {
					Name, Version, Ecosystem string
					OS                       string `json:"os_package_name"`
				}
			}
		}
	}
	if err := json.Unmarshal(doc, &r); err != nil {
		t.Fatal(err)
	}
	out := map[scanned]bool{}
	for _, res := range r.Results {
		for _, p := range res.Packages {
			f := scanned{p.Package.Ecosystem, p.Package.Name, p.Package.Version, "", ""}
			f.ecosystem, _, _ = strings.Cut(f.ecosystem, ":")
			if p.Package.OS != "" {
				f.name = p.Package.OS
			}
			if f.ecosystem == "" || f.version == "" || f.version == "(devel)" || f.ecosystem == "Debian" && strings.HasPrefix(f.name, "linux-") {
				continue
			}
			if f = keyOf(f); lastPart {
				if f.name = path.Base(f.name); f.name == "go" { // which it takes for Go's own library
					f.name = "stdlib"
				}
			}
			out[f] = true
		}
	}
	return out
}

// sameSet fails for what only one of two sets has.
func sameSet(t *testing.T, what string, got, want map[scanned]bool) {
	t.Helper()
	for p := range want {
		if !got[p] {
			t.Errorf("%s lacks %+v", what, p)
		}
	}
	for p := range got {
		if !want[p] {
			t.Errorf("%s has %+v, which the image has not", what, p)
		}
	}
	if len(want) == 0 {
		t.Errorf("%s: nothing was compared", what)
	}
}

// theirAffected is a part of an advisory of OSV's.
type theirAffected struct {
	Package struct{ Ecosystem, Name string }
	Ranges  []struct {
		Type   string
		Events []map[string]string
	}
}

func theirScan(t *testing.T, doc []byte) map[scanned]bool {
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
					Affected []theirAffected
				}
			}
		}
	}
	if err := json.Unmarshal(doc, &r); err != nil {
		t.Fatal(err)
	}
	out := map[scanned]bool{}
	for _, res := range r.Results {
		for _, p := range res.Packages {
			for _, v := range p.Vulnerabilities {
				f := scanned{p.Package.Ecosystem, p.Package.Name, p.Package.Version, v.ID, ""}
				f.fixed = oldestFix(t, v.Affected, f)
				if p.Package.OS != "" {
					f.name = p.Package.OS
				}
				out[keyOf(f)] = true
			}
		}
	}
	return out
}

// oldestFix is the oldest version that repairs: of a range that has the version, or else of any.
func oldestFix(t *testing.T, list []theirAffected, f scanned) string {
	t.Helper()
	compare, ok := version.For(f.ecosystem)
	if !ok {
		t.Fatalf("no order of versions for %s", f.ecosystem)
	}
	within, any := "", ""
	older := func(a *string, v string) {
		if *a == "" || compare(v, *a) < 0 {
			*a = v
		}
	}
	for _, a := range list {
		if a.Package.Ecosystem != f.ecosystem || vuln.Key(f.ecosystem, a.Package.Name) != vuln.Key(f.ecosystem, f.name) {
			continue
		}
		for _, r := range a.Ranges {
			if r.Type == "GIT" {
				continue
			}
			introduced := ""
			for _, e := range r.Events { // in the order of versions, as exports have them
				if v, ok := e["introduced"]; ok {
					introduced = v
				}
				v, ok := e["fixed"]
				if !ok || compare(v, f.version) <= 0 {
					continue
				}
				if older(&any, v); introduced == "0" || introduced != "" && compare(introduced, f.version) <= 0 {
					older(&within, v)
				}
			}
		}
	}
	if within != "" {
		return within
	}
	return any
}
