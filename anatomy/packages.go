package anatomy

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/inventory"
	"github.com/camada/camada/inventory/language"
	"github.com/camada/camada/layer"
	"github.com/camada/camada/layer/index"
)

const (
	// maxList is how big a package list may be, in bytes; maxLists how big all of an image together.
	maxList  = 128 << 20
	maxLists = 256 << 20
)

// listNodes are the files that tell of packages: by path, what shows there.
func (a *Image) listNodes() map[string]*Node {
	out := map[string]*Node{}
	for _, dir := range inventory.Dirs() {
		d, err := a.Find(dir)
		if err != nil {
			continue
		}
		for _, k := range d.Node.Children() {
			if k.top() == nil || !inventory.Wanted(dir, k.Name) {
				continue
			}
			f, err := a.Find(k.Path())
			if err != nil {
				continue
			}
			if v := f.Node.top(); v != nil && v.File() != nil && v.File().Kind == index.Reg {
				out[path.Join(dir, k.Name)] = f.Node
			}
		}
	}
	return out
}

// lists are what listNodes have in the end.
func (a *Image) lists() map[string]*Version {
	out := map[string]*Version{}
	for name, n := range a.listNodes() {
		out[name] = n.top()
	}
	return out
}

// SamePackages reports whether the files that tell of packages are the same in two images, without reading them.
func SamePackages(a, b *Image) bool {
	x, y := a.lists(), b.lists()
	if len(x) != len(y) {
		return false
	}
	for name, v := range x {
		if w := y[name]; w == nil || !sameContent(v.File(), w.File()) {
			return false
		}
	}
	same := true
	eachDifference(a.root, b.root, "/", func(name string, old, now *Version, _ []string) {
		name = strings.TrimPrefix(name, "/")
		same = same && !tells(name, old) && !tells(name, now)
	})
	return same
}

// tells reports whether a version of a path is a file that tells of packages of languages.
func tells(name string, v *Version) bool {
	if v == nil || v.File() == nil {
		return false
	}
	e := v.File()
	return e.Kind == index.Reg && language.Wanted(name, fs.FileMode(e.Mode), e.Size)
}

// layerOf is the layer that has a version's content: another one for a link to a file below.
func (a *Image) layerOf(v *Version) int {
	e := v.File()
	for i := v.Layer; i >= 0; i-- {
		if a.Layers[i].Index.Lookup(e.Path) == e {
			return i
		}
	}
	return v.Layer
}

// extract reads the wanted files of a layer, the last one of each name.
func (a *Image) extract(ctx context.Context, p content.Provider, l *Layer, want map[string][]string, into memory) error {
	r, err := layer.Open(ctx, p, l.Descriptor, l.DiffID, layer.OpenOptions{})
	if err != nil {
		return err
	}
	defer r.Close()
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			_, err = io.Copy(io.Discard, r) // at its end the layer is verified: what is found is kept for all images that have it
			return err
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
			return errdefs.Corrupt("malformed tar: %w", err)
		}
		names := want[path.Clean(strings.TrimLeft(h.Name, "/"))]
		if names == nil || h.Size > maxList {
			continue
		}
		data, err := io.ReadAll(tr)
		if err != nil {
			return err
		}
		for _, n := range names {
			into[n] = data
		}
	}
}

// memory is a file system of a few files. What else the image has is not there.
type memory map[string][]byte

// Open implements fs.FS.
func (m memory) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	if data, ok := m[name]; ok {
		return &memoryFile{info: memoryInfo{path.Base(name), int64(len(data)), false}, Reader: bytes.NewReader(data)}, nil
	}
	d := &memoryFile{info: memoryInfo{path.Base(name), 0, true}, Reader: bytes.NewReader(nil)}
	seen := map[string]bool{}
	for file, data := range m {
		rest, ok := strings.CutPrefix(file, name+"/")
		if name == "." {
			rest, ok = file, true
		}
		if !ok {
			continue
		}
		base, _, isDir := strings.Cut(rest, "/")
		if seen[base] {
			continue
		}
		seen[base] = true
		d.entries = append(d.entries, fs.FileInfoToDirEntry(memoryInfo{base, int64(len(data)), isDir}))
	}
	if len(d.entries) == 0 {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	slices.SortFunc(d.entries, func(x, y fs.DirEntry) int { return cmp.Compare(x.Name(), y.Name()) })
	return d, nil
}

type memoryFile struct {
	*bytes.Reader
	info    memoryInfo
	entries []fs.DirEntry
}

func (f *memoryFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *memoryFile) Close() error               { return nil }

// ReadDir implements fs.ReadDirFile.
func (f *memoryFile) ReadDir(n int) ([]fs.DirEntry, error) {
	out := f.entries
	if n > 0 {
		if len(out) == 0 {
			return nil, io.EOF
		}
		out = out[:min(n, len(out))]
	}
	f.entries = f.entries[len(out):]
	return out, nil
}

type memoryInfo struct {
	name string
	size int64
	dir  bool
}

func (i memoryInfo) Name() string       { return i.name }
func (i memoryInfo) Size() int64        { return i.size }
func (i memoryInfo) IsDir() bool        { return i.dir }
func (i memoryInfo) ModTime() time.Time { return time.Time{} }
func (i memoryInfo) Sys() any           { return nil }
func (i memoryInfo) Mode() fs.FileMode {
	if i.dir {
		return fs.ModeDir | 0o755
	}
	return 0o644
}

// PackageChange is a difference of the packages of two images: Old or New is "" when the package is not there.
type PackageChange struct {
	// Kind is A, D or C.
	Kind string
	Type string
	Name string
	Arch string `json:",omitempty"`
	Old  string `json:",omitempty"`
	New  string `json:",omitempty"`
}

// ComparePackages lists what two inventories differ in, sorted by type and name.
func ComparePackages(a, b inventory.Inventory) []PackageChange {
	type key struct{ typ, name, arch string }
	versions := map[key][2]string{}
	last := map[key][2]string{}
	for side, inv := range []inventory.Inventory{a, b} {
		for _, p := range inv.Packages {
			k := key{p.Type, p.Name, p.Arch}
			v, before := versions[k], last[k]
			if before[side] == p.Version { // several files tell of it; they are sorted
				continue
			}
			if v[side] != "" { // of some packages several versions are installed side by side
				v[side] += ", "
			}
			v[side] += p.Version
			before[side] = p.Version
			versions[k], last[k] = v, before
		}
	}
	var out []PackageChange
	for k, v := range versions {
		c := PackageChange{Kind: "C", Type: k.typ, Name: k.name, Arch: k.arch, Old: v[0], New: v[1]}
		switch {
		case v[0] == v[1]:
			continue
		case v[0] == "":
			c.Kind = "A"
		case v[1] == "":
			c.Kind = "D"
		}
		out = append(out, c)
	}
	slices.SortFunc(out, func(x, y PackageChange) int {
		return cmp.Or(strings.Compare(x.Type, y.Type), strings.Compare(x.Name, y.Name), strings.Compare(x.Arch, y.Arch))
	})
	return out
}
