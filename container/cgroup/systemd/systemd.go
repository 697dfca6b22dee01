// Package systemd asks systemd for the control group of a container, on machines where it owns them all: a transient scope
// (systemd.scope(5)) whose subtree is delegated to us.
//
//	err := systemd.Start(ctx, systemd.Scope{Name: "camada-web.scope", Slice: "system.slice", Pid: pid})
//
// A scope needs a process from the start, and ends when the last one in it does. It speaks D-Bus by itself: one call needs no
// library.
package systemd

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
)

// timeout is how long systemd may take for what it does in milliseconds.
const timeout = 30 * time.Second

// Scope is a transient scope.
type Scope struct {
	// Name of the unit, with ".scope", and of the slice that it is in, with ".slice"; "" is systemd's default.
	Name, Slice string
	// Description is a line for people.
	Description string
	// Pid is the process that is put into the scope.
	Pid int
	// User asks the user's systemd instead of the machine's.
	User bool
	// Stops has systemd stop the scope when the machine is turned off or the user's session ends: by SIGTERM to all its processes, while network and
	// file systems are there. Otherwise whoever made the scope stops it.
	Stops bool
	// StopTimeout is how long that may take; 0 is systemd's default.
	StopTimeout time.Duration
}

// Running tells whether systemd manages this machine (sd_booted(3)).
func Running() bool {
	_, err := os.Lstat("/run/systemd/system")
	return err == nil
}

// Start makes the scope and returns when its process is in it. ErrUnsupported without systemd, ErrUnavailable when it does
// not answer.
func Start(ctx context.Context, s Scope) error {
	if !Running() {
		return errdefs.Unsupported("scope %s: systemd does not run here", s.Name)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := start(ctx, socket(s.User), s); err != nil {
		return fmt.Errorf("systemd scope %s: %w", s.Name, err)
	}
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		if group, err := os.ReadFile("/proc/" + strconv.Itoa(s.Pid) + "/cgroup"); err != nil || inScope(string(group), s.Name) {
			return err
		}
		select {
		case <-ctx.Done():
			return errdefs.Unavailable("systemd scope %s: its process is not in it yet: %w", s.Name, context.Cause(ctx))
		case <-time.After(pause):
		}
	}
}

// inScope looks for the scope in /proc/PID/cgroup.
func inScope(groups, name string) bool {
	for line := range strings.Lines(groups) {
		if strings.HasSuffix(strings.TrimSuffix(line, "\n"), "/"+name) {
			return true
		}
	}
	return false
}

// InService tells whether systemd started this process, or one that it descends from, for a service: what is left of one is killed
// when its first process ends.
func InService() bool {
	groups, err := os.ReadFile("/proc/self/cgroup")
	return err == nil && Running() && inService(string(groups))
}

// inService looks for the unit in the v2 hierarchy. The service that a user's systemd is itself is none.
func inService(groups string) bool {
	for line := range strings.Lines(groups) {
		path, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::")
		if !ok {
			continue
		}
		parts := strings.Split(path, "/")
		for i := len(parts) - 1; i >= 0; i-- {
			if strings.HasSuffix(parts[i], ".scope") {
				return false
			}
			if strings.HasSuffix(parts[i], ".service") {
				return !strings.HasPrefix(parts[i], "user@")
			}
		}
	}
	return false
}

// socket is that of the bus.
func socket(user bool) string {
	if !user {
		return "/run/dbus/system_bus_socket"
	}
	if path, ok := strings.CutPrefix(os.Getenv("DBUS_SESSION_BUS_ADDRESS"), "unix:path="); ok {
		path, _, _ = strings.Cut(path, ",")
		return path
	}
	return filepath.Join(runtimeDir(), "bus")
}

// runtimeDir is the user's: never a path that depends on the working directory.
func runtimeDir() string {
	if dir := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		return dir
	}
	return "/run/user/" + strconv.Itoa(os.Getuid())
}

// private is the socket of systemd itself, where no hello is said.
func private(user bool) string {
	if !user {
		return "/run/systemd/private"
	}
	return filepath.Join(runtimeDir(), "systemd/private")
}

func start(ctx context.Context, socket string, s Scope) error {
	b, err := dial(ctx, socket)
	if err == nil {
		if err = b.hello(); err != nil {
			b.conn.Close()
		}
	}
	if err != nil { // a machine, or a moment of its start, without a bus: systemd listens by itself
		own, err2 := dial(ctx, private(s.User))
		if err2 != nil {
			return err
		}
		b = own
	}
	defer b.conn.Close()
	return b.call(call{
		destination: "org.freedesktop.systemd1", path: "/org/freedesktop/systemd1",
		iface: "org.freedesktop.systemd1.Manager", member: "StartTransientUnit", signature: "ssa(sv)a(sa(sv))",
	}, s.body())
}

// hello is the call that a bus wants first.
func (b *bus) hello() error {
	const name = "org.freedesktop.DBus"
	return b.call(call{destination: name, path: "/org/freedesktop/DBus", iface: name, member: "Hello"}, nil)
}

// body is the arguments of StartTransientUnit (org.freedesktop.systemd1(5)).
func (s Scope) body() []byte {
	m := &message{}
	text := func(v string) func() { return func() { m.str(v) } }
	flag := func(v uint32) func() { return func() { m.u32(v) } }
	m.str(s.Name)
	m.str("replace")
	m.array(8, func() {
		m.property("Description", "s", text(s.Description))
		if s.Slice != "" {
			m.property("Slice", "s", text(s.Slice))
		}
		m.property("Delegate", "b", flag(1))
		if s.Stops { // by the default dependencies; what comes after others is stopped before them
			m.property("After", "as", func() { m.array(4, func() { m.str("basic.target"); m.str("network.target") }) })
		} else {
			m.property("DefaultDependencies", "b", flag(0))
		}
		if s.StopTimeout > 0 {
			m.property("TimeoutStopUSec", "t", func() { m.u64(uint64(s.StopTimeout / time.Microsecond)) })
		}
		m.property("CollectMode", "s", text("inactive-or-failed"))
		m.property("PIDs", "au", func() { m.array(4, func() { m.u32(uint32(s.Pid)) }) })
	})
	m.array(8, func() {})
	return m.b
}
