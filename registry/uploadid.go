package registry

import (
	"crypto/rand"
	"encoding/hex"
)

// NewUploadID makes a name for an upload: a random UUID (RFC 9562, section 5.4), which the places of uploads must have ("POST then PUT").
func NewUploadID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
