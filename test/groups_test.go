package test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/camada/camada/container/cgroup"
)

// groupOf is the directory of a process's cgroup in the hierarchy of a controller of version 1, or else in that of version 2.
func groupOf(t *testing.T, pid, controller string) (dir string, unified bool) {
	t.Helper()
	layout, err := cgroup.Detect()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("/proc/" + pid + "/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) < 3 {
			continue
		}
		for _, c := range strings.Split(f[1], ",") {
			if c == controller && c != "" {
				return filepath.Join(layout.V1[controller], f[2]), false
			}
		}
		if f[0] == "0" {
			dir = filepath.Join(layout.Unified, f[2])
		}
	}
	return dir, true
}

// expectLimit looks at a limit in the kernel: a file of cgroup v1, or one of v2, "" for none, which begins with it.
func expectLimit(t *testing.T, pid, controller, v1, v2, want string) {
	t.Helper()
	dir, unified := groupOf(t, pid, controller)
	file := v1
	if unified {
		file = v2
	}
	if file == "" {
		return
	}
	got, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil || !strings.HasPrefix(string(got), want) {
		t.Errorf("%s of %s: %q (%v), want %s", file, dir, got, err, want)
	}
}

// frozen asks the kernel whether a process's cgroup stands still.
func frozen(t *testing.T, pid string) bool {
	t.Helper()
	dir, _ := groupOf(t, pid, "")
	if b, err := os.ReadFile(filepath.Join(dir, "cgroup.events")); err == nil && strings.Contains(string(b), "frozen 1") {
		return true
	}
	dir, unified := groupOf(t, pid, "freezer")
	if unified {
		return false
	}
	b, err := os.ReadFile(filepath.Join(dir, "freezer.state"))
	return err == nil && strings.HasPrefix(string(b), "FROZEN")
}

// groupsNamed are the cgroups whose name has a container's id in it.
func groupsNamed(t *testing.T, id string) (dirs []string) {
	t.Helper()
	err := filepath.WalkDir("/sys/fs/cgroup", func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.Contains(d.Name(), id) {
			dirs = append(dirs, path)
		}
		return nil // others come and go
	})
	if err != nil {
		t.Error(err)
	}
	return dirs
}

// oomKills is how often the kernel ended a process of a process's cgroup for lack of memory.
func oomKills(t *testing.T, pid string) int {
	t.Helper()
	dir, unified := groupOf(t, pid, "memory")
	file := "memory.oom_control"
	if unified {
		file = "memory.events"
	}
	b, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if n, ok := strings.CutPrefix(line, "oom_kill "); ok {
			count, err := strconv.Atoi(strings.TrimSpace(n))
			if err != nil {
				t.Fatal(err)
			}
			return count
		}
	}
	return 0
}
