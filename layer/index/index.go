// Package index keeps, for each layer, a small list of what is in it: names, types, modes,
// owners, sizes, times, link targets, whiteouts and the SHA-256 of each file's content. It is
// made in the pass that makes the layer, and answers in milliseconds what would otherwise take a decompression:
//
//	indexes := index.Open(filepath.Join(cacheDir, "layers"))
//	l, err := indexes.Write(ctx, store, layer.WriteOptions{}, produce) // as layer.Write does
//	idx, err := indexes.Of(ctx, store, l.Descriptor, l.DiffID)         // from the file, or from the blob when there is none
//	for _, e := range idx.Entries { ... }                          // sorted by path
//
// The file of a layer is <dir>/<algorithm>-<hex of the diffID>:
//
//	"camada layer index 1\n" | diffID | count of entries | entries | CRC-32C of all before
//
//	entry: shared   how many bytes of the path are those of the entry before
//	       rest     the rest of the path
//	       kind     a byte: the kind, and flags for what follows
//	       mode
//	       uid gid          unless they are those of the entry before
//	       seconds nanos    of the time, unless it is that of the entry before
//	       size [sum]       of a regular file
//	       target           of a link
//	       major minor      of a device
//	       count {name value}   of extended attributes, if any
//
// Numbers are varints of encoding/binary (seconds signed), texts are a length and bytes, the sum is 32 bytes. A
// file that is damaged is the same as none. All of them can be removed at any time.
package index

import (
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/camada/camada/archive"
	"github.com/opencontainers/go-digest"
)

// Kind is what an entry is: a type of archive, or a mark.
type Kind byte

// The kinds.
const (
	Reg     Kind = archive.TypeReg
	Link    Kind = archive.TypeLink
	Symlink Kind = archive.TypeSymlink
	Char    Kind = archive.TypeChar
	Block   Kind = archive.TypeBlock
	Dir     Kind = archive.TypeDir
	Fifo    Kind = archive.TypeFifo
	// Whiteout says that the lower layers' entry of this path is gone.
	Whiteout Kind = 'w'
	// Opaque says that nothing of the lower layers' directory shows.
	Opaque Kind = 'o'
)

// IsMark reports whether the entry is no file, but says something of the lower layers.
func (k Kind) IsMark() bool { return k == Whiteout || k == Opaque }

// String is a word for people.
func (k Kind) String() string {
	switch k {
	case Reg:
		return "file"
	case Link:
		return "hard link"
	case Symlink:
		return "symbolic link"
	case Char:
		return "character device"
	case Block:
		return "block device"
	case Dir:
		return "directory"
	case Fifo:
		return "named pipe"
	case Whiteout:
		return "whiteout"
	case Opaque:
		return "opaque directory"
	}
	return "unknown"
}

// Entry is one member of a layer. Entries of an index share memory: they are read only.
type Entry struct {
	// Path is clean, relative and without a slash at its end; "." is the root directory. Of a
	// mark it is the path that it speaks of.
	Path string
	// Link is the target of a symbolic link, as it is, or the path of the file that a hard link is another name of.
	Link string
	// Size of a regular file in bytes.
	Size int64
	// Sec and Nsec are the modification time since 1970.
	Sec  int64
	Nsec uint32
	// Mode has the permission, setuid, setgid and sticky bits.
	Mode     uint32
	UID, GID uint32
	// Major and Minor are a device's numbers.
	Major, Minor uint32
	// Sum is the SHA-256 of a regular file's content; it counts when HasSum is set.
	Sum    [32]byte
	HasSum bool
	Kind   Kind
	// Xattrs are the extended attributes by full name; nil for none.
	Xattrs map[string]string
}

// Time is the modification time in UTC.
func (e *Entry) Time() time.Time { return time.Unix(e.Sec, int64(e.Nsec)).UTC() }

// Digest is the digest of a regular file's content; "" for others.
func (e *Entry) Digest() digest.Digest {
	if !e.HasSum {
		return ""
	}
	return digest.NewDigestFromBytes(digest.SHA256, e.Sum[:])
}

// Index lists a layer.
type Index struct {
	// Entries are sorted by Compare; of a path there is at most one mark of each kind and one other entry.
	Entries []Entry
}

// Size is the sum of the sizes of the files, in bytes.
func (x *Index) Size() int64 {
	var n int64
	for i := range x.Entries {
		n += x.Entries[i].Size
	}
	return n
}

// At returns the entries of a path: marks first. The slice is part of the index.
func (x *Index) At(path string) []Entry {
	lo := sort.Search(len(x.Entries), func(i int) bool { return Compare(x.Entries[i].Path, path) >= 0 })
	hi := lo
	for hi < len(x.Entries) && x.Entries[hi].Path == path {
		hi++
	}
	return x.Entries[lo:hi]
}

// Lookup returns the entry of a path that is no mark; nil for none.
func (x *Index) Lookup(path string) *Entry {
	at := x.At(path)
	if n := len(at); n > 0 && !at[n-1].Kind.IsMark() {
		return &at[n-1]
	}
	return nil
}

// Compare orders paths so that a directory comes right before what is in it. The root is the first.
func Compare(a, b string) int {
	switch {
	case a == b:
		return 0
	case a == ".":
		return -1
	case b == ".":
		return 1
	}
	for i := range min(len(a), len(b)) {
		x, y := a[i], b[i]
		switch {
		case x == y:
		case x == '/':
			return -1
		case y == '/':
			return 1
		default:
			return int(x) - int(y)
		}
	}
	return len(a) - len(b)
}

// compare orders entries: by path, opaque, whiteout, file.
func compare(a, b *Entry) int {
	if c := Compare(a.Path, b.Path); c != 0 {
		return c
	}
	return rank(a.Kind) - rank(b.Kind)
}

func rank(k Kind) int {
	switch k {
	case Opaque:
		return 0
	case Whiteout:
		return 1
	}
	return 2
}

// arrange sorts entries that came in the order of a tar. Of those that say the same of one
// path the last one counts, as when a layer is unpacked.
func arrange(entries []Entry) []Entry {
	sorted := true
	for i := 1; i < len(entries) && sorted; i++ {
		sorted = compare(&entries[i-1], &entries[i]) < 0
	}
	if sorted {
		return entries
	}
	order := make([]int32, len(entries))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int {
		if c := compare(&entries[a], &entries[b]); c != 0 {
			return c
		}
		return int(a - b)
	})
	out := make([]Entry, 0, len(entries))
	var replaced []string // what was a directory first and is a file in the end
	var at []int32
	for _, i := range order {
		e := entries[i]
		if n := len(out); n > 0 && compare(&out[n-1], &e) == 0 {
			if out[n-1].Kind == Dir && e.Kind != Dir {
				replaced, at = append(replaced, e.Path), append(at, i)
			}
			out[n-1] = e
			continue
		}
		// What came into the directory before it became a file went with it.
		if n := len(replaced); n > 0 && i < at[n-1] && strings.HasPrefix(e.Path, replaced[n-1]+"/") {
			continue
		}
		out = append(out, e)
	}
	return out
}
