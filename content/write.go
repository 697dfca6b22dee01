package content

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// WriteBlob stores data and returns its descriptor, which has no media type.
func WriteBlob(ctx context.Context, ing Ingester, data []byte) (ocispec.Descriptor, error) {
	return WriteReader(ctx, ing, bytes.NewReader(data), ocispec.Descriptor{Size: int64(len(data))})
}

// WriteJSON stores v as JSON and returns its descriptor with the media type. The
// bytes are those of json.Marshal: compact, fields in the order of the type.
func WriteJSON(ctx context.Context, ing Ingester, mediaType string, v any) (ocispec.Descriptor, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("encode %s: %w", mediaType, err)
	}
	desc, err := WriteBlob(ctx, ing, data)
	desc.MediaType = mediaType
	return desc, err
}

// WriteReader stores all bytes of r, which must be what want names: an empty
// Digest or a Size of -1 are not checked. Nothing is stored when r fails or
// the bytes differ (ErrCorrupt). It returns want with digest and size filled in.
func WriteReader(ctx context.Context, ing Ingester, r io.Reader, want ocispec.Descriptor) (ocispec.Descriptor, error) {
	opts := WriterOptions{}
	if want.Digest != "" {
		if err := CheckDigest(want.Digest); err != nil {
			return ocispec.Descriptor{}, err
		}
		opts.Algorithm = want.Digest.Algorithm()
	}
	w, err := ing.Writer(ctx, opts)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	defer w.Close()
	if want.Size >= 0 {
		// One byte more than wanted is enough to see that there is too much.
		r = io.LimitReader(r, want.Size+1)
	}
	if _, err := io.Copy(w, r); err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("write blob %s: %w", name(want.Digest), err)
	}
	desc, err := w.Commit(ctx, want.Size, want.Digest)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	want.Digest, want.Size = desc.Digest, desc.Size
	return want, nil
}

func name(d digest.Digest) string {
	if d == "" {
		return "(new)"
	}
	return d.String()
}
