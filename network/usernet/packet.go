package usernet

import (
	"encoding/binary"
	"net/netip"
)

// The numbers of protocols.
const (
	protocolICMP  = 1
	protocolTCP   = 6
	protocolUDP   = 17
	protocolICMP6 = 58
)

// Sizes of headers.
const (
	header4  = 20
	header6  = 40
	icmpSize = 8
	tcpSize  = 20
	udpSize  = 8
)

// packet is one of IP. It refers to the bytes that it was read from.
type packet struct {
	six      bool
	protocol byte
	src, dst netip.Addr
	whole    []byte // without what stands behind it
	payload  []byte
}

// parse takes a packet apart: RFC 791, 3.1; RFC 8200, 3. A fragment or one with extension headers is none for us.
func parse(b []byte) (packet, bool) {
	if len(b) < header4 {
		return packet{}, false
	}
	switch b[0] >> 4 {
	case 4:
		size, total := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
		fragment := binary.BigEndian.Uint16(b[6:]) & 0x3fff // more fragments, and the offset
		if size < header4 || total < size || total > len(b) || fragment != 0 {
			return packet{}, false
		}
		return packet{
			protocol: b[9], src: netip.AddrFrom4([4]byte(b[12:16])), dst: netip.AddrFrom4([4]byte(b[16:20])),
			whole: b[:total], payload: b[size:total],
		}, true
	case 6:
		if len(b) < header6 {
			return packet{}, false
		}
		total := header6 + int(binary.BigEndian.Uint16(b[4:]))
		if total > len(b) {
			return packet{}, false
		}
		return packet{
			six: true, protocol: b[6], src: netip.AddrFrom16([16]byte(b[8:24])), dst: netip.AddrFrom16([16]byte(b[24:40])),
			whole: b[:total], payload: b[header6:total],
		}, true
	}
	return packet{}, false
}

// segment is the beginning of a connection.
type segment struct {
	pair
	sequence uint32
	data     int // bytes behind the header
}

// beginning reads a SYN (RFC 9293, 3.1); false for all other segments.
func (p packet) beginning() (segment, bool) {
	const finSynRstAck, syn = 0x17, 2
	b := p.payload
	if p.protocol != protocolTCP || len(b) < tcpSize || b[13]&finSynRstAck != syn {
		return segment{}, false
	}
	size := int(b[12]>>4) * 4
	if size < tcpSize || size > len(b) {
		return segment{}, false
	}
	s := segment{sequence: binary.BigEndian.Uint32(b[4:]), data: len(b) - size}
	s.src = netip.AddrPortFrom(p.src, binary.BigEndian.Uint16(b))
	s.dst = netip.AddrPortFrom(p.dst, binary.BigEndian.Uint16(b[2:]))
	return s, s.src.Port() != 0 && s.dst.Port() != 0
}

// refusal is the RST that answers a SYN (RFC 9293, 3.10.7.1).
func (s segment) refusal() []byte {
	const rstAck = 0x14
	b := make([]byte, tcpSize)
	binary.BigEndian.PutUint16(b, s.dst.Port())
	binary.BigEndian.PutUint16(b[2:], s.src.Port())
	binary.BigEndian.PutUint32(b[8:], s.sequence+1+uint32(s.data))
	b[12], b[13] = tcpSize/4<<4, rstAck
	return compose(s.dst.Addr(), s.src.Addr(), protocolTCP, b, 16)
}

// reason is why a packet did not arrive.
type reason int

const (
	noRoute reason = iota
	noHost
	noPort
	forbidden
)

// unreachable is the answer to a packet that did not arrive: RFC 792; RFC 4443, 3.1. original is the packet, or its beginning.
func unreachable(from, to netip.Addr, why reason, original []byte) []byte {
	const most = 500 // of the packet, so that the answer stays below all limits
	kind, code, protocol := byte(3), [...]byte{0, 1, 3, 13}[why], byte(protocolICMP)
	if to.Is6() {
		kind, code, protocol = 1, [...]byte{0, 3, 4, 1}[why], protocolICMP6
	}
	b := append([]byte{kind, code, 0, 0, 0, 0, 0, 0}, original[:min(len(original), most)]...)
	return compose(from, to, protocol, b, 2)
}

// datagram is the beginning of a packet of UDP, for an answer to quote.
func datagram(p pair) []byte {
	b := make([]byte, udpSize)
	binary.BigEndian.PutUint16(b, p.src.Port())
	binary.BigEndian.PutUint16(b[2:], p.dst.Port())
	binary.BigEndian.PutUint16(b[4:], udpSize)
	return compose(p.src.Addr(), p.dst.Addr(), protocolUDP, b, 6)
}

// echo is an echo request or the answer to one.
type echo struct {
	id   uint16
	data []byte // from the sequence number on
}

// asked reads an echo request (RFC 792; RFC 4443, 4.1).
func (p packet) asked() (echo, bool) {
	kind := byte(8)
	if p.six {
		kind = 128
	}
	b := p.payload
	if len(b) < icmpSize || b[0] != kind || b[1] != 0 {
		return echo{}, false
	}
	return echo{id: binary.BigEndian.Uint16(b[4:]), data: b[6:]}, true
}

// answer is the packet of an echo reply.
func (e echo) answer(from, to netip.Addr) []byte {
	kind, protocol := byte(0), byte(protocolICMP)
	if to.Is6() {
		kind, protocol = 129, protocolICMP6
	}
	b := binary.BigEndian.AppendUint16([]byte{kind, 0, 0, 0}, e.id)
	return compose(from, to, protocol, append(b, e.data...), 2)
}

// compose puts a header in front of a payload whose checksum is at an offset; nil when it is too long.
func compose(src, dst netip.Addr, protocol byte, payload []byte, sumAt int) []byte {
	if len(payload) > 65535-header4 || src.Is4() != dst.Is4() {
		return nil
	}
	const hops = 64
	var b []byte
	if src.Is4() {
		b = make([]byte, header4, header4+len(payload))
		b[0], b[8], b[9] = 4<<4|header4/4, hops, protocol
		binary.BigEndian.PutUint16(b[2:], uint16(header4+len(payload)))
		binary.BigEndian.PutUint16(b[6:], 0x4000) // not to be fragmented, so no number is needed (RFC 6864)
		copy(b[12:], src.AsSlice())
		copy(b[16:], dst.AsSlice())
		binary.BigEndian.PutUint16(b[10:], ^sum(0, b))
	} else {
		b = make([]byte, header6, header6+len(payload))
		b[0], b[6], b[7] = 6<<4, protocol, hops
		binary.BigEndian.PutUint16(b[4:], uint16(len(payload)))
		copy(b[8:], src.AsSlice())
		copy(b[24:], dst.AsSlice())
	}
	payload[sumAt], payload[sumAt+1] = 0, 0
	start := uint32(0)
	if protocol != protocolICMP { // the others sum up a pseudo header, too
		start = uint32(sum(uint32(protocol)+uint32(len(payload)), append(src.AsSlice(), dst.AsSlice()...)))
	}
	check := ^sum(start, payload)
	if check == 0 && protocol == protocolUDP {
		check = 0xffff // zero says that there is none
	}
	binary.BigEndian.PutUint16(payload[sumAt:], check)
	return append(b, payload...)
}

// sum is the one's complement sum (RFC 1071).
func sum(start uint32, b []byte) uint16 {
	for ; len(b) >= 2; b = b[2:] {
		start += uint32(binary.BigEndian.Uint16(b))
		start = start&0xffff + start>>16
	}
	if len(b) == 1 {
		start += uint32(b[0]) << 8
	}
	for start > 0xffff {
		start = start&0xffff + start>>16
	}
	return uint16(start)
}
