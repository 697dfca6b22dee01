package overlay

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/mount"
	"golang.org/x/sys/unix"
)

// Support is what Probe found.
type Support struct {
	// OK tells whether overlays work here. Reason says why not.
	OK     bool
	Reason string
	// UserXattr and RecordOwner are the Options that work.
	UserXattr   bool
	RecordOwner bool
}

// Probe tries an overlay in dir, which is made if needed, with the rights of this process: it
// mounts one without attaching it, deletes a file and a directory in it, and looks whether the upper
// directory holds what a layer is made of. Nothing of it stays. An error means
// that nothing could be found out, as when dir cannot be written.
func Probe(ctx context.Context, dir string) (Support, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Support{}, errdefs.With(errdefs.ErrPermission, fmt.Errorf("probe overlay: %w", err))
	}
	tmp, err := os.MkdirTemp(dir, "probe-")
	if err != nil {
		return Support{}, errdefs.With(errdefs.ErrPermission, fmt.Errorf("probe overlay: %w", err))
	}
	defer os.RemoveAll(tmp) //nolint:errcheck // an empty directory does no harm
	sup := Support{RecordOwner: !canGive(tmp)}
	var reasons []string
	for _, user := range []bool{false, true} {
		if err := ctx.Err(); err != nil {
			return Support{}, err
		}
		if sup.RecordOwner && !user {
			continue // without owners there are no trusted attributes either
		}
		err := try(filepath.Join(tmp, fmt.Sprint(user)), user)
		if err == nil {
			sup.OK, sup.UserXattr = true, user
			return sup, nil
		}
		reasons = append(reasons, err.Error())
	}
	sup.Reason = strings.Join(reasons, "; with userxattr: ")
	return sup, nil
}

// canGive tells whether files can be given to another owner.
func canGive(dir string) bool {
	err := os.Lchown(dir, 1, 1)
	if err == nil {
		err = os.Lchown(dir, os.Geteuid(), os.Getegid())
	}
	return err == nil
}

// try makes and uses one overlay.
func try(dir string, userXattr bool) error {
	m := mount.Mount{Kind: mount.Overlay, UserXattr: userXattr, Upper: dir + "/u", Work: dir + "/w", Lower: []string{dir + "/2", dir + "/1"}}
	for _, d := range []string{"1/d/e", "2/d", "u", "w"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	if err := os.WriteFile(dir+"/1/f", []byte("x"), 0o644); err != nil {
		return err
	}
	f, err := mount.Detached(m)
	if err != nil {
		return err
	}
	defer f.Close()
	root := int(f.Fd())
	steps := []func() error{
		func() error { return unix.Unlinkat(root, "f", 0) },
		func() error { return unix.Unlinkat(root, "d/e", unix.AT_REMOVEDIR) },
		func() error { return unix.Unlinkat(root, "d", unix.AT_REMOVEDIR) },
		func() error { return unix.Mkdirat(root, "d", 0o755) },
		func() error { return whiteout(dir + "/u/f") },
		func() error { return opaque(dir+"/u/d", userXattr) },
		// What the extractor does by itself.
		func() error { return unix.Mknod(dir+"/u/g", unix.S_IFCHR, 0) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("use of an overlay: %w", err)
		}
	}
	return nil
}

func whiteout(path string) error {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != 0 {
		return errors.New("a deleted file left no whiteout")
	}
	return nil
}

func opaque(path string, userXattr bool) error {
	if value := opaqueMark(path, userXattr); value != "y" {
		return errors.New("a replaced directory is not marked as opaque")
	}
	return nil
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
