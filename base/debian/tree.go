package debian

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/camada/camada/base"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/progress"
)

// Tree is a merged root file system, ready to be written.
type Tree struct {
	// Epoch is the time of the youngest package: nothing in the layer is younger. It is
	// the SOURCE_DATE_EPOCH of the steps, and what the times of a layer made from the
	// configured tree are to be clamped to.
	Epoch time.Time

	plan     *Plan
	sink     progress.Sink
	spools   []*os.File
	core     []*unpacked
	youngest time.Time
	entries  map[string]*entry
	alias    map[string]string // top directories that are links: bin -> usr/bin
}

// entry is one file of the tree.
type entry struct {
	header tar.Header // Name is relative, without a slash at the end
	item   *item      // where the content of a regular file lies
	data   []byte     // or the content itself
	deb    int        // or the number of an extra package plus one
	owner  *unpacked  // nil for what is made here
	// implied is set for a directory that no package has, but that has files.
	implied bool
}

// Close gives the temporary files back.
func (t *Tree) Close() error {
	for _, s := range t.spools {
		s.Close()
	}
	t.spools = nil
	return nil
}

// Packages are the plan's packages.
func (t *Tree) Packages() []base.Package { return t.plan.Packages }

// WriteTar writes the tree as one tar stream: sorted by name, times at most
// Epoch, owners by number. The same tree gives the same bytes. It can be called again.
func (t *Tree) WriteTar(ctx context.Context, w io.Writer) error {
	tw := tar.NewWriter(w)
	buf := make([]byte, 256<<10)
	for _, name := range slices.Sorted(maps.Keys(t.entries)) {
		if err := ctx.Err(); err != nil {
			return err
		}
		e := t.entries[name]
		h := normalized(&e.header, t.Epoch)
		if err := tw.WriteHeader(h); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
		if h.Typeflag != tar.TypeReg || h.Size == 0 {
			continue
		}
		if err := t.writeContent(ctx, tw, e, buf); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	return tw.Close()
}

func (t *Tree) writeContent(ctx context.Context, w io.Writer, e *entry, buf []byte) error {
	switch {
	case e.item != nil:
		r := io.NewSectionReader(e.item.spool, e.item.offset, e.header.Size)
		_, err := io.CopyBuffer(onlyWriter{w}, r, buf)
		return err
	case e.deb > 0:
		f, err := t.plan.get(ctx, t.plan.extra[e.deb-1], nil)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.CopyBuffer(onlyWriter{w}, f, buf)
		return err
	}
	_, err := w.Write(e.data)
	return err
}

// normalized keeps of a header what a package means by it.
func normalized(h *tar.Header, epoch time.Time) *tar.Header {
	out := &tar.Header{
		Typeflag: h.Typeflag, Name: h.Name, Linkname: h.Linkname,
		Mode: h.Mode & 0o7777, Uid: h.Uid, Gid: h.Gid,
		ModTime: h.ModTime.Truncate(time.Second),
	}
	if out.ModTime.After(epoch) {
		out.ModTime = epoch
	}
	switch h.Typeflag {
	case tar.TypeReg:
		out.Size = h.Size
	case tar.TypeDir:
		out.Name += "/"
	case tar.TypeChar, tar.TypeBlock:
		out.Devmajor, out.Devminor = h.Devmajor, h.Devminor
	}
	return out
}

// dir makes a directory unless there is one, or a link in its place.
func (t *Tree) dir(name string, mode int64) {
	if e := t.entries[name]; e != nil && !e.implied {
		return
	}
	t.entries[name] = &entry{header: tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: mode, ModTime: t.Epoch}}
}

// file makes a regular file, and the directories above it.
func (t *Tree) file(name string, mode int64, data []byte) error {
	at, err := t.place(name)
	if err != nil {
		return err
	}
	t.entries[at] = &entry{
		header: tar.Header{Typeflag: tar.TypeReg, Name: at, Mode: mode, Size: int64(len(data)), ModTime: t.Epoch},
		data:   data,
	}
	return nil
}

// link makes a symbolic link unless something is there.
func (t *Tree) link(name, target string) error {
	at, err := t.place(name)
	if err != nil {
		return err
	}
	if t.entries[at] == nil {
		t.entries[at] = &entry{header: tar.Header{Typeflag: tar.TypeSymlink, Name: at, Linkname: target, Mode: 0o777, ModTime: t.Epoch}}
	}
	return nil
}

const maxLinks = 40

// place returns where a name leads when the directories above it may be links,
// and makes the directories that are missing.
func (t *Tree) place(name string) (string, error) {
	todo := strings.Split(name, "/")
	var done []string
	links := 0
	for len(todo) > 0 {
		part := todo[0]
		todo = todo[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			if len(done) > 0 {
				done = done[:len(done)-1]
			}
			continue
		}
		done = append(done, part)
		if len(todo) == 0 {
			break // the last part itself is not followed
		}
		at := strings.Join(done, "/")
		e := t.entries[at]
		switch {
		case e == nil:
			t.entries[at] = &entry{
				header:  tar.Header{Typeflag: tar.TypeDir, Name: at, Mode: 0o755, ModTime: t.Epoch},
				implied: true,
			}
		case e.header.Typeflag == tar.TypeDir:
		case e.header.Typeflag == tar.TypeSymlink:
			if links++; links > maxLinks {
				return "", errdefs.Corrupt("%s: too many symbolic links", name)
			}
			done = done[:len(done)-1]
			if strings.HasPrefix(e.header.Linkname, "/") {
				done = nil
			}
			todo = append(strings.Split(e.header.Linkname, "/"), todo...)
		default:
			return "", errdefs.Corrupt("%s: %s is not a directory", name, at)
		}
	}
	if len(done) == 0 {
		return ".", nil
	}
	return strings.Join(done, "/"), nil
}

// content returns the whole content of a regular file of the tree.
func (t *Tree) content(ctx context.Context, e *entry) ([]byte, error) {
	var b bytes.Buffer
	if err := t.writeContent(ctx, &b, e, make([]byte, 64<<10)); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
