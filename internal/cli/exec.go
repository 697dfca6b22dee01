package cli

import (
	"errors"
	"os"

	"github.com/camada/camada/engine"
	"github.com/camada/camada/errdefs"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

type execOptions struct {
	engine.ExecOptions
	env      []string
	envFiles []string
}

func (a *app) execCommand() *cobra.Command {
	var o execOptions
	cmd := &cobra.Command{
		Use:   "exec [OPTIONS] CONTAINER COMMAND [ARG...]",
		Short: "Run a command in a running container",
		Long: `Run a command in a running container, with its limits and its confinement.

The keys ctrl-p ctrl-q (--detach-keys) leave a command with a terminal, which goes on. With -d it runs in the background from the start, and ends with the
container at the latest.`,
		Example: `  camada exec -it web sh
  camada exec -u root -w /tmp web id
  camada exec -d web /usr/sbin/logrotate /etc/logrotate.conf`,
		Args: args(2, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Container, o.Args = args[0], args[1:]
			if err := a.enterForTerminal(cmd, o); err != nil {
				return err
			}
			return a.execRun(cmd, o)
		},
	}
	f := cmd.Flags()
	f.SetInterspersed(false)
	f.BoolVarP(&o.Interactive, "interactive", "i", false, "keep standard input open")
	f.BoolVarP(&o.TTY, "tty", "t", false, "give the command a terminal")
	f.BoolVarP(&o.Detach, "detach", "d", false, "run in the background")
	f.StringVar(&o.DetachKeys, "detach-keys", "", "`keys` that leave the command, which goes on (default: ctrl-p,ctrl-q)")
	listFlag(f, &o.env, "env", "e", "environment variable, `NAME=VALUE`; NAME alone passes it on")
	listFlag(f, &o.envFiles, "env-file", "", "`file` of environment variables")
	f.StringVarP(&o.Workdir, "workdir", "w", "", "working `directory`")
	f.StringVarP(&o.User, "user", "u", "", "`user[:group]`, by name or id")
	f.BoolVar(&o.Privileged, "privileged", false, "give the command all capabilities")
	return cmd
}

// enterForTerminal lets an ordinary user make a terminal that belongs to root of a container with a user namespace of its own: that
// takes rights which he has in the namespace that the container was started from.
func (a *app) enterForTerminal(cmd *cobra.Command, o execOptions) error {
	if !o.TTY || os.Geteuid() == 0 {
		return nil
	}
	own := false
	err := a.with(cmd.Context(), func(e *engine.Engine) (err error) {
		own, err = e.OwnUsers(cmd.Context(), o.Container)
		return err
	})
	if err != nil || !own {
		return err
	}
	return a.enterNamespace(cmd, shared)
}

func (a *app) execRun(cmd *cobra.Command, o execOptions) (err error) {
	if o.Env, err = environment(o.envFiles, o.env); err != nil {
		return &exitError{code: codeUsage, err: err}
	}
	if o.TTY && !o.Detach && !term.IsTerminal(int(a.stdin.Fd())) {
		return &exitError{code: codeFailed, err: errdefs.Invalid("-t: standard input is not a terminal")}
	}
	o.Stdin, o.Stdout, o.Stderr = os.Stdin, os.Stdout, os.Stderr
	signals, stop := passedOn()
	defer stop()
	o.Signals = signals
	var status int
	err = a.with(cmd.Context(), func(e *engine.Engine) error {
		status, err = e.Exec(cmd.Context(), o.ExecOptions)
		return err
	})
	switch {
	case errors.Is(err, engine.ErrDetached):
		return a.left()
	case err != nil:
		return startError(err, codeFailed)
	case status != 0:
		return &exitError{code: status}
	}
	return nil
}
