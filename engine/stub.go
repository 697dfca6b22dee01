package engine

import (
	"os"
	"path"
	"strings"
	"time"

	"github.com/camada/camada/container"
	"github.com/camada/camada/mount"
)

// stubs are the mount points that the root file system did not have: they are made for the run, and removed again when
// nothing was put there, so that they do not get into the layer.
type stubs struct {
	root mount.Mount
	made []container.MountPoint
}

// add notes one that was made.
func (s *stubs) add(p container.MountPoint) { s.made = append(s.made, p) }

// remove removes the stubs that are empty, and gives their directories the times back that they had unless the step changed
// them. The paths have no link in them that a step made: what is there now is removed only when it is an empty directory or file
// itself.
func (s *stubs) remove() {
	top := orElse(s.root.Upper, s.root.Source)
	if top == "" {
		return
	}
	root, err := os.OpenRoot(top)
	if err != nil {
		return
	}
	defer root.Close()
	for i := len(s.made) - 1; i >= 0; i-- {
		p := s.made[i]
		name := strings.TrimPrefix(p.Path, "/")
		st, err := root.Lstat(name)
		if err != nil || !st.IsDir() && (!st.Mode().IsRegular() || st.Size() > 0) {
			continue
		}
		dir := path.Dir(name)
		was, err := root.Lstat(dir)
		if err != nil || root.Remove(name) != nil { // a directory that is not empty stays
			continue
		}
		if was.ModTime().Equal(p.After) {
			_ = root.Chtimes(dir, time.Time{}, p.Before)
		}
	}
}
