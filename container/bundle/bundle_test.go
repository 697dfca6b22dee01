package bundle

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "real"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real", filepath.Join(dir, "rootfs")); err != nil {
		t.Fatal(err)
	}
	s := Example()
	s.Mounts = append(s.Mounts, specs.Mount{Destination: "/data", Source: "data", Options: []string{"rbind"}})
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, ConfigFile), b, 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	real, err := filepath.EvalSymlinks(filepath.Join(dir, "real"))
	if err != nil {
		t.Fatal(err)
	}
	if got.Root.Path != real {
		t.Errorf("root %s, want %s", got.Root.Path, real)
	}
	if last := got.Mounts[len(got.Mounts)-1]; last.Source != filepath.Join(dir, "data") {
		t.Errorf("source of the bind: %s", last.Source)
	}
	if got.Mounts[0].Source != "proc" {
		t.Errorf("source of proc: %s", got.Mounts[0].Source)
	}
}

func TestLoadRefuses(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(dir); !errdefs.IsNotFound(err) {
		t.Errorf("an empty directory: %v", err)
	}
	if err := os.Mkdir(filepath.Join(dir, ConfigFile), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir); !errdefs.IsInvalid(err) {
		t.Errorf("a directory for a file: %v", err)
	}
}

func TestCheck(t *testing.T) {
	zero := 0
	for _, c := range []struct {
		name   string
		change func(*specs.Spec)
		class  errdefs.Class
		text   string
	}{
		{"as it is", func(*specs.Spec) {}, "", ""},
		{"an old version", func(s *specs.Spec) { s.Version = "1.0.0-rc5" }, "", ""},
		{"no version", func(s *specs.Spec) { s.Version = "" }, errdefs.ErrInvalid, "ociVersion"},
		{"a version of words", func(s *specs.Spec) { s.Version = "1.x.0" }, errdefs.ErrInvalid, "ociVersion"},
		{"a later generation", func(s *specs.Spec) { s.Version = "2.0.0" }, errdefs.ErrUnsupported, "versions 1"},
		{"no process", func(s *specs.Spec) { s.Process = nil }, errdefs.ErrInvalid, "process"},
		{"no program", func(s *specs.Spec) { s.Process.Args = nil }, errdefs.ErrInvalid, "process.args"},
		{"no directory", func(s *specs.Spec) { s.Process.Cwd = "" }, errdefs.ErrInvalid, "process.cwd"},
		{"a relative directory", func(s *specs.Spec) { s.Process.Cwd = "tmp" }, errdefs.ErrInvalid, "process.cwd"},
		{"NUL in a variable", func(s *specs.Spec) { s.Process.Env = []string{"A=\x00"} }, errdefs.ErrInvalid, "NUL"},
		{"a limit twice", func(s *specs.Spec) { s.Process.Rlimits = append(s.Process.Rlimits, s.Process.Rlimits...) }, errdefs.ErrInvalid, "RLIMIT_NOFILE twice"},
		{"no root", func(s *specs.Spec) { s.Root = nil }, errdefs.ErrInvalid, "root.path"},
		{"no linux", func(s *specs.Spec) { s.Linux = nil }, errdefs.ErrInvalid, "linux"},
		{"another platform", func(s *specs.Spec) { s.Windows = &specs.Windows{} }, errdefs.ErrUnsupported, "windows"},
		{"a mount to nowhere", func(s *specs.Spec) { s.Mounts[0].Destination = "" }, errdefs.ErrInvalid, "destination"},
		{"an annotation without a key", func(s *specs.Spec) { s.Annotations = map[string]string{"": "x"} }, errdefs.ErrInvalid, "annotation"},
		{"a relative hook", func(s *specs.Spec) { s.Hooks = &specs.Hooks{Poststop: []specs.Hook{{Path: "true"}}} }, errdefs.ErrInvalid, "hooks.poststop"},
		{"a hook without time", func(s *specs.Spec) {
			s.Hooks = &specs.Hooks{StartContainer: []specs.Hook{{Path: "/bin/true", Timeout: &zero}}}
		}, errdefs.ErrInvalid, "timeout"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := Example()
			c.change(s)
			err := Check(s)
			if c.class == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.text) {
				t.Fatalf("got %v, want something with %q", err, c.text)
			}
			if c.class == errdefs.ErrInvalid && !errdefs.IsInvalid(err) || c.class == errdefs.ErrUnsupported && !errdefs.IsUnsupported(err) {
				t.Errorf("%v is not of class %v", err, c.class)
			}
		})
	}
}

func TestLoadProcess(t *testing.T) {
	name := filepath.Join(t.TempDir(), "process.json")
	if err := os.WriteFile(name, []byte(`{"args":["id"],"cwd":"/tmp","user":{"uid":7}}`), 0o644); err != nil {
		t.Fatal(err)
	}
	p, err := LoadProcess(name)
	if err != nil || p.User.UID != 7 || p.Args[0] != "id" {
		t.Errorf("%+v %v", p, err)
	}
	if err := os.WriteFile(name, []byte(`{"args":["id"],"cwd":"tmp"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadProcess(name); !errdefs.IsInvalid(err) {
		t.Errorf("a relative directory: %v", err)
	}
}

func TestLoadResources(t *testing.T) {
	r, err := LoadResources(strings.NewReader(`{"pids":{"limit":12}}`))
	if err != nil || r.Pids == nil || r.Pids.Limit == nil || *r.Pids.Limit != 12 {
		t.Errorf("%+v %v", r, err)
	}
	if _, err := LoadResources(strings.NewReader(`{"pids":`)); !errdefs.IsInvalid(err) {
		t.Errorf("half a text: %v", err)
	}
}

// FuzzParse gives foreign texts: what is accepted has to have all that the runtime relies on.
func FuzzParse(f *testing.F) {
	example, err := json.Marshal(Example())
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		string(example), `{}`, `null`, `{"ociVersion":"1.2.0"}`, `{"ociVersion":"1.0.0-rc1","process":{"args":["a"],"cwd":"/"},"root":{"path":"r"},"linux":{}}`,
		`{"ociVersion":"1.2.0","hooks":{"prestart":[{"path":"x","timeout":-1}]}}`, `{"process":null,"root":null,"linux":null}`, `[]`, `{"ociVersion":"1..0"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := Parse(text)
		if err != nil {
			return
		}
		if s.Process == nil || len(s.Process.Args) == 0 || !filepath.IsAbs(s.Process.Cwd) || s.Root == nil || s.Root.Path == "" || s.Linux == nil {
			t.Errorf("accepted: %q", text)
		}
	})
}
