package archive

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/camada/camada/errdefs"
	"golang.org/x/sys/unix"
)

// Whiteouts is what Apply makes of whiteouts.
type Whiteouts int

const (
	// WhiteoutDelete removes what a whiteout names: the root holds the parents' files.
	WhiteoutDelete Whiteouts = iota
	// WhiteoutOverlay makes whiteouts of overlayfs: 0/0 devices and trusted.overlay.opaque.
	// The root holds this layer only; its mode, owner and time become those of
	// the parents' root, or 0755 0:0 at the epoch without parents.
	WhiteoutOverlay
	// WhiteoutOverlayUser is WhiteoutOverlay with user.overlay.opaque, for mounts
	// with userxattr.
	WhiteoutOverlayUser
)

const (
	defaultMaxEntries = 12_000_000
	defaultMaxBytes   = 256 << 30
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
	// Export says that the root is somebody's directory, into which files are put: they belong to the
	// caller whatever the tar says, and the root itself stays as it is.
	Export bool
	// Files says that the tar is no layer but files that are put into somebody's directory, which itself stays as it is: a name
	// that looks like a whiteout's is one like others, and a directory is never replaced by something else, nor something else by a
	// directory (ErrConflict).
	Files bool
	// Owners, when it is not nil, says what owner a file gets in place of the tar's.
	Owners Owners
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
// truncated tar is ErrCorrupt; one that is too big ErrLimit; an owner that the user namespace
// does not have ErrUnsupported. Errors of r keep their class. Errors name the entry.
//
// Of entries with the same name the last wins. A symbolic link within a name is followed
// inside the root. Directories that are only implied are the parents', or 0755 0:0 at
// the epoch. Runs of zeros become holes. What this machine
// cannot restore (device nodes in a user namespace, foreign attributes) is
// left out and counted. A tar may end without its two zero blocks; that nothing is
// missing is for the diffID to say. Files are not synced. On an error the root
// is left as far as it was filled.
//
// The caller is root, or root of a user namespace.
func Apply(ctx context.Context, root *os.Root, r io.Reader, opts ApplyOptions) (Result, error) {
	if opts.MaxEntries == 0 {
		opts.MaxEntries = defaultMaxEntries
	}
	if opts.MaxBytes == 0 {
		opts.MaxBytes = defaultMaxBytes
	}
	dir, err := root.Open(".")
	if err != nil {
		return Result{}, fmt.Errorf("open the root: %w", err)
	}
	defer dir.Close() //nolint:errcheck // only read
	a, err := newApplier(int(dir.Fd()), opts)
	if err != nil {
		return Result{}, err
	}
	defer a.close()
	if err := a.run(ctx, r); err != nil {
		return a.res, err
	}
	return a.res, a.finish()
}

// run extracts all entries.
func (a *applier) run(ctx context.Context, r io.Reader) error {
	if err := a.prepareRoot(); err != nil {
		return err
	}
	src := &source{r: r, alive: ctx.Err}
	tr := tar.NewReader(src)
	for {
		hdr, err := tr.Next()
		if err == io.EOF { //nolint:errorlint // the end is the bare value
			return a.drain(src)
		}
		if err != nil && !(errors.Is(err, tar.ErrInsecurePath) && hdr != nil) {
			return src.classify(fmt.Errorf("after %d entries: %w", a.res.Entries, err))
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := a.count(hdr); err != nil {
			return fmt.Errorf("extract %q: %w", hdr.Name, err)
		}
		if err := a.entry(hdr, tr); err != nil {
			if src.err != nil || errors.Is(err, io.ErrUnexpectedEOF) {
				err = src.classify(err)
			}
			return fmt.Errorf("extract %q: %w", hdr.Name, err)
		}
	}
}

// count keeps to the limits.
func (a *applier) count(hdr *tar.Header) error {
	a.res.Entries++
	if a.res.Entries > a.opts.MaxEntries {
		return errdefs.Limit("more than %d entries", a.opts.MaxEntries)
	}
	if hdr.Size < 0 || hdr.Size > a.opts.MaxBytes-a.res.Bytes {
		return errdefs.Limit("the files have more than %d bytes", a.opts.MaxBytes)
	}
	a.res.Bytes += hdr.Size
	return nil
}

// drain reads what follows the archive, so that whoever hashes the stream sees all of it.
func (a *applier) drain(src *source) error {
	n, err := io.CopyBuffer(onlyWriter{io.Discard}, io.LimitReader(src, a.opts.MaxBytes), a.buf)
	if err != nil {
		return err
	}
	if n == a.opts.MaxBytes {
		return errdefs.Limit("more than %d bytes follow the archive", n)
	}
	return nil
}

// onlyWriter hides io.Discard's ReadFrom, which would bring its own buffers.
type onlyWriter struct{ io.Writer }

// entry extracts one entry.
func (a *applier) entry(hdr *tar.Header, content io.Reader) error {
	a.refresh()
	e, err := entryOf(hdr)
	if err != nil {
		return err
	}
	switch e.Type {
	case tar.TypeXGlobalHeader, 'V': // what concerns the whole archive; a volume's label
		a.skip("tar header type " + string(rune(e.Type)))
		return nil
	case tar.TypeCont, tar.TypeGNUSparse:
		e.Type = TypeReg
	}
	switch {
	case a.opts.Export:
		e.UID, e.GID = a.uid, a.gid
	case a.opts.Owners != nil:
		e.UID, e.GID = a.opts.Owners(e.UID, e.GID)
	}
	if e.Name == "." {
		if e.Type != TypeDir {
			return errdefs.Invalid("the root can only be a directory")
		}
		if a.opts.Export || a.opts.Files {
			return nil
		}
		return a.rootEntry(e)
	}
	dir, base := split(e.Name)
	if strings.HasPrefix(base, WhiteoutPrefix) && !a.opts.Files {
		return a.whiteout(dir, base)
	}
	p, err := a.dirs.parent(a, dir)
	if err != nil {
		return err
	}
	a.saw(p, base)
	if a.opts.Files {
		if err := keepsKind(p, base, e.Type == TypeDir); err != nil {
			return err
		}
	}
	switch e.Type {
	case TypeReg:
		return a.regular(p, base, e, content)
	case TypeDir:
		return a.directory(p, base, e)
	case TypeSymlink:
		return a.symlink(p, base, e)
	case TypeLink:
		return a.hardlink(p, base, e)
	case TypeChar, TypeBlock, TypeFifo:
		return a.device(p, base, e)
	}
	return errdefs.Invalid("unknown type %q", e.Type)
}

// keepsKind refuses that a directory and something else replace each other.
func keepsKind(p *dirHandle, base string, dir bool) error {
	var st unix.Stat_t
	if err := unix.Fstatat(p.fd, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return nil //nolint:nilerr // there is nothing, or what makes the entry will say what is wrong
	}
	switch is := TypeOf(st.Mode) == TypeDir; {
	case is && !dir:
		return errdefs.Conflict("cannot overwrite directory with non-directory")
	case !is && dir:
		return errdefs.Conflict("cannot overwrite non-directory with directory")
	}
	return nil
}

// entryOf reads a header. Its Name is clean.
func entryOf(hdr *tar.Header) (*Entry, error) {
	name, err := cleanName(hdr.Name)
	if err != nil {
		return nil, err
	}
	const maxID = 1<<32 - 2 // the one above means "leave it"
	if hdr.Uid < 0 || hdr.Gid < 0 || hdr.Uid > maxID || hdr.Gid > maxID {
		return nil, errdefs.Invalid("owner %d:%d is out of range", hdr.Uid, hdr.Gid)
	}
	e := &Entry{
		Name: name, Type: hdr.Typeflag, Linkname: hdr.Linkname, Mode: uint32(hdr.Mode & 0o7777),
		UID: hdr.Uid, GID: hdr.Gid, ModTime: hdr.ModTime, Size: hdr.Size,
		Devmajor: uint32(hdr.Devmajor), Devminor: uint32(hdr.Devminor),
	}
	for k, v := range hdr.PAXRecords {
		if attr, ok := strings.CutPrefix(k, paxXattr); ok {
			if e.Xattrs == nil {
				e.Xattrs = map[string]string{}
			}
			e.Xattrs[attr] = v
		}
	}
	return e, nil
}

// cleanName makes a name relative to the root; it is refused when it climbs out.
func cleanName(name string) (string, error) {
	if len(name) > maxPath {
		return "", errdefs.Limit("the name is longer than %d bytes", maxPath)
	}
	clean := path.Clean(strings.TrimLeft(name, "/"))
	if clean == ".." || strings.HasPrefix(clean, "../") {
		return "", errdefs.Invalid("the name %q climbs out of the root", name)
	}
	if strings.IndexByte(clean, 0) >= 0 {
		return "", errdefs.Invalid("NUL in the name %q", name)
	}
	return clean, nil
}

// source remembers the reader's own error, so that it is not taken for a malformed tar.
type source struct {
	r     io.Reader
	alive func() error
	err   error
}

func (s *source) Read(p []byte) (int, error) {
	if s.err = s.alive(); s.err != nil {
		return 0, s.err
	}
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF { //nolint:errorlint // the end is the bare value
		s.err = err
	}
	return n, err
}

func (s *source) classify(err error) error {
	if s.err != nil {
		return fmt.Errorf("read the layer: %w", s.err)
	}
	return errdefs.Corrupt("malformed or truncated tar: %w", err)
}
