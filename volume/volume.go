// Package volume keeps directories that outlive the containers that use them.
//
//	store := volume.Open(dir)
//	v, err := store.Create(ctx, volume.Config{Name: "data", Labels: labels})   // one that is there already is returned as it is
//	err = store.Fill(ctx, v.Name, from)                                        // what an empty volume begins with
//	bind := v.Dir()
//	unlock, err := store.Lock(ctx)                                             // nobody begins to use one now
//	err = store.Remove(ctx, v.Name)
//
// # On disk
//
//	<dir>/<name>/_data         the files; this is what containers see
//	<dir>/<name>/volume.json   name, labels, time; missing for one that an older version made
//	<dir>/<name>/lock          locked while the volume is filled
//	<dir>/<name>/filling       there while the volume is filled: whoever finds it fills the volume anew
//	<dir>/.new-<random>/       being made
//	<dir>/.rm-<random>/        removed, being deleted
//
// A volume is there once its directory has its name, and gone once it has lost it, each by one rename. What a killed process leaves
// has a name that no volume can have: Recover deletes it.
package volume

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/flock"
	"golang.org/x/sys/unix"
)

const (
	dataDir    = "_data"
	configFile = "volume.json"
	lockFile   = "lock"
	fillFile   = "filling"
	newPrefix  = ".new-"
	oldPrefix  = ".rm-"
	maxConfig  = 1 << 20
)

// Config is what a volume was made with.
type Config struct {
	// Name follows docker's [a-zA-Z0-9][a-zA-Z0-9_.-]*.
	Name    string            `json:"name"`
	Created time.Time         `json:"created,omitzero"`
	Labels  map[string]string `json:"labels,omitempty"`
	Options map[string]string `json:"options,omitempty"`
	// Anonymous is one that nobody named: it goes with the container that it was made for.
	Anonymous bool `json:"anonymous,omitempty"`
}

// Volume is one volume as it was found.
type Volume struct {
	Config
	dir string
}

// Dir is the directory that containers see, absolute when that of the store is.
func (v *Volume) Dir() string { return filepath.Join(v.dir, dataDir) }

// Store is a directory of volumes that many processes use at once.
type Store struct{ dir string }

// Open returns the store in dir, which is made when it is needed.
func Open(dir string) *Store { return &Store{dir: dir} }

// Lock keeps others from holding volumes and from removing them, until the returned function is called. Who removes volumes that nobody uses
// takes it, looks who uses them, and removes.
func (s *Store) Lock(ctx context.Context) (unlock func(), err error) {
	return s.lock(ctx, flock.Exclusive)
}

// Hold keeps volumes from being removed until the returned function is called. Who begins to use some takes it while that is written down.
func (s *Store) Hold(ctx context.Context) (unlock func(), err error) {
	return s.lock(ctx, flock.Shared)
}

func (s *Store) lock(ctx context.Context, how func(context.Context, *os.File) error) (func(), error) {
	f, err := os.Open(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return func() {}, nil // there are no volumes
	}
	if err == nil {
		err = how(ctx, f)
	}
	if err != nil {
		if f != nil {
			f.Close()
		}
		return nil, fmt.Errorf("lock the volumes: %w", err)
	}
	return func() { f.Close() }, nil
}

// Path is where the files of a volume are, whether there is one of that name or not.
func (s *Store) Path(name string) string { return filepath.Join(s.dir, name, dataDir) }

// Create makes a volume, empty and with mode 0755. One of that name that is there is returned as it is. ErrInvalid when the name
// is none.
func (s *Store) Create(ctx context.Context, c Config) (*Volume, error) {
	if !ValidName(c.Name) {
		return nil, errdefs.Invalid("%q is not a name for a volume: want letters, digits, '_', '.' and '-', and one of the first two at the beginning", c.Name)
	}
	if v, err := s.Get(c.Name); !errdefs.IsNotFound(err) {
		return v, err
	}
	if err := os.MkdirAll(s.dir, 0o711); err != nil {
		return nil, fmt.Errorf("make the directory of volumes: %w", err)
	}
	tmp, err := os.MkdirTemp(s.dir, newPrefix)
	if err != nil {
		return nil, fmt.Errorf("make volume %s: %w", c.Name, err)
	}
	lock, err := s.make(ctx, tmp, c)
	if err == nil {
		defer lock.Close()
		err = unix.Renameat2(unix.AT_FDCWD, tmp, unix.AT_FDCWD, filepath.Join(s.dir, c.Name), unix.RENAME_NOREPLACE)
	}
	if err != nil {
		os.RemoveAll(tmp)
	}
	if err == nil && !c.Anonymous { // one that nobody named goes with its container
		err = syncDir(s.dir)
	}
	if err != nil && !errors.Is(err, fs.ErrExist) { // another one was faster
		return nil, fmt.Errorf("make volume %s: %w", c.Name, err)
	}
	return s.Get(c.Name)
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// make fills the directory of a new volume; the lock that it returns tells Recover that its maker lives.
func (s *Store) make(ctx context.Context, tmp string, c Config) (*os.File, error) {
	if err := os.Chmod(tmp, 0o711); err != nil { // a user of a container may have to pass
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(tmp, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := flock.Exclusive(ctx, lock); err != nil {
		lock.Close()
		return nil, err
	}
	if c.Created.IsZero() {
		c.Created = time.Now().UTC()
	}
	text, err := json.Marshal(c)
	if err == nil {
		err = os.WriteFile(filepath.Join(tmp, configFile), text, 0o600)
	}
	if err == nil {
		err = os.Mkdir(filepath.Join(tmp, dataDir), 0o755)
	}
	if err == nil { // for every user of the container, whatever the umask here is
		err = os.Chmod(filepath.Join(tmp, dataDir), 0o755)
	}
	if err == nil && !c.Anonymous {
		err = errors.Join(syncDir(filepath.Join(tmp, configFile)), syncDir(tmp))
	}
	if err != nil {
		lock.Close()
		return nil, err
	}
	return lock, nil
}

// Get finds a volume. ErrNotFound when there is none of that name.
func (s *Store) Get(name string) (*Volume, error) {
	if !ValidName(name) {
		return nil, errdefs.NotFound("no such volume: %s", name)
	}
	v := &Volume{Config: Config{Name: name}, dir: filepath.Join(s.dir, name)}
	st, err := os.Lstat(v.Dir())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, errdefs.NotFound("no such volume: %s", name)
	case err != nil:
		return nil, fmt.Errorf("look at volume %s: %w", name, err)
	case !st.IsDir():
		return nil, errdefs.Corrupt("volume %s: %s is not a directory", name, v.Dir())
	}
	c, err := readConfig(filepath.Join(v.dir, configFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		v.Created = st.ModTime().UTC()
	case err != nil:
		return nil, fmt.Errorf("volume %s: %w", name, err)
	default:
		v.Config = c
		v.Name = name
	}
	return v, nil
}

func readConfig(name string) (c Config, err error) {
	st, err := os.Stat(name)
	if err != nil {
		return c, err
	}
	if st.Size() > maxConfig {
		return c, errdefs.Limit("%s is larger than %d bytes", name, maxConfig)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal(text, &c); err != nil {
		return c, errdefs.Corrupt("%s: %w", name, err)
	}
	return c, nil
}

// List returns all volumes, sorted by name. One that vanishes meanwhile is left out.
func (s *Store) List() ([]*Volume, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list volumes: %w", err)
	}
	list := []*Volume{}
	for _, e := range entries {
		v, err := s.Get(e.Name())
		if errdefs.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}

// ValidName reports whether s can name a volume.
func ValidName(s string) bool {
	for i, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case i > 0 && (c == '_' || c == '.' || c == '-'):
		default:
			return false
		}
	}
	return s != "" && len(s) <= 255
}
