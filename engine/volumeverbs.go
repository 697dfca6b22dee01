package engine

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/camada/camada/container/record"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/volume"
)

// volumeDriver is the only driver of volumes.
const volumeDriver = "local"

// VolumeOptions say what volume CreateVolume makes.
type VolumeOptions struct {
	// Name is chosen when it is ""; the volume is an anonymous one then.
	Name string
	// Driver is local; "" is the same.
	Driver string
	Labels map[string]string
	// Options are type, device and o, as docker's local driver has them.
	Options map[string]string
}

// VolumeRow is one line of volume ls; the names are docker's.
type VolumeRow struct {
	Availability, Driver, Group, Labels, Links, Mountpoint, Name, Scope, Size, Status string

	labels map[string]string
}

// Label is the value of a label, "" when there is none.
func (r VolumeRow) Label(name string) string { return r.labels[name] }

// VolumeInspect is what is known of a volume, in the form of docker's.
type VolumeInspect struct {
	CreatedAt, Driver string
	Labels            map[string]string
	// Mountpoint is the directory of its files.
	Mountpoint, Name string
	Options          map[string]string
	Scope            string
}

// CreateVolume makes a volume and returns its name. It is no error that there is one of that name, unless it has other options.
func (e *Engine) CreateVolume(ctx context.Context, o VolumeOptions) (string, error) {
	if o.Driver != "" && o.Driver != volumeDriver {
		return "", errdefs.Unsupported("volume driver %q: there is the driver local only", o.Driver)
	}
	if err := checkVolumeOptions(o.Options); err != nil {
		return "", err
	}
	c := volume.Config{Name: o.Name, Labels: o.Labels, Options: o.Options, Anonymous: o.Name == ""}
	if c.Anonymous {
		c.Name = record.NewID()
	}
	_, err := e.volumes().Get(c.Name)
	isNew := errdefs.IsNotFound(err)
	v, err := e.volumes().Create(ctx, c)
	if err != nil {
		return "", err
	}
	if len(o.Options) > 0 && !maps.Equal(v.Options, o.Options) {
		return "", errdefs.Conflict("there is a volume %s with other options: remove it first, or choose another name", v.Name)
	}
	if isNew {
		e.noteVolume(ctx, "create", v.Name)
	}
	return v.Name, nil
}

// checkVolumeOptions refuses what docker's local driver refuses. The errors are docker's.
func checkVolumeOptions(options map[string]string) error {
	if len(options) == 0 {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(options)) {
		switch name {
		case "type", "device", "o":
		case "size", "quota":
			return errdefs.Unsupported("volume option %q: there are no quotas; a file system of its own has a size (type=tmpfs, o=size=64m)", name)
		default:
			return errdefs.Invalid("invalid option: %q; the driver local has type, device and o", name)
		}
	}
	if options["type"] == "" {
		return errdefs.Invalid("missing required option: \"type\"; it is none with o=bind, or a file system such as tmpfs")
	}
	if options["device"] == "" && options["type"] != "tmpfs" {
		return errdefs.Invalid("missing required option: \"device\"")
	}
	return nil
}

// Volumes lists the volumes that all filters choose: name=, label=, driver=, dangling=.
func (e *Engine) Volumes(ctx context.Context, filters []string) ([]VolumeRow, error) {
	list, err := e.volumes().List()
	if err != nil {
		return nil, err
	}
	users, err := e.volumeUsers(ctx)
	if err != nil {
		return nil, err
	}
	tests := make([]func(*volume.Volume) bool, 0, len(filters))
	for _, text := range filters {
		t, err := volumeTest(users, text)
		if err != nil {
			return nil, err
		}
		tests = append(tests, t)
	}
	rows := []VolumeRow{}
	for _, v := range list {
		if slices.ContainsFunc(tests, func(t func(*volume.Volume) bool) bool { return !t(v) }) {
			continue
		}
		rows = append(rows, VolumeRow{Availability: "N/A", Driver: volumeDriver, Group: "N/A", Labels: labelsText(v.Labels), Links: "N/A", Mountpoint: v.Dir(), Name: v.Name,
			Scope: "local", Size: "N/A", Status: "N/A", labels: v.Labels})
	}
	return rows, nil
}

func volumeTest(users map[string][]string, filter string) (func(*volume.Volume) bool, error) {
	name, value, ok := strings.Cut(filter, "=")
	if !ok {
		return nil, errdefs.Invalid("--filter %q: want NAME=VALUE", filter)
	}
	switch name {
	case "name":
		return func(v *volume.Volume) bool { return strings.Contains(v.Name, value) }, nil
	case "label":
		return func(v *volume.Volume) bool { return hasLabel(v.Labels, value) }, nil
	case "driver":
		return func(*volume.Volume) bool { return value == volumeDriver }, nil
	case "dangling":
		switch value {
		case "true", "1", "t":
			return func(v *volume.Volume) bool { return len(users[v.Name]) == 0 }, nil
		case "false", "0", "f":
			return func(v *volume.Volume) bool { return len(users[v.Name]) > 0 }, nil
		}
	}
	return nil, errdefs.Invalid("--filter %q: want name=, label=, driver=, dangling=true or dangling=false", filter)
}

// InspectVolume shows a volume. ErrNotFound when there is none of the name.
func (e *Engine) InspectVolume(_ context.Context, name string) (*VolumeInspect, error) {
	v, err := e.volumes().Get(name)
	if err != nil {
		return nil, err
	}
	return &VolumeInspect{CreatedAt: v.Created.Format(time.RFC3339), Driver: volumeDriver, Labels: v.Labels, Mountpoint: v.Dir(), Name: v.Name, Options: v.Options, Scope: "local"}, nil
}

// RemoveVolume removes a volume. ErrNotFound when there is none, ErrConflict when a container uses it, whether that runs or not.
func (e *Engine) RemoveVolume(ctx context.Context, name string) error {
	unlock, err := e.volumes().Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	users, err := e.volumeUsers(ctx)
	if err != nil {
		return err
	}
	if by := users[name]; len(by) > 0 {
		return errdefs.Conflict("remove %s: volume is in use - [%s]", name, strings.Join(by, ", "))
	}
	if err := e.volumes().Remove(ctx, name); err != nil {
		return err
	}
	e.noteVolume(ctx, "destroy", name)
	return nil
}

// PruneVolumes removes the volumes that no container uses, those with a name only when all is set, and returns their names and bytes.
func (e *Engine) PruneVolumes(ctx context.Context, all bool, f PruneFilter) (names []string, bytes int64, err error) {
	if !f.Until.IsZero() {
		return nil, 0, errdefs.Invalid("--filter until= is not one of volumes: want label= or label!=")
	}
	list, err := e.volumes().List()
	if err != nil {
		return nil, 0, err
	}
	for _, v := range list {
		if !all && !v.Anonymous || !f.matches(v.Created, v.Labels) {
			continue
		}
		n, _, err := size(v.Dir())
		if err == nil {
			err = e.RemoveVolume(ctx, v.Name)
		}
		switch {
		case errdefs.IsNotFound(err), errdefs.IsConflict(err): // used, or removed by somebody else
		case err != nil:
			return names, bytes, err
		default:
			names = append(names, v.Name)
			bytes += n
		}
	}
	return names, bytes, nil
}

// createRecord makes the record of a container. From then on its volumes are in use: whoever removes volumes sees the record, or is done before it is there.
func (e *Engine) createRecord(ctx context.Context, cfg record.Config) (*record.Container, error) {
	if slices.ContainsFunc(cfg.Mounts, func(m record.Mount) bool { return m.Type == string(mountVolume) }) {
		unlock, err := e.volumes().Hold(ctx)
		if err != nil {
			return nil, err
		}
		defer unlock()
	}
	return e.records.Create(ctx, cfg)
}
