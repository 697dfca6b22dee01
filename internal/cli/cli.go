// Package cli is the command line: one file for each verb, each of them an options
// struct and one run function over the engine. It is the only place that prints, reads
// flags and chooses exit codes.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/camada/camada/container/join"
	"github.com/camada/camada/engine"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/cli/display"
	"github.com/camada/camada/internal/harmless"
	"github.com/camada/camada/internal/tasks"
	"github.com/camada/camada/policy"
	"github.com/camada/camada/secret"
	"github.com/camada/camada/userns"
	"github.com/spf13/cobra"
)

// inNamespace marks verbs that an ordinary user runs inside a user namespace: those that touch the
// files of layers or the processes of containers. Its value is alone or shared.
const inNamespace = "inNamespace"

const (
	// alone is a namespace for this command.
	alone = "yes"
	// shared is one that all commands of the user share which start containers or change their networks.
	shared = "shared"
)

// app is what all verbs share.
type app struct {
	stdin   *os.File
	stdout  io.Writer
	stderr  io.Writer
	version string
	root    string
	driver  string
	isInner bool
	// shown is the display of all that this program does at once; nil when each verb has its own.
	shown display.Display
	// insecure are registries that may be talked to without certificates.
	insecure []string
	// policy is a file with rules for images.
	policy string
}

// Main runs the command line of this process and returns its exit code.
func Main(version string) int {
	a := &app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, version: version, isInner: userns.Rootless()}
	if a.isInner {
		userns.TieToParent()
	}
	if args, ok := runtimeArgs(os.Args); ok {
		return a.runtimeMain(args)
	}
	cmd := a.command(os.Args[1:]...)
	if err := room(verbOf(cmd, os.Args[1:])); err != nil {
		return a.report(cmd, &exitError{code: codeUsage, err: err})
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	err := cmd.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	return a.report(cmd, err)
}

// room returns an error when a verb, one of a runtime's too, cannot have the threads and processes that it needs at once: those that wait for the kernel,
// and as many as the machine executes side by side. What ends containers needs fewer, because it is what makes room.
func room(verb string) error {
	const starts, looks, most = 8, 3, 16
	need := starts
	switch verb {
	case "stop", "kill", "rm", "ps", "logs", "inspect", "wait", "top", "stats", "port", "events", "pause", "unpause", "images", "info", "df", "gc", "version",
		"state", "delete", "list", "resume", "features", "spec":
		need = looks
	}
	return tasks.Room(need + min(runtime.GOMAXPROCS(0), most))
}

// report prints err, once and with its hint, and returns the exit code.
func (a *app) report(cmd *cobra.Command, err error) int {
	var exit *exitError
	if errors.As(err, &exit) {
		if exit.err != nil {
			fmt.Fprintf(a.stderr, "camada: %s\n", harmless.Text(tasks.Explain(exit.err).Error()))
		}
		return exit.code
	}
	if errors.Is(err, context.Canceled) {
		fmt.Fprintln(a.stderr, "camada: interrupted")
		return 130
	}
	fmt.Fprintf(a.stderr, "camada: %s\n", harmless.Text(tasks.Explain(err).Error()))
	return exitCode(err)
}

// exitError ends the program with a code of its own; err may be nil.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// Exit codes. 125 to 127 are docker's and stand for: camada itself failed, the program
// cannot be executed, the program was not found.
const (
	codeFailed  = 1
	codeUsage   = 125
	codeCorrupt = 3
	// codeRefused is of what a policy refuses, and of what was refused because there are secrets in it.
	codeRefused = 5
)

func exitCode(err error) int {
	switch {
	case errdefs.IsCorrupt(err):
		return codeCorrupt
	case errors.Is(err, policy.ErrRefused), errors.Is(err, secret.ErrFound):
		return codeRefused
	}
	return codeFailed
}

// command makes what the arguments in line need of the command line; all of it when there are none.
func (a *app) command(line ...string) *cobra.Command {
	root := &cobra.Command{
		Use:   "camada",
		Short: "Build, keep, ship, run and guard container images, without a daemon",
		Long: `camada builds images from Dockerfiles, keeps them in an immutable store with the history
of every tag, and runs them: one static binary, no daemon, as root or as an ordinary user.`,
		Example: `  camada base debian -t debian          # a base image from the signed Debian archive
  camada build -t app .                 # a Dockerfile becomes an image
  camada run --rm -it app sh            # the image becomes a container
  camada log app && camada rollback app # a tag has a history`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       a.version,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return a.enterNamespace(cmd, cmd.Annotations[inNamespace])
		},
	}
	root.SetVersionTemplate("camada version {{.Version}}\n")
	root.CompletionOptions.HiddenDefaultCmd = true
	f := root.PersistentFlags()
	f.StringVar(&a.root, "root", os.Getenv("CAMADA_ROOT"), "directory of the `store` (CAMADA_ROOT)")
	f.StringVar(&a.driver, "storage-driver", os.Getenv("CAMADA_STORAGE_DRIVER"), "snapshot `driver`: overlay or native; chosen by probing when empty")
	f.StringSliceVar(&a.insecure, "insecure-registry", nil, "registry `host` or network (CIDR) that needs no valid certificate and may speak plain HTTP (CAMADA_INSECURE_REGISTRIES)")
	f.StringVar(&a.policy, "policy", os.Getenv("CAMADA_POLICY"), "`file` with rules that images have to keep, beside the machine's (CAMADA_POLICY)")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &exitError{code: codeUsage, err: fmt.Errorf("%w\nSee '%s --help'", err, cmd.CommandPath())}
	})
	a.addVerbs(root, verbOf(root, line))
	return root
}

// enterNamespace runs the program again inside a user namespace when the verb needs it and
// the user is not root: how is "" for those that do not. It does not return then, but by an exitError.
func (a *app) enterNamespace(cmd *cobra.Command, how string) error {
	if os.Geteuid() == 0 || a.isInner || how == "" {
		return nil
	}
	var o userns.Options
	if how == shared {
		dir, err := engine.SharedNamespace(a.config())
		if err != nil {
			return err
		}
		o.Shared, o.Join = dir, join.Start
	}
	code, err := userns.Reexec(cmd.Context(), o)
	if a.driver == engine.DriverNative && errdefs.IsUnsupported(err) {
		return nil // plain copies need no rights; containers will complain for themselves
	}
	return &exitError{code: code, err: err}
}

// engine opens the store. The caller closes it.
func (a *app) engine(ctx context.Context) (*engine.Engine, error) {
	return engine.Open(ctx, a.config())
}

func (a *app) config() engine.Config {
	return engine.Config{
		Root: a.root, Driver: a.driver, Getenv: os.Getenv, InsecureRegistries: a.insecure, Version: a.version, Policy: a.policy,
		Notice: func(text string) { fmt.Fprintf(a.stderr, "camada: warning: %s\n", safe(text)) },
	}
}

// with runs f with an open engine.
func (a *app) with(ctx context.Context, f func(*engine.Engine) error) error {
	e, err := a.engine(ctx)
	if err != nil {
		return err
	}
	err = f(e)
	return errors.Join(err, e.Close())
}

// color reports whether w may get colours (https://no-color.org).
func color(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && isTerminal(f)
}

func (a *app) display(mode string) (display.Display, error) {
	if a.shown != nil {
		return a.shown, nil
	}
	return display.New(mode, a.stderr, display.Options{Color: color(a.stderr)})
}

// usage makes an error of wrong use.
func usage(cmd *cobra.Command, format string, args ...any) error {
	return &exitError{code: codeUsage, err: fmt.Errorf(format+"\nSee '%s --help'", append(args, cmd.CommandPath())...)}
}

// args checks the number of arguments: at least low and, unless high is -1, at most high.
func args(low, high int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < low && low == high:
			return usage(cmd, "%q requires exactly %s", cmd.CommandPath(), plural(low, "argument"))
		case len(args) < low:
			return usage(cmd, "%q requires at least %s", cmd.CommandPath(), plural(low, "argument"))
		case high >= 0 && len(args) > high:
			return usage(cmd, "%q takes at most %s", cmd.CommandPath(), plural(high, "argument"))
		}
		return nil
	}
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// each runs f for each argument, prints the errors, and fails when one failed, as docker does.
func (a *app) each(names []string, f func(string) error) error {
	failed := false
	for _, n := range names {
		if err := f(n); err != nil {
			fmt.Fprintf(a.stderr, "camada: %v\n", err)
			failed = true
		}
	}
	if failed {
		return &exitError{code: codeFailed}
	}
	return nil
}
