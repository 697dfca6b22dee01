package notation

import (
	"encoding/binary"
	"math"
	"unicode/utf8"

	"github.com/camada/camada/errdefs"
)

const (
	// maxDepth bounds how deep values of CBOR lie, maxItems how many a list has.
	maxDepth, maxItems = 8, 256
)

// tagged is a value with a tag.
type tagged struct {
	tag   uint64
	value any
}

// mapping is a map: pairs of a key, an int64 or a string, and a value.
type mapping []struct{ key, value any }

// get finds a value; nil when there is none.
func (m mapping) get(key any) any {
	for _, p := range m {
		if p.key == key {
			return p.value
		}
	}
	return nil
}

// decodeCBOR reads a value of CBOR (RFC 8949) and returns what stands behind it. It knows what envelopes have: integers, byte strings, texts, lists,
// maps and tags, all with a length that is told before.
func decodeCBOR(data []byte, depth int) (any, []byte, error) {
	bad := errdefs.Corrupt("read the envelope: it is no CBOR")
	if depth > maxDepth {
		return nil, nil, errdefs.Limit("read the envelope: it is more than %d deep", maxDepth)
	}
	if len(data) == 0 {
		return nil, nil, bad
	}
	major := data[0] >> 5
	n, data, ok := readArgument(data)
	if !ok {
		return nil, nil, bad
	}
	switch major {
	case 0, 1:
		if n > math.MaxInt64 {
			return nil, nil, bad
		}
		if major == 1 {
			return -1 - int64(n), data, nil
		}
		return int64(n), data, nil
	case 2, 3:
		if n > uint64(len(data)) {
			return nil, nil, bad
		}
		b, rest := data[:n], data[n:]
		if major == 2 {
			return b, rest, nil
		}
		if !utf8.Valid(b) {
			return nil, nil, bad
		}
		return string(b), rest, nil
	case 4:
		return decodeList(data, n, depth)
	case 5:
		return decodeMap(data, n, depth)
	case 6:
		v, rest, err := decodeCBOR(data, depth+1)
		return tagged{n, v}, rest, err
	}
	return nil, nil, bad
}

// readArgument reads the first byte and the number that belongs to it.
func readArgument(data []byte) (n uint64, rest []byte, ok bool) {
	info := data[0] & 31
	data = data[1:]
	switch {
	case info < 24:
		return uint64(info), data, true
	case info > 27:
		return 0, nil, false
	}
	size := 1 << (info - 24)
	if len(data) < size {
		return 0, nil, false
	}
	var buf [8]byte
	copy(buf[8-size:], data[:size])
	return binary.BigEndian.Uint64(buf[:]), data[size:], true
}

func decodeList(data []byte, n uint64, depth int) (any, []byte, error) {
	if n > maxItems {
		return nil, nil, errdefs.Limit("read the envelope: a list has more than %d items", maxItems)
	}
	out := []any{}
	for range n {
		v, rest, err := decodeCBOR(data, depth+1)
		if err != nil {
			return nil, nil, err
		}
		out, data = append(out, v), rest
	}
	return out, data, nil
}

func decodeMap(data []byte, n uint64, depth int) (any, []byte, error) {
	if n > maxItems {
		return nil, nil, errdefs.Limit("read the envelope: a map has more than %d entries", maxItems)
	}
	out := mapping{}
	for range n {
		k, rest, err := decodeCBOR(data, depth+1)
		if err != nil {
			return nil, nil, err
		}
		switch k.(type) {
		case int64, string:
		default:
			return nil, nil, errdefs.Corrupt("read the envelope: a key of a map is neither a number nor a text")
		}
		if out.get(k) != nil {
			return nil, nil, errdefs.Corrupt("read the envelope: it has %v twice", k)
		}
		v, rest, err := decodeCBOR(rest, depth+1)
		if err != nil {
			return nil, nil, err
		}
		out, data = append(out, struct{ key, value any }{k, v}), rest
	}
	return out, data, nil
}

// appendString writes a byte string (major 2) or a text (3).
func appendString(to []byte, major byte, s []byte) []byte {
	n := uint64(len(s))
	switch {
	case n < 24:
		to = append(to, major<<5|byte(n))
	case n < 1<<8:
		to = append(to, major<<5|24, byte(n))
	case n < 1<<16:
		to = binary.BigEndian.AppendUint16(append(to, major<<5|25), uint16(n))
	default:
		to = binary.BigEndian.AppendUint32(append(to, major<<5|26), uint32(n))
	}
	return append(to, s...)
}
