package cli

import (
	"context"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/camada/camada/container"
	"github.com/camada/camada/container/bundle"
	"github.com/camada/camada/container/runtime"
	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// runtimeExec are the flags of exec.
type runtimeExec struct {
	process, cwd, user, consoleSocket, pidFile, apparmor, label, cgroup string
	env, caps, gids                                                     []string
	tty, detach, noNewPrivs                                             bool
	preserve                                                            int
}

func (rt *runtimeApp) execCommand() *cobra.Command {
	var o runtimeExec
	cmd := &cobra.Command{
		Use: "exec [OPTIONS] ID [COMMAND [ARG...]]", Short: "Execute a program in a running container", Args: rt.between(1, -1),
		Example: `  camada runtime exec web ps -ef
  camada runtime exec --process process.json --detach web`,
		RunE: rt.verb(255, func(ctx context.Context, r *runtime.Runtime, args []string) error {
			return rt.exec(ctx, r, &o, args[0], args[1:])
		}),
	}
	f := cmd.Flags()
	f.SetInterspersed(false)
	f.StringVarP(&o.process, "process", "p", "", "`file` with the process as in a config.json; replaces the other flags and COMMAND")
	f.BoolVarP(&o.tty, "tty", "t", false, "give the program a terminal")
	f.BoolVarP(&o.detach, "detach", "d", false, "return when the program has been executed")
	f.StringVar(&o.pidFile, "pid-file", "", "`file` to write the id of the process to")
	f.StringVar(&o.consoleSocket, "console-socket", "", "`path` of a unix socket that gets the master of the terminal")
	f.StringVarP(&o.user, "user", "u", "", "`uid[:gid]`, numbers")
	f.StringVar(&o.cwd, "cwd", "", "working `directory`")
	listFlag(f, &o.env, "env", "e", "environment variable, `NAME=VALUE`")
	listFlag(f, &o.gids, "additional-gids", "g", "further `group`")
	listFlag(f, &o.caps, "cap", "c", "further `capability`, such as CAP_NET_ADMIN")
	f.BoolVar(&o.noNewPrivs, "no-new-privs", false, "do not let the program gain privileges")
	f.StringVar(&o.apparmor, "apparmor", "", "AppArmor `profile`")
	f.StringVar(&o.label, "process-label", "", "SELinux `label`")
	f.StringVar(&o.cgroup, "cgroup", "", "`path` of a cgroup below the container's")
	f.IntVar(&o.preserve, "preserve-fds", 0, "pass `number` more descriptors on, from 3")
	return cmd
}

func (rt *runtimeApp) exec(ctx context.Context, r *runtime.Runtime, o *runtimeExec, id string, command []string) error {
	p, err := o.describe(r, id, command)
	if err != nil {
		return err
	}
	if p.Terminal && o.detach && o.consoleSocket == "" {
		return errdefs.Invalid("cannot allocate tty if the runtime will detach without setting console socket")
	}
	files, err := preserved(o.preserve)
	if err != nil {
		return err
	}
	signals, stop := allSignals()
	defer stop()
	proc, err := r.Exec(ctx, id, runtime.ExecOptions{
		Process: p, Cgroup: o.cgroup, ConsoleSocket: o.consoleSocket, PidFile: o.pidFile, ExtraFiles: files, Detach: o.detach,
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
	})
	if err != nil || o.detach {
		return err
	}
	if o.consoleSocket != "" {
		proc.Console = nil // given away
	}
	return ended(rt.attend(proc, signals))
}

// describe makes the process of the flags.
func (o *runtimeExec) describe(r *runtime.Runtime, id string, command []string) (*specs.Process, error) {
	if o.process != "" {
		return bundle.LoadProcess(o.process)
	}
	p, err := r.Process(id)
	if err != nil {
		return nil, err
	}
	if len(command) == 0 {
		return nil, errdefs.Invalid("no command was given")
	}
	p.Args, p.Terminal, p.ConsoleSize = command, o.tty, nil
	p.Env = append(p.Env, o.env...)
	if o.cwd != "" {
		p.Cwd = o.cwd
	}
	p.NoNewPrivileges = p.NoNewPrivileges || o.noNewPrivs
	if o.apparmor != "" {
		p.ApparmorProfile = o.apparmor
	}
	if o.label != "" {
		p.SelinuxLabel = o.label
	}
	if err := o.identity(p); err != nil {
		return nil, err
	}
	return p, bundle.CheckProcess(p)
}

// identity sets who the process is and what it may.
func (o *runtimeExec) identity(p *specs.Process) error {
	number := func(text string) (uint32, error) {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return 0, errdefs.Invalid("%q is no user or group number", text)
		}
		return uint32(n), nil
	}
	var err error
	if o.user != "" {
		uid, gid, both := strings.Cut(o.user, ":")
		if p.User.UID, err = number(uid); err == nil && both {
			p.User.GID, err = number(gid)
		}
		if err != nil {
			return err
		}
	}
	for _, text := range o.gids {
		gid, err := number(text)
		if err != nil {
			return err
		}
		p.User.AdditionalGids = append(p.User.AdditionalGids, gid)
	}
	if len(o.caps) > 0 {
		if p.Capabilities == nil {
			p.Capabilities = &specs.LinuxCapabilities{}
		}
		c := p.Capabilities
		for _, set := range []*[]string{&c.Bounding, &c.Effective, &c.Permitted} {
			*set = append(*set, o.caps...)
		}
	}
	return nil
}

// allSignals collects the signals that the program gets when it is in the foreground.
func allSignals() (<-chan os.Signal, func()) {
	c := make(chan os.Signal, 128)
	signal.Notify(c)
	return c, func() { signal.Stop(c) }
}

// attend looks after a process in the foreground until it ends, and returns its exit code.
func (rt *runtimeApp) attend(p *container.Process, signals <-chan os.Signal) (int, error) {
	drained := make(chan struct{})
	if p.Console == nil {
		close(drained)
	} else {
		defer p.Console.Close()
		defer rt.relay(p, drained)()
	}
	for {
		select {
		case s := <-signals:
			switch sig, _ := s.(syscall.Signal); sig {
			case unix.SIGCHLD, unix.SIGURG, unix.SIGPIPE, unix.SIGTTIN, unix.SIGTTOU:
			case unix.SIGWINCH:
				resize(p)
			default:
				_ = p.Signal(sig)
			}
		case <-p.Done():
			select {
			case <-drained:
			case <-time.After(time.Second): // whoever it left behind has the terminal still
			}
			status, err := p.Wait(context.Background())
			return status.Code, err
		}
	}
}

// relay joins the process's terminal with the caller's. drained is closed when all output is written.
func (rt *runtimeApp) relay(p *container.Process, drained chan<- struct{}) (restore func()) {
	resize(p)
	restore = func() {}
	if in := int(rt.stdin.Fd()); term.IsTerminal(in) {
		if old, err := term.MakeRaw(in); err == nil {
			restore = func() { _ = term.Restore(in, old) }
		}
	}
	go func() { _, _ = io.Copy(p.Console, rt.stdin) }()
	go func() {
		_, _ = io.Copy(rt.stdout, p.Console) // ends with EIO when nobody has the terminal any more
		close(drained)
	}()
	return restore
}

func resize(p *container.Process) {
	if p.Console == nil {
		return
	}
	if w, h, err := term.GetSize(1); err == nil {
		_ = p.Resize(w, h)
	}
}
