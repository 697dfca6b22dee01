package engine

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/camada/camada/container/cdi"
	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// gpuKind is the CDI kind of what --gpus asks for.
const gpuKind = "nvidia.com/gpu"

// maxDevices is how many devices a directory of --device may have.
const maxDevices = 4096

// deviceMap is one --device: a device of the host, or a directory of them.
type deviceMap struct{ host, inside, access string }

// parseDevice reads HOST[:CONTAINER][:rwm].
func parseDevice(text string) (deviceMap, error) {
	parts := strings.Split(text, ":")
	d := deviceMap{host: parts[0], inside: parts[0], access: "rwm"}
	switch len(parts) {
	case 1:
	case 2:
		if isAccess(parts[1]) {
			d.access = parts[1]
		} else {
			d.inside = parts[1]
		}
	case 3:
		d.inside, d.access = parts[1], parts[2]
		if !isAccess(d.access) {
			return d, errdefs.Invalid("--device %s: invalid device mode: %s", text, d.access)
		}
	default:
		return d, errdefs.Invalid("--device %s: invalid device specification: want HOST[:CONTAINER[:rwm]]", text)
	}
	if !filepath.IsAbs(d.host) || !path.IsAbs(d.inside) || path.Clean(d.inside) == "/" {
		return d, errdefs.Invalid("--device %s: want absolute paths", text)
	}
	d.inside = path.Clean(d.inside)
	return d, nil
}

func isAccess(s string) bool {
	return s != "" && strings.Trim(s, "rwm") == "" && strings.Count(s, "r") < 2 && strings.Count(s, "w") < 2 && strings.Count(s, "m") < 2
}

// isCDI tells the name of a CDI device, VENDOR/CLASS=DEVICE, from a path.
func isCDI(s string) bool {
	kind, device, ok := strings.Cut(s, "=")
	return ok && device != "" && !strings.HasPrefix(s, "/") && strings.Contains(kind, "/")
}

// checkDevices reads the flags for devices.
func (r RunIsolation) checkDevices() error {
	for _, text := range r.Devices {
		if isCDI(text) {
			continue
		}
		d, err := parseDevice(text)
		if err != nil {
			return err
		}
		if _, err := os.Stat(d.host); err != nil {
			return classOf(err, "error gathering device information while adding custom device \""+d.host+"\"")
		}
	}
	for _, text := range r.DeviceRules {
		if _, err := parseRule(text); err != nil {
			return err
		}
	}
	_, err := gpuNames(r.Gpus)
	return err
}

// parseRule reads --device-cgroup-rule, a line of the devices controller: "c 10:* rwm".
func parseRule(text string) (specs.LinuxDeviceCgroup, error) {
	bad := errdefs.Invalid("invalid device cgroup format '%s': want TYPE MAJOR:MINOR ACCESS, such as 'c 10:* rwm'", text)
	f := strings.Fields(text)
	if len(f) != 3 || f[0] != "a" && f[0] != "b" && f[0] != "c" || !isAccess(f[2]) {
		return specs.LinuxDeviceCgroup{}, bad
	}
	major, minor, ok := strings.Cut(f[1], ":")
	if !ok {
		return specs.LinuxDeviceCgroup{}, bad
	}
	rule := specs.LinuxDeviceCgroup{Allow: true, Type: f[0], Access: f[2]}
	for _, n := range []struct {
		text string
		to   **int64
	}{{major, &rule.Major}, {minor, &rule.Minor}} {
		v := int64(-1)
		if n.text != "*" {
			u, err := strconv.ParseUint(n.text, 10, 31)
			if err != nil {
				return specs.LinuxDeviceCgroup{}, bad
			}
			v = int64(u)
		}
		*n.to = &v
	}
	return rule, nil
}

// gpuNames are the CDI devices that --gpus means: all, a number of them, or device=NAME,... .
func gpuNames(text string) ([]string, error) {
	text = strings.Trim(text, `"'`)
	if text == "" {
		return nil, nil
	}
	if text == "all" || text == "-1" {
		return []string{gpuKind + "=all"}, nil
	}
	if n, err := strconv.ParseUint(text, 10, 8); err == nil {
		var names []string
		for i := range n {
			names = append(names, gpuKind+"="+strconv.FormatUint(i, 10))
		}
		return names, nil
	}
	list, ok := strings.CutPrefix(text, "device=")
	if !ok || list == "" {
		return nil, errdefs.Unsupported("--gpus %s: want all, a number, or device=NAME[,NAME...]", text)
	}
	var names []string
	for n := range strings.SplitSeq(list, ",") {
		if strings.Contains(n, "=") {
			return nil, errdefs.Unsupported("--gpus %s: %q cannot be chosen here: the driver's CDI specification says what a device gives", text, n)
		}
		names = append(names, gpuKind+"="+n)
	}
	return names, nil
}

// addDevices gives a container the devices that were asked for.
func (r RunIsolation) addDevices(s *specs.Spec) error {
	names, err := gpuNames(r.Gpus)
	if err != nil {
		return err
	}
	gpus := len(names)
	for _, text := range r.Devices {
		if isCDI(text) {
			names = append(names, text)
			continue
		}
		d, err := parseDevice(text)
		if err == nil {
			err = d.add(s)
		}
		if err != nil {
			return err
		}
	}
	for _, text := range r.DeviceRules {
		rule, err := parseRule(text)
		if err != nil {
			return err
		}
		s.Linux.Resources.Devices = append(s.Linux.Resources.Devices, rule)
	}
	if len(names) == 0 {
		return nil
	}
	reg, err := cdi.Load(cdi.DefaultDirs())
	if err != nil {
		return err
	}
	for i, n := range names {
		if len(reg.Find(n)) > 0 {
			continue
		}
		hint := "no specification in " + strings.Join(cdi.DefaultDirs(), " or ") + " has it"
		if skipped := reg.Skipped(); len(skipped) > 0 {
			hint += "; not read: " + strings.Join(skipped, "; ")
		}
		if i < gpus {
			return errdefs.NotFound("--gpus: could not select device driver \"nvidia\" with capabilities: [[gpu]]: device %s: %s; the driver's tool makes one: nvidia-ctk cdi generate --format json", n, hint)
		}
		return errdefs.NotFound("--device %s: CDI device injection failed: unresolvable CDI device: %s", n, hint)
	}
	return reg.Inject(s, names, inUserNamespace())
}

// add gives a container one device, or those of a directory.
func (d deviceMap) add(s *specs.Spec) error {
	n := 0
	err := filepath.WalkDir(d.host, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Stat(name) // a link stands for its device
		if errors.Is(err, fs.ErrNotExist) && name != d.host {
			return nil
		}
		if err != nil {
			return err
		}
		if info.Mode()&os.ModeDevice == 0 {
			if name == d.host && !info.IsDir() {
				return errdefs.Invalid("not a device node")
			}
			return nil
		}
		if n++; n > maxDevices {
			return errdefs.Limit("more than %d devices", maxDevices)
		}
		rel, err := filepath.Rel(d.host, name)
		if err != nil {
			return err
		}
		d.node(s, name, path.Join(d.inside, rel), info)
		return nil
	})
	if err != nil {
		return classOf(err, "error gathering device information while adding custom device \""+d.host+"\"")
	}
	if n == 0 {
		return errdefs.Invalid("error gathering device information while adding custom device %q: there is no device in it", d.host)
	}
	return nil
}

// node gives a container one device node. In a user namespace, where none can be made, the host's is shown.
func (d deviceMap) node(s *specs.Spec, host, inside string, info fs.FileInfo) {
	if inUserNamespace() {
		s.Mounts = append(s.Mounts, specs.Mount{Source: host, Destination: inside, Type: "bind", Options: []string{"bind"}})
		return
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return
	}
	kind := "b"
	if info.Mode()&os.ModeCharDevice != 0 {
		kind = "c"
	}
	major, minor, mode := int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev)), info.Mode().Perm()
	s.Linux.Devices = append(s.Linux.Devices, specs.LinuxDevice{Path: inside, Type: kind, Major: major, Minor: minor, FileMode: &mode, UID: &st.Uid, GID: &st.Gid})
	s.Linux.Resources.Devices = append(s.Linux.Resources.Devices, specs.LinuxDeviceCgroup{Allow: true, Type: kind, Major: &major, Minor: &minor, Access: d.access})
}
