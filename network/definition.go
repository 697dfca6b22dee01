package network

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
	"golang.org/x/sys/unix"
)

// Kind is what a network is made of.
type Kind string

// The kinds.
const (
	// KindBridge is a bridge of the host; its containers reach the outside through the host's addresses.
	KindBridge Kind = "bridge"
	// KindMacvlan gives containers hardware addresses of their own on the network of a parent interface.
	KindMacvlan Kind = "macvlan"
	// KindIPvlan is like it, with the parent's hardware address.
	KindIPvlan Kind = "ipvlan"
	// KindNone connects to nothing: the container has its own loopback.
	KindNone Kind = "none"
)

// Network is the definition of a network that a user made.
type Network struct {
	// ID is 64 hexadecimal digits, Name what users call it.
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Created time.Time `json:"created"`
	Kind    Kind      `json:"driver"`
	// Pools are the subnets: one of IPv4, and one of IPv6 when IPv6 is set.
	Pools []Pool `json:"pools,omitempty"`
	IPv6  bool   `json:"ipv6,omitempty"`
	// Internal networks have no way out.
	Internal   bool              `json:"internal,omitempty"`
	Attachable bool              `json:"attachable,omitempty"`
	Options    map[string]string `json:"options,omitempty"`
	Labels     map[string]string `json:"labels,omitempty"`
	// AutoSubnet says that nobody asked for the subnets.
	AutoSubnet bool `json:"autoSubnet,omitempty"`

	file string // of its definition, "" when it is not kept
}

// Pool is a subnet and what may be given out of it.
type Pool struct {
	Subnet  netip.Prefix `json:"subnet"`
	Gateway netip.Addr   `json:"gateway,omitzero"`
	// Range is the part of the subnet from which addresses are chosen; the zero value is all of it.
	Range netip.Prefix `json:"range,omitzero"`
	// Reserved are addresses of others, by name; they are never given out.
	Reserved map[string]netip.Addr `json:"reserved,omitempty"`
}

// The options of a network, by Docker's names.
const (
	optionName       = "com.docker.network.bridge.name"
	optionICC        = "com.docker.network.bridge.enable_icc"
	optionMasquerade = "com.docker.network.bridge.enable_ip_masquerade"
	optionBinding    = "com.docker.network.bridge.host_binding_ipv4"
	optionMTU        = "com.docker.network.driver.mtu"
	optionParent     = "parent"
	optionMacvlan    = "macvlan_mode"
	optionIPvlan     = "ipvlan_mode"
)

// shortID is the part of an ID that names of interfaces have.
const shortID = 12

// Interface is the bridge's name, or that of the parent interface. Without a parent a network of its own is made, a dummy.
func (n *Network) Interface() string {
	switch n.Kind {
	case KindMacvlan, KindIPvlan:
		if p := n.Options[optionParent]; p != "" {
			return p
		}
		return "dm-" + n.ID[:min(shortID, len(n.ID))]
	}
	if name := n.Options[optionName]; name != "" {
		return name
	}
	return "br-" + n.ID[:min(shortID, len(n.ID))]
}

// pool gives the subnet of a family.
func (n *Network) pool(six bool) Pool {
	for _, p := range n.Pools {
		if p.Subnet.Addr().Is6() == six {
			return p
		}
	}
	return Pool{}
}

// ValidName tells whether s can be the name of a network or an alias of a container: letters, digits, "_", "." and "-", the first a
// letter or digit.
func ValidName(s string) bool { return validID(s) }

// Check tells what is wrong with a definition, ErrInvalid or ErrUnsupported. Pools may still be missing, and are completed: the first
// address is the gateway's.
func (n *Network) Check() error {
	if !ValidName(n.Name) {
		return errdefs.Invalid("network name %q: want letters, digits, '_', '.' and '-', the first a letter or digit", n.Name)
	}
	if !slices.Contains([]Kind{KindBridge, KindMacvlan, KindIPvlan, KindNone}, n.Kind) {
		return errdefs.Unsupported("network driver %q: want bridge, macvlan, ipvlan or none", n.Kind)
	}
	if n.Kind == KindNone && (len(n.Pools) > 0 || len(n.Options) > 0) {
		return errdefs.Invalid("network %s: the driver none has no subnets and no options", n.Name)
	}
	if err := n.checkOptions(); err != nil {
		return fmt.Errorf("network %s: %w", n.Name, err)
	}
	seen := map[bool]bool{}
	for i := range n.Pools {
		p := &n.Pools[i]
		six := p.Subnet.Addr().Is6()
		if seen[six] {
			return errdefs.Unsupported("network %s: more than one subnet of a family", n.Name)
		}
		if six && !n.IPv6 {
			return errdefs.Invalid("network %s: subnet %s needs --ipv6", n.Name, p.Subnet)
		}
		seen[six] = true
		if err := p.check(); err != nil {
			return fmt.Errorf("network %s: %w", n.Name, err)
		}
	}
	return nil
}

func (n *Network) checkOptions() error {
	known := map[Kind][]string{
		KindBridge:  {optionName, optionICC, optionMasquerade, optionBinding, optionMTU},
		KindMacvlan: {optionParent, optionMacvlan, optionMTU}, KindIPvlan: {optionParent, optionIPvlan, optionMTU},
	}[n.Kind]
	for _, k := range slices.Sorted(maps.Keys(n.Options)) {
		v := n.Options[k]
		if !slices.Contains(known, k) {
			return errdefs.Unsupported("option %s: not known to the driver %s; want %s", k, n.Kind, strings.Join(known, ", "))
		}
		var err error
		switch k {
		case optionName, optionParent:
			if v == "" || len(v) >= unix.IFNAMSIZ || strings.ContainsAny(v, "/: \t\n\x00") || v == "." || v == ".." {
				err = errdefs.Invalid("option %s=%q: not the name of an interface", k, v)
			}
		case optionICC, optionMasquerade:
			if _, perr := strconv.ParseBool(v); perr != nil {
				err = errdefs.Invalid("option %s=%q: want true or false", k, v)
			}
		case optionBinding:
			if a, perr := netip.ParseAddr(v); perr != nil || !a.Is4() {
				err = errdefs.Invalid("option %s=%q: want an IPv4 address", k, v)
			}
		case optionMTU:
			if m, perr := strconv.Atoi(v); perr != nil || m < 68 || m > 65535 {
				err = errdefs.Invalid("option %s=%q: want a number of bytes from 68 to 65535", k, v)
			}
		case optionMacvlan:
			_, err = macvlanMode(v)
		case optionIPvlan:
			_, _, err = ipvlanMode(v)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (n *Network) flag(option string, unset bool) bool {
	if v, err := strconv.ParseBool(n.Options[option]); err == nil {
		return v
	}
	return unset
}

func (n *Network) mtu() int {
	m, _ := strconv.Atoi(n.Options[optionMTU])
	return m
}

// Binding is the host's address at which ports are published that name none; the zero value is all.
func (n *Network) Binding() netip.Addr {
	a, _ := netip.ParseAddr(n.Options[optionBinding])
	return a
}

// check completes the gateway.
func (p *Pool) check() error {
	bits := p.Subnet.Addr().BitLen()
	if !p.Subnet.IsValid() || p.Subnet.Addr().Is4In6() || p.Subnet.Addr().Zone() != "" || p.Subnet.Bits() > bits-2 || p.Subnet.Bits() < 8 {
		return errdefs.Invalid("subnet %s: want one of 8 to %d bits", p.Subnet, bits-2)
	}
	if p.Subnet != p.Subnet.Masked() {
		return errdefs.Invalid("subnet %s: has bits of a host; want %s", p.Subnet, p.Subnet.Masked())
	}
	if p.Gateway.IsValid() && !p.usable(p.Gateway) {
		return errdefs.Invalid("gateway %s: not an address in %s", p.Gateway, p.Subnet)
	}
	if p.Range.IsValid() && (!p.Subnet.Contains(p.Range.Addr()) || p.Range.Bits() < p.Subnet.Bits()) {
		return errdefs.Invalid("range %s: not within the subnet %s", p.Range, p.Subnet)
	}
	p.Range = p.Range.Masked()
	for name, a := range p.Reserved {
		if !p.usable(a) {
			return errdefs.Invalid("auxiliary address %s=%s: not an address in %s", name, a, p.Subnet)
		}
	}
	if !p.Gateway.IsValid() {
		p.Gateway = p.Subnet.Addr().Next()
	}
	return nil
}

// usable tells whether an address can be that of an interface: neither the network's own nor the one for all.
func (p Pool) usable(a netip.Addr) bool {
	if !p.Subnet.Contains(a) || a == p.Subnet.Masked().Addr() {
		return false
	}
	return a.Is6() || p.Subnet.Contains(a.Next())
}

// free tells whether an address may be chosen for a container.
func (p Pool) free(a netip.Addr) bool {
	if !p.usable(a) || a == p.Gateway {
		return false
	}
	for _, r := range p.Reserved {
		if r == a {
			return false
		}
	}
	return true
}
