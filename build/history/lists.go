package history

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"time"

	"github.com/camada/camada/build"
	"github.com/camada/camada/build/source"
	"github.com/camada/camada/errdefs"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// A list of files is cut into chunks where a path's hash says so, so that two lists that differ in a
// few files have all other chunks in common.
//
//	list:  "camada files 1\n" | SHA-256 of each chunk
//	chunk: entries, each: length in common with the path before (uvarint), rest of the path (string),
//	       mode (uvarint), and SHA-256 of the content (regular files), target (links; string) or
//	       major and minor (devices; uvarint each)
//	string: length (uvarint), bytes
const (
	listMagic = "camada files 1\n"
	// chunkMask makes chunks of 256 entries on average, maxChunk bounds them.
	chunkMask = 255
	maxChunk  = 4096
	// maxChunkBytes bounds a chunk that is read: 4096 paths of 4096 bytes.
	maxChunkBytes = 32 << 20
	maxListBytes  = 64 << 20
)

// File is one file of a context.
type File struct {
	// Path in the context.
	Path string
	// Mode is the kernel's st_mode.
	Mode uint32
	// Digest is the hex SHA-256 of a regular file.
	Digest string `json:",omitempty"`
	// Link is the target of a symbolic link; of a device its numbers.
	Link string `json:",omitempty"`
}

// chunker makes chunks of entries and hands them on.
type chunker struct {
	buf  []byte
	n    int
	last string
	out  func(chunk []byte) error
}

func (c *chunker) add(path string, e *source.Entry) error {
	common := 0
	for common < len(path) && common < len(c.last) && path[common] == c.last[common] {
		common++
	}
	c.buf = binary.AppendUvarint(c.buf, uint64(common))
	c.buf = appendString(c.buf, path[common:])
	c.buf = binary.AppendUvarint(c.buf, uint64(e.Mode))
	switch e.Type() {
	case unix.S_IFREG:
		sum, _ := e.SHA256()
		c.buf = append(c.buf, sum[:]...)
	case unix.S_IFLNK:
		c.buf = appendString(c.buf, e.Link)
	case unix.S_IFCHR, unix.S_IFBLK:
		c.buf = binary.AppendUvarint(binary.AppendUvarint(c.buf, uint64(e.Major)), uint64(e.Minor))
	}
	c.last = path
	c.n++
	h := fnv.New32a()
	_, _ = h.Write([]byte(path))
	if h.Sum32()&chunkMask == 0 || c.n == maxChunk {
		return c.flush()
	}
	return nil
}

func (c *chunker) flush() error {
	if c.n == 0 {
		return nil
	}
	err := c.out(c.buf)
	c.buf, c.n, c.last = c.buf[:0], 0, ""
	return err
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// parseChunk calls fn for each entry of a chunk.
func parseChunk(b []byte, fn func(File) error) error {
	r := reader{b: b}
	last := ""
	for n := 0; len(r.b) > 0; n++ {
		if n == maxChunk {
			return errdefs.Corrupt("a list of files: too many entries")
		}
		common := r.uvarint()
		rest := r.bytes(r.uvarint())
		if common > uint64(len(last)) {
			return errdefs.Corrupt("a list of files is damaged")
		}
		f := File{Path: last[:common] + string(rest), Mode: uint32(r.uvarint())}
		switch f.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			f.Digest = hex.EncodeToString(r.bytes(sha256.Size))
		case unix.S_IFLNK:
			f.Link = string(r.bytes(r.uvarint()))
		case unix.S_IFCHR, unix.S_IFBLK:
			f.Link = fmt.Sprintf("%d:%d", r.uvarint(), r.uvarint())
		}
		if r.bad {
			return errdefs.Corrupt("a list of files ends early")
		}
		last = f.Path
		if err := fn(f); err != nil {
			return err
		}
	}
	return nil
}

// reader reads from bytes that may be damaged.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) bytes(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

// putList keeps the list of a context's files, if it is not there. The lock is held.
func (h *History) putList(ctx context.Context, c *build.ContextFiles) error {
	path := filepath.Join(h.dir, "lists", c.Digest.Encoded())
	now := time.Now()
	if os.Chtimes(path, now, now) == nil {
		return nil
	}
	list := []byte(listMagic)
	ch := chunker{out: func(chunk []byte) error {
		sum, err := h.putObject(chunk)
		list = append(list, sum[:]...)
		return err
	}}
	if err := c.Each(ctx, ch.add); err != nil {
		return err
	}
	if err := ch.flush(); err != nil {
		return err
	}
	return replace(path, list)
}

// chunksOf reads which chunks a list has.
func (h *History) chunksOf(list digest.Digest) ([][sha256.Size]byte, error) {
	if err := list.Validate(); err != nil {
		return nil, errdefs.NotFound("a list of files: %w", err)
	}
	b, err := readFile(filepath.Join(h.dir, "lists", list.Encoded()), maxListBytes)
	if err != nil {
		return nil, err
	}
	return parseList(b)
}

func parseList(b []byte) ([][sha256.Size]byte, error) {
	if len(b) < len(listMagic) || string(b[:len(listMagic)]) != listMagic || (len(b)-len(listMagic))%sha256.Size != 0 {
		return nil, errdefs.Corrupt("a list of files is damaged")
	}
	b = b[len(listMagic):]
	sums := make([][sha256.Size]byte, len(b)/sha256.Size)
	for i := range sums {
		copy(sums[i][:], b[i*sha256.Size:])
	}
	return sums, nil
}

// Files calls fn for each file that is in one of two lists and perhaps not, or not the same, in the other; before tells
// which list it is of. A list that is "" is empty. Files in parts that both lists have are passed
// over, so what fn sees is much less than all of them. ErrNotFound when a list is not kept any more.
func (h *History) Files(before, after digest.Digest, fn func(f File, before bool) error) error {
	var sums [2][][sha256.Size]byte
	for i, d := range []digest.Digest{before, after} {
		if d == "" {
			continue
		}
		var err error
		if sums[i], err = h.chunksOf(d); err != nil {
			return err
		}
	}
	for i := range sums {
		other := make(map[[sha256.Size]byte]bool, len(sums[1-i]))
		for _, s := range sums[1-i] {
			other[s] = true
		}
		for _, s := range sums[i] {
			if other[s] {
				continue
			}
			b, err := h.object(s)
			if err == nil {
				err = parseChunk(b, func(f File) error { return fn(f, i == 0) })
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}
