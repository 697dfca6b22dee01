package engine

import (
	"strconv"

	"github.com/camada/camada/container/record"
	"github.com/camada/camada/network"
)

// NetworkSettings are the container's addresses and ports; those of the fields at the top are on the default bridge.
type NetworkSettings struct {
	Bridge     string
	SandboxID  string
	SandboxKey string
	// Ports are by PORT/PROTOCOL; the bindings of one that is not published are nil.
	Ports                  map[string][]PortBinding
	HairpinMode            bool
	LinkLocalIPv6Address   string
	LinkLocalIPv6PrefixLen int
	EndpointID             string
	Gateway                string
	GlobalIPv6Address      string
	GlobalIPv6PrefixLen    int
	IPAddress              string
	IPPrefixLen            int
	IPv6Gateway            string
	MacAddress             string
	// Networks are those that the container is connected to, by their names.
	Networks map[string]EndpointSettings
}

// PortBinding is where a port is on the host.
type PortBinding struct {
	// HostIP is "" for all addresses in what was asked for, and 0.0.0.0 in what is; HostPort is "" for any.
	HostIP   string `json:"HostIp"`
	HostPort string
}

// portBindings are the ports as they were asked for.
func portBindings(ports []network.PortMapping) map[string][]PortBinding {
	all := map[string][]PortBinding{}
	for _, p := range ports {
		var b PortBinding
		if p.HostIP.IsValid() {
			b.HostIP = p.HostIP.String()
		}
		if p.HostPort != 0 {
			b.HostPort = strconv.Itoa(int(p.HostPort))
			if p.HostPortEnd > p.HostPort {
				b.HostPort += "-" + strconv.Itoa(int(p.HostPortEnd))
			}
		}
		all[containerPort(p)] = append(all[containerPort(p)], b)
	}
	return all
}

// networkSettings are those of a container that runs; of another one the networks that it will be connected to.
func (e *Engine) networkSettings(c *record.Container, exposed map[string]struct{}) NetworkSettings {
	s := NetworkSettings{Ports: map[string][]PortBinding{}, Networks: e.endpointSettings(c)}
	if !c.Running() {
		return s
	}
	s.SandboxID, s.SandboxKey = c.Config.ID, "/proc/"+strconv.Itoa(c.State.Pid)+"/ns/net"
	if c.Config.Network != networkHost && c.Config.Network != networkNone {
		for p := range exposed {
			s.Ports[p] = nil
		}
	}
	ports, _ := publishedPorts(c)
	for _, p := range ports {
		b := PortBinding{HostIP: "0.0.0.0", HostPort: strconv.Itoa(int(p.HostPort))}
		if p.HostIP.IsValid() {
			b.HostIP = p.HostIP.String()
		}
		s.Ports[containerPort(p)] = append(s.Ports[containerPort(p)], b)
	}
	if n, ok := s.Networks[networkBridge]; ok {
		s.EndpointID, s.Gateway, s.IPAddress, s.IPPrefixLen, s.MacAddress = n.EndpointID, n.Gateway, n.IPAddress, n.IPPrefixLen, n.MacAddress
		s.GlobalIPv6Address, s.GlobalIPv6PrefixLen, s.IPv6Gateway = n.GlobalIPv6Address, n.GlobalIPv6PrefixLen, n.IPv6Gateway
	}
	return s
}
