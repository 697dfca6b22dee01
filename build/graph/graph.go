// Package graph turns a Dockerfile into the graph of the steps that a build of
// one target needs.
//
//	g, err := graph.Build(ctx, file, graph.Options{Images: images, Target: "app"})
//	for _, v := range g.Vertices { ... } // parents and sources come first
//
// Stages that the target does not need have no vertices, and their base
// images are not asked for. All variables are expanded and the image's config is
// complete, but for what only executing the steps can tell: the layers.
package graph

import (
	"context"

	"github.com/camada/camada/build/op"
	"github.com/camada/camada/dockerfile"
	"github.com/camada/camada/image"
	"github.com/camada/camada/platform"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Base is an image that a vertex starts from.
type Base struct {
	Name     string
	Manifest ocispec.Descriptor
	Image    image.Config
	// Layers are as many as Image.RootFS.DiffIDs, the lowest first.
	Layers []ocispec.Descriptor
	// Annotations are those of the manifest.
	Annotations map[string]string
}

// Images finds base images; ErrNotFound when there is none.
type Images interface {
	Base(ctx context.Context, name string, p ocispec.Platform) (*Base, error)
}

// Vertex is one step: either a Base or an Op.
type Vertex struct {
	// ID is the vertex's place in Graph.Vertices.
	ID int
	// Name is what people call the step, e.g. "[build 2/5] RUN make".
	Name string
	// Parent is below it, nil for an empty file system.
	Parent *Vertex
	// Sources are what it reads besides Parent, each once; a nil element stands for an empty
	// file system. An *op.Copy with From has one: what it copies from.
	Sources []*Vertex
	// Context is the name of the named context that an *op.Copy without From reads; "" is the build context.
	Context string
	// Base is set for a vertex that is an image.
	Base *Base
	// Op is set for all others.
	Op op.Op
	// Stage is the name of the stage that it belongs to, or its number when it has none.
	Stage string
	// Args are the names of the ARGs that were declared before the step.
	Args []string
	// Location is where it stands in the Dockerfile.
	Location []parser.Range
	// Trigger says, for messages, which ONBUILD trigger of which base the step is; "" for none.
	Trigger string
}

// Graph is what a build has to do.
type Graph struct {
	// Vertices in an order in which each comes after those that it needs.
	Vertices []*Vertex
	// Target is the result; nil is an image without layers.
	Target *Vertex
	// Image is the result's config without RootFS.DiffIDs. History entries
	// from NewHistory on were made by this Dockerfile; their Created is not set.
	Image      image.Config
	NewHistory int
	// Base is the image at the bottom of the target; nil for scratch.
	Base *Base
	// Outline is what the build can be given.
	Outline Outline
	// Docs are the descriptions that comments give, by dockerfile.DocKey, with those that the base has; nil for none.
	Docs map[string]string
	// Texts are what the instructions of all stages that are needed put into configs and histories.
	Texts []Text
}

// Options choose what of the Dockerfile is built.
type Options struct {
	Images Images
	// Contexts finds named contexts; nil knows none.
	Contexts Contexts
	// Target is a stage's name or number; "" is the last.
	Target string
	// Args are the user's values for ARG.
	Args map[string]string
	// Platform is what to build for; nil is the host's.
	Platform *ocispec.Platform
	// Prefix stands before the stage in the names of steps: the platform, when several are built at once.
	Prefix string
	// Network of RUN steps that do not say otherwise.
	Network op.Network
	// AllStages reads the stages that the target does not need too, so that the build checks see all of the file.
	AllStages bool
	// Ignored tells whether the .dockerignore file leaves a path of the context out for sure; nil is a context without one.
	Ignored func(path string) bool
	// Settings of all RUN steps.
	Settings op.Settings
	// Allow is what RUN steps may ask for.
	Allow Entitlements
	// Foreign tells whether programs of another platform can be executed; nil is of none. A stage whose base image is for such
	// a platform is for that platform, when nobody chose one.
	Foreign func(ocispec.Platform) bool
}

// Build makes the graph of the target. Errors that belong to a line are *dockerfile.Error.
// The commands of f are expanded in place, so f serves for one Build. What the build checks find is added to f.Warnings.
func Build(ctx context.Context, f *dockerfile.File, opts Options) (*Graph, error) {
	target, err := f.Target(opts.Target)
	if err != nil {
		return nil, err
	}
	b := &builder{f: f, opts: opts, host: platform.Host(), stages: make([]*stage, len(f.Stages))}
	b.platform = b.host
	if opts.Platform != nil {
		b.platform = platform.Normalize(*opts.Platform)
	}
	b.global, err = f.GlobalScope(b.host, b.platform, f.Stages[target].Name, opts.Args)
	if err != nil {
		return nil, err
	}
	if err := b.readFroms(); err != nil {
		return nil, err
	}
	if opts.AllStages {
		for i := range f.Stages {
			if _, err := b.stage(ctx, i); err != nil {
				return nil, err
			}
		}
	}
	st, err := b.stage(ctx, target)
	if err != nil {
		return nil, err
	}
	if err := f.CheckError(); err != nil {
		return nil, err
	}
	for i := range f.Args {
		b.describeArgs(&f.Args[i])
	}
	g := &Graph{Vertices: b.vertices, Target: st.top, Image: st.img, NewHistory: st.baseHistory, Base: st.base, Outline: b.outline(target), Docs: st.described(), Texts: b.texts}
	if opts.Platform != nil {
		g.Image.OS, g.Image.Architecture, g.Image.Variant = b.platform.OS, b.platform.Architecture, b.platform.Variant
	}
	return g, nil
}
