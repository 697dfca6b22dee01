package cdi

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

const (
	gpu = `{"cdiVersion":"0.6.0","kind":"vendor.com/gpu","annotations":{"org.mobyproject.buildkit.device.class":"fast"},
"containerEdits":{"env":["ALL=1"],"mounts":[{"hostPath":"/lib","containerPath":"/gpu/lib"}]},
"devices":[
 {"name":"b","annotations":{"org.mobyproject.buildkit.device.autoallow":"true"},"containerEdits":{"deviceNodes":[{"path":"/dev/gpu-b","hostPath":"/dev/null"}],"additionalGids":[7]}},
 {"name":"a","containerEdits":{"env":["WHICH=a"],"deviceNodes":[{"path":"/dev/gpu-a","type":"c","major":1,"minor":5,"permissions":"r"}]}},
 {"name":"hooked","annotations":{"org.mobyproject.buildkit.device.class":"slow"},"containerEdits":{"hooks":[{"hookName":"createContainer","path":"/x"}]}}]}`
	other = `{"cdiVersion":"0.6.0","kind":"vendor.com/nic","devices":[{"name":"0","containerEdits":{"env":["NIC=old"]}}]}`
)

func load(t *testing.T, files map[string]string) *Registry {
	t.Helper()
	top := t.TempDir()
	for name, text := range files {
		name = filepath.Join(top, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r, err := Load([]string{filepath.Join(top, "etc"), filepath.Join(top, "run"), filepath.Join(top, "nothing")})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestFind(t *testing.T) {
	r := load(t, map[string]string{
		"etc/gpu.json": gpu, "etc/nic.json": other, "run/nic.json": strings.Replace(other, "old", "new", 1),
		"etc/bad.json": "{", "etc/bad.yaml": "a: [", "etc/text.yml": "x", "etc/two.yaml": "--- {}\n--- {}\n", "etc/kind.json": `{"cdiVersion":"1","kind":"nokind"}`, "etc/README": "",
	})
	for name, want := range map[string]string{
		"vendor.com/gpu=a": "vendor.com/gpu=a", "vendor.com/gpu": "vendor.com/gpu=a", "vendor.com/gpu=*": "vendor.com/gpu=a vendor.com/gpu=b vendor.com/gpu=hooked",
		"vendor.com/gpu=c": "", "vendor.com/gp": "", "fast": "vendor.com/gpu=a vendor.com/gpu=b", "slow": "vendor.com/gpu=hooked",
	} {
		if got := strings.Join(r.Find(name), " "); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	if !r.AutoAllowed("vendor.com/gpu=b") || r.AutoAllowed("vendor.com/gpu=a") || r.AutoAllowed("x/y=z") {
		t.Error("what is allowed without being asked for")
	}
	if skipped := strings.Join(r.Skipped(), "\n"); len(r.Skipped()) != 5 || !strings.Contains(skipped, "bad.yaml: line 1: ") || !strings.Contains(skipped, "two.yaml: want one document") {
		t.Errorf("skipped:\n%s", skipped)
	}
	s := empty()
	if err := r.Inject(s, r.Find("vendor.com/nic"), false); err != nil || !slices.Equal(s.Process.Env, []string{"A=b", "NIC=new"}) {
		t.Errorf("%q, %v", s.Process.Env, err)
	}
}

func empty() *specs.Spec {
	return &specs.Spec{Process: &specs.Process{Env: []string{"A=b"}}, Linux: &specs.Linux{Resources: &specs.LinuxResources{}}}
}

func TestInject(t *testing.T) {
	r := load(t, map[string]string{"etc/gpu.json": gpu})
	s := empty()
	if err := r.Inject(s, []string{"vendor.com/gpu=a", "vendor.com/gpu=b"}, false); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(s.Process.Env, " "); got != "A=b WHICH=a ALL=1" {
		t.Errorf("environment %s", got)
	}
	if len(s.Linux.Devices) != 2 || s.Linux.Devices[0].Minor != 5 || s.Linux.Devices[1].Path != "/dev/gpu-b" || s.Linux.Devices[1].Minor != 3 {
		t.Errorf("devices %+v", s.Linux.Devices)
	}
	if rules := s.Linux.Resources.Devices; len(rules) != 2 || rules[0].Access != "r" || rules[1].Access != "rwm" || !rules[0].Allow {
		t.Errorf("rules %+v", rules)
	}
	if len(s.Mounts) != 1 || s.Mounts[0].Destination != "/gpu/lib" || !slices.Equal(s.Process.User.AdditionalGids, []uint32{7}) {
		t.Errorf("mounts %+v, groups %v", s.Mounts, s.Process.User.AdditionalGids)
	}
	s = empty()
	if err := r.Inject(s, []string{"vendor.com/gpu=b"}, true); err != nil || len(s.Linux.Devices) != 0 || len(s.Mounts) != 2 || s.Mounts[0].Source != "/dev/null" {
		t.Errorf("in a user namespace: %+v, %v", s.Mounts, err)
	}
	if err := r.Inject(empty(), []string{"vendor.com/gpu=hooked"}, false); !errdefs.IsUnsupported(err) {
		t.Errorf("hooks: %v", err)
	}
	if err := r.Inject(empty(), []string{"vendor.com/gpu=c"}, false); !errdefs.IsNotFound(err) {
		t.Errorf("nothing: %v", err)
	}
	twice := load(t, map[string]string{"etc/a.json": other, "etc/b.json": other})
	if err := twice.Inject(empty(), []string{"vendor.com/nic=0"}, false); !errdefs.IsInvalid(err) {
		t.Errorf("twice: %v", err)
	}
}

// inYAML is as tools write it.
const inYAML = `---
cdiVersion: 0.5.0
kind: nvidia.com/gpu
containerEdits:
  env: [NVIDIA_VISIBLE_DEVICES=void]
  mounts:
  - hostPath: /usr/bin/nvidia-smi
    containerPath: /usr/bin/nvidia-smi
    options: &ro
    - ro
    - nosuid
  - {hostPath: /lib, containerPath: /gpu/lib, options: *ro}
devices:
- name: "0"
  annotations: {org.mobyproject.buildkit.device.autoallow: "true"}
  containerEdits:
    deviceNodes:
    - path: /dev/nvidia0
      hostPath: /dev/null
      fileMode: 0640
      uid: 7
    additionalGids:
    - 44
`

func TestYAML(t *testing.T) {
	r := load(t, map[string]string{"etc/nvidia.yaml": inYAML, "run/nic.yml": "cdiVersion: 0.6.0\nkind: vendor.com/nic\ndevices: [{name: a, containerEdits: {env: [N=1]}}]\n"})
	if len(r.Skipped()) != 0 {
		t.Fatalf("skipped: %q", r.Skipped())
	}
	s := empty()
	if err := r.Inject(s, append(r.Find("nvidia.com/gpu"), r.Find("vendor.com/nic")...), false); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(s.Process.Env, " "); got != "A=b NVIDIA_VISIBLE_DEVICES=void N=1" {
		t.Errorf("environment %s", got)
	}
	if len(s.Linux.Devices) != 1 || s.Linux.Devices[0].Path != "/dev/nvidia0" || *s.Linux.Devices[0].FileMode != 0o640 || *s.Linux.Devices[0].UID != 7 || s.Linux.Devices[0].Minor != 3 {
		t.Errorf("devices %+v", s.Linux.Devices)
	}
	if len(s.Mounts) != 2 || !slices.Equal(s.Mounts[1].Options, []string{"ro", "nosuid"}) || !slices.Equal(s.Process.User.AdditionalGids, []uint32{44}) {
		t.Errorf("mounts %+v, groups %v", s.Mounts, s.Process.User.AdditionalGids)
	}
	if !r.AutoAllowed("nvidia.com/gpu=0") {
		t.Error("the annotation is not read")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(gpu))
	f.Add([]byte(inYAML))
	f.Fuzz(func(_ *testing.T, data []byte) {
		if j, err := asJSON(data); err == nil {
			data = j
		}
		s, err := parse(data)
		if err != nil {
			return
		}
		r := &Registry{}
		for i := range s.Devices {
			r.add(known{name: s.Kind + "=" + s.Devices[i].Name, spec: s, dev: &s.Devices[i]})
			_ = r.Inject(empty(), r.Find(s.Kind), i%2 == 0)
		}
	})
}
