package external

import (
	"errors"
	"os/exec"
	"reflect"
	"testing"

	"github.com/camada/camada/container"
	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestStartError(t *testing.T) {
	failed := errors.New("exit status 1")
	for _, c := range []struct {
		name, said string
		code       int
	}{
		{"runc", `{"level":"error","msg":"runc create failed: exec: \"nosuch\": executable file not found in $PATH","time":"x"}`, 127},
		{"runc, a path", `{"level":"error","msg":"exec: \"/nosuch\": stat /nosuch: no such file or directory"}`, 127},
		{"crun", "{\"msg\":\"executable file `nosuch` not found in $PATH: No such file or directory\",\"level\":\"error\"}", 127},
		{"crun, no program", `{"msg":"open executable: Permission denied","level":"error"}`, 126},
		{"runsc", `{"msg":"starting sandbox: creating process: failed to load /nosuch: no such file or directory","level":"error"}`, 127},
		{"another reason", `{"msg":"mount x: no such file or directory","level":"error"}`, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := startError("create", failed, logged(c.said))
			var se *container.StartError
			if errors.As(err, &se) != (c.code != 0) || c.code != 0 && se.Code != c.code {
				t.Errorf("%v", err)
			}
		})
	}
	if err := startError("create", &exec.Error{Name: "x", Err: exec.ErrNotFound}, ""); !errdefs.IsNotFound(err) {
		t.Errorf("no runtime: %v", err)
	}
}

func TestLogged(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", ""},
		{"plain\n", "plain"},
		{"{\"level\":\"warning\",\"msg\":\"a\"}\n\n{\"level\":\"error\",\"msg\":\"b\"}\n", "b"},
		{"{\"level\":\"warning\",\"msg\":\"a\"}\nrest", "a\nrest"},
	} {
		if got := logged(c.text); got != c.want {
			t.Errorf("logged(%q) = %q, want %q", c.text, got, c.want)
		}
	}
}

func TestTable(t *testing.T) {
	titles, rows := table("UID PID CMD\n0   1   sh\nshort\n0   7   sleep 100\n")
	if want := []string{"UID", "PID", "CMD"}; !reflect.DeepEqual(titles, want) {
		t.Errorf("titles %q, want %q", titles, want)
	}
	if want := [][]string{{"0", "1", "sh"}, {"0", "7", "sleep 100"}}; !reflect.DeepEqual(rows, want) {
		t.Errorf("rows %q, want %q", rows, want)
	}
}

func FuzzAnswers(f *testing.F) {
	for _, s := range []string{"", "\n", "UID PID\n1 2\n", `{"level":"error","msg":"x"}`, `{"msg":1}`, "{\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		_ = logged(text)
		titles, rows := table(text)
		for _, r := range rows {
			if len(r) != len(titles) {
				t.Errorf("a row of %d cells below %d titles", len(r), len(titles))
			}
		}
	})
}

func TestBundleForAnyRuntime(t *testing.T) {
	any, one := int64(-1), int64(1)
	in := &specs.Spec{Version: "1.2.1", Annotations: map[string]string{"mine": "1"}, Linux: &specs.Linux{CgroupsPath: "camada/x", Resources: &specs.LinuxResources{
		Devices: []specs.LinuxDeviceCgroup{{Allow: true, Type: "c", Major: &one, Minor: &any, Access: "m"}}}},
		Mounts: []specs.Mount{{Destination: "/d", Type: container.TypeDetached, Source: "a", Options: []string{"ro"}}}}
	places := map[string]string{}
	out := Runtime{Bundle: "/b", Cgroup: "/camada/x"}.bundled(in, places)
	if d := out.Linux.Resources.Devices[0]; *d.Major != 1 || d.Minor != nil {
		t.Errorf("the rule for devices is %+v", d)
	}
	if *in.Linux.Resources.Devices[0].Minor != -1 || in.Linux.CgroupsPath != "camada/x" || len(in.Annotations) != 1 || in.Mounts[0].Type != container.TypeDetached {
		t.Error("the caller's spec was changed")
	}
	if out.Version != bundleVersion || out.Linux.CgroupsPath != "/camada/x" || out.Annotations["mine"] != "1" {
		t.Errorf("%+v", out)
	}
	if m := out.Mounts[0]; m.Type != "bind" || m.Source != "/b/mounts/a" || places["a"] != m.Source || !reflect.DeepEqual(m.Options, []string{"rbind", "ro"}) {
		t.Errorf("the mount is %+v, its place %v", m, places)
	}
}
