package cli

import (
	"github.com/camada/camada/engine"
	"github.com/spf13/pflag"
)

// registerNetwork adds the flags that say how a container is connected.
func registerNetwork(f *pflag.FlagSet, o *engine.NetOptions) {
	listFlag(f, &o.Networks, "network", "", "`NETWORK`, bridge, host, none, container:NAME, or name=NETWORK,alias=NAME,ip=ADDRESS,...; can be given several times (default: bridge)")
	f.Var(f.Lookup("network").Value, "net", "the same as --network")
	f.StringVar(&o.IP, "ip", "", "IPv4 `address` on the first network")
	f.StringVar(&o.IP6, "ip6", "", "IPv6 `address` on the first network")
	f.StringVar(&o.MAC, "mac-address", "", "hardware `address` on the first network")
	listFlag(f, &o.Aliases, "network-alias", "", "one more `name` under which others on the first network find the container")
	f.Var(f.Lookup("network-alias").Value, "net-alias", "the same as --network-alias")
	listFlag(f, &o.DNS, "dns", "", "`address` of a name server, in place of the host's")
	listFlag(f, &o.DNSSearch, "dns-search", "", "`domain` in which names are looked up; . is none")
	listFlag(f, &o.DNSOptions, "dns-option", "", "`option` of resolv.conf")
	f.Var(f.Lookup("dns-option").Value, "dns-opt", "the same as --dns-option")
	listFlag(f, &o.AddHosts, "add-host", "", "one more line of /etc/hosts: `NAME:ADDRESS`; the address host-gateway is this machine's")
	f.BoolVarP(&o.PublishAll, "publish-all", "P", false, "publish all ports that the image exposes, at ports of the system's choice")
	listFlag(f, &o.Expose, "expose", "", "`port` for --publish-all, besides those of the image")
	for _, name := range []string{"net", "net-alias", "dns-opt"} {
		_ = f.MarkHidden(name)
	}
}
