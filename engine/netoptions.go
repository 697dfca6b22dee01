package engine

import (
	"context"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/camada/camada/container/record"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/network"
)

// NetOptions say how a container is connected; the names are those of docker run's flags.
type NetOptions struct {
	// Networks are the values of --network; none is bridge.
	Networks []string `json:"networks,omitempty"`
	IP       string   `json:"ip,omitempty"`
	IP6      string   `json:"ip6,omitempty"`
	MAC      string   `json:"mac,omitempty"`
	Aliases  []string `json:"aliases,omitempty"`
	// DNS, DNSSearch and DNSOptions replace the host's.
	DNS        []string `json:"dns,omitempty"`
	DNSSearch  []string `json:"dnsSearch,omitempty"`
	DNSOptions []string `json:"dnsOptions,omitempty"`
	// AddHosts are NAME:ADDRESS or NAME=ADDRESS; the address host-gateway is this machine's.
	AddHosts []string `json:"addHosts,omitempty"`
	// PublishAll publishes what the image and Expose name at ports of the system's choice.
	PublishAll bool     `json:"publishAll,omitempty"`
	Expose     []string `json:"expose,omitempty"`
}

// networkContainer begins the name of a container's network namespace.
const networkContainer = "container:"

// checkNetwork reads the flags about networks and sets what the record calls the network: the first one's name.
func (l *launch) checkNetwork() error {
	o := &l.opts.Net
	texts := o.Networks
	if len(texts) == 0 {
		texts = []string{orElse(l.opts.Network, networkBridge)}
	}
	for _, text := range texts {
		r, err := network.ParseRequest(text)
		if err != nil {
			return err
		}
		if r.Network == "default" {
			r.Network = networkBridge
		}
		if slices.ContainsFunc(l.Requests, func(o network.Request) bool { return o.Network == r.Network }) {
			return errdefs.Invalid("--network %s: named twice", r.Network)
		}
		l.Requests = append(l.Requests, r)
	}
	if err := o.first(&l.Requests[0]); err != nil {
		return err
	}
	mode := l.Requests[0].Network
	for _, r := range l.Requests {
		if err := checkRequest(r, len(l.Requests)); err != nil {
			return err
		}
	}
	l.opts.Network = mode
	return l.checkNames(mode)
}

// first puts the flags that mean the first network into its request.
func (o *NetOptions) first(r *network.Request) error {
	if o.IP != "" {
		if err := r.SetAddress(o.IP, false); err != nil {
			return err
		}
	}
	if o.IP6 != "" {
		if err := r.SetAddress(o.IP6, true); err != nil {
			return err
		}
	}
	if o.MAC != "" {
		if err := r.SetMAC(o.MAC); err != nil {
			return err
		}
	}
	for _, a := range o.Aliases {
		if err := r.AddAlias(a); err != nil {
			return err
		}
	}
	return nil
}

// checkRequest tells what a network that nobody made cannot give.
func checkRequest(r network.Request, all int) error {
	shared := r.Network == networkHost || r.Network == networkNone || strings.HasPrefix(r.Network, networkContainer)
	switch {
	case shared && all > 1:
		return errdefs.Invalid("--network %s: cannot be combined with other networks", r.Network)
	case shared && (r.Address.IsValid() || r.Address6.IsValid() || r.MAC != "" || len(r.Aliases) > 0):
		return errdefs.Invalid("--network %s: has no addresses and no aliases of the container's own", r.Network)
	case r.Network == networkBridge && (r.Address.IsValid() || r.Address6.IsValid() || len(r.Aliases) > 0):
		return errdefs.Invalid("--network bridge: addresses and aliases can be chosen on networks that were made with 'camada network create' only")
	}
	return nil
}

// checkNames reads the ports, and the flags about names.
func (l *launch) checkNames(mode string) error {
	o := &l.opts.Net
	joined := strings.HasPrefix(mode, networkContainer)
	if len(l.opts.Publish) > 0 && mode == networkHost && l.opts.Warn != nil {
		l.opts.Warn("Published ports are discarded when using host network mode")
	}
	for _, p := range l.opts.Publish {
		ports, err := network.ParsePort(p)
		if err != nil {
			return err
		}
		l.Ports = append(l.Ports, ports...)
	}
	if (len(l.Ports) > 0 || joined && o.PublishAll) && (mode == networkNone || joined) {
		return errdefs.Invalid("-p cannot be used with --network %s: there is nothing to connect to", mode)
	}
	if joined {
		for _, f := range []struct {
			flag  string
			given bool
		}{{"--hostname", l.opts.Hostname != ""}, {"--dns", len(o.DNS)+len(o.DNSSearch)+len(o.DNSOptions) > 0}, {"--add-host", len(o.AddHosts) > 0}, {"--expose", len(o.Expose) > 0}} {
			if f.given {
				return errdefs.Invalid("%s cannot be used with --network %s: the other container's counts", f.flag, mode)
			}
		}
	}
	for _, h := range o.AddHosts {
		name, addr := splitHost(h)
		if _, err := netip.ParseAddr(addr); name == "" || strings.ContainsAny(name, " \t\n#") || err != nil && addr != hostGateway {
			return errdefs.Invalid("--add-host %q: want NAME:ADDRESS or NAME:%s", h, hostGateway)
		}
	}
	for _, s := range o.DNS {
		if _, err := netip.ParseAddr(s); err != nil {
			return errdefs.Invalid("--dns %q: is no IP address", s)
		}
	}
	for _, s := range slices.Concat(o.DNSSearch, o.DNSOptions) {
		if s == "" || strings.ContainsAny(s, " \t\n#;") {
			return errdefs.Invalid("--dns-search or --dns-option %q: want one word", s)
		}
	}
	for _, e := range o.Expose {
		if _, err := exposed(e); err != nil {
			return err
		}
	}
	return nil
}

// splitHost takes a value of --add-host apart; an IPv6 address may stand in brackets.
func splitHost(s string) (name, addr string) {
	sep := ":"
	if strings.Contains(s, "=") {
		sep = "="
	}
	name, addr, _ = strings.Cut(s, sep)
	if strings.HasPrefix(addr, "[") && strings.HasSuffix(addr, "]") {
		addr = addr[1 : len(addr)-1]
	}
	return name, addr
}

// exposed reads a port that an image or --expose names: PORT[-PORT][/PROTOCOL].
func exposed(text string) ([]network.PortMapping, error) {
	if strings.Contains(text, ":") {
		return nil, errdefs.Invalid("--expose %q: want PORT[-PORT][/PROTOCOL]", text)
	}
	return network.ParsePort(text)
}

// publishAll adds the ports of -P, which the image names.
func (l *launch) publishAll() error {
	o := l.opts.Net
	if !o.PublishAll || l.opts.Network == networkHost || l.opts.Network == networkNone {
		return nil
	}
	for _, text := range slices.Concat(slices.Sorted(maps.Keys(l.Image.ExposedPorts)), o.Expose) {
		ports, err := exposed(text)
		if err != nil {
			return err
		}
		for _, p := range ports {
			if !slices.ContainsFunc(l.Ports, func(o network.PortMapping) bool {
				return o.ContainerPort == p.ContainerPort && o.Protocol == p.Protocol
			}) {
				l.Ports = append(l.Ports, p)
			}
		}
	}
	return nil
}

// dns is what the flags say of the resolver.
func (o NetOptions) dns() network.DNS {
	d := network.DNS{Search: o.DNSSearch, Options: o.DNSOptions}
	for _, s := range o.DNS {
		if a, err := netip.ParseAddr(s); err == nil {
			d.Nameservers = append(d.Nameservers, a)
		}
	}
	return d
}

// addHosts are the lines of --add-host in the form "name:address"; gateway is this machine as the container sees it.
func (o NetOptions) addHosts(gateway netip.Addr) ([]string, error) {
	var lines []string
	for _, h := range o.AddHosts {
		name, addr := splitHost(h)
		if addr == hostGateway {
			if !gateway.IsValid() {
				return nil, errdefs.Unsupported("--add-host %s: this network has no address of the host", h)
			}
			addr = gateway.String()
		}
		lines = append(lines, name+":"+addr)
	}
	return lines, nil
}

// needsGateway tells that a line of --add-host is this machine's address.
func (o NetOptions) needsGateway() bool {
	return slices.ContainsFunc(o.AddHosts, func(h string) bool {
		_, addr := splitHost(h)
		return addr == hostGateway
	})
}

// joinedContainer finds the container of --network container:NAME, which has to run.
func (e *Engine) joinedContainer(ctx context.Context, mode string) (*record.Container, error) {
	name := strings.TrimPrefix(mode, networkContainer)
	c, err := e.records.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	if !c.Running() {
		return nil, errdefs.Conflict("cannot join the network of container %s: it does not run", name)
	}
	return c, nil
}

// hostname is the container's: the one that was asked for, that of the machine or container whose network it shares, or its ID.
func (e *Engine) hostname(ctx context.Context, l *launch, id string) string {
	switch {
	case l.opts.Hostname != "":
		return l.opts.Hostname
	case l.opts.Network == networkHost, l.opts.Uts == networkHost:
		if h, err := os.Hostname(); err == nil {
			return h
		}
	case strings.HasPrefix(l.opts.Network, networkContainer):
		if c, err := e.joinedContainer(ctx, l.opts.Network); err == nil {
			return c.Config.Hostname
		}
	}
	return id[:12]
}
