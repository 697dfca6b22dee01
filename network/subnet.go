package network

import (
	"crypto/rand"
	"encoding/binary"
	"math/bits"
	"net/netip"
	"strconv"
	"strings"

	"github.com/camada/camada/errdefs"
)

// DefaultSubnets gives the pools that are tried for a bridge: private ranges that
// neither Docker nor Podman takes first.
func DefaultSubnets() []netip.Prefix {
	pools := make([]netip.Prefix, 0, 24)
	for _, second := range []byte{30, 29, 28, 27, 26, 31} {
		pools = append(pools, netip.PrefixFrom(netip.AddrFrom4([4]byte{172, second, 0, 0}), 16))
	}
	for _, second := range []byte{201, 202, 203} {
		pools = append(pools, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, second, 0, 0}), 16))
	}
	for third := byte(240); third < 255; third++ {
		pools = append(pools, netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 168, third, 0}), 24))
	}
	return pools
}

// ownPool6 is a unique local subnet (RFC 4193).
func ownPool6() Pool {
	a := [16]byte{0xfd}
	_, _ = rand.Read(a[1:6]) // it never fails
	subnet := netip.PrefixFrom(netip.AddrFrom16(a), 64)
	return Pool{Subnet: subnet, Gateway: subnet.Addr().Next()}
}

// chooseSubnet takes the first pool that overlaps with nothing in use.
func chooseSubnet(pools, used []netip.Prefix) (netip.Prefix, error) {
next:
	for _, p := range pools {
		if !p.Addr().Is4() || p.Bits() > 29 || p.Bits() < 8 {
			return p, errdefs.Invalid("subnet %s: not IPv4 of 8 to 29 bits", p)
		}
		for _, u := range used {
			if p.Overlaps(u) {
				continue next
			}
		}
		return p.Masked(), nil
	}
	return netip.Prefix{}, errdefs.Unavailable("all subnets for the bridge overlap with routes of the host")
}

// parseRoutes reads /proc/net/route: the destinations, but for the default, and
// the device of the default route. Numbers are hexadecimal in the byte order of
// the machine.
func parseRoutes(table []byte) (used []netip.Prefix, device string) {
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if len(f) < 8 {
			continue
		}
		dest, err1 := strconv.ParseUint(f[1], 16, 32)
		mask, err2 := strconv.ParseUint(f[7], 16, 32)
		if err1 != nil || err2 != nil {
			continue
		}
		if mask == 0 {
			if device == "" {
				device = f[0]
			}
			continue
		}
		var ip [4]byte
		binary.NativeEndian.PutUint32(ip[:], uint32(dest))
		used = append(used, netip.PrefixFrom(netip.AddrFrom4(ip), bits.OnesCount32(uint32(mask))).Masked())
	}
	return used, device
}
