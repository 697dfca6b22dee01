// Package cdi finds devices of the Container Device Interface (CDI 1.1, SPEC.md of
// tags.cncf.io/container-device-interface) and gives them to containers.
//
//	r, err := cdi.Load(cdi.DefaultDirs())
//	names := r.Find("vendor.com/gpu=all")
//	err = r.Inject(spec, names, false)
//
// Specifications are JSON and YAML files in the directories. What a runtime without hooks cannot do is refused by name.
package cdi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/yamltree"
)

// maxFile is how large a specification may be, in bytes, and maxFiles how many are read.
const (
	maxFile  = 4 << 20
	maxFiles = 1000
)

// The annotations that BuildKit knows.
const (
	classAnnotation     = "org.mobyproject.buildkit.device.class"
	autoAllowAnnotation = "org.mobyproject.buildkit.device.autoallow"
)

// DefaultDirs are where specifications lie; those of a later directory replace those of an earlier one.
func DefaultDirs() []string { return []string{"/etc/cdi", "/var/run/cdi"} }

// specification is one file.
type specification struct {
	Version     string            `json:"cdiVersion"`
	Kind        string            `json:"kind"`
	Annotations map[string]string `json:"annotations"`
	Devices     []device          `json:"devices"`
	Edits       edits             `json:"containerEdits"`
}

type device struct {
	Name        string            `json:"name"`
	Annotations map[string]string `json:"annotations"`
	Edits       edits             `json:"containerEdits"`
}

// edits are what a container gets.
type edits struct {
	Env         []string          `json:"env"`
	DeviceNodes []node            `json:"deviceNodes"`
	Mounts      []mount           `json:"mounts"`
	Groups      []uint32          `json:"additionalGids"`
	Hooks       []json.RawMessage `json:"hooks"`
	NetDevices  []json.RawMessage `json:"netDevices"`
	IntelRdt    *json.RawMessage  `json:"intelRdt"`
}

type node struct {
	Path        string       `json:"path"`
	HostPath    string       `json:"hostPath"`
	Type        string       `json:"type"`
	Major       int64        `json:"major"`
	Minor       int64        `json:"minor"`
	FileMode    *os.FileMode `json:"fileMode"`
	Permissions string       `json:"permissions"`
	UID         *uint32      `json:"uid"`
	GID         *uint32      `json:"gid"`
}

type mount struct {
	HostPath      string   `json:"hostPath"`
	ContainerPath string   `json:"containerPath"`
	Options       []string `json:"options"`
	Type          string   `json:"type"`
}

// known is a device with the specification that it comes from.
type known struct {
	name string // vendor/class=device
	spec *specification
	dev  *device
	dir  int
	// twice tells that two files of one directory have it.
	twice bool
}

// Registry are the devices of a machine.
type Registry struct {
	devices []known // sorted by name
	// skipped are files that were not read, and why.
	skipped []string
}

// Load reads the specifications in dirs. What cannot be read is left out: Skipped tells it.
func Load(dirs []string) (*Registry, error) {
	r := &Registry{}
	for i, dir := range dirs {
		files, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list the devices of containers: %w", err)
		}
		if len(files) > maxFiles {
			return nil, errdefs.Limit("%s has more than %d files", dir, maxFiles)
		}
		for _, f := range files {
			name := filepath.Join(dir, f.Name())
			switch filepath.Ext(name) {
			case ".json", ".yaml", ".yml":
				if err := r.read(name, i); err != nil {
					r.skipped = append(r.skipped, name+": "+err.Error())
				}
			}
		}
	}
	slices.SortFunc(r.devices, func(a, b known) int { return strings.Compare(a.name, b.name) })
	return r, nil
}

// Skipped are files that were not read, each with the reason.
func (r *Registry) Skipped() []string { return r.skipped }

func (r *Registry) read(name string, dir int) error {
	st, err := os.Stat(name)
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() || st.Size() > maxFile {
		return errdefs.Limit("it is no file of at most %d bytes", maxFile)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if filepath.Ext(name) != ".json" {
		if data, err = asJSON(data); err != nil {
			return err
		}
	}
	s, err := parse(data)
	if err != nil {
		return err
	}
	for i := range s.Devices {
		r.add(known{name: s.Kind + "=" + s.Devices[i].Name, spec: s, dev: &s.Devices[i], dir: dir})
	}
	return nil
}

// add puts a device in, in place of one of an earlier directory.
func (r *Registry) add(k known) {
	i := slices.IndexFunc(r.devices, func(o known) bool { return o.name == k.name })
	switch {
	case i < 0:
		r.devices = append(r.devices, k)
	case r.devices[i].dir == k.dir:
		r.devices[i].twice = true
	default:
		r.devices[i] = k
	}
}

// asJSON turns a YAML file into JSON, which says the same of a specification.
func asJSON(data []byte) ([]byte, error) {
	docs, err := yamltree.Parse(data)
	if err != nil {
		return nil, err
	}
	if len(docs) != 1 {
		return nil, errdefs.Invalid("want one document, not %d", len(docs))
	}
	if data, err = json.Marshal(docs[0]); err != nil {
		return nil, errdefs.Invalid("%w", err)
	}
	return data, nil
}

// parse reads a specification and checks what its names are.
func parse(data []byte) (*specification, error) {
	s := &specification{}
	if err := json.Unmarshal(data, s); err != nil {
		return nil, errdefs.Invalid("%w", err)
	}
	if s.Version == "" {
		return nil, errdefs.Invalid("cdiVersion is missing")
	}
	vendor, class, _ := strings.Cut(s.Kind, "/")
	if !isName(vendor, ".") || !isName(class, "") {
		return nil, errdefs.Invalid("kind %q is not VENDOR/CLASS", s.Kind)
	}
	names := map[string]bool{}
	for _, d := range s.Devices {
		if !isName(d.Name, ".:") || names[d.Name] {
			return nil, errdefs.Invalid("device name %q is none, or is there twice", d.Name)
		}
		names[d.Name] = true
	}
	return s, nil
}

// isName reports whether s is made of letters, digits, "-", "_" and more, and begins and ends with one of the first two.
func isName(s, more string) bool {
	if s == "" {
		return false
	}
	for i, c := range s {
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alnum && (i == 0 || i == len(s)-1 || !strings.ContainsRune("-_"+more, c)) {
			return false
		}
	}
	return true
}

// Find returns the devices that name means, as VENDOR/CLASS=DEVICE: that one, the first of VENDOR/CLASS, all of
// VENDOR/CLASS=*, or those whose specifications say that their class is name. None when there is none.
func (r *Registry) Find(name string) (found []string) {
	kind, device, _ := strings.Cut(name, "=")
	if strings.Contains(kind, "/") {
		for _, k := range r.devices {
			if !strings.HasPrefix(k.name, kind+"=") || device != "" && device != "*" && k.name != name {
				continue
			}
			if found = append(found, k.name); device != "*" {
				return found
			}
		}
	}
	if len(found) > 0 {
		return found
	}
	for _, k := range r.devices {
		if k.annotation(classAnnotation) == name {
			found = append(found, k.name)
		}
	}
	return found
}

// AutoAllowed reports whether the specification of a device lets every build use it.
func (r *Registry) AutoAllowed(name string) bool {
	i := slices.IndexFunc(r.devices, func(k known) bool { return k.name == name })
	if i < 0 {
		return false
	}
	ok, err := strconv.ParseBool(r.devices[i].annotation(autoAllowAnnotation))
	return err == nil && ok
}

// annotation is that of the device, or else of its specification.
func (k known) annotation(name string) string {
	if v, ok := k.dev.Annotations[name]; ok {
		return v
	}
	return k.spec.Annotations[name]
}
