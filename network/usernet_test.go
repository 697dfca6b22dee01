package network

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/network/dns"
	"golang.org/x/sys/unix"
)

// made makes a network in a store of the test's.
func made(t *testing.T, dir string, n Network, pools ...string) *Network {
	t.Helper()
	if n.Kind == "" {
		n.Kind = KindBridge
	}
	for _, p := range pools {
		n.Pools = append(n.Pools, Pool{Subnet: netip.MustParsePrefix(p)})
	}
	n, err := Definitions{Dir: filepath.Join(filepath.Dir(dir), "definitions"), StateDir: dir}.Create(t.Context(), n)
	check(t, err)
	return &n
}

func on(n *Network, names ...string) Endpoint { return Endpoint{Network: n, Names: names} }

// expect asks peers, and compares the beginnings of their answers.
func expect(t *testing.T, what string, p *peer, line, want string) {
	t.Helper()
	if got := p.ask(line); !strings.HasPrefix(got, want) {
		t.Errorf("%s: %s gave %q, want %s", what, line, got, want)
	}
}

func TestUserNetworks(t *testing.T) {
	host(t)
	dir := filepath.Join(t.TempDir(), "network")
	world := outside(t)
	front := made(t, dir, Network{Name: "front", IPv6: true}, "10.50.0.0/24", "fd00:50::/64")
	back := made(t, dir, Network{Name: "back", Internal: true}, "10.51.0.0/24")
	both, rb := connectTo(t, dir, "both", []Endpoint{on(front), on(back)}, "8080:80", "[2001:db8::1]:8086:80")
	web, _ := connectTo(t, dir, "web", []Endpoint{{Network: front, Address: netip.MustParseAddr("10.50.0.99"), Address6: netip.MustParseAddr("fd00:50::99"), MAC: []byte{2, 1, 2, 3, 4, 5}}})
	db, _ := connectTo(t, dir, "db", []Endpoint{on(back)})
	other, _ := connect(t, dir, "other")
	for _, p := range []*peer{both, web, db, other} {
		p.must("listen tcp 80")
		p.must("listen tcp6 80")
	}
	if c := rb.Connections; len(c) != 2 || c[0].Address.String() != "10.50.0.2/24" || c[0].Address6.String() != "fd00:50::2/64" || c[1].Address.String() != "10.51.0.2/24" || c[1].Interface != "eth1" {
		t.Fatalf("connections: %+v", c)
	}
	for _, c := range []struct {
		what string
		from *peer
		dial string
		want string
	}{
		{"on one network", both, "tcp 10.50.0.99:80", "10.50.0.2:"},
		{"on one network by IPv6", both, "tcp6 [fd00:50::99]:80", "[fd00:50::2]:"},
		{"on the internal network", both, "tcp 10.51.0.3:80", "10.51.0.2:"},
		{"to the outside", web, "tcp 198.51.100.2:7000", "198.51.100.1:"},
		{"to the outside by IPv6", web, "tcp6 [2001:db8::2]:7006", "[2001:db8::1]:"},
		{"from two networks to the outside", both, "tcp 198.51.100.2:7000", "198.51.100.1:"},
		{"from the internal network to the outside", db, "tcp 198.51.100.2:7000", "error"},
		{"to another network", web, "tcp 10.51.0.3:80", "error"},
		{"from the internal network to another", db, "tcp 10.50.0.99:80", "error"},
		{"from the default network", other, "tcp 10.50.0.99:80", "error"},
		{"to the default network", web, "tcp 172.30.0.2:80", "error"},
		{"published port", world, "tcp 198.51.100.1:8080", "198.51.100.2:"},
		{"published port by IPv6", world, "tcp6 [2001:db8::1]:8080", "[2001:db8::2]:"},
		{"published on one IPv6 address", world, "tcp6 [2001:db8::1]:8086", "[2001:db8::2]:"},
		{"published port, from another network", other, "tcp 198.51.100.1:8080", "10.50.0.1:"},
		{"from the outside straight to a container", world, "tcp 10.50.0.99:80", "error"},
		{"from the outside straight to IPv6", world, "tcp6 [fd00:50::99]:80", "error"},
	} {
		expect(t, c.what, c.from, "dial "+c.dial, c.want)
	}
	// A network that is in use cannot go; one that is not takes all along.
	defs := Definitions{Dir: filepath.Join(filepath.Dir(dir), "definitions"), StateDir: dir}
	if err := defs.Remove(t.Context(), *back); !errdefs.IsConflict(err) {
		t.Errorf("removing a network in use: %v", err)
	}
	db.kill()
	check(t, Disconnect(t.Context(), dir, "both", back.ID))
	expect(t, "after disconnect", both, "dial tcp 10.51.0.1:1", "error")
	check(t, defs.Remove(t.Context(), *back))
	c, err := dialRtnl()
	check(t, err)
	defer c.close()
	if _, err := c.linkByName(back.Interface()); err == nil {
		t.Errorf("the bridge of a removed network stays")
	}
	if list, err := defs.List(); err != nil || len(list) != 1 {
		t.Errorf("networks: %v %v", list, err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "addresses", back.ID[:12]+"-*")); err != nil || len(left) > 0 {
		t.Errorf("addresses of a removed network: %v %v", left, err)
	}
	// The store was removed by hand: the next to clean up takes the bridge.
	check(t, os.RemoveAll(defs.Dir))
	for _, id := range []string{"both", "web"} {
		check(t, Teardown(t.Context(), dir, id))
	}
	_, err = Reconcile(t.Context(), dir)
	check(t, err)
	if _, err := c.linkByName(front.Interface()); err == nil {
		t.Errorf("the bridge of a network whose store is gone stays")
	}
}

func TestStaticAddresses(t *testing.T) {
	host(t)
	dir := filepath.Join(t.TempDir(), "network")
	n := made(t, dir, Network{Name: "n", Pools: []Pool{{
		Subnet: netip.MustParsePrefix("10.50.0.0/24"), Range: netip.MustParsePrefix("10.50.0.128/30"), Gateway: netip.MustParseAddr("10.50.0.254"),
		Reserved: map[string]netip.Addr{"router": netip.MustParseAddr("10.50.0.129")},
	}}})
	try := func(id, address string) (Result, error) {
		p := start(t, id, unix.CLONE_NEWNET)
		a, _ := netip.ParseAddr(address)
		return Setup(t.Context(), Options{StateDir: dir, ContainerID: id, Pid: p.pid(), Endpoints: []Endpoint{{Network: n, Address: a}}})
	}
	for _, c := range []struct{ id, ask, want string }{{"a", "", "10.50.0.128"}, {"b", "", "10.50.0.130"}, {"c", "10.50.0.7", "10.50.0.7"}, {"d", "", "10.50.0.131"}} {
		r, err := try(c.id, c.ask)
		if err != nil || r.Address.Addr().String() != c.want || r.Gateway.String() != "10.50.0.254" {
			t.Errorf("%s got %v %v, want %s", c.id, r.Address, err, c.want)
		}
	}
	for _, c := range []struct {
		id, ask string
		is      func(error) bool
	}{{"e", "", errdefs.IsUnavailable}, {"f", "10.50.0.7", errdefs.IsConflict}, {"g", "10.50.0.254", errdefs.IsConflict}, {"h", "10.51.0.7", errdefs.IsInvalid}, {"i", "10.50.0.255", errdefs.IsInvalid}} {
		if r, err := try(c.id, c.ask); !c.is(err) {
			t.Errorf("%s for %q: %v %v", c.id, c.ask, r.Address, err)
		}
		if files := tree(t, dir, c.id); len(files) > 0 {
			t.Errorf("left behind: %v", files)
		}
	}
}

// serve runs a container's resolver as its keeper does.
func serve(t *testing.T, dir string, p *peer, upstream ...netip.AddrPort) {
	t.Helper()
	udp, tcp, err := OpenResolver(p.pid())
	check(t, err)
	s := &dns.Server{Names: Names{StateDir: dir, ContainerID: p.name}, Upstream: upstream, Timeout: 300 * time.Millisecond}
	t.Cleanup(s.Serve(udp, tcp))
}

func TestNames(t *testing.T) {
	host(t)
	dir := filepath.Join(t.TempDir(), "network")
	front := made(t, dir, Network{Name: "front", IPv6: true}, "10.50.0.0/24", "fd00:50::/64")
	back := made(t, dir, Network{Name: "back"}, "10.51.0.0/24")
	a, _ := connectTo(t, dir, "a", []Endpoint{on(front, "a", "web")})
	b, _ := connectTo(t, dir, "b", []Endpoint{on(front, "b", "Web"), on(back, "b")})
	c, _ := connectTo(t, dir, "c", []Endpoint{on(back, "c", "web")})
	for _, p := range []*peer{a, b, c} {
		serve(t, dir, p)
	}
	// The container's own name server does not get in the way.
	a.must("listen udp 53")
	for _, c := range []struct {
		from       *peer
		name, want string
	}{
		{a, "b", "10.50.0.3 fd00:50::3"},
		{a, "B.front", "10.50.0.3 fd00:50::3"},
		{a, "web", "10.50.0.2 10.50.0.3 fd00:50::2 fd00:50::3"},
		{b, "web", "10.50.0.2 10.50.0.3 10.51.0.3 fd00:50::2 fd00:50::3"},
		{b, "web.back", "10.51.0.3"},
		{c, "b", "10.51.0.2"},
		{c, "a", "error"},
		{a, "nobody", "error"},
		{a, "10.50.0.3", "b.front."},
		{a, "fd00:50::3", "b.front."},
		{a, "10.51.0.3", "error"},
	} {
		for _, protocol := range []string{"udp", "tcp"} {
			if got := c.from.ask("lookup " + protocol + " " + c.name); got != c.want && (c.want != "error" || !strings.HasPrefix(got, "error")) {
				t.Errorf("%s asks for %s by %s: %q, want %s", c.from.name, c.name, protocol, got, c.want)
			}
		}
	}
	// A killed container is not found any more, without anybody cleaning up.
	b.kill()
	expect(t, "after a kill", a, "lookup udp web", "10.50.0.2 fd00:50::2")
	expect(t, "after a kill", c, "lookup udp b", "error")
	// Connected and disconnected while it runs, under other names.
	n, err := Connect(t.Context(), dir, "c", on(front, "see"))
	check(t, err)
	if n.Interface != "eth1" {
		t.Errorf("connected as %+v", n)
	}
	c.must("listen tcp 80")
	expect(t, "a new name", a, "lookup udp see", n.Address.Addr().String())
	expect(t, "connected", a, "dial tcp "+n.Address.Addr().String()+":80", "10.50.0.2:")
	if _, err := Connect(t.Context(), dir, "c", on(front)); !errdefs.IsAlreadyExists(err) {
		t.Errorf("connecting twice: %v", err)
	}
	check(t, Disconnect(t.Context(), dir, "c", front.ID))
	expect(t, "a name that went", a, "lookup udp see", "error")
	if err := Disconnect(t.Context(), dir, "c", front.ID); !errdefs.IsNotFound(err) {
		t.Errorf("disconnecting twice: %v", err)
	}
}

// Questions about the outside go to the host's name servers, also one on its loopback; not from a network without a way out.
func TestForwards(t *testing.T) {
	host(t)
	dir := filepath.Join(t.TempDir(), "network")
	local := start(t, "host", 0)
	local.must("answer")
	for name, internal := range map[string]bool{"front": false, "back": true} {
		n := made(t, dir, Network{Name: name, Internal: internal})
		p, _ := connectTo(t, dir, name, []Endpoint{on(n, "me")})
		start(t, "keeper", 0).must(fmt.Sprintf("resolve %s %s %d", dir, name, p.pid()))
		if internal {
			expect(t, name, p, "lookup udp outside.example", "error")
		} else {
			expect(t, name, p, "lookup udp outside.example", "192.0.2.7")
		}
		expect(t, name, p, "lookup udp me", "172.")
	}
}

// The way out and the published ports move to the network that is left.
func TestDisconnectMovesWayOut(t *testing.T) {
	host(t)
	dir := filepath.Join(t.TempDir(), "network")
	world := outside(t)
	first := made(t, dir, Network{Name: "first"}, "10.50.0.0/24")
	second := made(t, dir, Network{Name: "second"}, "10.51.0.0/24")
	a, _ := connectTo(t, dir, "a", []Endpoint{on(first), on(second)}, "8080:80")
	a.must("listen tcp 80")
	check(t, Disconnect(t.Context(), dir, "a", first.ID))
	expect(t, "way out", a, "dial tcp 198.51.100.2:7000", "198.51.100.1:")
	expect(t, "published port", world, "dial tcp 198.51.100.1:8080", "198.51.100.2:")
	check(t, Disconnect(t.Context(), dir, "a", second.ID))
	expect(t, "no network", a, "dial tcp 198.51.100.2:7000", "error")
	expect(t, "port of nobody", world, "dial tcp 198.51.100.1:8080", "error")
	_, err := Connect(t.Context(), dir, "a", Endpoint{})
	check(t, err)
	expect(t, "way out by the default network", a, "dial tcp 198.51.100.2:7000", "198.51.100.1:")
	expect(t, "published port once more", world, "dial tcp 198.51.100.1:8080", "198.51.100.2:")
}

func TestIsolatedContainers(t *testing.T) {
	host(t)
	dir := filepath.Join(t.TempDir(), "network")
	world := outside(t)
	n := made(t, dir, Network{Name: "n", Options: map[string]string{optionICC: "false"}}, "10.50.0.0/24")
	a, _ := connectTo(t, dir, "a", []Endpoint{on(n)}, "8080:80")
	b, _ := connectTo(t, dir, "b", []Endpoint{on(n)})
	a.must("listen tcp 80")
	expect(t, "to a neighbour", b, "dial tcp 10.50.0.2:80", "error")
	expect(t, "to the outside", b, "dial tcp 198.51.100.2:7000", "198.51.100.1:")
	expect(t, "published port", world, "dial tcp 198.51.100.1:8080", "198.51.100.2:")
}

func TestSubInterfaces(t *testing.T) {
	for _, kind := range []struct {
		kind    Kind
		options map[string]string
	}{
		{KindMacvlan, nil}, {KindIPvlan, nil}, {KindIPvlan, map[string]string{optionIPvlan: "l3"}}, {KindMacvlan, map[string]string{optionParent: "out0"}},
		{KindIPvlan, map[string]string{optionParent: "out0"}}, {KindIPvlan, map[string]string{optionParent: "out0", optionIPvlan: "l3"}},
	} {
		t.Run(string(kind.kind)+kind.options[optionIPvlan]+kind.options[optionParent], func(t *testing.T) {
			host(t)
			dir := filepath.Join(t.TempDir(), "network")
			world := outside(t)
			n := made(t, dir, Network{Name: "lan", Kind: kind.kind, Options: kind.options}, "198.51.100.0/24")
			end := func(a string) []Endpoint { return []Endpoint{{Network: n, Address: netip.MustParseAddr(a)}} }
			p := start(t, "a", unix.CLONE_NEWNET)
			_, err := Setup(t.Context(), Options{StateDir: dir, ContainerID: "a", Pid: p.pid(), Endpoints: end("198.51.100.7")})
			if errdefs.IsUnsupported(err) {
				t.Skip(err)
			}
			check(t, err)
			p.must("listen tcp 80")
			q, _ := connectTo(t, dir, "b", end("198.51.100.8"))
			expect(t, "to a neighbour", q, "dial tcp 198.51.100.7:80", "198.51.100.8:")
			if n.Options[optionParent] != "" && !layer3(n) { // there, the parent's network needs a route
				expect(t, "from the parent's network", world, "dial tcp 198.51.100.7:80", "198.51.100.2:")
				expect(t, "to the parent's network", q, "dial tcp 198.51.100.2:7000", "198.51.100.8:")
			}
			check(t, Disconnect(t.Context(), dir, "a", n.ID))
			expect(t, "disconnected", q, "dial tcp 198.51.100.7:80", "error")
			if _, err := Setup(t.Context(), Options{StateDir: dir, ContainerID: "c", Pid: start(t, "c", unix.CLONE_NEWNET).pid(), Endpoints: []Endpoint{on(n)}, Ports: ports(t, "80:80")}); !errdefs.IsInvalid(err) {
				t.Errorf("publishing on it: %v", err)
			}
			q.kill()
			defs := Definitions{Dir: filepath.Join(filepath.Dir(dir), "definitions"), StateDir: dir}
			check(t, defs.Remove(t.Context(), *n))
			c, err := dialRtnl()
			check(t, err)
			defer c.close()
			if _, err := c.linkByName("dm-" + n.ID[:12]); err == nil {
				t.Error("the dummy stays")
			}
		})
	}
}

func TestDefinitions(t *testing.T) {
	host(t)
	outside(t)
	dir := filepath.Join(t.TempDir(), "network")
	defs := Definitions{Dir: filepath.Join(filepath.Dir(dir), "definitions"), StateDir: dir}
	first := made(t, dir, Network{Name: "first", IPv6: true, Labels: map[string]string{"a": "b"}})
	if p := first.pool(true); p.Subnet.Bits() != 64 || p.Subnet.Addr().As16()[0] != 0xfd || !p.Gateway.IsValid() || !first.AutoSubnet {
		t.Errorf("chosen pools: %+v", first.Pools)
	}
	check(t, os.WriteFile(defs.file("killed")+".new", []byte("{"), 0o600))
	second := made(t, dir, Network{Name: "second"})
	if left, err := filepath.Glob(filepath.Join(defs.Dir, "*.new")); err != nil || len(left) > 0 {
		t.Errorf("what a killed writer left stays: %v %v", left, err)
	}
	if first.pool(false).Subnet.Overlaps(second.pool(false).Subnet) {
		t.Errorf("subnets overlap: %v %v", first.Pools, second.Pools)
	}
	for _, query := range []string{"first", first.ID, first.ID[:7]} {
		if n, err := defs.Get(query); err != nil || n.ID != first.ID || n.Labels["a"] != "b" {
			t.Errorf("Get(%q) = %+v, %v", query, n, err)
		}
	}
	if _, err := defs.Get("none-such"); !errdefs.IsNotFound(err) {
		t.Errorf("a network that is not there: %v", err)
	}
	pool := func(s string) []Pool { return []Pool{{Subnet: netip.MustParsePrefix(s)}} }
	for name, c := range map[string]struct {
		n  Network
		is func(error) bool
	}{
		"same name":         {Network{Name: "first"}, errdefs.IsAlreadyExists},
		"name of a builtin": {Network{Name: "host"}, errdefs.IsAlreadyExists},
		"bad name":          {Network{Name: "../x"}, errdefs.IsInvalid},
		"driver":            {Network{Name: "x", Kind: "overlay"}, errdefs.IsUnsupported},
		"overlap":           {Network{Name: "x", Pools: []Pool{{Subnet: first.pool(false).Subnet}}}, errdefs.IsConflict},
		"overlap with host": {Network{Name: "x", Pools: pool("198.51.100.0/25")}, errdefs.IsConflict},
		"host bits":         {Network{Name: "x", Pools: pool("10.1.1.1/24")}, errdefs.IsInvalid},
		"too small":         {Network{Name: "x", Pools: pool("10.1.1.0/31")}, errdefs.IsInvalid},
		"IPv6 not asked":    {Network{Name: "x", Pools: pool("fd00::/64")}, errdefs.IsInvalid},
		"two subnets":       {Network{Name: "x", Pools: append(pool("10.1.1.0/24"), pool("10.1.2.0/24")...)}, errdefs.IsUnsupported},
		"foreign option":    {Network{Name: "x", Options: map[string]string{"x": "y"}}, errdefs.IsUnsupported},
		"bad option":        {Network{Name: "x", Options: map[string]string{optionICC: "perhaps"}}, errdefs.IsInvalid},
		"bad bridge":        {Network{Name: "x", Options: map[string]string{optionName: "a/b"}}, errdefs.IsInvalid},
		"bad mode":          {Network{Name: "x", Kind: KindMacvlan, Options: map[string]string{optionMacvlan: "l2"}}, errdefs.IsInvalid},
		"none with subnets": {Network{Name: "x", Kind: KindNone, Pools: pool("10.1.1.0/24")}, errdefs.IsInvalid},
	} {
		if c.n.Kind == "" {
			c.n.Kind = KindBridge
		}
		if n, err := defs.Create(t.Context(), c.n); !c.is(err) {
			t.Errorf("%s: %+v %v", name, n, err)
		}
	}
	check(t, os.WriteFile(defs.file("broken"), []byte("{"), 0o600))
	if _, err := defs.List(); !errdefs.IsCorrupt(err) {
		t.Errorf("a broken definition: %v", err)
	}
}
