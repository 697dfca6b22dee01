package record

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/flock"
)

// Rename gives a container another name. ErrAlreadyExists when the name is taken, ErrNotFound when the container was removed.
//
// The name in the config is the one that counts. A process that is killed on the way leaves a link that the config does not confirm: whoever
// needs that name takes it.
func (s *Store) Rename(ctx context.Context, c *Container, name string) error {
	if !validName(name) {
		return errdefs.Invalid("container name %q: want letters, digits, '_', '.' and '-', the first a letter or digit", name)
	}
	if name == c.Config.Name {
		return errdefs.Invalid("container %s has this name already", name)
	}
	lock, err := s.lockNames(ctx)
	if err != nil {
		return err
	}
	defer lock.Close()
	link := filepath.Join(s.dir, namesDir, name)
	err = os.Symlink(c.Config.ID, link)
	if errors.Is(err, fs.ErrExist) {
		if owner, lerr := os.Readlink(link); lerr != nil || s.owns(owner, name) {
			return errdefs.AlreadyExists("the name %q is used by container %.12s; remove that (camada rm) or choose another", name, owner)
		}
		if err = os.Remove(link); err == nil {
			err = os.Symlink(c.Config.ID, link)
		}
	}
	if err != nil {
		return fmt.Errorf("take the name %s: %w", name, err)
	}
	old := ""
	err = c.Change(ctx, func(cfg *Config) error {
		old, cfg.Name = cfg.Name, name
		return nil
	})
	if err != nil {
		os.Remove(link)
		return err
	}
	if gone := filepath.Join(s.dir, namesDir, old); old != "" && old != name {
		if owner, err := os.Readlink(gone); err == nil && owner == c.Config.ID {
			os.Remove(gone) // what stays is not confirmed by the config
		}
	}
	return nil
}

// Change changes the config of a container, under a lock that all changes take. f gets the config as it is now, and an error of f
// leaves it so. What has to stay as it is: the ID, and what the container was made of. ErrNotFound when the container was removed.
func (c *Container) Change(ctx context.Context, f func(*Config) error) error {
	dir, err := os.Open(c.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return errdefs.NotFound("no such container: %s", c.Config.Name)
	}
	if err != nil {
		return fmt.Errorf("change container %s: %w", c.Config.Name, err)
	}
	defer dir.Close()
	if err := flock.Exclusive(ctx, dir); err != nil {
		return fmt.Errorf("change container %s: %w", c.Config.Name, err)
	}
	if !named(dir) {
		return errdefs.NotFound("no such container: %s", c.Config.Name)
	}
	var cfg Config
	if err := readJSON(filepath.Join(c.dir, configFile), &cfg); err != nil {
		return fmt.Errorf("change container %s: %w", c.Config.Name, err)
	}
	if err := f(&cfg); err != nil {
		return err
	}
	if err := writeJSON(filepath.Join(c.dir, configFile), cfg); err != nil {
		return fmt.Errorf("change container %s: %w", c.Config.Name, err)
	}
	c.Config = cfg
	return nil
}
