package test

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/CycloneDX/cyclonedx-go"
	"github.com/santhosh-tekuri/jsonschema/v6"
	spdxjson "github.com/spdx/tools-golang/json"
)

// sbomFormats are the forms of a bill, with the schema of each.
func sbomFormats() map[string]string {
	return map[string]string{
		"spdx-json":  "http://spdx.org/rdf/terms/2.3",
		"spdx3-json": "https://spdx.org/schema/3.0.1/spdx-json-schema.json",
		"cyclonedx":  "http://cyclonedx.org/schema/bom-1.6.schema.json",
	}
}

// schemas compiles the official schemas; testdata/schema/README.md says where they are from.
func schemas(t *testing.T) map[string]*jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	c.UseRegexpEngine(expression)
	for name, url := range map[string]string{
		"spdx-2.3.schema.json": "http://spdx.org/rdf/terms/2.3", "spdx-3.0.1.schema.json": "https://spdx.org/schema/3.0.1/spdx-json-schema.json",
		"bom-1.6.schema.json": "http://cyclonedx.org/schema/bom-1.6.schema.json", "spdx.schema.json": "http://cyclonedx.org/schema/spdx.schema.json",
		"jsf-0.82.schema.json": "http://cyclonedx.org/schema/jsf-0.82.schema.json",
	} {
		data, err := os.ReadFile(filepath.Join("testdata/schema", name))
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
		if err == nil {
			err = c.AddResource(url, doc)
		}
		if err != nil {
			t.Fatal(name, err)
		}
	}
	out := map[string]*jsonschema.Schema{}
	for format, url := range sbomFormats() {
		s, err := c.Compile(url)
		if err != nil {
			t.Fatal(format, err)
		}
		out[format] = s
	}
	return out
}

// expression is a regular expression of a schema. Of what Go's have not, one is needed: SPDX' IRIs, which do not begin as names of nodes do.
func expression(s string) (jsonschema.Regexp, error) {
	rest, not := strings.CutPrefix(s, "^(?!_:)")
	if not {
		rest = "^" + rest
	}
	re, err := regexp.Compile(rest)
	return notNode{re, not}, err
}

type notNode struct {
	*regexp.Regexp
	not bool
}

// MatchString implements jsonschema.Regexp.
func (n notNode) MatchString(s string) bool {
	return !(n.not && strings.HasPrefix(s, "_:")) && n.Regexp.MatchString(s)
}

func validate(t *testing.T, s *jsonschema.Schema, what string, data []byte) {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err == nil {
		err = s.Validate(doc)
	}
	if err != nil {
		t.Errorf("%s: %v\n%.3000s", what, err, data)
	}
}

// output is what a program printed.
func output(t *testing.T, dir, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s%s", name, args, err, out, said.String())
	}
	return out
}

// documents makes an image and a directory with packages of many kinds, some of them with odd names, and returns their bills by what they are of and format.
func documents(t *testing.T) (*looker, map[string]map[string][]byte) {
	t.Helper()
	l := &looker{t, shipped(t), t.TempDir()}
	jar := func() string {
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		w, err := z.Create("META-INF/maven/org.a/b/pom.properties")
		if err == nil {
			_, err = w.Write([]byte("groupId=org.a\nartifactId=b\nversion=1.0\n"))
		}
		if err = errors.Join(err, z.Close()); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	write(t, l.dir, "ctx/Dockerfile", "FROM scratch\nCOPY base /\nCOPY app /srv/\n",
		"ctx/base/etc/os-release", "ID=debian\nVERSION_ID=\"12\"\n",
		"ctx/base/var/lib/dpkg/status", "Package: libstdc++6\nStatus: install ok installed\nArchitecture: amd64\nMaintainer: Debian GCC Maintainers <debian-gcc@lists.debian.org>\nSource: gcc-12 (12.2.0-13)\nVersion: 1:12.2.0-14+b1~x\n\n"+
			"Package: bare\nStatus: install ok installed\nArchitecture: all\nVersion: 1\nMaintainer: \"odd\" (name) & <>\n\n",
		"ctx/base/usr/share/doc/libstdc++6/copyright", "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\nLicense: GPL-3+\n\nFiles: x\nLicense: Apache-2.0\n",
		"ctx/base/usr/share/doc/bare/copyright", "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\nLicense: somebody's own\n",
		"ctx/app/package-lock.json", `{"packages":{"node_modules/@s/käse":{"version":"1.0.0","license":"MIT"},"node_modules/a":{"version":"1.0.0-β.1+x"}}}`,
		"ctx/app/requirements.txt", "Zope.Interface_X==1.0\n", "ctx/app/app.jar", jar(), "ctx/app/bad/Pipfile.lock", "{",
		"empty/file", "nothing",
	)
	if code, said := l.run("build", "-q", "-t", "app", "--sbom", "ctx"); code != 0 {
		t.Fatal(said)
	}
	out := map[string]map[string][]byte{}
	for format := range sbomFormats() {
		out[format] = map[string][]byte{}
		for what, args := range map[string][]string{"the image": {"--fresh", "app"}, "the directory": {"./ctx"}, "nothing": {"./empty"}, "what the build attached": {"app"}} {
			if code, said := l.run(append([]string{"sbom", "-o", "doc.json", "--format", format}, args...)...); code != 0 {
				t.Fatal(said)
			}
			data, err := os.ReadFile(filepath.Join(l.dir, "doc.json"))
			if err != nil {
				t.Fatal(err)
			}
			out[format][what] = data
		}
	}
	return l, out
}

// TestSBOMSchemas checks bills against the schemas that the standards publish.
func TestSBOMSchemas(t *testing.T) {
	all := schemas(t)
	_, docs := documents(t)
	for format, list := range docs {
		for what, data := range list {
			validate(t, all[format], format+" of "+what, data)
		}
	}
	for format, name := range map[string]string{"spdx3-json": "spdx3.json", "cyclonedx": "cyclonedx.json"} {
		data, err := os.ReadFile(filepath.Join("../attest/testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		validate(t, all[format], name, data)
	}
	// The schemas do refuse something.
	for format, list := range docs {
		var doc map[string]any
		if err := json.Unmarshal(list["the image"], &doc); err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"SPDXID", "@context", "bomFormat"} {
			delete(doc, key)
		}
		if all[format].Validate(doc) == nil {
			t.Errorf("%s: a document that lacks what it must have is valid", format)
		}
	}
}

// purlsOf lists what camada itself finds.
func purlsOf(t *testing.T, l *looker, name string) []string {
	t.Helper()
	code, said := l.run("sbom", "--format", "{{.PURL}}", name)
	if code != 0 {
		t.Fatal(said)
	}
	out := slices.DeleteFunc(strings.Split(said, "\n"), func(s string) bool { return !strings.HasPrefix(s, "pkg:") })
	slices.Sort(out)
	return out
}

// TestSBOMReaders has the libraries of the standards' own projects read the bills, and scans them again: all find the same.
func TestSBOMReaders(t *testing.T) {
	l, docs := documents(t)
	want := purlsOf(t, l, "app")
	if len(want) != 6 {
		t.Fatalf("the image has %q", want)
	}
	same := func(who string, got []string) {
		t.Helper()
		got = slices.DeleteFunc(got, func(s string) bool { return s == "" || strings.HasPrefix(s, "pkg:docker/") })
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s reads %q\nwant %q", who, got, want)
		}
	}
	for _, what := range []string{"the image", "what the build attached"} {
		doc, err := spdxjson.Read(bytes.NewReader(docs["spdx-json"][what]))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, p := range doc.Packages {
			for _, r := range p.PackageExternalReferences {
				got = append(got, r.Locator)
			}
		}
		same("SPDX's library, of "+what, got)

		var bom cyclonedx.BOM
		if err := cyclonedx.NewBOMDecoder(bytes.NewReader(docs["cyclonedx"][what]), cyclonedx.BOMFileFormatJSON).Decode(&bom); err != nil {
			t.Fatal(err)
		}
		got = nil
		for _, c := range *bom.Components {
			got = append(got, c.PackageURL)
		}
		same("CycloneDX' library, of "+what, got)
	}

	python, err := exec.LookPath("python3")
	if err != nil || exec.Command(python, "-c", "import spdx_python_model").Run() != nil {
		t.Log("SPDX 3's own library was not asked: no python3 with the module spdx_python_model")
		return
	}
	write(t, l.dir, "doc.spdx3.json", string(docs["spdx3-json"]["the image"]), "read.py", `
import sys
from spdx_python_model import v3_0_1 as spdx
objects = spdx.SHACLObjectSet()
with open(sys.argv[1]) as f:
    spdx.JSONLDDeserializer().read(f, objects)
for p in objects.foreach_type(spdx.software_Package):
    print(p.software_packageUrl or "")
missing = objects.link()
if missing:
    sys.exit("not there: %s" % missing)
`)
	same("SPDX 3's library", strings.Split(string(output(t, l.dir, python, "read.py", "doc.spdx3.json")), "\n"))
}

// listed are the packages of one type that camada finds in a directory: "name version".
func listed(t *testing.T, l *looker, dir string, types ...string) []string {
	t.Helper()
	code, said := l.run("sbom", "--format", "{{.Type}} {{.Name}} {{.Version}}", "dir:"+dir)
	if code != 0 {
		t.Fatal(said)
	}
	set := map[string]bool{}
	for line := range strings.Lines(said) {
		typ, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		if slices.Contains(types, typ) {
			set[rest] = true
		}
	}
	return slices.Sorted(maps.Keys(set))
}

func sameList(t *testing.T, who string, got, want []string) {
	t.Helper()
	slices.Sort(want)
	if want = slices.Compact(want); !slices.Equal(got, want) {
		t.Errorf("%s lists %d packages, and camada %d:\n%q\n%q", who, len(want), len(got), want, got)
	}
	if len(want) == 0 {
		t.Errorf("%s lists nothing", who)
	}
}

// TestSBOMCountsAsManagers compares with what the package managers themselves list.
func TestSBOMCountsAsManagers(t *testing.T) {
	have := func(t *testing.T, program string) string {
		t.Helper()
		path, err := exec.LookPath(program)
		if err != nil {
			t.Skip(err)
		}
		return path
	}
	t.Run("dpkg", func(t *testing.T) {
		query := have(t, "dpkg-query")
		l := &looker{t, shipped(t), t.TempDir()}
		data, err := os.ReadFile("/var/lib/dpkg/status")
		if err != nil {
			t.Skip(err)
		}
		write(t, l.dir, "root/var/lib/dpkg/status", string(data), "root/var/lib/dpkg/info/format", "1\n")
		var want []string
		out := output(t, l.dir, query, "--admindir="+filepath.Join(l.dir, "root/var/lib/dpkg"), "-W", "-f", "${db:Status-Status} ${Package} ${Version}\n")
		for line := range strings.Lines(string(out)) {
			if state, rest, _ := strings.Cut(strings.TrimSpace(line), " "); state != "config-files" && state != "not-installed" {
				want = append(want, rest)
			}
		}
		sameList(t, "dpkg-query", listed(t, l, "root", "deb"), want)
	})
	t.Run("rpm", func(t *testing.T) {
		rpm := have(t, "rpm")
		l := &looker{t, shipped(t), t.TempDir()}
		write(t, l.dir, "root/var/lib/rpm/rpmdb.sqlite", string(ungzipped(t, "../inventory/testdata/rpmdb.sqlite.gz")))
		got := listed(t, l, "root", "rpm")
		out := output(t, l.dir, rpm, "--dbpath", filepath.Join(l.dir, "root/var/lib/rpm"), "-qa", "--qf", "%{NAME} %|EPOCH?{%{EPOCH}:}:{}|%{VERSION}-%{RELEASE}\n")
		sameList(t, "rpm -qa", got, strings.Split(strings.TrimSpace(string(out)), "\n"))
	})
	t.Run("npm", func(t *testing.T) {
		npm := have(t, "npm")
		l := &looker{t, shipped(t), t.TempDir()}
		write(t, l.dir, "a/package.json", `{"name": "@s/a", "version": "1.2.0", "dependencies": {"b": "^2.0.0"}}`,
			"b/package.json", `{"name": "b", "version": "2.0.1"}`, "c/package.json", `{"name": "c", "version": "3.0.0", "license": "MIT"}`,
			"app/package.json", `{"name": "app", "version": "0.0.1"}`)
		for _, dir := range []string{"a", "b", "c"} {
			output(t, filepath.Join(l.dir, dir), npm, "pack", "--silent", "--pack-destination", "..")
		}
		output(t, filepath.Join(l.dir, "app"), npm, "install", "--offline", "--no-audit", "--no-fund", "--silent", "../b-2.0.1.tgz", "../s-a-1.2.0.tgz", "../c-3.0.0.tgz")
		var want []string
		for line := range strings.Lines(string(output(t, filepath.Join(l.dir, "app"), npm, "ls", "--all", "--parseable", "--long"))) {
			f := strings.Split(strings.TrimSpace(line), ":")
			if i := strings.LastIndexByte(f[1], '@'); i > 0 && f[1] != "app@0.0.1" {
				want = append(want, f[1][:i]+" "+f[1][i+1:])
			}
		}
		sameList(t, "npm ls", listed(t, l, "app", "npm"), want) // by the lock and what is installed
		if err := os.Remove(filepath.Join(l.dir, "app/package-lock.json")); err != nil {
			t.Fatal(err)
		}
		sameList(t, "npm ls", listed(t, l, "app", "npm"), want)
	})
	t.Run("go", func(t *testing.T) {
		goes := have(t, "go")
		l := &looker{t, shipped(t), t.TempDir()}
		data, err := os.ReadFile(l.bin)
		if err != nil {
			t.Fatal(err)
		}
		write(t, l.dir, "root/usr/bin/app", string(data))
		if err := os.Chmod(filepath.Join(l.dir, "root/usr/bin/app"), 0o755); err != nil {
			t.Fatal(err)
		}
		var want []string
		for line := range strings.Lines(string(output(t, l.dir, goes, "version", "-m", "root/usr/bin/app"))) {
			f := strings.Fields(line)
			switch {
			case len(f) == 2 && strings.HasPrefix(f[1], "go1"):
				want = append(want, "stdlib "+strings.TrimPrefix(f[1], "go"))
			case len(f) >= 3 && (f[0] == "dep" || f[0] == "mod" && f[2] != "(devel)"):
				want = append(want, f[1]+" "+f[2])
			}
		}
		sameList(t, "go version -m", listed(t, l, "root", "golang"), want)
	})
	t.Run("pip", func(t *testing.T) {
		python := have(t, "python3")
		if exec.Command(python, "-m", "pip", "--version").Run() != nil {
			t.Skip("python3 has no pip")
		}
		l := &looker{t, shipped(t), t.TempDir()}
		for _, name := range []string{"First_One", "second"} {
			var b bytes.Buffer
			z := zip.NewWriter(&b)
			dir := name + "-1.5.dist-info/"
			for file, text := range map[string]string{
				dir + "METADATA": "Metadata-Version: 2.1\nName: " + name + "\nVersion: 1.5\n", dir + "WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
				dir + "RECORD": "", name + ".py": "",
			} {
				w, err := z.Create(file)
				if err == nil {
					_, err = w.Write([]byte(text))
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if err := z.Close(); err != nil {
				t.Fatal(err)
			}
			write(t, l.dir, name+"-1.5-py3-none-any.whl", b.String())
			output(t, l.dir, python, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--target", "root/site", name+"-1.5-py3-none-any.whl")
		}
		var list []struct{ Name, Version string }
		if err := json.Unmarshal(output(t, l.dir, python, "-m", "pip", "list", "--format", "json", "--path", "root/site"), &list); err != nil {
			t.Fatal(err)
		}
		var want []string
		for _, p := range list {
			want = append(want, fmt.Sprintf("%s %s", p.Name, p.Version))
		}
		sameList(t, "pip list", listed(t, l, "root", "pypi"), want)
	})
}

// TestSBOMOfDebian compares what is in an image of the real archive with what its own dpkg lists.
func TestSBOMOfDebian(t *testing.T) {
	if !long() {
		t.Skip("CAMADA_TEST_LONG is not set: this makes a base image of the archive's packages")
	}
	if os.Geteuid() != 0 {
		t.Skip("containers of this image need root")
	}
	c, _ := withPeers(t)
	if _, code := c.try("base", "debian", "--variant", "minbase", "-t", "debian"); code != 0 {
		t.Skip("no Debian archive that this machine's apt knows answers")
	}
	want := strings.Split(c.run("run", "--rm", "--network", "none", "debian", "dpkg-query", "-W", "-f", "${Package} ${Version} ${Architecture}\n"), "\n")
	got := strings.Split(c.run("sbom", "--fresh", "--format", "{{if eq .Type \"deb\"}}{{.Name}} {{.Version}}{{end}}", "debian"), "\n")
	for i, line := range want {
		f := strings.Fields(line)
		want[i] = f[0] + " " + f[1]
	}
	slices.Sort(want)
	got = slices.DeleteFunc(got, func(s string) bool { return s == "" })
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("dpkg-query lists %d packages, and camada %d:\n%q\n%q", len(want), len(got), want, got)
	}
}
