// Package exporter writes the result of a build as an OCI image: its config
// and its manifest, as canonical JSON in a content store. It sets no ref.
//
//	desc, cfg, err := exporter.Write(ctx, store, exporter.Input{Config: img, Layers: layers, Epoch: epoch, NewHistory: n})
package exporter

import (
	"context"
	"fmt"
	"time"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/layer"
	"github.com/camada/camada/lease"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Store is where an image is written to.
type Store interface {
	content.Ingester
	content.Statter
	content.Syncer
}

// Input is what an image is made of.
type Input struct {
	// Config without diffIDs and times.
	Config image.Config
	// Layers, the lowest first. Their blobs are in the store.
	Layers []layer.Layer
	// Epoch becomes the time of the image, and of the history entries from NewHistory on.
	Epoch      time.Time
	NewHistory int
	// Annotations of the manifest; may be nil.
	Annotations map[string]string
}

// Output is a written image.
type Output struct {
	Manifest, Config ocispec.Descriptor
	Image            image.Config
}

// Write stores config and manifest, pins them and makes them and the layers durable.
func Write(ctx context.Context, store Store, pins lease.Pinner, in Input) (Output, error) {
	cfg := in.Config.Clone()
	epoch := in.Epoch.UTC()
	cfg.Created = &epoch
	for i := in.NewHistory; i < len(cfg.History); i++ {
		cfg.History[i].Created = &epoch
	}
	cfg.RootFS.Type, cfg.RootFS.DiffIDs = "layers", []digest.Digest{}
	var descs []ocispec.Descriptor
	var blobs []digest.Digest
	for _, l := range in.Layers {
		cfg.RootFS.DiffIDs = append(cfg.RootFS.DiffIDs, l.DiffID)
		descs = append(descs, l.Descriptor)
		blobs = append(blobs, l.Descriptor.Digest)
	}
	config, err := content.WriteJSON(ctx, store, ocispec.MediaTypeImageConfig, cfg)
	if err != nil {
		return Output{}, fmt.Errorf("write config: %w", err)
	}
	manifest, err := image.WriteManifest(ctx, store, config, descs, in.Annotations)
	if err != nil {
		return Output{}, err
	}
	p := cfg.Platform
	manifest.Platform = &p
	blobs = append(blobs, config.Digest, manifest.Digest)
	// Pinned first, then looked at: what a collector took in between is noticed here.
	rs := make([]lease.Resource, len(blobs))
	for i, b := range blobs {
		rs[i] = lease.Blob(b)
	}
	if err := pins.Pin(ctx, rs...); err != nil {
		return Output{}, err
	}
	if err := store.Sync(ctx, blobs...); err != nil {
		if errdefs.IsNotFound(err) {
			err = errdefs.Unavailable("a blob of the image was removed while it was being built; build again: %w", err)
		}
		return Output{}, fmt.Errorf("make the image durable: %w", err)
	}
	return Output{Manifest: manifest, Config: config, Image: cfg}, nil
}
