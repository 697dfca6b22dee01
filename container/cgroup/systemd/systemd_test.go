package systemd

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/camada/camada/errdefs"
)

// TestScope makes a scope with the machine's systemd.
func TestScope(t *testing.T) {
	if !Running() {
		if err := Start(t.Context(), Scope{Name: "camada-test.scope"}); !errdefs.IsUnsupported(err) {
			t.Errorf("without systemd: %v", err)
		}
		t.Skip("systemd does not run here")
	}
	cmd := exec.Command("sleep", "60")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	s := Scope{Name: "camada-test.scope", Description: "a test", Pid: cmd.Process.Pid, User: os.Getuid() != 0}
	if err := Start(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	s.Name = "not a name"
	if err := Start(t.Context(), s); err == nil {
		t.Error("a unit of a bad name was made")
	}
}

// TestBus speaks with a real bus, which knows no systemd.
func TestBus(t *testing.T) {
	daemon, err := exec.LookPath("dbus-daemon")
	if err != nil {
		t.Skip("needs dbus-daemon")
	}
	path := filepath.Join(t.TempDir(), "bus")
	cmd := exec.Command(daemon, "--session", "--nofork", "--nopidfile", "--print-address", "--address=unix:path="+path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	err = start(t.Context(), path, Scope{Name: "camada-test.scope", Slice: "system.slice", Description: "a test", Pid: os.Getpid()})
	if err == nil || !strings.Contains(err.Error(), "org.freedesktop.systemd1") {
		t.Errorf("the bus said %v", err)
	}
	// Where systemd runs, it is asked itself.
	if err := start(t.Context(), filepath.Join(t.TempDir(), "none"), Scope{User: os.Getuid() != 0}); !errdefs.IsUnavailable(err) && !Running() {
		t.Errorf("without a bus: %v", err)
	}
}

func TestReply(t *testing.T) {
	for name, b := range map[string][]byte{
		"short": []byte("l\x02\x00\x01"),
		"long":  append([]byte("l\x02\x00\x01\xff\xff\xff\xff\x01\x00\x00\x00"), make([]byte, 4)...),
	} {
		if _, err := readReply(bytes.NewReader(b)); err == nil {
			t.Errorf("%s: read", name)
		}
	}
	// What we write can be read: only the type of the message and the field of the serial differ.
	m := &message{b: []byte{'l', typeError, 0, 1}}
	body := &message{}
	body.str("no")
	m.u32(uint32(len(body.b)))
	m.u32(9)
	m.array(8, func() {
		m.b = append(m.b, fieldDestination)
		m.sig("s")
		m.str(":1.2")
		m.align(8)
		m.b = append(m.b, fieldReply)
		m.sig("u")
		m.u32(7)
	})
	m.align(8)
	r, err := readReply(bytes.NewReader(append(m.b, body.b...)))
	if err != nil || r != (reply{kind: typeError, serial: 7, text: "no"}) {
		t.Errorf("%+v, %v", r, err)
	}
}

func FuzzReply(f *testing.F) {
	f.Add([]byte("l\x03\x00\x01\x07\x00\x00\x00\x01\x00\x00\x00\x08\x00\x00\x00\x05\x01u\x00\x07\x00\x00\x00\x02\x00\x00\x00no\x00"))
	f.Add([]byte("B\x02\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := readReply(bytes.NewReader(b))
		if err == nil && len(r.text) > len(b) {
			t.Errorf("%+v of %d bytes", r, len(b))
		}
	})
}

func TestInScope(t *testing.T) {
	const groups = "12:pids:/x\n0::/system.slice/a.scope\n"
	if !inScope(groups, "a.scope") || inScope(groups, "b.scope") || inScope(groups, ".scope") {
		t.Error("inScope is wrong")
	}
}

func TestInService(t *testing.T) {
	for groups, want := range map[string]bool{
		"1:cpu:/a.service\n0::/system.slice/cron.service\n":                         true,
		"0::/user.slice/user-1.slice/user@1.service/app.slice/run-u2.service/below": true,
		"0::/user.slice/user-1.slice/user@1.service/app.slice/a.scope":              false,
		"0::/user.slice/user-1.slice/user@1.service/init.scope":                     false,
		"0::/user.slice/user-1.slice/session-3.scope":                               false,
		"0::/":                                   false,
		"5:name=systemd:/system.slice/a.service": false,
	} {
		if got := inService(groups); got != want {
			t.Errorf("%q: %v", groups, got)
		}
	}
}
