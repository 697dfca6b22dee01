package network

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/camada/camada/errdefs"
)

// PortMapping publishes a port of a container on the host.
type PortMapping struct {
	// HostIP is the host's address; 0.0.0.0 and :: are all of one family, and the zero value all of both.
	HostIP netip.Addr `json:"hostIP,omitzero"`
	// HostPort is the port on the host. 0 lets the system choose. When HostPortEnd
	// is larger, the first free one of the range is taken.
	HostPort    uint16 `json:"hostPort"`
	HostPortEnd uint16 `json:"hostPortEnd,omitempty"`
	// ContainerPort is the port inside.
	ContainerPort uint16 `json:"containerPort"`
	// Protocol is "tcp" or "udp".
	Protocol string `json:"protocol"`
}

// String gives the mapping as ParsePort reads it.
func (p PortMapping) String() string {
	var b strings.Builder
	switch {
	case p.HostIP.Is6():
		fmt.Fprintf(&b, "[%s]:", p.HostIP)
	case p.HostIP.IsValid():
		fmt.Fprintf(&b, "%s:", p.HostIP)
	}
	if p.HostPort != 0 {
		fmt.Fprintf(&b, "%d", p.HostPort)
		if p.HostPortEnd > p.HostPort {
			fmt.Fprintf(&b, "-%d", p.HostPortEnd)
		}
	}
	if b.Len() > 0 {
		b.WriteByte(':')
	}
	fmt.Fprintf(&b, "%d/%s", p.ContainerPort, p.Protocol)
	return b.String()
}

// ip is the host's address, 0.0.0.0 for the zero value.
func (p PortMapping) ip() netip.Addr {
	if !p.HostIP.IsValid() {
		return netip.IPv4Unspecified()
	}
	return p.HostIP
}

// maxPorts bounds how many mappings one range gives.
const maxPorts = 4096

// ParsePort reads the value of -p as Docker has it:
// [[HOSTIP:][HOSTPORT]:]CONTAINERPORT[/PROTOCOL], where both ports can be ranges
// "8000-8010" of the same length, or the host's alone one to choose from. An
// IPv6 address stands in brackets.
func ParsePort(s string) ([]PortMapping, error) {
	fail := func(why string, args ...any) ([]PortMapping, error) {
		return nil, errdefs.Invalid("published port %q: %s", s, fmt.Sprintf(why, args...))
	}
	rest, protocol, hasProtocol := strings.Cut(s, "/")
	if protocol = strings.ToLower(protocol); !hasProtocol {
		protocol = "tcp"
	}
	switch protocol {
	case "tcp", "udp":
	case "sctp":
		return nil, errdefs.Unsupported("published port %q: sctp", s)
	default:
		return fail("protocol %q is neither tcp nor udp", protocol)
	}
	var hostIP netip.Addr
	i := strings.LastIndexByte(rest, ':')
	container, host := rest[i+1:], ""
	if i >= 0 {
		host = rest[:i]
		if j := strings.LastIndexByte(host, ':'); j >= 0 {
			ip := host[:j]
			host = host[j+1:]
			if strings.HasPrefix(ip, "[") && strings.HasSuffix(ip, "]") {
				ip = ip[1 : len(ip)-1]
			} else if strings.ContainsRune(ip, ':') {
				return fail("an IPv6 address has to stand in brackets")
			}
			var err error
			if hostIP, err = netip.ParseAddr(ip); ip != "" && err != nil {
				return fail("%q is no IP address", ip)
			}
			hostIP = hostIP.Unmap()
			if hostIP.Zone() != "" {
				return fail("an address with a zone")
			}
		}
	}
	first, last, err := parseRange(container)
	if err != nil {
		return fail("container port: %v", err)
	}
	var hostFirst, hostLast uint16
	if host != "" {
		if hostFirst, hostLast, err = parseRange(host); err != nil {
			return fail("host port: %v", err)
		}
	}
	n := int(last) - int(first)
	if hostN := int(hostLast) - int(hostFirst); n > 0 && host != "" && hostN != n {
		return fail("the ranges have different lengths")
	}
	if n >= maxPorts {
		return nil, errdefs.Limit("published port %q: more than %d ports", s, maxPorts)
	}
	ports := make([]PortMapping, 0, n+1)
	for k := 0; k <= n; k++ {
		m := PortMapping{HostIP: hostIP, ContainerPort: first + uint16(k), Protocol: protocol}
		if host != "" {
			m.HostPort = hostFirst + uint16(k)
		}
		if n == 0 && hostLast > hostFirst {
			m.HostPortEnd = hostLast
		}
		ports = append(ports, m)
	}
	return ports, nil
}

func parseRange(s string) (first, last uint16, err error) {
	a, b, isRange := strings.Cut(s, "-")
	if first, err = parsePort(a); err != nil {
		return 0, 0, err
	}
	if !isRange {
		return first, first, nil
	}
	if last, err = parsePort(b); err != nil {
		return 0, 0, err
	}
	if last < first {
		return 0, 0, fmt.Errorf("range %q ends before it begins", s)
	}
	return first, last, nil
}

func parsePort(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 || s[0] == '+' {
		return 0, fmt.Errorf("%q is not a number from 1 to 65535", s)
	}
	return uint16(n), nil
}
