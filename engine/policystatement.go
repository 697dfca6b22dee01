package engine

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/camada/camada/attest"
	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxStatement is the size of a statement about an image, in bytes: a bill of materials is the largest.
const maxStatement = 64 << 20

// isStatement reports whether a layer says to be a statement about another image: those that BuildKit adds to an index, and those that cosign stores under
// names that end in .sig, .att and .sbom, with the config of an image.
func isStatement(mediaType string) bool {
	switch mediaType {
	case attest.MediaType, "application/vnd.dev.cosign.simplesigning.v1+json", "application/vnd.dsse.envelope.v1+json",
		"application/spdx+json", "spdx+json", "text/spdx+json", "application/vnd.cyclonedx+json", "application/vnd.syft+json":
		return true
	}
	return false
}

// statements reports whether a manifest that has the config of an image holds only statements about another one, which nobody runs. Some run what has
// such types all the same, by its bytes, so that these are looked at: ErrPermission when they are none.
func statements(ctx context.Context, src content.Provider, desc ocispec.Descriptor) (bool, error) {
	_, m, err := image.ReadManifest(ctx, src, desc)
	if err != nil {
		return false, err
	}
	other := func(l ocispec.Descriptor) bool { return !isStatement(l.MediaType) }
	if !image.IsConfig(m.Config.MediaType) || len(m.Layers) == 0 || slices.ContainsFunc(m.Layers, other) {
		return false, nil
	}
	for _, l := range m.Layers {
		data, err := content.ReadAll(ctx, src, l, maxStatement)
		if err != nil {
			return false, fmt.Errorf("read a statement: %w", err)
		}
		if !json.Valid(data) {
			return false, errdefs.Permission("the layer %s says to be %s, and is no JSON", l.Digest, l.MediaType)
		}
		// Text can be an archive, too, for readers that let spaces stand for the end of a field.
		if _, err := tar.NewReader(bytes.NewReader(data)).Next(); err == nil {
			return false, errdefs.Permission("the layer %s says to be %s, and can be unpacked", l.Digest, l.MediaType)
		}
	}
	return true, nil
}
