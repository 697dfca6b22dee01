package cdi

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Inject gives the devices to a container. In a user namespace, where no device can be made, those of the host are shown.
// Names are those that Find returns. Errors: ErrNotFound for a device that is not there, ErrUnsupported for one that
// needs more than devices, mounts, groups and variables, ErrInvalid for a specification that contradicts itself.
func (r *Registry) Inject(s *specs.Spec, names []string, userNamespace bool) error {
	var done []*specification
	for _, name := range names {
		i := slices.IndexFunc(r.devices, func(k known) bool { return k.name == name })
		if i < 0 {
			return errdefs.NotFound("device %s is not there", name)
		}
		k := r.devices[i]
		if k.twice {
			return errdefs.Invalid("device %s: two specifications have it", name)
		}
		if err := k.dev.Edits.apply(s, name, userNamespace); err != nil {
			return err
		}
		if slices.Contains(done, k.spec) {
			continue
		}
		done = append(done, k.spec)
		if err := k.spec.Edits.apply(s, name, userNamespace); err != nil {
			return err
		}
	}
	return nil
}

func (e *edits) apply(s *specs.Spec, name string, userNamespace bool) error {
	if len(e.Hooks) > 0 || len(e.NetDevices) > 0 || e.IntelRdt != nil {
		return errdefs.Unsupported("device %s needs hooks, network devices or resctrl, which are not supported", name)
	}
	for _, kv := range e.Env {
		key, _, ok := strings.Cut(kv, "=")
		if !ok || key == "" {
			return errdefs.Invalid("device %s: %q is no variable", name, kv)
		}
		s.Process.Env = slices.DeleteFunc(s.Process.Env, func(o string) bool { return strings.HasPrefix(o, key+"=") })
		s.Process.Env = append(s.Process.Env, kv)
	}
	for _, n := range e.DeviceNodes {
		if err := n.apply(s, name, userNamespace); err != nil {
			return err
		}
	}
	for _, m := range e.Mounts {
		if !filepath.IsAbs(m.ContainerPath) || m.HostPath == "" {
			return errdefs.Invalid("device %s: a mount without a path", name)
		}
		sm := specs.Mount{Source: m.HostPath, Destination: m.ContainerPath, Type: m.Type, Options: m.Options}
		if sm.Type == "" {
			sm.Type = "bind"
			if len(sm.Options) == 0 {
				sm.Options = []string{"rbind", "rro", "rnosuid", "rnodev"}
			}
		}
		s.Mounts = append(s.Mounts, sm)
	}
	s.Process.User.AdditionalGids = append(s.Process.User.AdditionalGids, e.Groups...)
	return nil
}

func (n node) apply(s *specs.Spec, name string, userNamespace bool) error {
	if !filepath.IsAbs(n.Path) {
		return errdefs.Invalid("device %s: node %q has no absolute path", name, n.Path)
	}
	host := n.HostPath
	if host == "" {
		host = n.Path
	}
	if userNamespace {
		s.Mounts = append(s.Mounts, specs.Mount{Source: host, Destination: n.Path, Type: "bind", Options: []string{"bind"}})
		return nil
	}
	d := specs.LinuxDevice{Path: n.Path, Type: n.Type, Major: n.Major, Minor: n.Minor, FileMode: n.FileMode, UID: n.UID, GID: n.GID}
	if d.Type == "" || d.Major == 0 && d.Minor == 0 && d.Type != "p" {
		if err := lookAt(host, &d); err != nil {
			return errdefs.NotFound("device %s: %w", name, err)
		}
	}
	s.Linux.Devices = append(s.Linux.Devices, d)
	if d.Type != "c" && d.Type != "b" {
		return nil
	}
	access := n.Permissions
	if access == "" {
		access = "rwm"
	}
	s.Linux.Resources.Devices = append(s.Linux.Resources.Devices, specs.LinuxDeviceCgroup{Allow: true, Type: d.Type, Major: &d.Major, Minor: &d.Minor, Access: access})
	return nil
}

// lookAt fills in what the node on the host is.
func lookAt(path string, d *specs.LinuxDevice) error {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return &os.PathError{Op: "stat", Path: path, Err: err}
	}
	kind := ""
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFCHR:
		kind = "c"
	case unix.S_IFBLK:
		kind = "b"
	case unix.S_IFIFO:
		kind = "p"
	}
	if kind == "" || d.Type != "" && d.Type != kind && d.Type != "u" {
		return &os.PathError{Op: "look at", Path: path, Err: unix.ENODEV}
	}
	d.Type, d.Major, d.Minor = kind, int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev))
	if d.FileMode == nil {
		mode := os.FileMode(st.Mode & 0o777)
		d.FileMode = &mode
	}
	return nil
}
