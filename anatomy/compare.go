package anatomy

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/camada/camada/layer/index"
	"github.com/opencontainers/go-digest"
)

// File is what is told of one side of a changed file.
type File struct {
	Type   string
	Mode   string // octal
	UID    uint32
	GID    uint32
	Size   int64         `json:",omitempty"`
	Digest digest.Digest `json:",omitempty"`
	// Link is the target of a symbolic link; Device the numbers of a device.
	Link   string            `json:",omitempty"`
	Device string            `json:",omitempty"`
	Xattrs map[string]string `json:",omitempty"`
}

// FileOf describes a version; nil for nil.
func FileOf(v *Version) *File {
	if v == nil {
		return nil
	}
	e := v.File()
	if e == nil { // a directory that is only implied
		return &File{Type: index.Dir.String(), Mode: "0755"}
	}
	f := &File{Type: e.Kind.String(), Mode: fmt.Sprintf("%04o", e.Mode), UID: e.UID, GID: e.GID, Size: e.Size, Digest: e.Digest(), Link: e.Link, Xattrs: e.Xattrs}
	if e.Kind == index.Char || e.Kind == index.Block {
		f.Device = fmt.Sprintf("%d,%d", e.Major, e.Minor)
	}
	return f
}

// FileChange is a difference of one path.
type FileChange struct {
	// Kind is A, D or C, as docker diff has it.
	Kind string
	Path string
	// What of a changed file differs: type, content, link, device, mode, owner, xattrs.
	What     []string `json:",omitempty"`
	Old, New *File    `json:",omitempty"`
}

// Compare lists the differences between the files of two images, sorted by path. Times are no difference. Of a directory that one image
// does not have, all that is in it is listed.
func Compare(a, b *Image) []FileChange {
	var out []FileChange
	eachDifference(a.root, b.root, "/", func(name string, old, now *Version, what []string) {
		kind := "C"
		switch {
		case old == nil:
			kind = "A"
		case now == nil:
			kind = "D"
		}
		out = append(out, FileChange{Kind: kind, Path: name, What: what, Old: FileOf(old), New: FileOf(now)})
	})
	slices.SortFunc(out, func(x, y FileChange) int {
		return cmp.Or(index.Compare(strings.TrimPrefix(x.Path, "/"), strings.TrimPrefix(y.Path, "/")), strings.Compare(x.Kind, y.Kind))
	})
	return out
}

// eachDifference calls fn for each path that two nodes, each of which may be nil, differ in, themselves and below them, in no order: with what is there, nil for nothing, and what of it differs.
func eachDifference(a, b *Node, name string, fn func(name string, old, now *Version, what []string)) {
	va, vb := now(a), now(b)
	if va == nil && vb == nil && name != "/" {
		return
	}
	switch {
	case va == nil && vb == nil: // the root, of which no layer says anything
	case va == nil || vb == nil:
		if name != "/" {
			fn(name, va, vb, nil)
		}
	default:
		if what := Differences(va, vb); len(what) > 0 {
			fn(name, va, vb, what)
		}
	}
	names := map[string]bool{}
	for _, n := range []*Node{a, b} {
		if n != nil {
			for k := range n.kids {
				names[k] = true
			}
		}
	}
	for k := range names {
		var ka, kb *Node
		if a != nil {
			ka = a.kids[k]
		}
		if b != nil {
			kb = b.kids[k]
		}
		eachDifference(ka, kb, path.Join(name, k), fn)
	}
}

func now(n *Node) *Version {
	if n == nil {
		return nil
	}
	return n.top()
}

// Differences names what two versions of a path differ in: type, or content, link, device, mode, owner, xattrs. Either may be Gone.
func Differences(x, y *Version) (what []string) {
	if x.Change == Gone || y.Change == Gone {
		return nil
	}
	a, b := x.File(), y.File()
	if a == nil || b == nil {
		if x.IsDir() != y.IsDir() {
			return []string{"type"}
		}
		return nil // of an implied directory nothing is known
	}
	if a.Kind != b.Kind {
		return []string{"type"}
	}
	if !sameContent(a, b) {
		switch a.Kind {
		case index.Reg:
			what = append(what, "content")
		case index.Char, index.Block:
			what = append(what, "device")
		default:
			what = append(what, "link")
		}
	}
	if a.Mode != b.Mode && a.Kind != index.Symlink {
		what = append(what, "mode")
	}
	if a.UID != b.UID || a.GID != b.GID {
		what = append(what, "owner")
	}
	if !maps.Equal(a.Xattrs, b.Xattrs) {
		what = append(what, "xattrs")
	}
	return what
}
