package dns

import (
	"net/netip"
	"strconv"
	"strings"
)

// reverse reads the address in a name such as 2.0.30.172.in-addr.arpa. or one of ip6.arpa. (RFC 1035, 3.5; RFC 3596, 2.5).
func reverse(name string) (netip.Addr, bool) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if rest, ok := strings.CutSuffix(name, ".in-addr.arpa"); ok {
		parts := strings.Split(rest, ".")
		if len(parts) != 4 {
			return netip.Addr{}, false
		}
		var ip [4]byte
		for i, p := range parts {
			n, err := strconv.ParseUint(p, 10, 8)
			if err != nil {
				return netip.Addr{}, false
			}
			ip[3-i] = byte(n)
		}
		return netip.AddrFrom4(ip), true
	}
	rest, ok := strings.CutSuffix(name, ".ip6.arpa")
	if !ok {
		return netip.Addr{}, false
	}
	parts := strings.Split(rest, ".")
	if len(parts) != 32 {
		return netip.Addr{}, false
	}
	var ip [16]byte
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 16, 4)
		if err != nil || len(p) != 1 {
			return netip.Addr{}, false
		}
		at := 31 - i
		ip[at/2] |= byte(n) << (4 * (1 - at%2))
	}
	return netip.AddrFrom16(ip), true
}
