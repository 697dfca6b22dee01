package engine

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"testing"

	"github.com/camada/camada/content"
	"github.com/camada/camada/image"
	"github.com/camada/camada/layer"
	"github.com/camada/camada/secret"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// oldHeader makes the header of a file of an old tar (V7) whose first bytes are begin: 512 bytes.
func oldHeader(begin string, size int) []byte {
	h := []byte(strings.Repeat(" ", 512))
	copy(h, begin)
	copy(h[100:], fmt.Sprintf("0000644 0000000 0000000 %011o 00000000000 ", size))
	h[156] = '0'
	sum := 0
	for _, c := range h { // with spaces for the sum itself
		sum += int(c)
	}
	copy(h[148:], fmt.Sprintf("%06o  ", sum))
	return h
}

// TestGuardManifestIsLayer knows that of a manifest in which nothing is nothing is known of the layer that the same bytes are.
func TestGuardManifestIsLayer(t *testing.T) {
	e := machine(t)
	g, err := e.newGuard(SecretsPolicy{Mode: SecretsBlock})
	if err != nil {
		t.Fatal(err)
	}
	nowhere := func(digest.Digest) bool { return false }
	_, doc, err := image.ReadManifest(t.Context(), e.content, pushedImage(t, e, tarFile(t, "notes", []byte("nothing")), func(*ocispec.Descriptor) {}))
	if err != nil {
		t.Fatal(err)
	}
	fields, err := json.Marshal(map[string]any{"mediaType": doc.MediaType, "config": doc.Config, "layers": doc.Layers})
	if err != nil {
		t.Fatal(err)
	}
	rest := fmt.Sprintf("\",\n\"of\":\"%s\",%s", "gl"+"pat-Ab3dE9fGh1JkLm5nOpQr", fields[1:])
	rest += strings.Repeat(" ", 512-len(rest)%512)
	blob, err := content.WriteBlob(t.Context(), e.content, append(oldHeader(`{"schemaVersion":2,"is":"`, len(rest)), rest...))
	if err != nil {
		t.Fatal(err)
	}
	blob.MediaType = doc.MediaType
	if err := g.sent(t.Context(), e.content, blob, nowhere, nil); err != nil {
		t.Fatal(err)
	}
	data, err := content.ReadAll(t.Context(), e.content, blob, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.sent(t.Context(), e.content, pushedImage(t, e, data, func(*ocispec.Descriptor) {}), nowhere, nil); !errors.Is(err, secret.ErrFound) {
		t.Errorf("a layer that is a manifest, too: %v", err)
	}
}

// packedTar is a tar of one file without secrets, and something compressed in which another tar is.
func packedTar(t *testing.T, inner []byte) []byte {
	t.Helper()
	var packed bytes.Buffer
	z, err := flate.NewWriter(&packed, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write(inner); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	trailer := binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(inner))
	trailer = binary.LittleEndian.AppendUint32(trailer, uint32(len(inner)))
	body := append(packed.Bytes(), trailer...)
	slack := 512 - len(body)%512
	begin := binary.LittleEndian.AppendUint16([]byte("\x1f\x8b\x08\x04mtimeo")[:10], uint16(512-12+slack)) // RFC 1952, 2.3.1: an extra field of that size
	return append(append(oldHeader(string(begin), slack+len(body)), make([]byte, slack)...), body...)
}

// TestGuardTarIsPacked knows that what is known of a tar is not known of what comes out of the same bytes when they are a blob.
func TestGuardTarIsPacked(t *testing.T) {
	e := machine(t)
	g, err := e.newGuard(SecretsPolicy{Mode: SecretsBlock})
	if err != nil {
		t.Fatal(err)
	}
	nowhere := func(digest.Digest) bool { return false }
	inner := tarFile(t, "notes", []byte("gl"+"pat-Ab3dE9fGh1JkLm5nOpQr"))
	outer := packedTar(t, inner)
	blob, err := content.WriteBlob(t.Context(), e.content, gzipped(t, outer))
	if err != nil {
		t.Fatal(err)
	}
	around := pushedImage(t, e, outer, func(d *ocispec.Descriptor) {
		d.MediaType, d.Digest, d.Size = ocispec.MediaTypeImageLayerGzip, blob.Digest, blob.Size
	})
	if err := g.sent(t.Context(), e.content, around, nowhere, nil); err != nil {
		t.Fatal(err)
	}
	bare := pushedImage(t, e, outer, func(d *ocispec.Descriptor) { d.MediaType = ocispec.MediaTypeImageLayerGzip })
	r, err := layer.Open(t.Context(), e.content, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerGzip, Digest: digest.FromBytes(outer)}, digest.FromBytes(inner), layer.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := io.Copy(io.Discard, r); err != nil {
		t.Fatalf("the other tar does not come out of it: %v", err)
	}
	if err := g.sent(t.Context(), e.content, bare, nowhere, nil); err == nil {
		t.Error("what is known of a tar counted for what comes out of it")
	}
}
