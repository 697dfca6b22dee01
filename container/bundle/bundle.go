// Package bundle reads and checks OCI bundles: a directory with a config.json and, as a rule, a root file system
// (runtime-spec, bundle.md and config.md).
//
//	spec, err := bundle.Load("/run/web")   // whole, checked, all its paths absolute
//
// A config.json may come from anybody: its size is bounded, and what the specification forbids is refused here, before
// anything is made.
package bundle

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// ConfigFile is the name of the file that describes the container.
const ConfigFile = "config.json"

// maxFile bounds a config.json in bytes. The largest ones that tools write, with a whole seccomp profile, have 100 KiB.
const maxFile = 16 << 20

// Load reads the bundle in dir. The root path, which has to be a directory, and the sources of binds are made absolute.
// ErrNotFound when there is no config.json, ErrInvalid when it breaks the specification, ErrUnsupported for another
// version or platform.
func Load(dir string) (*specs.Spec, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("bundle %s: %w", dir, err)
	}
	b, err := read(filepath.Join(dir, ConfigFile))
	if err != nil {
		return nil, fmt.Errorf("bundle %s: %w", dir, err)
	}
	s, err := Parse(b)
	if err != nil {
		return nil, fmt.Errorf("bundle %s: %s: %w", dir, ConfigFile, err)
	}
	if err := absolute(s, dir); err != nil {
		return nil, fmt.Errorf("bundle %s: %w", dir, err)
	}
	return s, nil
}

// Parse reads the text of a config.json and checks it.
func Parse(text []byte) (*specs.Spec, error) {
	s := new(specs.Spec)
	if err := json.Unmarshal(text, s); err != nil {
		return nil, errdefs.With(errdefs.ErrInvalid, err)
	}
	return s, Check(s)
}

// LoadProcess reads a file that describes one process, as `exec --process` takes it.
func LoadProcess(name string) (*specs.Process, error) {
	b, err := read(name)
	if err != nil {
		return nil, err
	}
	p := new(specs.Process)
	if err := json.Unmarshal(b, p); err != nil {
		return nil, errdefs.Invalid("process of %s: %w", name, err)
	}
	if err := CheckProcess(p); err != nil {
		return nil, fmt.Errorf("process of %s: %w", name, err)
	}
	return p, nil
}

// LoadResources reads the limits of the container from r, as `update --resources` takes them.
func LoadResources(r io.Reader) (*specs.LinuxResources, error) {
	b, err := bounded(r)
	if err != nil {
		return nil, fmt.Errorf("resources: %w", err)
	}
	res := new(specs.LinuxResources)
	if err := json.Unmarshal(b, res); err != nil {
		return nil, errdefs.Invalid("resources: %w", err)
	}
	return res, nil
}

// read reads a regular file, so that a FIFO or a device in its place cannot hold the caller up.
func read(name string) ([]byte, error) {
	st, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errdefs.NotFound("%s is not there", name)
	}
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, errdefs.Invalid("%s is no regular file", name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return bounded(f)
}

func bounded(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = errdefs.Limit("longer than %d bytes", maxFile)
	}
	return b, err
}

// absolute makes the paths of s independent of the bundle's directory. Relative sources are those of binds only
// (config.md, mounts).
func absolute(s *specs.Spec, dir string) error {
	root := s.Root.Path
	if !filepath.IsAbs(root) {
		root = filepath.Join(dir, root)
	}
	root, err := filepath.EvalSymlinks(root)
	if err != nil {
		return errdefs.Invalid("root path %s: %w", s.Root.Path, err)
	}
	if st, err := os.Stat(root); err != nil || !st.IsDir() {
		return errdefs.Invalid("root path %s is no directory", s.Root.Path)
	}
	s.Root.Path = root
	for i, m := range s.Mounts {
		if isBind(m) && !filepath.IsAbs(m.Source) {
			s.Mounts[i].Source = filepath.Join(dir, m.Source)
		}
	}
	return nil
}

func isBind(m specs.Mount) bool {
	if m.Type == "bind" {
		return true
	}
	for _, o := range m.Options {
		if o == "bind" || o == "rbind" {
			return true
		}
	}
	return false
}
