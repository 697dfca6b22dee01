package slim

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/camada/camada/archive"
	"golang.org/x/sys/unix"
)

// Write writes what is kept as the tar of a layer: the bytes depend on the tree and the choice alone.
func (s *Selection) Write(ctx context.Context, w io.Writer) error {
	out := archive.NewWriter(w, archive.WriterOptions{})
	if err := s.writeRoot(out); err != nil {
		return err
	}
	names := map[inode]string{}
	opts := archive.WalkOptions{RecordedOwner: s.t.opts.RecordedOwner}
	err := archive.Walk(ctx, s.t.dir, opts, func(n *archive.Node) error {
		k := s.t.exact(n.Entry.Name)
		if k == nil || !k.kept {
			if n.Entry.Type == archive.TypeDir {
				return fs.SkipDir
			}
			return nil
		}
		e := n.Entry
		if text, ok := s.Replaced[e.Name]; ok {
			e.Size = int64(len(text))
			return out.Add(e, bytes.NewReader(text))
		}
		if e.Type != archive.TypeDir && n.Nlink > 1 {
			id := inode{n.Dev, n.Ino}
			if first, ok := names[id]; ok {
				e.Type, e.Linkname, e.Size = archive.TypeLink, first, 0
				return out.Add(e, nil)
			}
			names[id] = e.Name
		}
		return out.AddNode(e, n)
	})
	if err != nil {
		return err
	}
	if err := s.writeAdded(out); err != nil {
		return err
	}
	return out.Close()
}

// writeRoot writes the root directory when it is not as one that goes without saying.
func (s *Selection) writeRoot(out *archive.Writer) error {
	f, err := os.Open(s.t.dir)
	if err != nil {
		return err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return fmt.Errorf("stat the root: %w", err)
	}
	attrs, _, err := archive.Xattrs(int(f.Fd()))
	if err != nil {
		return fmt.Errorf("extended attributes of the root: %w", err)
	}
	e := archive.Entry{Name: ".", Type: archive.TypeDir, Mode: st.Mode & 0o7777, UID: int(st.Uid), GID: int(st.Gid), ModTime: time.Unix(0, 0), Xattrs: attrs}
	if e.Mode == 0o755 && e.UID == 0 && e.GID == 0 && len(attrs) == 0 {
		return nil
	}
	return out.Add(e, nil)
}

// writeAdded writes the files that the tree has not, with the directories that it has not.
func (s *Selection) writeAdded(out *archive.Writer) error {
	made := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(s.Added)) {
		var above []string
		for dir := path.Dir(name); s.t.exact(dir) == nil && !made[dir]; dir = path.Dir(dir) {
			above = append(above, dir)
			made[dir] = true
		}
		when := s.since(name)
		for _, dir := range slices.Backward(above) {
			if err := out.Add(archive.Entry{Name: dir, Type: archive.TypeDir, Mode: 0o755, ModTime: when}, nil); err != nil {
				return err
			}
		}
		text := s.Added[name]
		if err := out.Add(archive.Entry{Name: name, Type: archive.TypeReg, Mode: 0o644, ModTime: when, Size: int64(len(text))}, bytes.NewReader(text)); err != nil {
			return err
		}
	}
	return nil
}

// since is the time of a file that is added: that of the database which it is made of.
func (s *Selection) since(name string) time.Time {
	if strings.HasPrefix(name, dpkgDir) {
		if n := s.t.find(dpkgDir+"/status", false).end; n != nil {
			return n.mtime
		}
	}
	return time.Unix(0, 0)
}
