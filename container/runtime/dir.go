package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/flock"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// The files of a container's directory.
const (
	lockFile   = "lock"
	configFile = "config.json"
	stateFile  = "state.json"
)

// maxFile bounds what is read of one of them, in bytes.
const maxFile = 32 << 20

// saved is state.json.
type saved struct {
	Version string    `json:"ociVersion"`
	ID      string    `json:"id"`
	Bundle  string    `json:"bundle"`
	Rootfs  string    `json:"rootfs"`
	Created time.Time `json:"created"`
	// Pid is the first process, 0 before it is there; Tick is when it started (process.go).
	Pid  int    `json:"pid,omitempty"`
	Tick uint64 `json:"startTick,omitempty"`
	// CgroupsPath is that of the spec.
	CgroupsPath string            `json:"cgroupsPath,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// entry is a container's directory. It belongs to one goroutine.
type entry struct {
	dir   string
	saved saved
	lock  *os.File
}

func (r *Runtime) path(id string) string { return filepath.Join(r.Root, id) }

// make makes the directory of a new container and locks it. ErrAlreadyExists when there is one.
func (r *Runtime) make(ctx context.Context, s saved) (*entry, error) {
	if err := checkID(s.ID); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(r.Root, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of containers: %w", err)
	}
	e := &entry{dir: r.path(s.ID), saved: s}
	err := os.Mkdir(e.dir, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil, errdefs.AlreadyExists("container with given ID already exists: %s", s.ID)
	}
	if err != nil {
		return nil, fmt.Errorf("make container %s: %w", s.ID, err)
	}
	if err := e.take(ctx); err != nil {
		return nil, err
	}
	return e, nil
}

// lookup reads what is known of a container without a lock. ErrNotFound when it does not exist.
func (r *Runtime) lookup(id string) (*entry, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	e := &entry{dir: r.path(id), saved: saved{ID: id}}
	if st, err := os.Lstat(e.dir); err != nil || !st.IsDir() {
		return nil, doesNotExist(id)
	}
	return e, e.read()
}

// locked is lookup, and keeps others from changing the container until the entry is released.
func (r *Runtime) locked(ctx context.Context, id string) (*entry, error) {
	e, err := r.lookup(id)
	if err != nil {
		return nil, err
	}
	if err := e.take(ctx); err != nil {
		return nil, err
	}
	if err := e.read(); err != nil {
		e.release()
		return nil, err
	}
	return e, nil
}

func doesNotExist(id string) error { return errdefs.NotFound("container %q does not exist", id) }

// take locks the container.
func (e *entry) take(ctx context.Context) error {
	f, err := os.OpenFile(filepath.Join(e.dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		return doesNotExist(e.saved.ID)
	}
	if err != nil {
		return fmt.Errorf("container %s: %w", e.saved.ID, err)
	}
	if err := flock.Exclusive(ctx, f); err != nil {
		f.Close()
		return fmt.Errorf("container %s: %w", e.saved.ID, err)
	}
	if !named(f) {
		f.Close()
		return doesNotExist(e.saved.ID) // removed by who held the lock before
	}
	e.lock = f
	return nil
}

// named tells whether an open file still has its name.
func named(f *os.File) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Lstat(f.Name())
	return err == nil && os.SameFile(a, b)
}

func (e *entry) release() {
	if e.lock != nil {
		e.lock.Close()
	}
}

// busy tells whether somebody changes the container now.
func (e *entry) busy() bool {
	f, err := os.OpenFile(filepath.Join(e.dir, lockFile), os.O_RDWR, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	free, err := flock.TryShared(f)
	return err == nil && !free
}

// read reads the state. One that was not written yet, by who was killed, leaves all but the id empty.
func (e *entry) read() error {
	err := readJSON(filepath.Join(e.dir, stateFile), &e.saved)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("state of container %s: %w", e.saved.ID, err)
	}
	return nil
}

// write replaces the state.
func (e *entry) write() error { return writeJSON(filepath.Join(e.dir, stateFile), e.saved) }

// spec reads the spec.
func (e *entry) spec() (*specs.Spec, error) {
	s := new(specs.Spec)
	if err := readJSON(filepath.Join(e.dir, configFile), s); err != nil {
		return nil, fmt.Errorf("spec of container %s: %w", e.saved.ID, err)
	}
	if s.Process == nil || s.Linux == nil {
		return nil, errdefs.Corrupt("spec of container %s: half of it is missing", e.saved.ID)
	}
	return s, nil
}

// remove removes the directory: the state last but the lock, so that what is left by a kill is still a container.
func (e *entry) remove() error {
	entries, err := os.ReadDir(e.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, name := range entries {
		if name.Name() != lockFile && name.Name() != stateFile {
			err = errors.Join(err, os.RemoveAll(filepath.Join(e.dir, name.Name())))
		}
	}
	if err == nil {
		err = os.RemoveAll(e.dir)
	}
	if err != nil {
		return fmt.Errorf("remove container %s: %w", e.saved.ID, err)
	}
	return nil
}

func readJSON(name string, v any) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return err
	}
	if len(b) > maxFile {
		return errdefs.Limit("%s: longer than %d bytes", name, maxFile)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return errdefs.Corrupt("%s: %w", name, err)
	}
	return nil
}

// writeJSON replaces a file. It is not synced: the directory does not outlive the machine's run.
func writeJSON(name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return writeFile(name, b, 0o600)
}

// writeFile writes a file aside and renames it: whoever reads name finds the old text or the whole new one.
func writeFile(name string, b []byte, mode os.FileMode) error {
	aside := filepath.Join(filepath.Dir(name), "."+filepath.Base(name)+".new")
	if err := os.WriteFile(aside, b, mode); err != nil {
		return err
	}
	if err := os.Rename(aside, name); err != nil {
		_ = os.Remove(aside)
		return err
	}
	return nil
}
