package network

import (
	"encoding/csv"
	"net"
	"net/netip"
	"strings"

	"github.com/camada/camada/errdefs"
)

// Request is one value of --network: a network by name, and what is asked of it.
type Request struct {
	// Network is a name or an ID.
	Network string   `json:"network"`
	Aliases []string `json:"aliases,omitempty"`
	// Address and Address6 are wished for.
	Address  netip.Addr `json:"address,omitzero"`
	Address6 netip.Addr `json:"address6,omitzero"`
	// MAC is a hardware address in its canonical form, "" for any.
	MAC string `json:"mac,omitempty"`
}

// ParseRequest reads a value of --network as Docker has it: a name, or name=NAME[,alias=NAME...][,ip=ADDRESS][,ip6=ADDRESS]
// [,mac-address=ADDRESS]. ErrInvalid, or ErrUnsupported for keys of Docker's that mean nothing here.
func ParseRequest(s string) (Request, error) {
	if !strings.Contains(s, "=") {
		if s == "" {
			return Request{}, errdefs.Invalid("--network: the name of a network is missing")
		}
		return Request{Network: s}, nil
	}
	fields, err := csv.NewReader(strings.NewReader(s)).Read()
	if err != nil {
		return Request{}, errdefs.Invalid("--network %q: %w", s, err)
	}
	var r Request
	for _, f := range fields {
		k, v, ok := strings.Cut(strings.TrimSpace(f), "=")
		if !ok || v == "" {
			return r, errdefs.Invalid("--network %q: %q is not KEY=VALUE", s, f)
		}
		if err := r.set(strings.ToLower(k), strings.TrimSpace(v)); err != nil {
			return r, err
		}
	}
	if r.Network == "" {
		return r, errdefs.Invalid("--network %q: name= is missing", s)
	}
	return r, nil
}

func (r *Request) set(key, value string) (err error) {
	switch key {
	case "name":
		r.Network = value
	case "alias":
		return r.AddAlias(value)
	case "ip":
		return r.SetAddress(value, false)
	case "ip6":
		return r.SetAddress(value, true)
	case "mac-address":
		return r.SetMAC(value)
	case "driver-opt", "link-local-ip", "gw-priority":
		err = errdefs.Unsupported("--network: %s=%s", key, value)
	default:
		err = errdefs.Invalid("--network: unknown key %q; want name, alias, ip, ip6 or mac-address", key)
	}
	return err
}

// AddAlias adds a name.
func (r *Request) AddAlias(name string) error {
	if !ValidName(name) {
		return errdefs.Invalid("network alias %q: want letters, digits, '_', '.' and '-', the first a letter or digit", name)
	}
	r.Aliases = append(r.Aliases, name)
	return nil
}

// SetAddress wishes for an address of a family.
func (r *Request) SetAddress(text string, six bool) error {
	a, err := netip.ParseAddr(text)
	a = a.Unmap()
	if err != nil || a.Zone() != "" || a.Is6() != six || a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() {
		return errdefs.Invalid("address %q: not an IPv%s address of a container", text, map[bool]string{false: "4", true: "6"}[six])
	}
	if six {
		r.Address6 = a
	} else {
		r.Address = a
	}
	return nil
}

// SetMAC wishes for a hardware address.
func (r *Request) SetMAC(text string) error {
	mac, err := net.ParseMAC(text)
	if err != nil || len(mac) != 6 || mac[0]&1 != 0 {
		return errdefs.Invalid("hardware address %q: want six bytes such as 02:42:ac:11:00:02, and not one of a group", text)
	}
	r.MAC = mac.String()
	return nil
}

// Endpoint is the request to a network of a definition, nil for the default bridge. names are what the container is called besides.
func (r Request) Endpoint(n *Network, names ...string) Endpoint {
	e := Endpoint{Network: n, Address: r.Address, Address6: r.Address6}
	e.MAC, _ = net.ParseMAC(r.MAC)
	for _, name := range append(names, r.Aliases...) {
		if ValidName(name) {
			e.Names = append(e.Names, name)
		}
	}
	return e
}
