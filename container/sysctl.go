package container

import (
	"path"
	"strings"

	"github.com/camada/camada/container/internal/program"
	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// sysctl appends the calls that write a kernel parameter. Only parameters that
// belong to one of the container's own namespaces are allowed.
func (t *tree) sysctl(key, value string, own func(specs.LinuxNamespaceType) bool) error {
	name := sysctlFile(key)
	first, _, _ := strings.Cut(name, "/")
	ok := false
	switch {
	case first == "net":
		ok = own(specs.NetworkNamespace)
	case name == "kernel/domainname" || name == "kernel/hostname":
		ok = own(specs.UTSNamespace)
	case strings.HasPrefix(name, "kernel/shm") || strings.HasPrefix(name, "kernel/msg") || name == "kernel/sem" || strings.HasPrefix(name, "fs/mqueue/"):
		ok = own(specs.IPCNamespace)
	}
	if !ok || path.Clean("/"+name) != "/"+name {
		return errdefs.Invalid("sysctl %s: is not one of a namespace of the container's own", key)
	}
	p := t.p
	p.Stage("set the kernel parameter %s", key)
	fd, _ := t.open("/proc/sys/"+name, unix.O_WRONLY)
	p.Call(unix.SYS_WRITE, fd.Arg(), p.Str(value), program.Int(len(value)))
	p.Call(unix.SYS_CLOSE, fd.Arg())
	return nil
}

// sysctlFile gives the file of a parameter below /proc/sys. As in sysctl(8) the first separator decides: with a dot,
// "net.ipv4.conf.eth0/1.forwarding" is about the interface eth0.1; with a slash the name is that of the file.
func sysctlFile(key string) string {
	if i := strings.IndexAny(key, "./"); i < 0 || key[i] == '/' {
		return key
	}
	return strings.Map(func(r rune) rune {
		switch r {
		case '.':
			return '/'
		case '/':
			return '.'
		}
		return r
	}, key)
}
