package container

import (
	"fmt"
	"os"
	"strings"

	"github.com/camada/camada/container/internal/program"
	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Labels of the kernel's security modules. A label of a process whose module the kernel does not have is an error: a container that
// shall be confined by a profile does not run without.

// label is a text for a file of /proc/thread-self/attr.
type label struct{ file, text string }

// labels gives those of a process.
func labels(p *specs.Process) ([]label, error) {
	var list []label
	if profile := p.ApparmorProfile; profile != "" {
		switch {
		case strings.ContainsAny(profile, "\x00\n"):
			return nil, errdefs.Invalid("apparmorProfile %q: is not a name", profile)
		case hasAppArmor():
			file := "apparmor/exec"
			if unix.Access("/proc/thread-self/attr/"+file, unix.F_OK) != nil { // before Linux 5.8
				file = "exec"
			}
			list = append(list, label{file, "exec " + profile})
		case profile != "unconfined":
			return nil, errdefs.Unsupported("apparmorProfile %s: this kernel has no AppArmor, or it is switched off", profile)
		}
	}
	if p.SelinuxLabel != "" {
		if !hasSELinux() {
			return nil, errdefs.Unsupported("selinuxLabel %s: this kernel has no SELinux, or it is switched off", p.SelinuxLabel)
		}
		list = append(list, label{"exec", p.SelinuxLabel})
	}
	return list, nil
}

func hasAppArmor() bool {
	b, err := os.ReadFile("/sys/module/apparmor/parameters/enabled")
	return err == nil && strings.HasPrefix(string(b), "Y")
}

func hasSELinux() bool { return unix.Access("/sys/fs/selinux/enforce", unix.F_OK) == nil }

// openProc opens the caller's /proc for label: that of a container, where its processes may have put something else, does
// not count (CVE-2019-16884).
func openProc() (*os.File, error) {
	fd, err := unix.Open("/proc", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open /proc: %w", err)
	}
	return os.NewFile(uintptr(fd), "/proc"), nil
}

// label appends the writing of the labels that the process has from its next execution on.
func (c *confinement) label() error {
	list, err := labels(c.process)
	if err != nil || len(list) == 0 {
		return err
	}
	p := c.p
	dir, err := openProc()
	if err != nil {
		return err
	}
	p.Own(dir)
	proc := p.File(dir)
	for _, l := range list {
		p.Stage("set the label %q", l.text)
		fd := p.Slot()
		how := &unix.OpenHow{Flags: unix.O_WRONLY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV}
		p.Call(unix.SYS_OPENAT2, proc, p.Str("thread-self/attr/"+l.file), program.Ptr(p, how), program.Int(unix.SizeofOpenHow)).Into(fd)
		p.Call(unix.SYS_WRITE, fd.Arg(), p.Str(l.text), program.Int(len(l.text)))
		p.Call(unix.SYS_CLOSE, fd.Arg())
	}
	return nil
}

// labelled adds the label of the container's mounts to the options of a new file system.
func (t *tree) labelled(params []string) []string {
	if t.mountLabel == "" {
		return params
	}
	return append([]string{"context=" + t.mountLabel}, params...)
}

// checkMountLabel refuses what is no label.
func checkMountLabel(name string) error {
	if strings.ContainsAny(name, "\"\x00\n") {
		return errdefs.Invalid("mountLabel %q: is not a label", name)
	}
	return nil
}

// knownLabel is a mount label, or "" where the kernel has no SELinux: it confines no process, and nobody would look at it there.
func knownLabel(name string) string {
	if name == "" || !hasSELinux() {
		return ""
	}
	return name
}
