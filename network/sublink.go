package network

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/camada/camada/errdefs"
	"golang.org/x/sys/unix"
)

// Modes and flags of linux/if_link.h.
const (
	macvlanPrivate  = 1
	macvlanVepa     = 2
	macvlanBridge   = 4
	macvlanPassthru = 8
	ipvlanL2        = 0
	ipvlanL3        = 1
	ipvlanL3S       = 2
)

func macvlanMode(s string) (uint32, error) {
	switch s {
	case "", "bridge":
		return macvlanBridge, nil
	case "private":
		return macvlanPrivate, nil
	case "vepa":
		return macvlanVepa, nil
	case "passthru":
		return macvlanPassthru, nil
	}
	return 0, errdefs.Invalid("option %s=%q: want bridge, private, vepa or passthru", optionMacvlan, s)
}

func ipvlanMode(s string) (mode uint16, layer3 bool, err error) {
	switch s {
	case "", "l2":
		return ipvlanL2, false, nil
	case "l3":
		return ipvlanL3, true, nil
	case "l3s":
		return ipvlanL3S, true, nil
	}
	return 0, false, errdefs.Invalid("option %s=%q: want l2, l3 or l3s", optionIPvlan, s)
}

// layer3 tells whether the host's stack routes for an ipvlan network.
func layer3(n *Network) bool {
	_, l3, err := ipvlanMode(n.Options[optionIPvlan])
	return err == nil && l3
}

// ensureParent finds the interface that a macvlan or ipvlan network is on. Without one a dummy is made, which connects the containers with
// each other alone.
func ensureParent(c *rtnl, n *Network) (link, error) {
	name := n.Interface()
	l, err := c.linkByName(name)
	if errors.Is(err, unix.ENODEV) && n.Options[optionParent] == "" {
		r := &request{kind: unix.RTM_NEWLINK, flags: unix.NLM_F_CREATE | unix.NLM_F_EXCL, body: ifinfo(0, unix.IFF_UP, unix.IFF_UP), what: "make interface " + name}
		r.text(unix.IFLA_IFNAME, name).nest(unix.IFLA_LINKINFO, func() { r.text(unix.IFLA_INFO_KIND, "dummy") })
		if err := c.do(r); errors.Is(err, unix.EOPNOTSUPP) {
			return l, errdefs.Unsupported("network %s: this kernel has no dummy interfaces; name a parent with -o parent=INTERFACE: %w", n.Name, err)
		} else if err != nil {
			return l, err
		}
		l, err = c.linkByName(name)
	}
	if errors.Is(err, unix.ENODEV) {
		return l, errdefs.NotFound("network %s: the parent interface %s is not there", n.Name, name)
	}
	if err == nil && n.mtu() != 0 {
		l.mtu = n.mtu()
	}
	return l, err
}

// makeSubInterface makes a macvlan or ipvlan interface in the network namespace.
func makeSubInterface(c *rtnl, p plan, netns *os.File, mac net.HardwareAddr) error {
	r := &request{kind: unix.RTM_NEWLINK, flags: unix.NLM_F_CREATE | unix.NLM_F_EXCL, body: ifinfo(0, 0, 0), what: fmt.Sprintf("make a %s interface on %s", p.Kind, p.parent.name)}
	r.text(unix.IFLA_IFNAME, p.Interface).number(unix.IFLA_LINK, uint32(p.parent.index)).number(unix.IFLA_MTU, uint32(p.parent.mtu))
	r.number(unix.IFLA_NET_NS_FD, uint32(netns.Fd()))
	const macvlanModeAttr, ipvlanModeAttr = 1, 1 // IFLA_MACVLAN_MODE, IFLA_IPVLAN_MODE
	var err error
	r.nest(unix.IFLA_LINKINFO, func() {
		r.text(unix.IFLA_INFO_KIND, string(p.Kind)).nest(unix.IFLA_INFO_DATA, func() {
			if p.Kind == KindMacvlan {
				var mode uint32
				mode, err = macvlanMode(p.network.Options[optionMacvlan])
				r.number(macvlanModeAttr, mode)
				return
			}
			var mode uint16
			mode, _, err = ipvlanMode(p.network.Options[optionIPvlan])
			r.attr(ipvlanModeAttr, binary.NativeEndian.AppendUint16(nil, mode))
		})
	})
	if err != nil {
		return err
	}
	if mac != nil {
		r.attr(unix.IFLA_ADDRESS, mac)
	}
	err = c.do(r)
	if errors.Is(err, unix.EOPNOTSUPP) {
		err = errdefs.Unsupported("this kernel has no %s: %w", p.Kind, err)
	}
	return err
}

// removeInterface takes an interface from a container that runs.
func removeInterface(owner process, n Connection) error {
	if n.Host != "" {
		c, err := dialRtnl()
		if err != nil {
			return err
		}
		defer c.close()
		return c.deleteLink(n.Host)
	}
	netns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", owner.Pid))
	if err != nil {
		if errors.Is(err, os.ErrNotExist) || strings.Contains(err.Error(), "no such process") {
			return nil
		}
		return err
	}
	defer netns.Close()
	if !owner.alive() {
		return nil
	}
	return inNamespace(netns, func() error {
		c, err := dialRtnl()
		if err != nil {
			return err
		}
		defer c.close()
		return c.deleteLink(n.Interface)
	})
}
