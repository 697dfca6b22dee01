package attach

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/camada/camada/errdefs"
)

// The kinds of frames. A frame is its kind, the length of its bytes as a big-endian 32-bit number, and the bytes.
const (
	frameHello  byte = iota + 1 // to the hub: Hello as JSON
	frameStdin                  // to the hub: input; none is its end
	frameSize                   // to the hub: columns and rows, 16 bits each
	frameStdout                 // from the hub
	frameStderr                 // from the hub
	frameEnd                    // from the hub: End as JSON
	frameLeave                  // to the hub: the client goes, and what runs goes on
)

const (
	headerSize = 5
	maxFrame   = 64 << 10
)

// writeFrame writes a frame with one call, so that a peer that is killed sees all of it or its beginning.
func writeFrame(w io.Writer, kind byte, p []byte) error {
	b := make([]byte, headerSize, headerSize+len(p))
	b[0] = kind
	binary.BigEndian.PutUint32(b[1:], uint32(len(p)))
	_, err := w.Write(append(b, p...))
	return err
}

// readFrame reads a frame into buf where it fits. io.EOF between two frames.
func readFrame(r io.Reader, buf []byte) (kind byte, p []byte, err error) {
	var head [headerSize]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > maxFrame {
		return 0, nil, errdefs.Limit("a frame of %d bytes; at most %d are taken", n, maxFrame)
	}
	if int(n) > cap(buf) {
		buf = make([]byte, n)
	}
	if _, err := io.ReadFull(r, buf[:n]); err != nil {
		return 0, nil, fmt.Errorf("read a frame: %w", err)
	}
	return head[0], buf[:n], nil
}
