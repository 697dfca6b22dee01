// Package peers runs other people's container tools in tests: found on PATH, each with stores and sockets of its own
// in one directory that is removed at the end, set up so that they work without the right to raise limits.
//
//	p := peers.Need(t, "podman")
//	p.Run("podman", "load", "-i", archive)
//
// A test whose tool is not there is skipped, and says so.
package peers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Peers runs the programs of others in a directory of their own.
type Peers struct {
	t   testing.TB
	dir string
	env []string
	// docker, buildkit and containerd are the addresses of daemons of our own; "" before they were started.
	docker, buildkit, containerd string
}

// ContainersConf suits machines without systemd, and users who may not raise limits.
const ContainersConf = `[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
`

// policy accepts each image: nothing here comes from outside.
const policy = `{"default": [{"type": "insecureAcceptAnything"}]}`

// Need skips the test when a program is not there, or not root.
func Need(t testing.TB, programs ...string) *Peers {
	t.Helper()
	if testing.Short() {
		t.Skip("runs other programs; left out by -short")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root, as the other programs do")
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("%s is not installed", p)
		}
	}
	// Podman wants a short path.
	dir, err := os.MkdirTemp("", "peer")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	p := &Peers{t: t, dir: dir}
	p.Write("containers.conf", ContainersConf)
	p.Write("policy.json", policy)
	p.env = append(os.Environ(), "TMPDIR="+dir, "CONTAINERS_CONF="+p.Path("containers.conf"), "DOCKER_BUILDKIT=0")
	return p
}

// In returns the same peers for a subtest.
func (p *Peers) In(t testing.TB) *Peers {
	c := *p
	c.t = t
	return &c
}

// Path is a name in the peers' directory.
func (p *Peers) Path(name string) string { return filepath.Join(p.dir, name) }

// Write writes a file in the peers' directory.
func (p *Peers) Write(name, text string) {
	p.t.Helper()
	if err := os.WriteFile(p.Path(name), []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// Run runs a program and returns what it printed, without the last newline.
func (p *Peers) Run(program string, args ...string) string {
	p.t.Helper()
	out, err := p.Try(program, args...)
	if err != nil {
		p.t.Fatalf("%s %s: %v", program, strings.Join(args, " "), err)
	}
	return out
}

// Try is Run for programs that may fail; what they said is in the test's log.
func (p *Peers) Try(program string, args ...string) (string, error) {
	p.t.Helper()
	out, messages, err := p.Talk(program, args...)
	if err != nil {
		p.t.Logf("%s %s: %s%s", program, strings.Join(args, " "), out, messages)
		err = fmt.Errorf("%w: %s", err, messages)
	}
	return strings.TrimSpace(string(out)), err
}

// Talk is Try without a word in the test's log: the whole standard output, and what stood on the other one.
func (p *Peers) Talk(program string, args ...string) (out []byte, messages string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := p.Command(ctx, program, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	return stdout.Bytes(), strings.TrimSpace(stderr.String()), err
}

// Command is a program with the flags and the environment that let it find its own store, or the daemon that was started for it.
func (p *Peers) Command(ctx context.Context, program string, args ...string) *exec.Cmd {
	store := []string{"--root", p.Path("storage"), "--runroot", p.Path("run"), "--storage-driver", "vfs"}
	switch program {
	case "podman":
		args = append(append(store, "--tmpdir", p.Path("tmp")), args...)
	case "buildah":
		args = append(store, args...)
	case "skopeo":
		args = append([]string{"--policy", p.Path("policy.json")}, args...)
	case "docker":
		args = append([]string{"--host", p.docker}, args...)
	case "buildctl":
		args = append([]string{"--addr", p.buildkit}, args...)
	case "ctr":
		args = append([]string{"--address", p.containerd}, args...)
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = p.env
	return cmd
}

// ExitCode is that of a program that Try ran.
func ExitCode(err error) int {
	var ee *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &ee):
		return ee.ExitCode()
	}
	return -1
}
