// Package compare tells how two layers, and two configs, differ: which files, which of their attributes, and which bytes.
//
//	err := compare.Layers(ctx, first, second, compare.Options{}, func(c compare.Change) error {
//		fmt.Println(c.Path, c.Kind)
//		return nil
//	})
//
// The layers are read once, side by side, and nothing is kept of them: memory does not depend on their
// size. For that their entries must be in the order in which this project writes layers: the names of a directory sorted bytewise,
// whiteouts before the others, a directory before what is in it.
package compare

import (
	"archive/tar"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
)

// Kind says how an entry differs.
type Kind string

// The kinds.
const (
	Changed      Kind = "changed"
	OnlyInFirst  Kind = "only in the first"
	OnlyInSecond Kind = "only in the second"
)

// Change is one entry that differs.
type Change struct {
	// Path in the image, with a leading slash. A whiteout is named by what it hides, see Whiteout.
	Path string `json:"path"`
	Kind Kind   `json:"kind"`
	// Whiteout tells that the entry removes the path.
	Whiteout bool `json:"whiteout,omitempty"`
	// Type is file, directory, symlink, hard link, character device, block device or fifo.
	Type string `json:"type,omitempty"`
	// Fields are the attributes that differ, in a fixed order.
	Fields []Field `json:"fields,omitempty"`
	// Content is nil when the bytes of a file are the same.
	Content *Content `json:"content,omitempty"`
}

// Field is an attribute with two values: type, mode, owner, time, size, link, device or "xattr NAME". A value that is missing
// is "".
type Field struct {
	Name   string `json:"name"`
	First  string `json:"first"`
	Second string `json:"second"`
}

// Content says which bytes of a file differ.
type Content struct {
	// FirstSize and SecondSize are in bytes.
	FirstSize  int64 `json:"firstSize"`
	SecondSize int64 `json:"secondSize"`
	// Bytes is how many positions differ, with those that only one file has.
	Bytes int64 `json:"bytes"`
	// Ranges are where, from the start of the file; the first ones when there are more.
	Ranges []Range `json:"ranges"`
	More   int64   `json:"more,omitempty"`
}

// Range is a run of bytes that differ; runs with a few equal bytes between them are one.
type Range struct {
	// Start and End are offsets; End is that of the byte after the last one.
	Start int64 `json:"start"`
	End   int64 `json:"end"`
	// From is the offset of the first byte of First and Second, which show what is there and a little before it.
	From   int64 `json:"from"`
	First  Bytes `json:"firstBytes"`
	Second Bytes `json:"secondBytes"`
}

// Bytes are hex digits in JSON.
type Bytes []byte

// MarshalText implements encoding.TextMarshaler.
func (b Bytes) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, b), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (b *Bytes) UnmarshalText(text []byte) (err error) {
	*b, err = hex.DecodeString(string(text))
	return err
}

// The bounds of what a comparison tells.
const (
	// DefaultRanges is how many ranges are told of one file.
	DefaultRanges = 8
	// maxChanges is how many changes one comparison tells.
	maxChanges = 1 << 20
)

// Options shape a comparison.
type Options struct {
	// Ranges is how many ranges are told of one file; 0 is DefaultRanges.
	Ranges int
}

// Layers compares two uncompressed layer tars and calls fn for each entry that differs, in their order. A
// tar that cannot be read is ErrCorrupt, one whose entries are in another order ErrUnsupported.
func Layers(ctx context.Context, first, second io.Reader, opts Options, fn func(Change) error) error {
	if opts.Ranges <= 0 {
		opts.Ranges = DefaultRanges
	}
	a, b := &stream{name: "first", tar: tar.NewReader(first)}, &stream{name: "second", tar: tar.NewReader(second)}
	if err := errors.Join(a.next(), b.next()); err != nil {
		return err
	}
	m := merger{opts: opts, fn: fn}
	for a.head != nil || b.head != nil {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := m.step(a, b); err != nil {
			return err
		}
	}
	return nil
}

// merger joins two streams.
type merger struct {
	opts  Options
	fn    func(Change) error
	count int
}

// step handles the lower one of the two heads, or both when they have one name.
func (m *merger) step(a, b *stream) error {
	var order int
	switch {
	case a.head == nil:
		order = 1
	case b.head == nil:
		order = -1
	default:
		order = comparePaths(a.path, b.path)
	}
	switch {
	case order < 0:
		return errors.Join(m.tell(alone(a, OnlyInFirst)), a.next())
	case order > 0:
		return errors.Join(m.tell(alone(b, OnlyInSecond)), b.next())
	}
	c := Change{Kind: Changed, Type: typeName(b.head.Typeflag), Fields: fields(a.head, b.head)}
	c.Path, c.Whiteout = shown(b.path)
	if isFile(a.head) && isFile(b.head) {
		var err error
		if c.Content, err = content(a.tar, b.tar, a.head.Size, b.head.Size, m.opts.Ranges); err != nil {
			return errdefs.With(errdefs.ErrCorrupt, fmt.Errorf("compare %s: %w", c.Path, err))
		}
	}
	if len(c.Fields) > 0 || c.Content != nil {
		if err := m.tell(c); err != nil {
			return err
		}
	}
	return errors.Join(a.next(), b.next())
}

func (m *merger) tell(c Change) error {
	if m.count++; m.count > maxChanges {
		return errdefs.Limit("more than %d files differ", maxChanges)
	}
	return m.fn(c)
}

func alone(s *stream, kind Kind) Change {
	c := Change{Kind: kind, Type: typeName(s.head.Typeflag)}
	if c.Path, c.Whiteout = shown(s.path); c.Whiteout {
		c.Type = ""
	}
	return c
}

// stream is a layer that is being read.
type stream struct {
	name string
	tar  *tar.Reader
	// head is the entry that is next; nil at the end. path is its clean name.
	head *tar.Header
	path string
}

func (s *stream) next() error {
	h, err := s.tar.Next()
	if errors.Is(err, io.EOF) {
		s.head = nil
		return nil
	}
	if err != nil {
		return errdefs.With(errdefs.ErrCorrupt, fmt.Errorf("read the %s layer: %w", s.name, err))
	}
	for k := range h.PAXRecords {
		if strings.HasPrefix(k, "GNU.sparse.") { // a few bytes would make exabytes
			return errdefs.Unsupported("compare: the %s layer has a sparse file, %q", s.name, h.Name)
		}
	}
	p := strings.Trim(h.Name, "/")
	if p == "." {
		p = ""
	}
	if s.head != nil && comparePaths(s.path, p) >= 0 {
		return errdefs.Unsupported("compare: the entries of the %s layer are not sorted: %q comes after %q", s.name, p, s.path)
	}
	s.head, s.path = h, p
	return nil
}

const whiteout = ".wh."

// shown is the path that people see.
func shown(p string) (string, bool) {
	dir, base := "", p
	if i := strings.LastIndexByte(p, '/'); i >= 0 {
		dir, base = p[:i+1], p[i+1:]
	}
	if rest, ok := strings.CutPrefix(base, whiteout); ok {
		if rest == ".wh..opq" {
			return "/" + dir, true
		}
		return "/" + dir + rest, true
	}
	return "/" + p, false
}

// comparePaths orders paths as layers have them: see the package comment.
func comparePaths(a, b string) int {
	for a != b {
		if a == "" || b == "" {
			return len(a) - len(b)
		}
		x, restA, _ := strings.Cut(a, "/")
		y, restB, _ := strings.Cut(b, "/")
		if x != y {
			wx, wy := strings.HasPrefix(x, whiteout), strings.HasPrefix(y, whiteout)
			if wx != wy {
				if wx {
					return -1
				}
				return 1
			}
			return strings.Compare(x, y)
		}
		a, b = restA, restB
	}
	return 0
}

func isFile(h *tar.Header) bool { return h.Typeflag == tar.TypeReg }

func typeName(flag byte) string {
	switch flag {
	case tar.TypeReg:
		return "file"
	case tar.TypeDir:
		return "directory"
	case tar.TypeSymlink:
		return "symlink"
	case tar.TypeLink:
		return "hard link"
	case tar.TypeChar:
		return "character device"
	case tar.TypeBlock:
		return "block device"
	case tar.TypeFifo:
		return "fifo"
	}
	return "type " + strconv.QuoteRune(rune(flag))
}

// fields compares what two headers say.
func fields(a, b *tar.Header) []Field {
	var out []Field
	add := func(name, x, y string) {
		if x != y {
			out = append(out, Field{name, x, y})
		}
	}
	add("type", typeName(a.Typeflag), typeName(b.Typeflag))
	add("mode", mode(a.Mode), mode(b.Mode))
	add("owner", owner(a), owner(b))
	add("time", a.ModTime.UTC().Format(time.RFC3339Nano), b.ModTime.UTC().Format(time.RFC3339Nano))
	if isFile(a) && isFile(b) {
		add("size", strconv.FormatInt(a.Size, 10), strconv.FormatInt(b.Size, 10))
	}
	add("link", a.Linkname, b.Linkname)
	add("device", device(a), device(b))
	xa, xb := xattrs(a), xattrs(b)
	for _, k := range slices.Sorted(maps.Keys(xa)) {
		add("xattr "+k, xa[k], xb[k])
	}
	for _, k := range slices.Sorted(maps.Keys(xb)) {
		if _, both := xa[k]; !both {
			out = append(out, Field{"xattr " + k, "", xb[k]})
		}
	}
	return out
}

func mode(m int64) string { return fmt.Sprintf("%04o", m&0o7777) }

func owner(h *tar.Header) string {
	s := strconv.Itoa(h.Uid) + ":" + strconv.Itoa(h.Gid)
	if h.Uname != "" || h.Gname != "" {
		s += " (" + h.Uname + ":" + h.Gname + ")"
	}
	return s
}

func device(h *tar.Header) string {
	if h.Typeflag != tar.TypeChar && h.Typeflag != tar.TypeBlock {
		return ""
	}
	return strconv.FormatInt(h.Devmajor, 10) + "," + strconv.FormatInt(h.Devminor, 10)
}

// xattrs are extended attributes, quoted as they can have any bytes.
func xattrs(h *tar.Header) map[string]string {
	out := map[string]string{}
	for k, v := range h.PAXRecords {
		if name, ok := strings.CutPrefix(k, "SCHILY.xattr."); ok {
			out[name] = strconv.Quote(v)
		}
	}
	return out
}
