package network

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/camada/camada/errdefs"
	"golang.org/x/sys/unix"
)

// The drivers of other people's programs for users who may not change the host's network: a helper process
// per container moves packets between a tap device inside and ordinary sockets
// outside, and listens on the published ports. It is recorded with its start time
// and stopped by Teardown.

// userspaceDrivers chooses for a user who may make no interfaces on the host; other is for when the first is not possible on this machine.
func (o Options) userspaceDrivers() (first, other Driver) {
	installed := func(d Driver) bool {
		_, err := exec.LookPath(string(d))
		return err == nil
	}
	switch {
	case o.needsBridges():
		return Embedded, Auto
	case installed(Pasta):
		return Pasta, Auto
	case installed(Slirp):
		return Embedded, Slirp
	}
	return Embedded, Auto
}

func setupUserspace(ctx context.Context, o Options) (res Result, err error) {
	if o.needsBridges() {
		return res, errdefs.Unsupported("network driver %s: it knows the default network alone", o.Driver)
	}
	var mac net.HardwareAddr
	if len(o.Endpoints) == 1 {
		mac = o.Endpoints[0].MAC
	}
	if mac != nil && o.Driver != Pasta {
		return res, errdefs.Unsupported("hardware address %s: %s has one of its own; pasta can choose", mac, o.Driver)
	}
	program, err := exec.LookPath(string(o.Driver))
	if err != nil {
		return res, errdefs.Unsupported("network driver %s: the program is not installed: %w", o.Driver, err)
	}
	if err := mayTap("/dev/net/tun"); err != nil {
		return res, err
	}
	owner, err := findProcess(o.Pid)
	if err != nil {
		return res, errdefs.With(errdefs.ErrNotFound, err)
	}
	s := state{dir: o.StateDir}
	h := held{ID: o.ContainerID, Owner: owner, Driver: o.Driver}
	if err := s.admit(ctx, o, &h); err != nil {
		return res, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.Helper.stop(context.Background()), Teardown(context.Background(), o.StateDir, o.ContainerID))
		}
	}()
	res = Result{Driver: o.Driver, Interface: firstInterface, Ports: h.Ports}
	netns, err := s.showNamespace(o.ContainerID, o.Pid)
	if err != nil {
		return res, err
	}
	if o.Driver == Pasta {
		err = s.startPasta(ctx, program, netns, mac, &h, &res)
	} else {
		err = s.startSlirp(ctx, program, netns, &h, &res)
	}
	if err != nil {
		return res, err
	}
	err = s.save(h)
	return res, err
}

// mayTap tells whether this user can make tap devices, which both helpers do.
func mayTap(device string) error {
	f, err := os.OpenFile(device, os.O_RDWR, 0)
	if err == nil {
		return f.Close()
	}
	advice := "as root let users open it (chmod 666 " + device + ", which most systems have)"
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		advice = "as root load the module (modprobe tun)"
	}
	return errdefs.Unsupported("bridge network without root: %w; %s, or use --network host or --network none", err, advice)
}

// showNamespace mounts the container's network namespace on a file, in this
// process's mount namespace. The helpers drop capabilities before they open
// it, and then may not look into /proc/<pid>/ns of a process that has more. Where
// nothing can be mounted they are given that path all the same.
func (s state) showNamespace(id string, pid int) (string, error) {
	source, file := fmt.Sprintf("/proc/%d/ns/net", pid), s.path("containers", id+".netns")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		return "", err
	}
	if err := unix.Mount(source, file, "", unix.MS_BIND, ""); err != nil {
		return source, os.Remove(file)
	}
	return file, nil
}

// hideNamespace undoes showNamespace, which may have been done in a mount
// namespace that is gone.
func (s state) hideNamespace(id string) {
	file := s.path("containers", id+".netns")
	_ = unix.Unmount(file, unix.MNT_DETACH)
	_ = os.Remove(file)
}

// admit records the container and chooses its host ports, which the helper binds.
func (s state) admit(ctx context.Context, o Options, h *held) error {
	if err := s.prepare(); err != nil {
		return err
	}
	unlock, err := s.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if err := s.clear(ctx, h.ID); err != nil {
		return err
	}
	helper := func(PortMapping) bool { return true }
	for _, p := range o.Ports {
		if o.Driver == Slirp {
			if p.HostIP.Is6() {
				return errors.Join(errdefs.Unsupported("publish %s: slirp4netns knows IPv4 alone", p), s.release(ctx, *h))
			}
			p.HostIP = p.ip()
		}
		chosen, err := reserve(p, helper, func(m PortMapping) (bool, error) { return s.portTaken(ctx, m) })
		if err != nil {
			return errors.Join(err, s.release(ctx, *h))
		}
		defer closeAll(chosen) // before the helper wants them
		for _, r := range chosen {
			h.Ports = append(h.Ports, r.Port)
			if ok, err := s.claim(ctx, portName(r.Port), h.ID); err != nil || !ok {
				return errors.Join(errdefs.Conflict("publish %s: the port is in use", r.Port), err, s.release(ctx, *h))
			}
		}
	}
	return s.save(*h)
}

// pastaNameserver is answered by pasta with the host's own resolver.
const pastaNameserver = "169.254.1.1"

// startPasta runs pasta, which goes into the background when all is in place and
// ends by itself with the network namespace.
func (s state) startPasta(ctx context.Context, program, netns string, mac net.HardwareAddr, h *held, res *Result) error {
	pidFile := s.path("containers", h.ID+".pid")
	args := []string{
		"--config-net", "--quiet", "--no-map-gw", "--ns-ifname", firstInterface, "--pid", pidFile,
		"--dns-forward", pastaNameserver, "--tcp-ns", "none", "--udp-ns", "none",
	}
	if mac != nil {
		args = append(args, "--ns-mac-addr", mac.String())
	}
	args = append(append(args, pastaPorts(h.Ports)...), "--netns-only", "--netns", netns)
	cmd := exec.CommandContext(ctx, program, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second // the daemon inherits the pipe
	if err := cmd.Run(); err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return helperError("pasta", err, out.String())
	}
	text, err := os.ReadFile(pidFile)
	if err != nil {
		return fmt.Errorf("start pasta: %w", err)
	}
	helper, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return fmt.Errorf("start pasta: its pid: %w", err)
	}
	if h.Helper, err = findProcess(helper); err != nil {
		return fmt.Errorf("start pasta: %w", err)
	}
	res.Nameserver = netip.MustParseAddr(pastaNameserver)
	inside, err := os.Open(netns)
	if err != nil {
		return err
	}
	defer inside.Close()
	return inNamespace(inside, func() error {
		c, err := dialRtnl()
		if err != nil {
			return err
		}
		defer c.close()
		l, err := c.linkByName(firstInterface)
		if err != nil {
			return err
		}
		as, err := c.addressesOf(l)
		if err != nil || len(as) == 0 {
			return err // a host with IPv6 alone
		}
		res.Address = as[0]
		return nil
	})
}

// pastaPorts spells published ports for pasta, whose default would be all that
// the container listens on. All addresses of both families are one socket for it.
func pastaPorts(ports []PortMapping) []string {
	var args []string
	seen := map[string]bool{}
	for i, p := range ports {
		spec := fmt.Sprintf("%d:%d", p.HostPort, p.ContainerPort)
		other := p
		other.HostIP = netip.IPv6Unspecified()
		switch {
		case i > 0 && p.HostIP == other.HostIP && ports[i-1].HostIP == netip.IPv4Unspecified() && ports[i-1].HostPort == p.HostPort && ports[i-1].Protocol == p.Protocol:
			continue
		case p.HostIP == netip.IPv4Unspecified() && i+1 < len(ports) && ports[i+1] == other:
		default:
			spec = p.ip().String() + "/" + spec
		}
		seen[p.Protocol] = true
		args = append(args, "--"+p.Protocol+"-ports", spec)
	}
	for _, protocol := range []string{"tcp", "udp"} {
		if !seen[protocol] {
			args = append(args, "--"+protocol+"-ports", "none")
		}
	}
	return args
}

// startSlirp runs slirp4netns, waits until it is ready and publishes the ports
// over its socket.
func (s state) startSlirp(ctx context.Context, program, netns string, h *held, res *Result) error {
	// The path of a socket may have 107 bytes, which a user's directory and an id fill: it is named relative to its directory.
	dir, err := os.Open(s.path("containers"))
	if err != nil {
		return err
	}
	defer dir.Close()
	socket := h.ID + ".sock"
	ready, readyWrite, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ready.Close()
	cmd := exec.Command(program, //nolint:noctx // it lives as long as the container, not as the call
		"--configure", "--mtu=65520", "--disable-host-loopback", "--api-socket="+socket, "--ready-fd=3", "--netns-type=path", netns, firstInterface)
	cmd.ExtraFiles = []*os.File{readyWrite}
	cmd.Dir = dir.Name()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // it outlives the caller's terminal
	log, err := os.CreateTemp("", "camada-slirp")
	if err != nil {
		readyWrite.Close()
		return err
	}
	defer log.Close()
	defer os.Remove(log.Name())
	cmd.Stdout, cmd.Stderr = log, log
	err = cmd.Start()
	readyWrite.Close()
	if err != nil {
		return fmt.Errorf("start slirp4netns: %w", err)
	}
	h.Helper, err = findProcess(cmd.Process.Pid)
	go func() { _ = cmd.Wait() }() // no zombie in a caller that lives on
	if err == nil {
		err = s.save(*h)
	}
	if err != nil {
		return err
	}
	_ = ready.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := ready.Read(make([]byte, 1)); err != nil {
		text, _ := os.ReadFile(log.Name())
		return helperError("slirp4netns", err, string(text))
	}
	for _, p := range h.Ports {
		if err := slirpForward(ctx, fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), socket), p); err != nil {
			return err
		}
	}
	res.Address, res.Gateway, res.Nameserver = netip.MustParsePrefix(slirpAddress+"/24"), netip.MustParseAddr("10.0.2.2"), netip.MustParseAddr("10.0.2.3")
	return nil
}

// slirpAddress is what slirp4netns gives a container.
const slirpAddress = "10.0.2.100"

// slirpForward asks the running slirp4netns to listen on a host port.
func slirpForward(ctx context.Context, socket string, p PortMapping) error {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return fmt.Errorf("publish %s: %w", p, err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	ask := map[string]any{"execute": "add_hostfwd", "arguments": map[string]any{
		"proto": p.Protocol, "host_addr": p.ip().String(), "host_port": p.HostPort, "guest_addr": slirpAddress, "guest_port": p.ContainerPort,
	}}
	if err := json.NewEncoder(c).Encode(ask); err != nil {
		return fmt.Errorf("publish %s: %w", p, err)
	}
	if u, ok := c.(*net.UnixConn); ok {
		_ = u.CloseWrite()
	}
	var answer struct {
		Error struct {
			Desc string `json:"desc"`
		} `json:"error"`
	}
	if err := json.NewDecoder(c).Decode(&answer); err != nil {
		return fmt.Errorf("publish %s: answer of slirp4netns: %w", p, err)
	}
	if answer.Error.Desc != "" {
		return errdefs.Conflict("publish %s: %s", p, answer.Error.Desc)
	}
	return nil
}

// helperError says why a helper did not start, in its own last words.
func helperError(name string, err error, out string) error {
	out = strings.TrimSpace(out)
	if i := strings.LastIndexByte(out, '\n'); i >= 0 {
		out = out[i+1:]
	}
	if out != "" {
		return errdefs.Unavailable("start %s: %s (%w)", name, out, err)
	}
	return errdefs.Unavailable("start %s: %w", name, err)
}
