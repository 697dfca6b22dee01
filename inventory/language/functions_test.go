package language

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
)

// functionsIn reads a program.
func functionsIn(t *testing.T, name string) *Functions {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	file, err := ParseFrom("bin/"+filepath.Base(name), f, 0, true)
	if err != nil {
		t.Fatal(err)
	}
	if file.Functions == nil {
		t.Fatalf("%s has no functions", name)
	}
	return file.Functions
}

// TestFunctionsOfSelf: this test is a program of Go with functions, methods, and some that are inlined.
func TestFunctionsOfSelf(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	f := functionsIn(t, exe)
	const self = "github.com/camada/camada/inventory/language"
	for _, c := range []struct {
		pkg, function string
		want          bool
	}{
		{self, "TestFunctionsOfSelf", true}, {self, "functionTable.each", true}, {self, "", true}, {"archive/zip", "Reader.init", true}, {"strings", "", true},
		{"strings", "Builder.Len", true}, // inlined everywhere
		{self, "noSuchFunction", false}, {"net/smtp", "", false}, {"archive/zip", "Reader.initialize", false}, {"", "", false},
	} {
		if got := f.Has(c.pkg, c.function); got != c.want {
			t.Errorf("%s %s: %t", c.pkg, c.function, got)
		}
	}
	if !f.HasModule("github.com/camada/camada") || !f.HasModule("stdlib") || f.HasModule("github.com/camada") {
		t.Error("the modules are wrong")
	}
	if os, arch := f.Platform(); !f.Complete() || os != runtime.GOOS || arch != runtime.GOARCH {
		t.Errorf("it is of %s/%s, whole: %t", os, arch, f.Whole)
	}
	data, err := f.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	var again, half Functions
	if err := again.UnmarshalBinary(data); err != nil || again.Whole != f.Whole || again.Arch != f.Arch || again.OS != f.OS {
		t.Errorf("what was kept is something else: %v", err)
	}
	for _, sum := range f.sums {
		if !again.has(sum) || again.has(sum+1) != f.has(sum+1) {
			t.Fatalf("what was kept has not %x, or has what is beside it", sum)
		}
	}
	if same, err := again.MarshalBinary(); err != nil || !bytes.Equal(same, data) {
		t.Errorf("kept again it is something else: %v", err)
	}
	for n := range 200 {
		if half.UnmarshalBinary(data[:n]) == nil {
			t.Errorf("%d bytes of it are believed", n)
		}
	}
}

// TestFunctionsStripped: neither strip nor another linker or way to link hides a function, and programs for other processors have them too.
func TestFunctionsStripped(t *testing.T) {
	tool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("no go here: ", err)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":       "module example.com/a.b/app\n\ngo 1.22\n",
		"main.go":      "package main\n\nimport (\n\t\"os\"\n\n\t\"example.com/a.b/app/in.ner\"\n)\n\nfunc main() { println(inner.Small(len(os.Args)), inner.Of[string](\"a\").Get(), inner.Of[int](2).Get()) }\n",
		"in.ner/in.go": "package inner\n\n// Small is inlined.\nfunc Small(n int) int { return n + 1 }\n\n// Dead is called by nobody.\nfunc Dead() { println(\"dead\") }\n\ntype box[T any] struct{ v T }\n\nfunc Of[T any](v T) *box[T] { return &box[T]{v} }\n\n//go:noinline\nfunc (b *box[T]) Get() T { return b.v }\n",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	gcc, _ := exec.LookPath("gcc")
	for _, c := range []struct {
		name string
		env  []string
		args []string
	}{
		{"plain", nil, nil},
		{"stripped", nil, []string{"-ldflags=-s -w"}},
		{"pie", nil, []string{"-buildmode=pie", "-ldflags=-s -w"}},
		{"external", []string{"CGO_ENABLED=1"}, []string{"-buildmode=pie", "-ldflags=-s -w -linkmode=external"}},
		{"386", []string{"GOARCH=386"}, []string{"-ldflags=-s -w"}},
		{"s390x", []string{"GOARCH=s390x"}, []string{"-ldflags=-s -w"}},
	} {
		if len(c.env) > 0 && os.Getenv("CAMADA_TEST_LONG") == "" { // the standard library is compiled for it
			t.Logf("%s is left out; CAMADA_TEST_LONG=1 tries it", c.name)
			continue
		}
		if c.name == "external" && gcc == "" {
			t.Log("no gcc here: another linker is not tried")
			continue
		}
		exe := filepath.Join(dir, c.name)
		cmd := exec.CommandContext(t.Context(), tool, append([]string{"build", "-trimpath", "-o", exe}, append(c.args, ".")...)...)
		cmd.Dir, cmd.Env = dir, append(append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off", "CGO_ENABLED=0", "GOOS=linux"), c.env...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", c.name, err, out)
			continue
		}
		f := functionsIn(t, exe)
		const inner = "example.com/a.b/app/in.ner"
		for function, want := range map[string]bool{"Small": true, "Of": true, "box.Get": true, "Dead": false} {
			if got := f.Has(inner, function); got != want {
				t.Errorf("%s: %s %t", c.name, function, got)
			}
		}
		if !f.Complete() || !f.Has("example.com/a.b/app", "main") || f.Has("main", "main") {
			t.Errorf("%s: whole %t, of %s", c.name, f.Whole, f.Arch)
		}
		// Without sections all is found by its marks.
		data, err := os.ReadFile(exe)
		if err != nil {
			t.Fatal(err)
		}
		if p, err := openProgram(data); err == nil && p.wide && c.name != "external" {
			copy(data[40:48], make([]byte, 8))
			binary.BigEndian.PutUint16(data[60:], 0)
			bare, err := ParseFrom("bin/x", bytes.NewReader(data), int64(len(data)), true)
			if err != nil || bare.Functions == nil || !slices.Equal(bare.Functions.sums, f.sums) || !bare.Functions.Whole {
				t.Errorf("%s without sections: %v, %v", c.name, bare.Functions != nil, err)
			}
		}
	}
}

func TestFunctionName(t *testing.T) {
	for name, want := range map[string]string{
		"main.main": "main main", "a.org/b.(*T).M": "a.org/b T.M", "a.org/b.T.M": "a.org/b T.M", "gopkg.in/yaml%2ev2.Unmarshal": "gopkg.in/yaml.v2 Unmarshal",
		"a.org/b.(*T[go.shape.struct { a.org/c.X }]).M": "a.org/b T.M", "a.org/b.F[...]": "a.org/b F", "a.org/b.F.func1": "a.org/b F.func1", "go.uber.org/zap.New": "go.uber.org/zap New",
		"type:.eq.a.org/b.T": " ", "go:buildid": " ", "cmp": " ", "": " ", "a.%zz.b": "a %zz.b", "[": " ", "a]b[c.d": "a]b[c d",
	} {
		pkg, function := functionName(name)
		if got := pkg + " " + function; got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

// TestFunctionNames wants names that do not end to count as the work that they are.
func TestFunctionNames(t *testing.T) {
	x := &functionTable{names: bytes.Repeat([]byte("x"), 100), seen: make([]uint64, 2), work: 150}
	for offset, want := range []bool{true, false} {
		if ok, more := x.name(uint64(offset), func(string) bool { return true }); ok || more != want {
			t.Errorf("from %d on: %t, more %t", offset, ok, more)
		}
	}
}

// FuzzFunctions changes the table of functions of a small program.
func FuzzFunctions(f *testing.F) {
	// Two functions of the package a, the second with one that is inlined.
	names := "\x00a.F\x00a.G\x00a.H\x00"
	var t120 []byte
	le := binary.LittleEndian
	word := func(n uint64) { t120 = le.AppendUint64(t120, n) }
	half := func(n uint32) { t120 = le.AppendUint32(t120, n) }
	t120 = append(t120, 0xf1, 0xff, 0xff, 0xff, 0, 0, 1, 8)
	const head = 8 + 8*8
	pcs := head + uint64(len(names))
	for _, n := range []uint64{2, 0, 0, head, pcs, pcs, pcs, pcs + 5} {
		word(n)
	}
	t120 = append(t120, names...)
	t120 = append(t120, 0, 2, 9, 0, 0) // a list: up to 0, then the end
	for _, n := range []uint32{0, 20, 16, 20 + 44 + 28, 32} {
		half(n)
	}
	for _, name := range []uint32{1, 5} {
		for _, n := range []uint32{0, name, 0, 0, 0, 0, 0, 3, 0, 0, 4 << 24, 0, 0, 1, 0, 0, 0, 0} {
			half(n)
		}
	}
	for _, n := range []uint32{0, 9, 0, 0} {
		half(n)
	}
	f.Add(t120, byte(0))
	f.Add(t120[:len(t120)-20], byte(1))
	f.Fuzz(func(t *testing.T, table []byte, kind byte) {
		p := &program{data: table, order: binary.LittleEndian, wide: kind&1 == 0, segments: []segment{{0, 0x1000, uint64(len(table))}}}
		if kind&2 != 0 {
			p.order = binary.BigEndian
		}
		x := p.functionTable()
		if x == nil {
			return
		}
		if kind&4 != 0 {
			x.trees = table
		}
		n := 0
		x.each(func(name string) bool {
			functionName(name)
			n++
			return n < 1000
		})
	})
}
