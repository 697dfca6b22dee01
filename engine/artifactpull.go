package engine

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/progress"
	"github.com/camada/camada/reference"
	"github.com/camada/camada/remote"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// unpackAnnotation marks a directory that oras packed.
const unpackAnnotation = "io.deis.oras.content.unpack"

// ArtifactPullOptions say what is pulled, and where to.
type ArtifactPullOptions struct {
	Name string
	// Dir is made when it is not there.
	Dir string
	// KeepOld fails rather than replacing a file.
	KeepOld bool
	// Platform chooses a manifest of an index.
	Platform string
}

// PullArtifact writes the files of an artifact of a registry. Each gets its name when its digest was right, and none lies outside of the
// directory, whatever it is called and whatever links are in there.
func (e *Engine) PullArtifact(ctx context.Context, o ArtifactPullOptions, sink progress.Sink) (Artifact, error) {
	defer e.waits.show(sink)()
	ref, err := reference.ParseRemote(o.Name)
	if err != nil {
		return Artifact{}, err
	}
	repo := e.registries().Repository(ref)
	desc, err := remoteSubject(ctx, repo, ref, o.Platform)
	if err != nil {
		return Artifact{}, err
	}
	if !image.IsManifest(desc.MediaType) {
		return Artifact{}, errdefs.Unsupported("%s is an index: choose a manifest of it with --platform, or by its digest", ref.Familiar())
	}
	_, m, err := image.ReadManifest(ctx, repo, desc)
	if err != nil {
		return Artifact{}, pullError(ref, err)
	}
	res := Artifact{
		Reference: ref.Name() + "@" + desc.Digest.String(), MediaType: desc.MediaType, Digest: desc.Digest, Size: desc.Size,
		ArtifactType: m.ArtifactType, Annotations: m.Annotations,
	}
	if res.ArtifactType == "" {
		res.ArtifactType = m.Config.MediaType
	}
	files, err := titled(m.Layers)
	if err != nil {
		return Artifact{}, fmt.Errorf("%s: %w", ref.Familiar(), err)
	}
	res.Unnamed = len(m.Layers) - len(files)
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return Artifact{}, fmt.Errorf("make the directory: %w", err)
	}
	root, err := os.OpenRoot(o.Dir)
	if err != nil {
		return Artifact{}, fmt.Errorf("open the directory: %w", err)
	}
	defer root.Close()
	w := fileSink{root: root, repo: repo, keepOld: o.KeepOld, sink: progress.Or(sink)}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(transfers)
	for _, d := range files {
		title := d.Annotations[ocispec.AnnotationTitle]
		res.Files = append(res.Files, ArtifactOutput{Path: path.Join(o.Dir, title), MediaType: d.MediaType, Digest: d.Digest, Size: d.Size, Annotations: d.Annotations})
		g.Go(func() error { return w.write(ctx, title, d) })
	}
	return res, g.Wait()
}

// titled are the layers that have a name of a file.
func titled(layers []ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	var files []ocispec.Descriptor
	seen := map[string]bool{}
	for _, d := range layers {
		title := d.Annotations[ocispec.AnnotationTitle]
		if title == "" {
			continue
		}
		if err := checkTitle(title); err != nil {
			return nil, err
		}
		if d.Annotations[unpackAnnotation] == "true" {
			return nil, errdefs.Unsupported("%s is a directory that oras packed: such artifacts are pulled with oras", title)
		}
		if seen[title] {
			return nil, errdefs.Invalid("two files are called %s", title)
		}
		seen[title] = true
		files = append(files, d)
	}
	if len(files) > maxArtifactFiles {
		return nil, errdefs.Limit("more than %d files", maxArtifactFiles)
	}
	return files, nil
}

// fileSink writes files below a directory.
type fileSink struct {
	root    *os.Root
	repo    *remote.Repository
	keepOld bool
	sink    progress.Sink
}

// write fetches a file beside its place, and gives it its name when it is whole.
func (w fileSink) write(ctx context.Context, title string, d ocispec.Descriptor) error {
	e := progress.Event{ID: "pull-" + title, Name: "pull " + title, Total: d.Size}
	w.sink.Emit(e)
	err := w.fetch(ctx, title, d)
	e.State, e.Current = progress.Done, d.Size
	if err != nil {
		e.State, e.Current, e.Err = progress.Failed, 0, err
		err = fmt.Errorf("write %s: %w", title, err)
	}
	w.sink.Emit(e)
	return err
}

func (w fileSink) fetch(ctx context.Context, title string, d ocispec.Descriptor) error {
	info, err := w.root.Lstat(title)
	switch {
	case err == nil && w.keepOld:
		return errdefs.AlreadyExists("there is such a file already")
	case err == nil && info.IsDir():
		return errdefs.Conflict("there is a directory of that name")
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := w.root.MkdirAll(path.Dir(title), 0o755); err != nil {
		return err
	}
	aside := path.Join(path.Dir(title), ".camada-"+rand.Text())
	f, err := w.root.OpenFile(aside, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = w.root.Remove(aside) }() // it has its name when all went well
	err = w.copy(ctx, f, d)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if !w.keepOld {
		return w.root.Rename(aside, title)
	}
	return w.root.Link(aside, title) // which replaces nothing
}

func (w fileSink) copy(ctx context.Context, f *os.File, d ocispec.Descriptor) error {
	blob := ocispec.Descriptor{MediaType: "application/octet-stream", Digest: d.Digest, Size: d.Size} // never a manifest, whatever it says
	r, err := w.repo.Open(ctx, blob)
	if err != nil {
		return err
	}
	defer r.Close()
	v, err := content.NewVerifyReader(r, blob)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, v)
	return err
}
