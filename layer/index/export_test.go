package index

import (
	"encoding/binary"
	"hash/crc32"
)

// Seal appends the checksum.
func Seal(b []byte) []byte {
	return binary.BigEndian.AppendUint32(b[:len(b):len(b)], crc32.Checksum(b, castagnoli()))
}
