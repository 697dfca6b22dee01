package cli

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/camada/camada/engine"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/cli/format"
	"github.com/camada/camada/internal/cli/scanreport"
	"github.com/camada/camada/internal/harmless"
	"github.com/camada/camada/vuln"
	"github.com/spf13/cobra"
)

// scanOptions are the flags of scan.
type scanOptions struct {
	vex                               []string
	ignore, newSince, output          string
	how, platform, failOn, maxAge     string
	exit                              int
	partial, unfixed, kernel, noTrunc bool
	all, reachable, sinceUpdate       bool
}

func (a *app) scanCommand() *cobra.Command {
	var o scanOptions
	cmd := &cobra.Command{
		Use: "scan [OPTIONS] IMAGE | DIRECTORY | SBOM | --all", Short: "Find packages with known vulnerabilities in an image",
		Long: `Look up the packages of an image in the local advisory database ("camada db update" makes it), and show which are vulnerable, what repairs them, and
which layer and line of the Dockerfile brought them.

IMAGE is as for "camada layers". A path of a directory that is no OCI layout is a root file system (or dir:PATH), one of a JSON file an SBOM of SPDX's form or CycloneDX's (or
sbom:PATH). What is in an image is remembered: the next scan opens only the database. With --all it is all images of the store that have a tag, one line each.

Of programs of Go it also tells whether a vulnerable function is linked in at all; --reachable leaves out those findings of which that is certain that it is not.

The exit code is 0 also when there are findings, unless --fail-on or --exit-code asks for another one. It is 4 when nothing can be said: there is no
database, it is older than --max-age, or it has nothing on some of the packages (--partial accepts that).`,
		Example: `  camada scan app
  camada scan --fail-on high --ignore-unfixed app
  camada scan --new-since app@{1} --fail-on any app
  camada scan --reachable --fail-on high app
  camada db update && camada scan --all --new-since-update
  camada scan --format sarif -o scan.sarif app
  camada scan ./rootfs
  camada scan app.cdx.json
  camada scan --format json app | jq '.Findings[].ID'
  camada scan --format '{{range .Findings}}{{.ID}} {{.Package}} {{.Fixed}}{{"\n"}}{{end}}' app.tar`,
		Args: args(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case o.all && len(args) > 0:
				return usage(cmd, "--all is for all images of the store: give no name, or leave it out")
			case o.all && (o.newSince != "" || o.output != "" || scanreport.Known(o.how)):
				return usage(cmd, "--all gives a table, json or a template, and goes without --new-since IMAGE")
			case !o.all && len(args) == 0:
				return usage(cmd, "want an image, a directory or an SBOM, or --all")
			case o.newSince != "" && o.sinceUpdate:
				return usage(cmd, "--new-since and --new-since-update are two questions: give one")
			case o.all:
				return a.scanAll(cmd, o)
			}
			return a.scan(cmd, args[0], o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.how, "format", "", "table, json, sarif, cyclonedx, spdx, openvex or a Go `template`")
	f.StringVarP(&o.output, "output", "o", "", "write a document (sarif, cyclonedx, spdx, openvex) to a `file`")
	listFlag(f, &o.vex, "vex", "", "a VEX `document` (OpenVEX or CycloneDX) that says what does not matter; may be given again")
	f.StringVar(&o.ignore, "ignore-file", ".camada-ignore", "`file` with lines such as: CVE-2026-1 until=2026-12-31 package=foo # why")
	f.StringVar(&o.newSince, "new-since", "", "show only, and fail only for, what this other `image` has not")
	f.BoolVar(&o.sinceUpdate, "new-since-update", false, "show only, and fail only for, what the database did not know before its last update")
	f.BoolVar(&o.all, "all", false, "scan all images of the store")
	f.BoolVar(&o.reachable, "reachable", false, "leave out what is in functions that are not linked into the program (Go)")
	f.StringVar(&o.platform, "platform", "", "os/arch[/variant] of an image for several")
	f.StringVar(&o.failOn, "fail-on", "", "end with exit code 1 when there is one of this `severity` or a worse one: low, medium, high, critical; any for each")
	f.IntVar(&o.exit, "exit-code", 0, "end with this `code` instead when there are findings, or those that --fail-on means")
	f.BoolVar(&o.unfixed, "ignore-unfixed", false, "leave out what no version repairs")
	f.StringVar(&o.maxAge, "max-age", "7d", "how old the database may be, such as 12h or `7d`; 0 for any")
	f.BoolVar(&o.partial, "partial", false, "accept that some packages cannot be looked up")
	f.BoolVar(&o.kernel, "kernel", false, "look up packages of the kernel too, which no container runs")
	f.BoolVar(&o.noTrunc, "no-trunc", false, "do not shorten")
	return cmd
}

// codeUnknown is the exit code of a scan that can say nothing, or not all.
const codeUnknown = 4

func (a *app) scan(cmd *cobra.Command, name string, o scanOptions) error {
	maxAge, err := parseAge(o.maxAge)
	if err != nil {
		return usage(cmd, "--max-age %q: %v", o.maxAge, err)
	}
	gate, err := o.gate(cmd)
	if err != nil {
		return err
	}
	if o.output != "" && !scanreport.Known(o.how) {
		return usage(cmd, "-o needs --format sarif, cyclonedx, spdx or openvex")
	}
	return a.with(cmd.Context(), func(e *engine.Engine) error {
		d, err := a.display("auto")
		if err != nil {
			return err
		}
		opts := o.engineOptions(cmd, maxAge)
		r, err := e.Scan(cmd.Context(), name, opts, d)
		if err == nil && o.newSince != "" {
			var old *engine.ScanReport
			if old, err = e.Scan(cmd.Context(), o.newSince, opts, d); err == nil {
				r.Since(old)
			}
		}
		if err := errors.Join(err, d.Close()); err != nil {
			if errors.Is(err, engine.ErrNoAdvisories) {
				return &exitError{code: codeUnknown, err: err}
			}
			return err
		}
		o.filter(r)
		for _, what := range r.Expired {
			fmt.Fprintf(a.stderr, "camada: warning: this decision has expired: %s\n", what)
		}
		switch {
		case scanreport.Known(o.how):
			doc, encodeErr := scanreport.Encode(o.how, r, scanreport.Options{Version: a.version, Now: time.Now()})
			if err = encodeErr; err == nil {
				err = a.document(o.output, doc)
			}
		case o.how == "" || o.how == "table":
			err = a.showScan(r, o)
		default:
			err = format.Show(a.stdout, o.how, r)
		}
		return errors.Join(err, gate(r))
	})
}

func (o *scanOptions) engineOptions(cmd *cobra.Command, maxAge time.Duration) engine.ScanOptions {
	return engine.ScanOptions{Platform: o.platform, MaxAge: maxAge, Kernel: o.kernel, VEX: o.vex, Ignore: o.ignore, IgnoreMayLack: !cmd.Flags().Changed("ignore-file"), NewSinceUpdate: o.sinceUpdate}
}

// filter leaves out what is not asked for.
func (o *scanOptions) filter(r *engine.ScanReport) {
	if o.unfixed {
		r.Filter(func(f *engine.ScanFinding) bool { return f.Fixed != "" })
	}
	if o.reachable {
		r.OnlyReachable()
	}
}

// gate returns what makes a report fail.
func (o *scanOptions) gate(cmd *cobra.Command) (func(*engine.ScanReport) error, error) {
	least, any := vuln.Unknown, o.failOn == "any" || o.failOn == ""
	if !any {
		var ok bool
		if least, ok = vuln.ParseSeverity(o.failOn); !ok || least < vuln.Low {
			return nil, usage(cmd, "--fail-on %q: want low, medium, high, critical or any", o.failOn)
		}
	}
	if o.exit < 0 || o.exit > 255 {
		return nil, usage(cmd, "--exit-code %d: want a number from 0 to 255", o.exit)
	}
	code := o.exit
	if code == 0 && o.failOn != "" && !cmd.Flags().Changed("exit-code") {
		code = codeFailed
	}
	return func(r *engine.ScanReport) error {
		n := 0
		for _, f := range r.Findings {
			if any || f.Severity >= least {
				n++
			}
		}
		if n > 0 && code != 0 {
			what := "there are findings"
			if !any {
				what = "there are findings of severity " + least.String() + " or worse"
			}
			return &exitError{code: code, err: fmt.Errorf("%s: %s: %d", r.Image, what, n)}
		}
		if err := r.Complete(); err != nil {
			if o.partial {
				return nil
			}
			return &exitError{code: codeUnknown, err: fmt.Errorf("%w; give \"camada db update\" a source that has them, or accept it with --partial", err)}
		}
		return nil
	}, nil
}

// parseAge reads a duration, that may be in days: 7d.
func parseAge(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return 0, errdefs.Invalid("want a number of days such as 7d, or a time such as 12h")
		}
		return time.Duration(n) * 24 * time.Hour, nil
	}
	if text == "0" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, errdefs.Invalid("want a number of days such as 7d, or a time such as 12h")
	}
	return d, nil
}

// scanRow is a line of the table: what is the same vulnerability, in the packages of one source package.
type scanRow struct {
	*engine.ScanFinding
	ids, packages []string
	reachable     vuln.Reach
}

// scanRows puts findings together that people see as one.
func scanRows(r *engine.ScanReport) []*scanRow {
	type key struct{ typ, source, version, group, layer string }
	byKey := map[key]*scanRow{}
	var rows []*scanRow
	for i := range r.Findings {
		f := &r.Findings[i]
		k := key{f.Type, f.Source, f.SourceVersion, f.Group, f.LayerDigest}
		if f.Source == "" {
			k.source, k.version = f.Package, f.Version
		}
		row := byKey[k]
		if row == nil {
			row = &scanRow{ScanFinding: f, reachable: f.Reachable}
			byKey[k] = row
			rows = append(rows, row)
		}
		if !slices.Contains(row.ids, f.ID) {
			row.ids = append(row.ids, f.ID)
		}
		if f.Reachable != row.reachable && row.reachable != vuln.ReachYes { // one that is, or may be, counts
			if row.reachable = vuln.ReachUnknown; f.Reachable == vuln.ReachYes {
				row.reachable = vuln.ReachYes
			}
		}
		if !slices.Contains(row.packages, f.Package) {
			row.packages = append(row.packages, f.Package)
		}
	}
	return rows
}

func (a *app) showScan(r *engine.ScanReport, o scanOptions) error {
	rows := scanRows(r)
	if len(rows) > 0 {
		linked := slices.ContainsFunc(rows, func(r *scanRow) bool { return r.reachable != vuln.ReachUnknown })
		if err := scanTable(o.noTrunc, linked).Write(a.stdout, "", rows); err != nil {
			return err
		}
		fmt.Fprintln(a.stdout)
	}
	w := &lines{a.stdout}
	w.printf("%s: %s", r.Image, plural(total(r.Counts), "finding"))
	if s := severityCounts(r.Counts); s != "" {
		w.printf(" (%s)", s)
	}
	w.printf(" in %s", plural(r.Packages, "package"))
	if n := orElse(r.Distribution.PrettyName, r.Distribution.ID); n != "" {
		w.printf(", %s", n)
	}
	w.printf("; advisories of %s\n", r.Database.Created.Format(time.DateOnly))
	if base, own, none := r.Repairs(); base+own > 0 {
		w.printf("repaired by a newer base image: %d, by updates of packages: %d, by nothing yet: %d\n", base, own, none)
	}
	if r.NotReachable > 0 {
		w.printf("%s left out: no function that is vulnerable is in the program\n", plural(r.NotReachable, "finding"))
	}
	if r.NewSince != "" {
		w.printf("%d others are in %s as well\n", r.Known, r.NewSince)
	}
	if len(r.Ignored) > 0 {
		w.printf("%s left out by decision:\n", plural(len(r.Ignored), "finding"))
	}
	for _, x := range r.Ignored {
		w.printf("  %s in %s %s: %s (%s)\n", x.ID, x.Package, x.Version, x.Reason, x.Decision)
	}
	if !r.EndOfLife.IsZero() {
		w.printf("the support of this distribution ended on %s: what was found since then is not repaired, and often not even listed\n", r.EndOfLife.Format(time.DateOnly))
	}
	if r.Packages == 0 && len(r.Unread) == 0 {
		fmt.Fprintf(a.stderr, "camada: warning: %s has no packages that are known, so nothing was looked up\n", r.Image)
	}
	if err := r.Complete(); err != nil && o.partial {
		fmt.Fprintf(a.stderr, "camada: warning: %s\n", harmless.Text(err.Error()))
	}
	return nil
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

func total(counts map[string]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

// severityCounts tells how many there are of each severity, the worst first.
func severityCounts(counts map[string]int) string {
	var parts []string
	for s := vuln.Critical; ; s-- {
		if n := counts[s.String()]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, s))
		}
		if s == vuln.Unknown {
			return strings.Join(parts, ", ")
		}
	}
}

// scanTable has a column for what is reachable only where something is known of it.
func scanTable(noTrunc, linked bool) format.Table[*scanRow] {
	t := format.Table[*scanRow]{Columns: []format.Column[*scanRow]{
		{Header: "PACKAGE", Value: func(r *scanRow) string {
			if len(r.packages) > 1 {
				return fmt.Sprintf("%s (%d packages)", r.Source, len(r.packages))
			}
			return r.Package
		}},
		{Header: "VERSION", Value: func(r *scanRow) string {
			if len(r.packages) > 1 {
				return r.SourceVersion
			}
			return r.Version
		}},
		{Header: "VULNERABILITY", Value: func(r *scanRow) string { return strings.Join(r.ids, ", ") }},
		{Header: "SEVERITY", Value: func(r *scanRow) string {
			if r.Score > 0 {
				return fmt.Sprintf("%s %.1f", r.Severity, r.Score)
			}
			return r.Severity.String()
		}},
		{Header: "FIXED", Value: func(r *scanRow) string { return orElse(r.Fixed, "("+r.Status+")") }},
		{Header: "LAYER", Value: func(r *scanRow) string {
			if r.Layer == 0 {
				return ""
			}
			return strconv.Itoa(r.Layer)
		}},
		{Header: "FROM", Value: func(r *scanRow) string {
			if r.Line > 0 {
				return shorten(fmt.Sprintf("%s:%d %s", r.Dockerfile, r.Line, joined(r.Instruction)), 50, noTrunc)
			}
			return shorten(joined(r.Instruction), 50, noTrunc)
		}},
	}}
	if linked {
		t.Columns = slices.Insert(t.Columns, 5, format.Column[*scanRow]{Header: "REACHABLE", Value: func(r *scanRow) string {
			if r.reachable == vuln.ReachUnknown {
				return ""
			}
			return string(r.reachable)
		}})
	}
	return t
}
