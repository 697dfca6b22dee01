package dns

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// names is a fake: the containers web and db.
type names struct{ closed bool }

func (names) Find(name string) ([]netip.Addr, bool) {
	switch strings.ToLower(strings.TrimSuffix(name, ".")) {
	case "web":
		return []netip.Addr{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("fd00::2")}, true
	case "db":
		return []netip.Addr{netip.MustParseAddr("10.0.0.3")}, true
	}
	return nil, false
}

func (names) FindAddr(a netip.Addr) (string, bool) {
	return "web.net", a.String() == "10.0.0.2" || a.String() == "fd00::2"
}

func (n names) Forwards() bool { return !n.closed }

func question(t testing.TB, name string, kind dnsmessage.Type) []byte {
	t.Helper()
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: 7, RecursionDesired: true}, Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: kind, Class: dnsmessage.ClassINET}}}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// texts spells the answer.
func texts(t *testing.T, b []byte) string {
	t.Helper()
	var m dnsmessage.Message
	if err := m.Unpack(b); err != nil {
		t.Fatal(err)
	}
	if m.ID != 7 || !m.Response {
		t.Errorf("header: %+v", m.Header)
	}
	out := []string{m.RCode.String()}
	for _, a := range m.Answers {
		switch r := a.Body.(type) {
		case *dnsmessage.AResource:
			out = append(out, netip.AddrFrom4(r.A).String())
		case *dnsmessage.AAAAResource:
			out = append(out, netip.AddrFrom16(r.AAAA).String())
		case *dnsmessage.PTRResource:
			out = append(out, r.PTR.String())
		}
	}
	return strings.Join(out, " ")
}

// upstream answers each question with 192.0.2.1, after answers that are none to it.
func upstream(t *testing.T) netip.AddrPort {
	t.Helper()
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	go func() {
		b := make([]byte, 1000)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(b[:n]) != nil {
				continue
			}
			m.Response = true
			answer := func(id uint16, name string) {
				a := m
				a.ID = id
				a.Questions = []dnsmessage.Question{m.Questions[0]}
				a.Questions[0].Name = dnsmessage.MustNewName(name)
				a.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: a.Questions[0].Name, Class: dnsmessage.ClassINET}, Body: &dnsmessage.AResource{A: [4]byte{192, 0, 2, 1}}}}
				if out, err := a.Pack(); err == nil {
					_, _ = c.WriteTo(out, from)
				}
			}
			_, _ = c.WriteTo([]byte("rubbish"), from)
			answer(m.ID+1, m.Questions[0].Name.String())
			answer(m.ID, "other.example.")
			answer(m.ID, strings.ToUpper(m.Questions[0].Name.String()))
		}
	}()
	return netip.MustParseAddrPort(c.LocalAddr().String())
}

func TestAnswer(t *testing.T) {
	dead, err := net.ListenPacket("udp4", "127.0.0.1:0") // it never answers
	if err != nil {
		t.Fatal(err)
	}
	defer dead.Close()
	s := &Server{Names: names{}, Upstream: []netip.AddrPort{netip.MustParseAddrPort(dead.LocalAddr().String()), upstream(t)}, Timeout: 200 * time.Millisecond}
	alone := &Server{Names: names{closed: true}, Upstream: s.Upstream}
	for _, c := range []struct {
		what string
		s    *Server
		name string
		kind dnsmessage.Type
		want string
	}{
		{"a name", s, "web.", dnsmessage.TypeA, "RCodeSuccess 10.0.0.2"},
		{"in capitals", s, "WEB.", dnsmessage.TypeAAAA, "RCodeSuccess fd00::2"},
		{"without an address of the family", s, "db.", dnsmessage.TypeAAAA, "RCodeSuccess"},
		{"another type", s, "db.", dnsmessage.TypeMX, "RCodeSuccess"},
		{"an address", s, "2.0.0.10.in-addr.arpa.", dnsmessage.TypePTR, "RCodeSuccess web.net."},
		{"an IPv6 address", s, "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa.", dnsmessage.TypePTR, "RCodeSuccess web.net."},
		{"a name of the outside", s, "example.com.", dnsmessage.TypeA, "RCodeSuccess 192.0.2.1"},
		{"a name of the outside from an internal network", alone, "example.com.", dnsmessage.TypeA, "RCodeServerFailure"},
		{"a container's from an internal network", alone, "web.", dnsmessage.TypeA, "RCodeSuccess 10.0.0.2"},
		{"without servers", &Server{Names: names{}}, "example.com.", dnsmessage.TypeA, "RCodeServerFailure"},
	} {
		if got := texts(t, c.s.answer(context.Background(), question(t, c.name, c.kind), false)); got != c.want {
			t.Errorf("%s: %s, want %s", c.what, got, c.want)
		}
	}
	if b := s.answer(context.Background(), []byte{1, 2, 3}, false); b != nil {
		t.Errorf("rubbish is answered: %x", b)
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add(question(f, "web.", dnsmessage.TypeA))
	f.Add(question(f, "2.0.0.10.in-addr.arpa.", dnsmessage.TypePTR))
	f.Add([]byte{0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{0, 7, 1, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0xc0, 12})
	s := &Server{Names: names{closed: true}}
	f.Fuzz(func(t *testing.T, b []byte) {
		answer := s.answer(context.Background(), b, false)
		if len(answer) > maxUDP {
			t.Errorf("an answer of %d bytes", len(answer))
		}
		if answer != nil && (answer[0] != b[0] || answer[1] != b[1]) {
			t.Errorf("the answer has another number")
		}
		answers(b, 7, dnsmessage.Question{})
	})
}
