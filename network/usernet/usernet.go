// Package usernet passes on what a container of an ordinary user sends to the outside, by ordinary sockets of the host: TCP, UDP and echo requests,
// of IPv4 and IPv6.
//
//	s, err := usernet.Serve(usernet.Config{Tun: tun, TCP: listeners, UDP: sockets, Inside: inside})
//	conn, err := s.Dial(ctx, "tcp", from, to)   // the other way: to the container, from an address of the outside
//	s.Stop()
//
// # Who does what
//
// There is no TCP of our own. The container's packets reach the kernel's stack in a network namespace of the user's, which takes connections to
// whatever address (TPROXY), and gives them to the sockets of Config. What the kernel cannot know is whether the other end takes a connection. So
// each SYN comes by Config.Tun first:
//
//	container ─ SYN ─► tun ─► connect outside ─ refused ────────► RST, or ICMP, back to the container
//	                                          └ done ─ SYN back ─► the kernel accepts ─► bytes are copied both ways
//
// All that is parsed here are headers of packets that begin something, in packet.go. They are the container's, and hostile: what is no whole packet of
// a known form is dropped, and numbers of connections, datagrams' correspondents and echo requests are limited.
package usernet

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// Config has what the network namespace of the containers gives. The files stay the caller's, who closes them after Stop.
type Config struct {
	// Tun has packets that begin something, and takes those for the container; see network.Outlet.
	Tun *os.File
	// TCP and UDP are bound sockets, one for each family.
	TCP, UDP []*os.File
	// Inside runs a function in the network namespace of the containers.
	Inside func(func() error) error
}

const (
	maxPending  = 256  // connections that are being made
	maxStreams  = 4096 // connections
	maxFlows    = 1024 // correspondents by UDP
	maxEchoes   = 64   // who is being pinged
	backlog     = 1024
	dialTimeout = 30 * time.Second
	takeTimeout = 10 * time.Second // for the container to go on with a connection that was made for it
	idle        = 90 * time.Second // after which a correspondent is forgotten, as Docker does
	idleEcho    = 20 * time.Second
	maxDatagram = 1 << 16
)

// pair are the two ends of a connection, as the container has them.
type pair struct{ src, dst netip.AddrPort }

// Server serves one container.
type Server struct {
	cfg    Config
	cancel context.CancelFunc
	work   sync.WaitGroup
	ends   []func()

	mu      sync.Mutex
	pending map[pair]net.Conn // nil while it is being made
	streams int
	flows   map[pair]*flow
	echoes  map[echoKey]*os.File
	buffers sync.Pool
}

// Serve serves the container until Stop.
func Serve(cfg Config) (*Server, error) {
	s := &Server{cfg: cfg, pending: map[pair]net.Conn{}, flows: map[pair]*flow{}, echoes: map[echoKey]*os.File{}}
	s.buffers.New = func() any { return new([maxDatagram]byte) }
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	for _, f := range cfg.TCP {
		if err := s.accept(ctx, f); err != nil {
			s.Stop()
			return nil, fmt.Errorf("serve the way to the outside: %w", err)
		}
	}
	for _, f := range cfg.UDP {
		if err := s.receive(ctx, f); err != nil {
			s.Stop()
			return nil, fmt.Errorf("serve the way to the outside: %w", err)
		}
	}
	s.work.Go(func() { s.watch(ctx) })
	return s, nil
}

// Stop ends all that goes on and waits for that.
func (s *Server) Stop() {
	s.cancel()
	_ = s.cfg.Tun.SetReadDeadline(time.Now()) // watch ends
	for _, end := range s.ends {
		end()
	}
	s.mu.Lock()
	for _, f := range s.flows {
		f.close()
	}
	for _, f := range s.echoes {
		f.Close()
	}
	for k, c := range s.pending {
		if c != nil {
			c.Close()
		}
		delete(s.pending, k)
	}
	s.mu.Unlock()
	s.work.Wait()
}

// watch reads what begins something, until Stop ends ctx, which all that goes on has.
func (s *Server) watch(ctx context.Context) {
	b := make([]byte, maxDatagram)
	for ctx.Err() == nil {
		n, err := s.cfg.Tun.Read(b)
		if err != nil {
			if !pause(ctx) {
				return
			}
			continue
		}
		p, ok := parse(b[:n])
		switch {
		case !ok || !reachable(p.dst):
		case p.protocol == protocolTCP:
			s.syn(ctx, p)
		case p.protocol == protocolICMP && !p.six, p.protocol == protocolICMP6 && p.six:
			s.echo(p)
		}
	}
}

// pause keeps an error that stays from taking a processor. False is the end.
func pause(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(50 * time.Millisecond):
		return true
	}
}

// give writes a packet to the container. One that does not fit is lost, as on any network.
func (s *Server) give(packet []byte) {
	if len(packet) > 0 {
		_, _ = s.cfg.Tun.Write(packet)
	}
}

// reachable tells whether a container may send there: to whatever is another machine's, or this one's but not by its loopback, where services
// listen that trust whoever can reach them.
func reachable(a netip.Addr) bool {
	four := a.Is4() && (a.As4()[0] == 0 || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}))
	return a.IsValid() && !four && !a.Is4In6() && !a.IsUnspecified() && !a.IsLoopback() && !a.IsMulticast() && (a.Is4() || !a.IsLinkLocalUnicast())
}
