package test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// inMachine is set in the tests that run in a machine of their own.
const inMachine = "CAMADA_TEST_MACHINE"

// long tells that tests are to take the time that they want.
func long() bool { return os.Getenv("CAMADA_TEST_LONG") != "" }

// machine is a place of one test alone: its own processes, mounts, network and temporary
// directory, so that whatever is left in it after a command was left by that command.
type machine struct {
	t *testing.T
	// dir is the test's, root the store's.
	dir, root, temp string
	env             []string
	mounts          []string
	links           []string
	// stays are files below /run that are no leftovers.
	stays []string
	pids  map[int]bool
}

// onMachine runs fn on a machine: this test again, as a child in new namespaces.
func onMachine(t *testing.T, fn func(m *machine)) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("a machine of its own needs root")
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("no busybox: install busybox-static")
	}
	if os.Getenv(inMachine) == "" {
		again(t)
		return
	}
	m := &machine{t: t, dir: t.TempDir()}
	m.root, m.temp = m.path("store"), m.path("tmp")
	m.env = append(os.Environ(), "CAMADA_ROOT="+m.root, "TMPDIR="+m.temp, "NO_COLOR=1", "PATH="+os.Getenv(inMachine)+":"+os.Getenv("PATH"))
	m.must(os.Mkdir(m.temp, 0o755))
	m.must(rootfs(m.path("ctx/rootfs"), busybox))
	m.must(loopbackUp())
	m.mounts, m.links = m.mountPoints(), m.interfaces()
	m.pids = m.processes()
	t.Cleanup(func() {
		if t.Failed() {
			return
		}
		m.camada("system", "reset", "-f")
	})
	fn(m)
}

// again runs this test in a child that is alone in new namespaces. The first process of them is a shell, which
// takes in orphans.
func again(t *testing.T) {
	t.Helper()
	bin := filepath.Dir(shipped(t))
	const first = `mount -t proc proc /proc && mount -t tmpfs run /run && "$@"; exit $?`
	args := []string{"--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-c", first, "sh",
		os.Args[0], "-test.run=^" + t.Name() + "$", "-test.v", "-test.count=1", fmt.Sprintf("-test.timeout=%dm", bySize(25, 180))}
	cmd := exec.Command("unshare", args...)
	cmd.Env = append(os.Environ(), inMachine+"="+bin)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("in its machine: %v\n%s", err, out)
	}
	t.Logf("in its machine:\n%s", out)
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req)
}

func (m *machine) path(elem ...string) string {
	return filepath.Join(append([]string{m.dir}, elem...)...)
}

func (m *machine) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

// write writes a file below the machine's directory.
func (m *machine) write(name, text string) {
	m.t.Helper()
	m.must(os.MkdirAll(filepath.Dir(m.path(name)), 0o755))
	m.must(os.WriteFile(m.path(name), []byte(text), 0o644))
}

// result is what came of a command.
type result struct {
	args        []string
	out, errors string
	code        int
}

func (r result) String() string {
	return fmt.Sprintf("camada %s: exit code %d\n%s%s", strings.Join(r.args, " "), r.code, r.out, r.errors)
}

// command makes a command of a process group of its own, as a shell does.
func (m *machine) command(args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(os.Getenv(inMachine), "camada"), args...)
	cmd.Dir, cmd.Env = m.dir, m.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = 20 * time.Second
	return cmd
}

// run runs camada, whatever comes of it.
func (m *machine) run(args ...string) result {
	var out, errs bytes.Buffer
	cmd := m.command(args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	code := cmd.ProcessState.ExitCode()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		errs.WriteString(err.Error())
	}
	return result{args: args, out: out.String(), errors: errs.String(), code: code}
}

// camada runs camada, which must succeed, and returns its standard output without line end.
func (m *machine) camada(args ...string) string {
	m.t.Helper()
	r := m.run(args...)
	if r.code != 0 {
		m.t.Fatal(r)
	}
	return strings.TrimSpace(r.out)
}

// collect runs gc so that it keeps nothing that it may remove.
func (m *machine) collect() {
	m.t.Helper()
	m.camada("gc", "--keep", "0s", "--keep-entries", "0", "--cache-keep", "0s")
}

func (m *machine) mountPoints() []string {
	b, err := os.ReadFile("/proc/self/mountinfo")
	m.must(err)
	return strings.Split(strings.TrimSpace(string(b)), "\n")
}

func (m *machine) interfaces() (names []string) {
	all, err := net.Interfaces()
	m.must(err)
	for _, i := range all {
		names = append(names, i.Name)
	}
	return names
}

func (m *machine) processes() map[int]bool {
	entries, err := os.ReadDir("/proc")
	m.must(err)
	pids := map[int]bool{}
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			pids[pid] = true
		}
	}
	return pids
}

// groups are the control groups of the store.
func (m *machine) groups() []string {
	sum := sha256.Sum256([]byte(m.root))
	dirs, err := filepath.Glob("/sys/fs/cgroup/*/camada/" + hex.EncodeToString(sum[:4]) + "-*")
	m.must(err)
	more, err := filepath.Glob("/sys/fs/cgroup/camada/" + hex.EncodeToString(sum[:4]) + "-*")
	m.must(err)
	return append(dirs, more...)
}

// living are mounts and processes that are there and were not at the beginning: not even a kill may leave any.
func (m *machine) living() (left []string) {
	for _, line := range m.mountPoints() {
		if !slices.Contains(m.mounts, line) {
			left = append(left, "mount: "+line)
		}
	}
	for pid := range m.processes() {
		if m.pids[pid] {
			continue
		}
		if cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err == nil {
			left = append(left, fmt.Sprintf("process %d: %q", pid, cmdline))
		}
	}
	return left
}

// leftovers are also what a command must take away at its end, and gc after a kill.
func (m *machine) leftovers() []string {
	left := m.living()
	for _, g := range m.groups() {
		left = append(left, "control group: "+g)
	}
	for _, name := range m.interfaces() {
		if !slices.Contains(m.links, name) && name != "camada0" {
			left = append(left, "network interface: "+name)
		}
	}
	for _, pattern := range []string{m.temp + "/*", "/run/camada/network/*/*", m.path(".camada-*")} {
		files, err := filepath.Glob(pattern)
		m.must(err)
		for _, name := range files {
			// The default bridge stays, and what is known of it.
			if name != "/run/camada/network/bridges/camada0.json" && !slices.Contains(m.stays, name) {
				left = append(left, name)
			}
		}
	}
	if nft, err := exec.LookPath("nft"); err == nil {
		for _, set := range []string{"ports", "anyport"} {
			out, err := exec.Command(nft, "list", "map", "ip", "camada", set).Output()
			if err == nil && strings.Contains(string(out), "elements") {
				left = append(left, "rules: "+string(out))
			}
		}
	}
	return left
}

// none waits until look finds nothing any more: the kernel ends processes and network namespaces in the background.
func (m *machine) none(when string, look func() []string) {
	m.t.Helper()
	var left []string
	for range 500 {
		if left = look(); len(left) == 0 {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	m.t.Errorf("%s there is left:\n%s", when, strings.Join(left, "\n"))
}

// whole checks that fsck finds nothing.
func (m *machine) whole(when string) {
	m.t.Helper()
	if r := m.run("fsck"); r.code != 0 || !strings.Contains(r.out, "no problems") {
		m.t.Errorf("%s: %v", when, r)
	}
}

// accounted collects all that may be collected and checks that each file of the store is explained, and that nothing is left elsewhere.
func (m *machine) accounted(when string) {
	m.t.Helper()
	m.collect()
	m.none(when+" and gc", m.leftovers)
	if odd := account(m.t, m.root); len(odd) > 0 {
		m.t.Errorf("%s and gc the store has what nothing explains:\n%s", when, strings.Join(odd, "\n"))
	}
}
