package engine

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"github.com/camada/camada/build"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/platform"
	"github.com/camada/camada/progress"
	"github.com/camada/camada/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
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
	b := build.New(build.Parts{
		Content: e.content, Snapshots: snaps, CacheDir: filepath.Join(e.root, "cache"),
		Executor: &executor{e: e}, Images: resolver{e}, Pins: e.lease, Fetcher: fetcher,
	})
	rec := e.record(opts)
	res, err := e.buildAll(ctx, b, o, platforms, notes, rec, sink)
	if err != nil {
		return BuildResult{History: rec.finish(nil, err)}, err
	}
	out := BuildResult{Descriptor: res.descriptor}
	for _, img := range res.images {
		out.Steps, out.Cached = out.Steps+img.Steps, out.Cached+img.Cached
	}
	if len(res.images) == 1 {
		out.ConfigDigest = res.images[0].Config.Digest
	}
	out.Tags, err = e.deliver(ctx, opts.Outputs, refs, res, sink)
	out.History = rec.finish(out.Tags, err)
	return out, err
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

// resolver finds the base images of builds in the store.
type resolver struct{ e *Engine }

// Resolve implements build.Resolver. There is no registry client yet, so pull finds what is there.
func (r resolver) Resolve(ctx context.Context, name string, p ocispec.Platform, _ bool) (build.Base, error) {
	f, err := r.e.resolve(ctx, name)
	if err != nil {
		if errdefs.IsNotFound(err) {
			return build.Base{}, fmt.Errorf("%w; make it with camada base, build, load or import first", err)
		}
		return build.Base{}, err
	}
	img, err := image.Open(ctx, r.e.content, f.descriptor, p)
	if err != nil {
		return build.Base{}, err
	}
	if !platform.Match(p, img.Config.Platform) {
		return build.Base{}, errdefs.NotFound("image %s is for %s, not for %s", name, platform.Format(img.Config.Platform), platform.Format(p))
	}
	full := name
	if f.ref.Repository != "" {
		full = f.ref.String()
	}
	return build.Base{Name: full, Manifest: img.Descriptor, Config: img.ConfigBytes, Layers: img.Layers}, nil
}
