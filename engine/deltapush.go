package engine

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/camada/camada/archive/compression"
	"github.com/camada/camada/content"
	"github.com/camada/camada/content/local"
	"github.com/camada/camada/delta"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/layer"
	"github.com/camada/camada/progress"
	"github.com/camada/camada/reference"
	"github.com/camada/camada/remote"
	"github.com/camada/camada/transfer"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// deltaVersions is how many earlier versions a delta is made from, unless they are named.
const deltaVersions = 3

// version is an earlier version of an image, here or in a registry.
type version struct {
	desc ocispec.Descriptor
	from content.Provider
}

// eitherOf reads blobs of the store, and what is not there from a registry.
type eitherOf struct {
	store content.Store
	repo  *remote.Repository
}

// Open implements content.Provider.
func (p eitherOf) Open(ctx context.Context, desc ocispec.Descriptor) (content.Reader, error) {
	r, err := p.store.Open(ctx, desc)
	if errdefs.IsNotFound(err) {
		return p.repo.Open(ctx, desc)
	}
	return r, err
}

// PushDelta is Push, and publishes how the layers are made from those of earlier versions: from those that are named, or from what the tag was
// before, in the registry and here. Machines that have one of them fetch less.
func (e *Engine) PushDelta(ctx context.Context, name string, from []string, o PushOptions, sink progress.Sink) (PushResult, []DeltaRow, error) {
	defer e.waits.show(sink)()
	ref, tag, err := e.toPush(ctx, name)
	if err != nil {
		return PushResult{}, nil, err
	}
	sink = progress.Or(sink)
	versions, err := e.earlier(ctx, ref, tag.Descriptor, from)
	if err != nil {
		return PushResult{}, nil, err
	}
	res, err := e.Push(ctx, name, o, sink)
	if err != nil || len(versions) == 0 {
		return res, nil, err
	}
	rows, err := e.pushDeltas(ctx, ref, tag.Descriptor, versions, len(from) > 0, sink)
	return res, rows, err
}

// earlier finds the versions that a delta is made from: those that are named, or what the tag is in the registry now and was here before. It
// is asked before the push.
func (e *Engine) earlier(ctx context.Context, ref reference.Reference, desc ocispec.Descriptor, names []string) ([]version, error) {
	repo := e.registries().Repository(ref)
	var all []version
	add := func(d ocispec.Descriptor, repo *remote.Repository) {
		same := func(v version) bool { return v.desc.Digest == d.Digest }
		if d.Digest != "" && d.Digest != desc.Digest && !slices.ContainsFunc(all, same) {
			all = append(all, version{ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}, eitherOf{e.content, repo}})
		}
	}
	for _, name := range names {
		if f, err := e.resolve(ctx, name); err == nil {
			add(f.descriptor, repo)
			continue
		}
		from, err := reference.ParseRemote(name)
		if err != nil {
			return nil, fmt.Errorf("--delta: %w", err)
		}
		at := from.Tag
		if from.Digest != "" {
			at = from.Digest.String()
		}
		other := e.registries().Repository(from)
		d, err := other.Resolve(ctx, at)
		if err != nil {
			return nil, fmt.Errorf("--delta %s: %w", name, err)
		}
		add(d, other)
	}
	if len(names) > 0 {
		return all, nil
	}
	// A registry that does not answer here fails the push that follows.
	if d, err := repo.Resolve(ctx, ref.Tag); err == nil {
		add(d, repo)
	}
	here, err := ref.Here()
	if err != nil {
		return nil, err
	}
	log, err := e.refs.Log(ctx, here)
	if err != nil && !errdefs.IsNotFound(err) {
		return nil, err
	}
	for _, entry := range log {
		add(entry.To, repo)
		add(entry.From, repo)
	}
	return all, nil
}

// pushDeltas publishes how the layers of an image are made from those of earlier versions, as referrers of its manifests.
func (e *Engine) pushDeltas(ctx context.Context, ref reference.Reference, desc ocispec.Descriptor, versions []version, named bool, sink progress.Sink) ([]DeltaRow, error) {
	list, err := e.manifests(ctx, desc)
	if err != nil {
		return nil, err
	}
	var rows []DeltaRow
	for _, m := range list {
		img, err := image.OpenAny(ctx, e.content, m)
		if err != nil || image.IsIndex(m.MediaType) {
			continue // an attestation, or an image of which only a part is here
		}
		row, err := e.pushDelta(ctx, ref, img, versions, named, sink)
		if err != nil {
			return rows, fmt.Errorf("publish a delta of %s: %w", m.Digest, err)
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// pushDelta publishes the delta of one image.
func (e *Engine) pushDelta(ctx context.Context, ref reference.Reference, img *image.Image, versions []version, named bool, sink progress.Sink) (DeltaRow, error) {
	row := DeltaRow{Digest: img.Descriptor.Digest, Layers: len(img.Layers)}
	sources, err := e.deltaSources(ctx, img, versions, named)
	if err != nil {
		return row, err
	}
	if row.Versions = len(sources); row.Versions == 0 {
		return row, nil
	}
	targets, err := e.deltaTargets(ctx, img)
	if err != nil {
		return row, err
	}
	dir, remove, err := e.tempDir(ctx)
	if err != nil {
		return row, err
	}
	defer remove()
	ev := progress.Event{ID: "delta-" + img.Descriptor.Digest.String(), Name: fmt.Sprintf("delta from %d earlier versions", len(sources))}
	sink.Emit(ev)
	pub, err := delta.Make(ctx, targets, sources, delta.MakeOptions{Dir: dir})
	if err == nil {
		defer pub.Close()
		row.Made, row.Skipped = len(pub.Document.Layers), len(pub.Skipped)
		if row.Made > 0 {
			row.Size, err = e.sendDelta(ctx, ref, img.Descriptor, pub, local.Open(dir, local.Options{}), sink)
		}
	}
	ev.State, ev.Err = progress.Done, err
	if err != nil {
		ev.State = progress.Failed
	}
	sink.Emit(ev)
	return row, err
}

// deltaSources are the layers of the earlier versions for the platform of an image. A version that was not named may be gone by now.
func (e *Engine) deltaSources(ctx context.Context, img *image.Image, versions []version, named bool) ([][]delta.Source, error) {
	var all [][]delta.Source
	for _, v := range versions {
		old, err := image.Open(ctx, v.from, v.desc, img.Config.Platform)
		if err == nil && !named {
			err = e.readable(ctx, v.from, old)
		}
		if err != nil {
			if named {
				return nil, fmt.Errorf("--delta %s: %w", v.desc.Digest, err)
			}
			continue
		}
		var layers []delta.Source
		for i, l := range old.Layers {
			id := old.DiffIDs[i]
			layers = append(layers, delta.Source{DiffID: id, Open: func(ctx context.Context) (io.ReadCloser, error) {
				return layer.Open(ctx, v.from, l, id, layer.OpenOptions{})
			}})
		}
		if all = append(all, layers); len(all) == deltaVersions {
			break
		}
	}
	return all, nil
}

// readable looks whether all layers of an image can be opened.
func (e *Engine) readable(ctx context.Context, p content.Provider, img *image.Image) error {
	for _, l := range img.Layers {
		if _, err := e.content.Stat(ctx, l.Digest); err == nil {
			continue
		}
		r, err := p.Open(ctx, l)
		if err != nil {
			return err
		}
		_, err = r.ReadAt(make([]byte, 1), 0)
		r.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// deltaTargets are the layers of an image that are in the store.
func (e *Engine) deltaTargets(ctx context.Context, img *image.Image) ([]delta.Target, error) {
	var targets []delta.Target
	for i, l := range img.Layers {
		r, err := e.content.Open(ctx, l)
		if errdefs.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		head := make([]byte, compression.DetectLen)
		n, err := r.ReadAt(head, 0)
		r.Close()
		if n == 0 && err != nil {
			return nil, err
		}
		id := img.DiffIDs[i]
		targets = append(targets, delta.Target{Digest: l.Digest, Head: head[:n], Source: delta.Source{DiffID: id,
			Open: func(ctx context.Context) (io.ReadCloser, error) {
				return layer.Open(ctx, e.content, l, id, layer.OpenOptions{Verified: true})
			}}})
	}
	return targets, nil
}

// sendDelta pushes document and pack as an artifact. They are kept for the time of the push only: who has the image needs no delta.
func (e *Engine) sendDelta(ctx context.Context, ref reference.Reference, subject ocispec.Descriptor, pub *delta.Published, tmp *local.Store, sink progress.Sink) (int64, error) {
	data, err := pub.Document.Marshal()
	if err != nil {
		return 0, err
	}
	doc, err := content.WriteBlob(ctx, tmp, data)
	if err != nil {
		return 0, err
	}
	pack, err := content.WriteReader(ctx, tmp, pub.Pack(), ocispec.Descriptor{Size: pub.Document.Size})
	if err != nil {
		return 0, err
	}
	doc.MediaType, pack.MediaType = delta.MediaTypeDocument, delta.MediaTypePack
	desc, err := image.WriteArtifact(ctx, tmp, image.Artifact{Type: delta.ArtifactType, Subject: &subject, Layers: []ocispec.Descriptor{doc, pack}})
	if err != nil {
		return 0, err
	}
	repo := e.registries().Repository(ref)
	o := transfer.Options{Concurrency: transfers, Progress: renamed{sink, "push-delta-", "push"}}
	return doc.Size + pack.Size, transfer.Push(ctx, tmp, repo.Target("", desc), desc, o)
}

// DeltaRow tells what was published for one image.
type DeltaRow struct {
	Digest digest.Digest
	// Versions are the earlier ones that it starts from; of its Layers so many were Made, and Skipped because their compression is
	// not known. The others are in the earlier versions.
	Versions, Layers, Made, Skipped int
	// Size of the delta in the registry, in bytes. Each client reads a part of it.
	Size int64
}
