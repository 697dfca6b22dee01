package engine

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/camada/camada/content"
	"github.com/camada/camada/content/local"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/image/layoutdir"
	"github.com/camada/camada/image/tarball"
	"github.com/camada/camada/progress"
	"github.com/camada/camada/reference"
	"github.com/camada/camada/remote"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// The transports of copy and sync; names without one are of the store.
const (
	transportStore         = ""
	transportRegistry      = "docker"
	transportLayout        = "oci"
	transportArchive       = "oci-archive"
	transportDockerArchive = "docker-archive"
)

// transport is a place of images as users write it: skopeo's words.
type transport struct {
	kind string
	// rest is what follows the word.
	rest string
	// ref is the name in a registry or in the store.
	ref reference.Reference
}

// parseTransport reads docker://NAME, ssh://HOST/NAME, oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:NAME] or a NAME of the store.
func parseTransport(text string) (transport, error) {
	t := transport{rest: text}
	word, rest, found := strings.Cut(text, ":")
	switch {
	case strings.HasPrefix(text, reference.SSH):
		t.kind = transportRegistry
	case found && word == transportRegistry:
		name, ok := strings.CutPrefix(rest, "//")
		if !ok {
			return t, errdefs.Invalid("%q: images of registries are written docker://HOST/NAME", text)
		}
		t.kind, t.rest = word, name
	case found && (word == transportLayout || word == transportArchive || word == transportDockerArchive):
		t.kind, t.rest = word, rest
		if rest == "" || strings.HasPrefix(rest, ":") {
			return t, errdefs.Invalid("%q names no path", text)
		}
		return t, nil
	case found && slices.Contains([]string{"dir", "docker-daemon", "containers-storage", "ostree", "sif", "tarball"}, word):
		return t, errdefs.Unsupported("%q: the transport %s is not known; there are docker://, ssh://, oci:, oci-archive:, docker-archive: and names of the store", text, word)
	default:
		if _, _, ok := logEntry(text); ok || image.IsID(text) {
			return t, nil // the store finds out
		}
	}
	parse := reference.Parse
	if t.kind == transportRegistry {
		parse = reference.ParseRemote
	}
	ref, err := parse(t.rest)
	t.ref = ref
	return t, err
}

// split cuts PATH[:WORD] as skopeo does, at the first colon.
func (t transport) split() (path, word string) {
	path, word, _ = strings.Cut(t.rest, ":")
	return path, word
}

func (t transport) String() string {
	switch t.kind {
	case transportStore:
		return t.rest
	case transportRegistry:
		return registryWord(t.rest)
	}
	return t.kind + ":" + t.rest
}

// registryWord is the name of a registry, or of something in it, as users write it.
func registryWord(name string) string {
	if strings.HasPrefix(name, reference.SSH) {
		return name
	}
	return "docker://" + name
}

// copySource is where a copy comes from.
type copySource struct {
	content.Provider
	// root is what the name stands for: an index, a manifest.
	root ocispec.Descriptor
	// repo is nil for what is no registry, store is set for the store.
	repo  *remote.Repository
	store bool
	// entries are those of a layout or an archive.
	entries []ocispec.Descriptor
	// images are those of a layout or an archive, with their names.
	images []layoutdir.Image
	close  func() error
}

func nothingToClose() error { return nil }

// openOrigin finds an image at its transport. Nothing is copied, except that archives are unpacked into a temporary store.
func (e *Engine) openOrigin(ctx context.Context, t transport, sink progress.Sink) (*copySource, error) {
	switch t.kind {
	case transportRegistry:
		repo := e.registries().Repository(t.ref)
		at := t.ref.Tag
		if t.ref.Digest != "" {
			at = t.ref.Digest.String()
		}
		root, err := repo.Resolve(ctx, at)
		if err != nil {
			return nil, pullError(t.ref, err)
		}
		return &copySource{Provider: repo, root: root, repo: repo, close: nothingToClose}, nil
	case transportLayout:
		dir, root, err := openLayout(t.rest)
		if err != nil {
			return nil, err
		}
		return &copySource{Provider: dir, root: root, entries: dir.Entries(), images: dir.Images(), close: dir.Close}, nil
	case transportArchive, transportDockerArchive:
		return e.openArchive(ctx, t, sink)
	}
	f, err := e.resolve(ctx, t.rest)
	return &copySource{Provider: e.content, root: f.descriptor, store: true, close: nothingToClose}, err
}

// openLayout opens PATH or PATH:NAME of an OCI layout; without a name there must be one image only.
func openLayout(name string) (*layoutdir.Dir, ocispec.Descriptor, error) {
	path, word := name, ""
	for i := range name { // the name has colons too, and so may the path
		if _, err := os.Stat(path); err == nil {
			break
		}
		if _, err := os.Stat(name[:i]); err == nil && name[i] == ':' {
			path, word = name[:i], name[i+1:]
		}
	}
	dir, err := layoutdir.Open(path)
	if err != nil {
		return nil, ocispec.Descriptor{}, err
	}
	if desc, ok := entryNamed(dir.Entries(), word); ok {
		return dir, desc, nil
	}
	desc, err := oneOf(path, word, named(dir.Images()))
	if err != nil {
		return nil, desc, errors.Join(err, dir.Close())
	}
	return dir, desc, nil
}

// entryNamed is the entry of a layout whose name is word to the letter.
func entryNamed(entries []ocispec.Descriptor, word string) (ocispec.Descriptor, bool) {
	for _, d := range entries {
		if word != "" && d.Annotations[ocispec.AnnotationRefName] == word && (image.IsIndex(d.MediaType) || image.IsManifest(d.MediaType)) {
			d.Annotations = nil
			return d, true
		}
	}
	return ocispec.Descriptor{}, false
}

// openArchive loads an archive into a store of its own, which is removed at the end.
func (e *Engine) openArchive(ctx context.Context, t transport, sink progress.Sink) (*copySource, error) {
	path, word := t.split()
	f, err := os.Open(path)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, errdefs.NotFound("there is no file %s", path)
		}
		return nil, errdefs.With(errdefs.ErrUnavailable, err)
	}
	defer f.Close()
	tmp, remove, err := e.tempDir(ctx)
	if err != nil {
		return nil, err
	}
	store := local.Open(filepath.Join(tmp, "archive"), local.Options{})
	loaded, err := tarball.Load(ctx, f, store, tarball.LoadOptions{Progress: sink})
	var images []layoutdir.Image
	var entries []ocispec.Descriptor
	for _, l := range loaded {
		images = append(images, layoutdir.Image{Descriptor: l.Descriptor, Names: l.Names, RefName: l.RefName})
		entries = append(entries, l.Descriptor)
	}
	var root ocispec.Descriptor
	if err == nil {
		root, err = oneOf(path, word, named(images))
	}
	if err != nil {
		remove()
		return nil, err
	}
	return &copySource{Provider: store, root: root, entries: entries, images: images, close: func() error { remove(); return nil }}, nil
}

// named are the images that have names, when there are any: the others are what refers to them.
func named(images []layoutdir.Image) []layoutdir.Image {
	var with []layoutdir.Image
	for _, i := range images {
		if len(i.Names) > 0 || i.RefName != "" {
			with = append(with, i)
		}
	}
	if with == nil {
		return images
	}
	return with
}
