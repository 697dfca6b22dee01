package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/camada/camada/archive/compression"
	"github.com/camada/camada/archive/transplant"
	"github.com/camada/camada/container/mounts"
	"github.com/camada/camada/container/record"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/mount"
)

// CopyOptions say what CopyIn and CopyOut copy.
type CopyOptions struct {
	// Container and Path are one side. A path is one of the container's root.
	Container, Path string
	// Host is a path of this machine, the other side unless Stream is given: "/." at its end means what is in the directory.
	Host string
	// Input is a tar, compressed or not, that CopyIn reads in place of Host; Output takes the tar that CopyOut makes.
	Input  io.Reader
	Output io.Writer
	// Archive keeps the owners of files; Follow copies what a link at the end of the source leads to.
	Archive, Follow bool
}

// CopyIn copies into a container, which runs or not, and returns how many bytes the tar between the two had.
func (e *Engine) CopyIn(ctx context.Context, o CopyOptions) (int64, error) {
	var n int64
	err := e.withFiles(ctx, o.Container, func(tree *transplant.Tree) (err error) {
		dst, err := tree.Target(o.Path)
		if err != nil {
			return err
		}
		defer dst.Close()
		if o.Input != nil {
			if !dst.IsDir() {
				return errdefs.Invalid("the destination %s:%s must be a directory", o.Container, o.Path)
			}
			r, err := compression.NewReader(o.Input, compression.Limits{})
			if err != nil {
				return err
			}
			defer r.Close() //nolint:errcheck // only read
			return dst.Extract(ctx, r, transplant.Options{Mine: o.mine()})
		}
		host, err := transplant.Host()
		if err != nil {
			return err
		}
		defer host.Close() //nolint:errcheck // a directory
		from, err := pathHere(o.Host)
		if err != nil {
			return err
		}
		src, err := host.Source(from, o.Follow)
		if err != nil {
			return err
		}
		defer src.Close()
		n, err = move(ctx, src, dst, transplant.Options{Mine: o.mine()})
		return err
	})
	return n, err
}

// CopyOut copies out of a container, which runs or not, and returns how many bytes the tar between the two had.
func (e *Engine) CopyOut(ctx context.Context, o CopyOptions) (int64, error) {
	var n int64
	err := e.withFiles(ctx, o.Container, func(tree *transplant.Tree) (err error) {
		src, err := tree.Source(o.Path, o.Follow)
		if err != nil {
			return err
		}
		defer src.Close()
		if o.Output != nil {
			name := src.Base
			if src.Contents() {
				name = "."
			}
			return src.Write(ctx, o.Output, name)
		}
		host, err := transplant.Host()
		if err != nil {
			return err
		}
		defer host.Close() //nolint:errcheck // a directory
		to, err := pathHere(o.Host)
		if err != nil {
			return err
		}
		if fi, err := os.Stat(to); err == nil && !fi.Mode().IsRegular() && !fi.IsDir() {
			return errdefs.Invalid("invalid output path: %q must be a directory or a regular file", o.Host) // it would be replaced
		}
		dst, err := host.Target(to)
		if err != nil {
			return err
		}
		defer dst.Close()
		n, err = move(ctx, src, dst, transplant.Options{Mine: !o.Archive || o.mine()})
		return err
	})
	return n, err
}

// mine reports whether files are better the caller's own: an ordinary user's namespace knows few of this machine's owners.
func (o CopyOptions) mine() bool { return os.Geteuid() != 0 || inUserNamespace() && !o.Archive }

// pathHere makes a path absolute, and keeps what its end says.
func pathHere(p string) (string, error) {
	if filepath.IsAbs(p) {
		return p, nil
	}
	wd, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find %s: %w", p, err)
	}
	return wd + "/" + p, nil
}

// move moves the tar of src into dst.
func move(ctx context.Context, src *transplant.Source, dst *transplant.Target, opts transplant.Options) (int64, error) {
	name, err := transplant.Rule(src, dst)
	if err != nil {
		return 0, err
	}
	pr, pw := io.Pipe()
	written := make(chan error, 1)
	count := &sent{w: pw}
	go func() {
		err := src.Write(ctx, count, name)
		pw.CloseWithError(err)
		written <- err
	}()
	err = dst.Extract(ctx, pr, opts)
	pr.CloseWithError(io.ErrClosedPipe)
	if werr := <-written; werr != nil && !errors.Is(werr, io.ErrClosedPipe) {
		err = werr
	}
	return count.n, err
}

// sent counts what is written.
type sent struct {
	w io.Writer
	n int64
}

func (c *sent) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// withFiles calls f with the files of a container: what its first process sees while it runs, else its root file system with its
// volumes. Meanwhile the container is not started.
func (e *Engine) withFiles(ctx context.Context, name string, f func(*transplant.Tree) error) error {
	c, err := e.records.Get(ctx, name)
	if err != nil {
		return err
	}
	for {
		if c.Running() {
			return e.inRunning(ctx, c, f)
		}
		keep, ok, err := c.TryKeep()
		if err != nil {
			return err
		}
		if ok && !c.Running() {
			defer keep.Close()
			return e.inStopped(ctx, c, f)
		}
		if ok {
			keep.Close()
			continue
		}
		select { // it is being started, or ends
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
		if err := c.Refresh(); err != nil {
			return err
		}
	}
}

func (e *Engine) inRunning(ctx context.Context, c *record.Container, f func(*transplant.Tree) error) error {
	if _, apart, err := e.apart(ctx, c); err != nil || apart {
		if err == nil {
			err = errdefs.Unsupported("its runtime has a kernel of its own, which alone knows them: stop it first, or use exec and tar")
		}
		return fmt.Errorf("files of container %s: %w", c.Config.Name, err)
	}
	tree, err := transplant.Open(fmt.Sprintf("/proc/%d/root", c.State.Pid))
	if err == nil {
		defer tree.Close() //nolint:errcheck // a directory
		err = c.Refresh()  // the process was this one when its root was opened
	}
	if err == nil && !c.Running() {
		err = errdefs.Conflict("it ended at this moment")
	}
	if err != nil {
		return fmt.Errorf("files of container %s: %w", c.Config.Name, err)
	}
	idsOf(c.Config).see(tree)
	return f(tree)
}

func (e *Engine) inStopped(ctx context.Context, c *record.Container, f func(*transplant.Tree) error) error {
	if c.State.Status == record.Dead {
		return errdefs.Corrupt("files of container %s: %s", c.Config.Name, c.State.Error)
	}
	l, err := launchOf(c)
	if err != nil {
		return err
	}
	snaps, err := e.snapshots(ctx)
	if err != nil {
		return err
	}
	m, err := snaps.Mount(ctx, c.Config.Snapshot)
	if err != nil {
		return err
	}
	m.ReadOnly = l.opts.ReadOnly
	on, err := e.mountedOn(l)
	if err != nil {
		return err
	}
	return mount.With(m, on, func(root *os.File) error {
		tree, err := transplant.Of(root)
		if err != nil {
			return err
		}
		defer tree.Close() //nolint:errcheck // a directory
		if i := idsOf(c.Config); i.reowned() {
			i.see(tree)
		}
		return f(tree)
	})
}

// see tells a tree whose ids its files have.
func (i ids) see(tree *transplant.Tree) {
	if i.same() {
		return
	}
	uid, gid := i.outside(0, 0)
	tree.SetOwners(transplant.Owners{UID: uid, GID: gid, Inside: i.inside, Outside: i.outside})
}

// mountedOn are the directories and volumes of a container that does not run.
func (e *Engine) mountedOn(l *launch) ([]mount.On, error) {
	var on []mount.On
	for _, m := range l.Mounts {
		source := m.Source
		switch m.Type {
		case mounts.Bind:
		case mountVolume:
			v, err := e.volumes().Get(m.Source)
			if err != nil {
				return nil, err
			}
			if m.Subpath != "" || len(v.Options) > 0 {
				return nil, errdefs.Unsupported("files of container %s while it does not run: it mounts a part or a device of volume %s", l.c.Config.Name, v.Name)
			}
			source = v.Dir()
		default:
			continue
		}
		on = append(on, mount.On{Source: source, Target: strings.TrimPrefix(m.Target, "/"), ReadOnly: m.ReadOnly})
	}
	return on, nil
}
