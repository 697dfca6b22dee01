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
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/flock"
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
	if !isID(cfg.ID) {
		return nil, errdefs.Invalid("container ID %q: want 64 hexadecimal digits", cfg.ID)
	}
	making, err := s.begin(ctx, cfg.ID)
	if err != nil {
		return nil, fmt.Errorf("make a container: %w", err)
	}
	defer making.Close()
	c := &Container{dir: filepath.Join(s.dir, cfg.ID), State: State{Status: Created}}
	cfg.Name, err = s.takeName(ctx, cfg.Name, cfg.ID)
	if err == nil {
		c.Config = cfg
		if err = writeJSON(filepath.Join(making.Name(), configFile), cfg); err == nil {
			err = os.Rename(making.Name(), c.dir)
		}
		if err != nil {
			err = errors.Join(fmt.Errorf("make a container: %w", err), s.freeName(ctx, cfg.Name, cfg.ID))
		}
	}
	if err != nil {
		os.RemoveAll(making.Name())
		return nil, err
	}
	return c, nil
}

// begin makes the directory of a container under a name that nobody lists, and locks it, so that it is known whether its maker lives.
func (s *Store) begin(ctx context.Context, id string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Join(s.dir, namesDir), 0o711); err != nil {
		return nil, err
	}
	if _, err := os.Lstat(filepath.Join(s.dir, id)); err == nil {
		return nil, errdefs.AlreadyExists("there is a container %s", id)
	}
	dir := filepath.Join(s.dir, newPrefix+id)
	const tries = 10
	for range tries {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return nil, err
		}
		f, err := os.Open(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue // taken for one of a dead process in the moment before the lock
		}
		if err != nil {
			return nil, err
		}
		if err := flock.Exclusive(ctx, f); err != nil {
			f.Close()
			return nil, err
		}
		if named(f) {
			return f, nil
		}
		f.Close()
	}
	return nil, errdefs.Unavailable("%s was taken away %d times", dir, tries)
}

// lockNames gives the right to change names, until the file is closed.
func (s *Store) lockNames(ctx context.Context) (*os.File, error) {
	f, err := os.Open(filepath.Join(s.dir, namesDir))
	if err != nil {
		return nil, fmt.Errorf("lock the names of containers: %w", err)
	}
	if err := flock.Exclusive(ctx, f); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock the names of containers: %w", err)
	}
	return f, nil
}

// takeName makes the link of the name, or of one that is free.
func (s *Store) takeName(ctx context.Context, name, id string) (string, error) {
	lock, err := s.lockNames(ctx)
	if err != nil {
		return "", err
	}
	defer lock.Close()
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
		if err == nil && !s.owns(owner, name) && os.Remove(link) == nil {
			continue // left by a process that was killed
		}
		if given {
			return "", errdefs.AlreadyExists("the name %q is used by container %.12s; remove that (camada rm) or choose another", name, owner)
		}
	}
}

// freeName removes a name that is id's; "" is all that are.
func (s *Store) freeName(ctx context.Context, name, id string) error {
	lock, err := s.lockNames(ctx)
	if err != nil {
		return err
	}
	defer lock.Close()
	return s.dropNames(lock, name, id)
}

// dropNames is freeName for who has locked the names.
func (s *Store) dropNames(lock *os.File, name, id string) (err error) {
	names := []string{name}
	if name == "" {
		if names, err = lock.Readdirnames(-1); err != nil {
			return fmt.Errorf("list the names of containers: %w", err)
		}
	}
	for _, n := range names {
		link := filepath.Join(s.dir, namesDir, n)
		if owner, err := os.Readlink(link); err != nil || owner != id {
			continue
		}
		if err := os.Remove(link); err != nil {
			return fmt.Errorf("free the name %s: %w", n, err)
		}
	}
	return nil
}

// owns reports whether a container is there under this name, or is just being made.
func (s *Store) owns(id, name string) bool {
	if !isID(id) {
		return false
	}
	// In this order: what is made becomes a container, never the reverse while its maker lives.
	if s.beingMade(id) {
		return true
	}
	var cfg Config
	err := readJSON(filepath.Join(s.dir, id, configFile), &cfg)
	if err == nil {
		return cfg.Name == name // another one is left by a renaming that was killed
	}
	_, err = os.Lstat(filepath.Join(s.dir, id))
	return err == nil
}

func (s *Store) beingMade(id string) bool {
	f, err := os.Open(filepath.Join(s.dir, newPrefix+id))
	if err != nil {
		return false
	}
	defer f.Close()
	free, err := flock.TryShared(f)
	return err == nil && !free
}

// Remove removes the record of a container that does not run; its name is free then.
func (s *Store) Remove(ctx context.Context, id string) error {
	c, err := s.load(id)
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	gone := filepath.Join(s.dir, newPrefix+id)
	if err := s.hide(ctx, c, gone); err != nil {
		return fmt.Errorf("remove container %.12s: %w", id, err)
	}
	if err := os.RemoveAll(gone); err != nil {
		return fmt.Errorf("remove container %.12s: %w", id, err)
	}
	return nil
}

// hide takes a container away at once, so that a kill leaves no half of it, and then its name. A name without a container
// is free; a container without its name would be found by its ID alone.
func (s *Store) hide(ctx context.Context, c *Container, gone string) error {
	lock, err := s.lockNames(ctx)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := os.Rename(c.dir, gone); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return s.dropNames(lock, c.Config.Name, c.Config.ID)
}

// removeDead removes a directory whose maker does not live. It holds the lock meanwhile, so that nobody takes the
// directory for its own.
func removeDead(dir string) error {
	f, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if free, err := flock.TryExclusive(f); err != nil || !free {
		return err
	}
	return os.RemoveAll(dir)
}

// Recover takes away what killed processes left: containers that were being made or removed, and names of no container.
func (s *Store) Recover(ctx context.Context) error {
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("recover containers: %w", err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), newPrefix) {
			continue
		}
		if err := removeDead(filepath.Join(s.dir, e.Name())); err != nil {
			return fmt.Errorf("recover containers: %w", err)
		}
	}
	lock, err := s.lockNames(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	names, err := lock.Readdirnames(-1)
	if err != nil {
		return fmt.Errorf("recover the names of containers: %w", err)
	}
	for _, n := range names {
		link := filepath.Join(s.dir, namesDir, n)
		if owner, err := os.Readlink(link); err == nil && !s.owns(owner, n) {
			if err := os.Remove(link); err != nil {
				return fmt.Errorf("recover the names of containers: %w", err)
			}
		}
	}
	return nil
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
