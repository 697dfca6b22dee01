package container

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/camada/camada/container/internal/program"
	"github.com/camada/camada/container/namespace"
	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// namespaces sorts those to join from those to make. What is in neither is shared with the caller.
func (s *starter) namespaces() (err error) {
	s.fresh = map[specs.LinuxNamespaceType]bool{}
	seen := map[specs.LinuxNamespaceType]bool{}
	for _, n := range s.spec.Linux.Namespaces {
		flag, err := namespace.Flag(n.Type)
		if err != nil {
			return err
		}
		if seen[n.Type] {
			return errdefs.Invalid("the %s namespace is listed twice", n.Type)
		}
		seen[n.Type] = true
		if n.Path == "" {
			s.fresh[n.Type] = true
			s.flags |= flag
		}
	}
	// These are made by the child: it has to be in its cgroup first, and to set the clocks.
	s.flags &^= unix.CLONE_NEWCGROUP | unix.CLONE_NEWTIME
	if s.joined, err = namespace.Open(s.spec.Linux.Namespaces); err != nil {
		return err
	}
	return s.checkNamespaces()
}

// checkNamespaces refuses what would reach the caller's own namespaces.
func (s *starter) checkNamespaces() error {
	linux := s.spec.Linux
	switch {
	case s.inUserNamespace() && !s.fresh[specs.MountNamespace]:
		return errdefs.Unsupported("a user namespace without a mount namespace of the container's own")
	case (s.spec.Hostname != "" || s.spec.Domainname != "") && !s.own(specs.UTSNamespace):
		return errdefs.Invalid("a host name or domain name needs a uts namespace that is not the caller's")
	case len(linux.TimeOffsets) > 0 && !s.fresh[specs.TimeNamespace]:
		return errdefs.Invalid("time offsets need a time namespace of the container's own")
	case len(linux.UIDMappings)+len(linux.GIDMappings) > 0 && !s.inUserNamespace():
		return errdefs.Invalid("id mappings need a user namespace")
	}
	if s.fresh[specs.TimeNamespace] && unix.Access("/proc/self/ns/time", unix.F_OK) != nil {
		return errdefs.Unsupported("time namespaces: this kernel has none")
	}
	for clock, offset := range linux.TimeOffsets {
		if clock != "monotonic" && clock != "boottime" {
			return errdefs.Invalid("time offset of the clock %q: there are monotonic and boottime", clock)
		}
		if offset.Nanosecs >= 1e9 {
			return errdefs.Invalid("time offset of the clock %s: %d nanoseconds are a second or more", clock, offset.Nanosecs)
		}
	}
	return nil
}

// own tells that the container is in another namespace of a type than the caller.
func (s *starter) own(t specs.LinuxNamespaceType) bool { return s.fresh[t] || s.joined.Has(t) }

func (s *starter) inUserNamespace() bool { return s.own(specs.UserNamespace) }

// twoSteps tells that a namespace can be entered only by a further fork, or
// that it has to be entered before the new ones are made.
func (s *starter) twoSteps() bool {
	return s.joined.Has(specs.PIDNamespace) || s.joined.Has(specs.UserNamespace) ||
		s.fresh[specs.UserNamespace] && len(s.joined) > 0 || s.fresh[specs.TimeNamespace]
}

// early tells that the first child is in the new user namespace already: a time namespace belongs to it, and takes
// effect by a further fork.
func (s *starter) early() bool { return s.fresh[specs.TimeNamespace] && s.fresh[specs.UserNamespace] }

// forkFlags are the CLONE_NEW* flags of the first fork.
func (s *starter) forkFlags() uintptr {
	switch {
	case s.early():
		return unix.CLONE_NEWUSER
	case s.twoSteps():
		return 0
	}
	return s.flags
}

// enterNamespaces appends what the child does up to being in its namespaces, but for the mount namespace that it joins.
func (s *starter) enterNamespaces() {
	p := s.p
	var clocks program.Slot
	if s.fresh[specs.TimeNamespace] {
		// The file belongs to who is root now, and takes effect on what the process is when it is written.
		clocks = p.Slot()
		p.Stage("open the offsets of the clocks")
		p.Call(unix.SYS_OPENAT, program.Int(unix.AT_FDCWD), p.Str("/proc/self/timens_offsets"), program.Int(unix.O_WRONLY|unix.O_CLOEXEC), program.Int(0)).Into(clocks)
	}
	if s.early() {
		s.waitForIDs()
	}
	if s.twoSteps() {
		s.join()
		if s.fresh[specs.TimeNamespace] {
			if s.joined.Has(specs.UserNamespace) {
				becomeRoot(p)
			}
			s.makeClocks(clocks)
		}
		second(p, s.flags&^s.forkFlags())
	}
	if s.fresh[specs.UserNamespace] && !s.early() {
		s.waitForIDs()
	} else if s.joined.Has(specs.UserNamespace) && !s.fresh[specs.TimeNamespace] {
		becomeRoot(p)
	}
	if !s.twoSteps() {
		s.join()
	}
	if s.fresh[specs.CgroupNamespace] {
		p.Stage("make a cgroup namespace")
		p.Call(unix.SYS_UNSHARE, program.Int(unix.CLONE_NEWCGROUP))
	}
}

func (s *starter) waitForIDs() {
	s.p.Stage("wait for the user namespace's ids")
	s.wait()
	becomeRoot(s.p)
}

// makeClocks appends the making of a time namespace, which later children are in.
func (s *starter) makeClocks(offsets program.Slot) {
	p := s.p
	p.Stage("make a time namespace")
	p.Call(unix.SYS_UNSHARE, program.Int(unix.CLONE_NEWTIME))
	if text := timeOffsets(s.spec.Linux.TimeOffsets); text != "" {
		p.Stage("set the offsets of the clocks")
		p.Call(unix.SYS_WRITE, offsets.Arg(), p.Str(text), program.Int(len(text)))
	}
	p.Call(unix.SYS_CLOSE, offsets.Arg())
}

// timeOffsets spells offsets as time_namespaces(7) has them.
func timeOffsets(offsets map[string]specs.LinuxTimeOffset) string {
	var lines []string
	for clock, o := range offsets {
		lines = append(lines, fmt.Sprintf("%s %d %d\n", clock, o.Secs, o.Nanosecs))
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// join appends the entering of the namespaces that are joined, but for that of mounts. With a user namespace
// among them some of the others belong to it and some to the caller: those that the caller may enter come first, the rest
// when it is root of the user namespace.
func (s *starter) join() {
	p := s.p
	var user, others namespace.Set
	for _, j := range s.joined {
		switch j.Type {
		case specs.MountNamespace:
		case specs.UserNamespace:
			user = append(user, j)
		default:
			others = append(others, j)
		}
	}
	if len(user) == 0 {
		join(p, others)
		return
	}
	files := make([]program.Arg, len(others))
	for i, j := range others {
		files[i] = p.File(j.File)
		later := p.Label()
		p.Stage("join the %s namespace", j.Type)
		p.Call(unix.SYS_SETNS, files[i], program.Uint(uint64(j.Flag))).OnError(later)
		p.Call(unix.SYS_CLOSE, files[i])
		p.Mark(later)
	}
	join(p, user)
	for i, j := range others {
		p.Stage("join the %s namespace", j.Type)
		p.Call(unix.SYS_SETNS, files[i], program.Uint(uint64(j.Flag))).Tolerate(unix.EBADF) // joined before
		p.Call(unix.SYS_CLOSE, files[i]).Ignore()
	}
}

// borrowMounts appends the entering of the root file system for a container without a mount namespace of its own. The
// tree is attached nowhere: it lives as long as processes are in it, and nobody else sees it. Mounts can be put into such a
// tree since Linux 6.15.
func (s *starter) borrowMounts() {
	p := s.p
	root := p.File(s.tree.root)
	p.Stage("enter the root file system")
	p.Call(unix.SYS_FCHDIR, root)
	p.Call(unix.SYS_CHROOT, p.Str("."))
	p.Stage("mount into a root file system that is not attached (Linux 6.15)")
	s.tree.attach()
}

// joinMounts appends the entering of a mount namespace that is joined. It comes after all mounts are made, because the kernel
// lets nobody put mounts into a tree that was made in another mount namespace; and it leaves the process at the
// namespace's root, so that the container's is entered again.
func (s *starter) joinMounts() {
	p := s.p
	for _, j := range s.joined {
		if j.Type != specs.MountNamespace {
			continue
		}
		root := p.Slot()
		p.Stage("join the mount namespace")
		p.Call(unix.SYS_OPENAT, program.Int(unix.AT_FDCWD), p.Str("/"), program.Int(unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC), program.Int(0)).Into(root)
		p.Call(unix.SYS_SETNS, p.File(j.File), program.Uint(uint64(j.Flag)))
		p.Call(unix.SYS_FCHDIR, root.Arg())
		p.Call(unix.SYS_CHROOT, p.Str("."))
		p.Call(unix.SYS_CLOSE, root.Arg())
	}
}

// idMaps gives the ids of the container's user namespace as the caller sees them, nil without one.
func (s *starter) idMaps() (uids, gids []specs.LinuxIDMapping, err error) {
	if s.fresh[specs.UserNamespace] {
		return s.spec.Linux.UIDMappings, s.spec.Linux.GIDMappings, nil
	}
	for _, j := range s.joined {
		if j.Type == specs.UserNamespace {
			return namespaceIDs(j.File)
		}
	}
	return nil, nil, nil
}

// namespaceIDs reads the ids of a user namespace. The kernel tells them of processes only, so one is put there.
func namespaceIDs(ns *os.File) (uids, gids []specs.LinuxIDMapping, err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, fmt.Errorf("make a pipe: %w", err)
	}
	defer w.Close()
	defer r.Close()
	p := program.New(3)
	defer p.Close()
	begin(p, true, nil)
	p.Stage("join the user namespace")
	p.Call(unix.SYS_SETNS, p.File(ns), program.Int(unix.CLONE_NEWUSER))
	p.Ready()
	p.Call(unix.SYS_READ, p.File(r), program.Ptr(p, new([8]byte)), program.Int(1))
	if err := p.AppendEnd(); err != nil {
		return nil, nil, err
	}
	child, err := p.Fork(program.ForkOptions{CgroupFD: -1})
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		child.Close()
		_ = unix.Kill(child.Pid, unix.SIGKILL)
		for {
			if _, err := unix.Wait4(child.Pid, nil, 0, nil); err != unix.EINTR {
				return
			}
		}
	}()
	if _, err := child.Next(); err != nil {
		return nil, nil, err
	}
	if uids, err = readIDs(child.Pid, "uid_map"); err != nil {
		return nil, nil, err
	}
	gids, err = readIDs(child.Pid, "gid_map")
	return uids, gids, err
}

// readIDs reads a map of user_namespaces(7).
func readIDs(pid int, file string) ([]specs.LinuxIDMapping, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		return nil, fmt.Errorf("read the ids of the user namespace: %w", err)
	}
	var maps []specs.LinuxIDMapping
	for row := range strings.Lines(string(b)) {
		var m specs.LinuxIDMapping
		if _, err := fmt.Sscan(row, &m.ContainerID, &m.HostID, &m.Size); err == nil {
			maps = append(maps, m)
		}
	}
	return maps, nil
}

// hostID gives what an id of a user namespace is outside; the id itself without maps.
func hostID(maps []specs.LinuxIDMapping, id int) int {
	for _, m := range maps {
		if first := int(m.ContainerID); id >= first && id-first < int(m.Size) {
			return int(m.HostID) + id - first
		}
	}
	return id
}
