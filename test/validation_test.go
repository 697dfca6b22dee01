package test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestValidation runs the validation programs of the OCI runtime-tools with camada as the runtime. One that fails is tried with runc
// and crun: camada has to pass wherever one of them does.
func TestValidation(t *testing.T) {
	tools := validationTools(t)
	ours := validated{name: "camada", tools: tools, command: shipped(t) + " runtime"}
	var others []validated
	for _, name := range []string{"runc", "crun"} {
		if _, err := exec.LookPath(name); err == nil {
			others = append(others, validated{name: name, tools: tools, command: name})
		}
	}
	programs, err := os.ReadDir(filepath.Join(tools, "bin"))
	if err != nil {
		t.Fatal(err)
	}
	if len(programs) < 58 {
		t.Fatalf("%d validation programs, want 58", len(programs))
	}
	places := make(chan struct{}, 4) // they sleep most of the time
	for _, p := range programs {
		t.Run(p.Name(), func(t *testing.T) {
			if !strings.HasPrefix(p.Name(), "linux_cgroups") && !strings.HasPrefix(p.Name(), "delete_") { // those share a cgroup
				t.Parallel()
				places <- struct{}{}
				defer func() { <-places }()
			}
			out, ok := ours.run(t, p.Name())
			if ok {
				return
			}
			for _, o := range others {
				if o.passes(t, p.Name()) {
					t.Errorf("%s passes, camada does not", o.name)
				}
			}
			if t.Failed() {
				t.Log(notOK(out))
			}
			reason := excused()[p.Name()]
			switch {
			case t.Failed():
			case reason != "":
				t.Skipf("not passed, as %s", reason)
			case len(others) > 0:
				t.Skip("neither camada nor another runtime passes on this machine")
			default:
				t.Errorf("not passed:\n%s", notOK(out))
			}
		})
	}
}

// validationTools is the directory that .ci/runtimetools has filled.
func validationTools(t *testing.T) string {
	t.Helper()
	if testing.Short() || os.Geteuid() != 0 {
		t.Skip("runs the validation programs of the OCI as root; left out by -short")
	}
	if runtime.GOARCH != "amd64" && runtime.GOARCH != "386" {
		t.Skip("the validation programs have no root file system for this processor")
	}
	dir := os.Getenv("CAMADA_RUNTIME_TOOLS")
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			t.Skip(err)
		}
		dir = filepath.Join(cache, "camada-peers/runtimetools")
	}
	if _, err := os.Stat(filepath.Join(dir, "version")); err != nil {
		t.Skipf("no validation programs: .ci/runtimetools %s", dir)
	}
	return dir
}

// validated is a runtime that the programs are run with.
type validated struct {
	name string
	// tools is where the programs are, command words of shell to which arguments are added.
	tools, command string
}

func (v validated) passes(t *testing.T, program string) bool {
	t.Helper()
	_, ok := v.run(t, program)
	return ok
}

// run tells what a program said, and whether it is satisfied.
func (v validated) run(t *testing.T, program string) (string, bool) {
	t.Helper()
	dir := t.TempDir()
	script, states := filepath.Join(dir, "runtime"), filepath.Join(dir, "states")
	text := fmt.Sprintf("#!/bin/sh\nexec %s --root %s \"$@\"\n", v.command, states)
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	path := filepath.Join(v.tools, "bin", program)
	cmd := exec.CommandContext(ctx, path)
	if v.name == "crun" {
		// It accepts no machine that has both versions of cgroups.
		cmd = exec.CommandContext(ctx, "unshare", "-m", "sh", "-c", `umount /sys/fs/cgroup/unified 2>/dev/null; exec "$0"`, path)
	}
	cmd.Dir = v.tools
	cmd.Env = append(os.Environ(), "RUNTIME="+script, "TMPDIR="+dir)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	v.remove(t, script, states)
	return fmt.Sprintf("%s(%v)", out, err), err == nil && !strings.HasPrefix(string(out), "not ok") && !strings.Contains(string(out), "\nnot ok")
}

// notOK are the lines that tell of failures, with what stands below each.
func notOK(out string) string {
	var lines []string
	below := 0
	for line := range strings.Lines(out) {
		switch {
		case strings.HasPrefix(line, "not ok"):
			below = 15
		case strings.HasPrefix(line, "ok "):
			below = 0
		}
		if below--; below >= 0 && len(lines) < 60 || strings.HasPrefix(line, "camada:") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// remove removes the containers that a program has left.
func (v validated) remove(t *testing.T, script, states string) {
	t.Helper()
	entries, err := os.ReadDir(states)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for _, e := range entries {
		if out, err := exec.Command(script, "delete", "--force", e.Name()).CombinedOutput(); err != nil {
			t.Errorf("%s: container %s is left: %v: %s", v.name, e.Name(), err, out)
		}
	}
	if entries, _ = os.ReadDir(states); v.name == "camada" && len(entries) > 0 {
		t.Errorf("left in the directory of states: %v", entries)
	}
}

// excused tells why camada does not pass, by program: see docs/compatibility.md.
func excused() map[string]string {
	const (
		machine = "the machine lacks the controller or a file of it"
		memory  = "it wants a limit of the kernel's memory"
		rights  = "it takes CAP_SYS_RESOURCE"
	)
	return map[string]string{
		"linux_cgroups_blkio": machine, "linux_cgroups_hugetlb": machine, "linux_cgroups_network": machine,
		"linux_cgroups_relative_blkio": machine, "linux_cgroups_relative_hugetlb": machine, "linux_cgroups_relative_network": machine,
		"linux_cgroups_memory": memory, "linux_cgroups_relative_memory": memory, "linux_process_apparmor_profile": "the kernel has no AppArmor",
		"process_capabilities": rights, "process_rlimits": rights, "linux_rootfs_propagation": rights,
		"hooks_stdin": "it takes the version for the id of the process", "delete": "it wants that a container that was made cannot be deleted",
		"start": "it wants both an error and none of a container without a process", "pidfile": "it kills a program that has ended",
		"misc_props": "it starts a program that it has not put into the root file system",
	}
}
