package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/camada/camada/container"
	"github.com/camada/camada/container/cgroup"
	"github.com/camada/camada/container/record"
	"github.com/camada/camada/lease"
	"github.com/camada/camada/network"
)

// cgroupResource pins the control group of a container that is being started, and its record.
func cgroupResource(id string) lease.Resource { return lease.Resource("cgroup/" + id) }

// tempResource pins a directory of tempDir.
func tempResource(id string) lease.Resource { return lease.Resource("tmp/" + id) }

// tempDir makes a directory for files that are needed only while this verb runs. When the process is killed, gc removes it.
func (e *Engine) tempDir(ctx context.Context) (dir string, remove func(), err error) {
	id := record.NewID()
	if err := e.lease.Pin(ctx, tempResource(id)); err != nil {
		return "", nil, err
	}
	dir = filepath.Join(e.root, "tmp", id)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", nil, fmt.Errorf("make a temporary directory: %w", err)
	}
	return dir, func() { os.RemoveAll(dir) }, nil
}

// reap takes away what killed processes left: containers that were to be removed at their end, records that were never finished,
// temporary directories, control groups and network connections of nobody.
func (e *Engine) reap(ctx context.Context) error {
	// The leases are read after the rest: what is there was pinned before it was made, and IDs are never used again.
	list, err := e.records.List(ctx)
	if err != nil {
		return err
	}
	temps, err := e.temps()
	if err != nil {
		return err
	}
	groups := e.groups()
	live, err := e.live(ctx)
	if err != nil {
		return err
	}
	for _, c := range list {
		if live[cgroupResource(c.Config.ID)] || c.Active() {
			delete(groups, c.Config.ID)
			continue
		}
		if err := e.reapContainer(ctx, c, groups[c.Config.ID]); err != nil && !isGone(err) {
			return err
		}
		delete(groups, c.Config.ID)
	}
	for id := range groups {
		if live[cgroupResource(id)] {
			continue
		}
		if err := container.Cleanup(ctx, id, e.cgroupsPath(id)); err != nil {
			return err
		}
	}
	for _, id := range temps {
		if live[tempResource(id)] {
			continue
		}
		if err := removeNotedGroup(ctx, filepath.Join(e.root, "tmp", id)); err != nil {
			return err
		}
		if err := os.RemoveAll(filepath.Join(e.root, "tmp", id)); err != nil {
			return fmt.Errorf("remove a temporary directory: %w", err)
		}
	}
	if err := errors.Join(e.records.Recover(ctx), e.volumes().Recover(ctx)); err != nil {
		return err
	}
	if _, err := os.Stat(e.networkDir()); err == nil {
		_, err = network.Reconcile(ctx, e.networkDir())
		return err
	}
	return nil
}

// reapContainer takes away what is left of a container whose process was killed: all of it when it was to be removed at its
// end, else its control group.
func (e *Engine) reapContainer(ctx context.Context, c *record.Container, group bool) error {
	elsewhere := c.Config.CgroupsPath != e.cgroupsPath(c.Config.ID) // which nobody has looked at
	if !group && !c.Config.Remove && !elsewhere {
		return nil
	}
	keep, ok, err := c.TryKeep()
	if err != nil || !ok {
		return err
	}
	defer keep.Close()
	if err := e.cleanup(ctx, c); err != nil || !c.Config.Remove {
		return err
	}
	return e.discard(ctx, c, true)
}

// live returns what leases hold.
func (e *Engine) live(ctx context.Context) (map[lease.Resource]bool, error) {
	collector, err := e.leases.Collect(ctx)
	if err != nil {
		return nil, err
	}
	all, err := collector.Live(ctx)
	if err := errors.Join(err, collector.Close()); err != nil {
		return nil, err
	}
	live := make(map[lease.Resource]bool, len(all))
	for _, r := range all {
		live[r] = true
	}
	return live, nil
}

// temps are the names of the directories of tempDir.
func (e *Engine) temps() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(e.root, "tmp"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list temporary directories: %w", err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names, nil
}

// groups are the IDs of this store's control groups, in any hierarchy.
func (e *Engine) groups() map[string]bool {
	ids := map[string]bool{}
	layout, err := cgroup.Detect()
	if err != nil {
		return ids // a machine without control groups has none to remove
	}
	dirs := []string{layout.Unified}
	for _, d := range layout.V1 {
		dirs = append(dirs, d)
	}
	for _, d := range dirs {
		if d == "" {
			continue
		}
		entries, err := os.ReadDir(filepath.Join(d, "camada"))
		if err != nil {
			continue
		}
		for _, entry := range entries {
			if id, ok := strings.CutPrefix(entry.Name(), e.cgroupPrefix()); ok {
				ids[id] = true
			}
		}
	}
	return ids
}
