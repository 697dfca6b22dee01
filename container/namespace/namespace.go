// Package namespace names the kernel's namespaces and finds those of processes.
//
//	set, err := namespace.Differing(pid)  // what a process has to join to be beside pid
//	defer set.Close()
package namespace

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// kinds are in the order in which they are to be joined: the user namespace
// first, as it gives the rights to join the others; the mount namespace last,
// as the files of /proc are out of reach after it.
func kinds() []kind {
	return []kind{
		{specs.UserNamespace, "user", unix.CLONE_NEWUSER},
		{specs.CgroupNamespace, "cgroup", unix.CLONE_NEWCGROUP},
		{specs.IPCNamespace, "ipc", unix.CLONE_NEWIPC},
		{specs.UTSNamespace, "uts", unix.CLONE_NEWUTS},
		{specs.TimeNamespace, "time", unix.CLONE_NEWTIME},
		{specs.NetworkNamespace, "net", unix.CLONE_NEWNET},
		{specs.PIDNamespace, "pid", unix.CLONE_NEWPID},
		{specs.MountNamespace, "mnt", unix.CLONE_NEWNS},
	}
}

type kind struct {
	typ  specs.LinuxNamespaceType
	file string
	flag uintptr
}

// Flag gives the CLONE_NEW* flag of a type of the runtime-spec. ErrUnsupported
// for unknown types.
func Flag(t specs.LinuxNamespaceType) (uintptr, error) {
	for _, k := range kinds() {
		if k.typ == t {
			return k.flag, nil
		}
	}
	return 0, errdefs.Unsupported("namespace of type %q", t)
}

// Joined is a namespace to be joined with setns(File, Flag).
type Joined struct {
	Type specs.LinuxNamespaceType
	Flag uintptr
	File *os.File
}

// Set is namespaces in the order of joining.
type Set []Joined

// Close closes all files.
func (s Set) Close() {
	for _, j := range s {
		j.File.Close()
	}
}

// Has tells whether a namespace of type t is in the set.
func (s Set) Has(t specs.LinuxNamespaceType) bool {
	for _, j := range s {
		if j.Type == t {
			return true
		}
	}
	return false
}

// Open opens the namespaces that have a path in list. Those that the caller is
// in already are left out: there is nothing to join. ErrInvalid when a path leads to something else than a namespace
// of its type.
func Open(list []specs.LinuxNamespace) (Set, error) {
	var set Set
	for _, k := range kinds() {
		for _, n := range list {
			if n.Type != k.typ || n.Path == "" {
				continue
			}
			if err := set.add(k, n.Path); err != nil {
				set.Close()
				return nil, err
			}
			if err := set.verify(); err != nil {
				set.Close()
				return nil, fmt.Errorf("%s: %w", n.Path, err)
			}
		}
	}
	return set, nil
}

// Differing opens those namespaces of process pid that the caller is not in.
// ErrNotFound when there is no such process.
func Differing(pid int) (Set, error) {
	var set Set
	for _, k := range kinds() {
		err := set.add(k, "/proc/"+strconv.Itoa(pid)+"/ns/"+k.file)
		if k.typ == specs.TimeNamespace && errors.Is(err, os.ErrNotExist) {
			continue // before Linux 5.6; should the process be gone, the next one tells
		}
		if err != nil {
			set.Close()
			if errors.Is(err, os.ErrNotExist) {
				err = errdefs.With(errdefs.ErrNotFound, err)
			}
			return nil, fmt.Errorf("process %d: %w", pid, err)
		}
	}
	return set, nil
}

// add opens one namespace, unless it is the caller's own.
func (s *Set) add(k kind, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open %s namespace: %w", k.file, err)
	}
	same, err := own(f, k.file)
	if err != nil || same {
		f.Close()
		return err
	}
	*s = append(*s, Joined{Type: k.typ, Flag: k.flag, File: f})
	return nil
}

// verify looks whether the last one is a namespace of its type.
func (s Set) verify() error {
	if len(s) == 0 {
		return nil
	}
	last := s[len(s)-1]
	flag, err := unix.IoctlRetInt(int(last.File.Fd()), unix.NS_GET_NSTYPE)
	if err != nil || uintptr(flag) != last.Flag {
		return errdefs.Invalid("is not a %s namespace", last.Type)
	}
	return nil
}

// own tells whether f is the namespace that the caller is in.
func own(f *os.File, file string) (bool, error) {
	var theirs, mine unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &theirs); err != nil {
		return false, fmt.Errorf("look at %s: %w", f.Name(), err)
	}
	if err := unix.Stat("/proc/self/ns/"+file, &mine); err != nil {
		return false, fmt.Errorf("look at own %s namespace: %w", file, err)
	}
	return theirs.Dev == mine.Dev && theirs.Ino == mine.Ino, nil
}
