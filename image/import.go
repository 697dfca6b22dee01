package image

import (
	"context"
	"time"

	"github.com/camada/camada/content"
	"github.com/camada/camada/platform"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// ImportOptions shape the image that is made of a root file system.
type ImportOptions struct {
	// Platform of the image; the zero value is the host's.
	Platform ocispec.Platform
	// Created goes to the config and its history; the zero value leaves it out, so
	// that the image depends on the file system alone.
	Created time.Time
	// Message is the comment of the history.
	Message string
	// Config says how to run it.
	Config ExecConfig
}

// Import stores an image of one layer and returns the descriptor of its manifest. The
// layer is in the store already: its descriptor has media type, digest and size.
func Import(ctx context.Context, ing content.Ingester, layer ocispec.Descriptor, diffID digest.Digest, opts ImportOptions) (ocispec.Descriptor, error) {
	var cfg Config
	cfg.Platform = platform.Normalize(opts.Platform)
	if cfg.OS == "" && cfg.Architecture == "" {
		cfg.Platform = platform.Host()
	}
	cfg.Config = opts.Config
	cfg.RootFS = ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{diffID}}
	h := ocispec.History{CreatedBy: "camada import", Comment: opts.Message}
	if !opts.Created.IsZero() {
		created := opts.Created.UTC()
		cfg.Created, h.Created = &created, &created
	}
	cfg.History = []ocispec.History{h}
	return Write(ctx, ing, cfg, []ocispec.Descriptor{layer}, nil)
}
