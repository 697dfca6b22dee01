package engine

import (
	"context"
	"path"
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/mount"
	"github.com/camada/camada/reference"
	"github.com/camada/camada/unpack"
	"github.com/docker/go-units"
)

// Images lists the tags. A tag whose image cannot be read is listed without its details.
func (e *Engine) Images(ctx context.Context, filter ImageFilter) ([]ImageRow, error) {
	match, err := imageMatcher(filter)
	if err != nil {
		return nil, err
	}
	tags, err := e.refs.List(ctx)
	if err != nil {
		return nil, err
	}
	list, err := image.List(ctx, e.content, tags)
	if err != nil {
		return nil, err
	}
	rows := []ImageRow{}
	for _, r := range list {
		if !match(r) {
			continue
		}
		row := ImageRow{Repository: r.Repository, Tag: r.Tag, Digest: r.Digest.String(), ID: r.ID.String(), CreatedAt: r.Created,
			SizeBytes: r.Size, Size: units.HumanSizeWithPrecision(float64(r.Size), 3)}
		if r.Err != nil {
			row.ID, row.Size = r.Digest.String(), "damaged"
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// imageMatcher makes a predicate of a filter.
func imageMatcher(f ImageFilter) (func(image.Row) bool, error) {
	var patterns []string
	labels := map[string]string{}
	if f.Name != "" {
		patterns = append(patterns, f.Name)
	}
	for _, text := range f.Filters {
		k, v, ok := strings.Cut(text, "=")
		switch {
		case ok && k == "reference":
			patterns = append(patterns, v)
		case ok && k == "label":
			name, value, _ := strings.Cut(v, "=")
			labels[name] = value
		default:
			return nil, errdefs.Invalid("--filter %q: want reference=PATTERN or label=NAME[=VALUE]", text)
		}
	}
	for _, p := range patterns {
		if _, err := path.Match(p, ""); err != nil {
			return nil, errdefs.Invalid("%q is not a pattern: %w", p, err)
		}
	}
	return func(r image.Row) bool {
		for _, p := range patterns {
			if !matchName(p, r.Ref.Reference) {
				return false
			}
		}
		for k, v := range labels {
			if got, ok := r.Labels[k]; !ok || v != "" && got != v {
				return false
			}
		}
		return true
	}, nil
}

// matchName reports whether a pattern names ref: in full or familiar form, with or without its tag.
func matchName(pattern string, ref reference.Reference) bool {
	for _, name := range []string{ref.FamiliarName(), ref.Familiar(), ref.Name(), ref.String()} {
		if ok, _ := path.Match(pattern, name); ok {
			return true
		}
	}
	return false
}

// History tells the instructions that made an image, the newest first.
func (e *Engine) History(ctx context.Context, name string) ([]HistoryRow, error) {
	f, err := e.resolve(ctx, name)
	if err != nil {
		return nil, err
	}
	img, err := image.OpenAny(ctx, e.content, f.descriptor)
	if err != nil {
		return nil, err
	}
	rows := []HistoryRow{}
	for _, h := range img.History() {
		rows = append(rows, HistoryRow{ID: h.ID, CreatedAt: h.Created, CreatedBy: h.CreatedBy, Comment: h.Comment,
			SizeBytes: h.Size, Size: units.HumanSizeWithPrecision(float64(h.Size), 3)})
	}
	return rows, nil
}

// ImageInspect is all that is known of an image.
type ImageInspect struct {
	image.Inspection
	// Parent is what the classic builder of Docker notes; images of others have none.
	Parent string
	// GraphDriver tells where the files are once the image was unpacked.
	GraphDriver GraphDriver
}

// inspectImage reads all that is known of an image.
func (e *Engine) inspectImage(ctx context.Context, name string) (*ImageInspect, error) {
	f, err := e.resolve(ctx, name)
	if err != nil {
		return nil, err
	}
	img, err := image.OpenAny(ctx, e.content, f.descriptor)
	if err != nil {
		return nil, err
	}
	tags, err := e.refs.List(ctx)
	if err != nil {
		return nil, err
	}
	return &ImageInspect{Inspection: image.Inspect(img, f.descriptor, tags), GraphDriver: e.imageFiles(ctx, img)}, nil
}

// imageFiles tells where the files of an image are, as far as that can be found out: of an overlay UpperDir is the highest layer.
func (e *Engine) imageFiles(ctx context.Context, img *image.Image) GraphDriver {
	return e.graphDriver(ctx, func(snaps snapshots) (mount.Mount, error) {
		s, err := snaps.Lookup(ctx, unpack.ChainID(img.DiffIDs))
		if err != nil {
			return mount.Mount{}, err
		}
		m, err := snaps.Mount(ctx, s.ID)
		if m.Kind == mount.Overlay && len(m.Lower) > 1 {
			m.Upper, m.Lower = m.Lower[0], m.Lower[1:]
		}
		return m, err
	})
}

// RemoveImage removes the tag that name is, or the tags of the image whose ID it is, and returns
// the familiar names that are gone. Without force a tag that a container uses stays, and
// so do several tags of one ID.
func (e *Engine) RemoveImage(ctx context.Context, name string, force bool) ([]string, error) {
	f, err := e.resolve(ctx, name)
	if err != nil {
		return nil, err
	}
	refs := []reference.Reference{f.ref}
	if f.ref.Repository == "" {
		refs = refs[:0]
		for _, t := range f.refs {
			refs = append(refs, t.Reference)
		}
		if len(refs) > 1 && !force {
			return nil, errdefs.Conflict("image %s has %d tags; remove them by name, or all with -f", name, len(refs))
		}
	}
	if !force {
		if user, err := e.usedBy(ctx, f.descriptor.Digest); err != nil {
			return nil, err
		} else if user != "" {
			return nil, errdefs.Conflict("image %s is used by container %s; remove that first, or force with -f", name, user)
		}
	}
	var gone []string
	for _, r := range refs {
		if err := e.refs.Delete(ctx, r, image.SetOptions{Verb: "rmi"}); err != nil {
			return gone, err
		}
		gone = append(gone, r.Familiar())
		e.noteImage(ctx, "untag", f.descriptor.Digest.String(), r.Familiar())
	}
	return gone, nil
}

// Inspect shows a container, an image, a network or a volume. ErrNotFound when there is none of the name.
func (e *Engine) Inspect(ctx context.Context, name string, o InspectOptions) (any, error) {
	kinds := []struct {
		kind string
		find func() (any, error)
	}{
		{"container", func() (any, error) { return e.inspectContainer(ctx, name, o.Size) }},
		{"image", func() (any, error) { return e.inspectImage(ctx, name) }},
		{"network", func() (any, error) { return e.InspectNetwork(ctx, name) }},
		{"volume", func() (any, error) { return e.InspectVolume(ctx, name) }},
	}
	known := false
	for _, k := range kinds {
		if o.Type != "" && o.Type != k.kind {
			continue
		}
		known = true
		v, err := k.find()
		if err == nil || o.Type != "" || !errdefs.IsNotFound(err) && !errdefs.IsInvalid(err) {
			return v, err
		}
	}
	if !known {
		return nil, errdefs.Invalid("--type %q: want container, image, network or volume", o.Type)
	}
	return nil, errdefs.NotFound("no such object: %s", name)
}
