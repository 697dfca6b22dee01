package spec

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// mounts are Docker's, with those of the user: sorted so that what lies below another comes after it.
func mounts(o Options) []specs.Mount {
	sysMode, groupMode := "ro", "ro"
	if o.Privileged {
		sysMode, groupMode = "rw", "rw"
	}
	list := []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: terminals(o)},
		{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: []string{"nosuid", "noexec", "nodev", "mode=1777", "size=67108864"}},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", sysMode}},
		{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"nosuid", "noexec", "nodev", "relatime", groupMode}},
	}
	foreign := o.UserNamespace || o.ownUsers()
	if foreign && (o.HostNetwork || o.SharedNetwork && o.ownUsers()) {
		// sysfs belongs to the network namespace, and so cannot be mounted by one who does not own that.
		list[5] = specs.Mount{Destination: "/sys", Type: "bind", Source: "/sys", Options: []string{"rbind", "rnosuid", "rnoexec", "rnodev", "rro", "rslave"}}
		list = slices.Delete(list, 6, 7)
	}
	if foreign && o.PID == Host {
		// It would show processes to one who does not own their namespace.
		list[0] = specs.Mount{Destination: "/proc", Type: "bind", Source: "/proc", Options: []string{"rbind", "nosuid", "noexec", "nodev", "rslave"}}
	}
	if o.NoShm {
		list = slices.DeleteFunc(list, func(d specs.Mount) bool { return d.Destination == "/dev/shm" })
	}
	for _, m := range o.Mounts {
		list = slices.DeleteFunc(list, func(d specs.Mount) bool { return path.Clean(d.Destination) == path.Clean(m.Destination) })
	}
	mine := slices.Clone(o.Mounts)
	slices.SortStableFunc(mine, func(a, b specs.Mount) int {
		return strings.Count(path.Clean(a.Destination), "/") - strings.Count(path.Clean(b.Destination), "/")
	})
	return append(list, mine...)
}

// terminals are the options of devpts; the group tty is not mapped where there is one id only.
func terminals(o Options) []string {
	opts := []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"}
	const tty = 5
	if o.ownUsers() {
		if !slices.ContainsFunc(o.GroupIDs, func(m specs.LinuxIDMapping) bool { return m.ContainerID <= tty && tty-m.ContainerID < m.Size }) {
			return opts
		}
	} else if o.UserNamespace && !mapped("/proc/self/gid_map", tty) {
		return opts
	}
	return append(opts, "gid=5")
}

// mapped reports whether an id is in a map of this user namespace (user_namespaces(7)).
func mapped(file string, id int64) bool {
	b, err := os.ReadFile(file)
	if err != nil {
		return false
	}
	for l := range strings.Lines(string(b)) {
		var inside, outside, n int64
		if _, err := fmt.Sscan(l, &inside, &outside, &n); err == nil && id >= inside && id < inside+n {
			return true
		}
	}
	return false
}

// hostDevices are the devices of the host, for a privileged container. In a user namespace none can be made.
func hostDevices(o Options) ([]specs.LinuxDevice, error) {
	if o.UserNamespace {
		return nil, nil
	}
	var list []specs.LinuxDevice
	err := filepath.WalkDir("/dev", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // it vanished, or may not be read
		}
		switch {
		case d.IsDir():
			switch name {
			case "/dev/pts", "/dev/shm", "/dev/mqueue", "/dev/fd":
				return fs.SkipDir
			}
			return nil
		case name == "/dev/console", d.Type()&fs.ModeDevice == 0:
			return nil
		}
		var st unix.Stat_t
		if unix.Lstat(name, &st) != nil {
			return nil //nolint:nilerr // it vanished
		}
		kind := "b"
		if d.Type()&fs.ModeCharDevice != 0 {
			kind = "c"
		}
		mode, rdev := os.FileMode(st.Mode&0o777), st.Rdev
		list = append(list, specs.LinuxDevice{Path: name, Type: kind, Major: int64(unix.Major(rdev)), Minor: int64(unix.Minor(rdev)),
			FileMode: &mode, UID: &st.Uid, GID: &st.Gid})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the devices of the host: %w", err)
	}
	return list, nil
}
