package container

import (
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/camada/camada/container/internal/program"
	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// confinement is the last part of a child's program, the same for the first
// process of a container and for one that joins: it takes the identity, gives
// up what the process may not have, and executes.
type confinement struct {
	p       *program.Program
	process *specs.Process
	stdio   [3]*os.File
	extra   []*os.File
	// null is the container's /dev/null, for streams that are nil; nil for what the container has there.
	null *os.File
	// ptyName is the terminal, as the container names it; "" for none.
	ptyName string
	// filter and filterFlags are the seccomp filter.
	filter      []byte
	filterFlags uint64
	// personality and memoryPolicy are of the container, not of the process; nil leaves the caller's.
	personality  *specs.LinuxPersonality
	memoryPolicy *specs.LinuxMemoryPolicy
	pdeathsig    bool
	// path is the program's file; "" looks for the first argument.
	path string
	// listen appends a wait for the parent to take the filter's notifications, nil when it has none.
	listen func()
	// wait appends a wait for the parent, nil for none; hold one that comes last, after all that can fail.
	wait, hold func()
	noKeyring  bool
	// reaper is the path of a program that is executed in between as the
	// container's first process; "" for none.
	reaper string
}

// firstFree is the first descriptor that the process does not inherit.
func firstFree(extra []*os.File) int { return 3 + len(extra) }

// append appends the calls.
func (c *confinement) append() error {
	p := c.p
	if len(c.process.Args) == 0 {
		return errdefs.Invalid("no program to execute was given")
	}
	if err := c.limits(); err != nil {
		return err
	}
	if err := c.scheduling(); err != nil {
		return err
	}
	if !c.noKeyring {
		p.Stage("join a new session keyring")
		const joinSessionKeyring = 1
		p.Call(unix.SYS_KEYCTL, program.Int(joinSessionKeyring), program.Int(0)).Ignore()
	}
	c.streams() // before: names are looked up from the working directory, which is the root now
	c.workDir()
	if c.wait != nil {
		c.wait()
	}
	if err := c.privileges(); err != nil {
		return err
	}
	p.Stage("close what is not inherited")
	const cloexec = 4
	p.Call(unix.SYS_CLOSE_RANGE, program.Int(firstFree(c.extra)), program.Uint(0xffffffff), program.Int(cloexec)).Ignore()
	e := program.Exec{Paths: c.paths(), Args: c.process.Args, Env: c.process.Env, Hold: c.hold}
	if c.reaper != "" {
		e.Paths, e.Args = []string{c.reaper}, append([]string{initName, strconv.Itoa(firstFree(c.extra) - 1)}, c.process.Args...)
	}
	switch {
	case !c.process.NoNewPrivileges || len(c.filter) == 0:
	case c.listen != nil:
		c.loadFilter()
	default:
		e.Filter, e.FilterFlags = c.filter, c.filterFlags
	}
	return p.AppendExec(e)
}

// workDir appends the change to the working directory. The lookup starts
// at the root and follows no magic link, so that a working directory of
// /proc/self/fd/N cannot lead out of it (CVE-2024-21626).
func (c *confinement) workDir() {
	p, cwd := c.p, c.process.Cwd
	if cwd == "" {
		cwd = "/"
	}
	p.Stage("change to the working directory %s", cwd)
	fd := p.Slot()
	how := &unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	p.Call(unix.SYS_CHDIR, p.Str("/"))
	p.Call(unix.SYS_OPENAT2, program.Int(unix.AT_FDCWD), p.Str(cwd), program.Ptr(p, how), program.Int(unix.SizeofOpenHow)).Into(fd)
	p.Call(unix.SYS_FCHDIR, fd.Arg())
	p.Call(unix.SYS_CLOSE, fd.Arg())
}

// streams appends the calls that put descriptors 0, 1, 2 and the further ones in place.
func (c *confinement) streams() {
	p := c.p
	p.Stage("set up the standard streams")
	p.Call(unix.SYS_CHDIR, p.Str("/"))
	owner := program.Int(int(c.process.User.UID))
	if c.ptyName != "" {
		tty := p.Slot()
		how := &unix.OpenHow{Flags: unix.O_RDWR | unix.O_NOCTTY | unix.O_CLOEXEC, Resolve: strict}
		p.Call(unix.SYS_OPENAT2, program.Int(unix.AT_FDCWD), p.Str(c.ptyName), program.Ptr(p, how), program.Int(unix.SizeofOpenHow)).Into(tty)
		for fd := range 3 {
			p.Call(unix.SYS_DUP3, tty.Arg(), program.Int(fd), program.Int(0))
		}
		p.Call(unix.SYS_IOCTL, program.Int(0), program.Int(unix.TIOCSCTTY), program.Int(0))
		p.Call(unix.SYS_FCHOWN, program.Int(0), owner, program.Int(-1)).Ignore()
	} else {
		for fd, f := range c.stdio {
			if f == nil && c.null != nil {
				p.Call(unix.SYS_DUP3, p.File(c.null), program.Int(fd), program.Int(0))
				continue
			}
			if f == nil {
				null := p.Slot()
				how := &unix.OpenHow{Flags: unix.O_RDWR | unix.O_NOCTTY | unix.O_CLOEXEC, Resolve: strict}
				p.Call(unix.SYS_OPENAT2, program.Int(unix.AT_FDCWD), p.Str("/dev/null"), program.Ptr(p, how), program.Int(unix.SizeofOpenHow)).Into(null)
				p.Call(unix.SYS_DUP3, null.Arg(), program.Int(fd), program.Int(0))
				continue
			}
			p.Call(unix.SYS_DUP3, p.File(f), program.Int(fd), program.Int(0))
			if isPipe(f) { // so that a user other than root can open /dev/stdout
				p.Call(unix.SYS_FCHOWN, program.Int(fd), owner, program.Int(-1)).Ignore()
			}
		}
	}
	for i, f := range c.extra {
		p.Call(unix.SYS_DUP3, p.File(f), program.Int(3+i), program.Int(0))
	}
}

func isPipe(f *os.File) bool {
	var st unix.Stat_t
	return unix.Fstat(int(f.Fd()), &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFIFO
}

// limits appends the resource limits.
func (c *confinement) limits() error {
	seen := map[int]bool{}
	for _, l := range c.process.Rlimits {
		n, ok := rlimit(l.Type)
		switch {
		case !ok:
			return errdefs.Invalid("resource limit %q is not known", l.Type)
		case seen[n]:
			return errdefs.Invalid("resource limit %s is listed twice", l.Type)
		case l.Soft > l.Hard:
			return errdefs.Invalid("resource limit %s: the soft limit %d is above the hard limit %d", l.Type, l.Soft, l.Hard)
		}
		seen[n] = true
		c.p.Stage("set %s to %d (hard %d)", l.Type, l.Soft, l.Hard)
		c.p.Call(unix.SYS_PRLIMIT64, program.Int(0), program.Int(n), program.Ptr(c.p, &unix.Rlimit{Cur: l.Soft, Max: l.Hard}), program.Int(0))
	}
	return nil
}

func rlimit(name string) (int, bool) {
	switch name {
	case "RLIMIT_CPU":
		return unix.RLIMIT_CPU, true
	case "RLIMIT_FSIZE":
		return unix.RLIMIT_FSIZE, true
	case "RLIMIT_DATA":
		return unix.RLIMIT_DATA, true
	case "RLIMIT_STACK":
		return unix.RLIMIT_STACK, true
	case "RLIMIT_CORE":
		return unix.RLIMIT_CORE, true
	case "RLIMIT_RSS":
		return unix.RLIMIT_RSS, true
	case "RLIMIT_NPROC":
		return unix.RLIMIT_NPROC, true
	case "RLIMIT_NOFILE":
		return unix.RLIMIT_NOFILE, true
	case "RLIMIT_MEMLOCK":
		return unix.RLIMIT_MEMLOCK, true
	case "RLIMIT_AS":
		return unix.RLIMIT_AS, true
	case "RLIMIT_LOCKS":
		return unix.RLIMIT_LOCKS, true
	case "RLIMIT_SIGPENDING":
		return unix.RLIMIT_SIGPENDING, true
	case "RLIMIT_MSGQUEUE":
		return unix.RLIMIT_MSGQUEUE, true
	case "RLIMIT_NICE":
		return unix.RLIMIT_NICE, true
	case "RLIMIT_RTPRIO":
		return unix.RLIMIT_RTPRIO, true
	case "RLIMIT_RTTIME":
		return unix.RLIMIT_RTTIME, true
	}
	return 0, false
}

// defaultPath is looked through when the environment has no PATH.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// paths are the files that the program may be, as execvp looks for them.
func (c *confinement) paths() []string {
	if c.path != "" {
		return []string{c.path}
	}
	name := c.process.Args[0]
	if strings.Contains(name, "/") {
		return []string{name}
	}
	if name == "" {
		return nil
	}
	search := defaultPath
	for _, kv := range c.process.Env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			search = v
		}
	}
	var paths []string
	for dir := range strings.SplitSeq(search, ":") {
		if path.IsAbs(dir) { // never from the working directory
			paths = append(paths, path.Join(dir, name))
		}
	}
	return paths
}

// privileges appends the change of user and the loss of rights, in the order
// that the kernel's rules make necessary: a filter without no_new_privs needs
// CAP_SYS_ADMIN, the bounding set CAP_SETPCAP, the groups CAP_SETGID.
func (c *confinement) privileges() error {
	p, user := c.p, c.process.User
	if err := c.label(); err != nil {
		return err
	}
	if c.process.NoNewPrivileges {
		p.Stage("set no_new_privs")
		p.Call(unix.SYS_PRCTL, program.Int(unix.PR_SET_NO_NEW_PRIVS), program.Int(1), program.Int(0), program.Int(0), program.Int(0))
	} else if len(c.filter) > 0 {
		c.loadFilter()
	}
	sets, err := capabilitySets(c.process.Capabilities)
	if err != nil {
		return err
	}
	p.Stage("drop capabilities from the bounding set")
	for n := range lastCap() + 1 {
		if sets.bounding&(1<<n) == 0 {
			p.Call(unix.SYS_PRCTL, program.Int(unix.PR_CAPBSET_DROP), program.Int(n), program.Int(0), program.Int(0), program.Int(0))
		}
	}
	p.Call(unix.SYS_PRCTL, program.Int(unix.PR_SET_KEEPCAPS), program.Int(1), program.Int(0), program.Int(0), program.Int(0))
	p.Stage("set the groups of user %d", user.UID)
	call := p.Call(unix.SYS_SETGROUPS, program.Int(len(user.AdditionalGids)), program.List(p, user.AdditionalGids))
	if !slices.ContainsFunc(user.AdditionalGids, func(g uint32) bool { return g != user.GID }) {
		call.Tolerate(unix.EPERM) // a user namespace without a range of groups
	}
	p.Stage("become user %d, group %d", user.UID, user.GID)
	uid, gid := program.Int(int(user.UID)), program.Int(int(user.GID))
	p.Call(unix.SYS_SETRESGID, gid, gid, gid)
	p.Call(unix.SYS_SETRESUID, uid, uid, uid)
	p.Call(unix.SYS_PRCTL, program.Int(unix.PR_SET_KEEPCAPS), program.Int(0), program.Int(0), program.Int(0), program.Int(0))
	sets.append(p)
	umask := uint32(0o022)
	if user.Umask != nil {
		umask = *user.Umask
	}
	p.Call(unix.SYS_UMASK, program.Int(int(umask)))
	if c.pdeathsig {
		// A change of user has cleared it.
		p.Stage("tie the container's life to its starter's")
		p.Call(unix.SYS_PRCTL, program.Int(unix.PR_SET_PDEATHSIG), program.Int(int(unix.SIGKILL)), program.Int(0), program.Int(0), program.Int(0))
	}
	return nil
}
