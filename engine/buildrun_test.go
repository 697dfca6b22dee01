package engine

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/build"
	"github.com/camada/camada/build/op"
	"github.com/camada/camada/container"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/mount"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestParseHost(t *testing.T) {
	for in, want := range map[string]string{
		"db:10.0.0.1": "db 10.0.0.1", "DB=10.0.0.1": "db 10.0.0.1", "six:::1": "six ::1", "six=[fe80::1]": "six fe80::1", "me:host-gateway": "me invalid IP",
	} {
		h, err := parseHost(in)
		if got := h.Name + " " + h.Addr.String(); err != nil || got != want {
			t.Errorf("%s: got %s, %v, want %s", in, got, err, want)
		}
	}
	for _, bad := range []string{"", "db", ":1.2.3.4", "db:1.2.3", "a b:1.2.3.4", "a\nb:1.2.3.4", "db:"} {
		if h, err := parseHost(bad); !errdefs.IsInvalid(err) {
			t.Errorf("%q: got %v, %v", bad, h, err)
		}
	}
}

func TestApply(t *testing.T) {
	var o build.Options
	d, err := BuildRun{
		Network: "host", Allow: []string{"security.insecure", "device=a.com/b=c", "device=a.com/d=e,alias=x"},
		Ulimits: []string{"nofile=1:2", "core=-1"}, CgroupParent: "up/../over",
	}.apply(&o)
	if err != nil {
		t.Fatal(err)
	}
	if !o.Allow.HostNetwork || !o.Allow.Insecure || o.Network != op.NetworkHost || o.Settings.CgroupParent != "/over" || d.all || d.names["x"] != "a.com/d=e" {
		t.Errorf("got %+v, %+v", o, d)
	}
	if want := []op.Ulimit{{Name: "nofile", Soft: 1, Hard: 2}, {Name: "core", Soft: -1, Hard: -1}}; !slices.Equal(o.Settings.Ulimits, want) {
		t.Errorf("limits %+v", o.Settings.Ulimits)
	}
	for _, bad := range []BuildRun{{Network: "bridge"}, {Allow: []string{"all"}}, {Ulimits: []string{"nofile=2:1"}}, {AddHosts: []string{"x"}}} {
		if _, err := bad.apply(&o); !errdefs.IsInvalid(err) {
			t.Errorf("%+v: got %v", bad, err)
		}
	}
	var r specs.LinuxResources
	BuildRun{Memory: 5, MemorySwap: -1, CPUQuota: 7, CPUSetCPUs: "0"}.limits(&r)
	if *r.Memory.Limit != 5 || *r.Memory.Swap != -1 || *r.CPU.Quota != 7 || r.CPU.Period != nil || r.CPU.Cpus != "0" {
		t.Errorf("limits %+v %+v", r.Memory, r.CPU)
	}
}

// TestSecrets reads secrets once, and has no part of them in errors.
func TestSecrets(t *testing.T) {
	dir := t.TempDir()
	file, large := filepath.Join(dir, "file"), filepath.Join(dir, "large")
	for name, size := range map[string]int{file: 3, large: maxSecret + 1} {
		if err := os.WriteFile(name, []byte(strings.Repeat("x", size)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := newSecrets([]BuildSecret{{ID: "f", File: file}, {ID: "v", Value: []byte("value")}, {ID: "empty", Value: nil}})
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]string{"f": "xxx", "v": "value", "empty": ""} {
		for range 2 {
			if got, err := s.get(id); err != nil || string(got) != want {
				t.Errorf("%s: got %q, %v", id, got, err)
			}
			if id == "f" {
				os.Remove(file) // a pipe could be read once only, too
			}
		}
	}
	if _, err := s.get("none"); !errdefs.IsNotFound(err) {
		t.Errorf("got %v", err)
	}
	if _, err := newSecrets([]BuildSecret{{ID: "l", File: large}}); !errdefs.IsLimit(err) || strings.Contains(err.Error(), "xxx") {
		t.Errorf("too large: %v", err)
	}
	if _, err := newSecrets([]BuildSecret{{ID: "l", File: dir + "/none"}}); !errdefs.IsNotFound(err) {
		t.Errorf("not there: %v", err)
	}
}

// TestVisible: mounts that a step's own would hide are left out.
func TestVisible(t *testing.T) {
	at := func(names ...string) (list []specs.Mount) {
		for _, n := range names {
			list = append(list, specs.Mount{Destination: n})
		}
		return list
	}
	got := visible(at("/etc/hosts", "/etc/resolv.conf", "/dev/shm", "/etcetera"), at("/etc", "/dev/shm"))
	if len(got) != 1 || got[0].Destination != "/etcetera" {
		t.Errorf("got %v", got)
	}
}

func TestWithEnv(t *testing.T) {
	env := []string{"A=1", "B=2", "A_B=3"}
	if got := withEnv(env, []string{"A=x=y", "C="}); !slices.Equal(got, []string{"B=2", "A_B=3", "A=x=y", "C="}) || env[0] != "A=1" {
		t.Errorf("got %q, of %q", got, env)
	}
}

// TestStubs removes what was made for mounts, unless something is in it, and gives directories their times back, unless they changed.
func TestStubs(t *testing.T) {
	top := t.TempDir()
	old := time.Unix(1000, 0)
	make := func(name string, isDir bool) container.MountPoint {
		dir := filepath.Dir(filepath.Join(top, name))
		before, err := os.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		if isDir {
			err = os.Mkdir(filepath.Join(top, name), 0o755)
		} else {
			err = os.WriteFile(filepath.Join(top, name), nil, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		after, err := os.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		return container.MountPoint{Path: name, Before: before.ModTime(), After: after.ModTime()}
	}
	for _, d := range []string{"etc", "var"} {
		if err := os.Mkdir(filepath.Join(top, d), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(filepath.Join(top, d), old, old); err != nil {
			t.Fatal(err)
		}
	}
	s := &stubs{root: mount.Mount{Kind: mount.Bind, Source: top}}
	for _, name := range []string{"/etc/secret", "/etc/other", "/var/file", "/etc/dir/", "/etc/dir/sub/", "/etc/full/"} {
		s.add(make(strings.TrimSuffix(name, "/"), strings.HasSuffix(name, "/")))
	}
	if err := os.WriteFile(filepath.Join(top, "etc/full/x"), nil, 0o644); err != nil { // what the step did
		t.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond)
	if err := os.WriteFile(filepath.Join(top, "var/new"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	s.remove()
	var left []string
	for _, dir := range []string{"etc", "var"} {
		entries, err := os.ReadDir(filepath.Join(top, dir))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			left = append(left, dir+"/"+e.Name())
		}
	}
	if !slices.Equal(left, []string{"etc/full", "var/new"}) {
		t.Errorf("left: %q", left)
	}
	if st, err := os.Stat(filepath.Join(top, "var")); err != nil || st.ModTime().Equal(old) {
		t.Errorf("the time of a directory that the step changed is %v, %v", st.ModTime(), err)
	}
	if err := os.RemoveAll(filepath.Join(top, "etc/full")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(filepath.Join(top, "etc"), old, old); err != nil {
		t.Fatal(err)
	}
	s = &stubs{root: s.root}
	s.add(make("/etc/one", true))
	s.add(make("/etc/two", false))
	s.remove()
	if st, err := os.Stat(filepath.Join(top, "etc")); err != nil || !st.ModTime().Equal(old) {
		t.Errorf("the time of a directory that nothing is left in is %v, %v", st.ModTime(), err)
	}
}
