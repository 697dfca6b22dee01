package engine

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/camada/camada/archive"
	"github.com/camada/camada/base"
	"github.com/camada/camada/base/debian"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/layer"
	"github.com/camada/camada/layer/index"
	"github.com/camada/camada/progress"
	"github.com/camada/camada/userns"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// defaultPath is the PATH of containers that have none, and of the images that camada makes.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// configureStep is the ID of the progress of configuring a base's packages.
const configureStep = "configure"

// BaseDebian makes a base image from a Debian archive and names it.
func (e *Engine) BaseDebian(ctx context.Context, opts BaseOptions, sink progress.Sink) (BaseResult, error) {
	o, err := e.debianOptions(opts, progress.Or(sink))
	if err != nil {
		return BaseResult{}, err
	}
	name := opts.Tag
	if name != "" { // a wrong name is told before the work
		if _, err := tagOnly(name); err != nil {
			return BaseResult{}, err
		}
	}
	plan, err := debian.Resolve(ctx, o)
	if err != nil {
		return BaseResult{}, err
	}
	defer plan.Close() //nolint:errcheck // only a temporary directory
	if plan.Scripts() && userns.OneID() {
		return BaseResult{}, errdefs.Unsupported("base debian --variant %s: the packages' scripts give files to users other than root, and there is one id here: let /etc/subuid and /etc/subgid grant this user ranges (as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER; package uidmap), or use --variant distroless", plan.Variant)
	}
	if name == "" {
		name = "debian:" + plan.Codename
		if plan.Variant == debian.Distroless {
			name += "-distroless"
		}
	}
	ref, err := tagOnly(name)
	if err != nil {
		return BaseResult{}, err
	}
	tree, err := plan.Fetch(ctx)
	if err != nil {
		return BaseResult{}, err
	}
	defer tree.Close() //nolint:errcheck // only temporary files
	l, err := e.baseLayer(ctx, plan, tree, progress.Or(sink))
	if err != nil {
		return BaseResult{}, fmt.Errorf("base debian: %w", err)
	}
	desc, err := e.baseImage(ctx, plan, tree.Epoch, l)
	if err != nil {
		return BaseResult{}, fmt.Errorf("base debian: %w", err)
	}
	note := fmt.Sprintf("%s %s %s", plan.Codename, plan.Variant, plan.Released.UTC().Format(time.DateTime))
	if err := e.refs.Set(ctx, ref, desc, image.SetOptions{Verb: "base", Note: note}); err != nil {
		return BaseResult{}, err
	}
	return BaseResult{Name: ref.Familiar(), Descriptor: desc, Packages: len(plan.Packages)}, nil
}

func (e *Engine) debianOptions(opts BaseOptions, sink progress.Sink) (debian.Options, error) {
	o := debian.Options{
		Suite: opts.Suite, Variant: debian.Variant(opts.Variant), Include: opts.Include, Mirror: opts.Mirror, Arch: opts.Arch,
		CacheDir: filepath.Join(e.root, "cache", "debian"), Progress: sink,
	}
	switch o.Variant {
	case "":
		o.Variant = debian.Minbase
	case debian.Minbase, debian.Distroless:
	default:
		return o, errdefs.Invalid("--variant %q: want minbase or distroless", opts.Variant)
	}
	if opts.Keyring != "" {
		o.Keyrings = []string{opts.Keyring}
	}
	if opts.Snapshot != "" {
		t, err := debian.ParseSnapshot(opts.Snapshot)
		if err != nil {
			return o, err
		}
		o.Snapshot = t
	}
	return o, nil
}

// baseLayer makes the one layer of the image, and unpacks it on the way so that the first build on it need not.
func (e *Engine) baseLayer(ctx context.Context, plan *debian.Plan, tree *debian.Tree, sink progress.Sink) (layer.Layer, error) {
	snaps, err := e.snapshots(ctx)
	if err != nil {
		return layer.Layer{}, err
	}
	if !plan.Scripts() {
		return e.layerAndSnapshot(ctx, snaps, func(w io.Writer) error { return tree.WriteTar(ctx, w) })
	}
	work := progress.Event{ID: configureStep, Name: "configure the packages in a container"}
	sink.Emit(work)
	l, err := e.configured(ctx, snaps, tree, sink)
	work.State, work.Err = progress.Done, err
	if err != nil {
		work.State = progress.Failed
	}
	sink.Emit(work)
	return l, err
}

// configured unpacks the tree, runs its steps in containers over it, and makes a layer of what came of it.
func (e *Engine) configured(ctx context.Context, snaps snapshots, tree *debian.Tree, sink progress.Sink) (layer.Layer, error) {
	pr, pw := io.Pipe()
	go func() { pw.CloseWithError(tree.WriteTar(ctx, pw)) }()
	unpacked, err := snaps.Apply(ctx, "", pr)
	pr.CloseWithError(err)
	if err != nil {
		return layer.Layer{}, err
	}
	cleanup := context.WithoutCancel(ctx)
	defer snaps.Remove(cleanup, unpacked.ID) //nolint:errcheck // gc takes it when this fails
	active, err := snaps.Prepare(ctx, unpacked.ID)
	if err != nil {
		return layer.Layer{}, err
	}
	defer snaps.Remove(cleanup, active.ID) //nolint:errcheck // gc takes it when this fails
	root, err := snaps.Mount(ctx, active.ID)
	if err != nil {
		return layer.Layer{}, err
	}
	run := &stepRunner{exec: &executor{e: e}, root: root, sink: sink}
	if err := base.Run(ctx, run, tree.Steps()); err != nil {
		return layer.Layer{}, err
	}
	frozen, err := snaps.Freeze(ctx, active.ID)
	if err != nil {
		return layer.Layer{}, err
	}
	view, err := snaps.View(ctx, frozen.ID)
	if err != nil {
		return layer.Layer{}, err
	}
	defer view.Close()
	return e.layerAndSnapshot(ctx, snaps, func(w io.Writer) error {
		return archive.Pack(ctx, view.Dir(), w, archive.DiffOptions{Clamp: tree.Epoch})
	})
}

// layerAndSnapshot stores a lowest layer and unpacks it, from one stream.
func (e *Engine) layerAndSnapshot(ctx context.Context, snaps snapshots, produce func(io.Writer) error) (layer.Layer, error) {
	pr, pw := io.Pipe()
	type applied struct {
		id  string
		err error
	}
	done := make(chan applied, 1)
	go func() {
		info, err := snaps.Apply(ctx, "", pr)
		pr.CloseWithError(err)
		done <- applied{info.ID, err}
	}()
	l, err := e.indexes().Write(ctx, e.content, layer.WriteOptions{}, func(w io.Writer, _ index.Known) error { return produce(w) }, pw)
	pw.CloseWithError(err)
	a := <-done
	if err == nil {
		err = a.err
	}
	if err != nil {
		if a.err == nil {
			_ = snaps.Remove(context.WithoutCancel(ctx), a.id)
		}
		return layer.Layer{}, err
	}
	_, err = snaps.Name(ctx, a.id, l.DiffID) // the chainID of the lowest layer is its diffID
	return l, err
}

func (e *Engine) baseImage(ctx context.Context, plan *debian.Plan, epoch time.Time, l layer.Layer) (ocispec.Descriptor, error) {
	created := epoch.UTC()
	var cfg image.Config
	cfg.Platform = plan.Platform()
	cfg.Created = &created
	cfg.Config.Env = []string{"PATH=" + defaultPath}
	by := fmt.Sprintf("camada base debian --suite %s --variant %s", plan.Codename, plan.Variant)
	if plan.Scripts() {
		cfg.Config.Cmd = []string{"bash"}
	}
	var named []string
	for _, p := range plan.Packages {
		if !p.Auto {
			named = append(named, p.Name)
		}
	}
	if len(named) > 0 && !plan.Scripts() {
		by += " --include " + strings.Join(named, ",")
	}
	cfg.RootFS.DiffIDs = []digest.Digest{l.DiffID}
	cfg.History = []ocispec.History{{Created: &created, CreatedBy: by}}
	return image.Write(ctx, e.content, cfg, []ocispec.Descriptor{l.Descriptor}, nil)
}
