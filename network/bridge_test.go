package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

func TestBridge(t *testing.T) {
	host(t)
	dir := filepath.Join(t.TempDir(), "network")
	world := outside(t)
	local := start(t, "host", 0)
	a, ra := connect(t, dir, "a", "8080:80", "127.0.0.1:8081:80", "8053:53/udp", "198.51.100.1:8082:80")
	b, rb := connect(t, dir, "b")
	a.must("listen tcp 80")
	a.must("listen udp 53")
	b.must("listen tcp 80")

	if ra.Address.String() != "172.30.0.2/16" || ra.Gateway.String() != "172.30.0.1" || rb.Address.Addr().String() != "172.30.0.3" || ra.MAC.String() != "02:ca:ac:1e:00:02" {
		t.Errorf("a got %v %v %v, b %v", ra.Address, ra.Gateway, ra.MAC, rb.Address)
	}
	for _, c := range []struct {
		what string
		from *peer
		dial string
		want string // the beginning of the address that the server saw, "error" for none
	}{
		{"container to container", a, "tcp 172.30.0.3:80", "172.30.0.2:"},
		{"container to the outside", a, "tcp 198.51.100.2:7000", "198.51.100.1:"},
		{"container to the outside by udp", b, "udp 198.51.100.2:7000", "198.51.100.1:"},
		{"outside to a published port", world, "tcp 198.51.100.1:8080", "198.51.100.2:"},
		{"outside to a port published on one address", world, "tcp 198.51.100.1:8082", "198.51.100.2:"},
		{"outside to a published udp port", world, "udp 198.51.100.1:8053", "198.51.100.2:"},
		{"outside to a port published on loopback", world, "tcp 198.51.100.1:8081", "error"},
		{"outside straight to a container", world, "tcp 172.30.0.2:80", "error"},
		{"host by loopback", local, "tcp 127.0.0.1:8080", "172.30.0.1:"},
		{"host by loopback, published there", local, "tcp 127.0.0.1:8081", "172.30.0.1:"},
		{"host by loopback, udp", local, "udp 127.0.0.1:8053", "172.30.0.1:"},
		{"host by its own address", local, "tcp 198.51.100.1:8080", "198.51.100.1:"},
		{"host to the container", local, "tcp 172.30.0.2:80", "172.30.0.1:"},
		{"port published on another address", local, "tcp 127.0.0.1:8082", "error"},
		{"container by the host's address", b, "tcp 198.51.100.1:8080", "172.30.0.1:"},
		{"container to itself by the host's address", a, "tcp 172.30.0.1:8080", "172.30.0.1:"},
		{"container's own loopback", a, "tcp 127.0.0.1:80", "127.0.0.1:"},
	} {
		if got := c.from.ask("dial " + c.dial); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %s gave %q, want %s", c.what, c.dial, got, c.want)
		}
	}
	// What listens on the host's loopback alone stays there, although the bridge
	// routes such addresses.
	local.must("listen tcp 9999")
	check(t, os.WriteFile("/proc/sys/net/ipv4/conf/all/accept_local", []byte("1"), 0))
	check(t, Teardown(t.Context(), dir, "a"))
	if got := world.ask("dial tcp 198.51.100.1:8080"); !strings.HasPrefix(got, "error") {
		t.Errorf("a port is open after Teardown: %q", got)
	}
	check(t, Teardown(t.Context(), dir, "a"))
}

// A container routes 127.0.0.2 to the gateway: only the guard keeps it out.
func TestGuardsLoopback(t *testing.T) {
	host(t)
	dir := filepath.Join(t.TempDir(), "network")
	local := start(t, "host", 0)
	local.must("listen tcp 9999")
	a, r := connect(t, dir, "a")
	netns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", a.pid()))
	check(t, err)
	defer netns.Close()
	check(t, inNamespace(netns, func() error {
		c, err := dialRtnl()
		if err != nil {
			return err
		}
		defer c.close()
		// Take 127.0.0.1 off lo, let eth0 route it, and send it to the gateway.
		lo := &request{kind: unix.RTM_DELADDR, body: []byte{unix.AF_INET, 8, 0, 0, 1, 0, 0, 0}, what: "remove 127.0.0.1"}
		route := defaultRoute(r.Gateway, unix.AF_INET, link{})
		route.body[1] = 32
		route.attr(unix.RTA_DST, []byte{127, 0, 0, 1})
		if err := c.do(lo.attr(unix.IFA_LOCAL, []byte{127, 0, 0, 1})); err != nil {
			return err
		}
		for _, name := range []string{"route_localnet", "accept_local"} {
			if err := sysctl("net/ipv4/conf/eth0/"+name, "1"); err != nil {
				return err
			}
		}
		return c.do(route)
	}))
	if got := a.ask("dial tcp 127.0.0.1:9999"); !strings.HasPrefix(got, "error") {
		t.Errorf("a container reached the host's loopback: %q", got)
	}
	// Without the guard it gets there: the check above can fail.
	conn, err := nftables.New()
	check(t, err)
	conn.FlushChain(&nftables.Chain{Table: familyOf(false).table, Name: "guard"})
	check(t, conn.Flush())
	if got := a.ask("dial tcp 127.0.0.1:9999"); strings.HasPrefix(got, "error") {
		t.Errorf("the guard is not what kept it out: %q", got)
	}
}

func TestPortConflicts(t *testing.T) {
	host(t)
	dir := filepath.Join(t.TempDir(), "network")
	local := start(t, "host", 0)
	local.must("listen tcp 9000")
	_, ra := connect(t, dir, "a", "8080:80")
	closeAll(ra.Reserved) // a caller that does not keep them: the state still knows
	b := start(t, "b", unix.CLONE_NEWNET)
	local.must("listen tcp6 9001")
	for _, spec := range []string{"8080:80", "127.0.0.1:8080:80", "[::1]:8080:80", "[::]:8080:80", "9000:80", "9001:80"} {
		_, err := Setup(t.Context(), Options{StateDir: dir, ContainerID: "b", Pid: b.pid(), Ports: ports(t, "7777:7", spec)})
		if !errdefs.IsConflict(err) || !strings.Contains(err.Error(), "in use") {
			t.Errorf("publishing %s: %v, want a conflict", spec, err)
		}
	}
	if _, err := Setup(t.Context(), Options{StateDir: dir, ContainerID: "b", Pid: b.pid(), Ports: ports(t, "203.0.113.9:80:80")}); !errdefs.IsInvalid(err) {
		t.Errorf("publishing on a foreign address: %v", err)
	}
	if files := tree(t, dir, "b"); len(files) > 0 {
		t.Errorf("left behind: %v", files)
	}
	// The same port of the other protocol, one of a range, and one of the system's choice.
	r, err := Setup(t.Context(), Options{StateDir: dir, ContainerID: "b", Pid: b.pid(), Ports: ports(t, "8080:80/udp", "8080-8089:80", "99")})
	check(t, err)
	if len(r.Ports) != 6 || len(r.Reserved) != 6 || r.Ports[2].HostPort != 8081 || r.Ports[4].HostPort < 1024 || r.Ports[5].HostPort != r.Ports[4].HostPort {
		t.Errorf("chosen ports: %v", r.Ports)
	}
	if _, err := Setup(t.Context(), Options{StateDir: dir, ContainerID: "b", Pid: b.pid()}); !errdefs.IsAlreadyExists(err) {
		t.Errorf("connecting twice: %v", err)
	}
}

// Published ports answer on IPv6 too, whether the container has an address of it or not.
func TestPublishesOnIPv6(t *testing.T) {
	host(t)
	dir := filepath.Join(t.TempDir(), "network")
	world, local := outside(t), start(t, "host", 0)
	keeper, a := start(t, "keeper", 0), start(t, "a", unix.CLONE_NEWNET)
	a.must("listen tcp 80")
	if got := keeper.ask(fmt.Sprintf("keep %s %d 8080:80,[2001:db8::1]:8081:80,0.0.0.0:8082:80,[::]:8083:80,[::1]:8084:80", dir, a.pid())); got != "relayed false" {
		t.Fatal(got)
	}
	for _, c := range []struct {
		from      *peer
		ask, want string
	}{
		{local, "dial tcp 127.0.0.1:8080", "172.30.0.1:"},
		{local, "dial tcp6 [::1]:8080", "172.30.0.1:"},
		{world, "dial tcp 198.51.100.1:8080", "198.51.100.2:"},
		{world, "dial tcp6 [2001:db8::1]:8080", "172.30.0.1:"},
		{world, "dial tcp6 [2001:db8::1]:8081", "172.30.0.1:"},
		{local, "dial tcp 127.0.0.1:8081", "error"},
		{world, "dial tcp 198.51.100.1:8082", "198.51.100.2:"},
		{world, "dial tcp6 [2001:db8::1]:8082", "error"},
		{world, "dial tcp6 [2001:db8::1]:8083", "172.30.0.1:"},
		{world, "dial tcp 198.51.100.1:8083", "error"},
		{local, "dial tcp6 [::1]:8084", "172.30.0.1:"},
		{world, "dial tcp6 [2001:db8::1]:8084", "error"},
	} {
		expect(t, c.ask, c.from, c.ask, c.want)
	}
}

// tree lists files whose name or target is id's.
func tree(t *testing.T, dir, id string) []string {
	t.Helper()
	var found []string
	check(t, filepath.WalkDir(dir, func(p string, e os.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) {
			return nil // nothing was made yet, or it went meanwhile
		}
		if err != nil {
			return err
		}
		target, _ := os.Readlink(p)
		if target == id || strings.HasPrefix(e.Name(), id+".") {
			found = append(found, p)
		}
		return nil
	}))
	return found
}

func bridgePorts(t *testing.T) []string {
	t.Helper()
	c, err := dialRtnl()
	check(t, err)
	defer c.close()
	all, err := c.links()
	check(t, err)
	var names []string
	for _, l := range all {
		if strings.HasPrefix(l.name, vethPrefix) && l.name != DefaultBridge {
			names = append(names, l.name)
		}
	}
	return names
}

func mapElements(t *testing.T) int {
	t.Helper()
	c, err := nftables.New()
	check(t, err)
	n := 0
	for _, m := range []*nftables.Set{familyOf(false).ports, familyOf(false).anyport} {
		es, err := c.GetSetElements(m)
		check(t, err)
		n += len(es)
	}
	return n
}

// Containers that end without Teardown leave nothing that stays.
func TestReconcile(t *testing.T) {
	host(t)
	dir := filepath.Join(t.TempDir(), "network")
	a, _ := connect(t, dir, "a", "8080:80", "127.0.0.1:8081:80")
	connect(t, dir, "b", "9090:90")
	if n := mapElements(t); n != 3 {
		t.Errorf("%d published ports in the rules, want 3", n)
	}
	a.kill()
	gone, err := Reconcile(t.Context(), dir)
	check(t, err)
	if len(gone) != 1 || gone[0] != "a" {
		t.Errorf("Reconcile = %v, want a", gone)
	}
	if files := tree(t, dir, "a"); len(files) > 0 {
		t.Errorf("left behind: %v", files)
	}
	if n := mapElements(t); n != 1 {
		t.Errorf("%d published ports in the rules, want b's", n)
	}
	for deadline := time.Now().Add(10 * time.Second); len(bridgePorts(t)) != 1; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("interfaces of the bridge: %v, want b's", bridgePorts(t))
		}
	}
	check(t, Teardown(t.Context(), dir, "b"))
	if names := bridgePorts(t); len(names) != 0 {
		t.Errorf("the interface of a running process stays after Teardown: %v", names)
	}
}

// A port and an address of a container that died are free without any Reconcile,
// and rules that were flushed by others come back.
func TestTakesOver(t *testing.T) {
	host(t)
	dir := filepath.Join(t.TempDir(), "network")
	local := start(t, "host", 0)
	a, ra := connect(t, dir, "a", "8080:80")
	closeAll(ra.Reserved)
	a.kill()
	check(t, os.WriteFile(filepath.Join(dir, "last"), []byte("172.30.255.254"), 0o600))
	c, err := nftables.New()
	check(t, err)
	c.FlushRuleset()
	check(t, c.Flush())
	b, rb := connect(t, dir, "b", "8080:80")
	if rb.Address != ra.Address {
		t.Errorf("address %v, want that of the dead container %v", rb.Address, ra.Address)
	}
	b.must("listen tcp 80")
	if got := local.ask("dial tcp 127.0.0.1:8080"); !strings.HasPrefix(got, "172.30.0.1:") {
		t.Errorf("published port: %q", got)
	}
	c.FlushRuleset()
	check(t, c.Flush())
	connect(t, dir, "no-ports")
	if got := local.ask("dial tcp 127.0.0.1:8080"); !strings.HasPrefix(got, "172.30.0.1:") {
		t.Errorf("a container without ports did not bring the rules back: %q", got)
	}
}

func TestFullSubnet(t *testing.T) {
	host(t)
	dir := filepath.Join(t.TempDir(), "network")
	o := Options{StateDir: dir, Subnets: []netip.Prefix{netip.MustParsePrefix("10.9.9.0/29")}}
	var seen []string
	for i := range 6 {
		p := start(t, fmt.Sprint("c", i), unix.CLONE_NEWNET)
		o.ContainerID, o.Pid = p.name, p.pid()
		r, err := Setup(t.Context(), o)
		if i == 5 {
			if !errdefs.IsUnavailable(err) {
				t.Errorf("the sixth address of a /29: %v %v", r.Address, err)
			}
			break
		}
		check(t, err)
		seen = append(seen, r.Address.Addr().String())
	}
	if want := "10.9.9.2 10.9.9.3 10.9.9.4 10.9.9.5 10.9.9.6"; strings.Join(seen, " ") != want {
		t.Errorf("addresses %v, want %s", seen, want)
	}
}

// A subnet that the host has a route into is not taken, and the bridge has the
// MTU of the way out.
func TestChoosesSubnetAndMTU(t *testing.T) {
	host(t)
	outside(t)
	c, err := dialRtnl()
	check(t, err)
	defer c.close()
	l, err := c.linkByName("out0")
	check(t, err)
	check(t, c.do(newAddress(l, netip.MustParsePrefix("172.30.7.1/24"))))
	_, r := connect(t, filepath.Join(t.TempDir(), "network"), "a")
	if r.Address.String() != "172.29.0.2/16" {
		t.Errorf("address %v", r.Address)
	}
	if b, err := c.linkByName(DefaultBridge); err != nil || b.mtu != 1400 {
		t.Errorf("bridge %+v, %v", b, err)
	}
}

// A network that was defined before the default bridge was made leaves that its subnet.
func TestDefinedBeforeTheDefaultBridge(t *testing.T) {
	host(t)
	dir := filepath.Join(t.TempDir(), "network")
	early := made(t, dir, Network{Name: "early", ID: "4ec1"})
	_, r := connect(t, dir, "a")
	_, e := connectTo(t, dir, "b", []Endpoint{on(early)})
	late := made(t, dir, Network{Name: "late", ID: "1a7e"})
	_, l := connectTo(t, dir, "c", []Endpoint{on(late)})
	if a, b, c := r.Address.Masked(), e.Address.Masked(), l.Address.Masked(); a.Overlaps(b) || b.Overlaps(c) || a.Overlaps(c) {
		t.Errorf("%v, %v and %v overlap", a, b, c)
	}
}

func TestGoneProcess(t *testing.T) {
	p := start(t, "a", 0)
	p.kill()
	if _, err := Setup(t.Context(), Options{StateDir: t.TempDir(), ContainerID: "a", Pid: p.pid(), Driver: Bridge}); !errdefs.IsNotFound(err) {
		t.Errorf("Setup for a process that is gone: %v", err)
	}
	if err := Teardown(t.Context(), filepath.Join(t.TempDir(), "nothing"), "a"); err != nil {
		t.Errorf("Teardown without any state: %v", err)
	}
	for _, id := range []string{"", "../a", "a/b", ".a"} {
		if _, err := Setup(t.Context(), Options{StateDir: t.TempDir(), ContainerID: id, Pid: 1}); !errdefs.IsInvalid(err) {
			t.Errorf("id %q: %v", id, err)
		}
	}
}

func BenchmarkSetup(b *testing.B) {
	if os.Geteuid() != 0 || !mayBridge() {
		b.Skip("needs root")
	}
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		b.Skip(err)
	}
	dir := filepath.Join(b.TempDir(), "network")
	for b.Loop() {
		b.StopTimer()
		cmd := exec.Command("/bin/sleep", "1000")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		r, err := Setup(context.Background(), Options{StateDir: dir, ContainerID: "a", Pid: cmd.Process.Pid, Ports: []PortMapping{{HostPort: 8080, ContainerPort: 80, Protocol: "tcp"}}})
		b.StopTimer()
		err = errors.Join(err, cmd.Process.Kill())
		_ = cmd.Wait()
		err = errors.Join(err, Teardown(context.Background(), dir, "a"))
		closeAll(r.Reserved)
		if err != nil {
			b.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond) // the kernel removes the namespace in the background
		b.StartTimer()
	}
}
