package secret

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/flate"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"path"
	"strings"
	"sync/atomic"

	"github.com/camada/camada/archive/compression"
	"github.com/camada/camada/errdefs"
)

// What is looked at of the archives in one file.
const (
	// maxNested is how many archives may lie in each other. A compressed tar is two.
	maxNested = 6
	// maxUnpacked is how much may come out of them, in bytes; maxRatio how many times what went in, after the first ratioAfter bytes.
	maxUnpacked = 1 << 30
	maxRatio    = 200
	ratioAfter  = 64 << 20
	// maxMembers is how many files may be in them.
	maxMembers = 100_000
	// maxLayerUnpacked and maxLayerMembers are that of all files of a layer together.
	maxLayerUnpacked = 8 << 30
	maxLayerMembers  = 1_000_000
	// maxName is how long the path of a file is told, in bytes: those in archives stand one behind the other, and a tar can have names of a megabyte.
	maxName = 8 << 10
)

// Inside stands between the path of an archive and that of a file in it, as in the URLs of Java.
const Inside = "!/"

// dig is the look into one file and the archives in it.
type dig struct {
	s *Scanner
	// left is how much may still come out. Compressed files are unpacked ahead, so that several look at it at once.
	left atomic.Int64
	// members is how many files may still be in them.
	members int
	// before is how many findings other files of the layer have.
	before int
	// over is set when a limit has ended what came out of an archive.
	over atomic.Bool
	res  Result
}

// File is Scan, and looks into archives and compressed files too: tar, zip and what is built on it (jar, war, wheel), gzip, bzip2, xz and zstd. A file in an archive has the
// path ARCHIVE!/PATH. What is malformed is looked at as far as it goes.
func (s *Scanner) File(ctx context.Context, r io.Reader, name string) (Result, error) {
	return newDig(s).file(ctx, r, name)
}

func newDig(s *Scanner) *dig {
	return budget{maxUnpacked, maxMembers}.dig(s)
}

// budget is how much of archives is still looked at in all files of a layer, in bytes and files.
type budget struct {
	bytes   int64
	members int
}

// dig looks into one file with what its layer has left.
func (b budget) dig(s *Scanner) *dig {
	d := &dig{s: s, members: min(b.members, maxMembers)}
	d.left.Store(min(b.bytes, maxUnpacked))
	return d
}

// spend takes off what a dig has used.
func (b *budget) spend(d *dig) {
	b.bytes -= min(b.bytes, maxUnpacked) - max(d.left.Load(), 0)
	b.members -= min(b.members, maxMembers) - max(d.members, 0)
}

// file looks at the file that the dig is for.
func (d *dig) file(ctx context.Context, r io.Reader, name string) (Result, error) {
	err := d.look(ctx, r, told(name), name, 0)
	if d.over.Load() {
		d.close(told(name))
	}
	return d.res, err
}

// close notes an archive that was not looked into to its end; the last of too many is the file that they are all in.
func (d *dig) close(name string) {
	switch n := len(d.res.Closed); {
	case n == MaxFindings-1:
		name, _, _ = strings.Cut(name, Inside)
		fallthrough
	case n < MaxFindings:
		d.res.Closed = append(d.res.Closed, name)
	}
}

// look reads r to its end. as is the name that rules see, without the endings of compressed files.
func (d *dig) look(ctx context.Context, r io.Reader, name, as string, depth int) error {
	br := bufio.NewReaderSize(r, 4<<10)
	head, err := br.Peek(512)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	open := d.opener(head)
	if open == nil {
		return d.scan(ctx, br, name, as)
	}
	if depth == maxNested {
		d.close(name)
		return d.scan(ctx, br, name, as)
	}
	err = open(ctx, br, name, as, depth+1)
	if d.over.Swap(false) || errdefs.IsLimit(err) {
		d.close(name)
	}
	if err != nil && !errdefs.IsLimit(err) && !errdefs.IsCorrupt(err) {
		return err
	}
	_, err = io.Copy(io.Discard, br) // an error of r itself comes again
	return err
}

type opener func(ctx context.Context, br *bufio.Reader, name, as string, depth int) error

// opener tells by its first bytes what opens a file; nil for one that is no archive.
func (d *dig) opener(head []byte) opener {
	switch {
	case bytes.HasPrefix(head, []byte("PK\x03\x04")):
		return d.zip
	case len(head) >= 262 && string(head[257:262]) == "ustar":
		return d.tar
	case bytes.HasPrefix(head, []byte("BZh")) && (len(head) < 10 || string(head[4:10]) != "1AY&SY" && string(head[4:10]) != "\x17\x72\x45\x38\x50\x90"):
		return nil // a text can begin so; of bzip2 a block follows, or the end
	case compression.Detect(head) != compression.None:
		return d.packed
	}
	return nil
}

func (d *dig) scan(ctx context.Context, r io.Reader, name, as string) error {
	res, err := d.s.scan(ctx, r, as, max(0, min(MaxFindings, MaxTotal-d.before)-len(d.res.Findings)))
	for i := range res.Findings {
		res.Findings[i].Path = name
	}
	d.res.Findings = append(d.res.Findings, res.Findings...)
	d.res.More = d.res.More || res.More
	return err
}

// packed looks into a compressed file.
func (d *dig) packed(ctx context.Context, br *bufio.Reader, name, as string, depth int) error {
	z, err := compression.NewReader(br, compression.Limits{MaxBytes: max(d.left.Load(), 1), MaxRatio: maxRatio, RatioAfter: ratioAfter})
	if err != nil {
		return err
	}
	defer z.Close()
	switch path.Ext(as) {
	case ".gz", ".bz2", ".xz", ".zst":
		as = strings.TrimSuffix(as, path.Ext(as))
	}
	return d.look(ctx, &unpacked{z, d}, name, as, depth)
}

// unpacked counts what comes out of archives. Where it is malformed, or comes to a limit, it ends: what came until then is looked at.
type unpacked struct {
	r io.Reader
	d *dig
}

func (u *unpacked) Read(p []byte) (int, error) {
	left := u.d.left.Load()
	if left <= 0 {
		u.d.over.Store(true)
		return 0, io.EOF
	}
	n, err := u.r.Read(p[:min(int64(len(p)), left)])
	u.d.left.Add(-int64(n))
	var bad flate.CorruptInputError
	switch {
	case errdefs.IsLimit(err):
		u.d.over.Store(true)
		return n, io.EOF
	case errdefs.IsCorrupt(err), errors.As(err, &bad), errors.Is(err, io.ErrUnexpectedEOF): // what is wrong with the file itself comes again
		return n, io.EOF
	}
	return n, err
}

// member looks into one file of an archive.
func (d *dig) member(ctx context.Context, r io.Reader, archive, name string, depth int) error {
	if d.members--; d.members < 0 {
		return errdefs.Limit("more than %d files are in the archives of a file, or %d in those of a layer", maxMembers, maxLayerMembers)
	}
	name = archive + Inside + strings.TrimPrefix(path.Clean("/"+name), "/")
	return d.look(ctx, r, told(name), name, depth)
}

// told is a path as far as it is told.
func told(name string) string {
	if len(name) > maxName {
		return strings.ToValidUTF8(name[:maxName], "") + "..."
	}
	return name
}

// content is what a file in a tar has; nil when it is no file, or empty. What unpacks layers takes contiguous and sparse files for files, too. A sparse one can say of itself that it is bigger than all disks:
// of its zeros no more is read than of what an archive has.
func (d *dig) content(tr *tar.Reader, h *tar.Header) io.Reader {
	switch {
	case h.Size == 0 || h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeCont && h.Typeflag != tar.TypeGNUSparse:
		return nil
	case h.Typeflag == tar.TypeGNUSparse || h.PAXRecords["GNU.sparse.map"] != "" || h.PAXRecords["GNU.sparse.major"] != "":
		return &unpacked{tr, d}
	}
	return cutOff{tr}
}

// cutOff is a file in a tar that may be cut off in it, where it ends: what came until then is looked at. When it is what the tar lies in that is cut off, that error comes again.
type cutOff struct{ r io.Reader }

func (c cutOff) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	return n, err
}

func (d *dig) tar(ctx context.Context, br *bufio.Reader, name, _ string, depth int) error {
	tr := tar.NewReader(br)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
			return errdefs.Corrupt("malformed tar: %w", err)
		}
		r := d.content(tr, h)
		if r == nil {
			continue
		}
		if err := d.member(ctx, r, name, h.Name, depth); err != nil {
			return err
		}
	}
}

// local is the header that stands before each file of a zip archive (APPNOTE.TXT, 4.3.7).
type local struct {
	flags, method uint16
	size          int64 // of what is stored; -1 when that stands behind it
	name          string
}

// zip goes through an archive from its beginning, so that it need not be held. What is not understood ends it, and is looked at as it is.
func (d *dig) zip(ctx context.Context, br *bufio.Reader, name, as string, depth int) error {
	inflate := flate.NewReader(br)
	for {
		h, read, ok := readLocal(br)
		if !ok {
			return d.scan(ctx, io.MultiReader(bytes.NewReader(read), br), name, as)
		}
		inflated := h.method == 8 && h.flags&1 == 0 // bit 0: it is encrypted
		if !inflated && h.size < 0 {
			return d.scan(ctx, br, name, as)
		}
		var err error
		if stored := io.LimitReader(br, h.size); inflated {
			if err := inflate.(flate.Resetter).Reset(br, nil); err != nil {
				return err
			}
			err = d.zipped(ctx, inflate, name, h.name, depth)
		} else {
			switch {
			case h.flags&1 != 0: // without its password nobody reads it
			case h.method == 0:
				err = d.zipped(ctx, stored, name, h.name, depth)
			default: // packed in a way that is not known here
				d.close(told(name + Inside + h.name))
			}
			if err == nil {
				_, err = io.Copy(io.Discard, stored)
			}
		}
		if err != nil {
			return err
		}
		if h.flags&8 != 0 && !skipDescriptor(br) {
			return d.scan(ctx, br, name, as)
		}
	}
}

// zipped looks into one file of a zip archive, and reads it to its end.
func (d *dig) zipped(ctx context.Context, r io.Reader, archive, name string, depth int) error {
	r = &unpacked{r, d}
	if strings.HasSuffix(name, "/") {
		_, err := io.Copy(io.Discard, r)
		return err
	}
	return d.member(ctx, r, archive, name, depth)
}

// readLocal reads the header of the next file; ok is false when there is none, and read is what was read all the same.
func readLocal(br *bufio.Reader) (h local, read []byte, ok bool) {
	b, err := br.Peek(30)
	if err != nil || string(b[:4]) != "PK\x03\x04" {
		return h, nil, false
	}
	le := binary.LittleEndian
	h.flags, h.method = le.Uint16(b[6:]), le.Uint16(b[8:])
	size, nameLen, extraLen := le.Uint32(b[18:]), int(le.Uint16(b[26:])), int(le.Uint16(b[28:]))
	h.size = int64(size)
	rest := make([]byte, 30+nameLen+extraLen)
	if n, err := io.ReadFull(br, rest); err != nil {
		return h, rest[:n], false
	}
	h.name = string(rest[30 : 30+nameLen])
	for extra := rest[30+nameLen:]; size == 1<<32-1 && len(extra) >= 4; {
		n := int(le.Uint16(extra[2:]))
		if len(extra) < 4+n {
			break
		}
		if le.Uint16(extra) == 1 && n >= 16 { // Zip64: how big it is, and how much is stored
			h.size = int64(le.Uint64(extra[12:]) & (1<<63 - 1))
			break
		}
		extra = extra[4+n:]
	}
	if h.flags&8 != 0 && h.size == 0 {
		h.size = -1
	}
	return h, nil, true
}

// skipDescriptor reads what stands behind a file whose size was not known before (4.3.9): with a signature or without, sizes of four bytes or of eight.
func skipDescriptor(br *bufio.Reader) bool {
	b, _ := br.Peek(4 + 4 + 16 + 2)
	at := 0
	if bytes.HasPrefix(b, []byte("PK\x07\x08")) {
		at = 4
	}
	for _, n := range []int{at + 12, at + 20, 12} {
		if len(b) >= n+2 && string(b[n:n+2]) == "PK" {
			_, err := br.Discard(n)
			return err == nil
		}
	}
	return false
}
