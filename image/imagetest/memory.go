package imagetest

import (
	"bytes"
	"context"
	"sync"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Memory keeps blobs in memory. The zero value is ready for use, by many goroutines.
type Memory struct {
	mu    sync.Mutex
	blobs map[digest.Digest][]byte
}

// Open opens a blob.
func (m *Memory) Open(_ context.Context, desc ocispec.Descriptor) (content.Reader, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	data, ok := m.blobs[desc.Digest]
	if !ok {
		return nil, errdefs.NotFound("blob %s is not in the store", desc.Digest)
	}
	if desc.Size > 0 && desc.Size != int64(len(data)) {
		return nil, errdefs.Corrupt("blob %s has %d bytes instead of %d", desc.Digest, len(data), desc.Size)
	}
	return memoryReader{bytes.NewReader(data)}, nil
}

// Stat tells of a blob.
func (m *Memory) Stat(_ context.Context, d digest.Digest) (content.Info, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	data, ok := m.blobs[d]
	if !ok {
		return content.Info{}, errdefs.NotFound("blob %s is not in the store", d)
	}
	return content.Info{Digest: d, Size: int64(len(data))}, nil
}

// Delete removes a blob.
func (m *Memory) Delete(_ context.Context, d digest.Digest) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.blobs, d)
	return nil
}

// Len is how many blobs there are.
func (m *Memory) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.blobs)
}

// Writer begins a blob.
func (m *Memory) Writer(_ context.Context, opts content.WriterOptions) (content.Writer, error) {
	if opts.Algorithm == "" {
		opts.Algorithm = digest.SHA256
	}
	return &memoryWriter{m: m, alg: opts.Algorithm}, nil
}

type memoryReader struct{ *bytes.Reader }

func (memoryReader) Close() error { return nil }

type memoryWriter struct {
	m    *Memory
	alg  digest.Algorithm
	data []byte
}

func (w *memoryWriter) Write(p []byte) (int, error) {
	w.data = append(w.data, p...)
	return len(p), nil
}

func (w *memoryWriter) Offset() int64         { return int64(len(w.data)) }
func (w *memoryWriter) Digest() digest.Digest { return w.alg.FromBytes(w.data) }
func (w *memoryWriter) Truncate() error       { w.data = nil; return nil }
func (w *memoryWriter) Close() error          { return nil }
func (w *memoryWriter) Abort() error          { return nil }

func (w *memoryWriter) Commit(ctx context.Context, size int64, expected digest.Digest) (ocispec.Descriptor, error) {
	if err := ctx.Err(); err != nil {
		return ocispec.Descriptor{}, err
	}
	d := ocispec.Descriptor{Digest: w.Digest(), Size: w.Offset()}
	if size >= 0 && size != d.Size || expected != "" && expected != d.Digest {
		return ocispec.Descriptor{}, errdefs.Corrupt("commit blob: %d bytes with digest %s came instead of %d with %s", d.Size, d.Digest, size, expected)
	}
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	if w.m.blobs == nil {
		w.m.blobs = map[digest.Digest][]byte{}
	}
	w.m.blobs[d.Digest] = w.data
	return d, nil
}
