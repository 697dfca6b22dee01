package imagelint_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/camada/camada/anatomy"
	"github.com/camada/camada/anatomy/imagelint"
	"github.com/camada/camada/dockerfile/lint"
	"github.com/camada/camada/image"
	"github.com/camada/camada/image/imagetest"
	"github.com/camada/camada/layer/index"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "write what is found into the golden files")

// layerOf makes a layer of lines: "f PATH MODE SIZE", "d PATH MODE", "w PATH".
func layerOf(t *testing.T, lines string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for line := range strings.Lines(lines) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		h := &tar.Header{Name: f[1], Typeflag: tar.TypeReg}
		if len(f) > 2 {
			fmt.Sscanf(f[2], "%o", &h.Mode)
		}
		switch f[0] {
		case "d":
			h.Typeflag = tar.TypeDir
		case "w":
			h.Name = path.Join(path.Dir(f[1]), ".wh."+path.Base(f[1]))
		case "f":
			fmt.Sscanf(f[3], "%d", &h.Size)
		default:
			t.Fatalf("line %q", line)
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(make([]byte, h.Size)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// input makes an image of the files of a case, which begin with its name: "bad.config" is the config's JSON, "bad.input" lines for Input, "bad.layer1" and so on lines
// of the layers.
func input(t *testing.T, parts map[string]string, name string) imagelint.Input {
	t.Helper()
	cfg := imagetest.Config()
	cfg.Config.User = "1000"
	if text := parts[name+".config"]; text != "" {
		if err := json.Unmarshal([]byte(text), &cfg.Config); err != nil {
			t.Fatal(err)
		}
	}
	var layers [][]byte
	for i := 1; parts[fmt.Sprintf("%s.layer%d", name, i)] != ""; i++ {
		layers = append(layers, layerOf(t, parts[fmt.Sprintf("%s.layer%d", name, i)]))
	}
	store := &imagetest.Memory{}
	desc := imagetest.Write(t, store, cfg, layers...)
	img, err := image.Open(context.Background(), store, desc, ocispec.Platform{})
	if err != nil {
		t.Fatal(err)
	}
	var none *index.Store
	a, err := anatomy.Open(context.Background(), store, none, img)
	if err != nil {
		t.Fatal(err)
	}
	in := imagelint.Input{Image: a}
	for line := range strings.Lines(parts[name+".input"]) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		words := strings.Fields(value)
		switch key {
		case "names":
			in.Names = words
		case "base":
			in.Base = value
		case "pinned":
			in.BasePinned = true
		case "own":
			for _, w := range words {
				in.Own = append(in.Own, w == "yes")
			}
		case "package":
			p := imagelint.Package{Name: words[0]}
			fmt.Sscan(words[1], &p.Layer)
			in.Packages = append(in.Packages, p)
		case "static":
			in.Static = value
		default:
			t.Fatalf("line %q", line)
		}
	}
	return in
}

func TestRules(t *testing.T) {
	for _, rule := range imagelint.Rules() {
		t.Run(rule.Code, func(t *testing.T) {
			file := filepath.Join("testdata", rule.Code+".txtar")
			a, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			parts := map[string]string{}
			for _, f := range a.Files {
				parts[f.Name] = string(f.Data)
			}
			var got strings.Builder
			for _, f := range imagelint.Check(input(t, parts, "bad"), lint.Config{}) {
				if f.Code == rule.Code {
					fmt.Fprintf(&got, "%s layer %d: %s %s\n", f.Severity, f.Layer, f.Message, strings.Join(f.Paths, " "))
				}
			}
			if *update {
				a.Files = slices.DeleteFunc(a.Files, func(f txtar.File) bool { return f.Name == "want" })
				a.Files = append(a.Files, txtar.File{Name: "want", Data: []byte(got.String())})
				if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got.Len() == 0 || got.String() != parts["want"] {
				t.Errorf("found\n%swant\n%s", got.String(), parts["want"])
			}
			for _, f := range imagelint.Check(input(t, parts, "good"), lint.Config{}) {
				if f.Code == rule.Code {
					t.Errorf("good: %s", f.Message)
				}
			}
			if found := imagelint.Check(input(t, parts, "bad"), lint.Config{Ignored: []string{rule.Code}}); slices.ContainsFunc(found, func(f imagelint.Finding) bool { return f.Code == rule.Code }) {
				t.Error("it cannot be ignored")
			}
		})
	}
}

// TestDocumented compares the table of docs/lint.md with the rules.
func TestDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/lint.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range imagelint.Rules() {
		if row := fmt.Sprintf("| %s | %s | %s |", strings.Join(append([]string{r.Code}, r.Aliases...), " "), r.Severity, r.Name); !strings.Contains(string(page), row+"\n") {
			t.Errorf("docs/lint.md has no line\n%s", row)
		}
	}
}

// elf makes the beginning of an executable with segments of these types.
func elf(segments ...uint32) []byte {
	b := make([]byte, 64+56*len(segments))
	copy(b, "\x7fELF\x02\x01\x01")
	binary.LittleEndian.PutUint64(b[32:], 64)
	binary.LittleEndian.PutUint16(b[54:], 56)
	binary.LittleEndian.PutUint16(b[56:], uint16(len(segments)))
	for i, s := range segments {
		binary.LittleEndian.PutUint32(b[64+56*i:], s)
	}
	return b
}

func TestIsStatic(t *testing.T) {
	for name, c := range map[string]struct {
		head []byte
		want bool
	}{
		"static":           {elf(1, 1), true},
		"dynamic":          {elf(6, 3, 1), false},
		"a script":         {[]byte("#!/bin/sh\n" + strings.Repeat(" ", 100)), false},
		"cut off":          {elf(1, 1)[:100], false},
		"nothing":          {nil, false},
		"no segments":      {elf(), false},
		"far away":         {func() []byte { b := elf(1); binary.LittleEndian.PutUint64(b[32:], 1<<63); return b }(), false},
		"around the world": {func() []byte { b := elf(1); binary.LittleEndian.PutUint64(b[32:], 1<<64-56); return b }(), false},
	} {
		if got := imagelint.IsStatic(c.head); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func FuzzIsStatic(f *testing.F) {
	f.Add(elf(1, 3))
	f.Add(elf(1))
	f.Fuzz(func(_ *testing.T, head []byte) { imagelint.IsStatic(head) })
}

func TestProgram(t *testing.T) {
	parts := map[string]string{
		"bad.layer1":   "d bin 755\nf bin/sh 755 1\nf usr/bin/server 755 1\nf srv/run 755 1\n",
		"path.config":  `{"Cmd": ["server"], "Env": ["PATH=/bin:/usr/bin"]}`,
		"rel.config":   `{"Entrypoint": ["./run"], "WorkingDir": "/srv"}`,
		"shell.config": `{"Cmd": ["/bin/sh", "-c", "server"]}`,
		"gone.config":  `{"Cmd": ["nothing"]}`,
		"none.config":  `{}`,
	}
	for name, want := range map[string]string{"path": "/usr/bin/server", "rel": "/srv/run", "shell": "", "gone": "", "none": ""} {
		in := input(t, map[string]string{"x.layer1": parts["bad.layer1"], "x.config": parts[name+".config"]}, "x")
		if got, v := imagelint.Program(in.Image); got != want || (v == nil) != (want == "") {
			t.Errorf("%s: %q %v", name, got, v)
		}
	}
}
