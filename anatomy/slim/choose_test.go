package slim_test

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/camada/camada/anatomy/slim"
	"github.com/camada/camada/container/trace"
	"github.com/camada/camada/errdefs"
	"github.com/google/go-cmp/cmp"
)

// tree makes files in a directory: a name that ends with / is a directory, a text that begins with -> a link, with => a hard link.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	names := make([]string, 0, len(files))
	for n := range files {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, late := range []bool{false, true} { // hard links last
		for _, n := range names {
			text, at := files[n], filepath.Join(dir, n)
			if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
				t.Fatal(err)
			}
			to, link := strings.CutPrefix(text, "->")
			first, hard := strings.CutPrefix(text, "=>")
			if hard != late {
				continue
			}
			var err error
			switch {
			case strings.HasSuffix(n, "/"):
				err = os.MkdirAll(at, 0o755)
			case link:
				err = os.Symlink(to, at)
			case hard:
				err = os.Link(filepath.Join(dir, first), at)
			default:
				err = os.WriteFile(at, []byte(text), 0o755)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

// chosen returns the entries of the layer that is made of the uses, in order: names, directories with a slash, and links with their targets.
func chosen(t *testing.T, dir string, used []slim.Used, o slim.Options) ([]string, *slim.Selection, map[string]string) {
	t.Helper()
	tr, err := slim.ReadTree(t.Context(), dir, slim.TreeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	sel, err := tr.Choose(t.Context(), used, o)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := sel.Write(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	var names []string
	texts := map[string]string{}
	for r := tar.NewReader(&b); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return names, sel, texts
		}
		if err != nil {
			t.Fatal(err)
		}
		name := h.Name
		if h.Linkname != "" {
			name += " -> " + h.Linkname
		}
		names = append(names, name)
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		texts[h.Name] = string(text)
	}
}

func opened(paths ...string) []slim.Used {
	var out []slim.Used
	for _, p := range paths {
		out = append(out, slim.Used{Path: p, How: trace.Open})
	}
	return out
}

func TestChoose(t *testing.T) {
	files := map[string]string{
		"srv/a": "a", "srv/b": "b", "srv/same": "=>srv/a", "srv/other": "o", "data": "->srv", "srv/deep/x/y": "y", "srv/deep/x/z": "z",
		"loop": "->loop", "up": "->../../srv/a", "gone": "->nowhere/x", "srv/rel": "->deep/../b", "script": "#!/bin/run -x\n", "bin/run": "r", "envscript": "#!/usr/bin/env -S A=1 tool\n",
		"usr/bin/env": "e", "opt/bin/tool": "t", "plain": "#!/bin/none\n", "empty/": "",
	}
	for _, c := range []struct {
		name string
		used []slim.Used
		opts slim.Options
		want string
	}{
		{name: "nothing", want: ""},
		{name: "a file", used: opened("/srv/a"), want: "srv/ srv/a"},
		{name: "through a link", used: opened("/data/b"), want: "data -> srv|srv/ srv/b"},
		{name: "a link to what is above", used: opened("/srv/deep/../rel"), want: "srv/ srv/b srv/deep/|srv/rel -> deep/../b"},
		{name: "out of the root", used: opened("/up"), want: "srv/ srv/a|up -> ../../srv/a"},
		{name: "loops and links to nothing", used: opened("/loop", "/gone"), want: "gone -> nowhere/x|loop -> loop"},
		{name: "a link itself", used: []slim.Used{{Path: "/data", NoFollow: true, How: trace.Stat}}, want: "data -> srv"},
		{name: "not there", used: opened("/srv/deep/none/x"), want: "srv/ srv/deep/"},
		{name: "below a file", used: opened("/srv/a/x"), want: "srv/ srv/a"},
		{name: "both names of one file", used: opened("/srv/a", "/srv/same"), want: "srv/ srv/a|srv/same -> srv/a"},
		{name: "the second name alone", used: opened("/srv/same"), want: "srv/ srv/same"},
		{name: "a directory", used: []slim.Used{{Path: "/srv", How: trace.List}}, want: "srv/"},
		{name: "interpreters", used: opened("/script"), want: "bin/ bin/run script"},
		{name: "env", used: opened("/envscript"), opts: slim.Options{Env: []string{"PATH=/nowhere:/opt/bin"}}, want: "envscript opt/ opt/bin/ opt/bin/tool usr/ usr/bin/ usr/bin/env"},
		{name: "included", opts: slim.Options{Include: []string{"/data/deep"}}, want: "data -> srv|srv/ srv/deep/ srv/deep/x/ srv/deep/x/y srv/deep/x/z"},
		{name: "patterns", opts: slim.Options{Include: []string{"**/x/*"}, Exclude: []string{"srv/**/z"}}, want: "srv/ srv/deep/ srv/deep/x/ srv/deep/x/y"},
		{name: "excluded with all below", used: opened("/srv/deep/x/y", "/srv/a"), opts: slim.Options{Exclude: []string{"/srv/deep"}}, want: "srv/ srv/a"},
		{name: "expected directories", opts: slim.Options{Workdir: "/empty", Volumes: []string{"/srv/deep"}}, want: "empty/ srv/ srv/deep/ srv/deep/x/ srv/deep/x/y srv/deep/x/z"},
		{name: "commands", opts: slim.Options{Commands: [][]string{{"run", "x"}}, Env: []string{"PATH=/bin"}}, want: "bin/ bin/run"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, sel, _ := chosen(t, tree(t, files), c.used, c.opts)
			var want []string
			for _, part := range strings.Split(c.want, "|") {
				if strings.Contains(part, "->") {
					want = append(want, part)
				} else {
					want = append(want, strings.Fields(part)...)
				}
			}
			slices.Sort(want)
			sorted := slices.Sorted(slices.Values(got))
			if diff := cmp.Diff(want, sorted); diff != "" {
				t.Errorf("in the layer (-want +got):\n%s", diff)
			}
			if missing := sel.Missing(c.used); len(missing) > 0 {
				t.Errorf("what was used is missing: %q", missing)
			}
		})
	}
}

func TestMissing(t *testing.T) {
	_, sel, _ := chosen(t, tree(t, map[string]string{"a/x": "x", "a/y": "y", "l": "->a", "z": "z"}), opened("/a/x"), slim.Options{Exclude: []string{"z"}})
	got := sel.Missing(append(opened("/l/y", "/z", "/none", "/a/x"), slim.Used{Path: "/l", NoFollow: true}))
	if diff := cmp.Diff([]string{"/a/y", "/l"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestWrongOptions(t *testing.T) {
	for _, c := range []struct {
		opts slim.Options
		want error
	}{
		{slim.Options{Include: []string{"/nowhere"}}, errdefs.ErrNotFound},
		{slim.Options{Include: []string{"[x"}}, errdefs.ErrInvalid},
		{slim.Options{Exclude: []string{"[x"}}, errdefs.ErrInvalid},
		{slim.Options{Keep: []string{"everything"}}, errdefs.ErrInvalid},
	} {
		tr, err := slim.ReadTree(t.Context(), tree(t, map[string]string{"a": "a"}), slim.TreeOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tr.Choose(t.Context(), nil, c.opts); !errors.Is(err, c.want) {
			t.Errorf("%+v: got %v, want %v", c.opts, err, c.want)
		}
		tr.Close()
	}
}

// program makes a program for a processor that needs a library, or a library, which needs none.
func program(t *testing.T, machine elf.Machine, needed string) string {
	t.Helper()
	const dynamic, table = 64 + 2*56, 64 + 2*56 + 4*16
	text := "\x00" + needed + "\x00"
	h := elf.Header64{Type: uint16(elf.ET_DYN), Machine: uint16(machine), Version: 1, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 2}
	copy(h.Ident[:], "\x7fELF\x02\x01\x01")
	size := uint64(table + len(text))
	var b bytes.Buffer
	for _, part := range []any{
		h, elf.Prog64{Type: uint32(elf.PT_LOAD), Filesz: size, Memsz: size}, elf.Prog64{Type: uint32(elf.PT_DYNAMIC), Off: dynamic, Vaddr: dynamic, Filesz: 4 * 16},
		elf.Dyn64{Tag: int64(elf.DT_NEEDED), Val: 1}, elf.Dyn64{Tag: int64(elf.DT_STRTAB), Val: table}, elf.Dyn64{Tag: int64(elf.DT_STRSZ), Val: uint64(len(text))}, elf.Dyn64{}, []byte(text),
	} {
		if err := binary.Write(&b, binary.LittleEndian, part); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

// TestOtherProcessors: what is kept depends on the image, and not on the machine that chooses.
func TestOtherProcessors(t *testing.T) {
	for triplet, machine := range map[string]elf.Machine{"x86_64-linux-gnu": elf.EM_X86_64, "aarch64-linux-gnu": elf.EM_AARCH64} {
		lib := "usr/lib/" + triplet + "/libx.so"
		dir := tree(t, map[string]string{"srv/app": program(t, machine, "libx.so"), lib: program(t, machine, "")})
		if got, _, _ := chosen(t, dir, opened("/srv/app"), slim.Options{}); !slices.Contains(got, lib) {
			t.Errorf("%s: got %q", machine, got)
		}
	}
}

// TestIncludesEnd: a configuration of the loader that includes itself again and again is read to an end. (Without a bound this takes longer than anybody waits.)
func TestIncludesEnd(t *testing.T) {
	dir := tree(t, map[string]string{"etc/ld.so.conf": strings.Repeat("include ld.so.conf\n", 1000), "srv/a": "a"})
	if got, _, _ := chosen(t, dir, opened("/srv/a"), slim.Options{}); !slices.Contains(got, "srv/a") {
		t.Errorf("got %q", got)
	}
}

const dpkgStatus = `Package: one
Status: install ok installed
Architecture: amd64
Version: 1.0

Package: two
Status: install ok installed
Architecture: amd64
Version: 2.0

Package: three
Status: install ok installed
Architecture: all
Version: 3.0
Description: of
 several lines
`

// TestPackages looks that scanners find the packages of what is kept, and no others.
func TestPackages(t *testing.T) {
	files := map[string]string{
		"var/lib/dpkg/status": dpkgStatus, "var/lib/dpkg/info/one:amd64.list": "/.\n/usr\n/usr/bin\n/usr/bin/one\n/bin/both\n", "var/lib/dpkg/info/two.list": "/usr/bin/two\n", "var/lib/dpkg/info/three.list": "/usr/bin/three\n/usr/share/doc/three/copyright\n",
		"bin": "->usr/bin", "usr/bin/one": "1", "usr/bin/two": "2", "usr/bin/three": "3", "usr/bin/both": "b", "usr/share/doc/three/copyright": "free",
		"lib/apk/db/installed": "P:a\nV:1\nA:x86_64\nF:usr/bin\nR:a\n\nP:b\nV:2\nF:usr/bin\nR:b\n\n", "usr/bin/a": "a", "usr/bin/b": "b",
		"app/node_modules/x/package.json": `{"name":"x","version":"1.0.0"}`, "app/node_modules/x/index.js": "x", "app/node_modules/y/package.json": `{"name":"y","version":"1.0.0"}`, "app/node_modules/y/index.js": "y",
		"site/p-1.dist-info/METADATA": "Name: p", "site/p-1.dist-info/RECORD": "p/a.py,sha256=x,1\np-1.dist-info/METADATA,,\n", "site/p/a.py": "a",
		"site/q-1.dist-info/METADATA": "Name: q", "site/q-1.dist-info/RECORD": "q/a.py,sha256=x,1\nq-1.dist-info/RECORD,,\n", "site/q/a.py": "a",
		"etc/os-release": "->../usr/lib/os-release", "usr/lib/os-release": "ID=test",
	}
	used := opened("/bin/one", "/usr/bin/three", "/usr/bin/b", "/app/node_modules/x/index.js", "/site/p/a.py")
	got, sel, texts := chosen(t, tree(t, files), used, slim.Options{})
	want := map[string]string{
		"var/lib/dpkg/status.d/one": "Package: one\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.0\n", "var/lib/dpkg/status.d/three": "Package: three\nStatus: install ok installed\nArchitecture: all\nVersion: 3.0\nDescription: of\n several lines\n",
		"usr/share/doc/three/copyright": "free", "lib/apk/db/installed": "P:b\nV:2\nF:usr/bin\nR:b\n\n", "app/node_modules/x/package.json": `{"name":"x","version":"1.0.0"}`, "site/p-1.dist-info/METADATA": "Name: p", "usr/lib/os-release": "ID=test",
	}
	for name, text := range want {
		if texts[name] != text {
			t.Errorf("%s: got %q, want %q", name, texts[name], text)
		}
	}
	for _, name := range []string{"var/lib/dpkg/status", "var/lib/dpkg/status.d/two", "app/node_modules/y/package.json", "site/q-1.dist-info/METADATA"} {
		if slices.Contains(got, name) {
			t.Errorf("%s is kept", name)
		}
	}
	var losses []string
	for _, p := range sel.Sum().Packages {
		losses = append(losses, p.Name)
		if p.Gone != (p.Name == "two" || p.Name == "a") {
			t.Errorf("%+v", p)
		}
	}
	if diff := cmp.Diff([]string{"a", "two", "one"}, losses); diff != "" {
		t.Error(diff)
	}
}

// TestDatabaseInUse keeps a list that a program of the image's own reads as it is.
func TestDatabaseInUse(t *testing.T) {
	files := map[string]string{"var/lib/dpkg/status": dpkgStatus, "var/lib/dpkg/info/one.list": "/usr/bin/one\n", "usr/bin/one": "1"}
	got, sel, texts := chosen(t, tree(t, files), opened("/var/lib/dpkg/status", "/usr/bin/one"), slim.Options{})
	if texts["var/lib/dpkg/status"] != dpkgStatus || slices.Contains(got, "var/lib/dpkg/status.d/one") {
		t.Errorf("got %q", got)
	}
	if diff := cmp.Diff([]string{"var/lib/dpkg/status"}, sel.Databases); diff != "" {
		t.Error(diff)
	}
}

// TestPackageNames: a package whose name is no name of a file gets no entry.
func TestPackageNames(t *testing.T) {
	files := map[string]string{"var/lib/dpkg/status": "Package: ..\nVersion: 1\n\nPackage: .\nVersion: 1\n", "var/lib/dpkg/info/...list": "/usr/bin/one\n", "var/lib/dpkg/info/..list": "/usr/bin/two\n", "usr/bin/one": "1", "usr/bin/two": "2"}
	if _, sel, _ := chosen(t, tree(t, files), opened("/usr/bin/one", "/usr/bin/two"), slim.Options{}); len(sel.Added) > 0 {
		t.Errorf("got %q", sel.Added)
	}
}

// TestMergedAPK: one database is cut once, by whichever name it is found.
func TestMergedAPK(t *testing.T) {
	files := map[string]string{"usr/lib/apk/db/installed": "P:a\nV:1\nF:usr/bin\nR:a\n\nP:b\nV:2\nF:usr/bin\nR:b\n\n", "usr/bin/a": "a", "usr/bin/b": "b", "lib": "->usr/lib"}
	_, sel, texts := chosen(t, tree(t, files), opened("/usr/bin/b"), slim.Options{})
	if text := texts["usr/lib/apk/db/installed"]; text != "P:b\nV:2\nF:usr/bin\nR:b\n\n" || len(sel.Databases) > 0 {
		t.Errorf("got %q, and kept whole: %q", text, sel.Databases)
	}
}

// TestPackagesExcluded: what is excluded is not added either.
func TestPackagesExcluded(t *testing.T) {
	files := map[string]string{"var/lib/dpkg/status": dpkgStatus, "var/lib/dpkg/info/one.list": "/usr/bin/one\n", "usr/bin/one": "1"}
	for _, pattern := range []string{"/var/lib/dpkg", "**/status.d/*"} {
		if got, _, _ := chosen(t, tree(t, files), opened("/usr/bin/one"), slim.Options{Exclude: []string{pattern}}); slices.Contains(got, "var/lib/dpkg/status.d/one") {
			t.Errorf("without %s: got %q", pattern, got)
		}
	}
}

func TestSum(t *testing.T) {
	dir := tree(t, map[string]string{"bin/sh": "sh", "bin/su": "su", "usr/lib/big": strings.Repeat("x", 1000), "usr/lib/kept": "k", "usr/lib/same": "=>usr/lib/kept"})
	if err := os.Chmod(filepath.Join(dir, "bin/su"), 0o755|os.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	_, sel, _ := chosen(t, dir, append(opened("/usr/lib/kept"), slim.Used{Path: "/usr/lib", How: trace.List}), slim.Options{})
	s := sel.Sum()
	if s.Before != (slim.Count{Files: 5, Bytes: 1005}) || s.After != (slim.Count{Files: 1, Bytes: 1}) {
		t.Errorf("before %+v, after %+v", s.Before, s.After)
	}
	if len(s.Largest) != 4 || s.Largest[0].Path != "usr/lib/big" || s.Directories[0].Path != "/usr/lib" {
		t.Errorf("%+v %+v", s.Largest, s.Directories)
	}
	if diff := cmp.Diff([][]string{{"/bin/su"}, {"/bin/sh"}}, [][]string{s.Setuid, s.Shells}); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]slim.Listed{{Path: "usr/lib", Left: 2, Names: 3}}, sel.Listed); diff != "" {
		t.Error(diff)
	}
}
