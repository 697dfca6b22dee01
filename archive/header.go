package archive

import (
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
)

// The widest numbers of the ustar fields (POSIX pax, "ustar Interchange Format").
const (
	maxOctal7  = 1<<21 - 1
	maxOctal11 = 1<<33 - 1
	maxName    = 100
	maxPrefix  = 155
	// maxPath is the longest name that Linux can be asked for.
	maxPath = 4095
)

// Where the fields of a ustar header begin.
const (
	offName     = 0
	offMode     = 100
	offUID      = 108
	offGID      = 116
	offSize     = 124
	offMtime    = 136
	offChecksum = 148
	offType     = 156
	offLinkname = 157
	offMagic    = 257
	offDevmajor = 329
	offDevminor = 337
	offPrefix   = 345
)

// typePAX is the type of the header that carries the records of the next one.
const typePAX = 'x'

// paxXattr is the prefix under which PAX archives carry extended attributes.
const paxXattr = "SCHILY.xattr."

type paxRecord struct{ key, value string }

// encode fills w.hdr with the header blocks of e.
func (w *Writer) encode(e *Entry) error {
	if err := check(e); err != nil {
		return err
	}
	name := e.Name
	if e.Type == TypeDir {
		name += "/"
	}
	size := e.Size
	if e.Type != TypeReg {
		size = 0
	}
	w.pax = w.pax[:0]
	prefix, short, ok := splitUstar(name)
	if !ok {
		w.record("path", name)
	}
	link := e.Linkname
	if len(link) > maxName || !ascii(link) {
		w.record("linkpath", link)
		link = link[:min(len(link), maxName)]
	}
	owner, group := e.UID, e.GID
	if w.owners != nil {
		owner, group = w.owners(owner, group)
	}
	uid := w.number("uid", int64(owner), maxOctal7)
	gid := w.number("gid", int64(group), maxOctal7)
	size = w.number("size", size, maxOctal11)
	mtime := w.mtime(e.ModTime)
	for k, v := range e.Xattrs {
		w.record(paxXattr+k, v)
	}
	w.hdr = w.hdr[:0]
	if len(w.pax) > 0 {
		w.paxHeader()
	}
	b := w.block()
	copy(b[offPrefix:offPrefix+maxPrefix], prefix)
	copy(b[offName:offName+maxName], short)
	copy(b[offLinkname:offLinkname+maxName], link)
	octal(b[offMode:offMode+8], int64(e.Mode))
	octal(b[offUID:offUID+8], uid)
	octal(b[offGID:offGID+8], gid)
	octal(b[offSize:offSize+12], size)
	octal(b[offMtime:offMtime+12], mtime)
	b[offType] = e.Type
	if e.Type == TypeChar || e.Type == TypeBlock {
		octal(b[offDevmajor:offDevmajor+8], int64(e.Devmajor))
		octal(b[offDevminor:offDevminor+8], int64(e.Devminor))
	}
	seal(b)
	return nil
}

// check refuses what no tar, or no extractor, could take.
func check(e *Entry) error {
	switch {
	case e.Name == "" || e.Name[0] == '/' || e.Name[len(e.Name)-1] == '/':
		return errdefs.Invalid("tar entry %q: the name is not a clean relative path", e.Name)
	case strings.IndexByte(e.Name, 0) >= 0 || strings.IndexByte(e.Linkname, 0) >= 0:
		return errdefs.Invalid("tar entry %q: NUL in a name", e.Name)
	case len(e.Name) > maxPath || len(e.Linkname) > maxPath:
		return errdefs.Limit("tar entry %.80q...: the name is longer than %d bytes", e.Name, maxPath)
	case e.UID < 0 || e.GID < 0 || e.Size < 0 || e.Mode > 0o7777:
		return errdefs.Invalid("tar entry %q: owner %d:%d, size %d or mode %o is out of range", e.Name, e.UID, e.GID, e.Size, e.Mode)
	case e.Devmajor > maxOctal7 || e.Devminor > maxOctal7:
		return errdefs.Invalid("tar entry %q: device %d,%d is out of range", e.Name, e.Devmajor, e.Devminor)
	}
	switch e.Type {
	case TypeReg, TypeDir, TypeChar, TypeBlock, TypeFifo:
		return nil
	case TypeLink, TypeSymlink:
		if e.Linkname == "" {
			return errdefs.Invalid("tar entry %q: a link without a target", e.Name)
		}
		return nil
	}
	return errdefs.Invalid("tar entry %q: unknown type %q", e.Name, e.Type)
}

func (w *Writer) record(key, value string) {
	w.pax = append(w.pax, paxRecord{key, value})
}

// number returns n if it fits its field, and 0 with a record otherwise.
func (w *Writer) number(key string, n, limit int64) int64 {
	if n <= limit {
		return n
	}
	w.record(key, strconv.FormatInt(n, 10))
	return 0
}

// mtime returns the whole seconds for the field; a record has the rest.
func (w *Writer) mtime(t time.Time) int64 {
	sec, nsec := t.Unix(), t.Nanosecond()
	if t.IsZero() {
		sec, nsec = 0, 0
	}
	if nsec != 0 || sec < 0 || sec > maxOctal11 {
		w.record("mtime", decimal(sec, nsec))
	}
	return min(max(sec, 0), maxOctal11)
}

// decimal writes a time as PAX wants it: no trailing zeros, rounded to nothing.
func decimal(sec int64, nsec int) string {
	sign := ""
	if sec < 0 && nsec > 0 { // -1.5 s is kept as -2 s + 0.5 s
		sign, sec, nsec = "-", -(sec + 1), 1e9-nsec
	}
	s := sign + strconv.FormatInt(sec, 10)
	if nsec == 0 {
		return s
	}
	frac := strconv.Itoa(nsec)
	frac = "000000000"[:9-len(frac)] + frac
	return s + "." + strings.TrimRight(frac, "0")
}

// paxHeader appends the blocks that carry the records, sorted by key.
func (w *Writer) paxHeader() {
	sort.Slice(w.pax, func(i, j int) bool { return w.pax[i].key < w.pax[j].key })
	w.body = w.body[:0]
	for _, r := range w.pax {
		w.body = appendRecord(w.body, r)
	}
	b := w.block()
	copy(b[offName:], "././@PaxHeader")
	octal(b[offMode:offMode+8], 0o644)
	octal(b[offUID:offUID+8], 0)
	octal(b[offGID:offGID+8], 0)
	octal(b[offSize:offSize+12], int64(len(w.body)))
	octal(b[offMtime:offMtime+12], 0)
	b[offType] = typePAX
	seal(b)
	w.hdr = append(w.hdr, w.body...)
	w.hdr = append(w.hdr, zeroBlocks[:-len(w.body)&(blockSize-1)]...)
}

// appendRecord appends "length key=value\n", where length counts itself.
func appendRecord(b []byte, r paxRecord) []byte {
	n := len(r.key) + len(r.value) + 3 // space, equals sign, newline
	size := n + len(strconv.Itoa(n))
	size = n + len(strconv.Itoa(size))
	b = strconv.AppendInt(b, int64(size), 10)
	b = append(b, ' ')
	b = append(b, r.key...)
	b = append(b, '=')
	b = append(b, r.value...)
	return append(b, '\n')
}

// block appends an empty header block to w.hdr and returns it.
func (w *Writer) block() []byte {
	n := len(w.hdr)
	w.hdr = append(w.hdr, zeroBlocks[:blockSize]...)
	return w.hdr[n : n+blockSize]
}

// octal fills a field with digits and a NUL.
func octal(field []byte, n int64) {
	i := len(field) - 1
	field[i] = 0
	for i--; i >= 0; i-- {
		field[i] = '0' + byte(n&7)
		n >>= 3
	}
}

// seal writes magic and checksum.
func seal(b []byte) {
	copy(b[offMagic:], "ustar\x0000")
	copy(b[offChecksum:offChecksum+8], "        ")
	var sum int64
	for _, c := range b {
		sum += int64(c)
	}
	octal(b[offChecksum:offChecksum+7], sum)
}

// splitUstar parts a name into the prefix and name fields; not ok means that a
// record has to carry it, and short is what is left for readers without PAX.
func splitUstar(name string) (prefix, short string, ok bool) {
	if !ascii(name) {
		return "", name[:min(len(name), maxName)], false
	}
	if len(name) <= maxName {
		return "", name, true
	}
	head := name[:min(len(name)-1, maxPrefix+1)]
	i := strings.LastIndexByte(head, '/')
	if i <= 0 || len(name)-i-1 > maxName {
		return "", name[:maxName], false
	}
	return name[:i], name[i+1:], true
}

func ascii(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
