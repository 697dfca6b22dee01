package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"

	"github.com/camada/camada/container/cgroup"
	"github.com/camada/camada/container/internal/program"
	"github.com/camada/camada/container/namespace"
	"github.com/camada/camada/container/seccomp"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/mount"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Start starts a container and returns when its program has been executed. On
// an error nothing of it is left. The error is a *StartError when only the
// program itself was the cause; ErrInvalid when the spec is wrong,
// ErrUnsupported when this machine cannot do what it asks.
//
//	parent                                child (a fork; system calls only)
//	make the cgroups
//	make all mounts, detached
//	fork ------------------------------>  enter the v1 cgroups, join namespaces
//	write the uid and gid maps --------->  (waits, with a new user namespace)
//	                                      mount proc, sysfs; enter the root
//	Network(pid)                          attach, mask, freeze the mounts
//	Created(pid) ---- go --------------->  (waits, when either is set)
//	                                      give up privileges, execute the stub
//	end of the status pipe <-------------  execute the program
//
// A child that fails sends the position of the call and the errno over the
// status pipe and ends.
func Start(ctx context.Context, cfg Config) (*Process, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	filter := filter(cfg.Spec.Linux.Seccomp)
	group, unit, err := makeGroup(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer unit.close()
	cfg.stage("control group")
	s := &starter{cfg: cfg, spec: cfg.Spec, group: group, filter: filter, p: program.New(firstFree(cfg.ExtraFiles))}
	proc, err := s.start(ctx)
	s.close()
	if err != nil {
		// The child is dead or being killed; the caller's ctx may be, too.
		err = errors.Join(err, removeGroup(context.WithoutCancel(ctx), group))
		return nil, fmt.Errorf("start container %s: %w", cfg.ID, err)
	}
	return proc, nil
}

func (c Config) stage(name string) {
	if c.Stage != nil {
		c.Stage(name)
	}
}

// starter is the state of one Start.
type starter struct {
	cfg    Config
	spec   *specs.Spec
	group  *cgroup.Group
	filter <-chan compiled
	p      *program.Program
	tree   *tree
	joined namespace.Set
	// fresh are the new namespaces, flags their CLONE_NEW* flags.
	fresh map[specs.LinuxNamespaceType]bool
	flags uintptr
	// goRead and goWrite are the pipe over which the parent lets the child go on.
	goRead, goWrite *os.File
	// heard ends when the init program listens to signals; told is the child's end of it.
	heard, told *os.File
	hold        *holding
	groupFiles  []*os.File
	notice      *notice
}

func (s *starter) close() {
	s.p.Close()
	s.hold.close()
	s.joined.Close()
	if s.tree != nil {
		s.tree.Close()
	}
	for _, f := range append(s.groupFiles, s.goRead, s.goWrite, s.heard, s.told) {
		if f != nil {
			f.Close()
		}
	}
}

func (s *starter) start(ctx context.Context) (*Process, error) {
	if err := s.compose(); err != nil {
		if s.tree != nil && s.tree.pty != nil {
			s.tree.pty.Close()
		}
		return nil, err
	}
	proc := &Process{Console: s.tree.pty, group: s.group, done: make(chan struct{}), ownPids: s.fresh[specs.PIDNamespace]}
	s.cfg.stage("list of system calls, mounts")
	child, err := s.fork(proc)
	if err == nil {
		s.cfg.stage("fork into namespaces")
		err = s.follow(ctx, child, proc)
		child.Close()
	}
	if err != nil && proc.Console != nil {
		proc.Console.Close()
	}
	if err != nil {
		return nil, err
	}
	return proc, nil
}

// compose builds the child's program.
func (s *starter) compose() error {
	if err := s.namespaces(); err != nil {
		return err
	}
	if s.cfg.Verify != nil {
		if err := s.cfg.Verify(); err != nil {
			return err
		}
	}
	var err error
	if s.goRead, s.goWrite, err = goPipe(); err != nil {
		return err
	}
	if s.cfg.Hold != "" {
		if s.hold, err = newHold(s.cfg.Hold); err != nil {
			return err
		}
		s.p.Status(s.hold.takeStatus())
	}
	if err := s.makeTree(); err != nil {
		return err
	}
	s.begin()
	if err := s.makeMounts(); err != nil {
		return err
	}
	return s.finish()
}

func (s *starter) makeTree() error {
	m := s.cfg.Rootfs
	if m.Kind == "" {
		if s.spec.Root == nil || s.spec.Root.Path == "" {
			return errdefs.Invalid("no root file system was given")
		}
		m = mount.Mount{Kind: mount.Bind, Source: s.spec.Root.Path}
	}
	uids, gids, err := s.idMaps()
	if err != nil {
		return err
	}
	var root *os.File
	if s.cfg.MapOwners && uids != nil {
		root, err = mappedRoot(m, uids, gids)
	} else {
		root, err = mount.Detached(m)
	}
	if err != nil {
		return fmt.Errorf("root file system: %w", err)
	}
	s.tree = &tree{
		uids: uids, gids: gids,
		p: s.p, root: root, mountLabel: knownLabel(s.spec.Linux.MountLabel), inOrder: s.cfg.InOrder, close: []*os.File{root}, detached: s.cfg.Detached, mountPoint: s.cfg.MountPoint,
	}
	if s.group != nil {
		s.tree.groups = s.group.Dirs()
	}
	s.tree.uid, s.tree.gid = hostID(s.tree.uids, 0), hostID(s.tree.gids, 0)
	return nil
}

// begin appends what the child does up to being in its namespaces.
func (s *starter) begin() {
	p := s.p
	begin(p, s.cfg.DieWithParent, groupFiles(s.group, &s.groupFiles))
	if s.spec.Process.OOMScoreAdj != nil {
		oomScore(p, *s.spec.Process.OOMScoreAdj)
	}
	s.enterNamespaces()
	p.Stage("begin a session")
	p.Call(unix.SYS_SETSID).Ignore()
	if !s.fresh[specs.MountNamespace] {
		return
	}
	p.Stage("make the mounts private")
	p.Call(unix.SYS_MOUNT, program.Int(0), p.Str("/"), program.Int(0), program.Int(unix.MS_REC|unix.MS_PRIVATE), program.Int(0))
}

// wait appends a wait for one byte of the parent.
func (s *starter) wait() { waitFor(s.p, s.goRead) }

// makeMounts puts the file system together.
func (s *starter) makeMounts() error {
	t, linux := s.tree, s.spec.Linux
	if err := t.prepare(s.spec.Mounts); err != nil {
		return err
	}
	if err := t.populateDev(s.spec); err != nil {
		return err
	}
	if s.spec.Process.Terminal {
		if err := t.openTerminal(); err != nil {
			return err
		}
		if err := consoleSize(t.pty, s.spec.Process); err != nil {
			return err
		}
	}
	if s.cfg.Init {
		exe, err := os.Executable()
		if err != nil {
			return fmt.Errorf("find the init program: %w", err)
		}
		if err := t.bind(exe, initPath, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID); err != nil {
			return err
		}
	}
	if cwd := s.spec.Process.Cwd; cwd != "" {
		// Docker makes a working directory that is not there; a read-only root refuses later.
		t.mountPoint = nil // it is no mount point, and stays
		_, _ = t.resolve(cwd, directory)
	}
	if err := s.enter(); err != nil {
		return err
	}
	if s.fresh[specs.NetworkNamespace] {
		loopback(s.p)
	}
	for key, value := range linux.Sysctl {
		if err := t.sysctl(key, value, s.own); err != nil {
			return err
		}
	}
	if err := t.mask(linux.MaskedPaths); err != nil {
		return err
	}
	for _, name := range linux.ReadonlyPaths {
		t.freeze(name)
	}
	if err := s.propagation(); err != nil {
		return err
	}
	s.joinMounts()
	return nil
}

// enter appends the entering of the root file system and the attaching of the mounts.
func (s *starter) enter() error {
	t, borrowed, inOrder := s.tree, !s.fresh[specs.MountNamespace], s.cfg.InOrder
	switch {
	case s.cfg.Mounted == nil && borrowed:
		s.borrowMounts()
	case s.cfg.Mounted == nil && inOrder:
		old := t.showRoot("/")
		t.attach()
		t.cloneRoot("/")
		t.leaveHost(old, 2) // the first root file system lies over the host's
	case s.cfg.Mounted == nil:
		t.enterRoot()
		t.attach()
	case borrowed:
		s.waitMounted()
		s.borrowMounts()
	case s.spec.Root == nil || !path.IsAbs(s.spec.Root.Path):
		return errdefs.Invalid("root path: has to be absolute to be shown to others")
	default:
		old := t.showRoot(s.spec.Root.Path)
		t.attach()
		if inOrder {
			t.cloneRoot(s.spec.Root.Path)
		}
		s.waitMounted()
		t.leaveHost(old, 1)
	}
	return nil
}

// waitMounted appends the wait for Config.Mounted.
func (s *starter) waitMounted() {
	s.p.Stage("wait for the hooks")
	s.p.Ready()
	s.wait()
}

// propagation appends what concerns the root mount as a whole.
func (s *starter) propagation() error {
	p := s.p
	if s.spec.Root != nil && s.spec.Root.Readonly {
		p.Stage("make the root file system read-only")
		s.tree.setReadOnly(program.Int(unix.AT_FDCWD), "/", 0)
	}
	var flag int
	kind, all := strings.CutPrefix(s.spec.Linux.RootfsPropagation, "r")
	switch kind {
	case "", "private":
		return nil
	case "shared":
		flag = unix.MS_SHARED
	case "slave":
		flag = unix.MS_SLAVE
	case "unbindable":
		flag = unix.MS_UNBINDABLE
	default:
		return errdefs.Invalid("root propagation %q is not known", s.spec.Linux.RootfsPropagation)
	}
	if all {
		flag |= unix.MS_REC
	}
	p.Stage("set the propagation of the root file system")
	p.Call(unix.SYS_MOUNT, program.Int(0), p.Str("/"), program.Int(0), program.Int(flag), program.Int(0))
	return nil
}

// finish appends host name and the confinement of the process.
func (s *starter) finish() error {
	p := s.p
	if s.spec.Hostname != "" {
		p.Stage("set the host name")
		p.Call(unix.SYS_SETHOSTNAME, p.Str(s.spec.Hostname), program.Int(len(s.spec.Hostname)))
	}
	if s.spec.Domainname != "" {
		p.Stage("set the domain name")
		p.Call(unix.SYS_SETDOMAINNAME, p.Str(s.spec.Domainname), program.Int(len(s.spec.Domainname)))
	}
	c := &confinement{
		noKeyring: s.cfg.NoNewKeyring,
		p:         p, process: s.process(), stdio: [3]*os.File{s.cfg.Stdin, s.cfg.Stdout, s.cfg.Stderr},
		extra: s.cfg.ExtraFiles, ptyName: s.tree.ptyName, pdeathsig: s.cfg.DieWithParent,
		personality: s.spec.Linux.Personality, memoryPolicy: s.spec.Linux.MemoryPolicy,
	}
	if s.cfg.Init {
		var err error
		if s.heard, s.told, err = os.Pipe(); err != nil {
			return fmt.Errorf("start the init program: %w", err)
		}
		c.reaper, c.extra = initPath, append(slices.Clip(c.extra), s.told)
	}
	if s.gated() {
		c.wait = func() {
			p.Stage("wait for the network")
			p.Ready()
			s.wait()
		}
	}
	if s.hold != nil {
		c.hold = s.holdHere
	}
	f := <-s.filter
	if f.err != nil {
		return f.err
	}
	c.filter, c.filterFlags = f.Instructions, f.Flags
	if f.Notify {
		var err error
		if s.notice, err = noticeOf(s.cfg.Agent, s.spec.Linux.Seccomp, s.cfg.ID, s.cfg.Bundle, specs.StateCreating, s.spec.Annotations); err != nil {
			return err
		}
		c.listen = s.wait
	}
	return c.append()
}

// holdHere appends the wait for Release.
func (s *starter) holdHere() {
	p := s.p
	p.Stage("wait to be started")
	p.Ready()
	p.Call(unix.SYS_READ, p.File(s.hold.gate), program.Ptr(p, new([8]byte)), program.Int(1))
}

// process is what is asked for, as far as there are groups.
func (s *starter) process() *specs.Process {
	if s.inUserNamespace() {
		return s.spec.Process
	}
	return withGroups("/proc/self", s.spec.Process)
}

// gated tells that the child waits for the parent before it goes on.
func (s *starter) gated() bool { return s.cfg.Network != nil || s.cfg.Created != nil }

// compiled is a seccomp filter, or why there is none.
type compiled struct {
	seccomp.Filter
	err error
}

// filter compiles a seccomp profile while the caller does other things: it
// takes about a tenth of a start.
func filter(profile *specs.LinuxSeccomp) <-chan compiled {
	c := make(chan compiled, 1)
	if profile == nil {
		c <- compiled{}
		return c
	}
	go func() {
		f, err := seccomp.Compile(profile, runtime.GOARCH)
		if err != nil {
			c <- compiled{err: fmt.Errorf("seccomp profile: %w", err)}
			return
		}
		c <- compiled{Filter: *f}
	}()
	return c
}
