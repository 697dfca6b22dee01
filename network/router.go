package network

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"syscall"

	"github.com/camada/camada/errdefs"
	"golang.org/x/sys/unix"
)

// An ordinary user's bridges are in a network namespace of his own, the router. All his containers that are connected by Embedded hang on it. No
// process is there for its sake: whoever looks after such a container has it open, and with the last of them it goes, with bridges and rules.
//
//	container ── veth ── bridge ┐                       ┌ tun of the container's keeper: what begins something
//	container ── veth ── bridge ┴─ router's own stack ──┴ listening sockets of the keeper, by TPROXY: all else
//
// outward.go has the rules that lead there.

// routerFile says that the bridges of a state directory are in a router, and which.
const routerFile = "router.json"

// routerID tells a network namespace from others.
type routerID struct {
	Device uint64 `json:"device"`
	Inode  uint64 `json:"inode"`
}

func idOf(netns *os.File) (routerID, error) {
	info, err := netns.Stat()
	if err != nil {
		return routerID{}, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return routerID{}, errdefs.Invalid("%s has no inode", netns.Name())
	}
	return routerID{st.Dev, st.Ino}, nil
}

// routed tells whether the bridges are in a router, or were.
func (s state) routed() bool {
	_, err := os.Lstat(s.path(routerFile))
	return err == nil
}

// findRouter opens the router by a living keeper of a container; nil when there is none any more. ErrUnavailable when this process may not enter
// it.
func (s state) findRouter() (*os.File, error) {
	var want routerID
	if err := readJSON(s.path(routerFile), &want); errdefs.IsNotFound(err) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	hs, err := s.all()
	if err != nil {
		return nil, err
	}
	var refused error
	for _, h := range hs {
		if h.Driver != Embedded || !h.Keeper.alive() {
			continue
		}
		f, err := os.Open(fmt.Sprintf("/proc/%d/fd/%d", h.Keeper.Pid, h.Out.Router))
		if errors.Is(err, os.ErrPermission) {
			refused = err
		}
		if err != nil {
			continue // it is just ending
		}
		if got, err := idOf(f); err == nil && got == want && h.Keeper.alive() {
			return f, nil
		}
		f.Close()
	}
	if refused != nil {
		return nil, errdefs.Unavailable("enter the network of this user's containers: %w; it is in another user namespace: stop the containers that run there first", refused)
	}
	return nil, nil
}

// openRouter finds the router or makes it. The caller has the lock, and keeps the file open as long as its container runs.
func (s state) openRouter() (*os.File, error) {
	f, err := s.findRouter()
	if f != nil || err != nil {
		return f, err
	}
	if f, err = makeRouter(); err != nil {
		return nil, fmt.Errorf("make a network for the containers of this user: %w", err)
	}
	id, err := idOf(f)
	if err == nil {
		err = writeJSON(s.path(routerFile), id)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// makeRouter makes the network namespace, on a thread that ends with it.
func makeRouter() (*os.File, error) {
	type made struct {
		netns *os.File
		err   error
	}
	result := make(chan made, 1)
	go func() {
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			result <- made{err: err}
			return
		}
		netns, err := os.Open("/proc/thread-self/ns/net")
		if err == nil {
			if err = prepareRouter(); err != nil {
				netns.Close()
			}
		}
		result <- made{netns, err}
	}()
	m := <-result
	if m.err != nil {
		return nil, m.err
	}
	return m.netns, nil
}

// prepareRouter makes what is the same for all containers. It runs in the router.
func prepareRouter() error {
	// What a keeper gives back comes from its tun, though the way to its source is a bridge.
	for _, name := range []string{"all", "default"} {
		if err := sysctl("net/ipv4/conf/"+name+"/rp_filter", "0"); err != nil {
			return err
		}
	}
	c, err := dialRtnl()
	if err != nil {
		return err
	}
	defer c.close()
	reqs := []*request{setUp("lo")}
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		for _, r := range toSelf(family) {
			r.optional = family == unix.AF_INET6 // a kernel without it
			reqs = append(reqs, r)
		}
	}
	if err := c.do(reqs...); err != nil {
		return err
	}
	return installOutward()
}

// plainBridges keeps the kernel from taking what a bridge gets through the rules before the bridge has it: the socket that TPROXY found would be
// forgotten on the way up. It is asked for each container, as the module can be loaded at any time.
func plainBridges() error {
	for _, name := range []string{"net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables"} {
		if _, err := os.Lstat("/proc/sys/" + name); err != nil {
			continue // the module is not there
		}
		if err := sysctl(name, "0"); err != nil {
			return err
		}
	}
	return nil
}

// inside runs f where the bridges of the state directory are: here, or in the router. It is not run when the router is gone, or cannot be entered:
// what is there ends with it.
func (s state) inside(f func() error) error {
	if !s.routed() {
		return f()
	}
	router, err := s.findRouter()
	if err != nil || router == nil {
		return nil //nolint:nilerr // as said above
	}
	defer router.Close()
	entered := false
	err = inNamespace(router, func() error {
		entered = true
		return f()
	})
	if !entered {
		return nil // this process is outside of the user namespace
	}
	return err
}

// onHost runs f in the network namespace of the process, from a thread that is in another.
func onHost(f func() error) error {
	result := make(chan error, 1)
	go func() { result <- f() }()
	return <-result
}

// surveyHost completes the options by what the host's network is like, as the bridges shall overlap with nothing that the user can reach.
func (o *Options) surveyHost() error {
	c, err := dialRtnl()
	if err != nil {
		return err
	}
	defer c.close()
	used, mtu, err := hostRoutes(c)
	if err != nil {
		return err
	}
	if o.MTU == 0 {
		o.MTU = mtu
	}
	var free []netip.Prefix
	for _, p := range o.Subnets {
		overlaps := false
		for _, u := range used {
			overlaps = overlaps || p.Overlaps(u)
		}
		if !overlaps {
			free = append(free, p)
		}
	}
	o.Subnets = free
	o.six = hasIPv6()
	return nil
}

// hasIPv6 tells whether the host has a way out by IPv6: an up default route that is not a refusal.
func hasIPv6() bool {
	const up, reject = 1, 0x200 // RTF_UP, RTF_REJECT
	table, err := os.ReadFile("/proc/thread-self/net/ipv6_route")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if len(f) < 10 || f[1] != "00" || f[0] != strings.Repeat("0", 32) || f[9] == "lo" {
			continue
		}
		var flags uint32
		if _, err := fmt.Sscanf(f[8], "%x", &flags); err == nil && flags&up != 0 && flags&reject == 0 {
			return true
		}
	}
	return false
}
