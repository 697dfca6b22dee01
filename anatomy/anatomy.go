// Package anatomy tells what is in an image and how it came to be, layer by layer.
//
//	a, err := anatomy.Open(ctx, store, indexes, img)
//	a.Layers                    // sizes, instructions, bytes that later layers hide
//	a.Waste()                   // which files are there more than once, or for nothing; the efficiency
//	a.Why("usr/bin/server")     // which layer brought it, what it overwrote, what hid it
//	anatomy.Compare(a, b)       // what two images have that the other has not
//
// It reads no layer but to make a list of it that is not there yet: all answers come from the lists of package
// layer/index, merged into one tree that has, for each path, all that ever was there.
package anatomy

import (
	"context"
	"runtime"
	"time"

	"github.com/camada/camada/content"
	"github.com/camada/camada/image"
	"github.com/camada/camada/layer/index"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// Lists finds what is in a layer; *index.Store does.
type Lists interface {
	Of(ctx context.Context, p content.Provider, desc ocispec.Descriptor, diffID digest.Digest) (*index.Index, error)
}

// Layer is one layer of an image.
type Layer struct {
	// Descriptor is that of the blob, as it is stored.
	Descriptor ocispec.Descriptor
	DiffID     digest.Digest
	// ChainID names the layer with all below it.
	ChainID digest.Digest
	Index   *index.Index
	// Instruction is what the image's history says of the layer; "" for nothing.
	Instruction string
	Comment     string
	Created     time.Time
	// Unpacked is the sum of the sizes of its files, Wasted what later layers hide of it, in bytes.
	Unpacked, Wasted int64
	// Files are its entries that are no marks; Added, Changed and Removed what it did to the layers below. Directories that are only implied
	// by what is in them are not counted.
	Files, Added, Changed, Removed int
}

// Image is an image with the lists of its layers. It is read only.
type Image struct {
	*image.Image
	// Layers shadows the descriptors of the manifest; the base is the first.
	Layers []Layer
	root   *Node
}

// Open finds the lists of all layers of img, whose blobs p has, and merges them. An image with more than eight million paths, or with
// paths deeper than 4096 directories, is ErrLimit.
func Open(ctx context.Context, p content.Provider, lists Lists, img *image.Image) (*Image, error) {
	a := &Image{Image: img, Layers: make([]Layer, len(img.Layers))}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	var chain digest.Digest
	for i := range a.Layers {
		l := &a.Layers[i]
		l.Descriptor, l.DiffID = img.Layers[i], img.DiffIDs[i]
		if chain = chainID(chain, l.DiffID); true {
			l.ChainID = chain
		}
		g.Go(func() (err error) {
			l.Index, err = lists.Of(gctx, p, l.Descriptor, l.DiffID)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	a.instructions()
	if err := a.merge(ctx); err != nil {
		return nil, err
	}
	return a, nil
}

// chainID is that of a layer on top of parent (OCI image-spec, config.md, "Layer ChainID").
func chainID(parent, diffID digest.Digest) digest.Digest {
	if parent == "" {
		return diffID
	}
	return digest.FromString(parent.String() + " " + diffID.String())
}

// instructions gives the layers their entries of the history: those that are not empty, in order.
func (a *Image) instructions() {
	next := 0
	for _, h := range a.Config.History {
		if h.EmptyLayer || next == len(a.Layers) {
			continue
		}
		l := &a.Layers[next]
		l.Instruction, l.Comment = h.CreatedBy, h.Comment
		if h.Created != nil {
			l.Created = *h.Created
		}
		next++
	}
}

// Size is what the layers' files take, in bytes: all of them, hidden or not.
func (a *Image) Size() (n int64) {
	for i := range a.Layers {
		n += a.Layers[i].Unpacked
	}
	return n
}
