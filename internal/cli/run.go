package cli

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"

	"github.com/camada/camada/engine"
	"github.com/camada/camada/errdefs"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

func (a *app) runCommand() *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run [OPTIONS] IMAGE [COMMAND] [ARG...]",
		Short: "Run a command in a new container",
		Long: `Run a command in a new container made from an image.

The exit code is that of the command; 125 when camada itself failed, 126 when the command
cannot be executed, 127 when it was not found, 128+n when signal n ended it.`,
		Example: `  camada run --rm -it debian bash
  camada run -d --name web -p 8080:80 --memory 64m web
  camada run --rm -v "$PWD:/src" -w /src buildbase make
  camada run --rm --network none --read-only --cap-drop ALL app`,
		Args:        args(1, -1),
		Annotations: map[string]string{inNamespace: shared},
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Image, o.Args = args[0], args[1:]
			return a.runRun(cmd, o)
		},
	}
	f := cmd.Flags()
	f.SetInterspersed(false)
	o.register(f)
	f.BoolVarP(&o.Detach, "detach", "d", false, "run in the background and print the container's ID")
	f.StringSliceVarP(&o.attach, "attach", "a", nil, "take part in `stdin`, stdout or stderr only; can be repeated")
	registerAttach(f, &o.DetachKeys, &o.NoSigProxy)
	f.StringVar(&o.timings, "timings", "", "tell on standard error where the time of the start went: `table` or json")
	f.Lookup("timings").NoOptDefVal = timingsTable
	f.Bool("help", false, "help for run")
	return cmd
}

func (a *app) runRun(cmd *cobra.Command, o runOptions) error {
	if err := o.complete(cmd.Flags()); err != nil {
		return &exitError{code: codeUsage, err: err}
	}
	if o.TTY && !o.Detach && !term.IsTerminal(int(a.stdin.Fd())) {
		return &exitError{code: codeFailed, err: errdefs.Invalid("-t: standard input is not a terminal")}
	}
	o.streams()
	signals, stop := passedOn()
	defer stop()
	o.Signals, o.OnPull, o.Warn = signals, a.onPull(&o), a.warn
	if err := o.completeTimings(); err != nil {
		return &exitError{code: codeUsage, err: err}
	}
	var res engine.RunResult
	err := a.with(cmd.Context(), func(e *engine.Engine) (err error) {
		o.Timings.Mark("open the store")
		res, err = e.Run(cmd.Context(), o.RunOptions)
		return err
	})
	a.showTimings(o)
	if errors.Is(err, engine.ErrDetached) {
		return a.left()
	}
	if err != nil {
		return startError(err, codeUsage)
	}
	if o.Detach {
		fmt.Fprintln(a.stdout, res.ID)
		return nil
	}
	if res.ExitCode != 0 {
		return &exitError{code: res.ExitCode}
	}
	return nil
}

// warn tells of what cannot be had, and goes on.
func (a *app) warn(text string) { fmt.Fprintln(a.stderr, "WARNING:", text) }

// startError gives the error of a start its exit code: that of the program, or else the given one.
func startError(err error, code int) error {
	if c, ok := engine.StartCode(err); ok {
		code = c
	}
	return &exitError{code: code, err: err}
}

// passedOn collects the signals that a container in the foreground gets.
func passedOn() (<-chan os.Signal, func()) {
	c := make(chan os.Signal, 32)
	signal.Notify(c, unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2, unix.SIGWINCH, unix.SIGALRM)
	return c, func() { signal.Stop(c) }
}

// environment reads --env-file and --env as docker does: files first, comments and blank lines
// skipped, a name alone takes its value from the caller's environment.
func environment(files, vars []string) ([]string, error) {
	var out []string
	add := func(kv, where string) error {
		k, _, ok := strings.Cut(kv, "=")
		if k == "" || strings.ContainsAny(k, " \t") {
			return errdefs.Invalid("%s: %q is not NAME=VALUE", where, kv)
		}
		if !ok {
			v, found := os.LookupEnv(k)
			if !found {
				return nil
			}
			kv = k + "=" + v
		}
		out = append(out, kv)
		return nil
	}
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("--env-file: %w", err)
		}
		sc := bufio.NewScanner(f)
		for n := 1; sc.Scan(); n++ {
			line := strings.TrimLeft(sc.Text(), " \t")
			if line == "" || line[0] == '#' {
				continue
			}
			if err := add(line, fmt.Sprintf("--env-file %s:%d", name, n)); err != nil {
				f.Close()
				return nil, err
			}
		}
		f.Close()
		if err := sc.Err(); err != nil {
			return nil, fmt.Errorf("--env-file %s: %w", name, err)
		}
	}
	for _, kv := range vars {
		if err := add(kv, "--env"); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// parseBytes reads 64m, 1g, 512k, 1000b; units are powers of 1024, as docker's.
func parseBytes(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	num := strings.ToLower(strings.TrimSpace(s))
	shift := 0
	num = strings.TrimSuffix(num, "b")
	num = strings.TrimSuffix(num, "i")
	if num != "" {
		switch num[len(num)-1] {
		case 'k':
			shift = 10
		case 'm':
			shift = 20
		case 'g':
			shift = 30
		case 't':
			shift = 40
		}
		if shift > 0 {
			num = num[:len(num)-1]
		}
	}
	v, err := strconv.ParseFloat(num, 64) // NaN is neither below nor above anything
	if err != nil || !(v >= 0) || v*float64(int64(1)<<shift) > 1<<62 {
		return 0, errdefs.Invalid("%q is not a size; want a number with b, k, m or g, such as 64m", s)
	}
	return int64(v * float64(int64(1)<<shift)), nil
}

func parseCPUs(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || !(v > 0) || v > 1<<20 {
		return 0, errdefs.Invalid("--cpus %q: want a number of processors, such as 1.5", s)
	}
	return int64(v * 1e9), nil
}

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// monitorCommand looks after one detached container; run starts it.
func (a *app) monitorCommand() *cobra.Command {
	return &cobra.Command{
		Use: engine.MonitorVerb, Hidden: true, Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ownEnd()
			return a.with(cmd.Context(), func(e *engine.Engine) error { return e.Monitor(cmd.Context(), a.stdin) })
		},
	}
}

// ownEnd lets the end of what is looked after be the end of this process, and not a signal that was meant for a terminal's programs. These are taken and
// dropped: what is ignored would be ignored by the programs of the container, too (signal(7)).
func ownEnd() {
	terminals := []os.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT}
	signal.Reset(terminals...)
	signal.Notify(make(chan os.Signal, 1), terminals...)
}

// execMonitorCommand looks after one program in a container; exec starts it.
func (a *app) execMonitorCommand() *cobra.Command {
	return &cobra.Command{
		Use: engine.ExecMonitorVerb, Hidden: true, Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ownEnd()
			return a.with(cmd.Context(), func(e *engine.Engine) error { return e.ExecMonitor(cmd.Context(), a.stdin) })
		},
	}
}
