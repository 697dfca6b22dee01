package engine

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/camada/camada/build/origin"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/remote/remotetest"
)

// look opens an image for the length of a test.
func look(t *testing.T, e *Engine, name string) *Opened {
	t.Helper()
	o, err := e.OpenAnatomy(t.Context(), name, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	})
	return o
}

// TestRegistryAnatomy looks into an image that is in a registry only.
func TestRegistryAnatomy(t *testing.T) {
	reg := remotetest.Start(t)
	base := pushBase(t, reg)
	e := machine(t)
	reg.Forget()
	r, err := e.Why(t.Context(), look(t, e, base), "/base")
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Events) != 1 || r.Events[0].Change != "added" || r.Events[0].Instruction != "COPY base /base" || r.Events[0].Origin != nil || r.File.Size != 6 {
		t.Errorf("%+v", r)
	}
	if got := len(reg.Calls("GET blobs")); got != 2 {
		t.Errorf("config and layer are two blobs: %v", reg.Calls("GET blobs"))
	}
	// The list of the layer is kept, the layer is not.
	reg.Forget()
	img := look(t, e, "docker://"+base)
	if got := len(reg.Calls("GET blobs")); got != 1 {
		t.Errorf("the layer was read again: %v", reg.Calls("GET blobs"))
	}
	if _, err := e.resolve(t.Context(), base); !errdefs.IsNotFound(err) {
		t.Errorf("the image is in the store: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(e.Root(), "blobs", "*", "*")); len(left) > 0 {
		t.Errorf("blobs were kept: %v", left)
	}
	// What comes damaged is neither believed nor kept.
	reg.Damage(img.Layers[0].Descriptor.Digest)
	if err := os.RemoveAll(filepath.Join(e.Root(), "cache")); err != nil {
		t.Fatal(err)
	}
	if _, err := e.OpenAnatomy(t.Context(), base, "", nil); !errdefs.IsCorrupt(err) {
		t.Errorf("a damaged layer: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(e.Root(), "cache", "layers", "*")); len(left) > 0 {
		t.Errorf("a list of it was kept: %v", left)
	}
	if _, err := e.OpenAnatomy(t.Context(), reg.Ref("none:1").String(), "", nil); !errdefs.IsNotFound(err) {
		t.Errorf("an image that is nowhere: %v", err)
	}
	if _, err := e.OpenAnatomy(t.Context(), "nosuchimage", "", nil); !errdefs.IsNotFound(err) {
		t.Errorf("a bare name that is nowhere: %v", err)
	}
}

// TestWhySources tells where files came from, for all that COPY and ADD can do.
func TestWhySources(t *testing.T) {
	dir := t.TempDir()
	dockerfile := strings.Join([]string{
		"FROM scratch AS first",
		"COPY src/deep/x /one/",
		"FROM scratch AS second",
		"COPY --from=first /one /two",
		"FROM scratch",
		"COPY src /app/",
		"COPY --from=second /two/x /three/renamed",
		"COPY s*/a?? b /many/",
		"COPY <<EOF /text", "here", "EOF",
		"ADD --chmod=600 b /b",
		"COPY --from=second /two /app/",
		"COPY --parents src/deep/x /parents/",
	}, "\n") + "\n"
	for name, text := range map[string]string{"Dockerfile": dockerfile, "src/deep/x": "x", "src/abc": "abc", "b": "b", "other": "x"} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	e := machine(t)
	for range 2 { // executed, and then from the cache
		mustBuild(t, e, BuildOptions{ContextDir: dir, Tags: []string{"app"}})
		o := look(t, e, "app")
		for path, want := range map[string]string{
			"/app/deep/x":           "6 context src/deep/x",
			"/app/abc":              "6 context src/abc",
			"/app/x":                "13 stage second two/x < 4 stage first one/x < 2 context src/deep/x",
			"/three/renamed":        "7 stage second two/x < 4 stage first one/x < 2 context src/deep/x",
			"/many/abc":             "8 context src/abc",
			"/many/b":               "8 context b",
			"/text":                 "9 Dockerfile EOF",
			"/b":                    "12 context b",
			"/parents/src/deep/x":   "14 context src/deep/x",
			"/../app/../three/../b": "12 context b",
		} {
			r, err := e.Why(t.Context(), o, path)
			if err != nil {
				t.Errorf("%s: %v", path, err)
				continue
			}
			ev := r.Events[len(r.Events)-1]
			if got := sourceOf(ev.Origin, ev.Source); got != want {
				t.Errorf("%s: %s, want %s", path, got, want)
			}
		}
	}
}

// sourceOf is where a file came from in short: the line and the source, and the same of that.
func sourceOf(o *origin.Origin, s *origin.Source) string {
	if o == nil {
		return "unknown"
	}
	var b strings.Builder
	b.WriteString(strconv.Itoa(o.Line))
	if s == nil {
		return b.String()
	}
	b.WriteString(strings.TrimRight(" "+s.Kind+" "+s.From, " ") + " " + s.Path)
	if s.Origin != nil {
		b.WriteString(" < " + sourceOf(s.Origin, s.Via))
	}
	return b.String()
}
