// Package mounts reads what users ask to be mounted into a container, as Docker writes it.
//
//	m, err := mounts.ParseVolume("data:/var/lib/data:ro")
//	m, err := mounts.ParseMount("type=bind,source=/srv,target=/srv,readonly")
//	m, err := mounts.ParseTmpfs("/run:size=64m")
//
// It knows no volumes and no images: what a source names is for the caller to find. All errors are of class ErrInvalid or
// ErrUnsupported.
package mounts

import (
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/camada/camada/errdefs"
)

// Type is what is mounted.
type Type string

// The types.
const (
	Bind   Type = "bind"
	Volume Type = "volume"
	Tmpfs  Type = "tmpfs"
	Image  Type = "image"
)

// Mount is one mount that a user asks for. It is a value, and can be stored as JSON.
type Mount struct {
	Type Type `json:"type"`
	// Source is an absolute path of the host, the name of a volume ("" is one without a name), or the name of an image.
	Source string `json:"source,omitempty"`
	// Target is absolute, clean, and not the root.
	Target   string `json:"target"`
	ReadOnly bool   `json:"readOnly,omitempty"`
	// Make makes the source of a bind when it is not there.
	Make bool `json:"make,omitempty"`
	// Single leaves out of a bind what is mounted below its source. TopOnly makes read-only the mount itself alone, and not
	// those below.
	Single  bool `json:"single,omitempty"`
	TopOnly bool `json:"topOnly,omitempty"`
	// Propagation is one of mount_namespaces(7): "" is rprivate.
	Propagation string `json:"propagation,omitempty"`
	// NoCopy leaves an empty volume empty.
	NoCopy bool `json:"noCopy,omitempty"`
	// Subpath is the part of a volume or an image that is shown: relative, "" is all.
	Subpath string `json:"subpath,omitempty"`
	// Chown gives the source to the user of the container.
	Chown bool `json:"chown,omitempty"`
	// IDMap shows the files with the owners that they have in the container's user namespace.
	IDMap bool `json:"idmap,omitempty"`
	// Labels and DriverOptions are those of a volume that is made for the mount.
	Labels        map[string]string `json:"labels,omitempty"`
	DriverOptions map[string]string `json:"driverOptions,omitempty"`
	// Options are mount options of a tmpfs: size=64m, mode=1777, noexec.
	Options []string `json:"options,omitempty"`
}

// target checks where a mount goes and makes the path clean.
func target(s string) (string, error) {
	switch {
	case s == "":
		return "", errdefs.Invalid("target is required")
	case !path.IsAbs(s):
		return "", errdefs.Invalid("invalid mount path: '%s' mount path must be absolute", s)
	case path.Clean(s) == "/":
		return "", errdefs.Invalid("invalid specification: destination can't be '/'")
	case strings.ContainsRune(s, 0):
		return "", errdefs.Invalid("invalid mount path: it has a NUL byte")
	}
	return path.Clean(s), nil
}

// isPropagation tells the words of mount propagation.
func isPropagation(s string) bool {
	return slices.Contains([]string{"shared", "rshared", "slave", "rslave", "private", "rprivate"}, s)
}

// ParseVolume reads -v [SOURCE:]TARGET[:OPTIONS]. A source with a slash is a path of the host, made absolute by the working
// directory; another one is the name of a volume.
func ParseVolume(text string) (Mount, error) {
	parts := strings.Split(text, ":")
	if len(parts) > 3 {
		return Mount{}, errdefs.Invalid("invalid volume specification: '%s'", text)
	}
	if slices.Contains(parts, "") {
		return Mount{}, errdefs.Invalid("invalid spec: %s: empty section between colons", text)
	}
	m := Mount{Type: Volume}
	var err error
	if len(parts) == 1 {
		m.Target, err = target(parts[0])
		return m, err
	}
	if m.Target, err = target(parts[1]); err != nil {
		return Mount{}, err
	}
	m.Source = parts[0]
	if isPath(m.Source) {
		m.Type, m.Make = Bind, true
		if m.Source, err = filepath.Abs(m.Source); err != nil {
			return Mount{}, errdefs.Invalid("find %s: %w", parts[0], err)
		}
	}
	if len(parts) == 3 {
		err = m.mode(parts[2])
	}
	return m, err
}

// isPath tells a path of the host from the name of a volume.
func isPath(s string) bool { return strings.ContainsRune(s, '/') || s == "." || s == ".." }

// mode reads the options of -v.
func (m *Mount) mode(text string) error {
	var access, spread bool
	for o := range strings.SplitSeq(text, ",") {
		switch {
		case o == "ro" || o == "rw":
			if access {
				return errdefs.Invalid("invalid mode: %s", text)
			}
			access, m.ReadOnly = true, o == "ro"
		case isPropagation(o):
			if spread || m.Type != Bind {
				return errdefs.Invalid("invalid mode: %s", text)
			}
			spread, m.Propagation = true, o
		case o == "nocopy" && m.Type == Volume:
			m.NoCopy = true
		case o == "U":
			m.Chown = true
		case o == "idmap":
			m.IDMap = true
		case o == "z" || o == "Z" || o == "cached" || o == "delegated" || o == "consistent":
			// Labels of SELinux are not made here, and the others are hints for virtual machines.
		default:
			return errdefs.Invalid("invalid mode: %s", text)
		}
	}
	return nil
}

// ParseTmpfs reads --tmpfs TARGET[:OPTIONS].
func ParseTmpfs(text string) (Mount, error) {
	name, options, _ := strings.Cut(text, ":")
	m := Mount{Type: Tmpfs}
	var err error
	if m.Target, err = target(name); err != nil || options == "" {
		return m, err
	}
	var bad []string
	for o := range strings.SplitSeq(options, ",") {
		switch key, value, ok := strings.Cut(o, "="); {
		case slices.Contains([]string{"size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol", "huge"}, key) && ok && value != "":
			m.Options = append(m.Options, o)
		case o == "ro":
			m.ReadOnly = true
		case o == "rw":
			m.ReadOnly = false
		case slices.Contains([]string{"exec", "noexec", "suid", "nosuid", "dev", "nodev", "noatime", "atime", "relatime", "norelatime",
			"strictatime", "nodiratime", "diratime", "noswap", "async", "defaults"}, o):
			m.Options = append(m.Options, o)
		default:
			bad = append(bad, o)
		}
	}
	if len(bad) > 0 {
		return m, errdefs.Invalid("invalid tmpfs option %q", bad)
	}
	return m, nil
}

// ParseVolumesFrom reads --volumes-from CONTAINER[:ro|rw|z|Z]. readOnly makes all of them so.
func ParseVolumesFrom(text string) (name string, readOnly bool, err error) {
	name, mode, given := strings.Cut(text, ":")
	if name == "" {
		return "", false, errdefs.Invalid("invalid --volumes-from %q: want CONTAINER[:ro|rw]", text)
	}
	if !given {
		return name, false, nil
	}
	for o := range strings.SplitSeq(mode, ",") {
		switch o {
		case "ro":
			readOnly = true
		case "rw", "z", "Z":
		default:
			return "", false, errdefs.Invalid("invalid mode for volumes-from: %s", mode)
		}
	}
	return name, readOnly, nil
}
