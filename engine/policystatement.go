package engine

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	"github.com/camada/camada/attest"
	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxStatements is the size of the statements of one manifest that are looked at, in bytes: a bill of materials is the largest.
const maxStatements = 128 << 20

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

// maxLooked is how many statements an Engine remembers.
const maxLooked = 20_000

// looked are the layers whose bytes were found to be statements, for as long as this process lives: a digest says the same for ever, and a webhook asks
// again and again.
type looked struct {
	mu  sync.Mutex
	all map[digest.Digest]struct{}
}

func (l *looked) has(d digest.Digest) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.all[d]
	return ok
}

func (l *looked) add(d digest.Digest) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all == nil || len(l.all) >= maxLooked {
		l.all = map[digest.Digest]struct{}{}
	}
	l.all[d] = struct{}{}
}

// onlyStatements reports whether a manifest that has the config of an image holds only statements about another one, which nobody runs. Some run what has
// such types all the same, by its bytes, so that these are looked at: ErrPermission when they are none.
func (e *Engine) onlyStatements(ctx context.Context, src content.Provider, desc ocispec.Descriptor) (bool, error) {
	_, m, err := image.ReadManifest(ctx, src, desc)
	if err != nil {
		return false, err
	}
	other := func(l ocispec.Descriptor) bool { return !isStatement(l.MediaType) }
	if !image.IsConfig(m.Config.MediaType) || len(m.Layers) == 0 || slices.ContainsFunc(m.Layers, other) {
		return false, nil
	}
	left := int64(maxStatements)
	for _, l := range m.Layers {
		if e.looked.has(l.Digest) {
			continue
		}
		data, err := content.ReadAll(ctx, src, l, left)
		if err != nil {
			return false, fmt.Errorf("read a statement: %w", err)
		}
		left -= int64(len(data))
		if !json.Valid(data) {
			return false, errdefs.Permission("the layer %s says to be %s, and is no JSON", l.Digest, l.MediaType)
		}
		// Text can be an archive, too, for readers that let spaces stand for the end of a field.
		if _, err := tar.NewReader(bytes.NewReader(data)).Next(); err == nil {
			return false, errdefs.Permission("the layer %s says to be %s, and can be unpacked", l.Digest, l.MediaType)
		}
		e.looked.add(l.Digest)
	}
	return true, nil
}

// readOnce fetches each manifest and index once.
type readOnce struct {
	content.Provider
	kept map[digest.Digest][]byte
}

// Open implements content.Provider.
func (r readOnce) Open(ctx context.Context, desc ocispec.Descriptor) (content.Reader, error) {
	if !image.IsManifest(desc.MediaType) && !image.IsIndex(desc.MediaType) {
		return r.Provider.Open(ctx, desc)
	}
	data, ok := r.kept[desc.Digest]
	if !ok {
		var err error
		if data, err = content.ReadAll(ctx, r.Provider, desc, image.MaxManifest); err != nil {
			return nil, err
		}
		r.kept[desc.Digest] = data
	}
	return inMemory{bytes.NewReader(data)}, nil
}
