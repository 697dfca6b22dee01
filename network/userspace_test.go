package network

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/camada/camada/errdefs"
	"golang.org/x/sys/unix"
)

// rootless is a member's command "rootless DRIVER DIR": connect a further process
// as a user who may not bridge, use the network both ways, and take it down.
func rootless(driver, dir string) error {
	if mayBridge() {
		return fmt.Errorf("the user namespace may change the host's network")
	}
	if err := unix.Mount(filepath.Join(filepath.Dir(dir), "tun"), "/dev/net/tun", "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount tun: %w", err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{"NETWORK_TEST_MEMBER=container"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	ask := func(line string) string {
		buf := make([]byte, 200)
		if _, err := fmt.Fprintln(in, line); err != nil {
			return "error " + err.Error()
		}
		n, err := out.Read(buf)
		if err != nil {
			return "error " + err.Error()
		}
		return strings.TrimSpace(string(buf[:n]))
	}
	ctx := context.Background()
	ps, err := ParsePort("127.0.0.1:8080:80")
	if err != nil {
		return err
	}
	o := Options{StateDir: dir, ContainerID: "a", Pid: cmd.Process.Pid, Driver: Driver(driver), Ports: ps}
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 0x42}
	o.Endpoints = []Endpoint{{MAC: mac}}
	if o.Driver != Pasta {
		if _, err := Setup(ctx, o); !errdefs.IsUnsupported(err) {
			return fmt.Errorf("a hardware address: %w", err)
		}
		o.Endpoints = nil
	}
	r, err := Setup(ctx, o)
	if err != nil {
		return err
	}
	netns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", cmd.Process.Pid))
	if err != nil {
		return err
	}
	defer netns.Close()
	err = inNamespace(netns, func() error {
		inside, err := net.InterfaceByName(firstInterface)
		if err == nil && o.Driver == Pasta && inside.HardwareAddr.String() != mac.String() {
			err = fmt.Errorf("hardware address %s, want %s", inside.HardwareAddr, mac)
		}
		return err
	})
	if err != nil {
		return err
	}
	if got := ask("listen tcp 80"); got != "ok" {
		return fmt.Errorf("listen: %s", got)
	}
	if got := ask("dial tcp 198.51.100.2:7000"); !strings.HasPrefix(got, "198.51.100.1:") {
		return fmt.Errorf("to the outside: %s", got)
	}
	if got, err := dial("tcp", "127.0.0.1:8080"); err != nil || got == "" {
		return fmt.Errorf("published port: %s, %w", got, err)
	}
	if !r.Address.IsValid() || !r.Nameserver.IsValid() {
		return fmt.Errorf("result %+v", r)
	}
	h, err := (state{dir: dir}).load("a")
	if err != nil || !h.Helper.alive() {
		return fmt.Errorf("the helper is not recorded: %+v, %w", h, err)
	}
	if err := Teardown(ctx, dir, "a"); err != nil {
		return err
	}
	if h.Helper.alive() {
		return fmt.Errorf("the helper still runs")
	}
	if c, err := net.Dial("tcp", "127.0.0.1:8080"); err == nil {
		c.Close()
		return fmt.Errorf("the port is still open")
	}
	if left, err := filepath.Glob(dir + "/*/*"); err != nil || len(left) > 0 {
		return fmt.Errorf("left behind: %v %w", left, err)
	}
	return nil
}

func TestUserspace(t *testing.T) {
	for _, driver := range []Driver{Pasta, Slirp} {
		t.Run(string(driver), func(t *testing.T) {
			if _, err := exec.LookPath(string(driver)); err != nil {
				t.Skip(err)
			}
			host(t)
			outside(t)
			dir, err := os.MkdirTemp("", "camada-network")
			check(t, err)
			defer os.RemoveAll(dir)
			check(t, os.Chown(dir, 65534, 65534))
			// Not every machine lets users open its own.
			tun := filepath.Join(dir, "tun")
			check(t, unix.Mknod(tun, unix.S_IFCHR|0o666, int(unix.Mkdev(10, 200))))
			check(t, os.Chmod(tun, 0o666))
			cmd := exec.Command("/proc/self/exe")
			cmd.Env = []string{"NETWORK_TEST_MEMBER=user", "PATH=" + os.Getenv("PATH"), "TMPDIR=" + dir}
			cmd.Stdin = strings.NewReader(fmt.Sprintf("rootless %s %s\n", driver, filepath.Join(dir, "net")))
			cmd.SysProcAttr = &syscall.SysProcAttr{
				Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
				UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 65534, Size: 1}},
				GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 65534, Size: 1}},
				Credential:  &syscall.Credential{Uid: 0, Gid: 0, NoSetGroups: true},
			}
			out, err := cmd.CombinedOutput()
			if err != nil || strings.TrimSpace(string(out)) != "ok" {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

func TestUserspaceDrivers(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	expect := func(what string, o Options, first, other Driver) {
		if f, s := o.userspaceDrivers(); f != first || s != other {
			t.Errorf("%s: %q, else %q; want %q, else %q", what, f, s, first, other)
		}
	}
	own := Options{Endpoints: []Endpoint{{Network: &Network{}}}}
	expect("nothing is installed", Options{}, Embedded, Auto)
	check(t, os.WriteFile(filepath.Join(dir, "slirp4netns"), nil, 0o755))
	expect("slirp4netns", Options{}, Embedded, Slirp)
	check(t, os.WriteFile(filepath.Join(dir, "pasta"), nil, 0o755))
	expect("pasta", Options{}, Pasta, Auto)
	expect("pasta, and a network of the user's own", own, Embedded, Auto)
}

func TestPastaPorts(t *testing.T) {
	got := strings.Join(pastaPorts(ports(t, "127.0.0.1:8080:80", "0.0.0.0:53:5353/udp", "[::]:53:5353/udp", "0.0.0.0:82:80", "[::1]:82:80")), " ")
	if want := "--tcp-ports 127.0.0.1/8080:80 --udp-ports 53:5353 --tcp-ports 0.0.0.0/82:80 --tcp-ports ::1/82:80"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := strings.Join(pastaPorts(nil), " "); got != "--tcp-ports none --udp-ports none" {
		t.Error(got)
	}
}
