package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/camada/camada/container/bundle"
	"github.com/camada/camada/container/runtime"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/cli/format"
	"github.com/camada/camada/userns"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"
)

// runtimeCreate are the flags of create and run.
type runtimeCreate struct {
	bundle, consoleSocket, pidFile string
	noPivot, noNewKeyring          bool
	preserve                       int
	detach, keep                   bool
}

func (o *runtimeCreate) register(f *pflag.FlagSet) {
	f.StringVarP(&o.bundle, "bundle", "b", ".", "`directory` of the bundle")
	f.StringVar(&o.consoleSocket, "console-socket", "", "`path` of a unix socket that gets the master of the terminal")
	f.StringVar(&o.pidFile, "pid-file", "", "`file` to write the id of the process to")
	f.BoolVar(&o.noPivot, "no-pivot", false, "do not use pivot_root (refused: the host's file systems would stay in reach)")
	f.BoolVar(&o.noNewKeyring, "no-new-keyring", false, "do not make a session keyring for the container")
	f.IntVar(&o.preserve, "preserve-fds", 0, "pass `number` more descriptors on, from 3")
}

// options reads the bundle.
func (o *runtimeCreate) options(rt *runtimeApp, id string) (runtime.CreateOptions, error) {
	c := runtime.CreateOptions{
		ID: id, ConsoleSocket: o.consoleSocket, PidFile: o.pidFile, NoNewKeyring: o.noNewKeyring,
		SystemdCgroup: rt.systemd, Detach: o.detach, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
	}
	switch {
	case o.noPivot:
		return c, errdefs.Unsupported("--no-pivot: a container that has not left the host's file systems is none; start it from a root file system that is no initramfs")
	case o.preserve < 0 || o.preserve > 1<<10:
		return c, errdefs.Invalid("--preserve-fds %d", o.preserve)
	}
	var err error
	if c.Bundle, err = filepath.Abs(o.bundle); err != nil {
		return c, err
	}
	if c.Spec, err = bundle.Load(c.Bundle); err != nil {
		return c, err
	}
	if rt.systemd && c.Spec.Linux.CgroupsPath == "" { // the scope that runc takes then
		slice := "system.slice"
		if userns.Rootless() {
			slice = "user.slice"
		}
		c.Spec.Linux.CgroupsPath = slice + ":camada:" + id
	}
	if userns.Rootless() {
		uids, err1 := os.ReadFile("/proc/self/uid_map")
		gids, err2 := os.ReadFile("/proc/self/gid_map")
		if err1 != nil || err2 != nil {
			return c, errdefs.Unavailable("the user namespace's ids cannot be read")
		}
		if err := bundle.Inside(c.Spec, string(uids), string(gids)); err != nil {
			return c, err
		}
	}
	c.ExtraFiles, err = preserved(o.preserve)
	if n := len(c.ExtraFiles) - o.preserve; err == nil && n > 0 {
		c.Spec.Process.Env = append(c.Spec.Process.Env, "LISTEN_FDS="+strconv.Itoa(n), "LISTEN_PID=1")
	}
	return c, err
}

// preserved are the descriptors that are passed on: those of socket activation (sd_listen_fds(3)), and n more.
func preserved(n int) ([]*os.File, error) {
	if listen, err := strconv.Atoi(os.Getenv("LISTEN_FDS")); err == nil && listen > 0 && listen < 1<<10 && os.Getenv("LISTEN_PID") == strconv.Itoa(os.Getpid()) {
		n += listen
	}
	var files []*os.File
	for fd := 3; fd < 3+n; fd++ {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
			return nil, errdefs.Invalid("--preserve-fds: descriptor %d is not open", fd)
		}
		unix.CloseOnExec(fd)
		files = append(files, os.NewFile(uintptr(fd), "descriptor"))
	}
	return files, nil
}

// asUser runs the program again in a user namespace when an ordinary user calls, and returns an exitError then.
func (rt *runtimeApp) asUser(ctx context.Context) error {
	if os.Geteuid() == 0 || rt.isInner {
		return nil
	}
	args, _ := runtimeArgs(os.Args)
	code, err := userns.Reexec(ctx, userns.Options{Args: append([]string{"runtime"}, args...)})
	if err != nil {
		return err
	}
	return &exitError{code: code}
}

func (rt *runtimeApp) createCommand() *cobra.Command {
	var o runtimeCreate
	cmd := &cobra.Command{
		Use: "create [OPTIONS] ID", Short: "Make a container from a bundle; start executes its program", Args: rt.exactly(1),
		Example: "  camada runtime create --bundle /run/web web && camada runtime start web",
		RunE: rt.verb(1, func(ctx context.Context, r *runtime.Runtime, args []string) error {
			if err := rt.asUser(ctx); err != nil {
				return err
			}
			c, err := o.options(rt, args[0])
			if err != nil {
				return err
			}
			return r.Create(ctx, c)
		}),
	}
	o.register(cmd.Flags())
	return cmd
}

func (rt *runtimeApp) startCommand() *cobra.Command {
	return &cobra.Command{
		Use: "start ID", Short: "Execute the program of a container that was made", Args: rt.exactly(1),
		Example: "  camada runtime start web",
		RunE: rt.verb(1, func(ctx context.Context, r *runtime.Runtime, args []string) error {
			return r.Start(ctx, args[0])
		}),
	}
}

func (rt *runtimeApp) runCommand() *cobra.Command {
	var o runtimeCreate
	cmd := &cobra.Command{
		Use: "run [OPTIONS] ID", Short: "Make a container, execute its program, and remove it when it ends", Args: rt.exactly(1),
		Example: `  camada runtime run --bundle /run/web web
  camada runtime run -d --pid-file web.pid web`,
		RunE: rt.verb(1, func(ctx context.Context, r *runtime.Runtime, args []string) error {
			if err := rt.asUser(ctx); err != nil {
				return err
			}
			return rt.run(ctx, r, &o, args[0])
		}),
	}
	o.register(cmd.Flags())
	cmd.Flags().BoolVarP(&o.detach, "detach", "d", false, "return when the program has been executed")
	cmd.Flags().BoolVar(&o.keep, "keep", false, "do not remove the container when it ends")
	cmd.Flags().Bool("no-subreaper", false, "do not become the parent of orphans (that is never done)")
	return cmd
}

func (rt *runtimeApp) run(ctx context.Context, r *runtime.Runtime, o *runtimeCreate, id string) error {
	c, err := o.options(rt, id)
	if err != nil {
		return err
	}
	if c.Spec.Process.Terminal && o.detach && o.consoleSocket == "" {
		return errdefs.Invalid("cannot allocate tty if the runtime will detach without setting console socket")
	}
	signals, stop := allSignals()
	defer stop()
	p, err := r.Run(ctx, c)
	if err != nil || o.detach {
		return err
	}
	if o.consoleSocket != "" {
		p.Console = nil // given away
	}
	code, err := rt.attend(p, signals)
	if err == nil && !o.keep {
		err = r.Delete(context.WithoutCancel(ctx), id, true)
	}
	return ended(code, err)
}

// ended ends the program as a process of a container did.
func ended(code int, err error) error {
	if err != nil || code == 0 {
		return err
	}
	return &exitError{code: code}
}

func (rt *runtimeApp) stateCommand() *cobra.Command {
	return &cobra.Command{
		Use: "state ID", Short: "Show the state of a container", Args: rt.exactly(1),
		Example: "  camada runtime state web",
		RunE: rt.verb(1, func(_ context.Context, r *runtime.Runtime, args []string) error {
			s, err := r.State(args[0])
			if err != nil {
				return err
			}
			return rt.json(s)
		}),
	}
}

func (rt *runtimeApp) killCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "kill [OPTIONS] ID [SIGNAL]", Short: "Send a signal to a container (default: SIGTERM)", Args: rt.between(1, 2),
		Example: `  camada runtime kill web
  camada runtime kill --all web KILL`,
		RunE: rt.verb(1, func(ctx context.Context, r *runtime.Runtime, args []string) error {
			sig := unix.SIGTERM
			if len(args) > 1 {
				var err error
				if sig, err = signalNamed(args[1]); err != nil {
					return err
				}
			}
			return r.Kill(ctx, args[0], sig, all)
		}),
	}
	cmd.Flags().BoolVarP(&all, "all", "a", false, "send it to all processes of the container")
	return cmd
}

// signalNamed reads a signal: KILL, SIGKILL or 9.
func signalNamed(name string) (unix.Signal, error) {
	if n, err := strconv.Atoi(name); err == nil && n >= 0 && n < 65 {
		return unix.Signal(n), nil
	}
	upper := strings.ToUpper(name)
	if !strings.HasPrefix(upper, "SIG") {
		upper = "SIG" + upper
	}
	if sig := unix.SignalNum(upper); sig != 0 {
		return sig, nil
	}
	return 0, errdefs.Invalid("unknown signal %q", name)
}

func (rt *runtimeApp) deleteCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "delete [OPTIONS] ID", Short: "Remove what is left of a container", Args: rt.exactly(1),
		Example: "  camada runtime delete --force web",
		RunE: rt.verb(1, func(ctx context.Context, r *runtime.Runtime, args []string) error {
			return r.Delete(ctx, args[0], force)
		}),
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "kill the container when it runs; none is no error")
	return cmd
}

func (rt *runtimeApp) listCommand() *cobra.Command {
	var how string
	var quiet bool
	cmd := &cobra.Command{
		Use: "list [OPTIONS]", Aliases: []string{"ls"}, Short: "List the containers", Args: rt.exactly(0),
		Example: "  camada runtime list -f json",
		RunE: rt.verb(1, func(_ context.Context, r *runtime.Runtime, _ []string) error {
			all, err := r.List()
			switch {
			case err != nil:
				return err
			case quiet:
				for _, s := range all {
					fmt.Fprintln(rt.stdout, s.ID)
				}
				return nil
			case how == "json":
				if all == nil {
					all = []runtime.State{}
				}
				return rt.json(all)
			}
			return listTable().Write(rt.stdout, how, all)
		}),
	}
	cmd.Flags().StringVarP(&how, "format", "f", "table", "`format`: table, json (one list) or a Go template")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "only the ids")
	return cmd
}

func listTable() format.Table[runtime.State] {
	return format.Table[runtime.State]{Columns: []format.Column[runtime.State]{
		{Header: "ID", Value: func(s runtime.State) string { return s.ID }},
		{Header: "PID", Value: func(s runtime.State) string { return strconv.Itoa(s.Pid) }},
		{Header: "STATUS", Value: func(s runtime.State) string { return string(s.Status) }},
		{Header: "BUNDLE", Value: func(s runtime.State) string { return s.Bundle }},
		{Header: "CREATED", Value: func(s runtime.State) string { return s.Created.Format(time.RFC3339Nano) }},
		{Header: "OWNER", Value: func(s runtime.State) string { return s.Owner }},
	}}
}
