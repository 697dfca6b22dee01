package language

import (
	"archive/zip"
	"bytes"
	"compress/zlib"
	"context"
	"debug/elf"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/inventory"
)

// told is what a test compares: PURLs, with the licence behind them.
func told(pkgs []inventory.Package) []string {
	out := []string{}
	for _, p := range pkgs {
		s := p.PURL
		if p.License != "" {
			s += " " + p.License
		}
		out = append(out, s)
	}
	return out
}

// The lock files that npm, Yarn and pnpm themselves wrote for one project; npm ls, for one, lists these five.
func TestNodeLocks(t *testing.T) {
	want := []string{"pkg:npm/%40types/ms@0.7.34", "pkg:npm/debug@4.3.4", "pkg:npm/isarray@2.0.5", "pkg:npm/left-pad@1.3.0", "pkg:npm/ms@2.1.2"}
	for _, name := range []string{"v1/package-lock.json", "v3/package-lock.json", "yarn1/yarn.lock", "berry/yarn.lock", "pnpm6/pnpm-lock.yaml", "pnpm9/pnpm-lock.yaml"} {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		pkgs, err := Parse("srv/app/"+name, data)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, p := range pkgs {
			got = append(got, p.PURL)
			if p.Found != "srv/app/"+name || p.Source != p.Name || p.SourceVersion != p.Version {
				t.Errorf("%s: %+v", name, p)
			}
			if license := map[bool]string{true: "MIT", false: "WTFPL"}[p.Name != "left-pad"]; strings.HasPrefix(name, "v3/") && p.License != license {
				t.Errorf("%s: %+v", name, p)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q\nwant %q", name, got, want)
		}
	}
}

func TestFiles(t *testing.T) {
	for _, tc := range []struct {
		name, data string
		want       []string
	}{
		{"app/node_modules/@a/b/package.json", `{"name":"@a/b","version":"1.0.0","license":{"type":"ISC"}}`, []string{"pkg:npm/%40a/b@1.0.0 ISC"}},
		{"node_modules/c/package.json", "\ufeff" + `{"name":"c","version":"2.0.0","licenses":[{"type":"MIT"},{"type":"Apache-2.0"}]}`, []string{"pkg:npm/c@2.0.0 MIT OR Apache-2.0"}},
		{"node_modules/d/package.json", `{"name":"d","private":true,"license":7}`, []string{}},
		{"npm-shrinkwrap.json", `{"dependencies":{"a":{"version":"1.0.0","dependencies":{"b":{"version":"2.0.0"}}},"g":{"version":"git+https://example.com/g.git#1234"}}}`,
			[]string{"pkg:npm/a@1.0.0", "pkg:npm/b@2.0.0"}},
		{"package-lock.json", `{"packages":{"":{"version":"1.0.0"},"lib":{"version":"1.0.0"},"node_modules/lib":{"link":true,"resolved":"lib"},"lib/node_modules/x":{"version":"1.2.3"},"node_modules/y/node_modules/x":{"version":"1.2.3"}}}`,
			[]string{"pkg:npm/x@1.2.3"}},
		{"pnpm-lock.yaml", "lockfileVersion: 5.4\npackages:\n\n  /@a/b/1.0.0_react@17.0.2:\n    resolution: {integrity: x}\n    dev: true\n  /c/2.0.0: {}\n  file:../d:\n    version: 1.0.0\nother:\n  /e/1.0.0:\n",
			[]string{"pkg:npm/%40a/b@1.0.0", "pkg:npm/c@2.0.0"}},
		{"pnpm-lock.yaml", "packages:\n  '@a/b@1.0.0(react@17.0.2)(x@1.0.0)':\n    dev: true\n", []string{"pkg:npm/%40a/b@1.0.0"}},
		{"yarn.lock", "\"@a/b@^1\", \"@a/b@^2\":\n  version \"2.1.0\"\n  dependencies:\n    version \"9\"\n\"l@link:../l\":\n  version \"0.0.0\"\n", []string{"pkg:npm/%40a/b@2.1.0"}},
		{"usr/lib/python3/dist-packages/Jinja2-3.1.dist-info/METADATA", "Metadata-Version: 2.4\nName: Zope.Interface_X\nVersion: 3.1+x\nLicense: BSD\n and more\nLicense-Expression: BSD-3-Clause\n\nName: no\nVersion: 9\n",
			[]string{"pkg:pypi/zope.interface-x@3.1%2Bx BSD-3-Clause"}},
		{"lib/a.egg-info/PKG-INFO", "Name: a\nVersion: 1\nLicense: UNKNOWN\n", []string{"pkg:pypi/a@1"}},
		{"lib/a-1.egg-info", "Name: a\nVersion: 1\nLicense: PSF\n", []string{"pkg:pypi/a@1 PSF"}},
		{"requirements-dev.txt", "# c\n-r other.txt\nA==1.0 \\\n    --hash=sha256:11==\nb[x,y] == 2.0 ; python_version < '3' # c\nc>=1\nd==1.*\ne===1.0\nf==1,<2\nhttps://example.com/g==1.whl\n-c h==1\ni @ file:///i==1\n",
			[]string{"pkg:pypi/a@1.0", "pkg:pypi/b@2.0", "pkg:pypi/e@1.0"}},
		{"Pipfile.lock", `{"_meta":{},"default":{"a":{"version":"==1.0"},"b":{"git":"x"}},"develop":{"c":{"version":"==2"}}}`, []string{"pkg:pypi/a@1.0", "pkg:pypi/c@2"}},
		{"poetry.lock", "# generated\n[[package]]\nname = \"a\"\nversion = \"1.0\"\nfiles = [\n    {file = \"a.whl\", hash = \"sha256:1\"},\n]\n\n[package.dependencies]\nname = \">=1\"\nversion = \"9\"\n\n[[package]]\nname = \"b\"\nversion = \"2\"\n\n[metadata]\nname = \"no\"\nversion = \"1\"\n",
			[]string{"pkg:pypi/a@1.0", "pkg:pypi/b@2"}},
		{"uv.lock", "version = 1\n\n[[package]]\nname = \"app\"\nversion = \"0.1.0\"\nsource = { virtual = \".\" }\n\n[[package]]\nname = \"b\"\nversion = \"2\"\nsource = { registry = \"https://example.com/simple\" }\n",
			[]string{"pkg:pypi/b@2"}},
		{"Cargo.lock", "version = 3\n\n[[package]]\nname = \"itoa\"\nversion = \"1.0.1\"\nsource = \"registry+https://example.com/index\"\ndependencies = [\n \"x\",\n]\n\n[[package]]\nname = \"ryu\"\nversion = \"1.0.2\"\n",
			[]string{"pkg:cargo/itoa@1.0.1", "pkg:cargo/ryu@1.0.2"}},
		{"Gemfile.lock", "GIT\n  remote: https://example.com/g.git\n  revision: 1\n  specs:\n    g (0.1)\n\nGEM\n  remote: https://example.com/\n  specs:\n    nokogiri (1.15.0-x86_64-linux)\n      racc (~> 1.4)\n    racc (1.7.1)\n\nPLATFORMS\n  ruby\n\nDEPENDENCIES\n  racc (= 1.7.1)\n",
			[]string{"pkg:gem/g@0.1", "pkg:gem/nokogiri@1.15.0", "pkg:gem/racc@1.7.1"}},
		{"usr/lib/ruby/gems/3.1.0/specifications/default/rake-13.gemspec", "# stub: rake 13.0.6 ruby lib\nGem::Specification.new do |s|\n  s.name = \"rake\".freeze\n  s.version = \"13.0.6\"\n  s.licenses = [\"MIT\".freeze, \"Ruby\".freeze]\n  s.add_dependency(%q<x>)\n  s.version = \"9\"\nend\n",
			[]string{"pkg:gem/rake@13.0.6 MIT OR Ruby"}},
		{"composer.lock", `{"packages":[{"name":"Monolog/monolog","version":"2.0.0","license":["MIT"]}],"packages-dev":[{"name":"a/b","version":"v1.0"}]}`,
			[]string{"pkg:composer/monolog/monolog@2.0.0 MIT", "pkg:composer/a/b@v1.0"}},
		{"srv/vendor/composer/installed.json", ` [{"name":"a/b","version":"1.0"}]`, []string{"pkg:composer/a/b@1.0"}},
		{"packages.lock.json", `{"version":1,"dependencies":{"net6.0":{"A.B":{"type":"Direct","resolved":"1.0.0"},"p":{"type":"Project"}},"net8.0":{"A.B":{"resolved":"1.0.0"}}}}`, []string{"pkg:nuget/A.B@1.0.0"}},
		{"app/app.deps.json", `{"libraries":{"app/1.0.0":{"type":"project"},"A.B/2.0.0":{"type":"package"}}}`, []string{"pkg:nuget/A.B@2.0.0"}},
		{"gradle.lockfile", "# c\norg.a:b:1.0=compileClasspath\nempty=annotationProcessor\n", []string{"pkg:maven/org.a/b@1.0"}},
	} {
		if !Wanted(tc.name, 0o644, 10) {
			t.Errorf("%s is not wanted", tc.name)
			continue
		}
		pkgs, err := Parse(tc.name, []byte(tc.data))
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
		}
		if got := told(pkgs); !slices.Equal(got, tc.want) {
			t.Errorf("%s: got %q\nwant %q", tc.name, got, tc.want)
		}
	}
	for _, name := range []string{"package.json", "node_modules/a/lib/package.json", "node_modules/.package-lock.json", "a/METADATA", "a.gemspec", "installed.json", "bin/sh"} {
		if Wanted(name, 0o644, 1<<20) {
			t.Errorf("%s is wanted", name)
		}
	}
	if !Wanted("bin/app", 0o755, 1<<20) || Wanted("bin/app", 0o755, 100) {
		t.Error("programs are wanted by mode and size")
	}
}

// Programs of Go's: the go command, which is linked without sections here and there, and this test. They have what "go version -m" lists.
func TestGoProgram(t *testing.T) {
	tool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("no go here: ", err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	root, err := exec.Command(tool, "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{exe, filepath.Join(strings.TrimSpace(string(root)), "bin", "go")} {
		out, err := exec.Command(tool, "version", "-m", name).Output()
		if err != nil {
			t.Fatal(err)
		}
		want := []string{}
		for line := range strings.Lines(string(out)) {
			f := strings.Fields(line)
			switch {
			case len(f) >= 2 && strings.HasPrefix(f[1], "go1"):
				want = append(want, "stdlib "+strings.TrimPrefix(f[1], "go"))
			case len(f) >= 3 && (f[0] == "dep" || f[0] == "mod" && f[2] != "(devel)"):
				want = append(want, f[1]+" "+f[2])
			}
		}
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		// Without its sections it is the same program.
		stripped := slices.Clone(data)
		clear(stripped[40:48])
		clear(stripped[60:64])
		for _, b := range [][]byte{data, stripped} {
			pkgs, err := Parse("usr/bin/app", b)
			if err != nil {
				t.Fatal(err)
			}
			got := []string{}
			for _, p := range pkgs {
				got = append(got, p.Name+" "+p.Version)
			}
			if !slices.Equal(got, want) || len(got) == 0 {
				t.Errorf("%s: got %q\nwant %q", name, got, want)
			}
			if pkgs[0].PURL != "pkg:golang/stdlib@"+pkgs[0].Version || pkgs[0].License != "BSD-3-Clause" {
				t.Errorf("got %+v", pkgs[0])
			}
		}
	}
}

// What the linker wrote before Go 1.18: pointers to texts, of both orders and widths.
func TestOldGoProgram(t *testing.T) {
	text := strings.Repeat("x", 16) + "path\tapp\nmod\tapp\t(devel)\t\ndep\texample.com/Old/m\tv1.2.3\th1:x\n=>\texample.com/new/m\tv1.3.0\th1:y\n" + strings.Repeat("y", 16)
	const base, at = 0x10000, 0x100
	var b bytes.Buffer
	h := elf.Header64{Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_PPC64), Version: 1, Phoff: 64, Phentsize: 56, Phnum: 1, Ehsize: 64}
	copy(h.Ident[:], "\x7fELF\x02\x02\x01")
	_ = binary.Write(&b, binary.BigEndian, h)
	_ = binary.Write(&b, binary.BigEndian, elf.Prog64{Type: uint32(elf.PT_LOAD), Vaddr: base, Filesz: 0x1000, Memsz: 0x1000})
	out := append(b.Bytes(), make([]byte, 0x1000-b.Len())...)
	copy(out[at:], "\xff Go buildinf:\x08\x01")
	for i, v := range []uint64{base + 0x200, base + 0x210} {
		binary.BigEndian.PutUint64(out[at+16+8*i:], v)
	}
	for i, v := range []uint64{base + 0x300, 8, base + 0x400, uint64(len(text))} {
		binary.BigEndian.PutUint64(out[0x200+8*i:], v)
	}
	copy(out[0x300:], "go1.15.3")
	copy(out[0x400:], text)
	pkgs, err := Parse("usr/bin/app", out)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := told(pkgs), []string{"pkg:golang/stdlib@1.15.3 BSD-3-Clause", "pkg:golang/example.com/new/m@v1.3.0"}; !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	binary.BigEndian.PutUint64(out[0x218:], 1<<40)
	if pkgs, err := Parse("usr/bin/app", out); err != nil || len(pkgs) != 1 {
		t.Errorf("a text that goes on behind the end: %v, %v", pkgs, err)
	}
}

// programWith makes an ELF file with one section of its own, as cargo auditable does.
func programWith(section string, content []byte) []byte {
	names := "\x00" + section + "\x00.shstrtab\x00"
	head := 64
	at := head + len(content) + len(names)
	var b bytes.Buffer
	h := elf.Header64{Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: 1, Shoff: uint64(at), Ehsize: 64, Shentsize: 64, Shnum: 3, Shstrndx: 2}
	copy(h.Ident[:], "\x7fELF\x02\x01\x01")
	for _, v := range []any{h, content, []byte(names), elf.Section64{},
		elf.Section64{Name: 1, Type: uint32(elf.SHT_PROGBITS), Off: uint64(head), Size: uint64(len(content))},
		elf.Section64{Name: uint32(len(section) + 2), Type: uint32(elf.SHT_STRTAB), Off: uint64(head + len(content)), Size: uint64(len(names))},
	} {
		_ = binary.Write(&b, binary.LittleEndian, v)
	}
	return b.Bytes()
}

func zlibbed(s string) []byte {
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	_, _ = w.Write([]byte(s))
	_ = w.Close()
	return b.Bytes()
}

func TestRustProgram(t *testing.T) {
	audit := `{"packages":[{"name":"app","version":"0.1.0","source":"local","root":true},{"name":"itoa","version":"1.0.1","source":"crates.io"},{"name":"cc","version":"1.0.0","kind":"build"}]}`
	pkgs, err := Parse("usr/bin/app", programWith(".dep-v0", zlibbed(audit)))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := told(pkgs), []string{"pkg:cargo/app@0.1.0", "pkg:cargo/itoa@1.0.1"}; !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if pkgs, err := Parse("usr/bin/other", programWith(".text", []byte("x"))); err != nil || len(pkgs) != 0 {
		t.Errorf("a program of another language: %v, %v", pkgs, err)
	}
	if _, err := Parse("usr/bin/bad", programWith(".dep-v0", []byte("no zlib"))); !errdefs.IsInvalid(err) {
		t.Errorf("a damaged list: %v", err)
	}
	if _, err := Parse("usr/bin/bomb", programWith(".dep-v0", zlibbed(strings.Repeat(" ", maxAudit+1)))); !errdefs.IsLimit(err) {
		t.Errorf("a list that grows: %v", err)
	}
}

// zipped makes a jar of names and contents.
func zipped(t testing.TB, files ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		f, err := w.Create(files[i])
		if err == nil {
			_, err = f.Write([]byte(files[i+1]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestJars(t *testing.T) {
	log4j := zipped(t, "META-INF/MANIFEST.MF", "Implementation-Vendor-Id: other\n", "META-INF/maven/org.apache/log4j/pom.properties", "#c\nversion=2.14.1\ngroupId=org.apache\nartifactId=log4j\n")
	bundle := zipped(t, "META-INF/MANIFEST.MF", "Manifest-Version: 1.0\r\nBundle-SymbolicName: org.example.a-ver\r\n y-long;singleton:=true\r\nBundle-Version: 9\r\n\r\nName: x\r\nBundle-Version: 8\r\n")
	bare := zipped(t, "a.class", "x")
	war := zipped(t, "WEB-INF/lib/log4j.jar", string(log4j), "WEB-INF/lib/a-very-long-1.2.jar", string(bundle), "BOOT-INF/lib/bare-1.0.jar", string(bare), "again/log4j.jar", string(log4j),
		"META-INF/MANIFEST.MF", "Implementation-Vendor-Id: org.app\nImplementation-Version: 3\n")
	pkgs, err := Parse("srv/app.war", war)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"pkg:maven/org.apache/log4j@2.14.1", "pkg:maven/org.example/a-very-long@1.2", "pkg:maven/org.app/app@3"}
	if got := told(pkgs); !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if pkgs[0].Name != "org.apache:log4j" {
		t.Errorf("got %+v", pkgs[0])
	}

	deep := bare
	for range maxJarDepth {
		deep = zipped(t, "in.jar", string(deep))
	}
	if _, err := Parse("deep.jar", deep); !errdefs.IsLimit(err) {
		t.Errorf("archives in archives: %v", err)
	}
	if _, err := Parse("many.jar", append([]byte("x"), bytes.Repeat([]byte("PK\x01\x02"), maxJarEntries+1)...)); !errdefs.IsLimit(err) {
		t.Errorf("many files: %v", err)
	}
	if _, err := Parse("no.jar", []byte("x")); !errdefs.IsInvalid(err) {
		t.Errorf("no archive: %v", err)
	}
	j := &jars{found: &found{name: "x.jar", seen: map[string]bool{}}, bytes: maxJarBytes - 5}
	if err := j.read("x.jar", log4j, 1); !errdefs.IsLimit(err) {
		t.Errorf("much in all: %v", err)
	}
}

func TestHostile(t *testing.T) {
	for _, tc := range []struct {
		name, data string
		class      func(error) bool
	}{
		{"package-lock.json", "{", errdefs.IsInvalid},
		{"package-lock.json", strings.Repeat(`{"dependencies":{"a":`, 20000), errdefs.IsInvalid},
		{"node_modules/a/package.json", `{"name":"a\u001b[2J","version":"1"}`, errdefs.IsInvalid},
		{"node_modules/a/package.json", `{"name":"` + strings.Repeat("a", 2000) + `","version":"1"}`, errdefs.IsInvalid},
		{"yarn.lock", strings.Repeat("a", 2<<20), errdefs.IsInvalid},
		{"gradle.lockfile", "a:b=c", errdefs.IsInvalid},
	} {
		if _, err := Parse(tc.name, []byte(tc.data)); !tc.class(err) || !strings.Contains(err.Error(), tc.name) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	if _, err := ParseFrom("yarn.lock", strings.NewReader(""), maxText+1, false); !errdefs.IsLimit(err) {
		t.Errorf("a large lock: %v", err)
	}
	if _, err := ParseFrom("bin/x", strings.NewReader("\x7fELF"), MaxFile+1, false); !errdefs.IsLimit(err) {
		t.Errorf("a large program: %v", err)
	}
	if file, err := ParseFrom("bin/x", strings.NewReader("#!/bin/sh"), MaxFile+1, false); err != nil || file.Packages != nil {
		t.Errorf("a large script: %v", err)
	}
}

func TestReadTree(t *testing.T) {
	pkgs, unread, err := ReadTree(context.Background(), fstest.MapFS{
		"app/Cargo.lock":                {Data: []byte("[[package]]\nname = \"a\"\nversion = \"1\"\n"), Mode: 0o644},
		"app/link/Cargo.lock":           {Data: []byte("../Cargo.lock"), Mode: os.ModeSymlink | 0o777},
		"b/node_modules/b/package.json": {Data: []byte("{"), Mode: 0o644},
		"bin/tool":                      {Data: append(programWith(".dep-v0", zlibbed(`{"packages":[{"name":"c","version":"2"}]}`)), make([]byte, minProgram)...), Mode: 0o755},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := told(pkgs), []string{"pkg:cargo/a@1", "pkg:cargo/c@2"}; !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if !reflect.DeepEqual(unread, []string{"b/node_modules/b/package.json"}) {
		t.Errorf("unread: %q", unread)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := ReadTree(ctx, fstest.MapFS{"a": {}}); err == nil {
		t.Error("it goes on when it is cancelled")
	}
}

func FuzzParse(f *testing.F) {
	names := []string{"package-lock.json", "node_modules/a/package.json", "yarn.lock", "pnpm-lock.yaml", "a.dist-info/METADATA", "requirements.txt", "Pipfile.lock", "uv.lock", "Cargo.lock", "Gemfile.lock",
		"specifications/a.gemspec", "composer.lock", "packages.lock.json", "a.deps.json", "gradle.lockfile", "a.jar", "bin/a"}
	seed := func(kind byte, data string) { f.Add(kind, []byte(data)) }
	seed(0, `{"packages":{"node_modules/a":{"version":"1"}},"dependencies":{"b":{"version":"npm:c@1"}}}`)
	seed(1, `{"name":"a","version":"1","licenses":[{"type":"MIT"},"X"]}`)
	seed(2, "\"@a/b@npm:^1, c@2\":\n  version: 1\n@:\n  version \"2\"\n\"\"\n  version 1")
	seed(3, "packages:\n  '@a/b@1(c@2)': {}\n  /d/1_x:\n  :\n  /:\n")
	seed(4, "Name: a\nVersion: 1\n x\n:\n\n")
	seed(5, "a[b]==1 \\\n==\n-e x==1\n")
	seed(6, `{"default":{"a":{"version":"==1"}}}`)
	seed(7, "[[package]]\nname = \"a\"\nversion = \"1\"\n[package.x]\n[\n[]\n")
	seed(9, "GEM\n  specs:\n    a (1-x)\n    b (\n    \n")
	seed(10, "  s.name = \"a\".freeze\n  s.version = '1'\n  s.licenses = [\"M\", \n s. = \"")
	seed(11, `{"packages":[{"name":"a/b","version":"1","license":"MIT"}]}`)
	seed(12, `{"dependencies":{"x":{"A":{"resolved":"1"}}}}`)
	seed(13, `{"libraries":{"A/1":{"type":"package"}}}`)
	seed(14, "a:b:1=c\n")
	f.Add(byte(15), zipped(f, "in.jar", string(zipped(f, "META-INF/maven/a/b/pom.properties", "groupId=a\nartifactId=b\nversion=1")), "META-INF/MANIFEST.MF", "Implementation-Vendor-Id: a\n b"))
	f.Add(byte(16), programWith(".dep-v0", zlibbed(`{"packages":[{"name":"a","version":"1"}]}`)))
	f.Add(byte(16), programWith(".go.buildinfo", []byte("\xff Go buildinf:\x08\x02\x05go1.2\x03x\ndep\ta\tv1\t")))
	f.Fuzz(func(t *testing.T, kind byte, data []byte) {
		pkgs, err := Parse(names[int(kind)%len(names)], data)
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, p := range pkgs {
			if p.Name == "" || p.Version == "" || !strings.HasPrefix(p.PURL, "pkg:"+p.Type+"/") || strings.ContainsAny(p.PURL+p.Name+p.License, "\n\x1b\"") && strings.ContainsAny(p.PURL, " \n\"") {
				t.Errorf("a bad package: %+v", p)
			}
			if seen[p.Name+"\x00"+p.Version] {
				t.Errorf("%s %s is there twice", p.Name, p.Version)
			}
			seen[p.Name+"\x00"+p.Version] = true
		}
	})
}
