package network

import (
	"bytes"
	"net/netip"
	"os"
	"strings"
)

// Hosts gives the content of a container's /etc/hosts. A container without an
// own address (none, host) passes the zero address. extra are lines in the form of
// --add-host: "name:address".
func Hosts(address netip.Addr, hostname, domain string, extra []string) []byte {
	var b bytes.Buffer
	b.WriteString("127.0.0.1\tlocalhost\n" +
		"::1\tlocalhost ip6-localhost ip6-loopback\n" +
		"fe00::\tip6-localnet\n" +
		"ff00::\tip6-mcastprefix\n" +
		"ff02::1\tip6-allnodes\n" +
		"ff02::2\tip6-allrouters\n")
	b.Write(HostsLines(extra))
	if address.IsValid() && clean(hostname) && hostname != "" {
		b.WriteString(address.String() + "\t")
		if domain != "" && clean(domain) {
			b.WriteString(hostname + "." + domain + " ")
		}
		b.WriteString(hostname + "\n")
	}
	return b.Bytes()
}

// HostsLines gives lines of /etc/hosts for hosts in the form "name:address".
func HostsLines(extra []string) []byte {
	var b bytes.Buffer
	for _, line := range extra {
		if name, ip, ok := strings.Cut(line, ":"); ok && clean(name) && clean(ip) {
			b.WriteString(ip + "\t" + name + "\n")
		}
	}
	return b.Bytes()
}

// clean tells that s cannot begin a line of its own.
func clean(s string) bool { return !strings.ContainsAny(s, "\n\r\x00") }

// Hostname gives the content of /etc/hostname.
func Hostname(name string) []byte { return []byte(name + "\n") }

// DNS are what the user asked for of a container's resolver. An empty part is
// taken from the host.
type DNS struct {
	Nameservers      []netip.Addr
	Search, Options  []string
	WithoutIPv6      bool // the container has no IPv6: such nameservers are left out
	KeepLoopback     bool // the container shares the host's network namespace
	FallbackServers  []netip.Addr
	InsideNameserver netip.Addr // of the driver (Result.Nameserver), goes first
}

// ResolvConf makes a container's /etc/resolv.conf from the host's. Nameservers
// on the loopback interface are dropped, as they do not answer in another
// network namespace; when none is left, FallbackServers are taken, and without any
// the file names none. A host whose only one is systemd-resolved's 127.0.0.53
// passes the file that HostResolvConf found instead.
func ResolvConf(host []byte, dns DNS) []byte {
	var servers, search, options []string
	for line := range strings.Lines(string(host)) {
		line, _, _ = strings.Cut(line, "#")
		line, _, _ = strings.Cut(line, ";")
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		switch f[0] {
		case "nameserver":
			if ip, err := netip.ParseAddr(f[1]); err == nil && usable(ip, dns) {
				servers = append(servers, f[1])
			}
		case "search", "domain":
			search = f[1:]
		case "options":
			options = append(options, f[1:]...)
		}
	}
	if len(dns.Nameservers) > 0 {
		servers = texts(dns.Nameservers)
	} else {
		if dns.InsideNameserver.IsValid() {
			servers = append([]string{dns.InsideNameserver.String()}, servers...)
		}
		if len(servers) == 0 {
			servers = texts(dns.FallbackServers)
		}
	}
	if len(dns.Search) > 0 {
		search = dns.Search
	}
	if len(search) == 1 && search[0] == "." {
		search = nil
	}
	if len(dns.Options) > 0 {
		options = dns.Options
	}
	var b bytes.Buffer
	for _, s := range servers {
		b.WriteString("nameserver " + s + "\n")
	}
	for _, l := range []struct {
		key    string
		values []string
	}{{"search ", search}, {"options ", options}} {
		if text := strings.Join(l.values, " "); text != "" && clean(text) {
			b.WriteString(l.key + text + "\n")
		}
	}
	return b.Bytes()
}

func usable(ip netip.Addr, dns DNS) bool {
	if dns.KeepLoopback {
		return true
	}
	return !ip.Unmap().IsLoopback() && (ip.Unmap().Is4() || !dns.WithoutIPv6 && ip.Zone() == "")
}

func texts(addrs []netip.Addr) []string {
	var s []string
	for _, a := range addrs {
		s = append(s, a.String())
	}
	return s
}

// HostResolvConf reads the host's resolver configuration: /etc/resolv.conf, or
// what systemd-resolved got from the network when that file names only its own
// stub. A missing file is an empty one.
func HostResolvConf() ([]byte, error) {
	return hostResolvConf("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf")
}

func hostResolvConf(etc, resolved string) ([]byte, error) {
	data, err := os.ReadFile(etc)
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	if onlyStub(data) {
		if behind, err := os.ReadFile(resolved); err == nil {
			return behind, nil
		}
	}
	return data, nil
}

func onlyStub(conf []byte) bool {
	stub := false
	for line := range strings.Lines(string(conf)) {
		f := strings.Fields(line)
		if len(f) < 2 || f[0] != "nameserver" {
			continue
		}
		if f[1] != "127.0.0.53" && f[1] != "127.0.0.54" {
			return false
		}
		stub = true
	}
	return stub
}

// Upstream are the servers that a resolver outside of the container's network namespace passes questions on to: those that the user asked
// for, or the host's, those on its loopback too.
func Upstream(host []byte, dns DNS) []netip.AddrPort {
	const port, most = 53, 3 // resolv.conf(5): MAXNS
	var servers []netip.AddrPort
	for _, a := range dns.Nameservers {
		servers = append(servers, netip.AddrPortFrom(a, port))
	}
	if len(servers) > 0 {
		return servers
	}
	for line := range strings.Lines(string(host)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "nameserver" && len(servers) < most {
			if a, err := netip.ParseAddr(f[1]); err == nil {
				servers = append(servers, netip.AddrPortFrom(a, port))
			}
		}
	}
	return servers
}

// HostOptions are the words of the options lines of a resolv.conf, but for ndots.
func HostOptions(host []byte) []string {
	var options []string
	for line := range strings.Lines(string(host)) {
		f := strings.Fields(line)
		if len(f) < 2 || f[0] != "options" {
			continue
		}
		for _, o := range f[1:] {
			if !strings.HasPrefix(o, "ndots:") {
				options = append(options, o)
			}
		}
	}
	return options
}
