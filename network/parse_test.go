package network

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/camada/camada/errdefs"
)

func TestParsePort(t *testing.T) {
	for in, want := range map[string]string{
		"80":                       "80/tcp",
		"8080:80":                  "8080:80/tcp",
		"8080:80/UDP":              "8080:80/udp",
		"127.0.0.1:8080:80/udp":    "127.0.0.1:8080:80/udp",
		"127.0.0.1::80":            "127.0.0.1::80/tcp",
		"[::1]:8080:80":            "[::1]:8080:80/tcp",
		"[::ffff:1.2.3.4]:8080:80": "1.2.3.4:8080:80/tcp",
		":8080:80":                 "8080:80/tcp",
		"8000-8002:80":             "8000-8002:80/tcp",
		"8000-8002:80-82":          "8000:80/tcp 8001:81/tcp 8002:82/tcp",
		"80-81":                    "80/tcp 81/tcp",
	} {
		ps, err := ParsePort(in)
		var got []string
		for _, p := range ps {
			got = append(got, p.String())
		}
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("ParsePort(%q) = %v, %v, want %s", in, got, err, want)
		}
	}
	for _, bad := range []string{"", ":", "0", "65536", "a:80", "80:", "8080:80/icmp", "8080:80/", "8002-8000:80", "8000-8001:80-82", "::1:8080:80", "999.1.1.1:80:80", "+80", "80:80:80:80", "-1", "1-", "[fe80::1%eth0]:1:1"} {
		if ps, err := ParsePort(bad); !errdefs.IsInvalid(err) {
			t.Errorf("ParsePort(%q) = %v, %v, want an invalid argument", bad, ps, err)
		}
	}
	if _, err := ParsePort("80/sctp"); !errdefs.IsUnsupported(err) {
		t.Errorf("sctp: %v", err)
	}
	if _, err := ParsePort("1-60000"); !errdefs.IsLimit(err) {
		t.Errorf("60000 ports: %v", err)
	}
}

func FuzzParsePort(f *testing.F) {
	for _, s := range []string{"80", "1.2.3.4:1-2:3-4/udp", "[::1]::80"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ps, err := ParsePort(s)
		if err != nil {
			return
		}
		for _, p := range ps {
			again, err := ParsePort(p.String())
			if err != nil || len(again) != 1 || again[0] != p {
				t.Errorf("%q gives %+v, which reads back as %+v, %v", s, p, again, err)
			}
		}
	})
}

func TestResolvConf(t *testing.T) {
	addrs := func(s ...string) (as []netip.Addr) {
		for _, a := range s {
			as = append(as, netip.MustParseAddr(a))
		}
		return as
	}
	host := "# made by hand\nnameserver 127.0.0.1\nnameserver 192.0.2.1 # first\nnameserver ::1\nnameserver 2001:db8::1\nnameserver fe80::1%eth0\nsearch a.example b.example\noptions edns0\noptions ndots:2\n"
	for _, c := range []struct {
		name, host, want string
		dns              DNS
	}{
		{"loopback is dropped", host, "nameserver 192.0.2.1\nnameserver 2001:db8::1\nsearch a.example b.example\noptions edns0 ndots:2\n", DNS{}},
		{"without IPv6", host, "nameserver 192.0.2.1\nsearch a.example b.example\noptions edns0 ndots:2\n", DNS{WithoutIPv6: true}},
		{"host network", "nameserver 127.0.0.53\n", "nameserver 127.0.0.53\n", DNS{KeepLoopback: true}},
		{"asked for", host, "nameserver 9.9.9.9\nsearch x\noptions o\n", DNS{Nameservers: addrs("9.9.9.9"), Search: []string{"x"}, Options: []string{"o"}}},
		{"no search", host, "nameserver 192.0.2.1\noptions edns0 ndots:2\n", DNS{Search: []string{"."}, WithoutIPv6: true}},
		{"fallback", "nameserver 127.0.0.1\n", "nameserver 9.9.9.9\n", DNS{FallbackServers: addrs("9.9.9.9")}},
		{"driver's", "nameserver 127.0.0.1\n", "nameserver 10.0.2.3\n", DNS{InsideNameserver: addrs("10.0.2.3")[0]}},
		{"nothing", "", "", DNS{}},
		{"line breaks", "", "", DNS{Search: []string{"x\nnameserver 6.6.6.6"}}},
	} {
		if got := string(ResolvConf([]byte(c.host), c.dns)); got != c.want {
			t.Errorf("%s:\n%swant\n%s", c.name, got, c.want)
		}
	}
}

func FuzzResolvConf(f *testing.F) {
	f.Add([]byte("nameserver 1.1.1.1\nsearch a\noptions b\n"))
	f.Fuzz(func(t *testing.T, host []byte) {
		once := ResolvConf(host, DNS{})
		if twice := ResolvConf(once, DNS{}); !bytes.Equal(once, twice) {
			t.Errorf("%q becomes %q, then %q", host, once, twice)
		}
	})
}

func TestHostResolvConf(t *testing.T) {
	dir := t.TempDir()
	etc, resolved := filepath.Join(dir, "resolv.conf"), filepath.Join(dir, "resolved.conf")
	read := func() string {
		data, err := hostResolvConf(etc, resolved)
		check(t, err)
		return string(data)
	}
	if got := read(); got != "" {
		t.Errorf("no file gives %q", got)
	}
	check(t, os.WriteFile(etc, []byte("nameserver 127.0.0.53\noptions edns0\n"), 0o600))
	if got := read(); !strings.Contains(got, "127.0.0.53") {
		t.Errorf("without resolved's own file: %q", got)
	}
	check(t, os.WriteFile(resolved, []byte("nameserver 192.0.2.7\n"), 0o600))
	if got := read(); got != "nameserver 192.0.2.7\n" {
		t.Errorf("stub alone: %q", got)
	}
	check(t, os.WriteFile(etc, []byte("nameserver 127.0.0.53\nnameserver 192.0.2.8\n"), 0o600))
	if got := read(); !strings.Contains(got, "192.0.2.8") {
		t.Errorf("stub and another: %q", got)
	}
}

func TestHosts(t *testing.T) {
	got := string(Hosts(netip.MustParseAddr("172.30.0.2"), "web", "example.org", []string{"db:10.0.0.5", "v6:2001:db8::1", "bad", "evil:1.1.1.1\n2.2.2.2 localhost"}))
	for _, want := range []string{"127.0.0.1\tlocalhost\n", "\n10.0.0.5\tdb\n", "\n2001:db8::1\tv6\n", "\n172.30.0.2\tweb.example.org web\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "2.2.2.2") || strings.Contains(got, "bad") {
		t.Errorf("a malformed entry got in:\n%s", got)
	}
	if string(Hostname("web")) != "web\n" {
		t.Error("hostname")
	}
}

func TestChooseSubnet(t *testing.T) {
	routes := "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n" +
		"eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n" +
		"eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n" +
		"vpn0\t00001EAC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
	used, device := parseRoutes([]byte(routes))
	if device != "eth0" || len(used) != 2 || used[0].String() != "192.0.2.0/24" || used[1].String() != "172.30.0.0/16" {
		t.Fatalf("parseRoutes = %v, %s", used, device)
	}
	if p, err := chooseSubnet(DefaultSubnets(), used); err != nil || p.String() != "172.29.0.0/16" {
		t.Errorf("chooseSubnet = %v, %v", p, err)
	}
	if _, err := chooseSubnet(DefaultSubnets(), []netip.Prefix{netip.MustParsePrefix("0.0.0.0/1"), netip.MustParsePrefix("128.0.0.0/1")}); !errdefs.IsUnavailable(err) {
		t.Errorf("no subnet is free: %v", err)
	}
}

func FuzzParseRoutes(f *testing.F) {
	f.Add([]byte("eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"))
	f.Fuzz(func(t *testing.T, table []byte) {
		used, _ := parseRoutes(table)
		for _, p := range used {
			if !p.IsValid() {
				t.Errorf("%v", p)
			}
		}
	})
}
