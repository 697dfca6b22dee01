package engine

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/mount"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// volumeMounts reads -v SOURCE:TARGET[:OPTIONS]. A source with a slash is a path of the host, which is made when it
// is not there, as docker does; another one is the name of a volume of the store; no source is an error.
func (e *Engine) volumeMounts(volumes []string) ([]specs.Mount, error) {
	var mounts []specs.Mount
	seen := map[string]bool{}
	for _, v := range volumes {
		m, err := e.volumeMount(v)
		if err != nil {
			return nil, fmt.Errorf("-v %s: %w", v, err)
		}
		if seen[m.Destination] {
			return nil, errdefs.Invalid("-v %s: %s is mounted twice", v, m.Destination)
		}
		seen[m.Destination] = true
		mounts = append(mounts, m)
	}
	return mounts, nil
}

func (e *Engine) volumeMount(v string) (specs.Mount, error) {
	parts := strings.Split(v, ":")
	if len(parts) < 2 || len(parts) > 3 || parts[0] == "" || parts[1] == "" {
		return specs.Mount{}, errdefs.Invalid("want SOURCE:TARGET[:OPTIONS]")
	}
	if !path.IsAbs(parts[1]) || path.Clean(parts[1]) == "/" {
		return specs.Mount{}, errdefs.Invalid("the target %q must be an absolute path and not the root", parts[1])
	}
	options := []string{"rbind", "rprivate"}
	if len(parts) == 3 {
		for o := range strings.SplitSeq(parts[2], ",") {
			switch o {
			case "ro": // with all that is mounted below, as Docker has it
				options = append(options, "rro")
			case "rw":
			case "z", "Z", "cached", "delegated", "consistent", "": // labels and hints that have no meaning here
			case "shared", "rshared", "slave", "rslave", "private", "rprivate":
				options[1] = o
			case "nocopy":
			default:
				return specs.Mount{}, errdefs.Invalid("unknown option %q", o)
			}
		}
	}
	source, err := e.volumeSource(parts[0])
	if err != nil {
		return specs.Mount{}, err
	}
	return specs.Mount{Destination: path.Clean(parts[1]), Type: "bind", Source: source, Options: options}, nil
}

func (e *Engine) volumeSource(s string) (string, error) {
	if !strings.ContainsRune(s, '/') && s != "." && s != ".." {
		if !validName(s) {
			return "", errdefs.Invalid("%q is not a name for a volume: want letters, digits, '_', '.' and '-'", s)
		}
		dir := filepath.Join(e.root, "volumes", s, "_data")
		_, err := os.Lstat(dir)
		there := err == nil
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return "", fmt.Errorf("make the volume: %w", err)
		}
		if !there { // for every user of the container, whatever the umask here is
			if err := os.Chmod(dir, 0o755); err != nil {
				return "", fmt.Errorf("make the volume: %w", err)
			}
		}
		return dir, nil
	}
	source, err := filepath.Abs(s)
	if err != nil {
		return "", fmt.Errorf("find %s: %w", s, err)
	}
	if _, err := os.Stat(source); os.IsNotExist(err) {
		if err := os.MkdirAll(source, 0o755); err != nil {
			return "", fmt.Errorf("make %s: %w", source, err)
		}
	} else if err != nil {
		return "", fmt.Errorf("look at %s: %w", source, err)
	}
	return source, nil
}

// makeVolumeDirs makes the directories that the image names as volumes, where they are not there: programs count on
// them. What is written there stays in the container's own layer. A name behind something that is
// no directory stays without one.
func makeVolumeDirs(root mount.Mount, volumes map[string]struct{}) error {
	if len(volumes) == 0 {
		return nil
	}
	dir, err := mount.Detached(root)
	if err != nil {
		return err
	}
	defer dir.Close()
	tree, err := os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", dir.Fd()))
	if err != nil {
		return fmt.Errorf("open the container's root file system: %w", err)
	}
	defer tree.Close()
	for v := range volumes {
		if name := strings.TrimPrefix(path.Clean("/"+v), "/"); name != "" {
			_ = tree.MkdirAll(name, 0o755)
		}
	}
	return nil
}

// validName reports whether s can name a volume or a container: [a-zA-Z0-9][a-zA-Z0-9_.-]*.
func validName(s string) bool {
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
