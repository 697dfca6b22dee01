package archive

import (
	"context"
	"io"
	"os"
)

// Whiteouts is what Apply makes of whiteouts.
type Whiteouts int

const (
	// WhiteoutDelete removes what a whiteout names: the root holds the parents' files.
	WhiteoutDelete Whiteouts = iota
	// WhiteoutOverlay makes whiteouts of overlayfs: 0/0 devices and trusted.overlay.opaque.
	WhiteoutOverlay
	// WhiteoutOverlayUser is WhiteoutOverlay with user.overlay.opaque, for mounts
	// with userxattr.
	WhiteoutOverlayUser
)

// ApplyOptions shape an extraction.
type ApplyOptions struct {
	Whiteouts Whiteouts
	// Lower are the parents' directories, the topmost first, in overlayfs' form.
	// With a WhiteoutOverlay mode they tell of the parents' symbolic links and directories that
	// a name goes through, and hold the targets of hard links that are not in the layer.
	Lower []string
	// RecordOwner gives no file away: all stay with the caller, and the owner is
	// recorded in OwnerXattr where a file can hold it.
	RecordOwner bool
	// MaxEntries is how many entries a tar may have; 0 means 12 million.
	MaxEntries int64
	// MaxBytes is how many bytes the entries may have together; 0 means 256 GiB.
	MaxBytes int64
}

// Result tells what Apply did.
type Result struct {
	// Entries and Bytes are what the tar held.
	Entries int64
	Bytes   int64
	// Skipped counts what could not be restored, by what it was: "xattr
	// security.selinux", "device node".
	Skipped map[string]int64
}

// Apply extracts the tar stream r into root and reads r to its end. Nothing outside root is
// touched, whatever the names, the links, or other processes that change links under way.
//
// A leading "/" of a name is dropped; a name that climbs out of the root
// is ErrInvalid, and so is a hard link without its target. A malformed or
// truncated tar is ErrCorrupt; one that is too big ErrLimit. Errors name the entry.
// Of entries with the same name the last wins. Files are not synced. On an error
// the root is left as far as it was filled.
func Apply(ctx context.Context, root *os.Root, r io.Reader, opts ApplyOptions) (Result, error) {
	panic("not yet")
}
