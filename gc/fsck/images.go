package fsck

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// images checks that each ref leads to a whole image.
func (c *check) images(ctx context.Context) error {
	tags, err := c.s.Refs.List(ctx)
	if errdefs.IsCorrupt(err) || errdefs.IsLimit(err) {
		// The file of the ref is reported already.
		c.rep.Notes = append(c.rep.Notes, "images were not checked: "+err.Error())
		return nil
	}
	if err != nil {
		return err
	}
	c.rep.Refs = len(tags)
	for _, tag := range tags {
		g := &graph{check: c, ref: tag.Reference.Familiar(), seen: map[digest.Digest]bool{}}
		if err := g.visit(ctx, tag.Descriptor, 0, true); err != nil {
			return err
		}
		if len(g.problems) == 0 {
			continue
		}
		// A ref that was moved or removed meanwhile may have lost its image to gc.
		if now, err := c.s.Refs.Get(ctx, tag.Reference); err != nil || now.Descriptor.Digest != tag.Descriptor.Digest {
			continue
		}
		for _, p := range g.problems {
			c.problem(p)
		}
	}
	return nil
}

// maxDepth bounds how deep indexes may lie in each other.
const maxDepth = 32

// graph is one image.
type graph struct {
	*check
	ref      string
	seen     map[digest.Digest]bool
	problems []Problem
}

func (g *graph) add(kind string, desc ocispec.Descriptor, format string, args ...any) {
	g.problems = append(g.problems, Problem{
		Kind: kind, Path: g.ref, Detail: fmt.Sprintf("%s %s: ", desc.MediaType, desc.Digest) + fmt.Sprintf(format, args...),
		Advice: "pull or build " + g.ref + " again, or remove it",
	})
}

// visit checks a blob and what it leads to. An image that an index names may be
// missing unless it must be there: often only one platform of it is fetched.
func (g *graph) visit(ctx context.Context, desc ocispec.Descriptor, depth int, must bool) error {
	if g.seen[desc.Digest] {
		return nil
	}
	g.seen[desc.Digest] = true
	if err := ctx.Err(); err != nil {
		return err
	}
	info, err := g.s.Blobs.Stat(ctx, desc.Digest)
	switch {
	case errdefs.IsNotFound(err) && (!must || len(desc.URLs) > 0):
		return nil
	case errdefs.IsNotFound(err):
		g.add(MissingBlob, desc, "it is not in the store%s", g.where(desc.Digest))
		return nil
	case errdefs.IsInvalid(err), errdefs.IsUnsupported(err), errdefs.IsCorrupt(err):
		g.add(BadManifest, desc, "%v", err)
		return nil
	case err != nil:
		return err
	}
	if desc.Size != info.Size {
		g.add(BadManifest, desc, "it has %d bytes, and is named with %d", info.Size, desc.Size)
	}
	return g.children(ctx, desc, depth)
}

// where tells that a blob was moved to lost+found.
func (g *graph) where(d digest.Digest) string {
	return map[bool]string{true: "; a damaged one is in lost+found"}[g.quarantined(d)]
}

func (g *graph) quarantined(d digest.Digest) bool {
	found, err := filepath.Glob(filepath.Join(g.lost, "*"+d.Encoded()))
	return err == nil && len(found) > 0
}

func (g *graph) children(ctx context.Context, desc ocispec.Descriptor, depth int) error {
	if depth > maxDepth {
		g.add(BadManifest, desc, "it lies deeper than %d indexes", maxDepth)
		return nil
	}
	children, err := image.Children(ctx, g.s.Blobs, desc)
	switch {
	case errdefs.IsCorrupt(err), errdefs.IsLimit(err), errdefs.IsUnsupported(err), errdefs.IsInvalid(err):
		g.add(BadManifest, desc, "%v", err)
		return nil
	case errdefs.IsNotFound(err):
		return nil
	case err != nil:
		return err
	}
	must := !image.IsIndex(desc.MediaType)
	there := 0
	for _, child := range children {
		if ok, err := content.Exists(ctx, g.s.Blobs, child.Digest); err == nil && ok {
			there++
		}
		if err := g.visit(ctx, child, depth+1, must); err != nil {
			return err
		}
	}
	if !must && there == 0 && len(children) > 0 {
		g.add(MissingBlob, desc, "no image that this index names is in the store")
	}
	return nil
}
