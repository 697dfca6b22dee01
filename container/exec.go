package container

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"

	"github.com/camada/camada/container/cgroup"
	"github.com/camada/camada/container/internal/program"
	"github.com/camada/camada/container/namespace"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/fsid"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// ExecConfig is a further process of a running container.
type ExecConfig struct {
	// Pid is a process of the container, its first as a rule.
	Pid int
	// Process says what runs, and as whom. With Terminal it gets a terminal of the container's.
	Process *specs.Process
	// SharedMounts tells that the container was started without a mount namespace of its own: its root file system is
	// that of Pid then, and not the root of a namespace. See SharesMounts.
	SharedMounts bool
	// Seccomp is the container's profile, nil for none; Personality its personality.
	Seccomp     *specs.LinuxSeccomp
	Personality *specs.LinuxPersonality
	// Bundle and Annotations are those of the container, for the agent of a profile with notifications.
	Bundle      string
	Annotations map[string]string
	// Agent is as in Config.
	Agent func(ctx context.Context, listener *os.File) error
	// Path is the program's file when it is not Process.Args[0].
	Path string
	// ID and CgroupsPath are those of the container; they name the cgroups to join.
	ID, CgroupsPath string
	// Stdin, Stdout, Stderr and ExtraFiles are as in Config.
	Stdin, Stdout, Stderr *os.File
	ExtraFiles            []*os.File
	// DieWithParent kills the process when its starter dies.
	DieWithParent bool
	// Leave is as in Config.
	Leave bool
	// Verify is called when all that is needed of Pid is open, and before anything is done with it: an error ends Exec. It
	// looks whether Pid is still the process that the caller means, as ids are used again. Nil trusts it.
	Verify func() error
}

// SharesMounts tells that a container of this spec has no mount namespace of its own.
func SharesMounts(s *specs.Spec) bool {
	if s.Linux == nil {
		return true
	}
	return !slices.ContainsFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.MountNamespace && n.Path == "" })
}

// Exec starts a process in a running container and returns when its program
// has been executed. Errors are as Start's; ErrNotFound when Pid does not run.
//
// All namespaces of Pid that are not the caller's own are joined, a user
// namespace too: the child has one thread, which the kernel asks for. The
// caller needs CAP_SYS_ADMIN over them: it is root, or the user who made the
// user namespace, or inside that.
func Exec(ctx context.Context, cfg ExecConfig) (*Process, error) {
	if cfg.Process == nil || cfg.Pid <= 0 {
		return nil, errdefs.Invalid("exec: a process and a pid are needed")
	}
	if err := checkProcess(cfg.Process); err != nil {
		return nil, fmt.Errorf("exec in process %d: %w", cfg.Pid, err)
	}
	e := &executor{cfg: cfg, filter: filter(cfg.Seccomp), p: program.New(firstFree(cfg.ExtraFiles))}
	defer e.close()
	proc, err := e.start(ctx)
	if err != nil {
		return nil, fmt.Errorf("exec in process %d: %w", cfg.Pid, startError(firstArg(cfg.Process), err))
	}
	return proc, nil
}

func firstArg(p *specs.Process) string {
	if len(p.Args) == 0 {
		return ""
	}
	return p.Args[0]
}

// executor is the state of one Exec.
type executor struct {
	cfg    ExecConfig
	filter <-chan compiled
	p      *program.Program
	joined namespace.Set
	files  []*os.File
	group  *cgroup.Group
	// root is the container's, null its /dev/null, nil when it is not needed.
	root, null *os.File
	pty        *os.File
	ptyName    string
	notice     *notice
	goWrite    *os.File
}

func (e *executor) close() {
	e.p.Close()
	e.joined.Close()
	for _, f := range e.files {
		f.Close()
	}
	if e.group != nil {
		_ = e.group.Close()
	}
}

func (e *executor) start(ctx context.Context) (_ *Process, err error) {
	if e.joined, err = namespace.Differing(e.cfg.Pid); err != nil {
		return nil, err
	}
	if !e.joined.Has(specs.MountNamespace) && !e.cfg.SharedMounts {
		return nil, errdefs.Invalid("process %d is in no container", e.cfg.Pid)
	}
	dir := "/proc/" + strconv.Itoa(e.cfg.Pid)
	if err := checkIDs(dir, e.cfg.Process); err != nil {
		return nil, err
	}
	e.cfg.Process = withGroups(dir, e.cfg.Process)
	if err := e.openRoot(dir + "/root"); err != nil {
		return nil, err
	}
	if err := e.findGroup(ctx); err != nil {
		return nil, err
	}
	if e.cfg.Process.Terminal {
		if e.pty, e.ptyName, err = containerPty(e.root, e.cfg.Pid); err != nil {
			return nil, err
		}
		if err := consoleSize(e.pty, e.cfg.Process); err != nil {
			e.pty.Close()
			return nil, err
		}
	}
	proc := &Process{Console: e.pty, done: make(chan struct{})}
	if err = e.compose(); err == nil && e.cfg.Verify != nil {
		err = e.cfg.Verify()
	}
	if err == nil {
		err = e.run(ctx, proc)
	}
	if err != nil && e.pty != nil {
		e.pty.Close()
	}
	if err != nil {
		return nil, err
	}
	return proc, nil
}

// findGroup opens the container's cgroups. A container without any, as of an
// ordinary user, has none to join.
func (e *executor) findGroup(ctx context.Context) error {
	if e.cfg.ID == "" && e.cfg.CgroupsPath == "" {
		return nil
	}
	layout, err := cgroup.Detect()
	if err != nil {
		return err
	}
	name, err := cgroup.Path(e.cfg.CgroupsPath, e.cfg.ID)
	if err != nil {
		return err
	}
	e.group, err = layout.Load(name)
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err == nil && layout.Apart {
		err = enter(ctx)
	}
	return err
}

func (e *executor) compose() error {
	p := e.p
	cpus := e.cfg.Process.ExecCPUAffinity
	if cpus == nil {
		cpus = &specs.CPUAffinity{}
	}
	if err := affinity(p, cpus.Initial); err != nil {
		return err
	}
	begin(p, e.cfg.DieWithParent, groupFiles(e.group, &e.files))
	if err := affinity(p, cpus.Final); err != nil {
		return err
	}
	if e.cfg.Process.OOMScoreAdj != nil {
		oomScore(p, *e.cfg.Process.OOMScoreAdj)
	}
	join(p, e.joined)
	if err := e.enterRoot(); err != nil {
		return err
	}
	if e.twoSteps() {
		second(p, 0)
	}
	if e.joined.Has(specs.UserNamespace) {
		becomeRoot(p)
	}
	p.Stage("begin a session")
	p.Call(unix.SYS_SETSID).Ignore()
	c := &confinement{
		p: p, process: e.cfg.Process, stdio: [3]*os.File{e.cfg.Stdin, e.cfg.Stdout, e.cfg.Stderr},
		extra: e.cfg.ExtraFiles, ptyName: e.ptyName, pdeathsig: e.cfg.DieWithParent, path: e.cfg.Path,
		personality: e.cfg.Personality, null: e.null,
	}
	f := <-e.filter
	if f.err != nil {
		return f.err
	}
	c.filter, c.filterFlags = f.Instructions, f.Flags
	if f.Notify {
		if err := e.listen(c); err != nil {
			return err
		}
	}
	return c.append()
}

// openRoot opens the container's root, and what stands for the streams that nobody gave.
func (e *executor) openRoot(name string) error {
	fd, err := unix.Open(name, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open the container's root: %w", err)
	}
	e.root = os.NewFile(uintptr(fd), name)
	e.files = append(e.files, e.root)
	if e.cfg.Process.Terminal || e.cfg.Stdin != nil && e.cfg.Stdout != nil && e.cfg.Stderr != nil {
		return nil
	}
	if e.null, err = openDevice(e.root, "dev/null", unix.Mkdev(1, 3), 0); err != nil {
		return fmt.Errorf("the container's /dev/null: %w", err)
	}
	e.files = append(e.files, e.null)
	return nil
}

// enterRoot appends the entering of a root file system that is no namespace's.
func (e *executor) enterRoot() error {
	if !e.cfg.SharedMounts {
		return nil
	}
	p := e.p
	p.Stage("enter the container's root file system")
	p.Call(unix.SYS_FCHDIR, p.File(e.root))
	p.Call(unix.SYS_CHROOT, p.Str("."))
	return nil
}

// listen prepares what the agent of the profile is told.
func (e *executor) listen(c *confinement) error {
	var err error
	if e.notice, err = noticeOf(e.cfg.Agent, e.cfg.Seccomp, e.cfg.ID, e.cfg.Bundle, specs.StateRunning, e.cfg.Annotations); err != nil {
		return err
	}
	read, write, err := goPipe()
	if err != nil {
		return err
	}
	e.goWrite = write
	e.files = append(e.files, read, write)
	c.listen = func() { waitFor(e.p, read) }
	return nil
}

func (e *executor) twoSteps() bool {
	return e.joined.Has(specs.PIDNamespace)
}

func (e *executor) run(ctx context.Context, proc *Process) error {
	opts := program.ForkOptions{CgroupFD: -1}
	if e.group != nil {
		opts.CgroupFD = e.group.FD()
	}
	child, err := forkProgram(e.p, opts, e.cfg.DieWithParent, proc)
	if err != nil {
		return err
	}
	defer child.Close()
	proc.pid = child.Pid
	if e.twoSteps() {
		err = proc.adopt(ctx, child)
	}
	if err == nil {
		stop := context.AfterFunc(ctx, func() { _ = proc.Signal(unix.SIGKILL) })
		_, err = e.notice.next(ctx, child, proc.pid, e.cfg.Pid, func() error { return goOn(e.goWrite) })
		stop()
		if err != nil || ctx.Err() != nil {
			err = ended(ctx, err)
		}
	}
	if err != nil {
		proc.abort()
		return err
	}
	if !e.cfg.Leave {
		go proc.collect()
	}
	return nil
}

// openDevice opens a character device of a container, whose processes are not trusted: no link is followed, and it is opened when it
// was seen to be what it should be: also of a file system of this type, 0 for any.
func openDevice(root *os.File, name string, device uint64, fstype int64) (*os.File, error) {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: strict}
	at, err := unix.Openat2(int(root.Fd()), name, &how)
	if err != nil {
		return nil, err
	}
	defer unix.Close(at)
	var st unix.Stat_t
	if err := unix.Fstat(at, &st); err != nil {
		return nil, err
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(at, &fs); err != nil {
		return nil, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != device || fstype != 0 && fs.Type != fstype {
		return nil, errdefs.Unsupported("it is something else than the device of this name")
	}
	fd, err := unix.Open("/proc/self/fd/"+strconv.Itoa(at), unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "/"+name), nil
}

// newTerminal takes a new terminal from a devpts. It belongs to who opens it: that is root of the container, as he is here.
func newTerminal(base *os.File, name string, uid, gid int) (f *os.File, err error) {
	err = fsid.As(uid, gid, func() error {
		f, err = openDevice(base, name, unix.Mkdev(5, 2), unix.DEVPTS_SUPER_MAGIC)
		return err
	})
	return f, err
}

// containerPty takes a new terminal from the devpts of a running container, of which pid is a process.
func containerPty(root *os.File, pid int) (*os.File, string, error) {
	uids, err := readIDs(pid, "uid_map")
	if err != nil {
		return nil, "", err
	}
	gids, err := readIDs(pid, "gid_map")
	if err != nil {
		return nil, "", err
	}
	f, err := newTerminal(root, "dev/pts/ptmx", hostID(uids, 0), hostID(gids, 0))
	if err != nil {
		return nil, "", fmt.Errorf("open a terminal of the container: %w", err)
	}
	return unlockPty(f)
}
