package cgroup

import (
	"errors"
	"fmt"
	"strings"

	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Device rules: a list of "allow" and "deny", the last one that matches wins. On
// v2, and on hybrid machines too, they become an eBPF program on the v2 group; a
// v1 devices group is the fallback where programs cannot be loaded.

func (g *Group) applyDevices(rules []specs.LinuxDeviceCgroup) error {
	if len(rules) == 0 {
		return nil
	}
	parsed, err := parseDevices(rules)
	if err != nil {
		return err
	}
	var filterErr error
	if g.fd >= 0 && g.v1["devices"] == "" {
		if filterErr = attachFilter(g.fd, deviceProgram(parsed)); filterErr == nil {
			return nil
		}
	}
	if g.layout.V1["devices"] != "" {
		err := g.join("devices")
		if err == nil {
			return devicesV1(g.v1["devices"], parsed)
		}
		filterErr = err
	}
	if g.layout.InUserNS {
		// Nobody in it can make a device node, and the nodes that are given to the
		// container are guarded by their permissions.
		return nil
	}
	if allowsAll(parsed) {
		return nil // as it is without a filter
	}
	if filterErr == nil {
		return g.layout.missing("device")
	}
	if noFilters(filterErr) {
		return errdefs.Unsupported("on cgroup v2 the kernel needs CONFIG_CGROUP_BPF to keep devices from containers (--privileged keeps none): %w", filterErr)
	}
	return errdefs.With(errdefs.ErrUnsupported, filterErr)
}

// noFilters tells whether the kernel refused because it knows no such programs.
func noFilters(err error) bool { return errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EINVAL) }

// allowsAll tells whether the last rule, which wins, allows every access to every device.
func allowsAll(rules []device) bool {
	if len(rules) == 0 {
		return true
	}
	d := rules[len(rules)-1]
	return d.allow && d.kind == 'a' && d.major < 0 && d.minor < 0 && d.access == accessMknod|accessRead|accessWrite
}

// device is a rule: kind 'a' (any), 'b' or 'c'; negative numbers are any.
type device struct {
	allow        bool
	kind         byte
	major, minor int64
	access       uint32 // bits of accessMknod, accessRead, accessWrite
}

// The access bits of BPF_DEVCG_ACC_* (linux/bpf.h).
const (
	accessMknod = 1
	accessRead  = 2
	accessWrite = 4
)

// maxDevices bounds the program: rules have at most ten instructions, and
// kernels before 5.2 take 4096.
const maxDevices = 400

func parseDevices(rules []specs.LinuxDeviceCgroup) ([]device, error) {
	if len(rules) > maxDevices {
		return nil, errdefs.Limit("%d device rules, at most %d are possible", len(rules), maxDevices)
	}
	parsed := make([]device, 0, len(rules))
	for _, r := range rules {
		d := device{allow: r.Allow, major: -1, minor: -1}
		switch r.Type {
		case "", "a":
			d.kind = 'a'
		case "b", "c":
			d.kind = r.Type[0]
		case "u":
			d.kind = 'c'
		default:
			return nil, errdefs.Invalid("device rule: type %q is none of a, b, c", r.Type)
		}
		if r.Major != nil {
			d.major = *r.Major
		}
		if r.Minor != nil {
			d.minor = *r.Minor
		}
		if d.major > 1<<12-1 || d.minor > 1<<20-1 {
			return nil, errdefs.Invalid("device rule: no device can be %d:%d", d.major, d.minor)
		}
		for _, c := range r.Access {
			switch c {
			case 'm':
				d.access |= accessMknod
			case 'r':
				d.access |= accessRead
			case 'w':
				d.access |= accessWrite
			default:
				return nil, errdefs.Invalid("device rule: access %q is not of r, w and m", r.Access)
			}
		}
		if r.Access == "" {
			d.access = accessMknod | accessRead | accessWrite
		}
		parsed = append(parsed, d)
	}
	return parsed, nil
}

func devicesV1(dir string, rules []device) error {
	for _, d := range rules {
		file := "devices.deny"
		if d.allow {
			file = "devices.allow"
		}
		if err := write(dir, file, d.v1()); err != nil {
			return err
		}
	}
	return nil
}

// v1 spells the rule for devices.allow and devices.deny. "a" there means all
// devices with all accesses, whatever follows.
func (d device) v1() string {
	if d.kind == 'a' {
		return "a"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%c %s:%s ", d.kind, star(d.major), star(d.minor))
	for i, c := range "mrw" {
		if d.access&(1<<i) != 0 {
			b.WriteRune(c)
		}
	}
	return b.String()
}

func star(n int64) string {
	if n < 0 {
		return "*"
	}
	return fmt.Sprint(n)
}
