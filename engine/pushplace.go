package engine

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/image/layoutdir"
	"github.com/camada/camada/platform"
	"github.com/camada/camada/progress"
	"github.com/camada/camada/reference"
	"github.com/camada/camada/transfer"
	"github.com/camada/camada/unpack"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// placeOf reads a name that Push or Pull is given and that is one of a file or a directory, or that says docker:// of a registry. An image can be called
// oci, so that oci: is a layout only where there is one, or what follows is a path.
func placeOf(name string) (t transport, ok bool, err error) {
	word, rest, _ := strings.Cut(name, ":")
	switch word {
	case transportRegistry:
		ok = strings.HasPrefix(rest, "//")
	case transportArchive, transportDockerArchive:
		ok = true
	case transportLayout:
		path, _, _ := strings.Cut(rest, ":")
		_, statErr := os.Stat(path)
		ok = statErr == nil || strings.Contains(path, "/")
	}
	if ok {
		t, err = parseTransport(name)
	}
	return t, ok, err
}

// PushTo sends an image of the store, and what refers to it, to a place that copy knows. A place without a word is a registry's.
func (e *Engine) PushTo(ctx context.Context, name, destination string, o PushOptions, sink progress.Sink) (PushResult, error) {
	defer e.waits.show(sink)()
	to, err := parseTransport(destination)
	if err != nil {
		return PushResult{}, err
	}
	f, err := e.resolve(ctx, name)
	if err != nil {
		return PushResult{}, err
	}
	if to.kind == transportStore || to.kind == transportRegistry {
		if to.ref.Digest != "" || to.ref.Repository == "" {
			return PushResult{}, errdefs.Invalid("%s: a digest cannot be tagged; write NAME:TAG", destination)
		}
		return PushResult{Name: to.ref.Familiar(), Digest: f.descriptor.Digest, Size: f.descriptor.Size},
			e.pushStored(ctx, to.ref, f.descriptor, o, sink)
	}
	if _, word := to.split(); word == "" && f.ref.Repository != "" {
		to.rest = strings.TrimSuffix(to.rest, ":") + ":" + f.ref.Familiar()
	}
	src := &copySource{Provider: e.content, root: f.descriptor, store: true, close: nothingToClose}
	root, about := f.descriptor, true
	if to.kind == transportDockerArchive { // which holds one image, and nothing about it
		about = false
		if root, err = onlyOne(ctx, src, root, ""); err != nil {
			return PushResult{}, err
		}
	}
	g, err := e.newGuard(o.Secrets)
	if err != nil {
		return PushResult{}, err
	}
	if err := g.sent(ctx, src, root, nil, progress.Or(sink)); err != nil {
		return PushResult{}, fmt.Errorf("push %s to %s: %w", name, to, advised(err))
	}
	g.notices()
	if _, err = e.copyFrom(ctx, src, root, to, about, progress.Or(sink)); err != nil {
		return PushResult{}, fmt.Errorf("push %s to %s: %w", name, to, err)
	}
	return PushResult{Name: to.String(), Digest: root.Digest, Size: root.Size}, nil
}

// pushAt is Push for a name that says where, and what goes there.
func (e *Engine) pushAt(ctx context.Context, t transport, o PushOptions, sink progress.Sink) (PushResult, error) {
	if t.kind == transportRegistry {
		return e.Push(ctx, t.rest, o, sink)
	}
	_, word := t.split()
	if word == "" {
		return PushResult{}, errdefs.Invalid("%s: say which image goes there: camada push IMAGE %s", t, t)
	}
	return e.PushTo(ctx, word, t.String(), o, sink)
}

// pullAt is Pull from a file or a directory. The image gets the names that it has there, or the one that is asked for.
func (e *Engine) pullAt(ctx context.Context, t transport, opts PullOptions, sink progress.Sink) (PullResult, error) {
	if t.kind == transportRegistry {
		opts.Image = t.rest
		return e.Pull(ctx, opts, sink)
	}
	sink = progress.Or(sink)
	src, err := e.openOrigin(ctx, t, sink)
	if err != nil {
		return PullResult{}, fmt.Errorf("pull %s: %w", t, err)
	}
	defer src.close() //nolint:errcheck // only read
	root := src.root
	if opts.Platform != "" {
		if root, err = onlyOne(ctx, src, root, opts.Platform); err != nil {
			return PullResult{}, fmt.Errorf("pull %s: %w", t, err)
		}
	}
	names, err := src.namesOf(t)
	if err != nil {
		return PullResult{}, err
	}
	var about []ocispec.Descriptor
	if t.kind != transportDockerArchive {
		if about, err = e.aboutAt(ctx, src, root); err != nil {
			return PullResult{}, err
		}
	}
	count := &tally{Sink: renamed{sink, "pull-", "pull"}}
	if err = e.copyInto(ctx, src, root, about, names, "pull", transfer.Options{Concurrency: copies, Partial: true, Progress: count}); err == nil && !opts.Packed {
		err = e.unpackHere(ctx, root, sink)
	}
	if err != nil {
		return PullResult{}, fmt.Errorf("pull %s: %w", t, err)
	}
	e.noteImage(ctx, "pull", names[0].Familiar(), names[0].Familiar())
	return PullResult{Name: names[0].Familiar(), FullName: names[0].String(), Digest: root.Digest, New: count.Copied > 0}, nil
}

// namesOf are the names that the image has at its place, or the one of them that was asked for; without any, what load calls it.
func (s *copySource) namesOf(t transport) ([]reference.Reference, error) {
	_, word := t.split()
	var of layoutdir.Image
	for _, img := range s.images {
		if img.Descriptor.Digest == s.root.Digest {
			of = img
		}
	}
	for _, n := range of.Names {
		if n.Familiar() == word || n.String() == word {
			return []reference.Reference{n}, nil
		}
	}
	if len(of.Names) > 0 {
		return of.Names, nil
	}
	ref, err := reference.Parse(loadedName(s.root.Digest, of.RefName))
	return []reference.Reference{ref}, err
}

// unpackHere unpacks an image of the store when this machine can run it.
func (e *Engine) unpackHere(ctx context.Context, root ocispec.Descriptor, sink progress.Sink) error {
	img, err := image.Open(ctx, e.content, root, platform.Host())
	if err != nil || !runsHere(img) {
		return ctx.Err() // it is for another machine, or no image
	}
	snaps, err := e.snapshots(ctx)
	if err != nil {
		return ctx.Err() // where nothing can be unpacked an image can still be stored
	}
	_, err = unpack.Image(ctx, e.content, snaps, img.Layers, img.DiffIDs, unpack.Options{Progress: renamed{sink, "unpack-", "unpack"}})
	return err
}
