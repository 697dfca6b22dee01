package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/camada/camada/container/record"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/hostile"
	"github.com/camada/camada/mount"
	"github.com/camada/camada/volume"
	"golang.org/x/sys/unix"
)

// volumes are those of the store.
func (e *Engine) volumes() *volume.Store { return volume.Open(filepath.Join(e.root, "volumes")) }

// makeVolumes makes the volumes of a container where they are not there, and lets empty ones begin with what the image has in their place.
// root is the container's root file system.
func (e *Engine) makeVolumes(ctx context.Context, l *launch, root mount.Mount, fresh bool) error {
	for _, m := range l.Mounts {
		if m.Type != mountVolume {
			continue
		}
		if err := e.makeVolume(ctx, m, root, fresh, idsOf(l.c.Config)); err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) makeVolume(ctx context.Context, m plannedMount, root mount.Mount, fresh bool, i ids) error {
	s := e.volumes()
	if _, err := s.Get(m.Source); errdefs.IsNotFound(err) {
		fresh = true
		v, err := s.Create(ctx, volume.Config{Name: m.Source, Labels: m.Labels, Options: m.DriverOptions, Anonymous: m.Anonymous})
		if err == nil && i.reowned() {
			err = i.give(v.Dir())
		}
		if err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	if m.NoCopy || m.Subpath != "" || !s.Unfinished(m.Source) && !(fresh && s.NeedsFill(m.Source)) {
		return nil
	}
	root.Upper, root.Work = "", ""
	if root.Kind == mount.Overlay && len(root.Lower) == 0 {
		return nil
	}
	from, err := mount.Part(root, m.Target, true)
	if errdefs.IsNotFound(err) {
		return nil // the image has nothing there
	}
	if err != nil {
		return fmt.Errorf("look at %s of the image: %w", m.Target, err)
	}
	defer from.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(from.Fd()), &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil //nolint:nilerr // a file hides nothing that could be copied
	}
	return s.Fill(ctx, m.Source, fmt.Sprintf("/proc/self/fd/%d", from.Fd()))
}

// dropVolumes removes the anonymous volumes of a container that no other one uses.
func (e *Engine) dropVolumes(ctx context.Context, c *record.Container) error {
	var names []string
	for _, m := range c.Config.Mounts {
		if m.Anonymous {
			names = append(names, m.Name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	unlock, err := e.volumes().Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	used, err := e.volumeUsers(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, n := range names {
		if users := used[n]; len(users) > 1 || len(users) == 1 && users[0] != c.Config.ID {
			continue
		}
		if err := e.volumes().Remove(ctx, n); err != nil && !errdefs.IsNotFound(err) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// volumeUsers are the IDs of the containers that use each volume.
func (e *Engine) volumeUsers(ctx context.Context) (map[string][]string, error) {
	list, err := e.records.List(ctx)
	if err != nil {
		return nil, err
	}
	used := map[string][]string{}
	for _, c := range list {
		for _, m := range c.Config.Mounts {
			if m.Type == string(mountVolume) {
				used[m.Name] = append(used[m.Name], c.Config.ID)
			}
		}
	}
	return used, nil
}

// hostPath makes the source of a bind of -v where it is not there, as docker does.
func hostPath(source string, make bool) error {
	_, err := os.Stat(source)
	switch {
	case err == nil:
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("look at %s: %w", source, err)
	case !make:
		return errdefs.Invalid("invalid mount config for type \"bind\": bind source path does not exist: %s", source)
	}
	if err := os.MkdirAll(source, 0o755); err != nil {
		return fmt.Errorf("make %s: %w", source, err)
	}
	return nil
}

// giveTo gives a directory with all that is in it, or a file, to a user. It follows no links, also when a container that sees the
// directory makes links while it is at it.
func giveTo(source string, uid, gid int) error {
	err := hostile.Each(source, func(dir int, name string, _ *unix.Stat_t) error {
		return unix.Fchownat(dir, name, uid, gid, unix.AT_SYMLINK_NOFOLLOW)
	})
	if err != nil {
		return fmt.Errorf("give %s to %d:%d: %w", source, uid, gid, err)
	}
	return nil
}
