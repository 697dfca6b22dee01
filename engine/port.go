package engine

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/camada/camada/container/record"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/network"
)

// PublishedPort is a port of a container and where it is on the host.
type PublishedPort struct {
	// Container is PORT/PROTOCOL, Host ADDRESS:PORT.
	Container, Host string
}

// Ports tells where the ports of a running container are published; port is PORT[/PROTOCOL], or "" for all.
func (e *Engine) Ports(ctx context.Context, name, port string) ([]PublishedPort, error) {
	want := ""
	if port != "" {
		number, protocol, _ := strings.Cut(port, "/")
		if n, err := strconv.ParseUint(number, 10, 16); err != nil || n == 0 {
			return nil, errdefs.Invalid("%q is no port: want PORT or PORT/PROTOCOL", port)
		}
		want = number + "/" + orElse(protocol, "tcp")
	}
	c, err := e.records.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	list := []PublishedPort{}
	if !c.Running() {
		if want != "" {
			return nil, errdefs.NotFound("no public port '%s' published for %s", want, name)
		}
		return list, nil
	}
	all, err := publishedPorts(c)
	if err != nil {
		return nil, err
	}
	for _, p := range all {
		inside := fmt.Sprintf("%d/%s", p.ContainerPort, p.Protocol)
		if want == "" || want == inside {
			list = append(list, PublishedPort{Container: inside, Host: hostSide(p)})
		}
	}
	if want != "" && len(list) == 0 {
		return nil, errdefs.NotFound("no public port '%s' published for %s", want, name)
	}
	return list, nil
}

// publishedPorts are those of a container that runs.
func publishedPorts(c *record.Container) ([]network.PortMapping, error) {
	var all []network.PortMapping
	for _, text := range c.State.Ports {
		ports, err := network.ParsePort(text)
		if err != nil {
			return nil, errdefs.Corrupt("the ports of container %s: %w", c.Config.Name, err)
		}
		all = append(all, ports...)
	}
	return all, nil
}

// hostSide is where a port is on the host: all addresses are 0.0.0.0 and [::].
func hostSide(p network.PortMapping) string {
	host := p.HostIP
	if !host.IsValid() {
		host = netip.IPv4Unspecified()
	}
	return netip.AddrPortFrom(host, p.HostPort).String()
}
