package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"slices"
	"time"

	"github.com/camada/camada/container/record"
	"github.com/camada/camada/internal/flock"
	"github.com/camada/camada/network"
)

// NetworkInspect is what inspect shows of a network, in the form of docker's.
type NetworkInspect struct {
	Name       string
	ID         string `json:"Id"`
	Created    time.Time
	Scope      string
	Driver     string
	EnableIPv4 bool
	EnableIPv6 bool
	IPAM       IPAM
	Internal   bool
	Attachable bool
	Ingress    bool
	// Containers are those that run, by their IDs.
	Containers map[string]NetworkContainer
	Options    map[string]string
	Labels     map[string]string
}

// IPAM are the subnets of a network.
type IPAM struct {
	Driver  string
	Options map[string]string
	Config  []IPAMConfig
}

// IPAMConfig is one subnet.
type IPAMConfig struct {
	Subnet             string
	IPRange            string            `json:",omitempty"`
	Gateway            string            `json:",omitempty"`
	AuxiliaryAddresses map[string]string `json:",omitempty"`
}

// NetworkContainer is a container on a network.
type NetworkContainer struct {
	Name        string
	EndpointID  string
	MacAddress  string
	IPv4Address string
	IPv6Address string
}

// InspectNetwork tells all that is known of a network.
func (e *Engine) InspectNetwork(ctx context.Context, name string) (*NetworkInspect, error) {
	v := &NetworkInspect{Scope: "local", Containers: map[string]NetworkContainer{}, Options: map[string]string{}, Labels: map[string]string{}}
	v.IPAM = IPAM{Driver: "default", Config: []IPAMConfig{}}
	id := ""
	if i := slices.IndexFunc(builtinNetworks(), func(r NetworkRow) bool { return r.Name == name || r.ID == name }); i >= 0 {
		r := builtinNetworks()[i]
		v.Name, v.ID, v.Driver, v.EnableIPv4 = r.Name, r.ID, r.Driver, true
		if r.Name != networkBridge {
			return v, nil
		}
		v.Options["com.docker.network.bridge.name"] = network.DefaultBridge
		if subnet, gateway, ok := network.DefaultPool(e.networkDir()); ok {
			v.IPAM.Config = append(v.IPAM.Config, IPAMConfig{Subnet: subnet.String(), Gateway: gateway.String()})
		}
	} else {
		n, err := e.definitions().Get(name)
		if err != nil {
			return nil, err
		}
		id = n.ID
		v.describe(n)
	}
	holders, err := network.Holders(e.networkDir(), id)
	if err != nil {
		return nil, err
	}
	for _, h := range holders {
		c := NetworkContainer{EndpointID: endpointID(h.ID, id), MacAddress: h.MAC, IPv4Address: h.Address.String()}
		if h.Address6.IsValid() {
			c.IPv6Address = h.Address6.String()
		}
		rec, err := e.records.Get(ctx, h.ID)
		if err != nil {
			continue // of another store
		}
		c.Name = rec.Config.Name
		v.Containers[h.ID] = c
	}
	return v, nil
}

func (v *NetworkInspect) describe(n network.Network) {
	v.Name, v.ID, v.Created, v.Driver, v.EnableIPv4, v.EnableIPv6 = n.Name, n.ID, n.Created, string(n.Kind), n.Kind != network.KindNone, n.IPv6
	v.Internal, v.Attachable = n.Internal, n.Attachable
	if n.Options != nil {
		v.Options = n.Options
	}
	if n.Labels != nil {
		v.Labels = n.Labels
	}
	for _, p := range n.Pools {
		c := IPAMConfig{Subnet: p.Subnet.String(), Gateway: p.Gateway.String()}
		if p.Range.IsValid() {
			c.IPRange = p.Range.String()
		}
		for name, a := range p.Reserved {
			if c.AuxiliaryAddresses == nil {
				c.AuxiliaryAddresses = map[string]string{}
			}
			c.AuxiliaryAddresses[name] = a.String()
		}
		v.IPAM.Config = append(v.IPAM.Config, c)
	}
}

// endpointID names a connection, in the form that docker's have.
func endpointID(container, network string) string {
	sum := sha256.Sum256([]byte(container + " " + network))
	return hex.EncodeToString(sum[:])
}

// EndpointSettings are a container's on one network, in the form of docker's.
type EndpointSettings struct {
	// IPAMConfig are the addresses that were asked for; nil is none.
	IPAMConfig          *EndpointIPAM
	NetworkID           string
	EndpointID          string
	Gateway             string
	IPAddress           string
	IPPrefixLen         int
	MacAddress          string
	IPv6Gateway         string
	GlobalIPv6Address   string
	GlobalIPv6PrefixLen int
	Aliases             []string
	DNSNames            []string
}

// EndpointIPAM are the addresses that were asked for on a network.
type EndpointIPAM struct {
	IPv4Address string `json:",omitempty"`
	IPv6Address string `json:",omitempty"`
}

func endpointIPAM(r network.Request) *EndpointIPAM {
	if !r.Address.IsValid() && !r.Address6.IsValid() {
		return nil
	}
	var a EndpointIPAM
	if r.Address.IsValid() {
		a.IPv4Address = r.Address.String()
	}
	if r.Address6.IsValid() {
		a.IPv6Address = r.Address6.String()
	}
	return &a
}

// endpointSettings are those of a container on all its networks; without addresses when it does not run.
func (e *Engine) endpointSettings(c *record.Container) map[string]EndpointSettings {
	all := map[string]EndpointSettings{}
	rs, err := e.requestsOf(c)
	if err != nil {
		return all
	}
	for _, r := range rs {
		all[r.Network] = EndpointSettings{Aliases: r.Aliases, IPAMConfig: endpointIPAM(r)}
	}
	if !c.Running() {
		return all
	}
	connections, err := network.Connections(e.networkDir(), c.Config.ID)
	if err != nil {
		return all
	}
	for _, n := range connections {
		s := all[n.Name]
		s.NetworkID, s.EndpointID, s.MacAddress, s.DNSNames = n.Network, endpointID(c.Config.ID, n.Network), n.MAC, n.Names
		if n.Network == "" {
			s.NetworkID = builtinNetworks()[0].ID
		}
		s.IPAddress, s.IPPrefixLen = n.Address.Addr().String(), n.Address.Bits()
		if n.Gateway.IsValid() {
			s.Gateway = n.Gateway.String()
		}
		if n.Address6.IsValid() {
			s.GlobalIPv6Address, s.GlobalIPv6PrefixLen = n.Address6.Addr().String(), n.Address6.Bits()
			if n.Gateway6.IsValid() {
				s.IPv6Gateway = n.Gateway6.String()
			}
		}
		all[n.Name] = s
	}
	return all
}

// lockDir locks a directory among processes.
func lockDir(ctx context.Context, dir string) (func(), error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := flock.Exclusive(ctx, f); err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}
