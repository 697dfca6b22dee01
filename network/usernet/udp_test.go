package usernet

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"
)

// TestForgetOldest makes room by the flow that was silent for longest.
func TestForgetOldest(t *testing.T) {
	s := &Server{flows: map[pair]*flow{}}
	s.forgetOldest() // there is none
	all := map[int64]*flow{}
	for _, when := range []int64{30, 10, 20} {
		f := &flow{pair: pair{dst: netip.AddrPortFrom(netip.IPv6Loopback(), uint16(when))}}
		for _, c := range []**net.UDPConn{&f.in, &f.out} {
			pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer pc.Close()
			*c = pc.(*net.UDPConn)
		}
		f.last.Store(when)
		s.flows[f.pair], all[when] = f, f
	}
	s.forgetOldest()
	if len(s.flows) != 2 || s.flows[all[10].pair] != nil {
		t.Errorf("flows left: %v", s.flows)
	}
	for when, f := range all {
		for _, c := range []*net.UDPConn{f.in, f.out} {
			if err := c.SetDeadline(time.Time{}); errors.Is(err, net.ErrClosed) != (when == 10) {
				t.Errorf("the flow of %d: %v", when, err)
			}
		}
	}
}
