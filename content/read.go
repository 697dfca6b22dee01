package content

import (
	"context"
	_ "crypto/sha256" // the hash of digest.SHA256
	_ "crypto/sha512" // the hash of digest.SHA512
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/camada/camada/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// MaxManifest is a sensible limit for ReadAll of manifests, indexes and image
// configs: 8 MiB. Registries refuse manifests above 4 MiB; configs with long
// histories stay well below.
const MaxManifest = 8 << 20

// ReadAll reads a whole blob and verifies size and digest: what it returns is
// what desc names. A blob of more than limit bytes is refused with ErrLimit
// before it is read; desc.Size 0 or -1 means that the size is not known.
// Bytes that differ from desc are ErrCorrupt.
func ReadAll(ctx context.Context, p Provider, desc ocispec.Descriptor, limit int64) ([]byte, error) {
	if desc.Size > limit {
		return nil, errdefs.Limit("blob %s has %d bytes, more than the limit of %d", desc.Digest, desc.Size, limit)
	}
	r, err := p.Open(ctx, desc)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	size := r.Size()
	if size > limit {
		return nil, errdefs.Limit("blob %s has %d bytes, more than the limit of %d", desc.Digest, size, limit)
	}
	desc.Size = size
	v, err := NewVerifyReader(r, desc)
	if err != nil {
		return nil, err
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(v, data); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read blob %s: %w", desc.Digest, err)
	}
	// One more read meets the end, where the verification happens.
	if n, err := v.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		if err == nil {
			err = errdefs.Corrupt("more bytes than its size of %d", size)
		}
		return nil, fmt.Errorf("read blob %s: %w", desc.Digest, err)
	}
	return data, nil
}

// NewVerifyReader returns a reader of r's bytes that gives ErrCorrupt instead
// of io.EOF when the bytes are not what desc names, and ErrCorrupt as soon as they are
// more than desc.Size. A desc.Size of -1 means that the size is not known.
// Bytes are handed on before they are verified: rely on them only after io.EOF.
// An algorithm that is not known is ErrUnsupported.
func NewVerifyReader(r io.Reader, desc ocispec.Descriptor) (*VerifyReader, error) {
	if err := CheckDigest(desc.Digest); err != nil {
		return nil, err
	}
	return &VerifyReader{r: r, desc: desc, hash: desc.Digest.Algorithm().Hash()}, nil
}

// VerifyReader verifies what is read through it. See NewVerifyReader.
type VerifyReader struct {
	r    io.Reader
	desc ocispec.Descriptor
	hash hash.Hash
	n    int64
	err  error
}

// Read reads and hashes the next bytes.
func (v *VerifyReader) Read(p []byte) (int, error) {
	if v.err != nil {
		return 0, v.err
	}
	n, err := v.r.Read(p)
	if v.desc.Size >= 0 && v.n+int64(n) > v.desc.Size {
		v.err = errdefs.Corrupt("blob %s: more bytes than its size of %d", v.desc.Digest, v.desc.Size)
		return 0, v.err
	}
	v.hash.Write(p[:n])
	v.n += int64(n)
	if errors.Is(err, io.EOF) {
		err = v.check()
	}
	v.err = err
	return n, err
}

func (v *VerifyReader) check() error {
	if v.desc.Size >= 0 && v.n != v.desc.Size {
		return errdefs.Corrupt("blob %s: %d bytes instead of %d", v.desc.Digest, v.n, v.desc.Size)
	}
	if got := digest.NewDigest(v.desc.Digest.Algorithm(), v.hash); got != v.desc.Digest {
		return errdefs.Corrupt("blob %s: the bytes have the digest %s", v.desc.Digest, got)
	}
	return io.EOF
}

// Exists reports whether the blob is there.
func Exists(ctx context.Context, s Statter, dgst digest.Digest) (bool, error) {
	if _, err := s.Stat(ctx, dgst); err != nil {
		if errdefs.IsNotFound(err) {
			return false, nil
		}
		return false, err
	}
	return true, nil
}

// CheckDigest checks the form of a digest (OCI image-spec, descriptor.md,
// "Digests"): ErrUnsupported when the algorithm is neither sha256 nor sha512,
// ErrInvalid when the rest is malformed. A digest that passes is safe as a
// file name.
func CheckDigest(d digest.Digest) error {
	var size int
	var hex string
	switch s := string(d); {
	case len(s) >= 7 && s[:7] == "sha256:":
		size, hex = 64, s[7:]
	case len(s) >= 7 && s[:7] == "sha512:":
		size, hex = 128, s[7:]
	default:
		for i := range len(s) {
			if s[i] == ':' && i > 0 && i < 32 {
				return errdefs.Unsupported("digest %.150q: the algorithm is neither sha256 nor sha512", s)
			}
		}
		return errdefs.Invalid("%.150q is not a digest", s)
	}
	if len(hex) != size {
		return errdefs.Invalid("digest %.150q: %d characters of hex instead of %d", d, len(hex), size)
	}
	for i := range len(hex) {
		if c := hex[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return errdefs.Invalid("digest %.150q: %q is not lower-case hex", d, c)
		}
	}
	return nil
}
