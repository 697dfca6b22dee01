package engine

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/camada/camada/archive"
	"github.com/camada/camada/build"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image/tarball"
	"github.com/camada/camada/platform"
	"github.com/camada/camada/progress"
	"github.com/camada/camada/reference"
	"github.com/camada/camada/unpack"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// deliver makes the outputs of a build and returns the names that point to the image now.
func (e *Engine) deliver(ctx context.Context, outputs []BuildOutput, tags []reference.Reference, res *built, sink progress.Sink) ([]string, error) {
	if len(outputs) == 0 {
		outputs = []BuildOutput{{Type: OutputImage}}
	}
	if err := e.guard(ctx, outputs, res); err != nil {
		return nil, err
	}
	var names []string
	for _, o := range outputs {
		refs := tags
		for _, n := range o.Names {
			ref, err := tagOnly(n)
			if err != nil {
				return names, err
			}
			refs = append(refs[:len(refs):len(refs)], ref)
		}
		if err := e.deliverOne(ctx, o, refs, res, sink, &names); err != nil {
			return names, err
		}
	}
	return names, nil
}

func (e *Engine) deliverOne(ctx context.Context, o BuildOutput, refs []reference.Reference, res *built, sink progress.Sink, names *[]string) error {
	archived := []tarball.Image{{Descriptor: res.descriptor, Names: refs}}
	switch o.Type {
	case OutputNone:
		return nil
	case OutputImage:
		if o.Push && len(refs) == 0 {
			return errdefs.Invalid("an image that is pushed needs a name; give one with -t")
		}
		if o.Push && o.NoStore {
			for _, r := range refs {
				*names = append(*names, r.Familiar())
			}
			return e.push(ctx, res.blobs, refs, res.descriptor, res.guard, sink)
		}
		set, err := e.setBuilt(ctx, refs, res)
		*names = append(*names, set...)
		if err == nil && o.Push {
			err = e.push(ctx, e.content, refs, res.descriptor, res.guard, sink)
		}
		return err
	case OutputOCI:
		for _, d := range res.attestations {
			archived = append(archived, tarball.Image{Descriptor: d})
		}
		if o.Writer == nil {
			return e.saveDir(ctx, archived, o.Dest)
		}
		return tarball.Save(ctx, o.Writer, e.content, archived, tarball.SaveOptions{Format: tarball.OCI, Progress: sink})
	case OutputDocker:
		if len(res.images) > 1 {
			return errdefs.Unsupported("--output type=docker: a docker archive holds an image for one platform, not for %d; use type=oci", len(res.images))
		}
		return tarball.Save(ctx, o.Writer, e.content, archived, tarball.SaveOptions{Format: tarball.Combined, Progress: sink})
	case OutputLocal:
		return e.outputLocal(ctx, o.Dest, res, sink)
	case OutputTar:
		return e.outputTar(ctx, o.Writer, res)
	}
	return errdefs.Invalid("--output type=%s: want image, registry, oci, docker, local, tar or cacheonly", o.Type)
}

// setBuilt names what was built; what follows from the state of git all at once.
func (e *Engine) setBuilt(ctx context.Context, refs []reference.Reference, res *built) ([]string, error) {
	if res.ci != nil {
		return e.moveTogether(ctx, refs, res.ci.released, res.descriptor, "build", res.ci.note)
	}
	return e.setTags(ctx, refs, res.descriptor, "build", "")
}

// outputLocal writes the files of the image into a directory; of several platforms, each into one of its own. All
// belong to the caller. What else is in the directory stays.
func (e *Engine) outputLocal(ctx context.Context, dest string, res *built, sink progress.Sink) error {
	ev := progress.Event{ID: "output", Name: "exporting files to " + dest}
	sink.Emit(ev)
	err := e.eachTree(ctx, res, func(dir, prefix string) error {
		return e.copyTree(ctx, dir, filepath.Join(dest, prefix))
	})
	ev.State = progress.Done
	if err != nil {
		ev.State, ev.Err = progress.Failed, err
	}
	sink.Emit(ev)
	return err
}

func (e *Engine) copyTree(ctx context.Context, dir, dest string) error {
	if err := os.MkdirAll(dest, 0o755); err != nil {
		return fmt.Errorf("make the output directory: %w", err)
	}
	if dir == "" {
		return nil
	}
	root, err := os.OpenRoot(dest)
	if err != nil {
		return fmt.Errorf("open the output directory: %w", err)
	}
	defer root.Close()
	pr, pw := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := archive.Pack(ctx, dir, pw, archive.DiffOptions{})
		pw.CloseWithError(err) // nil is the end of the stream
		done <- err
	}()
	_, err = archive.Apply(ctx, root, pr, archive.ApplyOptions{Export: true})
	pr.CloseWithError(errors.Join(err, io.ErrClosedPipe))
	if packErr := <-done; err == nil || packErr != nil && !errors.Is(packErr, io.ErrClosedPipe) {
		err = packErr
	}
	if err != nil {
		return fmt.Errorf("export files to %s: %w", dest, err)
	}
	return nil
}

// outputTar writes the files of the image as one tar; of several platforms, each below a directory of its own.
func (e *Engine) outputTar(ctx context.Context, w io.Writer, res *built) error {
	if len(res.images) == 1 {
		return e.eachTree(ctx, res, func(dir, _ string) error { return packTree(ctx, dir, w) })
	}
	out := tar.NewWriter(w)
	err := e.eachTree(ctx, res, func(dir, prefix string) error {
		pr, pw := io.Pipe()
		go func() { pw.CloseWithError(packTree(ctx, dir, pw)) }()
		err := appendBelow(out, tar.NewReader(pr), prefix)
		pr.CloseWithError(io.ErrClosedPipe)
		return err
	})
	if err != nil {
		return fmt.Errorf("export a tar: %w", err)
	}
	return out.Close()
}

// packTree writes the tree dir, "" for an empty one.
func packTree(ctx context.Context, dir string, w io.Writer) error {
	if dir == "" {
		return archive.NewWriter(w, archive.WriterOptions{}).Close()
	}
	return archive.Pack(ctx, dir, w, archive.DiffOptions{})
}

// appendBelow copies the entries of a tar that packTree wrote, below a directory.
func appendBelow(out *tar.Writer, in *tar.Reader, prefix string) error {
	if err := out.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: prefix + "/", Mode: 0o755, ModTime: time.Unix(0, 0)}); err != nil {
		return err
	}
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		h.Name = prefix + "/" + h.Name
		if h.Typeflag == tar.TypeLink {
			h.Linkname = prefix + "/" + h.Linkname
		}
		h.Format = tar.FormatPAX
		if err := out.WriteHeader(h); err != nil {
			return err
		}
		if _, err := io.Copy(out, in); err != nil {
			return err
		}
	}
}

// eachTree calls fn with the root file system of each image, "" for one without layers, and the name of its
// platform when there are several.
func (e *Engine) eachTree(ctx context.Context, res *built, fn func(dir, prefix string) error) error {
	snaps, err := e.snapshots(ctx)
	if err != nil {
		return err
	}
	for _, img := range res.images {
		prefix := ""
		if len(res.images) > 1 {
			prefix = strings.ReplaceAll(platform.Format(img.Image.Platform), "/", "_")
		}
		if err := e.withTree(ctx, snaps, img, func(dir string) error { return fn(dir, prefix) }); err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) withTree(ctx context.Context, snaps snapshots, img *build.Result, fn func(dir string) error) error {
	return e.withLayers(ctx, snaps, img.Layers, img.Image.RootFS.DiffIDs, fn)
}

// withLayers calls fn with the root file system that layers make, "" when there are none.
func (e *Engine) withLayers(ctx context.Context, snaps snapshots, layers []ocispec.Descriptor, diffIDs []digest.Digest, fn func(dir string) error) error {
	layers, diffIDs = slices.Clone(layers), slices.Clone(diffIDs)
	top, err := unpack.Image(ctx, e.content, snaps, layers, diffIDs, unpack.Options{})
	if err != nil {
		return err
	}
	if top.ID == "" {
		return fn("")
	}
	view, err := snaps.View(ctx, top.ID)
	if err != nil {
		return err
	}
	defer view.Close()
	return fn(view.Dir())
}
