package cli

import (
	"github.com/camada/camada/engine"
	"github.com/spf13/pflag"
)

// registerNetwork adds the flags that say how a container is connected.
func registerNetwork(f *pflag.FlagSet, o *engine.NetOptions) {
	f.StringArrayVar(&o.Networks, "network", nil, "`NETWORK`, bridge, host, none, container:NAME, or name=NETWORK,alias=NAME,ip=ADDRESS,...; can be given several times (default: bridge)")
	f.Var(f.Lookup("network").Value, "net", "the same as --network")
	f.StringVar(&o.IP, "ip", "", "IPv4 `address` on the first network")
	f.StringVar(&o.IP6, "ip6", "", "IPv6 `address` on the first network")
	f.StringVar(&o.MAC, "mac-address", "", "hardware `address` on the first network")
	f.StringArrayVar(&o.Aliases, "network-alias", nil, "one more `name` under which others on the first network find the container")
	f.Var(f.Lookup("network-alias").Value, "net-alias", "the same as --network-alias")
	f.StringArrayVar(&o.DNS, "dns", nil, "`address` of a name server, in place of the host's")
	f.StringArrayVar(&o.DNSSearch, "dns-search", nil, "`domain` in which names are looked up; . is none")
	f.StringArrayVar(&o.DNSOptions, "dns-option", nil, "`option` of resolv.conf")
	f.Var(f.Lookup("dns-option").Value, "dns-opt", "the same as --dns-option")
	f.StringArrayVar(&o.AddHosts, "add-host", nil, "one more line of /etc/hosts: `NAME:ADDRESS`; the address host-gateway is this machine's")
	f.BoolVarP(&o.PublishAll, "publish-all", "P", false, "publish all ports that the image exposes, at ports of the system's choice")
	f.StringArrayVar(&o.Expose, "expose", nil, "`port` for --publish-all, besides those of the image")
	for _, name := range []string{"net", "net-alias", "dns-opt"} {
		_ = f.MarkHidden(name)
	}
}
