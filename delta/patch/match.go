package patch

import (
	"encoding/binary"
	"math/bits"
	"sort"
)

const (
	// seed is how many equal bytes two places need to be compared at all.
	seed = 8
	// tries is how many places of one seed are compared, those nearest to where the last match goes on first.
	tries = 24
	// enough ends the search: a match of so many bytes is good wherever it is.
	enough = 256
	// better is how many bytes more another place must have in common than the present one.
	better = 8
)

// places finds where the seeds of some bytes are: for each hash of a seed the positions, in order.
type places struct {
	shift uint
	start []uint32 // of each hash, where its positions begin; one more at the end
	pos   []uint32
}

// most is how many positions are kept. Of more bytes every second or fourth one is: a match is then found some bytes
// late, and stretched back.
const most = 8 << 20

func hashOf(b []byte, shift uint) uint32 {
	return uint32(binary.LittleEndian.Uint64(b) * 0x9e3779b97f4a7c15 >> shift)
}

// newPlaces sorts the positions of b by their hashes. It takes 8 bytes of memory for each.
func newPlaces(b []byte) *places {
	every := 1
	for len(b)/every > most {
		every *= 2
	}
	width := min(max(bits.Len(uint(len(b)/every))-1, 8), 22)
	p := &places{shift: uint(64 - width), start: make([]uint32, 1<<width+2)}
	// A counting sort. The counts stand two places on, so that the sums are where the positions of
	// a hash end once all are in, which is where those of the next one begin.
	n := 0
	for i := 0; i+seed <= len(b); i += every {
		p.start[hashOf(b[i:], p.shift)+2]++
		n++
	}
	for i := 1; i < len(p.start); i++ {
		p.start[i] += p.start[i-1]
	}
	p.pos = make([]uint32, n)
	for i := 0; i+seed <= len(b); i += every {
		next := &p.start[hashOf(b[i:], p.shift)+1]
		p.pos[*next] = uint32(i)
		*next++
	}
	return p
}

// longest returns the place of old that has most bytes in common with b, which has at least seed bytes, and how many;
// near is where one would like it to be.
func (p *places) longest(old, b []byte, near int) (at, n int) {
	h := hashOf(b, p.shift)
	list := p.pos[p.start[h]:p.start[h+1]]
	up := sort.Search(len(list), func(i int) bool { return int(list[i]) >= near })
	down := up - 1
	for range tries {
		var q int
		switch {
		case up < len(list) && (down < 0 || int(list[up])-near <= near-int(list[down])):
			q = int(list[up])
			up++
		case down >= 0:
			q = int(list[down])
			down--
		default:
			return at, n
		}
		if m := common(old[q:], b); m > n {
			if at, n = q, m; n >= enough {
				return at, n
			}
		}
	}
	return at, n
}

// common is how many first bytes of a and b are equal.
func common(a, b []byte) int {
	n := min(len(a), len(b))
	i := 0
	for ; i+8 <= n; i += 8 {
		if x := binary.LittleEndian.Uint64(a[i:]) ^ binary.LittleEndian.Uint64(b[i:]); x != 0 {
			return i + bits.TrailingZeros64(x)/8
		}
	}
	for i < n && a[i] == b[i] {
		i++
	}
	return i
}

// step is one step of a patch: add bytes are the sum of bytes of the old file and of the patch, insert bytes
// are in the patch alone, then seek moves the place in the old file.
type step struct{ add, insert, seek int }

// differ works out the steps, in the way of Colin Percival's bsdiff: matches are found exactly, and stretched over
// what differs a little, so that code that was moved is a match, with few differences where it has addresses.
type differ struct {
	old, new []byte
	places   *places
	// emit is given a step, and where in new and old it begins.
	emit func(s step, at, from int)

	scan, pos, length int // the place in new that is looked at, and its best match
	lastScan, lastPos int // where the step begins that is being made
	offset            int // of the match that the step follows: old minus new
}

// run works out all steps.
func (d *differ) run() {
	for d.scan < len(d.new) {
		score := d.next()
		if d.length != score || d.scan >= len(d.new) {
			d.end()
		}
	}
}

// same is 1 when the byte at i is what the match that is followed has there.
func (d *differ) same(i int) int {
	if j := i + d.offset; j >= 0 && j < len(d.old) && d.old[j] == d.new[i] {
		return 1
	}
	return 0
}

// next moves scan to where another match is better than the one that is followed, or as good: then it is the same. It
// returns how many bytes the one that is followed has in common over the new match's length.
func (d *differ) next() int {
	score := 0
	d.scan += d.length
	d.length = 0
	for counted := d.scan; d.scan < len(d.new); d.scan++ {
		d.pos, d.length = d.find()
		for ; counted < d.scan+d.length; counted++ {
			score += d.same(counted)
		}
		if d.length == score && d.length != 0 || d.length > score+better {
			break
		}
		if counted > d.scan {
			score -= d.same(d.scan)
		} else {
			counted = d.scan + 1
		}
	}
	return score
}

// find looks for the best match at scan: where the followed one goes on, or elsewhere.
func (d *differ) find() (at, n int) {
	here := d.scan + d.offset
	if here >= 0 && here < len(d.old) {
		at, n = here, common(d.old[here:], d.new[d.scan:])
		if n >= 2*seed {
			return at, n
		}
	}
	if len(d.new)-d.scan >= seed {
		if q, m := d.places.longest(d.old, d.new[d.scan:], here); m > n {
			return q, m
		}
	}
	return at, n
}

// end stretches the match that was followed forward and the next one backward, and emits the step between.
func (d *differ) end() {
	forward := d.forward()
	backward := d.backward()
	if over := d.lastScan + forward - (d.scan - backward); over > 0 {
		best, at, s := 0, 0, 0
		for i := range over {
			if d.new[d.lastScan+forward-over+i] == d.old[d.lastPos+forward-over+i] {
				s++
			}
			if d.new[d.scan-backward+i] == d.old[d.pos-backward+i] {
				s--
			}
			if s > best {
				best, at = s, i+1
			}
		}
		forward += at - over
		backward -= at
	}
	d.emit(step{
		add: forward, insert: d.scan - backward - (d.lastScan + forward), seek: d.pos - backward - (d.lastPos + forward),
	}, d.lastScan, d.lastPos)
	d.lastScan, d.lastPos, d.offset = d.scan-backward, d.pos-backward, d.pos-d.scan
}

func (d *differ) forward() (best int) {
	for i, s, top := 0, 0, 0; d.lastScan+i < d.scan && d.lastPos+i < len(d.old); {
		if d.old[d.lastPos+i] == d.new[d.lastScan+i] {
			s++
		}
		i++
		if s*2-i > top*2-best {
			top, best = s, i
		}
	}
	return best
}

func (d *differ) backward() (best int) {
	if d.scan >= len(d.new) {
		return 0
	}
	for i, s, top := 1, 0, 0; d.scan >= d.lastScan+i && d.pos >= i; i++ {
		if d.old[d.pos-i] == d.new[d.scan-i] {
			s++
		}
		if s*2-i > top*2-best {
			top, best = s, i
		}
	}
	return best
}
