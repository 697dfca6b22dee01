package record

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/camada/camada/errdefs"
)

// NewID returns an ID for a container.
func NewID() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // it never fails
	return hex.EncodeToString(b[:])
}

// Create makes the record of a new container and takes its name; an empty ID or Name is chosen. ErrAlreadyExists when the
// name is taken.
func (s *Store) Create(ctx context.Context, cfg Config) (*Container, error) {
	if cfg.ID == "" {
		cfg.ID = NewID()
	}
	if cfg.Created.IsZero() {
		cfg.Created = time.Now().UTC()
	}
	if cfg.Name != "" && !validName(cfg.Name) {
		return nil, errdefs.Invalid("container name %q: want letters, digits, '_', '.' and '-', the first a letter or digit", cfg.Name)
	}
	c := &Container{dir: filepath.Join(s.dir, cfg.ID), State: State{Status: Created}}
	if err := os.MkdirAll(filepath.Join(s.dir, namesDir), 0o711); err != nil {
		return nil, fmt.Errorf("make a container: %w", err)
	}
	if err := os.Mkdir(c.dir, 0o700); err != nil {
		return nil, fmt.Errorf("make a container: %w", err)
	}
	name, err := s.takeName(ctx, cfg.Name, cfg.ID)
	if err != nil {
		os.RemoveAll(c.dir)
		return nil, err
	}
	cfg.Name = name
	c.Config = cfg
	if err := writeJSON(filepath.Join(c.dir, configFile), cfg); err != nil {
		os.Remove(filepath.Join(s.dir, namesDir, name))
		os.RemoveAll(c.dir)
		return nil, fmt.Errorf("make a container: %w", err)
	}
	return c, nil
}

// takeName makes the link of the name, or of one that is free.
func (s *Store) takeName(ctx context.Context, name, id string) (string, error) {
	given := name != ""
	for try := 0; ; try++ {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		if !given {
			name = randomName(try)
		}
		link := filepath.Join(s.dir, namesDir, name)
		err := os.Symlink(id, link)
		if err == nil {
			return name, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return "", fmt.Errorf("take the name %s: %w", name, err)
		}
		owner, err := os.Readlink(link)
		if err == nil && !s.owns(owner) && os.Remove(link) == nil {
			continue // left by a process that was killed
		}
		if given {
			return "", errdefs.AlreadyExists("the name %q is used by container %.12s; remove that (camada rm) or choose another", name, owner)
		}
	}
}

// owns reports whether a container is there, or is just being made.
func (s *Store) owns(id string) bool {
	if !isID(id) {
		return false
	}
	dir := filepath.Join(s.dir, id)
	if _, err := os.Stat(filepath.Join(dir, configFile)); err == nil {
		return true
	}
	st, err := os.Stat(dir)
	return err == nil && time.Since(st.ModTime()) < time.Minute
}

// Remove removes the record of a container that does not run; its name is free then.
func (s *Store) Remove(ctx context.Context, id string) error {
	c, err := s.load(id)
	if errdefs.IsNotFound(err) {
		return s.removeFiles(id, "")
	}
	if err != nil {
		return err
	}
	return s.removeFiles(id, c.Config.Name)
}

func (s *Store) removeFiles(id, name string) error {
	if name != "" {
		link := filepath.Join(s.dir, namesDir, name)
		if owner, err := os.Readlink(link); err == nil && owner == id {
			os.Remove(link)
		}
	}
	if err := os.RemoveAll(filepath.Join(s.dir, id)); err != nil {
		return fmt.Errorf("remove container %.12s: %w", id, err)
	}
	return nil
}

// Unfinished returns the IDs whose making a killed process did not finish.
func (s *Store) Unfinished() ([]string, error) {
	ids, err := s.ids()
	if err != nil {
		return nil, err
	}
	var out []string
	for _, id := range ids {
		if !s.owns(id) {
			out = append(out, id)
		}
	}
	return out, nil
}

// randomName makes a name of a colour or a mood and a tree or a bird; later tries get a number.
func randomName(try int) string {
	moods := [...]string{"amber", "azure", "brave", "bright", "calm", "clever", "coral", "crisp", "dapper", "eager", "early", "fair", "gentle", "golden", "happy",
		"honest", "ivory", "jade", "jolly", "keen", "kind", "lively", "lucid", "merry", "mighty", "modest", "nimble", "noble", "olive", "patient", "plucky", "proud",
		"quick", "quiet", "rosy", "sage", "silver", "sleek", "smart", "snowy", "steady", "sunny", "swift", "tidy", "vivid", "warm", "wise", "witty"}
	things := [...]string{"alder", "aspen", "beech", "birch", "cedar", "cherry", "cypress", "elm", "fig", "fir", "hazel", "holly", "juniper", "larch", "laurel",
		"linden", "maple", "oak", "olive", "pine", "poplar", "rowan", "spruce", "willow", "crane", "dove", "egret", "falcon", "finch", "heron", "ibis", "jay",
		"kestrel", "lark", "magpie", "merlin", "osprey", "owl", "plover", "puffin", "raven", "robin", "sparrow", "stork", "swallow", "swan", "tern", "wren"}
	name := moods[mathrand.IntN(len(moods))] + "_" + things[mathrand.IntN(len(things))]
	if try > 3 {
		name += fmt.Sprint(mathrand.IntN(10 * try))
	}
	return name
}
