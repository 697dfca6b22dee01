package engine

import (
	"slices"
	"strings"

	"github.com/camada/camada/build/op"
	"github.com/camada/camada/container/cdi"
	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// addDevices gives a step the devices that it asks for, as far as the user of the build allows it.
func (x *executor) addDevices(s *specs.Spec, want []op.Device) error {
	if len(want) == 0 {
		return nil
	}
	r, err := cdi.Load(cdi.DefaultDirs())
	if err != nil {
		return err
	}
	var names []string
	for _, d := range want {
		name := d.Name
		allowed := x.devices.all
		if real, ok := x.devices.names[d.Name]; ok {
			if allowed = true; real != "" {
				name = real
			}
		}
		found := r.Find(name)
		if len(found) == 0 && d.Required {
			return missingDevice(name, r)
		}
		for _, f := range found {
			if !allowed && !r.AutoAllowed(f) && !x.devices.grants(r, f) {
				return errdefs.Permission("RUN --device: device %s is not allowed; a build may have it with --allow device=%s", f, f)
			}
			if !slices.Contains(names, f) {
				names = append(names, f)
			}
		}
	}
	return r.Inject(s, names, inUserNamespace())
}

// grants reports whether a name that --allow device=NAME gave means the device.
func (g deviceGrants) grants(r *cdi.Registry, device string) bool {
	for name, real := range g.names {
		if real != "" {
			continue // an alias is for itself only
		}
		for _, f := range r.Find(name) {
			if f == device {
				return true
			}
		}
	}
	return false
}

func missingDevice(name string, r *cdi.Registry) error {
	hint := "no specification in " + strings.Join(cdi.DefaultDirs(), " or ") + " has it"
	if skipped := r.Skipped(); len(skipped) > 0 {
		hint += "; not read: " + strings.Join(skipped, "; ")
	}
	return errdefs.NotFound("RUN --device: required device %q is not registered (%s)", name, hint)
}
