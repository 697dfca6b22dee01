package engine

import (
	"cmp"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/camada/camada/container/record"
	"github.com/camada/camada/network"
)

// portsText is what ps shows of the ports of a container that runs, in Docker's form: those that are the same on the host or that are exposed
// alone, neighbours put together (0.0.0.0:8000-8001->8000-8001/tcp), and then those that have another number there.
func portsText(c *record.Container) string {
	if !c.Running() {
		return ""
	}
	ports, err := publishedPorts(c)
	if err != nil {
		return strings.Join(c.State.Ports, ", ")
	}
	for i := range ports {
		if !ports[i].HostIP.IsValid() { // by an older version
			ports[i].HostIP = netip.IPv4Unspecified()
		}
	}
	ports = append(ports, onlyExposed(c, ports)...)
	slices.SortStableFunc(ports, func(a, b network.PortMapping) int {
		return cmp.Or(cmp.Compare(a.ContainerPort, b.ContainerPort), a.HostIP.Compare(b.HostIP), cmp.Compare(a.HostPort, b.HostPort), cmp.Compare(a.Protocol, b.Protocol))
	})
	return strings.Join(portTexts(ports), ", ")
}

// portTexts are the texts of sorted ports.
func portTexts(ports []network.PortMapping) []string {
	type kind struct {
		host     netip.Addr
		protocol string
	}
	type group struct {
		kind
		first, last uint16
	}
	var groups []group
	newest := map[kind]int{} // of groups
	var others []string
	for _, p := range ports {
		k, n := kind{p.HostIP, p.Protocol}, p.ContainerPort
		if p.HostIP.IsValid() && p.HostPort != n {
			others = append(others, hostSide(p)+"->"+containerPort(p))
			continue
		}
		if i, ok := newest[k]; ok && groups[i].last+1 == n {
			groups[i].last = n
			continue
		}
		newest[k] = len(groups)
		groups = append(groups, group{k, n, n})
	}
	texts := make([]string, 0, len(ports))
	for _, g := range groups {
		text := strconv.Itoa(int(g.first))
		if g.last != g.first {
			text += "-" + strconv.Itoa(int(g.last))
		}
		if g.host.IsValid() {
			text = net.JoinHostPort(g.host.String(), text) + "->" + text
		}
		texts = append(texts, text+"/"+g.protocol)
	}
	return append(texts, others...)
}

// onlyExposed are the ports that the image or --expose names, and that are not published.
func onlyExposed(c *record.Container, published []network.PortMapping) (ports []network.PortMapping) {
	l, err := launchOf(c)
	if err != nil || c.Config.Network == networkHost || c.Config.Network == networkNone || strings.HasPrefix(c.Config.Network, networkContainer) {
		return nil
	}
	for _, text := range slices.Concat(slices.Collect(maps.Keys(l.Image.ExposedPorts)), l.opts.Net.Expose) {
		all, err := exposed(text)
		if err != nil {
			continue
		}
		for _, p := range all {
			same := func(o network.PortMapping) bool {
				return o.ContainerPort == p.ContainerPort && o.Protocol == p.Protocol
			}
			if !slices.ContainsFunc(published, same) && !slices.ContainsFunc(ports, same) {
				ports = append(ports, p)
			}
		}
	}
	return ports
}
