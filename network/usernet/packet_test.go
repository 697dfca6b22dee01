package usernet

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
)

// Packets as tcpdump shows them: a SYN and an echo request of each family.
const (
	syn4  = "4500003c1c4640004006b1e60a3200020808080804d200501234567800000000a002faf0000000000204" + "05b40402080a0000000000000000" + "01030307"
	syn6  = "6000000000140640fd00005000000000000000000000000220010db800000000000000000000000204d20050123456780000000050021000000000" + "00"
	ping4 = "4500001c000040004001000001020304050607080800f7ff00070001"
	ping6 = "60000000000c3a40fd005000000000000000000000000002" + "20010db8000000000000000000000002" + "800000000007000161626364"
)

func bytesOf(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParse(t *testing.T) {
	whole := bytesOf(t, syn4)
	p, ok := parse(append(bytes.Clone(whole), "behind it"...))
	if !ok || p.six || p.protocol != protocolTCP || p.src.String() != "10.50.0.2" || p.dst.String() != "8.8.8.8" || !bytes.Equal(p.whole, whole) {
		t.Fatalf("%+v %t", p, ok)
	}
	s, ok := p.beginning()
	if !ok || s.src.Port() != 1234 || s.dst.Port() != 80 || s.sequence != 0x12345678 || s.data != 0 {
		t.Errorf("%+v %t", s, ok)
	}
	if p, ok = parse(bytesOf(t, syn6)); !ok || !p.six || p.dst.String() != "2001:db8::2" {
		t.Fatalf("%+v %t", p, ok)
	}
	if s, ok = p.beginning(); !ok || s.dst.String() != "[2001:db8::2]:80" {
		t.Errorf("%+v %t", s, ok)
	}
	change := func(text string, at int, b byte) []byte {
		c := bytesOf(t, text)
		c[at] = b
		return c
	}
	for what, b := range map[string][]byte{
		"nothing":                 {},
		"a part":                  whole[:19],
		"another version":         change(syn4, 0, 0x55),
		"a short header":          change(syn4, 0, 0x44),
		"longer than it is":       change(syn4, 3, 0x3d),
		"shorter than its header": change(syn4, 3, 0x13),
		"a fragment":              change(syn4, 6, 0x20),
		"a late fragment":         change(syn4, 7, 1),
		"a part of IPv6":          bytesOf(t, syn6)[:39],
		"IPv6, longer":            change(syn6, 5, 0x20),
	} {
		if p, ok := parse(b); ok {
			t.Errorf("%s is taken: %+v", what, p)
		}
	}
	for what, b := range map[string][]byte{
		"an answer":          change(syn4, 33, 0x12),
		"a reset":            change(syn4, 33, 0x04),
		"a header too long":  change(syn4, 32, 0xf0),
		"a header too short": change(syn4, 32, 0x40),
		"port 0":             change(change2(t, syn4, 22), 23, 0),
	} {
		if p, ok := parse(b); !ok {
			t.Errorf("%s is no packet", what)
		} else if s, ok := p.beginning(); ok {
			t.Errorf("%s begins something: %+v", what, s)
		}
	}
}

// change2 gives the text of a packet with a byte that is zero.
func change2(t *testing.T, text string, at int) string {
	b := bytesOf(t, text)
	b[at] = 0
	return hex.EncodeToString(b)
}

// whole checks the sums of a packet of our own, and takes it apart.
func whole(t testing.TB, b []byte) packet {
	t.Helper()
	p, ok := parse(b)
	if !ok {
		t.Fatalf("not a packet: %x", b)
	}
	if !p.six && sum(0, b[:header4]) != 0xffff {
		t.Errorf("the header's sum is wrong: %x", b)
	}
	start := uint32(0)
	if p.protocol != protocolICMP {
		start = uint32(sum(uint32(p.protocol)+uint32(len(p.payload)), append(p.src.AsSlice(), p.dst.AsSlice()...)))
	}
	if got := sum(start, p.payload); got != 0xffff {
		t.Errorf("the sum of the payload is wrong: %x", b)
	}
	return p
}

func TestAnswers(t *testing.T) {
	for _, text := range []string{syn4, syn6} {
		p, _ := parse(bytesOf(t, text))
		s, ok := p.beginning()
		if !ok {
			t.Fatal(text)
		}
		r := whole(t, s.refusal())
		if r.src != p.dst || r.dst != p.src || r.payload[13] != 0x14 || hex.EncodeToString(r.payload[:12]) != "0050"+"04d2"+"00000000"+"12345679" {
			t.Errorf("refusal: %x", r.whole)
		}
		for why, want := range map[reason]string{noRoute: "0300 0100", noHost: "0301 0103", noPort: "0303 0104", forbidden: "030d 0101"} {
			u := whole(t, unreachable(p.dst, p.src, why, p.whole))
			four, six, _ := strings.Cut(want, " ")
			if p.six {
				four = six
			}
			if hex.EncodeToString(u.payload[:2]) != four || !bytes.Equal(u.payload[icmpSize:], p.whole) || u.dst != p.src {
				t.Errorf("unreachable: %x", u.whole)
			}
		}
		d := whole(t, datagram(s.pair))
		if d.protocol != protocolUDP || d.src != p.src || hex.EncodeToString(d.payload[:6]) != "04d2"+"0050"+"0008" {
			t.Errorf("datagram: %x", d.whole)
		}
	}
	for _, text := range []string{ping4, ping6} {
		p, _ := parse(bytesOf(t, text))
		e, ok := p.asked()
		if !ok || e.id != 7 {
			t.Fatalf("%s: %+v %t", text, e, ok)
		}
		a := whole(t, e.answer(p.dst, p.src))
		if _, ok := a.asked(); ok || a.dst != p.src || !bytes.Equal(a.payload[4:], p.payload[4:]) {
			t.Errorf("answer: %x", a.whole)
		}
	}
	if b := compose(netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("::1"), protocolUDP, make([]byte, 8), 6); b != nil {
		t.Errorf("a packet of two families: %x", b)
	}
}

func TestReachable(t *testing.T) {
	for _, a := range []string{"8.8.8.8", "10.0.0.1", "192.168.1.1", "169.254.169.254", "2001:db8::1", "fd00::1"} {
		if !reachable(netip.MustParseAddr(a)) {
			t.Errorf("%s is not reachable", a)
		}
	}
	for _, a := range []string{"127.0.0.1", "127.1.2.3", "0.0.0.0", "0.1.2.3", "224.0.0.251", "255.255.255.255", "::1", "::", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "ff02::1", "fe80::1"} {
		if reachable(netip.MustParseAddr(a)) {
			t.Errorf("%s is reachable", a)
		}
	}
	if reachable(netip.Addr{}) {
		t.Error("no address is reachable")
	}
}

// FuzzPacket takes packets apart that a container could send, and answers them.
func FuzzPacket(f *testing.F) {
	for _, text := range []string{syn4, syn6, ping4, ping6} {
		f.Add(bytesOf(f, text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, ok := parse(b)
		if !ok {
			return
		}
		if len(p.whole) > len(b) || len(p.payload) >= len(p.whole) && len(p.payload) > 0 {
			t.Fatalf("more than there is: %d of %d", len(p.whole), len(b))
		}
		whole(t, unreachable(p.dst, p.src, noPort, p.whole))
		if s, ok := p.beginning(); ok {
			whole(t, s.refusal())
		}
		if e, ok := p.asked(); ok && len(p.payload) < 60000 {
			whole(t, e.answer(p.dst, p.src))
		}
	})
}

// FuzzDestination reads what the kernel says with a datagram.
func FuzzDestination(f *testing.F) {
	f.Add(bytesOf(f, "20000000000000000000000014000000"+"02000050c6336402"+"0000000000000000"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if to, ok := destination(b); ok && !to.IsValid() {
			t.Errorf("%v", to)
		}
	})
}
