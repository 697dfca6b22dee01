package test

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/camada/camada/internal/peers"
	"golang.org/x/sys/unix"
)

// engine is a program that makes containers, with camada as their runtime.
type engine struct {
	t *testing.T
	// call makes a command of it.
	call func(ctx context.Context, args ...string) *exec.Cmd
	// states is a pattern of the directories where the runtime keeps its containers, context that of the image, own one that all
	// of the engine's files and mounts are below, and where it is called.
	states, context, own string
	// limits tells whether containers have cgroups.
	limits bool
}

// under is an engine of root's.
func under(t *testing.T, p *peers.Peers, states, program string, global ...string) *engine {
	return &engine{t: t, states: states, context: p.Path("ctx"), own: p.Path(""), limits: true, call: func(ctx context.Context, args ...string) *exec.Cmd {
		cmd := p.Command(ctx, program, slices.Concat(global, args)...)
		cmd.Dir = p.Path("")
		return cmd
	}}
}

// TestUnderEngines lives with containers that the command lines of podman, docker and containerd make and camada runs.
func TestUnderEngines(t *testing.T) {
	c, p := withPeers(t)
	engineImage(c, p)
	archive, context, link := p.Path("img.tar"), p.Path("ctx"), runtimeLink(t, c)
	t.Run("podman", func(t *testing.T) {
		p := peers.Need(t, "podman", "conmon")
		states := p.Path("states")
		// Not by --runtime-flag: podman's cleanup, another process, is not told of it.
		program := p.Path("camada-runtime")
		p.Write("camada-runtime", "#!/bin/sh\nexec "+link+" --root "+states+" \"$@\"\n")
		if err := os.Chmod(program, 0o755); err != nil {
			t.Fatal(err)
		}
		e := under(t, p, states, "podman", "--runtime", program)
		e.context = context
		e.lives(archive)
		e.mapped()
	})
	t.Run("docker", func(t *testing.T) {
		p := peers.Need(t, "dockerd", "docker", "containerd")
		p.StartDockerWith("camada", link)
		e := under(t, p, p.Path("exec/*/*"), "docker")
		e.context = context
		e.lives(archive)
	})
	t.Run("containerd", func(t *testing.T) {
		p := peers.Need(t, "containerd", "ctr", "containerd-shim-runc-v2")
		p.StartContainerd()
		e := under(t, p, p.Path("states/default"), "ctr")
		e.context = context
		e.tasks(archive, link)
	})
}

// runtimeLink is the name under which camada is a runtime.
func runtimeLink(t *testing.T, c *ours) string {
	t.Helper()
	link := filepath.Join(filepath.Dir(c.bin), "camada-runtime")
	if err := os.Symlink(c.bin, link); err != nil {
		t.Fatal(err)
	}
	return link
}

const engineDockerfile = "FROM scratch\nCOPY rootfs /\nENV PATH=/bin\n"

// engineImage makes a docker archive of an image whose names are img:1 and docker.io/library/img:1.
func engineImage(c *ours, p *peers.Peers) (archive string) {
	dir := system(c.t, p.Path("ctx"))
	write(c.t, dir, "Dockerfile", engineDockerfile)
	c.run("build", "-q", "-t", "img:1", dir)
	archive = p.Path("img.tar")
	c.run("save", "-o", archive, "img:1")
	return archive
}

// in is the engine in a subtest.
func (e *engine) in(t *testing.T) *engine {
	c := *e
	c.t = t
	return &c
}

// command is one of the engine's, which is given up after two minutes.
func (e *engine) command(args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	e.t.Cleanup(cancel)
	cmd := e.call(ctx, args...)
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// try runs a command and returns what it wrote, without the last newline, and its exit code.
func (e *engine) try(stdin string, args ...string) (out, messages string, code int) {
	e.t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := e.command(args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	if err := cmd.Run(); cmd.ProcessState == nil {
		e.t.Fatal(err)
	}
	return strings.TrimSpace(stdout.String()), strings.TrimSpace(stderr.String()), cmd.ProcessState.ExitCode()
}

// run runs a command that must succeed.
func (e *engine) run(args ...string) string {
	e.t.Helper()
	out, messages, code := e.try("", args...)
	if code != 0 {
		e.t.Fatalf("%s: exit code %d\n%s\n%s", strings.Join(args, " "), code, out, messages)
	}
	return out
}

// says checks what a command writes.
func (e *engine) says(want string, args ...string) {
	e.t.Helper()
	if got := e.run(args...); got != want {
		e.t.Errorf("%s: says %q, want %q", strings.Join(args, " "), got, want)
	}
}

// until waits for something to become so.
func until(t *testing.T, what string, so func() bool) {
	t.Helper()
	for range 600 {
		if so() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("not after half a minute: %s", what)
}

// resized is what is typed into a shell: it waits for another size of its terminal, and ends with exit code 5.
const resized = `echo wai""ting; while [ "$(busybox stty size)" != "37 91" ]; do sleep 0.05; done; echo si""zed; exit 5` + "\n"

// onTerminal runs a command on a terminal, types keys, makes the terminal one of 91 columns and 37 lines when the command
// says that it waits for that, and checks what it said and its exit code.
func (e *engine) onTerminal(want, keys string, code int, args ...string) {
	t := e.t
	t.Helper()
	master, slave, err := terminal()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	cmd := e.command(args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	attr := &syscall.SysProcAttr{}
	if cmd.SysProcAttr != nil {
		attr = cmd.SysProcAttr
	}
	attr.Setsid, attr.Setctty = true, true
	cmd.SysProcAttr = attr
	err = cmd.Start()
	slave.Close()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(master, keys); err != nil {
		t.Error(err)
	}
	var said []byte
	var once sync.Once
	for buf := make([]byte, 4096); ; { // until the terminal hangs up
		n, err := master.Read(buf)
		said = append(said, buf[:n]...)
		if bytes.Contains(said, []byte("waiting")) {
			once.Do(func() {
				if err := unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: 91, Row: 37}); err != nil {
					t.Error(err)
				}
			})
		}
		if err != nil {
			break
		}
	}
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != code || !bytes.Contains(said, []byte(want)) {
		t.Errorf("%s: exit code %d, want %d, and %q in %q", strings.Join(args, " "), got, code, want, said)
	}
}
