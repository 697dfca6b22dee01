package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/camada/camada/build/op"
	"github.com/camada/camada/network"
	"github.com/camada/camada/network/dns"
	"github.com/camada/camada/network/relay"
	"github.com/camada/camada/network/usernet"
	"github.com/camada/camada/userns"
)

// networkDir is where the networks of this machine (or, rootless, of this user) are described.
func (e *Engine) networkDir() string {
	if !userns.Rootless() && os.Geteuid() == 0 {
		return network.DefaultStateDir
	}
	return userDir(e.getenv, e.root, "network")
}

// userDir is a directory of an ordinary user's for what ends with the machine.
func userDir(getenv func(string) string, root, name string) string {
	if dir := getenv("XDG_RUNTIME_DIR"); dir != "" {
		return filepath.Join(dir, "camada", name)
	}
	return filepath.Join(root, name)
}

// membersName is the directory of the processes that share the user's namespace.
const membersName = "members"

// SharedNamespace is the directory for userns.Options.Shared: the user namespaces of all commands that start containers of one user are one, or
// their containers could not be on one network.
func SharedNamespace(cfg Config) (string, error) {
	root, err := rootDir(cfg)
	if err != nil {
		return "", err
	}
	return userDir(cfg.Getenv, root, membersName), nil
}

// stay keeps the user's namespace open to other commands as long as a container is looked after here.
func (e *Engine) stay() (end func(), err error) {
	if !userns.Rootless() {
		return func() {}, nil
	}
	return userns.Stay(userDir(e.getenv, e.root, membersName))
}

// cgroupsPath names the control group of a container; those of one store have a prefix in common, so that
// its collection finds them.
func (e *Engine) cgroupsPath(id string) string { return "camada/" + e.cgroupPrefix() + id }

func (e *Engine) cgroupPrefix() string {
	sum := sha256.Sum256([]byte(e.root))
	return hex.EncodeToString(sum[:4]) + "-"
}

// inUserNamespace reports whether root's rights end at a user namespace.
func inUserNamespace() bool {
	if userns.Rootless() {
		return true
	}
	b, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return false
	}
	var inside, outside, n uint64
	_, err = fmt.Sscan(string(b), &inside, &outside, &n)
	return err != nil || outside != 0 || n < 1<<32-1
}

// bridged connects one container to its networks and writes its network files.
type bridged struct {
	stateDir, id, files, hostname string
	driver                        network.Driver // network.Auto is what suits this machine
	hosts                         []op.Host      // more lines of /etc/hosts
	ports                         []network.PortMapping
	endpoints                     []network.Endpoint
	options                       NetOptions
	result                        network.Result
	notice                        func(string)
	connected                     bool

	mu           sync.Mutex // of what changes while the container runs
	pid          int
	stopResolver func()
	stopRelay    func()
	stopWatch    func()
	outward      *usernet.Server // of a container of an ordinary user
}

func (n *bridged) connect(ctx context.Context, pid int) error {
	res, err := network.Setup(ctx, network.Options{Driver: n.driver, StateDir: n.stateDir, ContainerID: n.id, Pid: pid, Ports: n.ports, Endpoints: n.endpoints})
	if err != nil {
		return err
	}
	n.result, n.connected, n.pid = res, true, pid
	if slices.ContainsFunc(res.Connections, func(c network.Connection) bool { return c.Bare && !c.Internal }) {
		n.notice("this kernel has no nftables for IPv4: the container reaches this machine and its neighbours on the network, and nothing beyond (--network host does)")
	}
	if err := n.writeHosts(res.Connections, res.Address.Addr(), n.host(res.Gateway)); err != nil {
		return err
	}
	if o := res.Outlet; o != nil {
		if n.outward, err = usernet.Serve(usernet.Config{Tun: o.Tun, TCP: o.TCP, UDP: o.UDP, Inside: o.Inside}); err != nil {
			return err
		}
	}
	if res.Driver == network.Bridge || res.Driver == network.Embedded {
		if err := n.resolve(res.Connections); err != nil {
			return err
		}
		if err := n.relay(); err != nil {
			return err
		}
		n.stopWatch = watchFile(filepath.Join(n.files, connectionsFile), n.changed)
		return nil
	}
	if !res.Nameserver.IsValid() {
		return nil
	}
	host, err := network.HostResolvConf()
	if err != nil {
		return err
	}
	conf := n.options.dns()
	conf.InsideNameserver = res.Nameserver
	return rewrite(filepath.Join(n.files, "resolv.conf"), network.ResolvConf(host, conf))
}

// host is this machine's address as the container reaches it.
func (n *bridged) host(gateway netip.Addr) netip.Addr {
	if n.result.Driver == network.Embedded {
		return n.result.Host
	}
	return gateway
}

// writeHosts writes /etc/hosts: the host name stands for each address.
func (n *bridged) writeHosts(all []network.Connection, first netip.Addr, gateway netip.Addr) error {
	extra, err := n.options.addHosts(gateway)
	if err != nil {
		return err
	}
	b := network.Hosts(first, n.hostname, "", append(hostLines(n.hosts, gateway), extra...))
	for i, c := range all {
		for _, a := range []netip.Prefix{c.Address, c.Address6} {
			if a.IsValid() && (i > 0 || a.Addr() != first) {
				b = fmt.Appendf(b, "%s\t%s\n", a.Addr(), n.hostname)
			}
		}
	}
	return rewrite(filepath.Join(n.files, "hosts"), b)
}

// resolve starts the resolver when one of the networks was made by a user, or when the host's own could not be reached otherwise, and writes who
// is to be asked.
func (n *bridged) resolve(all []network.Connection) error {
	own := n.result.Driver == network.Embedded
	for _, c := range all {
		own = own || c.Network != ""
	}
	if !own || n.stopResolver != nil {
		return nil
	}
	host, err := network.HostResolvConf()
	if err != nil {
		return err
	}
	conf := n.options.dns()
	server := &dns.Server{Names: network.Names{StateDir: n.stateDir, ContainerID: n.id}, Upstream: network.Upstream(host, conf)}
	udp, tcp, err := network.OpenResolver(n.pid)
	if err != nil {
		return err
	}
	n.stopResolver = server.Serve(udp, tcp)
	conf.Nameservers = []netip.Addr{netip.MustParseAddr(network.ResolverAddr)}
	if len(conf.Options) == 0 {
		conf.Options = append(network.HostOptions(host), "ndots:0")
	}
	return rewrite(filepath.Join(n.files, "resolv.conf"), network.ResolvConf(host, conf))
}

// relay serves the published ports that the rules do not translate.
func (n *bridged) relay() (err error) {
	var sockets []relay.Socket
	for _, r := range n.result.Reserved {
		if !r.Relayed {
			continue
		}
		s := relay.Socket{File: r.File, Protocol: r.Port.Protocol, To: func() []netip.AddrPort { return network.Targets(n.stateDir, n.id, r.Port) }}
		if n.outward != nil {
			s.Dial = n.outward.Dial
		}
		sockets = append(sockets, s)
	}
	if len(sockets) > 0 {
		n.stopRelay, err = relay.Serve(sockets)
	}
	return err
}

// changed follows a container that runs when it was connected or disconnected.
func (n *bridged) changed() {
	n.mu.Lock()
	defer n.mu.Unlock()
	all, err := network.Connections(n.stateDir, n.id)
	if err != nil || !n.connected {
		return
	}
	// What cannot be written leaves the container as it was; the verb that changed its networks waits for the file, and says so.
	var first, gateway netip.Addr
	if len(all) > 0 {
		first, gateway = all[0].Address.Addr(), all[0].Gateway
	}
	_ = n.writeHosts(all, first, n.host(gateway))
	_ = n.resolve(all)
}

func (n *bridged) disconnect() {
	if n.stopWatch != nil {
		n.stopWatch()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stopResolver != nil {
		n.stopResolver()
	}
	if n.stopRelay != nil {
		n.stopRelay()
	}
	for _, r := range n.result.Reserved {
		r.File.Close()
	}
	if n.outward != nil {
		n.outward.Stop()
	}
	if n.connected {
		_ = network.Teardown(context.Background(), n.stateDir, n.id) // what is left is found by the next Reconcile
	}
	if n.result.Outlet != nil {
		_ = n.result.Outlet.Close()
	}
	n.connected = false
}
