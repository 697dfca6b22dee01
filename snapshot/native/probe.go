package native

import (
	"context"
	"fmt"
	"os"

	"github.com/camada/camada/errdefs"
	"golang.org/x/sys/unix"
)

// Support is what Probe found.
type Support struct {
	// Reflink tells whether copies share their blocks.
	Reflink bool
	// RecordOwner is the Option that is needed.
	RecordOwner bool
}

// Probe tries in dir, which is made if needed, what copies cost and whether files can be given to other
// owners. Nothing of it stays. An error means that dir cannot be used.
func Probe(ctx context.Context, dir string) (Support, error) {
	if err := ctx.Err(); err != nil {
		return Support{}, err
	}
	err := os.MkdirAll(dir, 0o755)
	var tmp string
	if err == nil {
		tmp, err = os.MkdirTemp(dir, "probe-")
	}
	if err != nil {
		return Support{}, errdefs.With(errdefs.ErrPermission, fmt.Errorf("probe copies: %w", err))
	}
	defer os.RemoveAll(tmp) //nolint:errcheck // an empty directory does no harm
	src, err := os.Create(tmp + "/a")
	if err != nil {
		return Support{}, errdefs.Unavailable("probe copies: %w", err)
	}
	defer src.Close()
	dst, err := os.Create(tmp + "/b")
	if err != nil {
		return Support{}, errdefs.Unavailable("probe copies: %w", err)
	}
	defer dst.Close()
	if _, err := src.Write(make([]byte, 64<<10)); err != nil {
		return Support{}, errdefs.Unavailable("probe copies: %w", err)
	}
	return Support{
		Reflink:     unix.IoctlFileClone(int(dst.Fd()), int(src.Fd())) == nil,
		RecordOwner: os.Lchown(tmp, 1, 1) != nil,
	}, nil
}
