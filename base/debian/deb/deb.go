// Package deb reads Debian package files, deb(5): an ar archive of a format mark,
// a tar with what dpkg keeps about the package, and a tar with its files.
//
//	d, err := deb.Open(f)
//	fmt.Println(d.Control.Get("Package"), len(d.Info))
//	err = d.Files(func(h *tar.Header, content io.Reader) error { ... })
//
// It reads forward only. The bytes are hostile even when their digest was right:
// sizes and counts are bounded, and names lead nowhere outside.
package deb

import (
	"archive/tar"
	"bytes"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/camada/camada/base/debian/control"
	"github.com/camada/camada/errdefs"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/mikelolasagasti/xz"
)

// The bounds of one package.
const (
	maxMembers      = 16
	maxInfo         = 1000
	maxInfoBytes    = 64 << 20
	maxFiles        = 1 << 20
	maxFilesBytes   = 16 << 30
	maxDecoderBytes = 128 << 20
)

// Package is an open package file.
type Package struct {
	// Control is the package's control file.
	Control control.Paragraph
	// Info are the other files of the control archive: scripts, md5sums,
	// conffiles, triggers and so on, in the archive's order.
	Info []Info
	// Time is when the package was built, as the file says; for a reproducible
	// build it is the time of its last change.
	Time time.Time

	ar   *arReader
	data arMember
}

// Info is a file of the control archive.
type Info struct {
	Name string
	// Executable is set for scripts.
	Executable bool
	Data       []byte
}

// InfoData returns the content of the control file of that name, nil when
// there is none.
func (p *Package) InfoData(name string) []byte {
	for _, i := range p.Info {
		if i.Name == name {
			return i.Data
		}
	}
	return nil
}

// Open reads a package up to its files. Errors are of class ErrCorrupt,
// ErrLimit or ErrUnsupported.
func Open(r io.Reader) (*Package, error) {
	ar, err := newArReader(r)
	if err != nil {
		return nil, err
	}
	p := &Package{ar: ar}
	for n := 0; n < maxMembers; n++ {
		m, err := ar.next()
		if errors.Is(err, io.EOF) {
			return nil, errdefs.Corrupt("no data archive")
		}
		if err != nil {
			return nil, err
		}
		switch {
		case n == 0:
			if err := p.readFormat(m); err != nil {
				return nil, err
			}
		case strings.HasPrefix(m.name, "control.tar"):
			if err := p.readControl(m); err != nil {
				return nil, fmt.Errorf("control archive: %w", err)
			}
		case strings.HasPrefix(m.name, "data.tar"):
			if p.Control == nil {
				return nil, errdefs.Corrupt("the data archive is before the control archive")
			}
			p.data = m
			return p, nil
		case strings.HasPrefix(m.name, "_"):
		default:
			return nil, errdefs.Corrupt("unknown member %q", m.name)
		}
	}
	return nil, errdefs.Limit("more than %d members", maxMembers)
}

func (p *Package) readFormat(m arMember) error {
	format := make([]byte, 4)
	if m.name != "debian-binary" {
		return errdefs.Corrupt("not a Debian package")
	}
	if _, err := io.ReadFull(p.ar, format); err != nil {
		return truncated("format mark", err)
	}
	if !bytes.HasPrefix(format, []byte("2.")) {
		return errdefs.Unsupported("package format %q", format)
	}
	p.Time = m.time
	return nil
}

func (p *Package) readControl(m arMember) error {
	if p.Control != nil {
		return errdefs.Corrupt("there are two")
	}
	r, err := decompress(p.ar, m.name)
	if err != nil {
		return err
	}
	defer r.Close()
	t := tar.NewReader(io.LimitReader(r, maxInfoBytes))
	for n := 0; ; n++ {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return classed(err)
		}
		if n > maxInfo {
			return errdefs.Limit("more than %d files", maxInfo)
		}
		name := strings.TrimPrefix(h.Name, "./")
		if h.Typeflag != tar.TypeReg {
			continue
		}
		if !infoName(name) {
			return errdefs.Corrupt("file name %q", h.Name)
		}
		data, err := io.ReadAll(t)
		if err != nil {
			return classed(err)
		}
		if name != "control" {
			p.Info = append(p.Info, Info{Name: name, Executable: h.Mode&0o111 != 0, Data: data})
			continue
		}
		if p.Control, err = control.NewReader(bytes.NewReader(data)).Next(); err != nil {
			return errdefs.Corrupt("control: %w", err)
		}
	}
	if p.Control == nil {
		return errdefs.Corrupt("no control file")
	}
	return nil
}

// infoName reports whether a control file can be kept as <package>.<name>.
func infoName(s string) bool {
	return s != "" && len(s) < 64 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// Files calls fn for each entry of the data archive, in its order; content is the
// entry's and valid during the call. Names are clean and relative: "usr/bin/x", "."
// for the root. So are the targets of hard links. It can be called once.
func (p *Package) Files(fn func(h *tar.Header, content io.Reader) error) error {
	r, err := decompress(p.ar, p.data.name)
	if err != nil {
		return fmt.Errorf("data archive: %w", err)
	}
	defer r.Close()
	limited := &io.LimitedReader{R: r, N: maxFilesBytes}
	t := tar.NewReader(limited)
	for n := 0; ; n++ {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			if limited.N <= 0 {
				return errdefs.Limit("data archive: more than %d bytes", int64(maxFilesBytes))
			}
			return fmt.Errorf("data archive: %w", classed(err))
		}
		if n == maxFiles {
			return errdefs.Limit("data archive: more than %d entries", maxFiles)
		}
		if h.Name, err = cleanName(h.Name); err != nil {
			return fmt.Errorf("data archive: %w", err)
		}
		if err := checkType(h); err != nil {
			return fmt.Errorf("data archive: %w", err)
		}
		if err := fn(h, t); err != nil {
			return err
		}
	}
	// Read on to the end, so that the decompressor checks its checksum.
	if _, err := io.Copy(io.Discard, limited); err != nil {
		return fmt.Errorf("data archive: %w", classed(err))
	}
	return nil
}

func checkType(h *tar.Header) error {
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeDir, tar.TypeFifo, tar.TypeChar, tar.TypeBlock:
		return nil
	case tar.TypeSymlink:
		if h.Linkname == "" || len(h.Linkname) > 4095 || strings.ContainsRune(h.Linkname, 0) {
			return errdefs.Corrupt("%s: symbolic link to %q", h.Name, h.Linkname)
		}
		return nil
	case tar.TypeLink:
		target, err := cleanName(h.Linkname)
		if err != nil {
			return fmt.Errorf("%s: hard link: %w", h.Name, err)
		}
		h.Linkname = target
		return nil
	}
	return errdefs.Corrupt("%s: entry of type %q", h.Name, h.Typeflag)
}

// cleanName returns a name relative to the root; it refuses those that lead
// out of it.
func cleanName(s string) (string, error) {
	rel := strings.TrimPrefix(s, "./")
	if rel == "" && s != "" {
		return ".", nil
	}
	rel = strings.TrimSuffix(rel, "/")
	if rel == "." {
		return ".", nil
	}
	if !fs.ValidPath(rel) || path.IsAbs(s) || len(s) > 4096 || strings.ContainsAny(s, "\x00\n") {
		return "", errdefs.Corrupt("name %q: leads out of the root or is not clean", s)
	}
	return rel, nil
}

// classed gives the errors of tar and of decompressors a class, unless they have one.
func classed(err error) error {
	if errdefs.IsCorrupt(err) || errdefs.IsLimit(err) || errdefs.IsUnavailable(err) {
		return err
	}
	return errdefs.With(errdefs.ErrCorrupt, err)
}

// decompress opens a member by the ending of its name.
func decompress(r io.Reader, name string) (io.ReadCloser, error) {
	switch path.Ext(name) {
	case ".tar":
		return io.NopCloser(r), nil
	case ".gz":
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, classed(err)
		}
		return z, nil
	case ".xz":
		z, err := xz.NewReader(r, 0)
		if err != nil {
			return nil, classed(err)
		}
		return io.NopCloser(z), nil
	case ".zst":
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxDecoderBytes))
		if err != nil {
			return nil, classed(err)
		}
		return z.IOReadCloser(), nil
	case ".bz2":
		return io.NopCloser(bzip2.NewReader(r)), nil
	}
	return nil, errdefs.Unsupported("compression of %q", name)
}
