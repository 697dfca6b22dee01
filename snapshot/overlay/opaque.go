package overlay

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// takeOpaque tells whether a layer hides all below its root, and takes the mark
// away: the list of layers says it.
func takeOpaque(dir string, userXattr bool) bool {
	return opaqueMark(dir, userXattr) == "y" && unix.Lremovexattr(dir, opaqueAttr(userXattr)) == nil
}

func opaqueAttr(userXattr bool) string {
	if userXattr {
		return "user.overlay.opaque"
	}
	return "trusted.overlay.opaque"
}

// opaqueMark is the value of overlayfs' mark, "" without one.
func opaqueMark(dir string, userXattr bool) string {
	var value [8]byte
	n, err := unix.Lgetxattr(dir, opaqueAttr(userXattr), value[:])
	if err != nil {
		return ""
	}
	return string(value[:n])
}

// clearWhiteouts removes the whiteouts from a layer that has nothing below: seen
// alone, they would be devices.
func clearWhiteouts(ctx context.Context, root *os.Root) error {
	return fs.WalkDir(root.FS(), ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		if e.Type()&fs.ModeCharDevice == 0 {
			return nil
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if st, ok := info.Sys().(*syscall.Stat_t); !ok || st.Rdev != 0 {
			return nil // a device of the layer
		}
		return root.Remove(path)
	})
}
