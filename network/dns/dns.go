// Package dns is the resolver of one container: it answers for the names of containers itself and passes all other questions on.
//
//	s := &dns.Server{Names: names, Upstream: []netip.AddrPort{...}}
//	done := s.Serve(udp, tcp)   // until the sockets are closed
//
// What it is asked and what it is answered are foreign bytes: a question is read with limits, an answer of another server is passed on only
// when it is one to that question.
package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// Names knows the containers that can be found.
type Names interface {
	// Find gives the addresses of a name; false when it is not one of a container.
	Find(name string) ([]netip.Addr, bool)
	// FindAddr gives the name that belongs to an address.
	FindAddr(netip.Addr) (string, bool)
	// Forwards tells whether questions about other names may be passed on.
	Forwards() bool
}

// Server answers questions.
type Server struct {
	Names Names
	// Upstream are asked in turn about other names; the goroutines that ask them are in the network namespace of the caller.
	Upstream []netip.AddrPort
	// Timeout is for one of them; 0 is two seconds.
	Timeout time.Duration

	slots chan struct{}
}

const (
	maxAtOnce  = 256     // questions that are being passed on; Docker has 1024
	maxUDP     = 512     // bytes of an answer to who does not say that it takes more (RFC 1035, 4.2.1)
	maxMessage = 1 << 13 // bytes of an answer by UDP
	ttl        = 10      // seconds that an answer of our own may be kept
)

// Serve answers what comes to the two sockets. The function that it returns closes them and waits for all that goes on.
func (s *Server) Serve(udp net.PacketConn, tcp net.Listener) (stop func()) {
	s.slots = make(chan struct{}, maxAtOnce)
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() { s.serveUDP(ctx, udp, &work) })
	work.Go(func() { s.serveTCP(ctx, tcp, &work) })
	return func() {
		cancel()
		udp.Close()
		tcp.Close()
		work.Wait()
	}
}

func (s *Server) serveUDP(ctx context.Context, conn net.PacketConn, work *sync.WaitGroup) {
	buf := make([]byte, 4096)
	for {
		n, from, err := conn.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an error that an earlier answer met
		}
		query := append([]byte(nil), buf[:n]...)
		if !s.begin() {
			continue // who asks will ask again
		}
		work.Go(func() {
			defer s.end()
			if answer := s.answer(ctx, query, false); answer != nil {
				_, _ = conn.WriteTo(answer, from)
			}
		})
	}
}

func (s *Server) begin() bool {
	select {
	case s.slots <- struct{}{}:
		return true
	default:
		return false
	}
}

func (s *Server) end() { <-s.slots }

func (s *Server) serveTCP(ctx context.Context, l net.Listener, work *sync.WaitGroup) {
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		if !s.begin() {
			conn.Close()
			continue
		}
		work.Go(func() {
			defer s.end()
			defer conn.Close()
			stop := context.AfterFunc(ctx, func() { conn.Close() })
			defer stop()
			for {
				_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
				query, err := readTCP(conn)
				if err != nil {
					return
				}
				answer := s.answer(ctx, query, true)
				if answer == nil || writeTCP(conn, answer) != nil {
					return
				}
			}
		})
	}
}

// readTCP reads a message with its length in front (RFC 1035, 4.2.2).
func readTCP(r io.Reader) ([]byte, error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint16(head[:]))
	_, err := io.ReadFull(r, b)
	return b, err
}

func writeTCP(w io.Writer, b []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...))
	return err
}

// answer gives the answer to a message, nil for one that is no question.
func (s *Server) answer(ctx context.Context, query []byte, tcp bool) []byte {
	var p dnsmessage.Parser
	head, err := p.Start(query)
	if err != nil || head.Response {
		return nil
	}
	q, err := p.Question()
	if err != nil {
		return reply(head, nil, dnsmessage.RCodeFormatError, nil)
	}
	if _, err := p.Question(); err == nil || head.OpCode != 0 || q.Class != dnsmessage.ClassINET {
		return reply(head, &q, dnsmessage.RCodeNotImplemented, nil)
	}
	if records, ok := s.own(q); ok {
		return reply(head, &q, dnsmessage.RCodeSuccess, records)
	}
	if !s.Names.Forwards() {
		return reply(head, &q, dnsmessage.RCodeServerFailure, nil)
	}
	for _, server := range s.Upstream {
		if answer, err := s.ask(ctx, server, query, q, tcp); err == nil {
			return answer
		}
		if ctx.Err() != nil {
			return nil
		}
	}
	return reply(head, &q, dnsmessage.RCodeServerFailure, nil)
}

// own answers what is about containers.
func (s *Server) own(q dnsmessage.Question) (records []dnsmessage.ResourceBody, ok bool) {
	if a, ok := reverse(q.Name.String()); ok {
		name, found := s.Names.FindAddr(a)
		if !found {
			return nil, false
		}
		full, err := dnsmessage.NewName(name + ".")
		if err != nil || q.Type != dnsmessage.TypePTR {
			return nil, true
		}
		return []dnsmessage.ResourceBody{&dnsmessage.PTRResource{PTR: full}}, true
	}
	addrs, found := s.Names.Find(q.Name.String())
	if !found {
		return nil, false
	}
	for _, a := range addrs {
		switch {
		case a.Is4() && q.Type == dnsmessage.TypeA:
			records = append(records, &dnsmessage.AResource{A: a.As4()})
		case a.Is6() && q.Type == dnsmessage.TypeAAAA:
			records = append(records, &dnsmessage.AAAAResource{AAAA: a.As16()})
		}
	}
	// Many take the first: they share the work.
	rand.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
	const most = 16 // they fit into maxUDP bytes
	return records[:min(len(records), most)], true
}

func reply(q dnsmessage.Header, question *dnsmessage.Question, code dnsmessage.RCode, records []dnsmessage.ResourceBody) []byte {
	head := dnsmessage.Header{ID: q.ID, Response: true, OpCode: q.OpCode, RecursionDesired: q.RecursionDesired, RecursionAvailable: true, RCode: code}
	m := dnsmessage.Message{Header: head}
	if question != nil {
		m.Questions = []dnsmessage.Question{*question}
		for _, r := range records {
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: question.Name, Class: dnsmessage.ClassINET, TTL: ttl}, Body: r})
		}
	}
	b, err := m.AppendPack(make([]byte, 0, maxUDP))
	if err != nil {
		return nil
	}
	return b
}

// ask passes a question on and gives the answer, which has the question's number. The question goes under a number of our own, from a
// port of the system's choice.
func (s *Server) ask(ctx context.Context, server netip.AddrPort, query []byte, q dnsmessage.Question, tcp bool) ([]byte, error) {
	timeout := s.Timeout
	if timeout == 0 {
		timeout = 2 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	protocol := "udp"
	if tcp {
		protocol = "tcp"
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, protocol, server.String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	end, _ := ctx.Deadline()
	_ = conn.SetDeadline(end)
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	sent := append([]byte(nil), query...)
	number := uint16(rand.Uint32())
	binary.BigEndian.PutUint16(sent, number)
	if tcp {
		err = writeTCP(conn, sent)
	} else {
		_, err = conn.Write(sent)
	}
	if err != nil {
		return nil, err
	}
	buf := make([]byte, maxMessage)
	for {
		var answer []byte
		if tcp {
			answer, err = readTCP(conn)
		} else {
			var n int
			n, err = conn.Read(buf)
			answer = buf[:n]
		}
		if err != nil {
			return nil, err
		}
		if answers(answer, number, q) {
			copy(answer[:2], query[:2])
			return answer, nil
		}
	}
}

// answers tells whether a message is an answer to a question.
func answers(m []byte, number uint16, q dnsmessage.Question) bool {
	var p dnsmessage.Parser
	head, err := p.Start(m)
	if err != nil || !head.Response || head.ID != number {
		return false
	}
	got, err := p.Question()
	if errors.Is(err, dnsmessage.ErrSectionDone) {
		return head.RCode != dnsmessage.RCodeSuccess // some say only that they will not
	}
	return err == nil && got.Type == q.Type && got.Class == q.Class && equalFold(got.Name, q.Name)
}

func equalFold(a, b dnsmessage.Name) bool {
	lower := func(c byte) byte {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		return c
	}
	if a.Length != b.Length {
		return false
	}
	for i := range int(a.Length) {
		if lower(a.Data[i]) != lower(b.Data[i]) {
			return false
		}
	}
	return true
}
