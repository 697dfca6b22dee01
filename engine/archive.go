package engine

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/camada/camada/archive/compression"
	"github.com/camada/camada/build"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/image/layoutdir"
	"github.com/camada/camada/image/tarball"
	"github.com/camada/camada/layer"
	"github.com/camada/camada/platform"
	"github.com/camada/camada/progress"
	"github.com/camada/camada/reference"
	"github.com/camada/camada/transfer"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Save writes images to an archive or a directory.
func (e *Engine) Save(ctx context.Context, opts SaveOptions) error {
	images, err := e.toSave(ctx, opts.Images)
	if err == nil && opts.Referrers {
		images, err = e.withReferrers(ctx, images, opts.Format)
	}
	if err != nil {
		return err
	}
	switch opts.Format {
	case "", "auto":
		return tarball.Save(ctx, opts.Writer, e.content, images, tarball.SaveOptions{Format: tarball.Combined})
	case "oci-archive":
		return tarball.Save(ctx, opts.Writer, e.content, images, tarball.SaveOptions{Format: tarball.OCI})
	case "docker-archive":
		return tarball.Save(ctx, opts.Writer, e.content, images, tarball.SaveOptions{Format: tarball.Docker})
	case "oci-dir":
		return e.saveDir(ctx, images, opts.Directory)
	}
	return errdefs.Invalid("--format %q: want auto, oci-archive, docker-archive or oci-dir", opts.Format)
}

// toSave resolves names and joins those of one image.
func (e *Engine) toSave(ctx context.Context, names []string) ([]tarball.Image, error) {
	var images []tarball.Image
	index := map[digest.Digest]int{}
	for _, n := range names {
		f, err := e.resolve(ctx, n)
		if err != nil {
			return nil, err
		}
		i, ok := index[f.descriptor.Digest]
		if !ok {
			i = len(images)
			index[f.descriptor.Digest] = i
			images = append(images, tarball.Image{Descriptor: f.descriptor})
		}
		if f.ref.Repository != "" {
			images[i].Names = append(images[i].Names, f.ref)
		}
	}
	return images, nil
}

func (e *Engine) saveDir(ctx context.Context, images []tarball.Image, path string) error {
	dir, err := layoutdir.Create(ctx, path)
	if err != nil {
		return err
	}
	defer dir.Close()
	for _, img := range images {
		if err := transfer.Copy(ctx, e.content, dir, img.Descriptor, transfer.Options{Partial: true}); err != nil {
			return fmt.Errorf("save to %s: %w", path, err)
		}
		names := []string{""}
		if len(img.Names) > 0 {
			names = names[:0]
			for _, n := range img.Names {
				names = append(names, n.Familiar())
			}
		}
		for _, n := range names {
			if err := dir.Add(ctx, img.Descriptor, n); err != nil {
				return fmt.Errorf("save to %s: %w", path, err)
			}
		}
	}
	return nil
}

// Load reads images from an archive or a directory, names them, and returns their names (or
// digests, for those without one).
func (e *Engine) Load(ctx context.Context, opts LoadOptions, sink progress.Sink) ([]string, error) {
	var given *reference.Reference
	if opts.Tag != "" {
		ref, err := tagOnly(opts.Tag)
		if err != nil {
			return nil, err
		}
		given = &ref
	}
	var loaded []tarball.Loaded
	var err error
	if opts.Directory != "" {
		loaded, err = e.loadDir(ctx, opts.Directory, sink)
	} else {
		loaded, err = tarball.Load(ctx, opts.Input, e.content, tarball.LoadOptions{Progress: sink})
	}
	if err == nil {
		loaded, err = e.loadedImages(ctx, loaded)
	}
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	if given != nil && len(loaded) != 1 {
		return nil, errdefs.Invalid("load: -t %s: the archive has %d images, not one", opts.Tag, len(loaded))
	}
	var names []string
	for _, l := range loaded {
		refs := l.Names
		if given != nil {
			refs = []reference.Reference{*given}
		}
		set, err := e.setTags(ctx, refs, l.Descriptor, "load", "")
		if err != nil {
			return names, err
		}
		if len(set) == 0 {
			if set, err = e.nameless(ctx, l); err != nil {
				return names, err
			}
		}
		names = append(names, set...)
	}
	return names, nil
}

// nameless keeps an image that has no name in its archive: under its bare tag word when it has one, else under its
// digest, so that it can be found and is not collected.
func (e *Engine) nameless(ctx context.Context, l tarball.Loaded) ([]string, error) {
	ref, err := reference.Parse(loadedName(l.Descriptor.Digest, l.RefName))
	if err != nil {
		return nil, err
	}
	return e.setTags(ctx, []reference.Reference{ref}, l.Descriptor, "load", "the archive gave no name")
}

// loadedName is what an image is called that has at most a bare word for a name.
func loadedName(d digest.Digest, refName string) string {
	if reference.ValidTag(refName) {
		return "loaded:" + refName
	}
	return "loaded:" + d.Encoded()[:12]
}

func (e *Engine) loadDir(ctx context.Context, path string, sink progress.Sink) ([]tarball.Loaded, error) {
	dir, err := layoutdir.Open(path)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	var loaded []tarball.Loaded
	for _, entry := range dir.Entries() {
		if !image.IsIndex(entry.MediaType) && !image.IsManifest(entry.MediaType) {
			continue
		}
		name, word, err := image.EntryName(entry.Annotations)
		if err != nil {
			return nil, err
		}
		desc := ocispec.Descriptor{MediaType: entry.MediaType, Digest: entry.Digest, Size: entry.Size}
		if err := transfer.Copy(ctx, dir, e.content, desc, transfer.Options{Progress: sink, Partial: true}); err != nil {
			return nil, err
		}
		l := tarball.Loaded{Descriptor: desc, RefName: word}
		if name != nil {
			l.Names = []reference.Reference{*name}
		}
		loaded = append(loaded, l)
	}
	if len(loaded) == 0 {
		return nil, errdefs.NotFound("%s: the layout has no image", path)
	}
	return loaded, nil
}

// Import makes an image of one layer from the tar of a root file system, compressed or not, and returns its ID.
func (e *Engine) Import(ctx context.Context, opts ImportOptions) (digest.Digest, error) {
	p := platform.Host()
	var refs []reference.Reference
	if opts.Platform != "" {
		var err error
		if p, err = platform.Parse(opts.Platform); err != nil {
			return "", err
		}
	}
	if opts.Name != "" {
		ref, err := tagOnly(opts.Name)
		if err != nil {
			return "", err
		}
		refs = append(refs, ref)
	}
	o := image.ImportOptions{Platform: p, Message: opts.Message}
	var err error
	if o.Config, err = e.changedConfig(ctx, opts.Changes); err != nil {
		return "", err
	}
	l, err := e.importLayer(ctx, opts.Input)
	if err != nil {
		return "", fmt.Errorf("import: %w", err)
	}
	desc, err := image.Import(ctx, e.content, l.Descriptor, l.DiffID, o)
	if err != nil {
		return "", fmt.Errorf("import: %w", err)
	}
	img, err := image.Open(ctx, e.content, desc, p)
	if err != nil {
		return "", err
	}
	if len(refs) == 0 {
		if _, err := e.nameless(ctx, tarball.Loaded{Descriptor: desc}); err != nil {
			return "", err
		}
	}
	if _, err := e.setTags(ctx, refs, desc, "import", ""); err != nil {
		return "", err
	}
	return img.ID(), nil
}

// importLayer stores the tar as a layer, after it was seen to be one that can be unpacked.
func (e *Engine) importLayer(ctx context.Context, in io.Reader) (layer.Layer, error) {
	r, err := compression.NewReader(in, compression.Limits{})
	if err != nil {
		return layer.Layer{}, err
	}
	defer r.Close()
	snaps, err := e.snapshots(ctx)
	if err != nil {
		return layer.Layer{}, err
	}
	return e.layerAndSnapshot(ctx, snaps, func(w io.Writer) error {
		_, err := io.Copy(w, r)
		return err
	})
}

// changedConfig is the config that --change instructions make: that of a Dockerfile which has nothing but them.
func (e *Engine) changedConfig(ctx context.Context, changes []string) (image.ExecConfig, error) {
	if len(changes) == 0 {
		return image.ExecConfig{}, nil
	}
	source := "FROM scratch\n"
	for _, c := range changes {
		word, _, _ := strings.Cut(strings.TrimSpace(c), " ")
		switch strings.ToUpper(word) {
		case "CMD", "ENTRYPOINT", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "ONBUILD", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR":
		default:
			return image.ExecConfig{}, errdefs.Invalid("--change %q: want one of CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, SHELL, STOPSIGNAL, USER, VOLUME, WORKDIR", c)
		}
		if strings.ContainsRune(c, '\n') {
			return image.ExecConfig{}, errdefs.Invalid("--change %q: one instruction on one line", c)
		}
		source += c + "\n"
	}
	snaps, err := e.snapshots(ctx)
	if err != nil {
		return image.ExecConfig{}, err
	}
	b := build.New(build.Parts{Content: e.content, Snapshots: snaps, CacheDir: filepath.Join(e.root, "cache"), Pins: e.lease})
	res, err := b.Build(ctx, build.Options{Dockerfile: "--change", Source: []byte(source)}, nil)
	if err != nil {
		return image.ExecConfig{}, err
	}
	_, cfg, err := image.ReadConfig(ctx, e.content, res.Config)
	if !slices.ContainsFunc(changes, setsPath) { // it is the builder's, which the image that is changed shall not get in place of its own
		cfg.Config.Env = slices.DeleteFunc(cfg.Config.Env, func(kv string) bool { return strings.HasPrefix(kv, "PATH=") })
	}
	return cfg.Config, err
}

// setsPath reports whether an instruction gives the variable PATH a value.
func setsPath(change string) bool {
	words := strings.Fields(change)
	if len(words) < 2 || !strings.EqualFold(words[0], "ENV") {
		return false
	}
	return words[1] == "PATH" || slices.ContainsFunc(words[1:], func(w string) bool { return strings.HasPrefix(w, "PATH=") })
}
