package build

import (
	"context"
	"errors"

	"github.com/camada/camada/build/graph"
	"github.com/camada/camada/dockerfile"
	"github.com/camada/camada/progress"
)

// checkArg is the build argument that takes the place of a Dockerfile's "# check=".
const checkArg = "BUILDKIT_DOCKERFILE_CHECK"

// Checked is what the build checks found.
type Checked struct {
	// Name is what messages call the Dockerfile, Source its text; both are "" when it cannot be read.
	Name   string
	Source []byte
	// Warnings are in the order of the lines.
	Warnings []dockerfile.Warning
	// Err is why the build would fail, as far as that shows without executing a step; nil when it would not.
	Err error
}

// Check runs the build checks over the stages that opts.Target needs, over all when it is "". It reads the
// configs of base images and executes nothing. Its error is that of ctx.
func (b *Builder) Check(ctx context.Context, opts Options) (*Checked, error) {
	out := &Checked{}
	out.Name, _, out.Source, out.Err = readDockerfile(opts)
	if out.Err != nil {
		return out, nil //nolint:nilerr // it is what is checked
	}
	r, err := b.read(opts, progress.Or(nil))
	if err == nil {
		o := r.graphOptions()
		o.AllStages = opts.Target == ""
		_, err = graph.Build(ctx, r.file, o)
	}
	if r != nil {
		r.file.SortWarnings()
		out.Warnings = r.file.Warnings
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if !errors.Is(err, dockerfile.ErrChecks) { // what the checks found is in Warnings
		out.Err = err
	}
	return out, nil
}

// Outline is what a build of a target can be given, and the text that says so.
type Outline struct {
	graph.Outline
	Source []byte
}

// Outline reads the Dockerfile and the configs of base images, and tells what the target can be given. It
// executes nothing.
func (b *Builder) Outline(ctx context.Context, opts Options) (*Outline, error) {
	r, err := b.read(opts, progress.Or(nil))
	if err != nil {
		return nil, err
	}
	g, err := graph.Build(ctx, r.file, r.graphOptions())
	if err != nil {
		return nil, err
	}
	return &Outline{Outline: g.Outline, Source: r.src}, nil
}

// Targets are the stages of a Dockerfile, the last of which is built by default, and the text that says so.
type Targets struct {
	Stages []dockerfile.Stage
	Source []byte
}

// Targets reads the Dockerfile and nothing else.
func (b *Builder) Targets(opts Options) (*Targets, error) {
	r, err := b.read(opts, progress.Or(nil))
	if err != nil {
		return nil, err
	}
	return &Targets{Stages: r.file.Stages, Source: r.src}, nil
}
