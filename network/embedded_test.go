package network

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/network/relay"
	"github.com/camada/camada/network/usernet"
	"golang.org/x/sys/unix"
)

// asUser runs the test again as a user who may change nothing of the host's network: in a user namespace, on the host of the test with an outside.
func asUser(t *testing.T, fn func(t *testing.T, dir string)) {
	t.Helper()
	if dir := os.Getenv("NETWORK_TEST_USER"); dir != "" {
		if mayBridge() {
			t.Fatal("the user namespace may change the host's network")
		}
		check(t, unix.Mount(filepath.Join(dir, "tun"), tunDevice, "", unix.MS_BIND, ""))
		t.Setenv("PATH", dir) // no pasta
		fn(t, filepath.Join(dir, "net"))
		return
	}
	host(t)
	world := outside(t)
	// Users may ping, as on most systems.
	check(t, os.WriteFile("/proc/sys/net/ipv4/ping_group_range", []byte("0 2147483647"), 0))
	dir, err := os.MkdirTemp("", "camada-network")
	check(t, err)
	defer os.RemoveAll(dir)
	check(t, os.Chown(dir, 65534, 65534))
	tun := filepath.Join(dir, "tun")
	check(t, unix.Mknod(tun, unix.S_IFCHR|0o666, int(unix.Mkdev(10, 200))))
	check(t, os.Chmod(tun, 0o666))
	// The test asks the outside by two pipes.
	askRead, askWrite, err := os.Pipe()
	check(t, err)
	answerRead, answerWrite, err := os.Pipe()
	check(t, err)
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=3m")
	cmd.Env = []string{"NETWORK_TEST_USER=" + dir, "TMPDIR=" + dir}
	cmd.ExtraFiles = []*os.File{askWrite, answerRead}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 65534, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 65534, Size: 1}},
		Credential:  &syscall.Credential{Uid: 0, Gid: 0, NoSetGroups: true},
	}
	go func() {
		b := make([]byte, 200)
		for {
			n, err := askRead.Read(b)
			if err != nil {
				return
			}
			fmt.Fprintln(answerWrite, world.ask(strings.TrimSpace(string(b[:n]))))
		}
	}()
	out, err := cmd.CombinedOutput()
	askWrite.Close()
	if err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Errorf("as a user: %v\n%s", err, out)
	}
}

// fromOutside asks the outside from the inner test.
func fromOutside(line string) string {
	b := make([]byte, 200)
	if _, err := fmt.Fprintln(os.NewFile(3, "ask"), line); err != nil {
		return "error " + err.Error()
	}
	n, err := os.NewFile(4, "answer").Read(b)
	if err != nil {
		return "error " + err.Error()
	}
	return strings.TrimSpace(string(b[:n]))
}

// kept is a container of an ordinary user, and what looks after it.
type kept struct {
	*peer
	Result
	end func()
}

func keepEmbedded(t *testing.T, dir, id string, ends []Endpoint, published ...string) kept {
	t.Helper()
	k := kept{peer: start(t, id, unix.CLONE_NEWNET)}
	var err error
	k.Result, err = Setup(t.Context(), Options{StateDir: dir, ContainerID: id, Pid: k.pid(), Ports: ports(t, published...), Endpoints: ends})
	check(t, err)
	o := k.Outlet
	if k.Driver != Embedded || o == nil {
		t.Fatalf("%s: %+v", id, k.Result)
	}
	s, err := usernet.Serve(usernet.Config{Tun: o.Tun, TCP: o.TCP, UDP: o.UDP, Inside: o.Inside})
	check(t, err)
	var sockets []relay.Socket
	for _, r := range k.Reserved {
		sockets = append(sockets, relay.Socket{File: r.File, Protocol: r.Port.Protocol, Dial: s.Dial, To: func() []netip.AddrPort { return Targets(dir, id, r.Port) }})
	}
	stop, err := relay.Serve(sockets)
	check(t, err)
	ended := false
	k.end = func() {
		if ended {
			return
		}
		ended = true
		stop()
		s.Stop()
		closeAll(k.Reserved)
		if err := Teardown(context.Background(), dir, id); err != nil {
			t.Error(err)
		}
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(k.end)
	return k
}

func TestEmbedded(t *testing.T) {
	asUser(t, func(t *testing.T, dir string) {
		front := made(t, dir, Network{Name: "front", IPv6: true}, "10.50.0.0/24", "fd00:50::/64")
		back := made(t, dir, Network{Name: "back", Internal: true}, "10.51.0.0/24")
		both := keepEmbedded(t, dir, "both", []Endpoint{on(front), on(back)}, "8080:80", "8081:80/udp", "127.0.0.1:8082:80", "8083:81", "[::1]:8084:80", "0.0.0.0:8085:80")
		web := keepEmbedded(t, dir, "web", []Endpoint{{Network: front, Address: netip.MustParseAddr("10.50.0.99"), Address6: netip.MustParseAddr("fd00:50::99")}})
		db := keepEmbedded(t, dir, "db", []Endpoint{on(back)})
		other := keepEmbedded(t, dir, "other", nil)
		both.must("listen tcp 81") // on IPv4 alone
		for _, p := range []kept{both, web, db, other} {
			p.must("listen tcp 80")
			p.must("listen tcp6 80")
			p.must("listen udp 80")
		}
		h, err := (state{dir: dir}).load("both")
		check(t, err)
		for _, c := range []struct {
			what string
			from kept
			ask  string
			want string
		}{
			{"to the outside", both, "dial tcp 198.51.100.2:7000", "198.51.100.1:"},
			{"by UDP", both, "dial udp 198.51.100.2:7000", "198.51.100.1:"},
			{"by IPv6", both, "dial tcp6 [2001:db8::2]:7006", "[2001:db8::1]:"},
			{"from another", web, "dial tcp 198.51.100.2:7000", "198.51.100.1:"},
			{"from the default network", other, "dial tcp 198.51.100.2:7000", "198.51.100.1:"},
			{"where nobody listens", both, "dial tcp 198.51.100.2:7999", "error dial tcp4 198.51.100.2:7999: connect: connection refused"},
			{"where nobody listens by UDP", both, "dial udp 198.51.100.2:7999", "error read udp4 connection refused"},
			{"where nobody listens by IPv6", both, "dial tcp6 [2001:db8::2]:7999", "error dial tcp6 [2001:db8::2]:7999: connect: connection refused"},
			{"where no way leads", both, "dial tcp6 [2001:db9::1]:80", "error dial tcp6 [2001:db9::1]:80: connect: network is unreachable"},
			{"ping", both, "ping 198.51.100.2", "ok"},
			{"ping by IPv6", both, "ping 2001:db8::2", "ok"},
			{"on one network", both, "dial tcp 10.50.0.99:80", "10.50.0.2:"},
			{"on one network by IPv6", both, "dial tcp6 [fd00:50::99]:80", "[fd00:50::2]:"},
			{"on the internal network", both, "dial tcp 10.51.0.3:80", "10.51.0.2:"},
			{"from the internal network to the outside", db, "dial tcp 198.51.100.2:7000", "error"},
			{"from the internal network to the outside by UDP", db, "dial udp 198.51.100.2:7000", "error"},
			{"to another network", web, "dial tcp 10.51.0.3:80", "error"},
			{"from the default network to another", other, "dial tcp 10.50.0.99:80", "error"},
			{"to the keeper's own sockets", both, fmt.Sprintf("dial tcp 10.50.0.1:%d", h.Out.Port), "error"},
			{"to a port published on the host", other, "dial tcp 198.51.100.1:8080", "198.51.100.1:"},
		} {
			if got := c.from.ask(c.ask); !matches(got, c.want) {
				t.Errorf("%s: %s gave %q, want %s", c.what, c.ask, got, c.want)
			}
		}
		for ask, want := range map[string]string{
			"dial tcp 198.51.100.1:8080": "198.51.100.2:", // the container sees who asks
			"dial udp 198.51.100.1:8081": "198.51.100.2:",
			"dial tcp 198.51.100.1:8082": "error", // published on the loopback alone
			"dial tcp 10.50.0.99:80":     "error",

			"dial tcp6 [2001:db8::1]:8080": "[2001:db8::2]:",
			"dial tcp6 [2001:db8::1]:8083": "10.50.0.1:",
			"dial tcp6 [2001:db8::1]:8084": "error",
			"dial tcp6 [2001:db8::1]:8085": "error", // published on IPv4 alone
		} {
			if got := fromOutside(ask); !strings.HasPrefix(got, want) {
				t.Errorf("from the outside: %s gave %q, want %s", ask, got, want)
			}
		}
		if got, err := dial("tcp", "127.0.0.1:8082"); !strings.HasPrefix(got, "10.50.0.1:") {
			t.Errorf("from the host: %q, %v", got, err)
		}
		if got, err := dial("tcp6", "[::1]:8084"); !strings.HasPrefix(got, "[fd00:50::1]:") {
			t.Errorf("from the host by IPv6: %q, %v", got, err)
		}
		liar(t, web, db)
		changeEmbedded(t, dir, web, db, back)
		deadEmbedded(t, dir, front, both, web, db, other)
	})
}

// liar sends to the outside from an internal network, with the address of a container that may.
func liar(t *testing.T, web, db kept) {
	t.Helper()
	c, err := net.ListenPacket("udp4", "198.51.100.1:7555")
	check(t, err)
	defer c.Close()
	db.must("spoof 10.50.0.99 198.51.100.1:7555 " + macOf(db.Gateway).String())
	web.ask("dial udp 198.51.100.1:7555")
	b := make([]byte, 100)
	check(t, c.SetReadDeadline(time.Now().Add(10*time.Second)))
	n, _, err := c.ReadFrom(b)
	if string(b[:n]) != "?" {
		t.Errorf("the first that arrives is %q, %v", b[:n], err)
	}
}

// spoof sends a datagram to a router, with an address that is not the sender's.
func spoof(from, to, router string) error {
	src, err := netip.ParseAddr(from)
	if err != nil {
		return err
	}
	dst, err := netip.ParseAddrPort(to)
	if err != nil {
		return err
	}
	mac, err := net.ParseMAC(router)
	if err != nil {
		return err
	}
	in, err := net.InterfaceByName(firstInterface)
	if err != nil {
		return err
	}
	b := []byte{0x45, 0, 0, 34, 0, 0, 0, 0, 64, unix.IPPROTO_UDP, 0, 0}
	b = append(append(b, src.AsSlice()...), dst.Addr().AsSlice()...)
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	binary.BigEndian.PutUint16(b[10:], ^uint16(sum+sum>>16))
	b = binary.BigEndian.AppendUint16(b, 1234)
	b = binary.BigEndian.AppendUint16(b, dst.Port())
	b = append(b, 0, 14, 0, 0)
	b = append(b, "spoofd"...)
	const ip = 0x0008 // ETH_P_IP in network order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	at := &unix.SockaddrLinklayer{Protocol: ip, Ifindex: in.Index, Halen: 6}
	copy(at.Addr[:], mac)
	return unix.Sendto(fd, b, 0, at)
}

// matches compares the beginning of an answer; of an error that is to be "connection refused" the words before and those at the end.
func matches(got, want string) bool {
	if before, ok := strings.CutSuffix(want, " connection refused"); ok && strings.HasSuffix(got, "connection refused") {
		want = before
	}
	return strings.HasPrefix(got, want)
}

// changeEmbedded changes networks of containers that run.
func changeEmbedded(t *testing.T, dir string, web, db kept, back *Network) {
	t.Helper()
	out := made(t, dir, Network{Name: "out"}, "10.52.0.0/24")
	n, err := Connect(t.Context(), dir, "db", on(out))
	check(t, err)
	expect(t, "a new way out", db.peer, "dial tcp 198.51.100.2:7000", "198.51.100.1:")
	_, err = Connect(t.Context(), dir, "web", on(back))
	check(t, err)
	expect(t, "a new neighbour", web.peer, "dial tcp 10.51.0.3:80", "10.51.0.4:")
	check(t, Disconnect(t.Context(), dir, "db", out.ID))
	expect(t, "the way out is gone", db.peer, "dial tcp 198.51.100.2:7000", "error")
	check(t, (Definitions{Dir: filepath.Join(filepath.Dir(dir), "definitions"), StateDir: dir}).Remove(t.Context(), *out))
	if left := tree(t, dir, out.ID[:12]); len(left) > 0 || n.Address.Addr().String() != "10.52.0.2" {
		t.Errorf("after the end of a network with %v: %v", n, left)
	}
}

// deadEmbedded takes the address of a container that was killed, and ends all.
func deadEmbedded(t *testing.T, dir string, front *Network, all ...kept) {
	t.Helper()
	s := state{dir: dir}
	web := all[1]
	web.kill()
	again := keepEmbedded(t, dir, "again", []Endpoint{{Network: front, Address: netip.MustParseAddr("10.50.0.99")}})
	expect(t, "with the address of a dead one", again.peer, "dial tcp 198.51.100.2:7000", "198.51.100.1:")
	for _, k := range append(all, again) {
		k.end()
		k.kill()
	}
	router, err := s.findRouter()
	if router != nil || err != nil {
		t.Errorf("the router is still there: %v", err)
	}
	_, err = Reconcile(t.Context(), dir)
	check(t, err)
	var left []string
	check(t, filepath.Walk(dir, func(name string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() && info.Name() != "lock" {
			left = append(left, name)
		}
		return err
	}))
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestEmbeddedWithoutTun(t *testing.T) {
	asUser(t, func(t *testing.T, dir string) {
		p := start(t, "a", unix.CLONE_NEWNET)
		for file, want := range map[string]string{"/etc/shadow": "chmod 666", "/dev/null": "make a tun device"} { // one that he may not open, one that is none
			check(t, unix.Mount(file, tunDevice, "", unix.MS_BIND, ""))
			_, err := Setup(t.Context(), Options{StateDir: dir, ContainerID: "a", Pid: p.pid()})
			if err == nil || !strings.Contains(err.Error(), want) || want == "chmod 666" && !errdefs.IsUnsupported(err) {
				t.Errorf("%s: %v", file, err)
			}
			if left := tree(t, dir, "a"); len(left) > 0 {
				t.Errorf("%s: left behind: %v", file, left)
			}
			check(t, unix.Unmount(tunDevice, 0))
		}
	})
}

// ping sends an echo request by a raw socket and waits for the answer.
func ping(addr string) error {
	a, err := netip.ParseAddr(addr)
	if err != nil {
		return err
	}
	network, kind, reply := "ip4:icmp", byte(8), byte(0)
	if a.Is6() {
		network, kind, reply = "ip6:ipv6-icmp", 128, 129
	}
	c, err := net.Dial(network, addr)
	if err != nil {
		return err
	}
	defer c.Close()
	b := []byte{kind, 0, 0, 0, 0x12, 0x34, 0, 1, 'p', 'i', 'n', 'g'}
	if a.Is4() { // of IPv6 the kernel sums up
		var sum uint32
		for i := 0; i < len(b); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(b[i:]))
		}
		binary.BigEndian.PutUint16(b[2:], ^uint16(sum+sum>>16))
	}
	if _, err := c.Write(b); err != nil {
		return err
	}
	_ = c.SetDeadline(time.Now().Add(2 * time.Second))
	in := make([]byte, 100)
	for {
		n, err := c.Read(in)
		if err != nil {
			return err
		}
		got := in[:n]
		if a.Is4() { // with the packet's header
			got = got[min(int(got[0]&15)*4, n):]
		}
		if len(got) == len(b) && got[0] == reply && string(got[4:]) == string(b[4:]) {
			return nil
		}
	}
}
