package network

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
	"golang.org/x/sys/unix"
)

// link is an interface as RTM_GETLINK tells it.
type link struct {
	index, master, mtu int
	name               string
	up                 bool
	state              byte // IF_OPER_*
}

func parseLink(body []byte) link {
	var l link
	if len(body) < unix.SizeofIfInfomsg {
		return l
	}
	l.index = int(binary.NativeEndian.Uint32(body[4:]))
	l.up = binary.NativeEndian.Uint32(body[8:])&unix.IFF_UP != 0
	attrs(body, unix.SizeofIfInfomsg, func(kind uint16, data []byte) {
		switch {
		case kind == unix.IFLA_IFNAME:
			l.name = strings.TrimRight(string(data), "\x00")
		case kind == unix.IFLA_MASTER && len(data) >= 4:
			l.master = int(binary.NativeEndian.Uint32(data))
		case kind == unix.IFLA_MTU && len(data) >= 4:
			l.mtu = int(binary.NativeEndian.Uint32(data))
		case kind == unix.IFLA_OPERSTATE && len(data) > 0:
			l.state = data[0]
		}
	})
	return l
}

// linkByName gives an error that is unix.ENODEV when there is none.
func (c *rtnl) linkByName(name string) (link, error) {
	r := &request{kind: unix.RTM_GETLINK, body: ifinfo(0, 0, 0), what: "find interface " + name}
	var l link
	err := c.query(r.text(unix.IFLA_IFNAME, name), func(body []byte) { l = parseLink(body) })
	return l, err
}

// operUp is the state of an interface that takes packets: IF_OPER_UP.
const operUp = 6

// awaitCarrier waits until the kernel has noticed that both ends of a pair are
// up, or that a bridge has a port that is, which it does in the background: before that it drops their packets. It
// mostly has by the time of asking; the limit is its own slowest pace.
func (c *rtnl) awaitCarrier(name string) error {
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Microsecond) {
		l, err := c.linkByName(name)
		if err != nil || l.state == operUp {
			return err
		}
	}
	return errdefs.Unavailable("interface %s does not come up", name)
}

func (c *rtnl) links() ([]link, error) {
	r := &request{kind: unix.RTM_GETLINK, flags: unix.NLM_F_DUMP, body: ifinfo(0, 0, 0), what: "list interfaces"}
	var all []link
	err := c.query(r, func(body []byte) { all = append(all, parseLink(body)) })
	return all, err
}

func (c *rtnl) deleteLink(name string) error {
	r := &request{kind: unix.RTM_DELLINK, body: ifinfo(0, 0, 0), what: "remove interface " + name}
	err := c.do(r.text(unix.IFLA_IFNAME, name))
	if errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

// mayBridge asks the kernel to change nothing of "lo", which only somebody may
// who may change the network namespace.
func mayBridge() bool {
	c, err := dialRtnl()
	if err != nil {
		return false
	}
	defer c.close()
	return c.do(&request{kind: unix.RTM_NEWLINK, body: ifinfo(1, 0, 0), what: "probe"}) == nil
}

// noIPv6 keeps the kernel from giving the interface a link-local address, with
// the multicast traffic that comes with it: the network is IPv4 only. A kernel
// without IPv6 refuses, which is as well. It cannot be said at creation.
func noIPv6(ifname string) *request {
	const addrGenMode, none = 8, 1 // IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE
	r := &request{kind: unix.RTM_NEWLINK, body: ifinfo(0, 0, 0), optional: true}
	return r.text(unix.IFLA_IFNAME, ifname).nest(unix.IFLA_AF_SPEC, func() {
		r.nest(unix.AF_INET6, func() { r.attr(addrGenMode, []byte{none}) })
	})
}

// newBridge makes the bridge, down and without an address.
func newBridge(name string, mac net.HardwareAddr, mtu int) *request {
	r := &request{kind: unix.RTM_NEWLINK, flags: unix.NLM_F_CREATE | unix.NLM_F_EXCL, body: ifinfo(0, 0, 0), what: "make bridge " + name}
	r.text(unix.IFLA_IFNAME, name).number(unix.IFLA_MTU, uint32(mtu))
	// Without a fixed one the bridge takes the lowest of its ports', and changes it.
	r.attr(unix.IFLA_ADDRESS, mac)
	r.nest(unix.IFLA_LINKINFO, func() { r.text(unix.IFLA_INFO_KIND, "bridge") })
	return r
}

// newVeth makes a pair: name in the bridge, and inside in the network namespace of
// the descriptor, both down.
func newVeth(name, inside string, bridge link, netns int, mac net.HardwareAddr) *request {
	const peerInfo = 1 // VETH_INFO_PEER (linux/veth.h)
	r := &request{kind: unix.RTM_NEWLINK, flags: unix.NLM_F_CREATE | unix.NLM_F_EXCL, body: ifinfo(0, 0, 0), what: "make interface " + name}
	r.text(unix.IFLA_IFNAME, name).number(unix.IFLA_MTU, uint32(bridge.mtu)).number(unix.IFLA_MASTER, uint32(bridge.index))
	r.nest(unix.IFLA_LINKINFO, func() {
		r.text(unix.IFLA_INFO_KIND, "veth")
		r.nest(unix.IFLA_INFO_DATA, func() {
			r.nest(peerInfo, func() {
				r.body = append(r.body, ifinfo(0, 0, 0)...)
				r.text(unix.IFLA_IFNAME, inside).number(unix.IFLA_MTU, uint32(bridge.mtu))
				r.number(unix.IFLA_NET_NS_FD, uint32(netns)).attr(unix.IFLA_ADDRESS, mac)
			})
		})
	})
	return r
}

// portMode lets the bridge send a packet back where it came from. Where the kernel
// filters bridged packets (bridge-nf-call-iptables), a container that asks for its
// own published port needs that. An isolated port reaches only ports that are not.
func portMode(name string, isolated bool) *request {
	const slaveKind, slaveData, brportMode, brportIsolated = 4, 5, 4, 33 // IFLA_INFO_SLAVE_*, IFLA_BRPORT_MODE, IFLA_BRPORT_ISOLATED
	r := &request{kind: unix.RTM_NEWLINK, body: ifinfo(0, 0, 0), what: "set the mode of bridge port " + name}
	return r.text(unix.IFLA_IFNAME, name).nest(unix.IFLA_LINKINFO, func() {
		r.text(slaveKind, "bridge").nest(slaveData, func() {
			r.attr(brportMode, []byte{1})
			if isolated {
				r.attr(brportIsolated, []byte{1})
			}
		})
	})
}

func setUp(name string) *request {
	r := &request{kind: unix.RTM_NEWLINK, body: ifinfo(0, unix.IFF_UP, unix.IFF_UP), what: "bring " + name + " up"}
	return r.text(unix.IFLA_IFNAME, name)
}

// newAddress gives an interface an address. One of IPv6 is used at once: nobody else has it, by the state directory.
func newAddress(l link, a netip.Prefix) *request {
	r := &request{kind: unix.RTM_NEWADDR, flags: unix.NLM_F_CREATE | unix.NLM_F_REPLACE, what: fmt.Sprintf("give %s the address %s", l.name, a)}
	family, flags := byte(unix.AF_INET), byte(0)
	if a.Addr().Is6() {
		family, flags = unix.AF_INET6, unix.IFA_F_NODAD
	}
	r.body = binary.NativeEndian.AppendUint32([]byte{family, byte(a.Bits()), flags, unix.RT_SCOPE_UNIVERSE}, uint32(l.index))
	ip := a.Addr().AsSlice()
	r.attr(unix.IFA_LOCAL, ip).attr(unix.IFA_ADDRESS, ip)
	if a.Addr().Is4() {
		r.attr(unix.IFA_BROADCAST, broadcast(a))
	}
	return r
}

func broadcast(a netip.Prefix) []byte {
	ip := a.Addr().As4()
	n := binary.BigEndian.Uint32(ip[:]) | (1<<(32-a.Bits()) - 1)
	return binary.BigEndian.AppendUint32(nil, n)
}

// defaultRoute leads to the gateway, or without one straight to the interface.
func defaultRoute(gateway netip.Addr, family byte, l link) *request {
	body := []byte{family, 0, 0, 0, unix.RT_TABLE_MAIN, unix.RTPROT_BOOT, unix.RT_SCOPE_UNIVERSE, unix.RTN_UNICAST, 0, 0, 0, 0}
	r := &request{kind: unix.RTM_NEWROUTE, flags: unix.NLM_F_CREATE | unix.NLM_F_EXCL, body: body, what: "set the default route"}
	if gateway.IsValid() {
		r.attr(unix.RTA_GATEWAY, gateway.AsSlice())
	}
	if l.index != 0 {
		r.number(unix.RTA_OIF, uint32(l.index))
	}
	return r
}

// addressesOf gives the IPv4 addresses of an interface.
func (c *rtnl) addressesOf(l link) ([]netip.Prefix, error) {
	r := &request{kind: unix.RTM_GETADDR, flags: unix.NLM_F_DUMP, body: make([]byte, unix.SizeofIfAddrmsg), what: "list addresses"}
	r.body[0] = unix.AF_INET
	var all []netip.Prefix
	err := c.query(r, func(body []byte) {
		if len(body) < unix.SizeofIfAddrmsg || int(binary.NativeEndian.Uint32(body[4:])) != l.index {
			return
		}
		bits := int(body[1])
		attrs(body, unix.SizeofIfAddrmsg, func(kind uint16, data []byte) {
			if kind == unix.IFA_LOCAL && len(data) == 4 {
				all = append(all, netip.PrefixFrom(netip.AddrFrom4([4]byte(data)), bits))
			}
		})
	})
	return all, err
}

// inNamespace runs f on a thread that is in the network namespace. A thread that
// cannot come back dies with its goroutine.
func inNamespace(netns *os.File, f func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			runtime.UnlockOSThread()
			result <- err
			return
		}
		defer home.Close()
		if err := unix.Setns(int(netns.Fd()), unix.CLONE_NEWNET); err != nil {
			runtime.UnlockOSThread()
			result <- fmt.Errorf("enter network namespace: %w", err)
			return
		}
		err = f()
		if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		result <- err
	}()
	return <-result
}
