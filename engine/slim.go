package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/camada/camada/anatomy/slim"
	"github.com/camada/camada/container/spec"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/internal/hostile"
	"github.com/camada/camada/layer"
	"github.com/camada/camada/layer/index"
	"github.com/camada/camada/platform"
	"github.com/camada/camada/progress"
	"github.com/camada/camada/reference"
	"github.com/camada/camada/unpack"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// SlimOptions say what Slim makes, and of which runs.
type SlimOptions struct {
	// Image is an image of the store, or one to be pulled. Tag names the result; "" is the image's tag with "-slim" behind it.
	Image, Platform, Tag string
	// Run are the options of each run: environment, mounts, network, user. Its Args are the command of the only run when Runs is empty. Its Stdout and Stderr get what the programs write.
	Run RunOptions
	// Runs are arguments as those of camada run, one container each.
	Runs [][]string
	// Execs are commands that are executed in each container while it runs, and Probes are asked for by HTTP: PATH, of all ports that the image exposes, or :PORT/PATH.
	Execs  [][]string
	Probes []string
	// After is what a run that goes on is ended by: one of the Slim constants; "" is SlimProbe with Execs or Probes, else SlimTime with a Duration, else SlimExit.
	After string
	// Duration is how long a run may go on; 0 is without end.
	Duration time.Duration
	// Signals end a run when they come: enough was seen. The end of the context ends all.
	Signals <-chan os.Signal
	// Trace is a file that what was seen is read from, when it is there, and written to. NoRun runs nothing: it is all in the file.
	Trace string
	NoRun bool
	// Include, Exclude and Keep are those of slim.Options.
	Include, Exclude, Keep []string
	// DryRun makes no image. NoVerify does not run the new image.
	DryRun, NoVerify bool
}

// What a run is ended by.
const (
	SlimExit   = "exit"
	SlimProbe  = "probe"
	SlimTime   = "time"
	SlimSignal = "signal"
)

// SlimReport is what Slim found and made.
type SlimReport struct {
	// Image is what was asked for; Size that of its manifest, config and layers, as they are stored.
	Image, ID, Digest, Platform string
	Size                        int64
	// Slim is the new image; nil when none was made.
	Slim *SlimImage `json:",omitempty"`
	// Runs are what was run, Proof the same on the new image.
	Runs  []SlimRun
	Proof []SlimRun `json:",omitempty"`
	// Missing are paths that the proof looked for, and that the image has and the new one has not.
	Missing []string `json:",omitempty"`
	slim.Summary
	// Listed are directories that a run listed, and that lack some names now. Databases are package databases that are kept whole, though they tell of packages that are gone.
	Listed    []slim.Listed `json:",omitempty"`
	Databases []string      `json:",omitempty"`
	// Files are all files of the image, kept and left out.
	Files []slim.File
}

// SlimImage is an image that Slim made.
type SlimImage struct {
	// Name is "" for an image that failed its proof.
	Name       string `json:",omitempty"`
	ID, Digest string
	Size       int64
}

// ErrUnproven is the class of errors of a slim image that does not do what its image does.
const ErrUnproven errdefs.Class = "the slim image does not do what the image does"

// Slim makes an image of those files of another one that its runs used. With an error of class ErrUnproven the report tells what was missing; the new image has no name then.
func (e *Engine) Slim(ctx context.Context, o SlimOptions, sink progress.Sink) (*SlimReport, error) {
	s, err := e.newSlimmer(ctx, o, progress.Or(sink))
	if err != nil {
		return nil, err
	}
	if err := s.collect(ctx); err != nil {
		return nil, err
	}
	defer s.close() // also of what choose opened before it failed
	if err := s.choose(ctx); err != nil {
		return nil, fmt.Errorf("choose the files of %s: %w", o.Image, err)
	}
	if o.DryRun {
		return s.report, nil
	}
	desc, err := s.write(ctx)
	if err != nil {
		return nil, fmt.Errorf("make the slim image of %s: %w", o.Image, err)
	}
	if !o.NoVerify && len(s.report.Runs) > 0 {
		if err := s.prove(ctx, desc); err != nil {
			return s.report, err
		}
	}
	if _, err := e.setTags(ctx, []reference.Reference{s.tag}, desc, "slim", o.Image); err != nil {
		return s.report, err
	}
	s.report.Slim.Name = s.tag.Familiar()
	return s.report, nil
}

// slimmer is the state of one Slim.
type slimmer struct {
	e      *Engine
	o      SlimOptions
	sink   progress.Sink
	img    *image.Image
	ref    reference.Reference
	tag    reference.Reference
	uses   slim.Uses
	sel    *slim.Selection
	report *SlimReport
	ends   []func() error
}

func (s *slimmer) close() {
	for _, end := range slices.Backward(s.ends) {
		_ = end()
	}
}

func (e *Engine) newSlimmer(ctx context.Context, o SlimOptions, sink progress.Sink) (*slimmer, error) {
	s := &slimmer{e: e, o: o, sink: sink}
	if err := s.check(); err != nil {
		return nil, err
	}
	opts := o.Run
	opts.Image, opts.Platform = o.Image, o.Platform
	var err error
	if s.img, err = e.openToRun(ctx, opts); err != nil {
		return nil, err
	}
	s.ref, err = reference.Parse(o.Image)
	named := err == nil && !image.IsID(o.Image)
	switch {
	case o.Tag != "":
		if s.tag, err = tagOnly(o.Tag); err != nil {
			return nil, err
		}
	case !named:
		return nil, errdefs.Invalid("%s has no name that the slim image could be called after; give one with --tag", o.Image)
	default:
		s.tag = s.ref
		s.tag.Digest, s.tag.Tag = "", orElse(s.ref.Tag, "latest")+"-slim"
		if !reference.ValidTag(s.tag.Tag) {
			return nil, errdefs.Invalid("the tag %s is too long; give another one with --tag", s.tag.Tag)
		}
	}
	s.report = &SlimReport{Image: o.Image, ID: s.img.ID().String(), Digest: s.img.Descriptor.Digest.String(), Platform: platform.Format(s.img.Config.Platform), Size: s.img.Size()}
	return s, nil
}

// check refuses what makes no sense, before anything is run.
func (s *slimmer) check() error {
	o := &s.o
	if len(o.Runs) == 0 {
		o.Runs = [][]string{o.Run.Args}
	}
	asks := len(o.Execs)+len(o.Probes) > 0
	switch o.After {
	case "":
		switch {
		case asks:
			o.After = SlimProbe
		case o.Duration > 0:
			o.After = SlimTime
		default:
			o.After = SlimExit
		}
	case SlimExit, SlimSignal:
	case SlimProbe:
		if !asks {
			return errdefs.Invalid("--continue-after probe needs --http-probe or --exec")
		}
	case SlimTime:
		if o.Duration <= 0 {
			return errdefs.Invalid("--continue-after time needs --duration")
		}
	default:
		return errdefs.Invalid("--continue-after %s: want exit, probe, time or signal", o.After)
	}
	switch {
	case o.Duration < 0:
		return errdefs.Invalid("--duration %s: want a time", o.Duration)
	case o.NoRun && o.Trace == "":
		return errdefs.Invalid("--no-run needs --trace: what is used has to come from somewhere")
	case o.Run.Runtime != "":
		return errdefs.Unsupported("runs of another runtime cannot be traced")
	}
	for _, p := range o.Probes {
		if _, _, err := parseProbe(p); err != nil {
			return err
		}
	}
	choice := slim.Options{Include: o.Include, Exclude: o.Exclude, Keep: o.Keep}
	return choice.Check()
}

// collect sees what is used: in runs, and in the file of earlier ones.
func (s *slimmer) collect(ctx context.Context) error {
	old, err := s.readTrace()
	if err != nil {
		return fmt.Errorf("read the trace %s: %w", s.o.Trace, err)
	}
	if old != nil {
		s.uses.Merge(old.Used()...)
	}
	if s.o.NoRun {
		if old == nil {
			return errdefs.NotFound("there is no trace %s", s.o.Trace)
		}
		return nil
	}
	if s.report.Runs, err = s.runs(ctx, "run", s.img, &s.uses); err != nil {
		return err
	}
	if err := s.uses.Err(); err != nil {
		return err
	}
	return s.writeTrace(old)
}

// readTrace reads the file of earlier runs; nil when there is none.
func (s *slimmer) readTrace() (*slim.Trace, error) {
	if s.o.Trace == "" {
		return nil, nil
	}
	f, err := os.Open(s.o.Trace)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return slim.ParseTrace(f)
}

// writeTrace puts what was seen into the file, in the place of what it had.
func (s *slimmer) writeTrace(old *slim.Trace) error {
	if s.o.Trace == "" {
		return nil
	}
	t := slim.Trace{Version: slim.TraceVersion, Image: s.report.ID}
	if old != nil {
		t.Runs = old.Runs
	}
	for _, r := range s.report.Runs {
		if line := strings.Join(r.Command, " "); !slices.Contains(t.Runs, line) {
			t.Runs = append(t.Runs, line)
		}
	}
	t.SetUsed(s.uses.List())
	tmp, err := os.CreateTemp(filepath.Dir(s.o.Trace), ".trace-*")
	if err != nil {
		return fmt.Errorf("write the trace: %w", err)
	}
	err = errors.Join(t.Write(tmp), tmp.Chmod(0o644), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), s.o.Trace)
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
		return fmt.Errorf("write the trace: %w", err)
	}
	return nil
}

// choose opens the image's files and decides which of them are kept.
func (s *slimmer) choose(ctx context.Context) error {
	snaps, err := s.e.snapshots(ctx)
	if err != nil {
		return err
	}
	top, err := unpack.Image(ctx, s.e.content, snaps, s.img.Layers, s.img.DiffIDs, unpack.Options{})
	if err != nil {
		return err
	}
	if top.ID == "" {
		return errdefs.Invalid("it has no files")
	}
	driver, err := s.e.choose(ctx)
	if err != nil {
		return err
	}
	view, err := snaps.View(ctx, top.ID)
	if err != nil {
		return err
	}
	s.ends = append(s.ends, view.Close)
	tree, err := slim.ReadTree(ctx, view.Dir(), slim.TreeOptions{RecordedOwner: driver.RecordOwner})
	if err != nil {
		return err
	}
	s.ends = append(s.ends, tree.Close)
	if s.sel, err = tree.Choose(ctx, s.uses.List(), s.options(view.Dir())); err != nil {
		return err
	}
	s.report.Summary, s.report.Files, s.report.Listed, s.report.Databases = s.sel.Sum(), s.sel.Files, s.sel.Listed, s.sel.Databases
	return nil
}

// options are what the config says of the choice.
func (s *slimmer) options(dir string) slim.Options {
	cfg := s.img.Config.Config
	o := slim.Options{
		Include: s.o.Include, Exclude: s.o.Exclude, Keep: s.o.Keep, Env: append(slices.Clip(cfg.Env), s.o.Run.Env...), Workdir: orElse(s.o.Run.Workdir, cfg.WorkingDir),
		Volumes: slices.Sorted(maps.Keys(cfg.Volumes)), Commands: [][]string{cfg.Entrypoint},
	}
	if len(cfg.Entrypoint) == 0 {
		o.Commands = append(o.Commands, cfg.Cmd)
	}
	if root, err := os.Open(dir); err == nil {
		if u, err := spec.ResolveUser(hostile.FS(root), orElse(s.o.Run.User, cfg.User)); err == nil { // a user without a home needs none
			o.Home = u.Home
		}
		_ = root.Close()
	}
	return o
}

// write makes the image, which has no name yet.
func (s *slimmer) write(ctx context.Context) (ocispec.Descriptor, error) {
	ev := progress.Event{ID: "slim-layer", Name: "write the layer"}
	s.sink.Emit(ev)
	l, err := s.e.indexes().Write(ctx, s.e.content, layer.WriteOptions{}, func(w io.Writer, _ index.Known) error { return s.sel.Write(ctx, w) })
	if ev.State, ev.Err = progress.Done, err; err != nil {
		ev.State = progress.Failed
	}
	s.sink.Emit(ev)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	epoch, err := s.e.sourceDateEpoch()
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	cfg := s.img.Config.Clone()
	if !epoch.IsZero() { // else it is the image's: the clock has no part in what is made
		cfg.Created = &epoch
	}
	cfg.RootFS.DiffIDs = append(cfg.RootFS.DiffIDs[:0:0], l.DiffID)
	cfg.History = []ocispec.History{{Created: cfg.Created, CreatedBy: "camada slim", Comment: "the files of " + s.report.Digest + " that were used"}}
	notes := maps.Clone(s.img.Manifest.Annotations)
	if notes == nil {
		notes = map[string]string{}
	}
	notes[ocispec.AnnotationBaseImageDigest] = s.report.Digest
	delete(notes, ocispec.AnnotationBaseImageName)
	if s.ref.Repository != "" && !image.IsID(s.o.Image) {
		base := s.ref
		base.Digest = ""
		notes[ocispec.AnnotationBaseImageName] = base.String()
	}
	desc, err := image.Write(ctx, s.e.content, cfg, []ocispec.Descriptor{l.Descriptor}, notes)
	if err != nil {
		return desc, err
	}
	made, err := image.Open(ctx, s.e.content, desc, s.img.Config.Platform)
	if err != nil {
		return desc, err
	}
	s.report.Slim = &SlimImage{ID: made.ID().String(), Digest: desc.Digest.String(), Size: made.Size()}
	return desc, nil
}

// prove runs the same on the new image: it has to end in the same way, and to look for nothing that was left out.
func (s *slimmer) prove(ctx context.Context, desc ocispec.Descriptor) error {
	img, err := image.Open(ctx, s.e.content, desc, s.img.Config.Platform)
	if err != nil {
		return err
	}
	var uses slim.Uses
	runs, err := s.runs(ctx, "prove", img, &uses)
	if err == nil {
		err = uses.Err() // what was not noted may be missing
	}
	s.report.Proof, s.report.Missing = runs, s.sel.Missing(uses.List())
	if err != nil && ctx.Err() != nil {
		return err
	}
	var lacks []string
	if err != nil {
		lacks = append(lacks, err.Error())
	}
	for i := range min(len(runs), len(s.report.Runs)) {
		lacks = append(lacks, s.report.Runs[i].differs(&runs[i])...)
	}
	if n := len(s.report.Missing); n > 0 {
		lacks = append(lacks, fmt.Sprintf("files that were left out were looked for: %s", some(s.report.Missing, 5)))
	}
	if len(lacks) == 0 {
		return nil
	}
	return errdefs.New(ErrUnproven, "the slim image of %s gets no name: %s; what is missing can be kept with --include, or be seen by more --run and --trace", s.o.Image, strings.Join(lacks, "; "))
}

// some names the first few of a list.
func some(list []string, n int) string {
	if len(list) <= n {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:n], ", "), len(list)-n)
}
