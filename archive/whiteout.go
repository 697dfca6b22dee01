package archive

import (
	"errors"
	"fmt"
	"strings"

	"github.com/camada/camada/errdefs"
	"golang.org/x/sys/unix"
)

// whiteout obeys a marker: OCI image-spec, layer.md, "Whiteouts". Markers concern the
// parents alone: what this layer brought stays, in whatever order it comes.
func (a *applier) whiteout(dir, base string) error {
	name := strings.TrimPrefix(base, WhiteoutPrefix)
	switch {
	case base == OpaqueMarker:
		p, err := a.dirs.parent(a, dir)
		if err != nil {
			return err
		}
		return a.opaqueDir(p)
	case strings.HasPrefix(name, WhiteoutPrefix):
		a.skip("AUFS metadata")
		return nil
	case name == "" || name == "." || name == "..":
		return errdefs.Invalid("a whiteout of %q", name)
	}
	p, err := a.dirs.parent(a, dir)
	if err != nil {
		return err
	}
	if !a.overlay() {
		return a.removeUnseen(p.fd, p.ino, name, 0)
	}
	return a.hide(p.fd, name)
}

// hide makes a whiteout of overlayfs; a directory that is there hides the parents' one by
// being opaque, any other file does by itself.
func (a *applier) hide(dirfd int, name string) error {
	a.whiteouts++
	err := unix.Mknodat(dirfd, name, unix.S_IFCHR, 0)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EPERM):
		return errdefs.Unsupported("make an overlayfs whiteout: %w", err)
	case !errors.Is(err, unix.EEXIST):
		return classifyName(err)
	}
	fd, err := openat(dirfd, name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil //nolint:nilerr // not a directory
	}
	defer unix.Close(fd)
	return a.setOpaque(fd)
}

// opaqueDir hides all that the parents have in a directory.
func (a *applier) opaqueDir(p *dirHandle) error {
	if !a.overlay() {
		return a.removeInside(p.fd, 0)
	}
	if p.path == "." {
		return a.opaqueRoot(p)
	}
	fd, err := openat(p.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return fmt.Errorf("open directory: %w", err)
	}
	defer unix.Close(fd)
	return a.setOpaque(fd)
}

// opaqueRoot whites out each name of the parents' root: overlayfs takes no notice of an
// opaque root.
func (a *applier) opaqueRoot(p *dirHandle) error {
	root, err := a.low.root()
	if err != nil || root == nil {
		return err
	}
	names, err := a.low.names(root, ".")
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := a.hide(p.fd, name); err != nil {
			return err
		}
	}
	a.rootOpaque = true
	return nil
}

// setOpaque marks a directory of the root.
func (a *applier) setOpaque(fd int) error {
	name := "trusted.overlay.opaque"
	if a.opts.Whiteouts == WhiteoutOverlayUser {
		name = "user.overlay.opaque"
	}
	if err := unix.Fsetxattr(fd, name, []byte{'y'}, 0); err != nil {
		return fmt.Errorf("make the directory opaque: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("stat directory: %w", err)
	}
	a.opaques[st.Ino] = true
	return nil
}

// removeUnseen removes a file of the parents, and of a directory all that this layer did not bring.
func (a *applier) removeUnseen(dirfd int, ino uint64, name string, depth int) error {
	_, seen := a.seen[a.key(ino, name)]
	var st unix.Stat_t
	if err := unix.Fstatat(dirfd, name, &st, unix.AT_SYMLINK_NOFOLLOW); errors.Is(err, unix.ENOENT) {
		return nil
	} else if err != nil {
		return classifyName(err)
	}
	if TypeOf(st.Mode) != TypeDir {
		if seen {
			return nil
		}
		return a.remove(dirfd, name)
	}
	a.stale = true
	fd, err := openat(dirfd, name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return fmt.Errorf("open directory %q: %w", name, err)
	}
	defer unix.Close(fd)
	if err := a.removeInside(fd, depth+1); err != nil || seen {
		return err
	}
	err = unix.Unlinkat(dirfd, name, unix.AT_REMOVEDIR)
	switch {
	case errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.ENOENT):
		return nil // something that this layer brought is in it
	case err != nil:
		return fmt.Errorf("remove directory %q: %w", name, err)
	}
	delete(a.late, st.Ino)
	return nil
}

// removeInside removes what this layer did not bring into a directory.
func (a *applier) removeInside(dirfd int, depth int) error {
	if depth > maxDepth {
		return errdefs.Limit("deeper than %d directories", maxDepth)
	}
	var st unix.Stat_t
	if err := unix.Fstat(dirfd, &st); err != nil {
		return fmt.Errorf("stat directory: %w", err)
	}
	names, err := a.namesOf(dirfd)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := a.removeUnseen(dirfd, st.Ino, name, depth); err != nil {
			return err
		}
	}
	return nil
}

// namesOf lists a directory from its beginning, through a descriptor of its own.
func (a *applier) namesOf(dirfd int) ([]string, error) {
	fd, err := openat(dirfd, ".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, fmt.Errorf("open directory: %w", err)
	}
	defer unix.Close(fd)
	return readNames(fd, ".")
}

// remove removes a file or a whole directory, and follows no link.
func (a *applier) remove(dirfd int, name string) error {
	return a.removeTree(dirfd, name, 0)
}

func (a *applier) removeTree(dirfd int, name string, depth int) error {
	if depth > maxDepth {
		return errdefs.Limit("deeper than %d directories", maxDepth)
	}
	a.stale = true // a directory or a link that names lead through may go
	err := unix.Unlinkat(dirfd, name, 0)
	if err == nil || errors.Is(err, unix.ENOENT) {
		return nil
	}
	if !errors.Is(err, unix.EISDIR) {
		return fmt.Errorf("remove %q: %w", name, err)
	}
	fd, err := openat(dirfd, name, unix.O_RDONLY|unix.O_DIRECTORY)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open %q to remove it: %w", name, err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("stat %q: %w", name, err)
	}
	delete(a.late, st.Ino)
	delete(a.opaques, st.Ino)
	names, err := readNames(fd, name)
	if err != nil {
		return err
	}
	for _, n := range names {
		if err := a.removeTree(fd, n, depth+1); err != nil {
			return err
		}
	}
	if err := unix.Unlinkat(dirfd, name, unix.AT_REMOVEDIR); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove directory %q: %w", name, err)
	}
	return nil
}
