package engine

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image/compare"
	"github.com/camada/camada/progress"
	"github.com/opencontainers/go-digest"
)

// maxFiles is how many files are told of one step.
const maxFiles = 1000

// VerifyOptions shape Verify.
type VerifyOptions struct {
	// Vary changes what must not matter about this process (umask, zone, processors) before the second build, and says in
	// words what it changed; restore takes it back. nil changes nothing.
	Vary func() (varied []string, restore func())
}

// VerifyReport says whether two builds gave the same image, and what was different.
type VerifyReport struct {
	// Reproducible tells that both have one digest.
	Reproducible bool          `json:"reproducible"`
	First        digest.Digest `json:"first"`
	Second       digest.Digest `json:"second"`
	// Steps are those whose layers differ, in the order of the Dockerfile. When Reproducible is set, these are steps of other
	// stages that left no trace in the image.
	Steps []StepDifference `json:"steps,omitempty"`
	// Config are the values of the image's config that differ, besides the layers' digests, for each platform.
	Config []ConfigDifference `json:"config,omitempty"`
	// Varied is what was different between the builds, in words.
	Varied []string `json:"varied"`
}

// StepDifference is a step whose layer differs.
type StepDifference struct {
	// Step is its name, with Platform when there are several.
	Step     string `json:"step"`
	Platform string `json:"platform,omitempty"`
	// File, Line and EndLine are its place.
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"`
	EndLine int    `json:"endLine,omitempty"`
	// First and Second are the diffIDs.
	First  digest.Digest `json:"first"`
	Second digest.Digest `json:"second"`
	// After names an earlier step that differs and that this one reads: it may be the cause. It is empty for a cause.
	After string `json:"after,omitempty"`
	// Files are what differs in the layer; More is how many are left out.
	Files []FileDifference `json:"files,omitempty"`
	More  int              `json:"more,omitempty"`
	// Note says why Files is empty, when it is.
	Note string `json:"note,omitempty"`
}

// FileDifference is a file that differs.
type FileDifference struct {
	compare.Change
	// Hint says what is known of the file, and what to do; it may be empty.
	Hint string `json:"hint,omitempty"`
}

// ConfigDifference is a value of a config.
type ConfigDifference struct {
	Platform string `json:"platform,omitempty"`
	compare.Field
}

// Verify builds twice, the second time without cache and in other surroundings, and compares. The image is named and
// delivered as opts say only when both builds gave the same one; otherwise the result has no names.
func (e *Engine) Verify(ctx context.Context, opts BuildOptions, how VerifyOptions, sink progress.Sink) (BuildResult, *VerifyReport, error) {
	sink = progress.Or(sink)
	opts.CacheFrom = nil // both builds are made here
	taken, err := e.takeStdin(ctx, &opts)
	if err != nil {
		return BuildResult{}, nil, err
	}
	defer taken()
	first := opts
	first.CacheTo = nil
	first.Tags, first.Outputs, first.SBOM, first.Provenance = nil, []BuildOutput{{Type: OutputNone}}, false, ""
	first.CacheTo, first.watch = nil, &watches{}
	one, err := e.Build(ctx, first, sink)
	if err != nil {
		return BuildResult{}, nil, fmt.Errorf("first build: %w", err)
	}
	second, varied, done, err := e.otherBuild(ctx, first)
	if err != nil {
		return BuildResult{}, nil, err
	}
	defer done()
	if how.Vary != nil {
		more, restore := how.Vary()
		varied = append(varied, more...)
		defer restore()
	}
	two, err := e.Build(ctx, second, again{sink})
	if err != nil {
		return BuildResult{}, nil, fmt.Errorf("second build, without cache: %w", err)
	}
	rep := &VerifyReport{Reproducible: one.Descriptor.Digest == two.Descriptor.Digest,
		First: one.Descriptor.Digest, Second: two.Descriptor.Digest, Varied: varied}
	c := comparison{e: e, rep: rep}
	if err := c.builds(ctx, first.watch.sorted(), second.watch.sorted()); err != nil {
		return BuildResult{}, nil, fmt.Errorf("compare the builds: %w", err)
	}
	if !rep.Reproducible {
		return one, rep, nil
	}
	// All of it is in the cache now: this only names and delivers the image.
	last := opts
	last.NoCache, last.NoCacheFilter, last.Pull, last.unrecorded = false, nil, false, true
	res, err := e.Build(ctx, last, sink)
	res.History = one.History
	if err == nil && res.Descriptor.Digest != one.Descriptor.Digest {
		err = errdefs.Conflict("the inputs were changed while the image was verified; build again")
	}
	return res, rep, err
}

// otherBuild returns the options of the second build, and says in words what is different in them.
func (e *Engine) otherBuild(ctx context.Context, opts BuildOptions) (second BuildOptions, varied []string, done func(), err error) {
	dir, done, err := e.tempDir(ctx)
	if err != nil {
		return second, nil, nil, err
	}
	second = opts
	second.NoCache, second.NoCacheFilter, second.CacheFrom, second.unrecorded = true, nil, nil, true
	second.cacheDir = filepath.Join(dir, "cache")
	second.watch = &watches{}
	varied = []string{"no cache, and none of what earlier builds remembered"}
	if local, err := isDirectory(opts.ContextDir); err != nil || !local {
		return second, append(varied, "the time of day"), done, err
	}
	second.ContextDir = filepath.Join(dir, "other", "place", "of", "the", "context")
	if err := os.MkdirAll(second.ContextDir, 0o755); err != nil {
		done()
		return second, nil, nil, fmt.Errorf("copy the context: %w", err)
	}
	if second.File, err = copyContext(ctx, opts.ContextDir, second.ContextDir, opts.File); err != nil {
		done()
		return second, nil, nil, err
	}
	// A clock that counts seconds shall show another time.
	select {
	case <-time.After(time.Until(time.Now().Truncate(time.Second).Add(time.Second))):
	case <-ctx.Done():
		done()
		return second, nil, nil, ctx.Err()
	}
	return second, append(varied, "the context: its place, inode numbers, times, owners, and the order in which its files were made", "the time of day"), done, nil
}

// isDirectory reports whether the context is a directory of this machine.
func isDirectory(name string) (bool, error) {
	if name == "" {
		return false, nil
	}
	st, err := os.Stat(name)
	if os.IsNotExist(err) {
		return false, nil
	}
	return err == nil && st.IsDir(), err
}

// again shows the steps of the second build as others than those of the first.
type again struct{ sink progress.Sink }

// Emit implements progress.Sink.
func (a again) Emit(e progress.Event) {
	e.ID, e.Name = "again-"+e.ID, "again: "+e.Name
	a.sink.Emit(e)
}
