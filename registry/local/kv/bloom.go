package kv

import "hash/fnv"

// A bloom filter says of most keys that a table has not got them, without reading it. It takes 10 bits a key and errs once in a hundred.
const (
	bloomBits   = 10
	bloomProbes = 6
)

type bloom []byte

func newBloom(keys int) bloom { return make(bloom, max(8, (keys*bloomBits+7)/8)) }

func bloomHash(key []byte) (h, step uint64) {
	f := fnv.New64a()
	f.Write(key)
	h = f.Sum64()
	// The end of FNV mixes badly; this is the finaliser of MurmurHash3.
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	return h, h>>17 | h<<47 | 1
}

func (b bloom) add(key []byte) {
	h, step := bloomHash(key)
	for range bloomProbes {
		bit := h % (uint64(len(b)) * 8)
		b[bit/8] |= 1 << (bit % 8)
		h += step
	}
}

func (b bloom) has(key []byte) bool {
	if len(b) == 0 {
		return true
	}
	h, step := bloomHash(key)
	for range bloomProbes {
		bit := h % (uint64(len(b)) * 8)
		if b[bit/8]&(1<<(bit%8)) == 0 {
			return false
		}
		h += step
	}
	return true
}
