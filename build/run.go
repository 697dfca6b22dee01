package build

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/camada/camada/build/cache"
	"github.com/camada/camada/build/exporter"
	"github.com/camada/camada/build/graph"
	"github.com/camada/camada/dockerfile"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/layer"
	"github.com/camada/camada/layer/index"
	"github.com/camada/camada/progress"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// minSteps is how many steps are executed at once on a machine with few cores: many steps wait for
// a network or a disk.
const minSteps = 16

// run is one build under way.
type run struct {
	*Builder
	opts    Options
	sink    progress.Sink
	src     []byte // the Dockerfile
	file    *dockerfile.File
	graph   *graph.Graph
	epoch   time.Time
	cache   *cache.Cache
	indexes *index.Store
	states  []*state
	// stop ends the steps; those that have ended have their layers written all the same.
	stop  context.CancelCauseFunc
	snaps *snapshotSet
	// steps and writers bound how many steps, and how many layers, are worked on at once.
	steps, writers chan struct{}
	// writing counts the layers that are written while later steps are executed.
	writing sync.WaitGroup
	images  *images

	basesMu sync.Mutex
	bases   map[digest.Digest]*result // of base layers, by what is in and below them

	boundMu sync.Mutex
	bound   map[string]*boundContext // by what of the context they are

	contexts contexts
}

func (b *Builder) build(ctx context.Context, opts Options, sink progress.Sink) (*Result, error) {
	b.flights.enter()
	defer b.flights.leave()
	r, err := b.read(opts, sink)
	if err != nil {
		return nil, err
	}
	if r.graph, err = graph.Build(ctx, r.file, r.graphOptions()); err != nil {
		return nil, err
	}
	if r.epoch, err = epochOf(opts, r.graph); err != nil {
		return nil, err
	}
	if len(opts.Labels) > 0 && r.graph.Image.Config.Labels == nil {
		r.graph.Image.Config.Labels = make(map[string]string)
	}
	for k, v := range opts.Labels {
		r.graph.Image.Config.Labels[k] = v
	}
	if err := r.guardTexts(); err != nil {
		return nil, err
	}
	r.cache = cache.Open(filepath.Join(b.p.CacheDir, "build"))
	r.indexes = index.Open(filepath.Join(b.p.CacheDir, "layers"))
	steps, cores := opts.Parallel, runtime.GOMAXPROCS(0)
	if steps <= 0 {
		steps = max(minSteps, cores)
	}
	r.steps, r.writers = make(chan struct{}, steps), make(chan struct{}, min(steps, cores))
	r.snaps = &snapshotSet{store: b.p.Snapshots}
	defer r.close()
	r.planned(r.src)
	return r.do(ctx)
}

// read reads the Dockerfile of a build. With an error of parsing it returns a run too, whose file has what the checks found.
func (b *Builder) read(opts Options, sink progress.Sink) (*run, error) {
	name, path, src, err := readDockerfile(opts)
	if err != nil {
		return nil, err
	}
	f, err := dockerfile.ParseChecked(name, src, opts.BuildArgs[checkArg])
	r := &run{Builder: b, opts: opts, sink: sink, src: src, file: f, bases: make(map[digest.Digest]*result)}
	r.opts.Dockerfile = path
	r.images = &images{r: r}
	return r, err
}

// graphOptions are the options of the build's graph.
func (r *run) graphOptions() graph.Options {
	o := graph.Options{
		Images: r.images, Contexts: r, Target: r.opts.Target, Args: r.opts.BuildArgs, Platform: r.opts.Platform, Network: r.opts.Network, Prefix: r.opts.Prefix,
		Settings: r.opts.Settings, Allow: r.opts.Allow, Foreign: r.p.Foreign,
	}
	if r.opts.Context != "" {
		if ignore, err := ignoreOf(r.mainContext(), r.opts.Dockerfile); err == nil { // else the first COPY says it
			o.Ignored = ignore.Out()
		}
	}
	return o
}

// close leaves nothing of the build behind but what is finished.
func (r *run) close() {
	r.snaps.removeAll()
	r.closeContexts()
}

// readDockerfile returns what messages call the file, its path ("" for none) and its text.
func readDockerfile(opts Options) (name, path string, src []byte, err error) {
	if opts.Source == nil && opts.Fetched {
		name, src, err = fetchedDockerfile(opts)
		return name, name, src, err
	}
	if opts.Source != nil {
		if opts.Dockerfile == "" {
			return "Dockerfile", "", opts.Source, nil
		}
		return opts.Dockerfile, opts.Dockerfile, opts.Source, nil
	}
	path = opts.Dockerfile
	if path == "" {
		if opts.Context == "" {
			return "", "", nil, errdefs.Invalid("neither a context nor a Dockerfile is given")
		}
		path = filepath.Join(opts.Context, "Dockerfile")
	}
	name = path
	if rel, err := filepath.Rel(opts.Context, path); opts.Context != "" && err == nil && !strings.HasPrefix(rel, "..") {
		name = rel
	}
	info, err := os.Stat(path)
	if err == nil && (!info.Mode().IsRegular() || info.Size() > dockerfile.MaxSize) {
		return "", "", nil, errdefs.Invalid("%s: not a file of at most %d bytes", path, dockerfile.MaxSize)
	}
	if err == nil {
		src, err = os.ReadFile(path)
	}
	if errors.Is(err, os.ErrNotExist) {
		err = errdefs.NotFound("there is no Dockerfile at %s; name another one with -f", path)
	}
	return name, path, src, err
}

// do executes the graph and writes the image.
func (r *run) do(ctx context.Context) (*Result, error) {
	r.states = make([]*state, len(r.graph.Vertices))
	for i, v := range r.graph.Vertices {
		r.states[i] = &state{v: v, done: make(chan struct{})}
	}
	stepCtx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	r.stop = stop
	lint := make(chan []dockerfile.Warning, 1) // nobody may come for them
	go func() { lint <- lintWarnings(r.file.Name, r.src, r.opts) }()
	var wg sync.WaitGroup
	for _, s := range r.states {
		wg.Add(1)
		go func() {
			defer wg.Done()
			defer close(s.done)
			// Layers of finished steps are written to the end even when another step
			// fails, so that the next build finds them: they get ctx.
			if s.err = r.vertex(stepCtx, ctx, s); s.err != nil {
				stop(s.err)
			}
		}()
	}
	wg.Wait()
	r.writing.Wait()
	if saveErr := r.saveHashes(); saveErr != nil && ctx.Err() == nil {
		r.file.Remark("the hashes of the context were not kept: %s", saveErr)
	}
	if err := context.Cause(stepCtx); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, err
	}
	return r.export(ctx, lint)
}

// export waits for the layers and writes the image. lint gives what the linter found.
func (r *run) export(ctx context.Context, lint <-chan []dockerfile.Warning) (*Result, error) {
	r.file.SortWarnings()
	res := &Result{Steps: len(r.states), Warnings: slices.Concat(r.file.Warnings, <-lint)}
	for _, s := range r.states {
		if s.cached {
			res.Cached++
		}
		if s.res == nil {
			continue
		}
		// Layers of stages that only files were copied from count too: their
		// failure would be found by the next build at the latest.
		if _, err := s.res.chain(ctx); err != nil {
			return nil, r.file.ErrorAt(s.v.Location, err, "")
		}
	}
	var layers []layer.Layer
	if t := r.graph.Target; t != nil {
		layers = r.states[t.ID].res.layers()
	}
	ev := progress.Event{ID: r.opts.Prefix + "export", Name: "exporting image"}
	if r.opts.Prefix != "" {
		ev.Name = "[" + r.opts.Prefix + "] " + ev.Name
	}
	r.sink.Emit(ev)
	out, err := exporter.Write(ctx, r.p.Content, r.p.Pins, exporter.Input{
		Config: r.graph.Image, Layers: layers, Epoch: r.epoch, NewHistory: r.graph.NewHistory, Annotations: r.annotations(),
	})
	if err != nil {
		ev.State, ev.Err = progress.Failed, err
		r.sink.Emit(ev)
		return nil, err
	}
	ev.State = progress.Done
	r.sink.Emit(ev)
	res.Manifest, res.Config, res.Image = out.Manifest, out.Config, out.Image
	res.Layers = make([]ocispec.Descriptor, len(layers))
	for i, l := range layers {
		res.Layers[i] = l.Descriptor
	}
	return res, nil
}

// annotations are those of the manifest: what comments describe, and what the user says.
func (r *run) annotations() map[string]string {
	if len(r.graph.Docs) == 0 {
		return r.opts.Annotations
	}
	out := maps.Clone(r.graph.Docs)
	maps.Copy(out, r.opts.Annotations)
	return out
}

// event is the beginning of each event of a vertex.
func (r *run) event(v *graph.Vertex, state progress.State) progress.Event {
	return progress.Event{ID: r.opts.Prefix + "step-" + strconv.Itoa(v.ID), Name: v.Name, State: state}
}
