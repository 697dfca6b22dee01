package archive

import (
	"context"
	"io"
	"time"
)

// DiffOptions shape a layer.
type DiffOptions struct {
	// Clamp, when not zero, is the latest modification time in the layer.
	Clamp time.Time
	// Exclude are paths relative to the root that, with all below them, are not
	// in the layer. When a directory that the parents have differs from theirs
	// by its time only and an excluded path is right in it, the time does not count.
	Exclude []string
	// Lower are the parents' directories, the topmost first, in overlayfs'
	// form (whiteouts as 0/0 devices). See the package comment on what they are for.
	Lower []string
	// RecordedOwner takes the owner from OwnerXattr where a file has it. Only
	// for trees that nobody but the recorder could write: a file's owner may set
	// the attribute.
	RecordedOwner bool
	// Since, for DiffTrees, is when the copying of lower to upper was done: files
	// whose inode was not changed since are the parents' and are not compared.
	Since time.Time
}

// Diff writes what an overlay's upper directory changes as a layer. Whiteouts
// and opaque directories of overlayfs, with trusted. or user. attributes,
// become those of OCI. An upper that was written with redirect_dir or metacopy is
// ErrUnsupported, and so is a file whose name begins with ".wh.".
func Diff(ctx context.Context, upper string, w io.Writer, opts DiffOptions) error {
	return diff(ctx, upper, w, opts, true, false)
}

// DiffTrees writes what changed from the tree lower to the tree upper as a layer,
// as Diff would for the same change over an overlay.
func DiffTrees(ctx context.Context, lower, upper string, w io.Writer, opts DiffOptions) error {
	opts.Lower = []string{lower}
	return diff(ctx, upper, w, opts, false, true)
}

// Pack writes the whole tree dir as a layer.
func Pack(ctx context.Context, dir string, w io.Writer, opts DiffOptions) error {
	opts.Lower = nil
	return diff(ctx, dir, w, opts, false, false)
}

func diff(ctx context.Context, dir string, w io.Writer, opts DiffOptions, overlay, complete bool) error {
	panic("not yet")
}
