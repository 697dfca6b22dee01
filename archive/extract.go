package archive

import (
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/camada/camada/errdefs"
	"golang.org/x/sys/unix"
)

// holeUnit is the least run of zeros that becomes a hole: shorter ones cost
// more in extents than they save.
const holeUnit = 64 << 10

// replace calls create until the name is free for it. What was there is removed.
func (a *applier) replace(p *dirHandle, base string, create func() error) (err error) {
	for range maxRetries {
		if err = create(); !errors.Is(err, unix.EEXIST) {
			return err
		}
		if err = a.remove(p.fd, base); err != nil {
			return err
		}
	}
	return errdefs.Conflict("%q is changed by somebody else", base)
}

// regular extracts a file.
func (a *applier) regular(p *dirHandle, base string, e *Entry, content io.Reader) error {
	fd := -1
	err := a.replace(p, base, func() (err error) {
		fd, err = unix.Openat(p.fd, base, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, e.Mode&0o777)
		return err
	})
	if err != nil {
		return classifyName(err)
	}
	defer unix.Close(fd)
	if e.Size > 0 {
		if err := a.write(fd, content, e.Size); err != nil {
			return err
		}
	}
	if err := a.meta(fd, e, p.inherits); err != nil {
		return err
	}
	return futimes(fd, e.ModTime)
}

// classifyName gives names that the file system cannot hold their class.
func classifyName(err error) error {
	if errors.Is(err, unix.ENAMETOOLONG) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EILSEQ) {
		return errdefs.With(errdefs.ErrInvalid, err)
	}
	return err
}

// write copies size bytes into a file; long runs of zeros are left out.
func (a *applier) write(fd int, r io.Reader, size int64) error {
	var off int64
	for off < size {
		b := a.buf[:min(int64(len(a.buf)), size-off)]
		if n, err := io.ReadFull(r, b); err != nil {
			if err == io.EOF { //nolint:errorlint // the end is the bare value
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("content after %d of %d bytes: %w", off+int64(n), size, err)
		}
		if err := writeParts(fd, b, off); err != nil {
			return err
		}
		off += int64(len(b))
	}
	if size < holeUnit || size%holeUnit != 0 {
		return nil // what is no whole unit is written
	}
	return unix.Ftruncate(fd, size) // the end may be a hole
}

// writeParts writes the parts of b that are not zeros. off is a multiple of holeUnit.
func writeParts(fd int, b []byte, off int64) error {
	start := 0
	for i := 0; i < len(b); i += holeUnit {
		unit := b[i:min(i+holeUnit, len(b))]
		if len(unit) < holeUnit || unit[0] != 0 || !isZero(unit) {
			continue
		}
		if err := pwrite(fd, b[start:i], off+int64(start)); err != nil {
			return err
		}
		start = i + holeUnit
	}
	if start >= len(b) {
		return nil
	}
	return pwrite(fd, b[start:], off+int64(start))
}

func pwrite(fd int, b []byte, off int64) error {
	for len(b) > 0 {
		n, err := unix.Pwrite(fd, b, off)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("write: %w", err)
		}
		b, off = b[n:], off+int64(n)
	}
	return nil
}

// directory makes a directory, or gives one that is there its metadata.
func (a *applier) directory(p *dirHandle, base string, e *Entry) error {
	merged, opaque := false, false
	for range maxRetries {
		err := unix.Mkdirat(p.fd, base, e.Mode&0o777|0o700)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EEXIST) {
			return classifyName(err)
		}
		var st unix.Stat_t
		if err := unix.Fstatat(p.fd, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			continue
		}
		if merged = TypeOf(st.Mode) == TypeDir; merged {
			break
		}
		if err := a.remove(p.fd, base); err != nil {
			return err
		}
		opaque = true // the parents' directory, if there is one, was replaced before
	}
	fd, err := openat(p.fd, base, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return fmt.Errorf("open the directory: %w", err)
	}
	defer unix.Close(fd)
	if opaque && a.overlay() {
		if err := a.setOpaque(fd); err != nil {
			return err
		}
	}
	return a.dirMeta(fd, e, merged || p.inherits)
}

// symlink makes a symbolic link; its target is not looked at.
func (a *applier) symlink(p *dirHandle, base string, e *Entry) error {
	err := a.replace(p, base, func() error { return unix.Symlinkat(e.Linkname, p.fd, base) })
	if err != nil {
		return classifyLink(err)
	}
	for range e.Xattrs {
		a.skip("xattr of a symbolic link")
	}
	if err := a.chownAt(p, base, e); err != nil {
		return err
	}
	return utimesAt(p.fd, base, e.ModTime)
}

func classifyLink(err error) error {
	if errors.Is(err, unix.ENOENT) { // an empty target
		return errdefs.With(errdefs.ErrInvalid, err)
	}
	return classifyName(err)
}

// device makes a device node or a fifo.
func (a *applier) device(p *dirHandle, base string, e *Entry) error {
	mode := e.Mode & 0o777
	switch e.Type {
	case TypeChar:
		mode |= unix.S_IFCHR
	case TypeBlock:
		mode |= unix.S_IFBLK
	case TypeFifo:
		mode |= unix.S_IFIFO
		e.Devmajor, e.Devminor = 0, 0
	}
	if e.Type == TypeChar && e.Devmajor == 0 && e.Devminor == 0 {
		// To overlayfs it is a whiteout, which is not how a layer says it.
		a.skip("device node 0/0")
		return a.removeIfThere(p.fd, base)
	}
	dev := int(unix.Mkdev(e.Devmajor, e.Devminor))
	err := a.replace(p, base, func() error { return unix.Mknodat(p.fd, base, mode, dev) })
	if errors.Is(err, unix.EPERM) && e.Type != TypeFifo {
		a.skip("device node")
		return a.removeIfThere(p.fd, base)
	}
	if err != nil {
		return classifyName(err)
	}
	if err := a.chownAt(p, base, e); err != nil {
		return err
	}
	if err := a.nodeMeta(p, base, e); err != nil {
		return err
	}
	return utimesAt(p.fd, base, e.ModTime)
}

// removeIfThere removes what an entry that is skipped would have replaced.
func (a *applier) removeIfThere(dirfd int, base string) error {
	var st unix.Stat_t
	if err := unix.Fstatat(dirfd, base, &st, unix.AT_SYMLINK_NOFOLLOW); errors.Is(err, unix.ENOENT) {
		return nil
	}
	return a.remove(dirfd, base)
}

// procFD is a path to what a descriptor stands for, of any kind.
func procFD(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }
