package mounts

import (
	"encoding/csv"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/docker/go-units"
)

// reader fills a Mount from the fields of --mount.
type reader struct {
	m Mount
	// kinds are the types whose own options were given.
	kinds map[Type]bool
	// recursive is the value of bind-recursive, mode that of tmpfs-mode.
	recursive string
}

// ParseMount reads --mount KEY=VALUE,..., a line of CSV.
func ParseMount(text string) (Mount, error) {
	fields, err := csv.NewReader(strings.NewReader(text)).Read()
	if err != nil {
		return Mount{}, errdefs.Invalid("invalid argument %q for \"--mount\": %w", text, err)
	}
	r := reader{m: Mount{Type: Volume}, kinds: map[Type]bool{}}
	for _, f := range fields {
		if err := r.field(f); err != nil {
			return Mount{}, err
		}
	}
	return r.finish()
}

func (r *reader) field(f string) error {
	key, value, ok := strings.Cut(f, "=")
	key = strings.ToLower(strings.TrimSpace(key))
	if !ok {
		switch key {
		case "readonly", "ro", "volume-nocopy", "bind-nonrecursive", "readwrite", "rw":
			value = "true"
		default:
			return errdefs.Invalid("invalid field '%s' must be a key=value pair", f)
		}
	}
	m := &r.m
	var err error
	switch key {
	case "type":
		m.Type = Type(strings.ToLower(value))
	case "source", "src":
		m.Source = value
	case "target", "dst", "destination":
		m.Target = value
	case "readonly", "ro":
		m.ReadOnly, err = boolean(key, value)
	case "readwrite", "rw":
		m.ReadOnly, err = boolean(key, value)
		m.ReadOnly = !m.ReadOnly
	case "consistency":
		// A hint for virtual machines.
	default:
		return r.own(key, value, f)
	}
	return err
}

// own reads the options that belong to one type.
func (r *reader) own(key, value, f string) error {
	m := &r.m
	var err error
	switch key {
	case "bind-propagation":
		if m.Propagation = strings.ToLower(value); !isPropagation(m.Propagation) {
			err = errdefs.Invalid("invalid value for %s: %s", key, value)
		}
		r.kinds[Bind] = true
	case "bind-nonrecursive":
		m.Single, err = boolean(key, value)
		r.kinds[Bind] = true
	case "bind-recursive":
		r.recursive = value
		r.kinds[Bind] = true
	case "volume-nocopy":
		m.NoCopy, err = boolean(key, value)
		r.kinds[Volume] = true
	case "volume-subpath", "image-subpath":
		kind := Type(strings.TrimSuffix(key, "-subpath"))
		r.kinds[kind] = true
		m.Subpath, err = subpath(value)
	case "volume-label":
		k, v, _ := strings.Cut(value, "=")
		add(&m.Labels, k, v)
		r.kinds[Volume] = true
	case "volume-driver":
		if value != "" && value != "local" {
			err = errdefs.Unsupported("volume driver %q: there is the driver local only", value)
		}
		r.kinds[Volume] = true
	case "volume-opt":
		k, v, _ := strings.Cut(value, "=")
		add(&m.DriverOptions, k, v)
		r.kinds[Volume] = true
	case "tmpfs-size":
		n, serr := units.RAMInBytes(value)
		if serr != nil || n < 0 {
			return errdefs.Invalid("invalid value for %s: %s", key, value)
		}
		m.Options = append(m.Options, "size="+strconv.FormatInt(n, 10))
		r.kinds[Tmpfs] = true
	case "tmpfs-mode":
		n, merr := strconv.ParseUint(value, 8, 32)
		if merr != nil || n > 0o7777 {
			return errdefs.Invalid("invalid value for %s: %s", key, value)
		}
		m.Options = append(m.Options, "mode="+strconv.FormatUint(n, 8))
		r.kinds[Tmpfs] = true
	default:
		return errdefs.Invalid("unexpected key '%s' in '%s'", key, f)
	}
	return err
}

func add(to *map[string]string, k, v string) {
	if *to == nil {
		*to = map[string]string{}
	}
	(*to)[k] = v
}

func boolean(key, value string) (bool, error) {
	v, err := strconv.ParseBool(value)
	if err != nil {
		return false, errdefs.Invalid("invalid value for %s: %s", key, value)
	}
	return v, nil
}

// subpath checks the part of a volume or an image.
func subpath(s string) (string, error) {
	if path.IsAbs(s) || !filepath.IsLocal(s) {
		return "", errdefs.Invalid("invalid subpath %q: want a path inside, without a slash at the beginning", s)
	}
	return path.Clean(s), nil
}

// finish checks what was given together.
func (r *reader) finish() (m Mount, err error) {
	m = r.m
	switch m.Type {
	case Bind, Volume, Tmpfs, Image:
	case "npipe", "cluster":
		return m, errdefs.Unsupported("--mount type=%s: want bind, volume, tmpfs or image", m.Type)
	default:
		return m, errdefs.Invalid("invalid mount config: mount type unknown: %q; want bind, volume, tmpfs or image", string(m.Type))
	}
	for kind := range r.kinds {
		if kind != m.Type {
			return m, errdefs.Invalid("cannot mix '%s-*' options with mount type '%s'", kind, m.Type)
		}
	}
	if m.Target, err = target(m.Target); err != nil {
		return m, r.wrong(err)
	}
	switch r.recursive {
	case "", "enabled":
	case "disabled":
		m.Single = true
	case "writable":
		m.TopOnly = true
	case "readonly":
		if !m.ReadOnly {
			return m, errdefs.Invalid("option 'bind-recursive=readonly' requires 'readonly' to be specified in conjunction")
		}
		if m.Propagation != "rprivate" {
			return m, errdefs.Invalid("option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction")
		}
	default:
		return m, errdefs.Invalid("invalid value for bind-recursive: %s (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")", r.recursive)
	}
	err = r.source(&m)
	return m, err
}

// source checks the source, and makes that of a bind absolute.
func (r *reader) source(m *Mount) (err error) {
	switch m.Type {
	case Bind:
		if m.Source == "" {
			return r.wrong(errdefs.Invalid("field Source must not be empty"))
		}
		if m.Source == "." || strings.HasPrefix(m.Source, "./") || strings.HasPrefix(m.Source, "..") {
			m.Source, err = filepath.Abs(m.Source)
		}
		if err == nil && !filepath.IsAbs(m.Source) {
			err = errdefs.Invalid("invalid mount path: '%s' mount path must be absolute", m.Source)
		}
	case Image:
		if m.Source == "" {
			err = errdefs.Invalid("field Source must not be empty")
		}
		m.ReadOnly = true
	case Tmpfs:
		if m.Source != "" {
			err = errdefs.Invalid("field Source must not be specified")
		}
	case Volume:
		if isPath(m.Source) {
			err = errdefs.Invalid("%q is not a name for a volume: want type=bind for a path", m.Source)
		}
		if m.Source == "" && m.Subpath != "" {
			err = errdefs.Invalid("must not set Subpath when using anonymous volumes")
		}
	}
	return r.wrong(err)
}

// wrong says of which type of mount an error is.
func (r *reader) wrong(err error) error {
	if err == nil {
		return nil
	}
	return errdefs.Invalid("invalid mount config for type %q: %w", string(r.m.Type), err)
}
