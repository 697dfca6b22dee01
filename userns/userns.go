// Package userns runs this program as root of a user namespace, which is how an
// ordinary user gets mounts, owners of files and containers.
//
// The face calls it before any work:
//
//	if userns.IsChild() {          // the first step inside
//		userns.RunChild()          // does not return
//	}
//	...
//	if os.Geteuid() != 0 {
//		code, err := userns.Reexec(ctx, userns.Options{})
//		os.Exit(code)
//	}
//
// The namespace has the user as id 0 and, where /etc/subuid and /etc/subgid
// grant ranges and newuidmap and newgidmap are installed, the ranges as ids from 1
// on. Without them it has id 0 only.
//
//	parent                         child (new user and mount namespace)
//	  clone, exec self ───────────► waits on descriptor 3: its ids are not mapped yet,
//	  newuidmap, newgidmap            so the exec took its capabilities away
//	  write one byte ─────────────► exec self once more: now as id 0, with all
//	  wait, pass signals on           capabilities in the namespace
package userns

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"os/user"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"github.com/camada/camada/errdefs"
	"golang.org/x/sys/unix"
)

const (
	childName = "camada-userns"
	// EnvUID and EnvGID hold the ids of the user outside, for the program inside.
	EnvUID = "_CAMADA_ROOTLESS_UID"
	EnvGID = "_CAMADA_ROOTLESS_GID"
	// envParent holds the id of the process that Reexec runs in.
	envParent = "_CAMADA_ROOTLESS_PARENT"

	stateFD     = 3
	minRange    = 1000 // a smaller range is of no use for images
	maxSubIDRow = 1 << 20
)

// Rootless reports whether this process is inside a namespace that Reexec made.
func Rootless() bool { return os.Getenv(EnvUID) != "" }

// OuterID returns the user's ids outside of the namespace, or this process's own.
func OuterID() (uid, gid int) {
	uid, gid = os.Geteuid(), os.Getegid()
	if u, err := strconv.Atoi(os.Getenv(EnvUID)); err == nil {
		uid = u
	}
	if g, err := strconv.Atoi(os.Getenv(EnvGID)); err == nil {
		gid = g
	}
	return uid, gid
}

// OneID reports whether this process is inside a user namespace that has but one user id.
func OneID() bool {
	b, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return false
	}
	rows := strings.Fields(string(b))
	return len(rows) == 3 && rows[2] == "1"
}

// Nested reports whether this process is in another user namespace than the machine's first, whoever made it.
func Nested() bool {
	b, err := os.ReadFile("/proc/self/uid_map")
	return err == nil && strings.Join(strings.Fields(string(b)), " ") != "0 0 4294967295"
}

// IsChild reports whether this process is the child of Reexec whose ids are not yet mapped.
func IsChild() bool { return len(os.Args) > 0 && os.Args[0] == childName }

// RunChild waits for the ids and becomes the program that Reexec was asked
// for. It does not return.
func RunChild() {
	f := os.NewFile(stateFD, "userns")
	var b [1]byte
	if _, err := io.ReadFull(f, b[:]); err != nil {
		os.Exit(1) // the parent is gone or has said why
	}
	f.Close()
	// Mounts made here do not show outside: the kernel makes what was shared a slave in a mount namespace
	// of a new user namespace (mount_namespaces(7)). It could not be done here: the exec took the rights away.
	err := syscall.Exec("/proc/self/exe", append([]string{"camada"}, os.Args[1:]...), os.Environ())
	fmt.Fprintln(os.Stderr, "camada: start in the user namespace:", err)
	os.Exit(125)
}

// TieToParent lets this process die with the one that Reexec runs in, where that is its
// parent: whoever kills the command that he typed kills its work. A detached process that it
// starts is not tied.
func TieToParent() {
	parent, err := strconv.Atoi(os.Getenv(envParent))
	if err != nil || os.Getppid() != parent {
		return
	}
	// The change of rights on the way here has cleared what was set before.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err == nil && os.Getppid() != parent {
		os.Exit(125) // it died meanwhile
	}
}

// Options of Reexec.
type Options struct {
	// Args are the arguments; nil is os.Args[1:].
	Args []string
	// Root is a directory to find /etc/subuid and /etc/subgid in; "" is "/".
	Root string
	// Shared is a directory of the user's: commands that name the same one share one user namespace, as long as one of them or something that
	// called Stay runs. "" makes a namespace for this command alone.
	Shared string
	// Join starts this program again in a user namespace (package container/join). It is needed with Shared.
	Join func(ns *os.File, args, env []string) (pid int, err error)
}

// Reexec runs this program again as root of a new user namespace, or of one that is shared, with the same
// standard streams, passes signals on, and returns its exit code.
func Reexec(ctx context.Context, opts Options) (int, error) {
	if opts.Args == nil {
		opts.Args = os.Args[1:]
	}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, forwarded()...)
	defer signal.Stop(signals)
	// The child's parent is the thread that makes it: that must live as long.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	p, err := opts.start(ctx)
	if err != nil {
		return 125, err
	}
	go func() {
		for s := range signals {
			if !fromTerminal(s) {
				_ = p.Signal(s)
			}
		}
	}()
	return exitCode(p.Wait())
}

// start starts the program inside.
func (o Options) start(ctx context.Context) (*os.Process, error) {
	uid, gid := os.Geteuid(), os.Getegid()
	env := append(os.Environ(), EnvUID+"="+strconv.Itoa(uid), EnvGID+"="+strconv.Itoa(gid), envParent+"="+strconv.Itoa(os.Getpid()))
	uids, gids := ranges(o.Root, uid, gid)
	useRanges := uids.count > 0 && gids.count > 0
	if o.Shared == "" {
		return o.fresh(ctx, env, uids, gids)
	}
	s, err := openShared(ctx, o.Shared)
	if err != nil {
		return nil, err
	}
	defer s.close()
	var p *os.Process
	if ns := s.find(mapsOf(uid, uids, useRanges), mapsOf(gid, gids, useRanges)); ns != nil {
		p = o.joined(ns, env)
	}
	if p == nil {
		if p, err = o.fresh(ctx, env, uids, gids); err != nil {
			return nil, err
		}
	}
	if err := s.add(p.Pid); err != nil {
		_ = p.Kill()
		_, _ = p.Wait()
		return nil, err
	}
	return p, nil
}

// fresh starts the program in a new namespace.
func (o Options) fresh(ctx context.Context, env []string, uids, gids idRange) (*os.Process, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe: %w", err)
	}
	defer w.Close()
	uid, gid := os.Geteuid(), os.Getegid()
	cmd := &exec.Cmd{
		Path: "/proc/self/exe", Args: append([]string{childName}, o.Args...),
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, ExtraFiles: []*os.File{r}, Env: env,
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS}
	useRanges := uids.count > 0 && gids.count > 0
	if !useRanges {
		// Go writes the maps itself, before the exec.
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: gid, Size: 1}}
	}
	err = cmd.Start()
	r.Close()
	if err != nil {
		return nil, startError(err)
	}
	if useRanges {
		err = mapRanges(ctx, cmd.Process.Pid, uid, gid, uids, gids)
	}
	if err == nil {
		if _, err = w.Write([]byte{1}); err != nil {
			err = fmt.Errorf("start in the user namespace: %w", err)
		}
	}
	if err != nil {
		w.Close() // it ends
		_ = cmd.Wait()
		return nil, err
	}
	return cmd.Process, nil
}

func startError(err error) error {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EUSERS):
		return errdefs.Unsupported("user namespaces cannot be made here: %w; as root set the sysctls user.max_user_namespaces and, where there is one, kernel.unprivileged_userns_clone, or run camada as root", err)
	}
	return fmt.Errorf("make a user namespace: %w", err)
}

func exitCode(st *os.ProcessState, err error) (int, error) {
	if err != nil {
		return 125, fmt.Errorf("wait for the program in the user namespace: %w", err)
	}
	if ws, ok := st.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal()), nil
	}
	return st.ExitCode(), nil
}

// forwarded are the signals that ask a program to do something, or that wake it.
func forwarded() []os.Signal {
	return []os.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2, unix.SIGWINCH, unix.SIGCONT}
}

// fromTerminal reports whether the child has got the signal too: those that a terminal sends go
// to all processes of its foreground group, and twice is not the same as once.
func fromTerminal(s os.Signal) bool {
	if s != unix.SIGINT && s != unix.SIGQUIT && s != unix.SIGWINCH {
		return false
	}
	fd, err := unix.Open("/dev/tty", unix.O_RDONLY|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	group, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// idRange is one row of /etc/subuid or /etc/subgid.
type idRange struct{ start, count int }

// ranges returns the largest range of each kind, or none when they or the
// programs that set them are missing.
func ranges(root string, uid, gid int) (uids, gids idRange) {
	for _, p := range []string{"newuidmap", "newgidmap"} {
		if _, err := exec.LookPath(p); err != nil {
			return idRange{}, idRange{}
		}
	}
	names := []string{strconv.Itoa(uid)}
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		names = append(names, u.Username)
	}
	return subIDs(root+"/etc/subuid", names), subIDs(root+"/etc/subgid", names)
}

// subIDs reads name:start:count rows (subuid(5)).
func subIDs(file string, names []string) (best idRange) {
	f, err := os.Open(file)
	if err != nil {
		return idRange{}
	}
	defer f.Close()
	sc := bufio.NewScanner(io.LimitReader(f, maxSubIDRow))
	for sc.Scan() {
		parts := strings.Split(strings.TrimSpace(sc.Text()), ":")
		if len(parts) != 3 || parts[0] != names[0] && parts[0] != names[len(names)-1] {
			continue
		}
		start, err1 := strconv.Atoi(parts[1])
		count, err2 := strconv.Atoi(parts[2])
		if err1 == nil && err2 == nil && start > 0 && count >= minRange && count > best.count {
			best = idRange{start, count}
		}
	}
	return best
}

func mapRanges(ctx context.Context, pid, uid, gid int, uids, gids idRange) error {
	for _, m := range []struct {
		program string
		id      int
		r       idRange
	}{{"newuidmap", uid, uids}, {"newgidmap", gid, gids}} {
		cmd := exec.CommandContext(ctx, m.program, strconv.Itoa(pid), "0", strconv.Itoa(m.id), "1",
			"1", strconv.Itoa(m.r.start), strconv.Itoa(m.r.count))
		cmd.Env = []string{} // it needs none, and the user's may have secrets in it
		out, err := cmd.CombinedOutput()
		if err != nil {
			return errdefs.Unsupported("%s could not map the ids of the user namespace: %w: %s; check /etc/subuid, /etc/subgid and that the program is setuid root", m.program, err, strings.TrimSpace(string(out)))
		}
	}
	return nil
}
