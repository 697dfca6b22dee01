package engine

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"github.com/camada/camada/anatomy"
	"github.com/camada/camada/inventory"
	"github.com/camada/camada/unpack"
)

// unpacked reads the system's packages of an image of the store whose layers are unpacked already, after each layer: nothing is decompressed then. It is nil when they are
// not, or this user cannot look at them.
func (e *Engine) unpacked(ctx context.Context, at located) (*scanned, error) {
	if at.provider != e.content && !at.unpacked || len(at.image.DiffIDs) == 0 {
		return nil, nil
	}
	snaps, err := e.snapshots(ctx)
	if err != nil {
		return nil, ctx.Err()
	}
	var ids []string
	for _, chainID := range unpack.ChainIDs(at.image.DiffIDs) {
		s, err := snaps.Lookup(ctx, chainID)
		if err != nil {
			return nil, ctx.Err()
		}
		ids = append(ids, s.ID)
	}
	var placer anatomy.Placer
	before := ""
	var damage error // of a list that no later layer replaces
	for i, id := range ids {
		view, err := snaps.View(ctx, id)
		if err != nil {
			return nil, ctx.Err()
		}
		inv, state, err := readLists(ctx, view.Dir(), before)
		view.Close()
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil:
			damage = fmt.Errorf("layer %d: %w", i+1, err)
		case inv != nil:
			damage = nil
			placer.Add(i, *inv)
		}
		before = state
	}
	if damage != nil {
		return nil, damage
	}
	s := &scanned{snapshots: ids}
	s.Inventory, s.Layers = placer.Result()
	return s, nil
}

// trees opens the snapshots of the layers; nil when there are none.
func (e *Engine) trees(ids []string) anatomy.Trees {
	if ids == nil {
		return nil
	}
	return func(ctx context.Context, layer int) (fs.FS, func(), error) {
		snaps, err := e.snapshots(ctx)
		if err != nil {
			return nil, nil, err
		}
		view, err := snaps.View(ctx, ids[layer])
		if err != nil {
			return nil, nil, err
		}
		root, err := os.OpenRoot(view.Dir())
		if err != nil {
			view.Close()
			return nil, nil, err
		}
		return root.FS(), func() {
			root.Close()
			view.Close()
		}, nil
	}
}

// readLists reads the package lists of a tree; nil when they are in the state before, which is what the file system says of them.
func readLists(ctx context.Context, dir, before string) (*inventory.Inventory, string, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, "", err
	}
	defer root.Close()
	tree := lists{root.FS()}
	state, err := tree.state()
	if err != nil || state == before {
		return nil, state, err
	}
	inv, err := inventory.Read(ctx, tree)
	if err != nil {
		return nil, state, err
	}
	return &inv, state, nil
}

// lists is a tree of which only the lists of packages are there.
type lists struct{ tree fs.FS }

// Open implements fs.FS.
func (l lists) Open(name string) (fs.File, error) {
	dir, base := path.Split(name)
	if !slices.Contains(inventory.Dirs(), name) && !inventory.Wanted(strings.TrimSuffix(dir, "/"), base) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return l.tree.Open(name)
}

// state names the files that there are, as git's index does: one that was written since has another inode, time or size.
func (l lists) state() (string, error) {
	var b strings.Builder
	b.WriteString("lists\n")
	for _, dir := range inventory.Dirs() {
		entries, err := fs.ReadDir(l.tree, dir)
		if err != nil {
			fmt.Fprintf(&b, "%s %t\n", dir, os.IsNotExist(err))
			continue
		}
		for _, e := range entries {
			if !inventory.Wanted(dir, e.Name()) {
				continue
			}
			info, err := fs.Stat(l.tree, path.Join(dir, e.Name()))
			if err != nil {
				fmt.Fprintf(&b, "%s/%s\n", dir, e.Name())
				continue
			}
			fmt.Fprintf(&b, "%s/%s %d %d", dir, e.Name(), info.Size(), info.ModTime().UnixNano())
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				fmt.Fprintf(&b, " %d %d.%d", st.Ino, st.Ctim.Sec, st.Ctim.Nsec)
			}
			b.WriteByte('\n')
		}
	}
	return b.String(), nil
}
