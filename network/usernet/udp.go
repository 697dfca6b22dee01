package usernet

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// flow are the datagrams between two ends: one socket outside, and one inside that has the address of the other end. From its second datagram on the
// kernel gives what the container sends to the latter.
type flow struct {
	pair
	in, out *net.UDPConn
	last    atomic.Int64 // when there was something, in nanoseconds
}

func (f *flow) close() {
	f.in.Close()
	f.out.Close()
}

// receive takes first datagrams to whatever address.
func (s *Server) receive(ctx context.Context, f *os.File) error {
	pc, err := net.FilePacketConn(f)
	if err != nil {
		return err
	}
	conn := pc.(*net.UDPConn)
	s.ends = append(s.ends, func() { conn.Close() })
	s.work.Go(func() {
		b, oob := make([]byte, maxDatagram), make([]byte, 128)
		for {
			n, m, _, from, err := conn.ReadMsgUDPAddrPort(b, oob)
			if errors.Is(err, net.ErrClosed) || ctx.Err() != nil {
				return
			}
			if err != nil {
				if !pause(ctx) {
					return
				}
				continue
			}
			to, ok := destination(oob[:m])
			if !ok || !reachable(to.Addr()) {
				continue
			}
			from = netip.AddrPortFrom(from.Addr().Unmap().WithZone(""), from.Port())
			if fl := s.flow(ctx, pair{from, to}); fl != nil {
				_, err := fl.out.Write(b[:n])
				s.undelivered(fl, err)
			}
		}
	})
	return nil
}

// destination reads for whom a datagram was (ip(7): IP_RECVORIGDSTADDR).
func destination(oob []byte) (netip.AddrPort, bool) {
	const ipv6OrigDst, size4, size6 = 74, 8, 24
	ms, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return netip.AddrPort{}, false
	}
	for _, m := range ms {
		switch {
		case m.Header.Level == unix.SOL_IP && m.Header.Type == unix.IP_RECVORIGDSTADDR && len(m.Data) >= size4:
			return netip.AddrPortFrom(netip.AddrFrom4([4]byte(m.Data[4:8])), binary.BigEndian.Uint16(m.Data[2:])), true
		case m.Header.Level == unix.SOL_IPV6 && m.Header.Type == ipv6OrigDst && len(m.Data) >= size6:
			return netip.AddrPortFrom(netip.AddrFrom16([16]byte(m.Data[8:24])), binary.BigEndian.Uint16(m.Data[2:])), true
		}
	}
	return netip.AddrPort{}, false
}

// flow finds or makes one; nil when there can be none.
func (s *Server) flow(ctx context.Context, k pair) *flow {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.flows[k]; f != nil {
		f.last.Store(time.Now().UnixNano())
		return f
	}
	if ctx.Err() != nil {
		return nil
	}
	if len(s.flows) >= maxFlows {
		s.forgetOldest()
	}
	var d net.Dialer
	out, err := d.DialContext(ctx, "udp", k.dst.String())
	if err != nil {
		why := noRoute
		if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
			why = forbidden
		}
		s.give(unreachable(k.dst.Addr(), k.src.Addr(), why, datagram(k)))
		return nil
	}
	in, err := s.connect(ctx, unix.SOCK_DGRAM, k.dst, k.src)
	if err != nil {
		out.Close()
		return nil
	}
	f := &flow{pair: k, in: in.(*net.UDPConn), out: out.(*net.UDPConn)}
	f.last.Store(time.Now().UnixNano())
	s.flows[k] = f
	s.work.Go(func() { s.move(f, f.out, f.in) })
	s.work.Go(func() { s.move(f, f.in, f.out) })
	return f
}

// forgetOldest makes room by the flow that has been silent for longest: who asks many names from as many ports goes on. The caller has the lock.
func (s *Server) forgetOldest() {
	var oldest *flow
	for _, f := range s.flows {
		if oldest == nil || f.last.Load() < oldest.last.Load() {
			oldest = f
		}
	}
	if oldest != nil {
		delete(s.flows, oldest.pair)
		oldest.close()
	}
}

// undelivered tells the container of a port where nobody listens.
func (s *Server) undelivered(f *flow, err error) {
	if errors.Is(err, unix.ECONNREFUSED) {
		s.give(unreachable(f.dst.Addr(), f.src.Addr(), noPort, datagram(f.pair)))
	}
}

// move copies datagrams one way until there have been none either way for a while.
func (s *Server) move(f *flow, from, to *net.UDPConn) {
	defer func() {
		f.close()
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.flows[f.pair] == f {
			delete(s.flows, f.pair)
		}
	}()
	raw, err := from.SyscallConn()
	if err != nil {
		return
	}
	for {
		left := idle - time.Since(time.Unix(0, f.last.Load()))
		if left <= 0 {
			return
		}
		_ = from.SetReadDeadline(time.Now().Add(left))
		err := s.moveOne(raw, to)
		switch {
		case err == nil:
			f.last.Store(time.Now().UnixNano())
		case errors.Is(err, unix.ECONNREFUSED):
			if from == f.out {
				s.undelivered(f, err)
			}
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return
		}
	}
}

// moveOne copies a datagram. It takes the large buffer only when there is one: most flows wait most of the time.
func (s *Server) moveOne(from syscall.RawConn, to *net.UDPConn) error {
	var b *[maxDatagram]byte
	n, got := 0, error(nil)
	err := from.Read(func(fd uintptr) bool {
		b = s.buffers.Get().(*[maxDatagram]byte)
		for {
			n, got = unix.Read(int(fd), b[:])
			if !errors.Is(got, unix.EINTR) {
				break
			}
		}
		if errors.Is(got, unix.EAGAIN) {
			s.buffers.Put(b)
			b = nil
			return false
		}
		return true
	})
	if b != nil {
		defer s.buffers.Put(b)
	}
	if err != nil || got != nil {
		return errors.Join(err, got)
	}
	_, err = to.Write(b[:n])
	if errors.Is(err, net.ErrClosed) || errors.Is(err, unix.ECONNREFUSED) {
		return err
	}
	return nil // one that is too long, or meets a full queue, is lost
}
