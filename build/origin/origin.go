// Package origin tells which instruction of which Dockerfile made a layer, and which source a file of it came from, as far as
// the history of builds knows.
//
//	f := origin.New(h, stacks)
//	o, err := f.Layer(ctx, configDigest, chainID) // nil when no build that is remembered made the layer
//	o.Dockerfile, o.Line                          // where the instruction stands
//	src, err := f.Source(ctx, o, file)            // for COPY and ADD: from the context, a stage, an image
//
// Nothing is guessed: a source is named when the list of files that the step read, or the layers of the stage that it read from, have
// a file that the copy puts there with the same content.
package origin

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/camada/camada/anatomy"
	"github.com/camada/camada/build/history"
	"github.com/camada/camada/build/op"
	"github.com/opencontainers/go-digest"
)

// Builds are the builds that are remembered; *history.History has them.
type Builds interface {
	Each(ctx context.Context, fn func(*history.Build) bool) error
	Files(before, after digest.Digest, fn func(f history.File, before bool) error) error
}

// Stacks opens what a stage of a build, or an image, was made of: all layers up to one. ErrNotFound when they are not
// there any more.
type Stacks interface {
	// Stack opens layers, the lowest first.
	Stack(ctx context.Context, layers []LayerRef) (*anatomy.Image, error)
	// Image lists the layers of an image by the digest of its manifest.
	Image(ctx context.Context, manifest digest.Digest) ([]LayerRef, error)
}

// LayerRef names a layer.
type LayerRef struct {
	DiffID, Blob digest.Digest
	Size         int64
}

// maxBuilds is how many builds are looked through, the youngest first.
const maxBuilds = 500

// Finder looks for origins. It is used by one goroutine.
type Finder struct {
	builds Builds
	stacks Stacks
	loaded []*history.Build
	read   bool
}

// New returns a Finder.
func New(b Builds, s Stacks) *Finder { return &Finder{builds: b, stacks: s} }

// Origin is the step of a build that made a layer.
type Origin struct {
	// Build is the build's ID, Started when it began; "camada explain" tells more of it.
	Build   string
	Started time.Time
	// Step is the step's name, "[build 2/5] RUN make"; Instruction is the part without the number.
	Step, Instruction string
	// Stage is its name, "" for the only one.
	Stage string `json:",omitempty"`
	// Dockerfile is its name, Context where the build's files were. Line and EndLine are where the instruction stands, Text what it says.
	Dockerfile, Context string `json:",omitempty"`
	Line, EndLine       int
	Text                []string `json:",omitempty"`

	b  *history.Build
	id int
}

// all reads the builds, once.
func (f *Finder) all(ctx context.Context) ([]*history.Build, error) {
	if f.read {
		return f.loaded, nil
	}
	f.read = true
	err := f.builds.Each(ctx, func(b *history.Build) bool {
		f.loaded = append(f.loaded, b)
		return len(f.loaded) < maxBuilds
	})
	return f.loaded, err
}

// Layer finds what made the layer chainID of the image config: the build of that very image when it is known, or else the
// youngest build that has the layer. nil when no build is known that has it.
func (f *Finder) Layer(ctx context.Context, config, chainID digest.Digest) (*Origin, error) {
	builds, err := f.all(ctx)
	if err != nil {
		return nil, err
	}
	var found *Origin
	for _, b := range builds {
		same := config != "" && b.Config == config
		if found != nil && !same {
			continue
		}
		for i, s := range b.Steps {
			if s == nil || s.ChainID != chainID || b.Plan.Vertices[i].Base != "" {
				continue
			}
			if found = originOf(b, i); same {
				return found, nil
			}
			break
		}
	}
	return found, nil
}

func originOf(b *history.Build, i int) *Origin {
	v := b.Plan.Vertices[i]
	o := &Origin{Build: b.ID, Started: b.Started, Step: v.Name, Instruction: v.Name, Stage: v.Stage, Dockerfile: b.Plan.Name, Context: b.Context,
		Line: v.Line, EndLine: v.EndLine, b: b, id: i}
	if strings.HasPrefix(v.Name, "[") {
		if _, rest, ok := strings.Cut(v.Name, "] "); ok {
			o.Instruction = rest
		}
	}
	if lines := strings.Split(b.Plan.Source, "\n"); b.Plan.Source != "" && v.Line > 0 && v.EndLine <= len(lines) {
		for _, l := range lines[v.Line-1 : v.EndLine] {
			o.Text = append(o.Text, strings.TrimSuffix(l, "\r"))
		}
	}
	return o
}

// copyOf is the operation of a COPY or ADD; nil for others.
func copyOf(definition string) *op.Copy {
	kind, data, ok := strings.Cut(definition, " ")
	if !ok || !strings.HasPrefix(kind, "copy.") {
		return nil
	}
	var c op.Copy
	if json.Unmarshal([]byte(data), &c) != nil {
		return nil
	}
	return &c
}
