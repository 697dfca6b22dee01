package test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// screen is a command with a terminal of its own.
type screen struct {
	m      *machine
	cmd    *exec.Cmd
	master *os.File
	said   bytes.Buffer
}

func (m *machine) onScreen(args ...string) *screen {
	m.t.Helper()
	master, slave, err := terminal()
	m.must(err)
	m.must(unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: 91, Row: 37}))
	s := &screen{m: m, cmd: m.command(args...), master: master}
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = slave, slave, slave
	s.cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true, Setctty: true}
	m.must(s.cmd.Start())
	slave.Close()
	return s
}

// expect reads until a text was said, since the last expect.
func (s *screen) expect(want string) {
	s.m.t.Helper()
	// A terminal's other end may be one that knows no deadlines: the end of the command ends the reading, too.
	late := time.AfterFunc(time.Minute, func() { _ = s.cmd.Process.Kill() })
	defer late.Stop()
	buf := make([]byte, 1000)
	for {
		if i := bytes.Index(s.said.Bytes(), []byte(want)); i >= 0 {
			s.said.Next(i + len(want))
			return
		}
		n, err := s.master.Read(buf)
		s.said.Write(buf[:n])
		if err != nil && !bytes.Contains(s.said.Bytes(), []byte(want)) {
			s.m.t.Fatalf("%v: %v; no %q in %q", s.cmd.Args, err, want, s.said.String())
		}
	}
}

func (s *screen) keys(text string) {
	s.m.t.Helper()
	_, err := io.WriteString(s.master, text)
	s.m.must(err)
}

// ends waits for the end of the command.
func (s *screen) ends(code int) {
	s.m.t.Helper()
	rest, _ := io.ReadAll(s.master) // until the terminal hangs up
	_ = s.cmd.Wait()
	if got := s.cmd.ProcessState.ExitCode(); got != code {
		s.m.t.Errorf("%v: exit code %d, want %d\n%s%s", s.cmd.Args, got, code, s.said.String(), rest)
	}
	s.master.Close()
}

// TestAttach leaves containers with terminals and comes back, several at once.
func TestAttach(t *testing.T) {
	onMachine(t, func(m *machine) {
		m.write("ctx/Dockerfile", "FROM scratch\nCOPY rootfs /\n")
		m.camada("build", "-q", "-t", "app", m.path("ctx"))

		// The prompt is seen at once, the terminal has the caller's size and its changes, and the keys leave.
		s := m.onScreen("run", "-it", "--name", "shell", "--network", "none", "app", "sh")
		s.expect("# ")
		s.keys("busybox stty size\n")
		s.expect("37 91")
		m.must(unix.IoctlSetWinsize(int(s.master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: 102, Row: 33}))
		m.must(s.cmd.Process.Signal(unix.SIGWINCH))
		s.expect("# ")
		s.keys("until busybox stty size | grep '33 102'; do sleep 0.1; done; echo resi''zed\n")
		s.expect("resized")
		s.keys("\x10\x11")
		s.expect("read escape sequence")
		s.ends(0)
		if out := m.camada("ps", "-q"); out == "" {
			t.Fatal("the container ended when it was left")
		}

		// Two come back; each sees what the other types. Other keys leave.
		one, two := m.onScreen("attach", "--detach-keys", "ctrl-a,x", "shell"), m.onScreen("attach", "shell")
		one.expect("# ")
		two.expect("# ")
		one.keys("echo from-$((40+2))\n")
		one.expect("from-42")
		two.expect("from-42")
		one.keys("\x01x")
		one.expect("read escape sequence")
		one.ends(0)
		two.keys("exit 7\n")
		two.ends(7)
		if out := m.camada("inspect", "--format", "{{.State.ExitCode}}", "shell"); out != "7" {
			t.Errorf("the exit code in the record is %s", out)
		}

		// Started again, with its terminal.
		s = m.onScreen("start", "-ai", "shell")
		s.expect("# ")
		s.keys("exit 3\n")
		s.ends(3)

		// Made in the background with a terminal, entered later, removed at its end.
		m.camada("run", "-dit", "--rm", "--name", "later", "--network", "none", "app", "sh")
		s = m.onScreen("attach", "later")
		s.expect("# ")
		s.keys("exit 4\n")
		s.ends(4)
		m.gone("later")

		// The command is killed: the container goes on, as its monitor does.
		s = m.onScreen("run", "-it", "--rm", "--name", "lost", "--network", "none", "app", "sh")
		s.expect("# ")
		m.must(s.cmd.Process.Kill())
		s.ends(-1)
		s = m.onScreen("attach", "lost")
		s.expect("# ")
		s.keys("exit\n")
		s.ends(0)
		m.gone("lost")

		// A further program is left, and goes on; one whose terminal is gone ends.
		m.camada("run", "-d", "--name", "server", "--network", "none", "app", "sleep", "1000")
		s = m.onScreen("exec", "-it", "server", "sh")
		s.expect("# ")
		s.keys("busybox stty size\n")
		s.expect("37 91")
		s.keys("(while [ ! -e /go ]; do sleep 0.1; done; echo went > /went) & wait\n")
		s.keys("\x10\x11")
		s.expect("read escape sequence")
		s.ends(0)
		m.camada("exec", "server", "sh", "-c", "touch /go; until [ -e /went ]; do sleep 0.1; done")
		s = m.onScreen("exec", "-it", "--detach-keys", "ctrl-a,x", "server", "sh")
		s.expect("# ")
		s.keys("echo still-$((40+2))\n")
		s.expect("still-42")
		s.keys("exit 5\n")
		s.ends(5)
		s = m.onScreen("exec", "-it", "server", "sh", "-c", "echo he''re; exec sleep 4321")
		s.expect("here")
		m.must(s.cmd.Process.Kill())
		s.ends(-1)
		m.camada("exec", "server", "sh", "-c", "while ps -o args | grep -q '^sleep 4321'; do sleep 0.1; done")
		m.camada("rm", "-f", "server")
		m.none("after the terminals", m.leftovers)
	})
}

// gone waits until a container is no longer there.
func (m *machine) gone(name string) {
	m.t.Helper()
	for range 200 {
		if m.camada("ps", "-aq", "--filter", "name="+name) == "" {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	m.t.Errorf("container %s is still there", name)
}

// TestAttachStreams attaches without a terminal.
func TestAttachStreams(t *testing.T) {
	onMachine(t, func(m *machine) {
		m.write("ctx/Dockerfile", "FROM scratch\nCOPY rootfs /\n")
		m.camada("build", "-q", "-t", "app", m.path("ctx"))
		m.camada("run", "-di", "--name", "echo", "--network", "none", "app", "sh", "-c",
			`trap 'echo got usr1' USR1; while read line; do echo "out $line"; echo "err $line" >&2; test "$line" = end && exit 5; done; echo eof`)
		attach := func(input string, args ...string) (out, errs string, code int) {
			cmd := m.command(append([]string{"attach"}, args...)...)
			var stdout, stderr bytes.Buffer
			cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &stdout, &stderr
			_ = cmd.Run()
			return stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()
		}
		if out, errs, code := attach("one\nend\n", "echo"); out != "out one\nout end\n" || errs != "err one\nerr end\n" || code != 5 {
			t.Errorf("%q, %q, %d", out, errs, code)
		}
		if _, errs, code := attach("", "echo"); code == 0 || !strings.Contains(errs, "does not run") {
			t.Errorf("attached to what has ended: %q, %d", errs, code)
		}
		// Its input stays open when one who attached has no more, and no input is given when that is not wanted.
		m.camada("start", "echo")
		cmd := m.command("attach", "--no-stdin", "--sig-proxy=false", "echo")
		cmd.Stdin = strings.NewReader("end\n")
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		m.must(cmd.Start())
		time.Sleep(300 * time.Millisecond)
		m.must(cmd.Process.Signal(unix.SIGTERM)) // ends the command, not the container
		_ = cmd.Wait()
		if m.camada("ps", "-q") == "" {
			t.Error("the container ended")
		}
		if out, _, code := attach("end\n", "echo"); out != "out end\n" || code != 5 {
			t.Errorf("%q, %d", out, code)
		}
		// run -a
		for args, want := range map[string]string{"stdout": "out\n", "stderr": "err\n"} {
			cmd := m.command("run", "--rm", "-a", args, "--network", "none", "app", "sh", "-c", "echo out; echo err >&2")
			both, err := cmd.CombinedOutput()
			if err != nil || string(both) != want {
				t.Errorf("-a %s: %q, %v", args, both, err)
			}
		}
		m.none("after the streams", m.leftovers)
	})
}

// TestMonitorMemory says what a monitor takes.
func TestMonitorMemory(t *testing.T) {
	onMachine(t, func(m *machine) {
		m.write("ctx/Dockerfile", "FROM scratch\nCOPY rootfs /\n")
		m.camada("build", "-q", "-t", "app", m.path("ctx"))
		m.camada("run", "-d", "--name", "long", "--network", "none", "--init", "app", "sleep", "1000")
		var keeper int
		_, err := fmt.Sscan(m.keeper("long"), &keeper)
		m.must(err)
		var kib int
		for range 50 { // it gives memory back after the start
			if kib = anonymous(m, keeper); kib < monitorMemory {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		if kib >= monitorMemory {
			t.Errorf("the monitor has %d KiB of its own, want less than %d", kib, monitorMemory)
		}
		t.Logf("the monitor has %d KiB of its own", kib)
		m.camada("rm", "-f", "long")
	})
}

// monitorMemory is what a monitor may have of its own, in KiB; the program's text it shares with all others.
const monitorMemory = 5 << 10

// anonymous is the memory of a process that is no file's, in KiB.
func anonymous(m *machine, pid int) int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	m.must(err)
	var kib int
	for line := range strings.SplitSeq(string(b), "\n") {
		if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			_, err := fmt.Sscan(rest, &kib)
			m.must(err)
		}
	}
	return kib
}

// keeper is the process that looks after a container.
func (m *machine) keeper(name string) string {
	m.t.Helper()
	id := m.camada("inspect", "--format", "{{.ID}}", name)
	b, err := os.ReadFile(m.path("store", "containers", strings.TrimSpace(id), "state.json"))
	m.must(err)
	_, rest, _ := strings.Cut(string(b), `"keeper":`)
	return strings.FieldsFunc(rest, func(r rune) bool { return r < '0' || r > '9' })[0]
}
