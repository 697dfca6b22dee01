package transfer

import (
	"context"
	"fmt"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/progress"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	// maxDepth bounds how deep indexes lie in each other.
	maxDepth = 8
	// maxNodes bounds how many blobs one copy has.
	maxNodes = 1 << 20
)

// copier is one Copy under way.
type copier struct {
	src  Source
	dst  sink
	opts Options
	sink progress.Sink
}

// sink is where the blobs go.
type sink interface {
	have(ctx context.Context, desc ocispec.Descriptor) (bool, error)
	// put copies a blob from src, the readers of which tell how far they are. Its errors have their sides.
	put(ctx context.Context, src *counting, desc ocispec.Descriptor) error
}

// node is a blob to be copied.
type node struct {
	desc ocispec.Descriptor
	// children have to be at the destination before this one.
	children []*node
	// done is closed when the blob is there, or is left out.
	done chan struct{}
	// absent is set before done is closed when the blob is left out.
	absent bool
}

// planner makes the list of nodes.
type planner struct {
	*copier
	nodes []*node
	made  map[visit]*node
}

// visit tells nodes apart. A manifest that is named once as a layer and once
// as a manifest is looked into all the same.
type visit struct {
	digest    digest.Digest
	mediaType string
}

// plan lists the nodes of the graph, children before their parents.
func (c *copier) plan(ctx context.Context, root ocispec.Descriptor) ([]*node, error) {
	p := planner{copier: c, made: map[visit]*node{}}
	_, err := p.add(ctx, root, 0)
	return p.nodes, err
}

// add adds desc and all that it leads to. It returns nil when desc is left out.
func (p *planner) add(ctx context.Context, desc ocispec.Descriptor, depth int) (*node, error) {
	key := visit{desc.Digest, desc.MediaType}
	if n, ok := p.made[key]; ok {
		return n, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if depth > maxDepth {
		return nil, errdefs.Limit("index %s lies deeper than %d indexes", desc.Digest, maxDepth)
	}
	if len(p.made) >= maxNodes {
		return nil, errdefs.Limit("the image has more than %d parts", maxNodes)
	}
	children, err := image.Children(ctx, p.src, desc)
	if errdefs.IsNotFound(err) && depth > 0 && p.opts.Partial {
		p.made[key] = nil
		return nil, nil
	}
	if err != nil {
		return nil, fail(AtSource, desc.Digest, err)
	}
	n := &node{desc: desc, done: make(chan struct{})}
	p.made[key] = n
	for _, c := range children {
		child, err := p.add(ctx, c, depth+1)
		if err != nil {
			return nil, err
		}
		if child != nil {
			n.children = append(n.children, child)
		}
	}
	if image.IsIndex(desc.MediaType) && len(children) > 0 && len(n.children) == 0 {
		return nil, fail(AtSource, desc.Digest, errdefs.NotFound("none of the manifests of the index is there"))
	}
	p.nodes = append(p.nodes, n)
	return n, nil
}

// name is what people call a blob.
func name(d ocispec.Descriptor) string {
	return fmt.Sprintf("copy %.12s", d.Digest.Encoded())
}
