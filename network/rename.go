package network

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/camada/camada/errdefs"
)

// Rename lets others find a container that runs by another name, on the networks that users made. It is no error that it has no network.
func Rename(stateDir, containerID, from, to string) error {
	if err := (state{dir: stateDir}).rename(containerID, from, to); err != nil {
		return fmt.Errorf("rename container %.12s on its networks: %w", containerID, err)
	}
	return nil
}

func (s state) rename(id, from, to string) error {
	unlock, err := s.lock()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock()
	h, err := s.load(id)
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	var old, all []string
	for i := range h.Connections {
		n := &h.Connections[i]
		_, before := n.claims()
		j := slices.IndexFunc(n.Names, func(name string) bool { return strings.EqualFold(name, from) })
		if j < 0 {
			continue
		}
		n.Names[j] = to
		n.Names = unique(n.Names)
		_, after := n.claims()
		old, all = append(old, before...), append(all, after...)
	}
	for _, name := range all {
		if err := errors.Join(os.MkdirAll(s.path(name), 0o700), os.WriteFile(s.path(name, id), nil, 0o600)); err != nil {
			return err
		}
	}
	if err := s.save(h); err != nil { // what is interrupted here leaves a name too many, which goes with the container
		return err
	}
	for _, name := range old {
		if slices.Contains(all, name) {
			continue
		}
		if err := os.Remove(s.path(name, id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		_ = os.Remove(s.path(name)) // only the last one can
	}
	return nil
}
