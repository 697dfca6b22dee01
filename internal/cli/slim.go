package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"

	"github.com/camada/camada/engine"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/cli/format"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// slimOptions are the flags of slim.
type slimOptions struct {
	engine.SlimOptions
	run                   runOptions
	runs, execs, files    []string
	how, progress, report string
	keepShell             bool
}

func (a *app) slimCommand() *cobra.Command {
	var o slimOptions
	cmd := &cobra.Command{
		Use: "slim [OPTIONS] IMAGE [COMMAND] [ARG...]", Short: "Make an image of the files that another one uses when it runs",
		Long: `Run an image and watch which files its programs execute, open, list and look at; make an image of those and of what they need, and tell what was left out.

The programs run as with "camada run", with the image's own command or the given one; --run gives more command lines, each for a container of its own. A run lasts until
the program ends, or until the probes (--http-probe) and commands (--exec) are done, a time is over (--duration), or Ctrl-C (--continue-after signal); SIGUSR1 ends it at any time.

The new image is run in the same way. When that ends otherwise, or looks for what was left out, it gets no name, and slim fails with the exit code 1. So does a path that no run
took: what only happens sometimes has to be run, or named with --include.`,
		Example: `  camada slim --dry-run app
  camada slim app
  camada slim -t app:small --http-probe /health --http-probe /api/items web
  camada slim --run 'report --year 2026' --run 'import /data/x.csv' -v "$PWD/data:/data" app
  camada slim --trace app.trace --no-run --include '/usr/lib/python3/**/encodings' app
  camada slim --duration 30s --report left.json db`,
		Args: args(1, -1), Annotations: map[string]string{inNamespace: shared},
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Image, o.run.Args = args[0], args[1:]
			return a.slim(cmd, o)
		},
	}
	f := cmd.Flags()
	f.SetInterspersed(false)
	o.run.registerInside(f)
	f.StringVarP(&o.Tag, "tag", "t", "", "`name` of the new image (default: the image's, with -slim behind the tag)")
	f.StringVar(&o.Platform, "platform", "", "`platform` of the image")
	listFlag(f, &o.runs, "run", "", "run this `command` line too, in a container of its own; can be repeated")
	listFlag(f, &o.execs, "exec", "", "execute this `command` line in each container while it runs; can be repeated")
	listFlag(f, &o.Probes, "http-probe", "", "ask for a path by HTTP, at all ports that the image exposes or at one: `[:PORT]/PATH`; can be repeated")
	f.DurationVar(&o.Duration, "duration", 0, "the longest `time` of a run")
	f.StringVar(&o.After, "continue-after", "", "what ends a run that goes on: `exit`, probe, time or signal")
	f.StringVar(&o.Trace, "trace", "", "add what is seen to this `file`, and what it has to what is seen")
	f.BoolVar(&o.NoRun, "no-run", false, "run nothing: go by the --trace alone")
	listFlag(f, &o.Include, "include", "", "keep a path with all below it, or what a `pattern` matches (** is any number of directories); can be repeated")
	listFlag(f, &o.files, "include-file", "", "keep what the lines of a `file` name, as --include")
	listFlag(f, &o.Exclude, "exclude", "", "leave out what a `pattern` matches, with all below it; can be repeated")
	listFlag(f, &o.Keep, "keep", "", "keep also: `shell`, locale or zoneinfo; can be repeated")
	f.BoolVar(&o.keepShell, "keep-shell", false, "the same as --keep shell")
	f.BoolVar(&o.DryRun, "dry-run", false, "only tell what would be left out")
	f.BoolVar(&o.NoVerify, "no-verify", false, "do not run the new image")
	f.StringVar(&o.report, "report", "", "write the report, with a line for each file kept and left out, to a `file` as JSON")
	f.StringVar(&o.how, "format", "", "table, json or a Go `template`")
	f.StringVar(&o.progress, "progress", "auto", "`auto`, plain, tty or quiet")
	f.Bool("help", false, "help for slim")
	return cmd
}

// complete reads the flags whose texts have a meaning of their own.
func (o *slimOptions) complete(cmd *cobra.Command) error {
	if err := o.run.completeInside(cmd.Flags()); err != nil {
		return err
	}
	for _, x := range []struct {
		flag  string
		lines []string
		to    *[][]string
	}{{"run", o.runs, &o.Runs}, {"exec", o.execs, &o.Execs}} {
		for _, line := range x.lines {
			list, err := words(line)
			if err != nil {
				return fmt.Errorf("--%s %s: %w", x.flag, line, err)
			}
			if len(list) == 0 && x.flag == "exec" {
				return errdefs.Invalid("--exec: no command")
			}
			*x.to = append(*x.to, list)
		}
	}
	if len(o.run.Args) > 0 && len(o.Runs) > 0 { // what stands behind the image is one of them
		o.Runs = append([][]string{o.run.Args}, o.Runs...)
	}
	for _, name := range o.files {
		text, err := readSmall(name)
		if err != nil {
			return err
		}
		for line := range bytes.Lines(text) {
			if p := strings.TrimSpace(string(line)); p != "" && !strings.HasPrefix(p, "#") {
				o.Include = append(o.Include, p)
			}
		}
	}
	if o.keepShell {
		o.Keep = append(o.Keep, "shell")
	}
	return nil
}

// words parts a line as a shell does, without expanding anything: by blanks, with quotes and backslashes.
func words(line string) ([]string, error) {
	var out []string
	var word strings.Builder
	begun, quote, escaped := false, rune(0), false
	for _, r := range line {
		switch {
		case escaped:
			if quote == '"' && r != '"' && r != '\\' {
				word.WriteByte('\\')
			}
			word.WriteRune(r)
			escaped = false
		case r == '\\' && quote != '\'':
			escaped, begun = true, true
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '\'' || r == '"'):
			quote, begun = r, true
		case quote == 0 && (r == ' ' || r == '\t' || r == '\n'):
			if begun {
				out = append(out, word.String())
				word.Reset()
				begun = false
			}
		default:
			word.WriteRune(r)
			begun = true
		}
	}
	if quote != 0 || escaped {
		return nil, errdefs.Invalid("a quote or a backslash has no end")
	}
	if begun {
		out = append(out, word.String())
	}
	return out, nil
}

func (a *app) slim(cmd *cobra.Command, o slimOptions) error {
	if err := o.complete(cmd); err != nil {
		return &exitError{code: codeUsage, err: err}
	}
	ctx, signals, stop := enough(cmd.Context(), o.After)
	defer stop()
	o.Run, o.Signals = o.run.RunOptions, signals
	o.Run.Warn = a.warn
	o.Run.Stdout, o.Run.Stderr = os.Stderr, os.Stderr // standard output is the report's
	return a.with(ctx, func(e *engine.Engine) error {
		d, err := a.display(o.progress)
		if err != nil {
			return err
		}
		r, err := e.Slim(ctx, o.SlimOptions, d)
		err = errors.Join(err, d.Close())
		if r == nil {
			return err
		}
		if o.report != "" {
			text, jerr := json.MarshalIndent(r, "", " ")
			if jerr == nil {
				jerr = a.document(o.report, append(text, '\n'))
			}
			err = errors.Join(err, jerr)
		}
		if o.how == "" || o.how == "table" {
			a.showSlim(r)
			return err
		}
		return errors.Join(format.Show(a.stdout, o.how, r), err)
	})
}

// enough are the signals that end a run and not the work: SIGUSR1, and when runs are to be ended so, what Ctrl-C sends.
func enough(ctx context.Context, after string) (context.Context, <-chan os.Signal, func()) {
	c := make(chan os.Signal, 8)
	if after != engine.SlimSignal {
		signal.Notify(c, unix.SIGUSR1)
		return ctx, c, func() { signal.Stop(c) }
	}
	signal.Notify(c, unix.SIGUSR1, unix.SIGINT)
	ctx, cancel := signal.NotifyContext(context.WithoutCancel(ctx), unix.SIGTERM, unix.SIGHUP)
	return ctx, c, func() {
		cancel()
		signal.Stop(c)
	}
}

// slimRows is how many lines of each list are shown to people; the rest is in the report.
const slimRows = 10

// showSlim shows a report to people.
func (a *app) showSlim(r *engine.SlimReport) {
	w := &lines{a.stdout}
	size := func(n int64) string { return engine.HumanSize(n) }
	if n := min(len(r.Directories), slimRows); n > 0 {
		w.printf("Left out, by directory:\n")
		for _, d := range r.Directories[:n] {
			w.printf("  %8s in %s of %-24s (kept: %s in %d)\n", size(d.Left.Bytes), plural(d.Left.Files, "file"), d.Path, size(d.Kept.Bytes), d.Kept.Files)
		}
	}
	gone, shown := 0, 0
	for _, p := range r.Packages {
		if p.Gone {
			gone++
		}
	}
	if len(r.Packages) > 0 {
		w.printf("Packages: %d go, %d lose files:\n", gone, len(r.Packages)-gone)
		for _, p := range r.Packages {
			if shown++; shown > slimRows {
				w.printf("  and %d more\n", len(r.Packages)-slimRows)
				break
			}
			what := "all of it"
			if !p.Gone {
				what = fmt.Sprintf("%d of %d files", p.Left.Files, p.Left.Files+p.Kept.Files)
			}
			w.printf("  %8s of %s %s: %s\n", size(p.Left.Bytes), p.Name, p.Version, what)
		}
	}
	if n := min(len(r.Largest), slimRows); n > 0 {
		w.printf("The largest files that are left out:\n")
		for _, f := range r.Largest[:n] {
			w.printf("  %8s /%s\n", size(f.Size), f.Path)
		}
	}
	a.slimLists(w, r)
	for _, x := range r.Runs {
		if x.ExitCode != 0 && !x.Stopped {
			w.printf("%q ended with the exit code %d\n", strings.Join(x.Command, " "), x.ExitCode)
		}
	}
	w.printf("\n%s: %s in %s become %s in %s", r.Image, size(r.Before.Bytes), plural(r.Before.Files, "file"), size(r.After.Bytes), plural(r.After.Files, "file"))
	if s := r.Slim; s != nil {
		w.printf("; as stored %s become %s", size(r.Size), size(s.Size))
		switch {
		case s.Name == "":
			w.printf("\nThe new image has no name: it does not do what %s does\n", r.Image)
			return
		case len(r.Proof) > 0:
			w.printf("\n%s %s, which does what %s does in %s\n", s.Name, s.ID, r.Image, plural(len(r.Proof), "run"))
			return
		}
		w.printf("\n%s %s, which was not run\n", s.Name, s.ID)
		return
	}
	w.printf("\n")
}

// slimLists shows the lists of names.
func (a *app) slimLists(w *lines, r *engine.SlimReport) {
	for _, l := range []struct {
		what  string
		names []string
	}{{"Programs with another's rights that are left out", r.Setuid}, {"Shells that are left out", r.Shells}, {"Missing in the new image", r.Missing}, {"Package databases that tell of packages which are gone", r.Databases}} {
		if len(l.names) == 0 {
			continue
		}
		w.printf("%s: %s", l.what, strings.Join(l.names[:min(len(l.names), slimRows)], " "))
		if n := len(l.names) - slimRows; n > 0 {
			w.printf(" and %d more", n)
		}
		w.printf("\n")
	}
	if len(r.Listed) > 0 {
		w.printf("Directories that a run listed, and that lack names now:")
		for _, d := range r.Listed[:min(len(r.Listed), slimRows)] {
			w.printf(" /%s (%d of %d)", d.Path, d.Left, d.Names)
		}
		w.printf("\n")
	}
}
