package image

import (
	"context"
	"strings"
	"time"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Row is a ref in a list of images.
type Row struct {
	// Repository is in the form that users write, Tag is "" for a ref without one.
	Repository string
	Tag        string
	// Digest of what the ref points to, and ID, the digest of the config.
	Digest digest.Digest
	ID     digest.Digest
	// Created is zero when it is not known.
	Created time.Time
	// Size of the image as it is stored, in bytes.
	Size int64
	// Labels of the config.
	Labels map[string]string
	// Ref is the ref itself.
	Ref Tag
	// Err tells why the image could not be read; ID, Created, Size and Labels are
	// then zero. A list does not end at one damaged image.
	Err error
}

// List returns a row for each ref, in their order. Of an index the image for the host is shown,
// or else the first that is in the store.
func List(ctx context.Context, p content.Provider, tags []Tag) ([]Row, error) {
	rows := make([]Row, 0, len(tags))
	known := map[digest.Digest]Row{}
	for _, t := range tags {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		r, ok := known[t.Descriptor.Digest]
		if !ok {
			r = rowOf(ctx, p, t.Descriptor)
			known[t.Descriptor.Digest] = r
		}
		r.Repository, r.Tag, r.Ref = t.Reference.FamiliarName(), t.Reference.Tag, t
		rows = append(rows, r)
	}
	return rows, nil
}

func rowOf(ctx context.Context, p content.Provider, desc ocispec.Descriptor) Row {
	r := Row{Digest: desc.Digest}
	img, err := OpenAny(ctx, p, desc)
	if err != nil {
		r.Err = err
		return r
	}
	r.ID, r.Size, r.Labels = img.ID(), img.Size(), img.Config.Config.Labels
	if img.Config.Created != nil {
		r.Created = *img.Config.Created
	}
	return r
}

// OpenAny opens the image for the host, or else the first of an index that is in the store: to
// show what there is, not to run it.
func OpenAny(ctx context.Context, p content.Provider, desc ocispec.Descriptor) (*Image, error) {
	img, err := Open(ctx, p, desc, ocispec.Platform{})
	if !errdefs.IsNotFound(err) || !IsIndex(desc.MediaType) {
		return img, err
	}
	all, manifestsErr := Manifests(ctx, p, desc)
	if manifestsErr != nil {
		return nil, err
	}
	for _, m := range all {
		img, openErr := Open(ctx, p, m, ocispec.Platform{})
		if openErr == nil {
			return img, nil
		}
	}
	return nil, err
}

// Match is an image that was found by its ID.
type Match struct {
	// ID is the digest of the config, or the digest of the index or manifest when it was that which matched.
	ID digest.Digest
	// Descriptor of the manifest whose config it is, or of the index or manifest itself.
	Descriptor ocispec.Descriptor
	// Refs lead to it.
	Refs []Tag
}

// minPrefix is how much of an ID must be given, in hex digits.
const minPrefix = 4

// IsID reports whether a word could be the beginning of an ID: hex of 4 to 64 digits, with or without "sha256:".
func IsID(word string) bool {
	hex, given := strings.CutPrefix(word, "sha256:")
	return len(hex) <= 64 && (len(hex) >= minPrefix || given && hex != "") && strings.Trim(hex, "0123456789abcdef") == ""
}

// Find finds an image by the beginning of its ID, or of the digest of its manifest or
// index, among what the refs point to. Only manifests are read, each once. ErrNotFound when
// none matches, ErrConflict when more than one image does.
func Find(ctx context.Context, p content.Provider, tags []Tag, prefix string) (Match, error) {
	hex, _ := strings.CutPrefix(prefix, "sha256:")
	if !IsID(prefix) {
		return Match{}, errdefs.Invalid("%.100q is not the ID of an image", prefix)
	}
	f := finder{p: p, hex: hex, refs: map[digest.Digest][]Tag{}}
	for _, t := range tags {
		f.refs[t.Descriptor.Digest] = append(f.refs[t.Descriptor.Digest], t)
	}
	done := map[digest.Digest]bool{}
	for _, t := range tags {
		if done[t.Descriptor.Digest] {
			continue
		}
		done[t.Descriptor.Digest] = true
		if err := f.look(ctx, t.Descriptor); err != nil {
			return Match{}, err
		}
	}
	if f.found == nil {
		return Match{}, errdefs.NotFound("no image has an ID that begins with %s", prefix)
	}
	return *f.found, nil
}

type finder struct {
	p     content.Provider
	hex   string
	refs  map[digest.Digest][]Tag
	found *Match
}

func (f *finder) matches(d digest.Digest) bool {
	return strings.HasPrefix(d.Encoded(), f.hex)
}

// look looks at what one ref points to.
func (f *finder) look(ctx context.Context, root ocispec.Descriptor) error {
	if f.matches(root.Digest) {
		return f.add(root.Digest, root, root)
	}
	missing := func(ocispec.Descriptor) error { return nil }
	return Walk(ctx, f.p, root, WalkOptions{Missing: missing}, func(d ocispec.Descriptor) error {
		if !IsManifest(d.MediaType) {
			return nil
		}
		if f.matches(d.Digest) {
			return f.add(d.Digest, d, root)
		}
		_, m, err := ReadManifest(ctx, f.p, d)
		if err == nil && IsConfig(m.Config.MediaType) && f.matches(m.Config.Digest) {
			return f.add(m.Config.Digest, d, root)
		}
		return nil
	})
}

func (f *finder) add(id digest.Digest, desc, root ocispec.Descriptor) error {
	refs := f.refs[root.Digest]
	if f.found == nil {
		f.found = &Match{ID: id, Descriptor: desc, Refs: refs}
		return nil
	}
	if f.found.ID != id {
		return errdefs.Conflict("the ID %s is not unique: %s and %s begin with it", f.hex, f.found.ID, id)
	}
	f.found.Refs = append(f.found.Refs[:len(f.found.Refs):len(f.found.Refs)], refs...)
	return nil
}
