package container

import (
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// initName is the name under which the calling program's binary runs as a
// container's first process, and initPath where it is shown, read-only.
const (
	initName = "camada-init"
	initPath = "/dev/init"
)

// IsInit tells that this process is to be the first process of a container
// (Config.Init). A main function asks it before anything else:
//
//	if container.IsInit() {
//		container.RunInit()
//	}
func IsInit() bool {
	return len(os.Args) > 2 && filepath.Base(os.Args[0]) == initName
}

// RunInit starts the program of os.Args[2:], forwards signals to it, reaps all
// orphans, and ends this process as the program ended. It does not return. os.Args[1] is a descriptor, which is closed when signals are listened to.
func RunInit() {
	signals := make(chan os.Signal, 64)
	signal.Notify(signals)
	if fd, err := strconv.Atoi(os.Args[1]); err == nil {
		_ = unix.Close(fd)
	}
	args := os.Args[2:]
	path, err := exec.LookPath(args[0])
	if err != nil {
		os.Exit(initFailure(args[0], err))
	}
	attr := &os.ProcAttr{Env: os.Environ(), Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}, Sys: &syscall.SysProcAttr{}}
	if _, err := unix.IoctlGetTermios(0, unix.TCGETS); err == nil {
		attr.Sys.Setpgid, attr.Sys.Foreground, attr.Sys.Ctty = true, true, 0
	}
	child, err := os.StartProcess(path, args, attr)
	if err != nil {
		os.Exit(initFailure(args[0], err))
	}
	for sig := range signals {
		switch sig {
		case syscall.SIGCHLD:
			reapAll(child.Pid)
		case syscall.SIGURG, syscall.SIGPIPE, syscall.SIGTTIN, syscall.SIGTTOU:
			// SIGURG is the Go runtime's own.
		default:
			_ = child.Signal(sig)
		}
	}
}

// reapAll collects all processes that ended, and ends when the program did.
func reapAll(program int) {
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, unix.WNOHANG, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		if pid != program {
			continue
		}
		if ws.Signaled() {
			os.Exit(128 + int(ws.Signal()))
		}
		os.Exit(ws.ExitStatus())
	}
}

// initFailure prints why the program cannot be executed and gives the exit code.
func initFailure(name string, err error) int {
	_, _ = os.Stderr.WriteString("exec: \"" + name + "\": " + err.Error() + "\n")
	if os.IsNotExist(err) || filepath.Base(name) == name {
		return 127
	}
	return 126
}
