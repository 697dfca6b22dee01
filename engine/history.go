package engine

import (
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/camada/camada/build"
	"github.com/camada/camada/build/explain"
	"github.com/camada/camada/build/history"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/fetch"
	"github.com/camada/camada/layer/index"
	"github.com/camada/camada/platform"
	"github.com/camada/camada/progress"
	"github.com/camada/camada/reference"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// BuildRow is one line of builds.
type BuildRow struct {
	ID string
	// Name is the first tag, or the directory, and the target when one was asked for.
	Name     string
	Tags     []string
	Status   string
	Started  time.Time
	Duration time.Duration
	// Cached steps of how many.
	Cached, Total int
	Platform      string
	Context       string
	Dockerfile    string
	Target        string
	Digest        string
	Error         string
}

func (e *Engine) history() *history.History { return history.Open(filepath.Join(e.root, "history")) }

// startOf is what the history keeps of the options of a build.
func startOf(opts BuildOptions) history.Start {
	s := history.Start{
		Context: opts.ContextDir, Dockerfile: opts.File, Target: opts.Target, Args: opts.BuildArgs, Tags: opts.Tags,
		NoCache: opts.NoCache, EpochGiven: opts.SourceDateEpoch != "" || opts.BuildArgs["SOURCE_DATE_EPOCH"] != "",
	}
	local, err := isDirectory(s.Context)
	if local = local && err == nil; local {
		s.Context = realPath(s.Context)
	} else {
		s.Context = fetch.Redact(s.Context)
	}
	switch {
	case opts.Dockerfile == nil && !local && s.Context != "":
		s.Dockerfile = fetch.Redact(s.Dockerfile)
	case opts.Dockerfile != nil:
		s.Dockerfile = ""
		if len(opts.Tags) > 0 {
			s.Project = opts.Tags[0]
		}
	case s.Dockerfile != "":
		s.Dockerfile = realPath(s.Dockerfile)
	case s.Context != "":
		s.Dockerfile = filepath.Join(s.Context, "Dockerfile")
	}
	return s
}

// recording keeps the builds of one call, one for each platform.
type recording struct {
	h     *history.History
	start history.Start
	// watch is told too; unrecorded keeps nothing.
	watch      *watches
	unrecorded bool
	// also is told of the steps too; may be nil.
	also build.Observer

	mu   sync.Mutex
	recs []*history.Recorder
	ends []history.End
}

func (e *Engine) record(opts BuildOptions) *recording {
	return &recording{h: e.history(), start: startOf(opts), watch: opts.watch, unrecorded: opts.unrecorded}
}

// observers are those of one build, and who is told of all.
func (r *recording) observers(of ...build.Observer) observers {
	if r.also != nil {
		of = append(of, r.also)
	}
	return of
}

// build builds for one platform, and keeps what was done.
func (r *recording) build(ctx context.Context, b *build.Builder, o build.Options, sink progress.Sink) (*build.Result, error) {
	s := r.start
	s.Platform = platform.Format(platform.Host())
	if o.Platform != nil {
		s.Platform = platform.Format(*o.Platform)
	}
	w := r.watch.begin(s.Platform)
	if r.unrecorded {
		o.Observer = r.observers(w)
		res, err := b.Build(ctx, o, sink)
		w.end(res)
		return res, err
	}
	rec := r.h.Record(s)
	o.Observer = r.observers(rec, w)
	res, err := b.Build(ctx, o, sink)
	w.end(res)
	end := history.End{Err: err, Canceled: ctx.Err() != nil}
	if err == nil {
		end.Manifest, end.Config = res.Manifest.Digest, res.Config.Digest
		for _, w := range res.Warnings {
			end.Warnings = append(end.Warnings, w.String())
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.recs, r.ends = append(r.recs, rec), append(r.ends, end)
	return res, err
}

// attested notes which statement says how an image of these builds was made.
func (r *recording) attested(manifest, provenance digest.Digest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.ends {
		if r.ends[i].Manifest == manifest {
			r.ends[i].Provenance = provenance
		}
	}
}

// finish ends the records, and returns their IDs. A history that cannot be kept, on a full disk, say, is no reason
// for a build to fail.
func (r *recording) finish(tags []string, err error) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var ids []string
	for i, rec := range r.recs {
		end := r.ends[i]
		if end.Tags = tags; end.Err == nil {
			end.Err = err
		}
		_ = rec.Finish(end)
		ids = append(ids, rec.ID())
	}
	return ids
}

func realPath(name string) string {
	if abs, err := filepath.Abs(name); err == nil {
		name = abs
	}
	if real, err := filepath.EvalSymlinks(name); err == nil {
		name = real
	}
	return name
}

// Builds lists the builds of the history, the youngest first; of all contexts, or of one tag or directory only.
func (e *Engine) Builds(ctx context.Context, name string) ([]BuildRow, error) {
	match, err := e.buildMatcher(ctx, name)
	if err != nil {
		return nil, err
	}
	rows := []BuildRow{}
	err = e.history().Each(ctx, func(b *history.Build) bool {
		if match == nil || match(b) {
			rows = append(rows, rowOf(b))
		}
		return true
	})
	return rows, err
}

func rowOf(b *history.Build) BuildRow {
	r := BuildRow{
		ID: b.ID, Tags: b.Tags, Status: string(b.Status), Started: b.Started, Duration: b.Duration(), Platform: b.Platform,
		Context: b.Context, Dockerfile: b.Dockerfile, Target: b.Target, Digest: b.Manifest.String(), Error: b.Error,
	}
	r.Cached, r.Total = b.Cached()
	if b.Status == history.Running {
		r.Duration = time.Since(b.Started)
	}
	switch {
	case len(b.Tags) > 0:
		r.Name = b.Tags[0]
	case b.Context != "":
		r.Name = filepath.Base(b.Context)
	}
	if b.Target != "" {
		r.Name += " (" + b.Target + ")"
	}
	return r
}

// buildMatcher chooses builds by a tag or a digest, also of a tag's history, or by the directory of the context; nil for all.
func (e *Engine) buildMatcher(ctx context.Context, name string) (func(*history.Build) bool, error) {
	if name == "" {
		return nil, nil
	}
	f, err := e.resolve(ctx, name)
	found := err == nil
	dir := ""
	if info, err := os.Stat(name); err == nil && info.IsDir() && (!found || strings.ContainsAny(name, "/.")) {
		dir = realPath(name)
	}
	familiar := name
	if ref, err := reference.Parse(name); err == nil {
		familiar = ref.Familiar()
	}
	return func(b *history.Build) bool {
		if dir != "" && b.Context == dir || found && b.Manifest != "" && b.Manifest == f.descriptor.Digest {
			return true
		}
		for _, t := range b.Tags {
			if ref, err := reference.Parse(t); err == nil && ref.Familiar() == familiar {
				return true
			}
		}
		return false
	}, nil
}

// findBuild finds a build by the beginning of its ID, by a tag or digest of its result, or by its directory; "" is the last build. Of
// several it is the youngest.
func (e *Engine) findBuild(ctx context.Context, name string) (*history.Build, error) {
	h := e.history()
	if name != "" {
		// A tag wins over the beginning of an ID, but not over a whole one.
		b, err := h.Find(ctx, name)
		if err == nil && b.ID == name {
			return b, nil
		}
		if _, rerr := e.resolve(ctx, name); rerr != nil && (err == nil || errdefs.IsConflict(err)) {
			return b, err
		}
	}
	match, err := e.buildMatcher(ctx, name)
	if err != nil {
		return nil, err
	}
	var found *history.Build
	err = h.Each(ctx, func(b *history.Build) bool {
		if match == nil || match(b) {
			found = b
		}
		return found == nil
	})
	if err == nil && found == nil {
		if name == "" {
			return nil, errdefs.NotFound("there are no builds in the history of this store")
		}
		return nil, errdefs.NotFound("no build of %s is in the history; camada builds lists them", name)
	}
	return found, err
}

// Explain tells why the steps of a build were executed. See findBuild for the name.
func (e *Engine) Explain(ctx context.Context, name string) (*explain.Report, error) {
	b, err := e.findBuild(ctx, name)
	if err != nil {
		return nil, err
	}
	h := e.history()
	return explain.Build(ctx, b, explain.Parts{Before: h.Before, Files: h.Files, Layer: e.listLayer})
}

// listLayer lists a layer whose list is kept; no layer is read for it.
func (e *Engine) listLayer(diffID digest.Digest) ([]explain.LayerFile, error) {
	x, err := e.indexes().Get(diffID)
	if err != nil {
		return nil, err
	}
	out := make([]explain.LayerFile, 0, len(x.Entries))
	for i := range x.Entries {
		f := &x.Entries[i]
		l := explain.LayerFile{Path: f.Path, Gone: f.Kind == index.Whiteout, Opaque: f.Kind == index.Opaque}
		if !f.Kind.IsMark() {
			l.Mode, l.Link, l.Owner = f.Mode|typeOf(f.Kind), f.Link, fmt.Sprintf("%d:%d", f.UID, f.GID)
			if f.HasSum {
				l.Digest = hex.EncodeToString(f.Sum[:])
			}
		}
		out = append(out, l)
	}
	return out, nil
}

// typeOf is the file type of a kind, as st_mode has it.
func typeOf(k index.Kind) uint32 {
	switch k {
	case index.Reg, index.Link:
		return unix.S_IFREG
	case index.Symlink:
		return unix.S_IFLNK
	case index.Char:
		return unix.S_IFCHR
	case index.Block:
		return unix.S_IFBLK
	case index.Dir:
		return unix.S_IFDIR
	case index.Fifo:
		return unix.S_IFIFO
	}
	return 0
}
