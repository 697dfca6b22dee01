package network

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/camada/camada/network/dns"
	"github.com/camada/camada/network/relay"
	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

// These tests make a network namespace that plays the host, so that the machine's
// own interfaces and rules are not touched, and processes in further ones that
// play containers and the outside.

// TestMain is also the program inside the namespaces: see member.
func TestMain(m *testing.M) {
	if os.Getenv("NETWORK_TEST_MEMBER") != "" {
		member()
		return
	}
	os.Exit(m.Run())
}

// member obeys lines on its standard input: "listen tcp 80", "dial tcp 1.2.3.4:80",
// "up". A server tells each client the client's address.
func member() {
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		f := strings.Fields(in.Text())
		answer, err := "ok", error(nil)
		switch f[0] {
		case "up":
			err = LoopbackUp()
		case "listen":
			err = listen(f[1], f[2])
		case "rootless":
			err = rootless(f[1], f[2])
		case "dial":
			answer, err = dial(f[1], f[2])
		case "spoof":
			err = spoof(f[1], f[2], f[3])
		case "ping":
			err = ping(f[1])
		case "keep":
			answer, err = keep(f[1], f[2], f[3])
		case "answer":
			err = answerNames()
		case "resolve":
			err = resolve(f[1], f[2], f[3])
		case "lookup":
			answer, err = lookup(f[1], f[2])
		}
		if err != nil {
			answer = "error " + err.Error()
		}
		fmt.Println(answer)
	}
}

func listen(protocol, port string) error {
	if protocol == "udp" {
		c, err := net.ListenPacket("udp4", ":"+port)
		if err != nil {
			return err
		}
		go func() {
			b := make([]byte, 100)
			for {
				if _, from, err := c.ReadFrom(b); err == nil {
					_, _ = c.WriteTo([]byte(from.String()), from)
				}
			}
		}()
		return nil
	}
	if protocol == "tcp" {
		protocol = "tcp4"
	}
	l, err := net.Listen(protocol, ":"+port)
	if err != nil {
		return err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, c.RemoteAddr().String())
			c.Close()
		}
	}()
	return nil
}

// dial gives the address that the server saw.
func dial(protocol, addr string) (string, error) {
	if !strings.HasSuffix(protocol, "6") {
		protocol += "4"
	}
	c, err := net.DialTimeout(protocol, addr, time.Second)
	if err != nil {
		return "", err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Second))
	if protocol == "udp4" {
		if _, err := c.Write([]byte("?")); err != nil {
			return "", err
		}
	}
	b := make([]byte, 100)
	n, err := c.Read(b)
	return string(b[:n]), err
}

// keep connects a container, as whoever looks after one does, and serves its ports, "8080:80,8081:81", where that is asked for.
func keep(dir, pid, published string) (string, error) {
	var ps []PortMapping
	for _, text := range strings.Split(published, ",") {
		p, err := ParsePort(text)
		if err != nil {
			return "", err
		}
		ps = append(ps, p...)
	}
	n, err := strconv.Atoi(pid)
	if err != nil {
		return "", err
	}
	r, err := Setup(context.Background(), Options{StateDir: dir, ContainerID: "kept", Pid: n, Ports: ps})
	if err != nil {
		return "", err
	}
	var sockets []relay.Socket
	for _, one := range r.Reserved {
		if one.Relayed {
			sockets = append(sockets, relay.Socket{File: one.File, Protocol: one.Port.Protocol, To: func() []netip.AddrPort { return Targets(dir, "kept", one.Port) }})
		}
	}
	_, err = relay.Serve(sockets)
	return fmt.Sprint("relayed ", r.Reserved[0].Relayed), err
}

// answerNames is a name server on the loopback: every name has the address 192.0.2.7.
func answerNames() error {
	c, err := net.ListenPacket("udp4", "127.0.0.1:53")
	if err != nil {
		return err
	}
	go func() {
		b := make([]byte, 1000)
		for {
			n, from, err := c.ReadFrom(b)
			var m dnsmessage.Message
			if err != nil || m.Unpack(b[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			m.Response, m.Additionals = true, nil
			if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
				head := dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class}
				m.Answers = []dnsmessage.Resource{{Header: head, Body: &dnsmessage.AResource{A: [4]byte{192, 0, 2, 7}}}}
			}
			if out, err := m.Pack(); err == nil {
				_, _ = c.WriteTo(out, from)
			}
		}
	}()
	return nil
}

// resolve runs the resolver of a container, which asks the host's loopback about other names.
func resolve(dir, id, pid string) error {
	n, err := strconv.Atoi(pid)
	if err != nil {
		return err
	}
	udp, tcp, err := OpenResolver(n)
	if err != nil {
		return err
	}
	up := Upstream([]byte("nameserver 127.0.0.1\n"), DNS{})
	(&dns.Server{Names: Names{StateDir: dir, ContainerID: id}, Upstream: up}).Serve(udp, tcp)
	return nil
}

// lookup asks 127.0.0.11 for a name, by udp or tcp, or for the name of an address, and gives what it answered in order.
func lookup(protocol, name string) (string, error) {
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, protocol, ResolverAddr+":53")
	}}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var answers []string
	var err error
	if _, perr := netip.ParseAddr(name); perr == nil {
		answers, err = r.LookupAddr(ctx, name)
	} else {
		answers, err = r.LookupHost(ctx, name+".")
	}
	slices.Sort(answers)
	return strings.Join(answers, " "), err
}

// peer is a member process.
type peer struct {
	t    *testing.T
	cmd  *exec.Cmd
	in   io.Writer
	out  *bufio.Scanner
	name string
}

func start(t *testing.T, name string, flags uintptr) *peer {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{"NETWORK_TEST_MEMBER=" + name, "PATH=" + os.Getenv("PATH")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &peer{t: t, cmd: cmd, in: in, out: bufio.NewScanner(out), name: name}
	t.Cleanup(p.kill)
	return p
}

func (p *peer) pid() int { return p.cmd.Process.Pid }

func (p *peer) kill() {
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	}
}

func (p *peer) ask(line string) string {
	p.t.Helper()
	if _, err := fmt.Fprintln(p.in, line); err != nil || !p.out.Scan() {
		p.t.Fatalf("%s: no answer to %q: %v", p.name, line, err)
	}
	return p.out.Text()
}

func (p *peer) must(line string) {
	p.t.Helper()
	if a := p.ask(line); a != "ok" {
		p.t.Fatalf("%s: %q gave %s", p.name, line, a)
	}
}

// host puts the test's thread into a network namespace of its own for good.
func host(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 || !mayBridge() {
		t.Skip("needs root to make network namespaces")
	}
	runtime.LockOSThread() // never unlocked: the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("no network namespace can be made: %v", err)
	}
	if err := LoopbackUp(); err != nil {
		t.Fatal(err)
	}
}

// The outside is 198.51.100.2, the host 198.51.100.1 to it.
func outside(t *testing.T) *peer {
	t.Helper()
	p := start(t, "outside", unix.CLONE_NEWNET)
	c, err := dialRtnl()
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	netns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", p.pid()))
	if err != nil {
		t.Fatal(err)
	}
	defer netns.Close()
	check(t, c.do(newVeth("out0", firstInterface, link{mtu: 1400}, int(netns.Fd()), net.HardwareAddr{2, 0, 0, 0, 0, 9})))
	l, err := c.linkByName("out0")
	check(t, err)
	check(t, c.do(newAddress(l, netip.MustParsePrefix("198.51.100.1/24")), newAddress(l, netip.MustParsePrefix("2001:db8::1/64")), setUp("out0"), defaultRoute(netip.MustParseAddr("198.51.100.2"), unix.AF_INET, link{})))
	check(t, inNamespace(netns, func() error {
		return configureInside([]Connection{{
			Interface: firstInterface, Address: netip.MustParsePrefix("198.51.100.2/24"), Gateway: netip.MustParseAddr("198.51.100.1"),
			Address6: netip.MustParsePrefix("2001:db8::2/64"), Gateway6: netip.MustParseAddr("2001:db8::1"),
		}}, nil)
	}))
	p.must("listen tcp 7000")
	p.must("listen tcp6 7006")
	p.must("listen udp 7000")
	return p
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func ports(t *testing.T, specs ...string) []PortMapping {
	t.Helper()
	var all []PortMapping
	for _, s := range specs {
		ps, err := ParsePort(s)
		check(t, err)
		all = append(all, ps...)
	}
	return all
}

// connect starts a container and connects it to the default bridge.
func connect(t *testing.T, dir, id string, published ...string) (*peer, Result) {
	t.Helper()
	return connectTo(t, dir, id, nil, published...)
}

func connectTo(t *testing.T, dir, id string, ends []Endpoint, published ...string) (*peer, Result) {
	t.Helper()
	p := start(t, id, unix.CLONE_NEWNET)
	r, err := Setup(t.Context(), Options{StateDir: dir, ContainerID: id, Pid: p.pid(), Ports: ports(t, published...), Endpoints: ends})
	check(t, err)
	t.Cleanup(func() { closeAll(r.Reserved) })
	return p, r
}
