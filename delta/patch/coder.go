package patch

// encoder is a binary arithmetic coder.
type encoder struct {
	low, high uint32
	out       []byte
}

func newEncoder() *encoder { return &encoder{high: 0xffffffff} }

func middle(low, high uint32, p int32) uint32 {
	return low + uint32(uint64(high-low)*uint64(p)>>16)
}

// code writes a bit.
func (e *encoder) code(bit int, p int32) int {
	if mid := middle(e.low, e.high, p); bit == 1 {
		e.high = mid
	} else {
		e.low = mid + 1
	}
	for (e.low^e.high)>>24 == 0 {
		e.out = append(e.out, byte(e.high>>24))
		e.low <<= 8
		e.high = e.high<<8 | 255
	}
	return bit
}

// end writes what is left, and returns all.
func (e *encoder) end() []byte {
	// The first byte of high, and the zeros that follow by themselves, lie between low and high.
	return append(e.out, byte(e.high>>24))
}

// decoder reads what an encoder wrote, and zeros after it.
type decoder struct {
	low, high, x uint32
	in           []byte
	past         int // how many zeros were read after the end
}

func newDecoder(in []byte) *decoder {
	d := &decoder{high: 0xffffffff, in: in}
	for range 4 {
		d.x = d.x<<8 | uint32(d.byte())
	}
	return d
}

func (d *decoder) byte() byte {
	if len(d.in) == 0 {
		d.past++
		return 0
	}
	c := d.in[0]
	d.in = d.in[1:]
	return c
}

// ended reports whether what was read is exactly what an encoder wrote: it writes one byte at the end, and four are read ahead.
func (d *decoder) ended() bool { return len(d.in) == 0 && d.past == 3 }

// code reads a bit.
func (d *decoder) code(_ int, p int32) int {
	mid := middle(d.low, d.high, p)
	bit := 0
	if d.x <= mid {
		bit, d.high = 1, mid
	} else {
		d.low = mid + 1
	}
	for (d.low^d.high)>>24 == 0 {
		d.low <<= 8
		d.high = d.high<<8 | 255
		d.x = d.x<<8 | uint32(d.byte())
	}
	return bit
}
