package engine

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/camada/camada/anatomy"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/inventory"
	"github.com/camada/camada/layer/index"
	"github.com/camada/camada/snapshot"
)

// The parts of a DiffReport.
const (
	DiffFiles        = "files"
	DiffConfig       = "config"
	DiffPackages     = "packages"
	DiffInstructions = "instructions"
)

// DiffSide is one of the images of a DiffReport. Sizes are in bytes.
type DiffSide struct {
	Name   string
	Digest string
	ID     string
	Layers int
	// Size is of the layers as they are stored, Unpacked of their files.
	Size, Unpacked int64
}

// DiffReport tells what two images differ in. Parts that were not asked for are nil.
type DiffReport struct {
	Old, New     DiffSide
	Files        []anatomy.FileChange
	Config       []anatomy.FieldChange
	Packages     []anatomy.PackageChange
	Instructions []anatomy.LineChange
}

// Differs reports whether there is any difference in the parts that were asked for.
func (r *DiffReport) Differs() bool {
	return len(r.Files)+len(r.Config)+len(r.Packages)+len(r.Instructions) > 0
}

// DiffImages compares two images in the given parts; none are all.
func (e *Engine) DiffImages(ctx context.Context, a, b *Opened, parts []string) (*DiffReport, error) {
	all := []string{DiffFiles, DiffConfig, DiffPackages, DiffInstructions}
	for _, p := range parts {
		if !slices.Contains(all, p) {
			return nil, errdefs.Invalid("--only %q: want files, config, packages or instructions", p)
		}
	}
	wants := func(p string) bool { return len(parts) == 0 || slices.Contains(parts, p) }
	r := &DiffReport{Old: sideOf(a), New: sideOf(b)}
	if wants(DiffFiles) {
		if r.Files = anatomy.Compare(a.Image, b.Image); r.Files == nil {
			r.Files = []anatomy.FileChange{}
		}
	}
	if wants(DiffConfig) {
		if r.Config = anatomy.CompareConfigs(&a.Config, &b.Config); r.Config == nil {
			r.Config = []anatomy.FieldChange{}
		}
	}
	if wants(DiffInstructions) {
		if r.Instructions = anatomy.CompareHistories(a.Config.History, b.Config.History); r.Instructions == nil {
			r.Instructions = []anatomy.LineChange{}
		}
	}
	if !wants(DiffPackages) {
		return r, nil
	}
	r.Packages = []anatomy.PackageChange{}
	if anatomy.SamePackages(a.Image, b.Image) {
		return r, nil
	}
	old, err := e.packagesOf(ctx, a)
	if err != nil {
		return nil, err
	}
	now, err := e.packagesOf(ctx, b)
	if err != nil {
		return nil, err
	}
	r.Packages = append(r.Packages, anatomy.ComparePackages(old, now)...)
	return r, nil
}

func (e *Engine) packagesOf(ctx context.Context, o *Opened) (inventory.Inventory, error) {
	inv, _, err := o.PlacedPackages(ctx, o.provider, e.packageLists())
	if err != nil {
		return inv, fmt.Errorf("packages of %s: %w", o.Name, err)
	}
	return inv, nil
}

func sideOf(o *Opened) DiffSide {
	s := DiffSide{Name: o.Name, Digest: o.Descriptor.Digest.String(), ID: o.ID().String(), Layers: len(o.Layers), Unpacked: o.Image.Size()}
	for i := range o.Layers {
		s.Size += o.Layers[i].Descriptor.Size
	}
	return s
}

// ContainerChange is a line of docker diff: Kind is A, C or D.
type ContainerChange struct {
	Kind string
	Path string
}

// ContainerChanges tells what a container changed in the files of its image, sorted by path, as docker diff does; ErrNotFound
// when there is no such container.
func (e *Engine) ContainerChanges(ctx context.Context, name string) ([]ContainerChange, error) {
	c, err := e.records.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	img, err := e.openImage(ctx, e.content, c.Config.Image, "")
	if err != nil {
		return nil, fmt.Errorf("the image of container %s: %w", name, err)
	}
	a, err := anatomy.Open(ctx, e.content, e.indexes(), img)
	if err != nil {
		return nil, err
	}
	x, err := e.changesOf(ctx, c.Config.Snapshot, c.Running())
	if err != nil {
		return nil, fmt.Errorf("diff of container %s: %w", name, err)
	}
	out := []ContainerChange{}
	for i := range x.Entries {
		en := &x.Entries[i]
		ch := ContainerChange{Kind: "A", Path: "/" + en.Path}
		n := a.Lookup(en.Path)
		switch {
		case en.Kind == index.Opaque || en.Path == ".":
			continue
		case en.Kind == index.Whiteout:
			ch.Kind = "D"
		case n != nil && n.Now() != nil:
			ch.Kind = "C"
		}
		out = append(out, ch)
	}
	return out, nil
}

// changesOf lists what a snapshot has over its parent.
func (e *Engine) changesOf(ctx context.Context, id string, running bool) (*index.Index, error) {
	snaps, err := e.snapshots(ctx)
	if err != nil {
		return nil, err
	}
	pr, pw := io.Pipe()
	done := make(chan error, 1)
	go func() {
		w := bufio.NewWriterSize(pw, 256<<10)
		err := snaps.Diff(ctx, id, w, snapshot.DiffOptions{Exclude: runtimeFiles(), Shared: running})
		pw.CloseWithError(errors.Join(err, w.Flush()))
		done <- err
	}()
	x, err := index.Read(pr)
	pr.CloseWithError(io.ErrClosedPipe)
	if werr := <-done; werr != nil && !errors.Is(werr, io.ErrClosedPipe) {
		err = werr
	}
	return x, err
}
