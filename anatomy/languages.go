package anatomy

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"runtime"
	"slices"
	"strings"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/inventory"
	"github.com/camada/camada/inventory/language"
	"github.com/camada/camada/layer"
	"github.com/camada/camada/layer/index"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
)

// Told is what the files of one layer tell of packages of languages, whether they show in an image or not.
type Told struct {
	// Files are the packages by the path of the file, which is clean and relative.
	Files map[string][]inventory.Package `json:"files,omitempty"`
	// Projects are Maven's, which mean something together only.
	Projects map[string]*language.Project `json:"projects,omitempty"`
	// Licenses are those of Debian's packages, by the path of the file that names them.
	Licenses map[string]string `json:"licenses,omitempty"`
	// Unread are files that could not be read.
	Unread []string `json:"unread,omitempty"`
	// Functions are those of the programs of Go, by their paths. They are kept apart, one program for itself, and Kept.Told leaves them out; Programs has the paths then too.
	Functions map[string]*language.Functions `json:"-"`
	Programs  []string                       `json:"programs,omitempty"`
}

// readers is how many layers are read at once: each may hold a program in memory.
const readers = 4

// Trees opens the tree that the layers up to one (from 0) make, where it is unpacked. The caller calls done.
type Trees func(ctx context.Context, layer int) (tree fs.FS, done func(), err error)

// PlaceLanguages adds the packages of languages to those of the system, which PlacedLists or a Placer told. Files are read in trees, which may be nil, or else, and when anything is
// not as the layer has it, in the layers.
func (a *Image) PlaceLanguages(ctx context.Context, p content.Provider, kept Kept, trees Trees, inv inventory.Inventory, layers []int) (inventory.Inventory, []int, error) {
	told := make([]*Told, len(a.Layers))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(min(runtime.GOMAXPROCS(0), readers))
	for i := range a.Layers {
		g.Go(func() (err error) {
			if told[i], err = a.told(gctx, i, p, kept, trees); err != nil {
				return fmt.Errorf("read the packages of layer %d: %w", i+1, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return inv, nil, err
	}
	type placed struct {
		inventory.Package
		layer int
	}
	all := make([]placed, 0, len(inv.Packages))
	for i, x := range inv.Packages {
		if x.License == "" {
			x.License = a.license(told, &x)
		}
		all = append(all, placed{x, layers[i]})
	}
	add := func(pkgs []inventory.Package, since []int) error {
		for j := range pkgs {
			all = append(all, placed{pkgs[j], since[j]})
		}
		if len(all) > inventory.MaxPackages {
			return errdefs.Limit("more than %d packages", inventory.MaxPackages)
		}
		return nil
	}
	for i, t := range told {
		for _, name := range slices.Sorted(maps.Keys(t.Files)) {
			n := a.shows(name, i)
			if n == nil {
				continue
			}
			if err := add(t.Files[name], a.since(n, told, t.Files[name])); err != nil {
				return inv, nil, err
			}
		}
		for _, name := range t.Unread {
			if a.shows(name, i) != nil {
				inv.Unread = append(inv.Unread, name)
			}
		}
	}
	byProject, unread, err := language.Resolve(a.projects(told))
	if err != nil {
		return inv, nil, err
	}
	inv.Unread = append(inv.Unread, unread...)
	for _, name := range slices.Sorted(maps.Keys(byProject)) {
		since := slices.Repeat([]int{a.Lookup(name).Now().Layer}, len(byProject[name]))
		if err := add(byProject[name], since); err != nil {
			return inv, nil, err
		}
	}
	slices.SortStableFunc(all, func(x, y placed) int { return inventory.Compare(x.Package, y.Package) })
	inv.Packages, layers = make([]inventory.Package, len(all)), make([]int, len(all))
	for i := range all {
		inv.Packages[i], layers[i] = all[i].Package, all[i].layer
	}
	return inv, layers, nil
}

// projects are those that show in the image, by path.
func (a *Image) projects(told []*Told) map[string]*language.Project {
	out := map[string]*language.Project{}
	for i, t := range told {
		for name, p := range t.Projects {
			if a.shows(name, i) != nil {
				out[name] = p
			}
		}
	}
	return out
}

// license is what the file says that shows where a package's licences are told.
func (a *Image) license(told []*Told, p *inventory.Package) string {
	name := inventory.LicenseFile(p)
	if name == "" {
		return ""
	}
	f, err := a.Find(name) // through links: some packages share their directory
	if err != nil {
		return ""
	}
	v := f.Node.Now()
	if v == nil || v.File() == nil {
		return ""
	}
	return told[a.layerOf(v)].Licenses[v.File().Path]
}

// shows returns the node of a path whose content in the image is that of a layer's file of this path; nil when it is not.
func (a *Image) shows(name string, layer int) *Node {
	n := a.Lookup(name)
	if n == nil {
		return nil
	}
	v := n.Now()
	if v == nil || v.File() == nil || v.File().Path != name || a.layerOf(v) != layer {
		return nil
	}
	return n
}

// Holder is the diffID of the layer that has the content of a file of this path, and no other path; "" when none has.
func (a *Image) Holder(name string) digest.Digest {
	for i := range a.Layers {
		if a.shows(name, i) != nil {
			return a.Layers[i].DiffID
		}
	}
	return ""
}

// since tells for each package of a file which layer is the first from which on the file has it.
func (a *Image) since(n *Node, told []*Told, pkgs []inventory.Package) []int {
	out := make([]int, len(pkgs))
	open := make(map[string]int, len(pkgs)) // those that the layers so far have, going down
	for j := range pkgs {
		out[j] = n.Now().Layer
		open[pkgs[j].PURL] = j
	}
	for k := len(n.Versions) - 1; k >= 0 && len(open) > 0; k-- {
		v := &n.Versions[k]
		f := v.File()
		if v.Change == Gone || f == nil || f.Kind != index.Reg {
			break
		}
		have := map[string]int{}
		for _, x := range told[a.layerOf(v)].Files[f.Path] {
			if j, ok := open[x.PURL]; ok {
				have[x.PURL] = j
				out[j] = v.Layer
			}
		}
		open = have
	}
	return out
}

// told reads what a layer's files tell, or takes it from what was kept.
func (a *Image) told(ctx context.Context, i int, p content.Provider, kept Kept, trees Trees) (*Told, error) {
	l := &a.Layers[i]
	want := map[string]int64{} // sizes
	for i := range l.Index.Entries {
		if e := &l.Index.Entries[i]; e.Kind == index.Reg && (language.Wanted(e.Path, fs.FileMode(e.Mode), e.Size) || inventory.IsLicenseFile(e.Path)) {
			want[e.Path] = e.Size
		}
	}
	if len(want) == 0 {
		return &Told{}, nil
	}
	if kept != nil {
		if t := kept.Told(l.DiffID); t != nil {
			return t, nil
		}
	}
	var t *Told
	if trees != nil {
		t = readTree(ctx, i, trees, want)
	}
	if t == nil {
		var err error
		if t, err = l.readTold(ctx, p, want); err != nil {
			return nil, err
		}
	}
	t.Programs = slices.Sorted(maps.Keys(t.Functions))
	if kept != nil {
		return t, kept.PutTold(l.DiffID, t)
	}
	return t, nil
}

// readTree is readTold of a layer that is unpacked; nil when it is not, or a file is not the layer's.
func readTree(ctx context.Context, layer int, trees Trees, want map[string]int64) *Told {
	tree, done, err := trees(ctx, layer)
	if err != nil {
		return nil
	}
	defer done()
	t := newTold()
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if ctx.Err() != nil || t.readIn(tree, name, want[name]) != nil {
			return nil
		}
	}
	return t
}

func newTold() *Told {
	return &Told{Files: map[string][]inventory.Package{}, Projects: map[string]*language.Project{}, Licenses: map[string]string{}, Functions: map[string]*language.Functions{}}
}

// add reads a file. What is wrong with it is noted; an error is of r.
func (t *Told) add(name string, r io.Reader, size int64) error {
	if inventory.IsLicenseFile(name) {
		license, err := inventory.License(r)
		if license != "" {
			t.Licenses[name] = license
		}
		return err
	}
	file, err := language.ParseFrom(name, r, size, true)
	if err != nil {
		if !errdefs.IsInvalid(err) && !errdefs.IsLimit(err) {
			return err
		}
		t.Unread = append(t.Unread, name)
	}
	if file.Project != nil {
		t.Projects[name] = file.Project
	}
	if len(file.Packages) > 0 { // of an archive that is broken in part as well
		t.Files[name] = file.Packages
		if file.Functions != nil {
			t.Functions[name] = file.Functions
		}
	}
	return nil
}

// errOther says that a file is not what the layer has.
var errOther = errors.New("another file")

func (t *Told) readIn(tree fs.FS, name string, size int64) error {
	if info, err := fs.Lstat(tree, name); err != nil || !info.Mode().IsRegular() || info.Size() != size {
		return errOther
	}
	f, err := tree.Open(name)
	if err != nil {
		return errOther
	}
	defer f.Close()
	return t.add(name, f, size)
}

func (l *Layer) readTold(ctx context.Context, p content.Provider, want map[string]int64) (*Told, error) {
	r, err := layer.Open(ctx, p, l.Descriptor, l.DiffID, layer.OpenOptions{})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	t := newTold()
	packages, projects := 0, 0
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
			return nil, errdefs.Corrupt("malformed tar: %w", err)
		}
		name := path.Clean(strings.TrimLeft(h.Name, "/"))
		if _, ok := want[name]; !ok || !isFile(h) {
			continue
		}
		// Of a name that is there twice the last one counts.
		delete(t.Files, name)
		delete(t.Projects, name)
		delete(t.Licenses, name)
		delete(t.Functions, name)
		t.Unread = slices.DeleteFunc(t.Unread, func(s string) bool { return s == name })
		if err := t.add(name, tr, h.Size); err != nil {
			return nil, err
		}
		packages += len(t.Files[name])
		if p := t.Projects[name]; p != nil {
			projects += p.Size()
		}
		if packages > inventory.MaxPackages || projects > language.MaxProjects {
			return nil, errdefs.Limit("more than %d packages", inventory.MaxPackages)
		}
	}
	if _, err := io.Copy(io.Discard, r); err != nil { // at its end the layer is verified: what it tells is kept for all images that have it
		return nil, err
	}
	slices.Sort(t.Unread)
	return t, nil
}
