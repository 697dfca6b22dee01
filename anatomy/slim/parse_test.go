package slim

import (
	"bytes"
	"debug/elf"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/camada/camada/container/trace"
	"github.com/camada/camada/errdefs"
	"github.com/google/go-cmp/cmp"
)

// TestELF reads this machine's programs and libraries as Go's package does.
func TestELF(t *testing.T) {
	var files []string
	for _, pattern := range []string{"/bin/*", "/usr/lib/*/lib*.so.*", "/usr/lib/*/libexec/*"} {
		list, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, list[:min(len(list), 150)]...)
	}
	read := 0
	for _, name := range files {
		want, err := elf.Open(name)
		if err != nil {
			continue
		}
		libs, _ := want.ImportedLibraries()
		run, _ := want.DynString(elf.DT_RUNPATH)
		old, _ := want.DynString(elf.DT_RPATH)
		interp := ""
		if s := want.Section(".interp"); s != nil {
			if b, err := s.Data(); err == nil {
				interp = string(bytes.TrimRight(b, "\x00"))
			}
		}
		want.Close()
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		got, ok := readELF(f)
		f.Close()
		if !ok {
			t.Errorf("%s: not read", name)
			continue
		}
		slices.Sort(got.paths)
		if !slices.Equal(got.needed, libs) || got.interp != interp || !slices.Equal(got.paths, slices.Sorted(slices.Values(append(run, old...)))) || got.machine != uint16(want.Machine) {
			t.Errorf("%s: got %+v, want %q, %q, %q, %d", name, got, libs, interp, append(run, old...), want.Machine)
		}
		read++
	}
	if read == 0 {
		t.Skip("no programs to read")
	}
}

func FuzzELF(f *testing.F) {
	if self, err := os.Executable(); err == nil {
		if data, err := os.ReadFile(self); err == nil {
			f.Add(data[:min(len(data), 4096)])
		}
	}
	if data, err := os.ReadFile("/bin/true"); err == nil {
		f.Add(data)
	}
	f.Add([]byte("\x7fELF\x02\x01"))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, ok := readELF(bytes.NewReader(data))
		if !ok && (len(b.needed) > 0 || b.interp != "") {
			t.Errorf("%+v of no program", b)
		}
		if strings.ContainsRune(b.interp, 0) {
			t.Errorf("a NUL in %q", b.interp)
		}
	})
}

// TestTraceOfBytes keeps the names of files that are no text.
func TestTraceOfBytes(t *testing.T) {
	used := []Used{{Path: "/srv/caf\xe9", How: trace.Open}, {Path: "/srv/café", How: trace.Open}, {Path: "/srv/\uFFFD", How: trace.Stat, NoFollow: true}}
	tr := Trace{Version: TraceVersion}
	tr.SetUsed(used)
	var b bytes.Buffer
	if err := tr.Write(&b); err != nil {
		t.Fatal(err)
	}
	again, err := ParseTrace(&b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(used, again.Used()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if _, err := ParseTrace(strings.NewReader(`{"version":1,"paths":[{"path":"/a","bytes":"YQ==","how":["open"]}]}`)); !errdefs.IsInvalid(err) {
		t.Errorf("bytes that are no absolute path: %v", err)
	}
}

func FuzzTrace(f *testing.F) {
	f.Add([]byte(`{"version":1,"paths":[{"path":"/a\ufffd","bytes":"L2H/","how":["open"]}]}`))
	f.Add([]byte(`{"version":1,"image":"sha256:x","runs":["a"],"paths":[{"path":"/a/../b","how":["exec","open"],"itself":true}]}`))
	f.Add([]byte(`{"version":2,"paths":[]}`))
	f.Add([]byte(`{"version":1,"paths":[{"path":"a","how":["seen"]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		tr, err := ParseTrace(bytes.NewReader(data))
		if err != nil {
			return
		}
		var b bytes.Buffer
		if err := tr.Write(&b); err != nil {
			t.Fatal(err)
		}
		again, err := ParseTrace(&b)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if diff := cmp.Diff(tr.Used(), again.Used()); diff != "" {
			t.Error(diff)
		}
	})
}

func FuzzParagraphs(f *testing.F) {
	f.Add([]byte("Package: a\nVersion: 1\n\nPackage: b\n\n\n\nPackage: c"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for p := range paragraphs(data) {
			if len(p) < 2 || p[len(p)-1] != '\n' || bytes.Contains(p[:len(p)-1], []byte("\n\n")) {
				t.Errorf("%q", p)
			}
			field(p, "Package")
		}
	})
}

// TestUsesBounds: a program that looks for ever new long paths does not fill the memory.
func TestUsesBounds(t *testing.T) {
	u := Uses{bytes: maxUsesBytes - 4}
	u.Add(trace.Event{Path: "/a", How: trace.Stat})
	u.Add(trace.Event{Path: "/a", How: trace.Open})
	if err := u.Err(); err != nil {
		t.Error(err)
	}
	u.Add(trace.Event{Path: "/bcd", How: trace.Stat})
	if err := u.Err(); !errdefs.IsLimit(err) || len(u.List()) != 1 {
		t.Errorf("got %v, %v", err, u.List())
	}
}

func TestUses(t *testing.T) {
	var u Uses
	u.Add(trace.Event{Path: "/a/./b//c", Real: "/x/c", How: trace.Open})
	u.Add(trace.Event{Path: "/a/b/c", How: trace.Stat})
	u.Add(trace.Event{Path: "/l/../d", How: trace.Stat, NoFollow: true})
	u.Add(trace.Event{Path: "/proc/self/maps", How: trace.Open})
	u.Add(trace.Event{Path: "/dev/null", How: trace.Open})
	u.Merge(Used{Path: "/a/b/c", How: trace.Exec}, Used{Path: "relative", How: trace.Open})
	want := []Used{{Path: "/a/b/c", How: trace.Exec | trace.Open | trace.Stat}, {Path: "/l/../d", NoFollow: true, How: trace.Stat}, {Path: "/x/c", NoFollow: true, How: trace.Open}}
	if diff := cmp.Diff(want, u.List()); diff != "" {
		t.Error(diff)
	}
	var tr Trace
	tr.SetUsed(u.List())
	tr.Version = TraceVersion
	var b bytes.Buffer
	if err := tr.Write(&b); err != nil {
		t.Fatal(err)
	}
	back, err := ParseTrace(&b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, back.Used()); diff != "" {
		t.Error(diff)
	}
}
