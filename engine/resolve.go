package engine

import (
	"context"
	"strconv"
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/platform"
	"github.com/camada/camada/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// found is what a name of an image stands for.
type found struct {
	// ref is zero when the name was an ID.
	ref        reference.Reference
	descriptor ocispec.Descriptor
	// refs lead to the image, when the name was an ID.
	refs []image.Tag
}

// resolve finds an image by what users write: a reference, a reference@{n} for what the tag
// pointed to n moves ago, a digest of manifest or config, or the beginning of an ID.
func (e *Engine) resolve(ctx context.Context, name string) (found, error) {
	if d := digest.Digest(name); d.Validate() == nil {
		return e.byID(ctx, name, d.Encoded())
	}
	if base, n, ok := logEntry(name); ok {
		return e.byLog(ctx, base, n)
	}
	ref, err := reference.Parse(name)
	if err != nil {
		if image.IsID(name) {
			return e.byID(ctx, name, name)
		}
		return found{}, err
	}
	tag, err := e.byReference(ctx, ref)
	if errdefs.IsNotFound(err) && image.IsID(name) {
		if f, idErr := e.byID(ctx, name, name); idErr == nil || !errdefs.IsNotFound(idErr) {
			return f, idErr
		}
	}
	return tag, err
}

func (e *Engine) byReference(ctx context.Context, ref reference.Reference) (found, error) {
	if ref.Digest != "" { // name@digest: any tag of this name
		tags, err := e.refs.List(ctx)
		if err != nil {
			return found{}, err
		}
		for _, t := range tags {
			if t.Reference.Name() == ref.Name() && t.Descriptor.Digest == ref.Digest {
				return found{ref: t.Reference, descriptor: t.Descriptor}, nil
			}
		}
		return found{}, errdefs.NotFound("no such image: %s", ref.Familiar())
	}
	tag, err := e.refs.Get(ctx, ref)
	if errdefs.IsNotFound(err) {
		return found{}, errdefs.NotFound("no such image: %s", ref.Familiar())
	}
	return found{ref: tag.Reference, descriptor: tag.Descriptor}, err
}

// logEntry splits "app@{2}".
func logEntry(name string) (base string, n int, ok bool) {
	base, rest, ok := strings.Cut(name, "@{")
	if !ok || !strings.HasSuffix(rest, "}") {
		return "", 0, false
	}
	n, err := strconv.Atoi(rest[:len(rest)-1])
	return base, n, err == nil && n >= 0
}

func (e *Engine) byLog(ctx context.Context, base string, n int) (found, error) {
	ref, err := reference.Parse(base)
	if err != nil {
		return found{}, err
	}
	entries, err := e.refs.Log(ctx, ref)
	if err != nil {
		return found{}, err
	}
	if n >= len(entries) || entries[n].To.Digest == "" {
		return found{}, errdefs.NotFound("%s@{%d}: the log has no such image; see camada log %s", base, n, base)
	}
	return found{ref: ref, descriptor: entries[n].To}, nil
}

// byID finds the image whose config or manifest digest begins with prefix.
func (e *Engine) byID(ctx context.Context, name, prefix string) (found, error) {
	tags, err := e.refs.List(ctx)
	if err != nil {
		return found{}, err
	}
	m, err := image.Find(ctx, e.content, tags, prefix)
	if errdefs.IsNotFound(err) {
		return found{}, errdefs.NotFound("no such image: %s", name)
	}
	return found{descriptor: m.Descriptor, refs: m.Refs}, err
}

// open reads the image that name stands for, for a platform ("" is the host's).
func (e *Engine) open(ctx context.Context, name, want string) (*image.Image, found, error) {
	var p ocispec.Platform
	if want != "" {
		var err error
		if p, err = platform.Parse(want); err != nil {
			return nil, found{}, err
		}
	}
	f, err := e.resolve(ctx, name)
	if err != nil {
		return nil, f, err
	}
	img, err := image.Open(ctx, e.content, f.descriptor, p)
	return img, f, err
}
