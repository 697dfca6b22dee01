package engine

import (
	"context"
	"path/filepath"

	"github.com/camada/camada/build"
	"github.com/camada/camada/build/graph"
	"github.com/camada/camada/progress"
)

// CheckBuild runs the build checks and executes nothing. See build.Builder.Check.
func (e *Engine) CheckBuild(ctx context.Context, opts BuildOptions) (*build.Checked, error) {
	b, o, done, err := e.reader(ctx, opts)
	if err != nil {
		return nil, err
	}
	defer done()
	return b.Check(ctx, o)
}

// OutlineBuild tells what a build of the target can be given. It executes nothing. See build.Builder.Outline.
func (e *Engine) OutlineBuild(ctx context.Context, opts BuildOptions) (*build.Outline, error) {
	b, o, done, err := e.reader(ctx, opts)
	if err != nil {
		return nil, err
	}
	defer done()
	return b.Outline(ctx, o)
}

// BuildTargets lists the stages of the Dockerfile. See build.Builder.Targets.
func (e *Engine) BuildTargets(ctx context.Context, opts BuildOptions) (*build.Targets, error) {
	b, o, done, err := e.reader(ctx, opts)
	if err != nil {
		return nil, err
	}
	defer done()
	return b.Targets(o)
}

// reader returns a builder that can read Dockerfiles and the configs of base images, but make nothing. done ends it.
func (e *Engine) reader(ctx context.Context, opts BuildOptions) (b *build.Builder, o build.Options, done func(), err error) {
	o = build.Options{
		Target: opts.Target, BuildArgs: opts.BuildArgs, Pull: opts.Pull,
		Allow: graph.Entitlements{HostNetwork: true, Insecure: true}, // nothing is executed
	}
	platforms, err := parsePlatforms(opts.Platforms)
	if err != nil {
		return nil, o, nil, err
	}
	o.Platform = platforms[0] // the first one of a build is the one that remarks on the Dockerfile
	blobs := newLazy(e.content, progress.Or(nil))
	images := &bases{e: e, blobs: blobs}
	x, err := e.stepExecutor(opts.Run, &build.Options{})
	if err != nil {
		return nil, o, nil, err
	}
	_, closeSources, err := e.openSources(ctx, &opts, images, &o, &credentials{secrets: x.secrets, agents: x.agents}, progress.Or(nil))
	if err != nil {
		return nil, o, nil, err
	}
	b = build.New(build.Parts{Content: blobs, CacheDir: filepath.Join(e.root, "cache"), Images: images, Pins: e.lease, Foreign: executes})
	return b, o, func() {
		blobs.wait()
		closeSources()
	}, nil
}
