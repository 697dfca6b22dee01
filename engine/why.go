package engine

import (
	"context"
	"strings"
	"time"

	"github.com/camada/camada/anatomy"
	"github.com/camada/camada/build/origin"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// WhyLink is a symbolic link that a path led through.
type WhyLink struct {
	Path, Target string
	// Layer counts from 1.
	Layer int
}

// WhyEvent is what one layer did to a path.
type WhyEvent struct {
	// Layer counts from 1; Digest is the blob's.
	Layer  int
	Digest string
	// Change is added, replaced, metadata, repeated or removed; What of the file is different.
	Change string
	What   []string `json:",omitempty"`
	// By is the path of the whiteout, the opaque directory or the file that removed it.
	By string `json:",omitempty"`
	// File is what the layer has there; nil when it was removed.
	File *anatomy.File `json:",omitempty"`
	// HardLinkTo is the path of the file that it is another name of.
	HardLinkTo string `json:",omitempty"`
	// Instruction is what made the layer: of the Dockerfile when the build is in the history of this store, or else as the
	// image's history has it.
	Instruction string
	Created     time.Time
	// Origin is the step of the build, nil when it is not known; Source is what a COPY or ADD took the file from.
	Origin *origin.Origin `json:",omitempty"`
	Source *origin.Source `json:",omitempty"`
}

// WhyEntry is what is in a directory, or matches a pattern.
type WhyEntry struct {
	Path string
	*anatomy.File
	// Layer, counted from 1, put its content there with Instruction.
	Layer       int
	Instruction string
}

// WhyReport tells how a path of an image came to be.
type WhyReport struct {
	Image string
	// Asked is the path or pattern that was asked for; Path is where it leads to, through Links, "" for a pattern.
	Asked, Path string
	Links       []WhyLink `json:",omitempty"`
	// Present tells that the path is there in the end; File is what it is then.
	Present bool
	File    *anatomy.File `json:",omitempty"`
	// Events are what the layers did, the oldest first.
	Events []WhyEvent `json:",omitempty"`
	// Entries are what is in a directory, or matches the pattern.
	Entries []WhyEntry `json:",omitempty"`
}

// Why tells how a path of an image came to be: which layers have it, what they did to it, and where it came from. A pattern (* ? [ and
// ** for any number of directories) lists what matches. A path that no layer ever had is ErrNotFound.
func (e *Engine) Why(ctx context.Context, o *Opened, name string) (*WhyReport, error) {
	r := &WhyReport{Image: o.Name, Asked: name}
	w := &whyer{e: e, o: o, finder: origin.New(e.history(), stacks{e})}
	if anatomy.IsPattern(name) && o.Lookup(strings.Trim(name, "/")) == nil {
		nodes, err := o.Glob(name)
		if err != nil {
			return nil, err
		}
		if len(nodes) == 0 {
			return nil, errdefs.NotFound("%s: nothing in the image matches %s", o.Name, name)
		}
		r.Present = true
		return r, w.list(ctx, r, nodes)
	}
	f, err := o.Find(name)
	for _, h := range f.Hops {
		r.Links = append(r.Links, WhyLink{"/" + h.Path, h.Target, h.Layer + 1})
	}
	if err != nil {
		return nil, err
	}
	r.Path = absolutePath(f.Node)
	v := f.Node.Now()
	r.Present, r.File = v != nil || f.Node == o.Root(), anatomy.FileOf(v)
	for i := range f.Node.Versions {
		ev, err := w.event(ctx, f.Node, i)
		if err != nil {
			return nil, err
		}
		r.Events = append(r.Events, ev)
	}
	if f.Node == o.Root() || v != nil && v.IsDir() {
		return r, w.list(ctx, r, f.Node.Children())
	}
	return r, nil
}

func absolutePath(n *anatomy.Node) string {
	if n.Parent == nil {
		return "/"
	}
	return "/" + n.Path()
}

// whyer answers one question.
type whyer struct {
	e      *Engine
	o      *Opened
	finder *origin.Finder
}

// event tells of version i of a node.
func (w *whyer) event(ctx context.Context, n *anatomy.Node, i int) (WhyEvent, error) {
	v := &n.Versions[i]
	l := &w.o.Layers[v.Layer]
	ev := WhyEvent{Layer: v.Layer + 1, Digest: l.Descriptor.Digest.String(), Change: v.Change.String(), Created: l.Created, Instruction: anatomy.Instruction(l.Instruction)}
	if v.Change == anatomy.Gone {
		ev.By = "/" + v.By
	} else {
		ev.File = anatomy.FileOf(v)
		if v.Target != nil && v.Target != v.Entry {
			ev.HardLinkTo = "/" + v.Target.Path
		}
	}
	if i > 0 && (v.Change == anatomy.Replaced || v.Change == anatomy.Meta) {
		ev.What = anatomy.Differences(&n.Versions[i-1], v)
	}
	var err error
	if ev.Origin, err = w.finder.Layer(ctx, w.o.ID(), l.ChainID); err != nil || ev.Origin == nil {
		return ev, err
	}
	ev.Instruction = ev.Origin.Instruction
	if v.Change != anatomy.Gone && v.Entry != nil {
		ev.Source, err = w.finder.Source(ctx, ev.Origin, n.Path(), v.File(), w.follow)
	}
	return ev, err
}

// follow finds where a path of the image leads to; what is not there stays as it is.
func (w *whyer) follow(p string) string {
	if f, err := w.o.Find(p); err == nil {
		return f.Node.Path()
	}
	return p
}

// list fills in the entries.
func (w *whyer) list(ctx context.Context, r *WhyReport, nodes []*anatomy.Node) error {
	names := map[int]string{}
	for _, n := range nodes {
		v := n.Now()
		if v == nil {
			continue
		}
		at := n.Source()
		if _, ok := names[at]; !ok {
			l := &w.o.Layers[at]
			names[at] = anatomy.Instruction(l.Instruction)
			found, err := w.finder.Layer(ctx, w.o.ID(), l.ChainID)
			if err != nil {
				return err
			}
			if found != nil {
				names[at] = found.Instruction
			}
		}
		r.Entries = append(r.Entries, WhyEntry{Path: absolutePath(n), File: anatomy.FileOf(v), Layer: at + 1, Instruction: names[at]})
	}
	return nil
}

// stacks opens layers of the store for package origin.
type stacks struct{ e *Engine }

// Stack implements origin.Stacks.
func (s stacks) Stack(ctx context.Context, layers []origin.LayerRef) (*anatomy.Image, error) {
	img := &image.Image{}
	for _, l := range layers {
		// The compression is told from the bytes, if they have to be read at all.
		img.Layers = append(img.Layers, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerGzip, Digest: l.Blob, Size: l.Size})
		img.DiffIDs = append(img.DiffIDs, l.DiffID)
	}
	return anatomy.Open(ctx, s.e.content, s.e.indexes(), img)
}

// Image implements origin.Stacks.
func (s stacks) Image(ctx context.Context, manifest digest.Digest) ([]origin.LayerRef, error) {
	info, err := s.e.content.Stat(ctx, manifest)
	if err != nil {
		return nil, err
	}
	var img *image.Image
	for _, mediaType := range []string{ocispec.MediaTypeImageManifest, image.DockerManifest} {
		img, err = image.Open(ctx, s.e.content, ocispec.Descriptor{MediaType: mediaType, Digest: manifest, Size: info.Size}, ocispec.Platform{})
		if err == nil {
			break
		}
	}
	if err != nil {
		return nil, errdefs.NotFound("the base image %s: %w", manifest, err)
	}
	out := make([]origin.LayerRef, len(img.Layers))
	for i, l := range img.Layers {
		out[i] = origin.LayerRef{DiffID: img.DiffIDs[i], Blob: l.Digest, Size: l.Size}
	}
	return out, nil
}
