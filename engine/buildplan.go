package engine

import (
	"slices"
	"strconv"
	"time"

	"github.com/camada/camada/build"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// buildPlan is what the options of a build mean.
type buildPlan struct {
	refs      []reference.Reference
	platforms []*ocispec.Platform
	notes     annotations
	options   build.Options
	// cacheFrom and cacheTo are the places of cache.
	cacheFrom, cacheTo []*cacheSpec
	// exec runs the steps.
	exec *executor
	// guard looks for secrets; nil does not.
	guard *secretGuard
}

// planBuild reads the options. All mistakes in them are found before anything is done.
func (e *Engine) planBuild(opts *BuildOptions) (*buildPlan, error) {
	p := &buildPlan{refs: make([]reference.Reference, len(opts.Tags)), options: build.Options{
		Target:    opts.Target,
		BuildArgs: opts.BuildArgs, NoCache: opts.NoCache, NoCacheStages: opts.NoCacheFilter, Pull: opts.Pull, Labels: opts.Labels, Lint: opts.Lint,
		Zstd: slices.ContainsFunc(opts.Outputs, func(o BuildOutput) bool { return o.Zstd }),
	}}
	var err error
	for i, t := range opts.Tags {
		if p.refs[i], err = tagOnly(t); err != nil {
			return nil, err
		}
	}
	if p.platforms, err = parsePlatforms(opts.Platforms); err != nil {
		return nil, err
	}
	if p.notes, err = parseAnnotations(opts.Annotations); err != nil {
		return nil, err
	}
	p.notes = append(opts.ci.notes(len(p.platforms) > 1), p.notes...) // what the user says wins
	if p.options.SourceDateEpoch, err = parseEpoch(opts.SourceDateEpoch); err != nil {
		return nil, err
	}
	if p.cacheFrom, err = parseCacheSpecs("--cache-from", opts.CacheFrom); err != nil {
		return nil, err
	}
	if p.exec, err = e.stepExecutor(opts.Run, &p.options); err != nil {
		return nil, err
	}
	if p.guard, err = e.newGuard(opts.Secrets); err != nil {
		return nil, err
	}
	if p.guard != nil {
		p.options.Guard = p.guard
		if err := p.guard.indexNotes(p.notes); err != nil {
			return nil, advised(err)
		}
	}
	p.cacheTo, err = parseCacheSpecs("--cache-to", opts.CacheTo)
	return p, err
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
