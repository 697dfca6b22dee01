package archive

import (
	"context"
	"io"
	"os"
)

// ApplySteps is Apply on a kernel without openat2.
func ApplySteps(ctx context.Context, root *os.Root, r io.Reader, opts ApplyOptions) (Result, error) {
	if opts.MaxEntries == 0 {
		opts.MaxEntries = defaultMaxEntries
	}
	if opts.MaxBytes == 0 {
		opts.MaxBytes = defaultMaxBytes
	}
	dir, err := root.Open(".")
	if err != nil {
		return Result{}, err
	}
	defer dir.Close()
	a, err := newApplier(int(dir.Fd()), opts)
	if err != nil {
		return Result{}, err
	}
	defer a.close()
	a.openat2 = false
	if err := a.run(ctx, r); err != nil {
		return a.res, err
	}
	return a.res, a.finish()
}
