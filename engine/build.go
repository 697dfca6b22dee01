package engine

import (
	"context"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/camada/camada/build"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/progress"
	"github.com/camada/camada/reference"
)

// Build builds an image, for one platform or several, and makes what the outputs say of it: without any, it is stored and
// named. The names move only when all of the image is durable.
func (e *Engine) Build(ctx context.Context, opts BuildOptions, sink progress.Sink) (BuildResult, error) {
	sink = progress.Or(sink)
	refs := make([]reference.Reference, len(opts.Tags))
	for i, t := range opts.Tags {
		var err error
		if refs[i], err = tagOnly(t); err != nil {
			return BuildResult{}, err
		}
	}
	platforms, err := parsePlatforms(opts.Platforms)
	if err != nil {
		return BuildResult{}, err
	}
	notes, err := parseAnnotations(opts.Annotations)
	if err != nil {
		return BuildResult{}, err
	}
	o := build.Options{
		Context: opts.ContextDir, Dockerfile: opts.File, Source: opts.Dockerfile, Target: opts.Target,
		BuildArgs: opts.BuildArgs, NoCache: opts.NoCache, NoCacheStages: opts.NoCacheFilter, Pull: opts.Pull, Labels: opts.Labels,
	}
	if o.SourceDateEpoch, err = parseEpoch(opts.SourceDateEpoch); err != nil {
		return BuildResult{}, err
	}
	snaps, err := e.snapshots(ctx)
	if err != nil {
		return BuildResult{}, err
	}
	fetcher := newFetcher(e)
	defer fetcher.close()
	blobs := newLazy(e.content, sink)
	defer blobs.wait()
	images := &bases{e: e, blobs: blobs}
	b := build.New(build.Parts{
		Content: blobs, Snapshots: snaps, CacheDir: orElse(opts.cacheDir, filepath.Join(e.root, "cache")),
		Executor: &executor{e: e}, Images: images, Pins: e.lease, Fetcher: fetcher,
	})
	started := time.Now()
	if opts.watch == nil && (opts.SBOM || opts.Provenance != ProvenanceNone) {
		opts.watch = &watches{}
	}
	rec := e.record(opts)
	res, err := e.buildAll(ctx, b, o, platforms, notes, rec, sink)
	if err == nil && opts.stores() {
		err = e.complete(ctx, blobs, images, res)
	}
	if err != nil {
		return BuildResult{History: rec.finish(nil, err)}, err
	}
	out := BuildResult{Descriptor: res.descriptor, Warnings: res.images[0].Warnings}
	for _, img := range res.images {
		out.Steps, out.Cached = out.Steps+img.Steps, out.Cached+img.Cached
	}
	if len(res.images) == 1 {
		out.ConfigDigest = res.images[0].Config.Digest
	}
	if err := e.attestAll(ctx, opts, started); err != nil {
		return BuildResult{History: rec.finish(nil, err)}, err
	}
	out.Tags, err = e.deliver(ctx, opts.Outputs, refs, res, sink)
	out.History = rec.finish(out.Tags, err)
	return out, err
}

// stores reports whether an output needs the layers.
func (o *BuildOptions) stores() bool {
	return len(o.Outputs) == 0 || slices.ContainsFunc(o.Outputs, func(b BuildOutput) bool { return b.Type != OutputNone })
}

// complete fetches the layers of the result that are not in the store, and names base images that are whole now.
func (e *Engine) complete(ctx context.Context, blobs *lazy, images *bases, res *built) error {
	for _, img := range res.images {
		if err := blobs.complete(ctx, img.Layers); err != nil {
			return err
		}
	}
	return images.name(ctx)
}

// parseEpoch reads SOURCE_DATE_EPOCH; nil when it is "".
func parseEpoch(s string) (*time.Time, error) {
	if s == "" {
		return nil, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return nil, errdefs.Invalid("SOURCE_DATE_EPOCH=%q: want seconds since 1970", s)
	}
	t := time.Unix(n, 0).UTC()
	return &t, nil
}
