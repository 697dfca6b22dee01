package engine

import (
	"context"
	"path/filepath"
	"slices"
	"time"

	"github.com/camada/camada/build"
	"github.com/camada/camada/progress"
	"github.com/camada/camada/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Build builds an image, for one platform or several, and makes what the outputs say of it: without any, it is stored and
// named. The names move only when all of the image is durable.
func (e *Engine) Build(ctx context.Context, opts BuildOptions, sink progress.Sink) (BuildResult, error) {
	defer e.waits.show(sink)()
	sink = progress.Or(sink)
	plan, err := e.planBuild(&opts)
	if err != nil {
		return BuildResult{}, err
	}
	snaps, err := e.snapshots(ctx)
	if err != nil {
		return BuildResult{}, err
	}
	blobs := newLazy(e.content, sink)
	defer blobs.wait()
	images := &bases{e: e, blobs: blobs}
	fetcher, done, err := e.openSources(ctx, &opts, images, &plan.options, &credentials{secrets: plan.exec.secrets, agents: plan.exec.agents}, sink)
	if err != nil {
		return BuildResult{}, err
	}
	defer done()
	b := build.New(build.Parts{
		Content: blobs, Snapshots: snaps, CacheDir: orElse(opts.cacheDir, filepath.Join(e.root, "cache")),
		Executor: plan.exec, Images: images, Pins: e.lease, Fetcher: fetcher, Foreign: executes,
	})
	started := time.Now()
	rules, err := e.policies()
	if err != nil {
		return BuildResult{}, err
	}
	if opts.watch == nil && (opts.SBOM || opts.Provenance != ProvenanceNone || len(rules) > 0) {
		opts.watch = &watches{}
	}
	sources := e.openCaches(ctx, plan.cacheFrom, blobs)
	defer sources.close()
	plan.exec.carried, plan.exec.cacheDir = newCarriedMounts(sources, blobs), opts.cacheDir
	res, rec, steps, err := e.attempts(ctx, &opts, sources, blobs, func(from []build.Lookup, rec *recording, sink progress.Sink) (*built, error) {
		o := plan.options
		o.CacheFrom = from
		res, err := e.buildAll(ctx, b, o, plan.platforms, plan.notes, rec, sink)
		if err != nil {
			return nil, err
		}
		res.blobs, res.guard, res.ci = blobs, plan.guard, opts.ci
		return res, e.complete(ctx, &opts, images, res)
	})
	if err != nil {
		return BuildResult{History: rec.finish(nil, err)}, err
	}
	caches := &cacheWriter{e: e, specs: plan.cacheTo, steps: steps, carried: plan.exec.carried, guard: plan.guard, blobs: blobs, res: res, sink: sink}
	if err := caches.write(ctx, true); err != nil {
		return BuildResult{History: rec.finish(nil, err)}, err
	}
	out := BuildResult{Descriptor: res.descriptor}
	for _, img := range res.images {
		out.Steps, out.Cached = out.Steps+img.Steps, out.Cached+img.Cached
	}
	if len(res.images) == 1 {
		out.ConfigDigest = res.images[0].Config.Digest
	}
	if res.attestations, err = e.attestAll(ctx, opts, plan.guard, fetcher, blobs, rec, started); err != nil {
		return BuildResult{History: rec.finish(nil, err)}, err
	}
	if err := e.enforceBuilt(ctx, builtNames(opts.Outputs, plan.refs), opts.watch, res, sink); err != nil {
		return BuildResult{History: rec.finish(nil, err)}, err
	}
	out.Tags, err = e.deliver(ctx, opts.Outputs, plan.refs, res, sink)
	if err == nil {
		err = caches.write(ctx, false)
	}
	if sources.close(); err == nil {
		err = caches.prune(ctx)
	}
	out.Warnings = slices.Concat(res.images[0].Warnings, plan.guard.told())
	out.History = rec.finish(out.Tags, err)
	return out, err
}

// builtNames are all that a result gets.
func builtNames(outputs []BuildOutput, tags []reference.Reference) []reference.Reference {
	out := slices.Clone(tags)
	for _, o := range outputs {
		for _, n := range o.Names {
			if ref, err := tagOnly(n); err == nil { // deliver says what is wrong with it
				out = append(out, ref)
			}
		}
	}
	return out
}

// delivers reports whether anything is made of the result.
func (o *BuildOptions) delivers() bool {
	return len(o.Outputs) == 0 || slices.ContainsFunc(o.Outputs, func(b BuildOutput) bool { return b.Type != OutputNone })
}

// complete fetches the layers of the result that are not in the store, when an output needs them there, and names base images
// that are whole now.
func (e *Engine) complete(ctx context.Context, opts *BuildOptions, images *bases, res *built) error {
	finish := func(context.Context, []ocispec.Descriptor) error { return nil }
	for _, o := range opts.Outputs {
		if o.Type == OutputImage && o.Push && o.NoStore {
			finish = res.blobs.check
		}
	}
	if opts.stores() {
		finish = res.blobs.complete
	}
	for _, img := range res.images {
		if err := finish(ctx, img.Layers); err != nil {
			return err
		}
	}
	return images.name(ctx)
}

// stores reports whether the layers have to be in the store.
func (o *BuildOptions) stores() bool {
	return o.SBOM || len(o.Outputs) == 0 || slices.ContainsFunc(o.Outputs, func(b BuildOutput) bool {
		return b.Type != OutputNone && !(b.Type == OutputImage && b.Push && b.NoStore)
	})
}
