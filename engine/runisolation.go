package engine

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/camada/camada/container/record"
	"github.com/camada/camada/container/spec"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/mount"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// RunIsolation says what a container has to itself and what is kept from it; the names are those of docker run's flags.
type RunIsolation struct {
	// Pid and Uts are "", host or container:NAME; Ipc is one of them, private, shareable or none.
	Pid, Ipc, Uts string
	// Userns is in the words of userns.ParseMode; Cgroupns is "", private or host.
	Userns, Cgroupns string
	// SecurityOpts are no-new-privileges, seccomp=FILE|unconfined, apparmor=PROFILE, label=..., systempaths=unconfined, mask=PATH:PATH and
	// unmask=PATH:PATH|ALL.
	SecurityOpts []string
	// Sysctls are parameters of the kernel's namespaces.
	Sysctls map[string]string
	// GroupAdd are further groups, by name or id.
	GroupAdd []string
	// Devices are HOST[:CONTAINER[:rwm]] and names of CDI; DeviceRules are TYPE MAJOR:MINOR ACCESS.
	Devices, DeviceRules []string
	// Gpus is all, a number, or device=NAME,...; "" is none.
	Gpus       string
	Domainname string
	// Annotations are handed to the runtime.
	Annotations map[string]string

	// Confinement is what SecurityOpts were read as.
	Confinement spec.Confinement
}

const containerPrefix = "container:"

// planIsolation reads the flags, and names containers by their IDs.
func (e *Engine) planIsolation(ctx context.Context, o *RunOptions) (err error) {
	if o.Confinement, err = confinement(o.SecurityOpts); err != nil {
		return err
	}
	for _, n := range []namespaceFlag{
		{"--pid", &o.Pid, []string{spec.Host}, true}, {"--uts", &o.Uts, []string{spec.Host}, true},
		{"--ipc", &o.Ipc, []string{spec.Host, "private", "shareable", "none"}, true},
		{"--cgroupns", &o.Cgroupns, []string{spec.Host, "private"}, false},
	} {
		if err := e.planNamespace(ctx, n); err != nil {
			return err
		}
	}
	if err := e.planUsers(ctx, o); err != nil {
		return err
	}
	if o.Uts != "" && o.Hostname != "" {
		return errdefs.Invalid("conflicting options: hostname and the UTS mode")
	}
	if o.Uts != "" && o.Domainname != "" {
		return errdefs.Invalid("conflicting options: domainname and the UTS mode")
	}
	for key := range o.Sysctls {
		if strings.HasPrefix(key, "net.") && o.Network == networkHost {
			return errdefs.Invalid("sysctl %q not allowed in host network namespace", key)
		}
	}
	return o.RunIsolation.checkDevices()
}

// namespaceFlag is a flag for a namespace: the words that it knows, and whether it joins those of other containers.
type namespaceFlag struct {
	name  string
	value *string
	words []string
	joins bool
}

func (e *Engine) planNamespace(ctx context.Context, f namespaceFlag) error {
	if *f.value == "" || slices.Contains(f.words, *f.value) {
		return nil
	}
	name, other := strings.CutPrefix(*f.value, containerPrefix)
	if !other || !f.joins {
		words := f.words
		if f.joins {
			words = append(slices.Clone(words), containerPrefix+"NAME")
		}
		return errdefs.Invalid("%s %s: want %s", f.name, *f.value, strings.Join(words, " or "))
	}
	c, err := e.records.Get(ctx, name)
	if err != nil {
		return fmt.Errorf("%s %s: %w", f.name, *f.value, err)
	}
	*f.value = containerPrefix + c.Config.ID
	return nil
}

// namespaces puts into o what is shared with the host and with other containers.
func (e *Engine) namespaces(ctx context.Context, l *launch, o *spec.Options) (err error) {
	r := l.opts.RunIsolation
	var donor *record.Container // of the last one
	for _, n := range []struct {
		path        *string
		value, kind string
	}{{&o.PID, r.Pid, "pid"}, {&o.UTS, r.Uts, "uts"}, {&o.IPC, r.Ipc, "ipc"}} {
		if *n.path, donor, err = e.namespaceOf(ctx, n.value, n.kind); err != nil {
			return err
		}
		if donor != nil {
			l.joined = append(l.joined, donor)
		}
	}
	o.HostCgroup = r.Cgroupns == spec.Host
	switch {
	case r.Ipc == spec.Host:
		for _, dir := range []string{"/dev/shm", "/dev/mqueue"} {
			if _, err := os.Stat(dir); err == nil {
				o.Mounts = append(o.Mounts, specs.Mount{Destination: dir, Type: "bind", Source: dir, Options: []string{"rbind", "nosuid", "noexec", "nodev", "rprivate"}})
			}
		}
	case r.Ipc == "none":
		o.NoShm = true
	case donor != nil:
		return e.sharedMemory(l, donor, o)
	}
	return nil
}

// namespaceOf is the namespace that a flag names, and the container that it is of.
func (e *Engine) namespaceOf(ctx context.Context, value, kind string) (string, *record.Container, error) {
	id, joins := strings.CutPrefix(value, containerPrefix)
	if !joins {
		if value == spec.Host {
			return spec.Host, nil, nil
		}
		return "", nil, nil
	}
	c, err := e.records.Get(ctx, id)
	if err != nil {
		return "", nil, err
	}
	if !c.Running() {
		return "", nil, errdefs.Conflict("cannot join %s namespace of a non running container: %s", strings.ToUpper(kind), c.Config.Name)
	}
	return "/proc/" + strconv.Itoa(c.State.Pid) + "/ns/" + kind, c, nil
}

// apply puts into the spec what spec.Options has no place for.
func (r RunIsolation) apply(s *specs.Spec) error {
	for key, value := range r.Sysctls {
		if s.Linux.Sysctl == nil {
			s.Linux.Sysctl = map[string]string{}
		}
		s.Linux.Sysctl[key] = value
	}
	s.Domainname = r.Domainname
	s.Annotations = r.Annotations
	return r.addDevices(s)
}

// sharedMemory shows the /dev/shm of the container whose IPC namespace is joined.
func (e *Engine) sharedMemory(l *launch, donor *record.Container, o *spec.Options) error {
	d, err := launchOf(donor)
	if err != nil {
		return err
	}
	switch d.opts.Ipc {
	case "shareable":
	case "host", "none":
		return errdefs.Invalid("--ipc: container %s has no IPC namespace to share", donor.Config.Name)
	default:
		return errdefs.Conflict("can't join IPC of container %s: non-shareable IPC (hint: use --ipc shareable for the donor container)", donor.Config.Name)
	}
	f, err := mount.Elsewhere(donor.State.Pid, "/dev/shm")
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	o.Mounts = append(o.Mounts, l.hold(f, specs.Mount{Destination: "/dev/shm", Options: []string{"nosuid", "noexec", "nodev"}}))
	return nil
}

// maxProfile is how large a seccomp profile may be, in bytes.
const maxProfile = 1 << 20

// confinement reads --security-opt. A profile is read now: the container keeps what it was made with.
func confinement(opts []string) (c spec.Confinement, err error) {
	for _, text := range opts {
		key, value, given := strings.Cut(text, "=")
		if !given {
			key, value, given = strings.Cut(text, ":") // the old form
		}
		switch {
		case key == "no-new-privileges":
			c.NoNewPrivileges = true
			if given {
				c.NoNewPrivileges, err = strconv.ParseBool(value)
			}
		case key == "disable" && !given: // SELinux in the old form
		case !given:
			err = errdefs.Invalid("want KEY=VALUE")
		case key == "seccomp":
			c.Seccomp, err = profile(value)
		case key == "apparmor":
			c.AppArmor = value
		case key == "label":
			err = label(value)
		case key == "systempaths" && value == spec.Unconfined, key == "unmask" && strings.EqualFold(value, "all"):
			c.ShowAll = true
		case key == "mask":
			c.Mask, err = paths(c.Mask, value)
		case key == "unmask":
			c.Unmask, err = paths(c.Unmask, value)
		default:
			err = errdefs.Invalid("want no-new-privileges, seccomp, apparmor, label, systempaths, mask or unmask")
		}
		if err != nil {
			return c, fmt.Errorf("--security-opt %s: %w", text, err)
		}
	}
	return c, nil
}

// profile reads a seccomp profile.
func profile(name string) (string, error) {
	switch name {
	case "builtin", "default":
		return "", nil
	case spec.Unconfined:
		return name, nil
	}
	b, err := readSmallFile(name, maxProfile)
	if err != nil {
		return "", fmt.Errorf("opening seccomp profile (%s) failed: %w", name, err)
	}
	return string(b), spec.CheckSeccomp(string(b))
}

// label accepts what there is to say of labels where the kernel has no SELinux, or nothing is to be labelled.
func label(value string) error {
	if value == "disable" {
		return nil
	}
	if _, err := os.Stat("/sys/fs/selinux/enforce"); err == nil {
		return errdefs.Unsupported("SELinux labels are not made; label=disable runs without")
	}
	return nil
}

func paths(to []string, text string) ([]string, error) {
	for p := range strings.SplitSeq(text, ":") {
		if !filepath.IsAbs(p) || !strings.HasPrefix(filepath.Clean(p), "/proc/") && !strings.HasPrefix(filepath.Clean(p), "/sys/") {
			return nil, errdefs.Invalid("%q is not a path of /proc or /sys", p)
		}
		to = append(to, filepath.Clean(p))
	}
	return to, nil
}
