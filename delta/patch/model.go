package patch

import "encoding/binary"

// model predicts the differences between two versions of a file bit by bit, from the differences before and from the old file: most
// are zero, and those of a program that was compiled again are addresses, moved by what was moved between the two places. It
// mixes the predictions of several contexts in the logistic domain, as Matt Mahoney's PAQ does. All is integers: the same on each machine.
type model struct {
	slots   []uint32 // of all contexts: a probability in the upper 22 bits, how often it was seen in the lower 10
	mask    uint32
	weights []int32
	tables  *tables

	// The prediction that is being made.
	at     [contexts]uint32
	inputs [contexts]int32
	n      int
	set    []int32

	// What came before.
	flags   uint32   // of the last 32 differences, whether they were not zero
	last    [32]byte // the last differences
	pos     int
	zeros   int // how many zeros in a row
	skipped uint32
	run     int    // which byte of a run of differences this is
	start   uint32 // what the word in the old file where the run began would point to
	runs    [2][8]byte
}

const (
	contexts = 10
	// weightSets of the mixer: one for each state of the zero flag, each node of a value's tree, and the skips.
	flagSets, nodeSets = 64, 4 * 256
	// stride is how many zeros are passed over at once.
	stride = 32
	// limit is how slowly a probability changes in the end.
	limit = 255
)

// tables are the functions of the logistic domain.
type tables struct {
	stretch [4096]int16
	divide  [limit + 1]int32
}

func newTables() *tables {
	t := new(tables)
	pi := 0
	for x := int32(-2047); x <= 2047; x++ {
		v := squash(x)
		for i := pi; i <= int(v); i++ {
			t.stretch[i] = int16(x)
		}
		pi = int(v) + 1
	}
	for i := pi; i < 4096; i++ {
		t.stretch[i] = 2047
	}
	for i := range t.divide {
		t.divide[i] = int32(16384 / (2*i + 3))
	}
	return t
}

// squash is 4096 / (1 + e^(-d/256)), by interpolation.
func squash(d int32) int32 {
	if d > 2047 {
		return 4095
	}
	if d < -2047 {
		return 0
	}
	points := [33]int32{1, 2, 3, 6, 10, 16, 27, 45, 73, 120, 194, 310, 488, 747, 1101, 1546, 2047, 2549, 2994, 3348, 3607, 3785, 3901, 3975, 4022,
		4050, 4068, 4079, 4085, 4089, 4092, 4093, 4094}
	w := d & 127
	d = d>>7 + 16
	return (points[d]*(128-w) + points[d+1]*w + 64) >> 7
}

// newModel returns a model for about n differences.
func newModel(t *tables, n int) *model {
	width := 14
	for width < 21 && 1<<width < 4*n {
		width++
	}
	m := &model{slots: make([]uint32, 1<<width), mask: 1<<width - 1, tables: t, weights: make([]int32, contexts*(flagSets+nodeSets+1))}
	for i := range m.slots {
		m.slots[i] = 1 << 31
	}
	for i := range m.weights {
		m.weights[i] = 1 << 14
	}
	return m
}

// coder codes one bit whose probability of being 1 is p of 65536; when it decodes, it knows the bit, and bit does not matter.
type coder interface{ code(bit int, p int32) int }

// difference codes a difference: that of the byte of old at place.
func (m *model) difference(c coder, d byte, old []byte, place int) byte {
	word := wordAt(old, place)
	before := wordAt(old, place-4)
	m.flag(word, before, place)
	if m.bit(c, b2i(d != 0)) == 0 {
		m.push(0, 0)
		return 0
	}
	var hashes [contexts]uint32
	address := m.value(&hashes, old, word, place)
	node := uint32(1)
	for i := 7; i >= 0; i-- {
		m.n = contexts
		for j, h := range hashes {
			m.at[j] = hash2(h, node)
		}
		m.set = m.setOf(flagSets + min(m.run, 3)*256 + int(node))
		node = node<<1 | uint32(m.bit(c, int(d>>i)&1))
	}
	m.push(byte(node), address)
	return byte(node)
}

// skip codes whether the next stride differences are all zero.
func (m *model) skip(c coder, zero bool) bool {
	m.n = 2
	m.at[0], m.at[1] = hash2(0x51, m.skipped&0xff), hash2(0x52, uint32(min(m.zeros, 255)))
	m.set = m.setOf(flagSets + nodeSets)
	if m.bit(c, b2i(zero)) == 0 {
		m.skipped <<= 1
		return false
	}
	m.skipped = m.skipped<<1 | 1
	m.flags = 0
	clear(m.last[:])
	m.pos += stride
	m.zeros += stride
	m.run = 0
	return true
}

// skips reports whether the skip flag is coded here: after many zeros, when so many follow.
func (m *model) skips(left int) bool {
	return m.zeros >= stride && m.zeros%stride == 0 && left >= stride
}

// flag sets the contexts of the zero flag.
func (m *model) flag(word, before uint32, place int) {
	target := m.target(word, place)
	lags := m.flags&7 | m.flags>>3&1<<3 | m.flags>>7&1<<4 | m.flags>>11&1<<5 | m.flags>>15&1<<6 | m.flags>>23&1<<7
	b1, b2, b3 := before>>24, before>>16&0xff, before>>8&0xff
	m.n = contexts
	m.at = [contexts]uint32{
		hash2(1, m.flags&0xfff),
		hash3(2, b1|word&0xff<<8, m.flags&15),
		hash3(3, b1|b2<<8|b3<<16, m.flags&7),
		hash2(4, lags),
		hash3(5, uint32(min(m.zeros, 255)), uint32(m.runs[0][0])|uint32(m.runs[1][0])<<8),
		hash3(6, target, uint32(m.run)),
		hash3(7, word, m.flags&3),
		hash3(8, uint32(place%24), m.flags&0xff|m.flags>>23&1<<8),
		hash3(9, b1|b2<<8, uint32(m.lag(1))|m.flags&15<<8),
		hash3(10, b1|word<<8, b2|m.flags&7<<8),
	}
	m.set = m.setOf(int(m.flags&7)*8 + min(m.zeros, 7))
}

// target is what the word where the run of differences began, or this one, would point to if it were relative to its place.
func (m *model) target(word uint32, place int) uint32 {
	if m.run > 0 {
		return m.start
	}
	return uint32(place) + word
}

// value sets the contexts of a difference that is not zero, and returns what the word where its run began would point to.
func (m *model) value(h *[contexts]uint32, old []byte, word uint32, place int) (address uint32) {
	k := uint32(min(m.run, 7))
	origin := place - m.run
	address = uint32(origin) + wordAt(old, origin)
	d1, d2 := uint32(m.lag(1)), uint32(m.lag(2))
	lead := wordAt(old, origin-4)
	r1, r2 := uint32(m.runs[0][k]), uint32(m.runs[1][k])
	*h = [contexts]uint32{
		hash2(20, k),
		hash3(21, d1, k),
		hash3(22, d1|d2<<8, k),
		hash3(23, r1|d1<<8, k),
		hash3(24, r1|r2<<8|d1<<16, k),
		hash3(25, address, k|d1<<8),
		hash3(26, uint32(m.lag(8))|uint32(m.lag(4))<<8, k),
		hash3(27, uint32(m.lag(24)), k|d1<<8),
		hash3(28, word&0xff|d1<<8, k),
		hash3(29, lead>>16, k|r1<<8),
	}
	return address
}

// lag is the difference n places before.
func (m *model) lag(n int) byte { return m.last[(m.pos-n)&31] }

// push notes a difference.
func (m *model) push(d byte, address uint32) {
	m.last[m.pos&31] = d
	m.pos++
	if d == 0 {
		m.flags <<= 1
		m.zeros++
		m.run = 0
		return
	}
	if m.run == 0 {
		m.runs[1] = m.runs[0]
		m.runs[0] = [8]byte{}
		m.start = address
	}
	m.runs[0][min(m.run, 7)] = d
	m.flags = m.flags<<1 | 1
	m.zeros = 0
	m.run++
}

func (m *model) setOf(i int) []int32 { return m.weights[i*contexts : (i+1)*contexts] }

// bit predicts, codes and learns one bit.
func (m *model) bit(c coder, bit int) int {
	var dot int64
	for i := range m.n {
		m.at[i] &= m.mask
		s := int32(m.tables.stretch[m.slots[m.at[i]]>>20])
		m.inputs[i] = s
		dot += int64(s) * int64(m.set[i])
	}
	p := squash(int32(min(max(dot>>16, -2047), 2047)))
	bit = c.code(bit, min(max(p<<4, 32), 65536-32))
	miss := (int32(bit)<<12 - p) * 10
	for i := range m.n {
		m.set[i] += (m.inputs[i]*miss + 0x8000) >> 16
		slot := &m.slots[m.at[i]]
		n, q := *slot&1023, int64(*slot>>10)
		if n < limit {
			*slot++
		}
		*slot += uint32((int64(bit)<<22-q)>>3*int64(m.tables.divide[n])) & 0xfffffc00
	}
	return bit
}

func hash2(a, b uint32) uint32 {
	h := a*0x9e3779b1 ^ b*0x85ebca6b
	h ^= h >> 15
	h *= 0x2c1b3c6d
	return h ^ h>>13
}

func hash3(a, b, c uint32) uint32 { return hash2(hash2(a, b), c) }

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// wordAt is the little-endian word at a place, as far as the file has it.
func wordAt(b []byte, at int) uint32 {
	if at >= 0 && at+4 <= len(b) {
		return binary.LittleEndian.Uint32(b[at:])
	}
	var w uint32
	for i := range 4 {
		if j := at + i; j >= 0 && j < len(b) {
			w |= uint32(b[j]) << (8 * i)
		}
	}
	return w
}
