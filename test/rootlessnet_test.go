package test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

// outsideOf gives the machine an address, 198.51.100.1 and 2001:db8::1, where servers answer: HTTP on port 7000 says who asks, and name servers on the
// loopback, which /etc/resolv.conf names, and on the address say that every name is that of the machine.
func outsideOf(u *user) {
	u.t.Helper()
	for _, args := range []string{
		"link set lo up", "link add out0 type veth peer name out1", "link set out1 up", "link set out0 up", "addr add 198.51.100.1/24 dev out0",
		"-6 addr add 2001:db8::1/64 dev out0 nodad", "-6 route add default dev out0",
	} {
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			u.t.Skipf("ip %s: %v: %s", args, err, out)
		}
	}
	u.must(os.WriteFile("/proc/sys/net/ipv4/ping_group_range", []byte("0 2147483647"), 0))
	u.must(os.Chmod("/dev/net/tun", 0o666))
	l, err := net.Listen("tcp", ":7000")
	u.must(err)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "for", r.RemoteAddr) })}
	go func() { _ = server.Serve(l) }()
	u.t.Cleanup(func() { server.Close() })
	for _, at := range []string{"127.0.0.1:53", "198.51.100.1:53"} {
		c, err := net.ListenPacket("udp4", at)
		u.must(err)
		u.t.Cleanup(func() { c.Close() })
		go answerNames(c)
	}
	resolv := filepath.Join(u.dir, "resolv.conf")
	u.must(os.WriteFile(resolv, []byte("nameserver 127.0.0.1\n"), 0o644))
	u.must(unix.Mount(resolv, "/etc/resolv.conf", "", unix.MS_BIND, ""))
	u.mounts = mountinfo(u.t)
	u.env = append(append([]string{}, u.env...), "PATH="+u.only("newuidmap", "newgidmap")) // neither pasta nor slirp4netns
}

func answerNames(c net.PacketConn) {
	b := make([]byte, 1000)
	for {
		n, from, err := c.ReadFrom(b)
		if err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(b[:n]) != nil || len(m.Questions) != 1 {
			continue
		}
		m.Response, m.Additionals = true, nil
		if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
			m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class}, Body: &dnsmessage.AResource{A: [4]byte{198, 51, 100, 1}}}}
		}
		if out, err := m.Pack(); err == nil {
			_, _ = c.WriteTo(out, from)
		}
	}
}

const netDockerfile = "FROM scratch\nCOPY rootfs /\nRUN mkdir /www && echo served > /www/index.html\n"

// TestRootlessEmbedded connects containers of an ordinary user where nothing is installed for that.
func TestRootlessEmbedded(t *testing.T) {
	asUser(t, place{subIDs: ranges, alone: true}, func(u *user) {
		outsideOf(u)
		u.camada("build", "-q", "-t", "app", u.context(filepath.Join(u.dir, "ctx"), "ctx", "Dockerfile", netDockerfile))
		u.must(os.Chmod("/dev/net/tun", 0o600))
		u.refused(125, []string{"/dev/net/tun: permission denied", "chmod 666", "--network host"}, "run", "--rm", "app", "true")
		u.must(os.Chmod("/dev/net/tun", 0o666))
		u.camada("run", "-d", "--name", "first", "app", "sleep", "1000")
		for _, c := range []struct{ what, ask, want string }{
			{"TCP", "wget -qO- http://198.51.100.1:7000/", "for 198.51.100.1:"},
			{"IPv6", "wget -qO- 'http://[2001:db8::1]:7000/'", "for [2001:db8::1]:"},
			{"a name, by the resolver on the host's loopback", "wget -qO- http://outside.example:7000/", "for 198.51.100.1:"},
			{"UDP", "nslookup other.example 198.51.100.1", "Server:\t\t198.51.100.1"},
			{"an echo request", "ping -c 1 -W 5 198.51.100.1", "PING"},
			{"a port where nobody listens", "! nc -w 20 198.51.100.1 7999 </dev/null 2>&1", "nc: can't connect to remote host (198.51.100.1): Connection refused"},
			{"where no way leads", "! nc -w 20 203.0.113.1 80 </dev/null 2>&1", "nc: can't connect to remote host (203.0.113.1): Network is unreachable"},
			{"this machine by its name", "wget -qO- http://here:7000/", "for 198.51.100.1:"},
		} {
			if out := u.camada("run", "--rm", "--add-host", "here:host-gateway", "app", "sh", "-c", c.ask); !strings.HasPrefix(out, c.want) {
				t.Errorf("%s: %s says %q, want %s", c.what, c.ask, out, c.want)
			}
		}
		for range 2 { // the port is free again at once
			u.camada("run", "-d", "--name", "web", "-p", "18963:80", "app", "httpd", "-f", "-v", "-h", "/www")
			u.served("http://127.0.0.1:18963/")
			u.served("http://198.51.100.1:18963/")
			u.served("http://[::1]:18963/")
			u.served("http://[2001:db8::1]:18963/")
			if logs := u.run("logs", "web"); !strings.Contains(logs.out+logs.errors, "198.51.100.1") {
				t.Errorf("the container does not see who asks: %v", logs)
			}
			address := u.camada("inspect", "--format", "{{.NetworkSettings.IPAddress}}", "web")
			u.says("served", "run", "--rm", "app", "wget", "-qO-", "http://"+address+"/") // neighbours on the default network
			u.says("served", "run", "--rm", "--network", "container:web", "app", "wget", "-qO-", "http://127.0.0.1/")
			u.camada("rm", "-f", "web")
		}
		u.camada("rm", "-f", "first")
		if left := u.processes(); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	})
}

// TestRootlessNetworks are networks that an ordinary user makes.
func TestRootlessNetworks(t *testing.T) {
	asUser(t, place{subIDs: ranges, alone: true}, func(u *user) {
		outsideOf(u)
		u.camada("build", "-q", "-t", "app", u.context(filepath.Join(u.dir, "ctx"), "ctx", "Dockerfile", netDockerfile))
		u.refused(1, []string{"macvlan needs root"}, "network", "create", "-d", "macvlan", "lan")
		u.camada("network", "create", "--subnet", "10.77.0.0/24", "--ipv6", "front")
		u.camada("network", "create", "--internal", "back")
		// All at once, while there is nothing that they could share yet.
		var all sync.WaitGroup
		for i := range 4 {
			all.Go(func() {
				if r := u.run("run", "-d", "--network", "front", "--name", fmt.Sprint("web", i), "app", "httpd", "-f", "-h", "/www"); r.code != 0 {
					t.Error(r)
				}
			})
		}
		all.Wait()
		for i := range 4 {
			u.says("served", "exec", "web0", "wget", "-qO-", fmt.Sprintf("http://web%d/", i))
		}
		u.camada("run", "-d", "--network", "back", "--name", "db", "--network-alias", "data", "app", "httpd", "-f", "-h", "/www")
		fails := func(what string, args ...string) {
			t.Helper()
			if r := u.run(args...); r.code == 0 {
				t.Errorf("%s: %v", what, r)
			}
		}
		fails("a name of another network", "exec", "web0", "wget", "-T", "5", "-qO-", "http://db/")
		address := u.camada("inspect", "--format", "{{(index .NetworkSettings.Networks \"back\").IPAddress}}", "db")
		fails("an address of another network", "exec", "web0", "wget", "-T", "5", "-qO-", "http://"+address+"/")
		fails("out of an internal network", "exec", "db", "wget", "-T", "5", "-qO-", "http://198.51.100.1:7000/")
		u.camada("network", "connect", "--alias", "www", "back", "web0")
		u.says("served", "exec", "web0", "wget", "-qO-", "http://data/")
		u.says("served", "exec", "db", "wget", "-qO-", "http://www/")
		u.camada("network", "connect", "front", "db")
		if out := u.camada("exec", "db", "wget", "-qO-", "http://outside.example:7000/"); !strings.HasPrefix(out, "for 198.51.100.1:") {
			t.Errorf("a new way out: %s", out)
		}
		u.camada("network", "disconnect", "front", "db")
		fails("after disconnect", "exec", "db", "wget", "-T", "5", "-qO-", "http://198.51.100.1:7000/")
		u.refused(1, []string{"containers are connected"}, "network", "rm", "front")
		if out := u.camada("network", "inspect", "--format", "{{len .Containers}}", "front"); out != "4" {
			t.Errorf("on the network front: %s containers", out)
		}
		u.keeperKilled()
		u.camada("rm", "-f", "web0", "web1", "web2", "web3", "db")
		u.camada("network", "rm", "front", "back")
		if left := u.processes(); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	})
}

// keeperKilled kills what looks after a container: its address and its port go to the next that wants them, and what shares the network goes on.
func (u *user) keeperKilled() {
	u.t.Helper()
	run := func(name string) {
		u.t.Helper()
		u.camada("run", "-d", "--network", "front", "--ip", "10.77.0.99", "-p", "18964:80", "--name", name, "app", "httpd", "-f", "-h", "/www")
		u.served("http://127.0.0.1:18964/")
		if out := u.camada("exec", name, "wget", "-qO-", "http://198.51.100.1:7000/"); !strings.HasPrefix(out, "for 198.51.100.1:") {
			u.t.Errorf("%s to the outside: %s", name, out)
		}
	}
	before := u.processes()
	run("one")
	for _, p := range u.processes() {
		pid, name, _ := strings.Cut(strings.TrimPrefix(p, "/proc/"), "/cmdline: ")
		old := false
		for _, b := range before {
			old = old || b == p
		}
		if n := 0; !old && strings.Contains(name, "container-monitor") {
			_, err := fmt.Sscan(pid, &n)
			u.must(err)
			u.must(unix.Kill(n, unix.SIGKILL))
		}
	}
	for range 200 {
		if out := u.camada("ps", "-q", "--filter", "name=one"); out == "" {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	run("two")
	u.says("served", "exec", "web1", "wget", "-qO-", "http://two/")
	u.camada("rm", "-f", "one", "two")
	if c, err := net.Dial("tcp", "127.0.0.1:18964"); err == nil {
		b, _ := io.ReadAll(c)
		u.t.Errorf("the port is still open: %q", b)
		c.Close()
	}
}
