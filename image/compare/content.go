package compare

import (
	"bytes"
	"errors"
	"io"
)

const (
	// joined is how many equal bytes between two runs make no two ranges of them.
	joined = 8
	// lead is how many bytes before a range are shown, sampled how many from there on.
	lead    = 8
	sampled = 48
	window  = 64 << 10
)

// content compares the bytes of two files of known sizes; nil when they are the same.
func content(a, b io.Reader, sizeA, sizeB int64, ranges int) (*Content, error) {
	s := &scan{out: Content{FirstSize: sizeA, SecondSize: sizeB}, max: ranges, start: -1}
	bufA, bufB := make([]byte, window), make([]byte, window)
	for {
		na, errA := readFull(a, bufA)
		nb, errB := readFull(b, bufB)
		if err := errors.Join(errA, errB); err != nil {
			return nil, err
		}
		if na == 0 && nb == 0 {
			break
		}
		s.block(bufA[:na], bufB[:nb])
	}
	s.flush()
	if s.out.Bytes == 0 {
		return nil, nil
	}
	return &s.out, nil
}

// readFull fills buf, or reads to the end.
func readFull(r io.Reader, buf []byte) (int, error) {
	n, err := io.ReadFull(r, buf)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return n, err
}

// scan finds ranges in blocks that come one after the other.
type scan struct {
	out Content
	max int
	// at is the offset of the block.
	at int64
	// start and end are the range that is open; start is -1 when none is.
	start, end int64
	// sampleA and sampleB are of the open range, from offset from on; they grow until they have enough.
	from             int64
	sampleA, sampleB []byte
	// tailA and tailB are the last bytes of the block before.
	tailA, tailB []byte
}

func (s *scan) block(a, b []byte) {
	n := max(len(a), len(b))
	s.more(a, b, 0)
	if !bytes.Equal(a, b) {
		for i := range n {
			if i < len(a) && i < len(b) && a[i] == b[i] {
				continue
			}
			s.differs(a, b, i)
		}
	}
	if s.start >= 0 && s.at+int64(n)-s.end > joined {
		s.flush()
	}
	s.tailA, s.tailB = tail(a), tail(b)
	s.at += int64(n)
}

// differs notes that the byte i of the block differs.
func (s *scan) differs(a, b []byte, i int) {
	s.out.Bytes++
	at := s.at + int64(i)
	if s.start >= 0 && at-s.end > joined {
		s.flush()
	}
	if s.start >= 0 {
		s.end = at + 1
		return
	}
	s.start, s.end = at, at+1
	if len(s.out.Ranges) == s.max {
		return
	}
	// The sample begins a little before, perhaps in the block before.
	back := min(int64(lead), at)
	s.from = at - back
	missing := int(s.at - s.from)
	if missing > 0 {
		s.sampleA, s.sampleB = last(s.tailA, missing), last(s.tailB, missing)
		s.more(a, b, 0)
		return
	}
	s.more(a, b, i-int(back))
}

// more adds the bytes of a block, from i on, to the samples of the open range.
func (s *scan) more(a, b []byte, i int) {
	if s.start < 0 || len(s.out.Ranges) == s.max {
		return
	}
	take := func(sample, block []byte) []byte {
		if i >= len(block) {
			return sample
		}
		return append(sample, block[i:min(len(block), i+sampled-len(sample))]...)
	}
	s.sampleA, s.sampleB = take(s.sampleA, a), take(s.sampleB, b)
}

// flush ends the open range.
func (s *scan) flush() {
	if s.start < 0 {
		return
	}
	if len(s.out.Ranges) < s.max {
		show := min(int64(sampled), s.end-s.from+lead)
		s.out.Ranges = append(s.out.Ranges, Range{Start: s.start, End: s.end, From: s.from,
			First: s.sampleA[:min(int64(len(s.sampleA)), show)], Second: s.sampleB[:min(int64(len(s.sampleB)), show)]})
	} else {
		s.out.More++
	}
	s.start, s.sampleA, s.sampleB = -1, nil, nil
}

// tail copies the last bytes of a block.
func tail(block []byte) []byte { return last(block, lead) }

func last(b []byte, n int) []byte { return bytes.Clone(b[max(0, len(b)-n):]) }
