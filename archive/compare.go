package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"

	"github.com/camada/camada/errdefs"
	"golang.org/x/sys/unix"
)

// node writes a file if it differs from the parents', and a directory's inside.
func (d *differ) node(ctx context.Context, l *level, n *Node) error {
	name := n.Entry.Name
	low, err := d.low.child(l.low, name)
	if err != nil {
		return err
	}
	old := l.since && low != nil && n.Ctime.Before(d.opts.Since)
	if old && n.Entry.Type != TypeDir {
		return nil
	}
	if err := n.look(&d.x, false, d.opts.Shared); err != nil {
		return err
	}
	d.own(&n.Entry, &d.x)
	for _, attr := range []string{"redirect", "metacopy"} {
		if _, ok := d.x.overlay[attr]; ok && d.overlay {
			return errdefs.Unsupported("%s: overlayfs wrote it with %s, which has to be off", name, attr)
		}
	}
	if n.Entry.Type == TypeDir {
		return d.directory(ctx, l, n, low, old)
	}
	id := inode{n.Dev, n.Ino}
	if n.Nlink > 1 {
		if first, ok := d.links[id]; ok {
			e := n.Entry
			e.Type, e.Linkname, e.Size, e.Xattrs = TypeLink, first, 0, nil
			return d.emit(e, nil)
		}
	}
	same, err := d.same(n, low)
	if err != nil || same {
		return err
	}
	if n.Nlink > 1 {
		d.links[id] = name
	}
	return d.emit(n.Entry, n)
}

// directory writes a directory's entry, now or when something in it is written, and its inside.
func (d *differ) directory(ctx context.Context, l *level, n *Node, low *lowerFile, old bool) error {
	opaque := d.x.overlay["opaque"]
	below := level{
		name: n.Entry.Name, fd: n.fd, depth: l.depth + 1,
		complete: l.complete || (d.overlay && opaque == "y"),
		marks:    d.overlay && opaque == "x",
		since:    l.since && old,
	}
	if low != nil && TypeOf(low.st.Mode) == TypeDir {
		below.low = low
	}
	same := below.low != nil
	if same && !old {
		was, err := d.lowerEntry(low, n.Entry.Name)
		if err != nil {
			return err
		}
		if d.stubs[n.Entry.Name] && !was.ModTime.Equal(n.Entry.ModTime) {
			n.Entry.ModTime = was.ModTime
		}
		same = d.equal(&n.Entry, &was)
	}
	if !same {
		if err := d.emit(n.Entry, nil); err != nil {
			return err
		}
	}
	if below.complete && d.overlay && !d.known && opaque == "y" {
		if err := d.w.Opaque(n.Entry.Name); err != nil {
			return err
		}
	}
	if !same {
		return d.dir(ctx, below)
	}
	d.pending = append(d.pending, n.Entry)
	err := d.dir(ctx, below)
	d.pending = d.pending[:len(d.pending)-1]
	return err
}

// same reports whether the parents have the file just so.
func (d *differ) same(n *Node, low *lowerFile) (bool, error) {
	if low == nil || TypeOf(low.st.Mode) != n.Entry.Type {
		return false, nil
	}
	if n.Nlink > 1 && n.Nlink != uint64(low.st.Nlink) { //nolint:unconvert // the widths differ between architectures
		return false, nil // it got another name, which has to find it in the layer
	}
	if n.Entry.Type == TypeReg && n.Entry.Size != low.st.Size {
		return false, nil
	}
	was, err := d.low.node(low, n.Entry.Name)
	if err != nil {
		return false, err
	}
	defer was.close()
	d.own(&was.Entry, &d.low.x)
	if !d.equal(&n.Entry, &was.Entry) || n.Entry.Type != TypeReg {
		return d.equal(&n.Entry, &was.Entry), nil
	}
	same, err := d.sameContent(n.fd, was.fd)
	if err != nil {
		return false, fmt.Errorf("compare %s: %w", n.Entry.Name, err)
	}
	return same, nil
}

// lowerEntry describes a file of the parents.
func (d *differ) lowerEntry(low *lowerFile, name string) (Entry, error) {
	n, err := d.low.node(low, name)
	if err != nil {
		return Entry{}, err
	}
	n.close()
	d.own(&n.Entry, &d.low.x)
	return n.Entry, nil
}

// equal is sameEntry for times as they would be written.
func (d *differ) equal(a, b *Entry) bool {
	x, y := *a, *b
	if c := d.opts.Clamp; !c.IsZero() {
		if x.ModTime.After(c) {
			x.ModTime = c
		}
		if y.ModTime.After(c) {
			y.ModTime = c
		}
	}
	return sameEntry(&x, &y)
}

// sameEntry reports whether two entries say the same.
func sameEntry(a, b *Entry) bool {
	return a.Name == b.Name && a.Type == b.Type && a.Linkname == b.Linkname && a.Mode == b.Mode &&
		a.UID == b.UID && a.GID == b.GID && a.ModTime.Equal(b.ModTime) && a.Size == b.Size &&
		a.Devmajor == b.Devmajor && a.Devminor == b.Devminor && maps.Equal(a.Xattrs, b.Xattrs)
}

// sameContent compares two files of the same size.
func (d *differ) sameContent(a, b int) (bool, error) {
	for i := range d.bufs {
		if d.bufs[i] == nil {
			d.bufs[i] = make([]byte, copyBuffer)
		}
	}
	for off := int64(0); ; {
		n, err := preadFull(a, d.bufs[0], off)
		if err != nil {
			return false, err
		}
		m, err := preadFull(b, d.bufs[1], off)
		if err != nil {
			return false, err
		}
		if !bytes.Equal(d.bufs[0][:n], d.bufs[1][:m]) {
			return false, nil
		}
		if n < len(d.bufs[0]) {
			return true, nil
		}
		off += int64(n)
	}
}

// preadFull reads until buf is full or the file ends.
func preadFull(fd int, buf []byte, off int64) (n int, err error) {
	for n < len(buf) {
		c, err := unix.Pread(fd, buf[n:], off+int64(n))
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil && !errors.Is(err, io.EOF):
			return n, err
		case c == 0:
			return n, nil
		}
		n += c
	}
	return n, nil
}
