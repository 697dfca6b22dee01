package anatomy

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/layer"
	"github.com/camada/camada/layer/index"
)

// Head reads the first n bytes of a regular file, fewer when it is shorter, out of the layer that has it.
func (a *Image) Head(ctx context.Context, p content.Provider, v *Version, n int) ([]byte, error) {
	e := v.File()
	if e == nil || e.Kind != index.Reg {
		return nil, errdefs.Invalid("not a regular file")
	}
	at := a.layerOf(v)
	l := &a.Layers[at]
	r, err := layer.Open(ctx, p, l.Descriptor, l.DiffID, layer.OpenOptions{})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var head []byte
	found := false
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
			return nil, fmt.Errorf("read layer %d: %w", at+1, errdefs.Corrupt("malformed tar: %w", err))
		}
		if !isFile(h) || path.Clean(strings.TrimLeft(h.Name, "/")) != e.Path {
			continue
		}
		// The last one of a name counts, so the rest is read too; by that, and by what follows the tar, the layer is verified as well.
		if head, err = io.ReadAll(io.LimitReader(tr, int64(n))); err != nil {
			return nil, fmt.Errorf("read layer %d: %w", at+1, err)
		}
		found = true
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		return nil, fmt.Errorf("read layer %d: %w", at+1, err)
	}
	if !found {
		return nil, errdefs.NotFound("layer %d has no %s", at+1, e.Path)
	}
	return head, nil
}

// isFile reports whether an entry of a tar is a regular file to the index of the layer, and to what unpacks it.
func isFile(h *tar.Header) bool {
	return h.Typeflag == tar.TypeReg || h.Typeflag == tar.TypeCont || h.Typeflag == tar.TypeGNUSparse
}
