package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/camada/camada/container/runtime"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/userns"
	"github.com/spf13/cobra"
)

// runtimeName is the name under which this program is an OCI runtime, as engines call one: a link to it suffices.
const runtimeName = "camada-runtime"

// runtimeApp is the command line of an OCI runtime: the flags that its verbs share.
type runtimeApp struct {
	*app
	root      string
	log       string
	logFormat string
	systemd   bool
	rootless  string
}

// runtimeMain runs the runtime's command line without making the rest of it: args are those behind the name.
func (a *app) runtimeMain(args []string) int {
	rt := &runtimeApp{app: a}
	cmd := rt.command()
	if err := room(verbOf(cmd, args)); err != nil {
		f := cmd.PersistentFlags()
		f.SetInterspersed(false)
		_ = f.Parse(args) // for the log, as far as it goes
		return a.report(cmd, rt.failed(1, err))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	cmd.CompletionOptions.DisableDefaultCmd = true
	cmd.Version = a.version
	cmd.SetVersionTemplate(runtimeName + " version {{.Version}}\nspec: " + specVersion + "\n")
	cmd.SetArgs(args)
	if err := cmd.ExecuteContext(ctx); err != nil {
		return a.report(cmd, err)
	}
	return 0
}

// runtimeArgs finds the runtime's arguments in those of the process; false when another verb is called.
func runtimeArgs(args []string) ([]string, bool) {
	switch {
	case len(args) > 0 && filepath.Base(args[0]) == runtimeName:
		return args[1:], true
	case len(args) > 1 && args[1] == "runtime":
		return args[2:], true
	}
	return nil, false
}

func (a *app) runtimeCommand() *cobra.Command { return (&runtimeApp{app: a}).command() }

func (rt *runtimeApp) command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "runtime",
		Short: "Run OCI bundles, as engines call their runtime",
		Long: `The command line of an OCI runtime, with the verbs and flags of runc. containerd, Podman and Docker start
their containers with it when they are told to: a link named ` + runtimeName + ` to this program is such a runtime.
A container is a directory with a config.json (a bundle); neither the store nor any image is involved.`,
		Example: `  camada runtime spec && camada runtime run web
  ln -s "$(command -v camada)" /usr/local/bin/` + runtimeName + `
  podman --runtime /usr/local/bin/` + runtimeName + ` run --rm alpine true`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return rt.failed(1, errdefs.Invalid("%q is no verb of a runtime", args[0]))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	f := cmd.PersistentFlags()
	f.StringVar(&rt.root, "root", runtimeRoot(), "`directory` of the states of containers")
	f.StringVar(&rt.log, "log", "", "`file` to add errors to")
	f.StringVar(&rt.logFormat, "log-format", "text", "`format` of the log: text or json")
	f.Bool("debug", false, "log more (there is nothing more to log)")
	f.BoolVar(&rt.systemd, "systemd-cgroup", false, "make cgroups by systemd; the cgroups path is slice:prefix:name then")
	f.StringVar(&rt.rootless, "rootless", "auto", "whether an ordinary user calls: true, false or auto")
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return rt.failed(1, err) })
	cmd.AddCommand(rt.createCommand(), rt.startCommand(), rt.runCommand(), rt.stateCommand(), rt.killCommand(), rt.deleteCommand(), rt.execCommand(),
		rt.psCommand(), rt.listCommand(), rt.updateCommand(), rt.pauseCommand(), rt.resumeCommand(), rt.eventsCommand(), rt.featuresCommand(), rt.specCommand())
	return cmd
}

// runtimeRoot is where states are kept when nobody says otherwise. An engine of an ordinary user calls in a user namespace that it made.
func runtimeRoot() string {
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" && (os.Geteuid() != 0 || userns.Nested()) {
		return filepath.Join(dir, "camada", "runtime")
	}
	return "/run/camada/runtime"
}

// runtime is the set of containers.
func (rt *runtimeApp) runtime() (*runtime.Runtime, error) {
	root, err := filepath.Abs(rt.root)
	if err != nil {
		return nil, err
	}
	if rt.logFormat != "text" && rt.logFormat != "json" {
		return nil, errdefs.Invalid("--log-format %q: want text or json", rt.logFormat)
	}
	return &runtime.Runtime{Root: root}, nil
}

// verb makes a verb of f, whose error is logged, and ends the program with code.
func (rt *runtimeApp) verb(code int, f func(ctx context.Context, r *runtime.Runtime, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		r, err := rt.runtime()
		if err == nil {
			err = f(cmd.Context(), r, args)
		}
		return rt.failed(code, err)
	}
}

// exactly and atLeast check the number of arguments, and log it when it is wrong.
func (rt *runtimeApp) exactly(n int) cobra.PositionalArgs { return rt.count(args(n, n)) }

func (rt *runtimeApp) between(low, high int) cobra.PositionalArgs { return rt.count(args(low, high)) }

func (rt *runtimeApp) count(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		err := check(cmd, args)
		if err == nil {
			return nil
		}
		return rt.failed(1, errors.Unwrap(err))
	}
}

// failed logs an error and gives it an exit code. An exitError has its own, and a container's program has said what it had to.
func (rt *runtimeApp) failed(code int, err error) error {
	var exit *exitError
	if err == nil || errors.As(err, &exit) {
		return err
	}
	if lerr := rt.logError(err); lerr != nil {
		err = errors.Join(err, lerr)
	}
	return &exitError{code: code, err: err}
}

// logError adds a line to the log: engines look there for the reason.
func (rt *runtimeApp) logError(err error) error {
	if rt.log == "" {
		return nil
	}
	f, ferr := os.OpenFile(rt.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if ferr != nil {
		return fmt.Errorf("open the log: %w", ferr)
	}
	defer f.Close()
	now := time.Now().Format(time.RFC3339)
	if rt.logFormat != "json" {
		_, ferr = fmt.Fprintf(f, "time=%q level=error msg=%q\n", now, err.Error())
		return ferr
	}
	b, ferr := json.Marshal(struct {
		Level string `json:"level"`
		Msg   string `json:"msg"`
		Time  string `json:"time"`
	}{"error", err.Error(), now})
	if ferr == nil {
		_, ferr = f.Write(append(b, '\n'))
	}
	return ferr
}

// json writes v as people read it.
func (rt *runtimeApp) json(v any) error {
	enc := json.NewEncoder(rt.stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
