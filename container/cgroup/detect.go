package cgroup

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/camada/camada/errdefs"
	"golang.org/x/sys/unix"
)

// Detect finds the hierarchies of this process: two small files of /proc are
// read. A machine without any cgroup gives an empty Layout and no error.
func Detect() (Layout, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return Layout{}, errdefs.Unavailable("find cgroup mounts: %w", err)
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil && !os.IsNotExist(err) {
		return Layout{}, errdefs.Unavailable("find own cgroup: %w", err)
	}
	user, inUserNS := identity()
	l := Layout{InUserNS: inUserNS}
	found := parseMounts(mounts)
	l.V1, l.roots = found.v1, found.roots
	if found.unified.point != "" {
		l.Unified = delegated(found.unified.point, found.unified.inside(parseOwn(own)), writable)
		if l.Unified == "" {
			l.Unified = usersManager(found.unified, user, writable)
			l.Apart = l.Unified != ""
		}
	}
	return l, nil
}

// mountpoint is a mounted hierarchy: point shows the subtree root of it.
type mountpoint struct{ root, point string }

// inside translates a path of the hierarchy into one of the file system. A path
// out of what is mounted gives the mount point.
func (m mountpoint) inside(group string) string {
	rel, err := filepath.Rel(m.root, group)
	if err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
		return m.point
	}
	return filepath.Join(m.point, rel)
}

type hierarchies struct {
	unified mountpoint
	v1      map[string]string // controller -> mount point
	roots   map[string]string // controller -> what is mounted there
}

// parseMounts reads mountinfo (proc(5)): the fields before " - " are id, parent,
// device, root, mount point, options; those behind it type, source, super options.
func parseMounts(mountinfo []byte) hierarchies {
	h := hierarchies{v1: map[string]string{}, roots: map[string]string{}}
	for line := range bytes.Lines(mountinfo) {
		if !bytes.Contains(line, []byte(" - cgroup")) {
			continue
		}
		before, behind, _ := strings.Cut(strings.TrimSuffix(string(line), "\n"), " - ")
		left, right := strings.Fields(before), strings.Fields(behind)
		if len(left) < 6 || len(right) < 3 {
			continue
		}
		m := mountpoint{root: unescape(left[3]), point: unescape(left[4])}
		switch right[0] {
		case "cgroup2":
			if h.unified.point == "" {
				h.unified = m
			}
		case "cgroup":
			for opt := range strings.SplitSeq(right[2], ",") {
				if _, known := h.v1[opt]; !known && v1Controller(opt) {
					h.v1[opt], h.roots[opt] = m.point, m.root
				}
			}
		}
	}
	return h
}

// v1Controller tells a controller's name from the other mount options of a v1
// hierarchy ("rw", "name=systemd", "xattr", "release_agent=...").
func v1Controller(name string) bool {
	switch name {
	case "cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "hugetlb", "net_cls", "net_prio", "perf_event", "rdma", "misc":
		return true
	}
	return false
}

// unescape undoes the octal escapes of mountinfo (\040 for a space).
func unescape(s string) string {
	if !strings.ContainsRune(s, '\\') {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// parseOwn gives the process's path in the v2 hierarchy from /proc/self/cgroup,
// "/" when there is none.
func parseOwn(cgroups []byte) string {
	for line := range bytes.Lines(cgroups) {
		if p, ok := strings.CutPrefix(strings.TrimSuffix(string(line), "\n"), "0::"); ok && strings.HasPrefix(p, "/") {
			return p
		}
	}
	return "/"
}

// delegated finds the topmost directory from own up to the mount point that can
// be written to without a gap in between. Processes may be moved anywhere below
// it, and its controllers be handed on. It is the mount point for root, and
// user@1000.service for a user whose session systemd delegated. Empty when own
// cannot be written to.
func delegated(point, own string, can func(dir string) bool) string {
	if can(point) {
		return point
	}
	top := ""
	for dir := own; strings.HasPrefix(dir, point) && can(dir); dir = filepath.Dir(dir) {
		top = dir
	}
	return top
}

// writable tells whether groups can be made in dir and processes be moved there.
func writable(dir string) bool {
	return unix.Access(dir, unix.W_OK) == nil && unix.Access(dir+"/cgroup.procs", unix.W_OK) == nil
}

// usersManager is the subtree of the user's systemd, "" when there is none that can be written to. Who logs in by ssh or at a
// console stands beside it.
func usersManager(m mountpoint, user string, can func(dir string) bool) string {
	group := "/user.slice/user-" + user + ".slice/user@" + user + ".service"
	if dir := m.inside(group); dir != m.point && can(dir) {
		return dir
	}
	return ""
}

// identity reads the uid map: the user that this process is outside of its user namespace, and whether that is another than the
// first, which maps all ids onto themselves.
func identity() (user string, inUserNS bool) {
	user = strconv.Itoa(os.Geteuid())
	f, err := os.Open("/proc/self/uid_map")
	if err != nil {
		return user, false
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	if !s.Scan() {
		return user, true
	}
	fields := strings.Fields(s.Text())
	if len(fields) != 3 {
		return user, true
	}
	if fields[0] == "0" && fields[1] == "0" && fields[2] == "4294967295" {
		return user, false
	}
	if fields[0] == user { // the first line is that of the user who made the namespace, who is root in it
		user = fields[1]
	}
	return user, true
}
