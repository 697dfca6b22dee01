package engine

import (
	"context"
	"errors"
	"hash"
	"os"
	"path/filepath"

	"github.com/camada/camada/content"
	"github.com/camada/camada/content/local"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/image/tarball"
	"github.com/camada/camada/progress"
	"github.com/camada/camada/reference"
	"github.com/camada/camada/transfer"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// copyToArchive writes an archive, in place of one that is there.
func (e *Engine) copyToArchive(ctx context.Context, src *copySource, root ocispec.Descriptor, about []ocispec.Descriptor, to transport, o transfer.Options) error {
	path, word := to.split()
	img := tarball.Image{Descriptor: root}
	if word != "" {
		ref, err := reference.Parse(word)
		if err != nil {
			return err
		}
		img.Names = []reference.Reference{ref}
	}
	images := []tarball.Image{img}
	for _, d := range about {
		images = append(images, tarball.Image{Descriptor: d})
	}
	format, p := tarball.OCI, content.Provider(verifying{src})
	if to.kind == transportDockerArchive {
		if len(about) > 0 {
			return errdefs.Unsupported("a docker archive holds images alone")
		}
		// The format wants the size of a layer before its bytes, so that each is read twice.
		format = tarball.Docker
		if src.repo != nil {
			tmp, remove, err := e.tempDir(ctx)
			if err != nil {
				return err
			}
			defer remove()
			spool := local.Open(filepath.Join(tmp, "spool"), local.Options{})
			if err := transfer.Copy(ctx, src, spool, root, o); err != nil {
				return err
			}
			o.Progress, p = nil, spool
		}
	}
	return writeArchive(path, func(f *os.File) error {
		return tarball.Save(ctx, f, p, images, tarball.SaveOptions{Format: format, Progress: progress.Or(o.Progress)})
	})
}

// writeArchive makes a file that has its name only when it is whole. A device or a pipe is written to as it is.
func writeArchive(path string, write func(*os.File) error) error {
	if fi, err := os.Stat(path); err == nil && !fi.Mode().IsRegular() && !fi.IsDir() {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return errdefs.With(errdefs.ErrUnavailable, err)
		}
		return errors.Join(write(f), f.Close())
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".camada-*")
	if err != nil {
		return errdefs.With(errdefs.ErrUnavailable, err)
	}
	err = write(f)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// verifying is a provider whose readers fail at the last byte of a blob when its digest is another one.
type verifying struct{ content.Provider }

// Open implements content.Provider.
func (v verifying) Open(ctx context.Context, desc ocispec.Descriptor) (content.Reader, error) {
	r, err := v.Provider.Open(ctx, desc)
	if err != nil || image.IsIndex(desc.MediaType) || image.IsManifest(desc.MediaType) {
		return r, err
	}
	if err := content.CheckDigest(desc.Digest); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return &verifiedReader{Reader: r, want: desc.Digest, sum: desc.Digest.Algorithm().Hash()}, nil
}

type verifiedReader struct {
	content.Reader
	want digest.Digest
	sum  hash.Hash
	n    int64
}

func (r *verifiedReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.sum.Write(p[:n])
	if r.n += int64(n); n > 0 && r.n == r.Size() {
		if got := digest.NewDigest(r.want.Algorithm(), r.sum); got != r.want {
			return 0, errdefs.Corrupt("blob %s: the bytes have the digest %s", r.want, got)
		}
	}
	return n, err
}
