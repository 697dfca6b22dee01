package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/camada/camada/engine"
	"github.com/camada/camada/image/compare"
	"github.com/camada/camada/internal/cli/format"
	"github.com/camada/camada/progress"
	"golang.org/x/sys/unix"
)

// maxShownFiles is how many files of one step are shown as text, and maxShownRanges how many ranges of one file; JSON has more.
const (
	maxShownFiles  = 20
	maxShownRanges = 3
)

// varyProcess changes what a second build must not depend on: the mask of new files, the time zone and language of this
// process, and how many processors it and the steps have.
func varyProcess() (varied []string, restore func()) {
	undo := []func(){}
	const other = 0o027
	old := unix.Umask(other)
	undo = append(undo, func() { unix.Umask(old) })
	varied = append(varied, fmt.Sprintf("the umask of the builder: %04o instead of %04o", other, old))

	zone := time.Local
	time.Local = time.FixedZone("UTC-11", -11*60*60)
	undo = append(undo, func() { time.Local = zone })
	for name, value := range map[string]string{"TZ": "UTC+11", "LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8"} {
		before, had := os.LookupEnv(name)
		os.Setenv(name, value) //nolint:errcheck // cannot fail with these
		undo = append(undo, func() {
			if had {
				os.Setenv(name, before) //nolint:errcheck // as above
			} else {
				os.Unsetenv(name) //nolint:errcheck // as above
			}
		})
	}
	varied = append(varied, "the time zone and the language of the builder")

	procs := runtime.GOMAXPROCS(1)
	undo = append(undo, func() { runtime.GOMAXPROCS(procs) })
	if n, back, ok := oneProcessor(); ok {
		undo = append(undo, back)
		varied = append(varied, fmt.Sprintf("the processors: 1 instead of %d", n))
	}
	return varied, func() {
		for _, u := range undo {
			u()
		}
	}
}

// oneProcessor leaves one processor to all threads, and so to all that they start; false when there is only one, or
// when the kernel refuses.
func oneProcessor() (had int, restore func(), ok bool) {
	var all, one unix.CPUSet
	if unix.SchedGetaffinity(0, &all) != nil || all.Count() < 2 {
		return 0, nil, false
	}
	for i := 0; one.Count() == 0 && i < 8192; i++ {
		if all.IsSet(i) {
			one.Set(i)
		}
	}
	set := func(cpus *unix.CPUSet) bool {
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return false
		}
		for _, t := range tasks {
			if tid, err := strconv.Atoi(t.Name()); err == nil {
				_ = unix.SchedSetaffinity(tid, cpus) // a thread that has ended meanwhile
			}
		}
		return true
	}
	return all.Count(), func() { set(&all) }, set(&one)
}

// buildOrVerify builds once, or twice when how says so; the report is nil then. Builds that differ are an error, beside the report.
func buildOrVerify(ctx context.Context, e *engine.Engine, how string, opts engine.BuildOptions, sink progress.Sink) (engine.BuildResult, *engine.VerifyReport, error) {
	if how == "" {
		res, err := e.Build(ctx, opts, sink)
		return res, nil, err
	}
	res, rep, err := e.Verify(ctx, opts, engine.VerifyOptions{Vary: varyProcess}, sink)
	if err == nil && !rep.Reproducible {
		err = &exitError{code: codeFailed, err: fmt.Errorf("not reproducible: two builds of the same inputs gave %s and %s", rep.First, rep.Second)}
	}
	return res, rep, err
}

// showVerified writes the report.
func showVerified(w io.Writer, how string, rep *engine.VerifyReport) error {
	if how != "text" {
		return format.Show(w, how, rep)
	}
	if !rep.Reproducible {
		writeDifferences(w, rep)
		return nil
	}
	fmt.Fprintf(w, "reproducible: %s, built twice\n", rep.First)
	for _, s := range rep.Steps {
		fmt.Fprintf(w, "  %s differs, and left no trace in the image\n", stepPlace(s))
	}
	return nil
}

func writeDifferences(w io.Writer, rep *engine.VerifyReport) {
	fmt.Fprintf(w, "NOT reproducible: the first build is %s, the second %s\n", rep.First, rep.Second)
	for _, s := range rep.Steps {
		fmt.Fprintf(w, "\n%s\n", stepPlace(s))
		if s.After != "" {
			fmt.Fprintf(w, "  it reads what %s made, which differs: that may be the cause\n", s.After)
		}
		if s.Note != "" {
			fmt.Fprintf(w, "  %s\n", s.Note)
		}
		for i, f := range s.Files {
			if i == maxShownFiles {
				break
			}
			writeChange(w, f.Change)
			if f.Hint != "" {
				fmt.Fprintf(w, "    hint: %s\n", f.Hint)
			}
		}
		if n := max(0, len(s.Files)-maxShownFiles) + s.More; n > 0 {
			fmt.Fprintf(w, "  and %s\n", plural(n, "more file"))
		}
	}
	if len(rep.Config) > 0 {
		fmt.Fprintln(w, "\nthe image's config:")
	}
	for _, f := range rep.Config {
		fmt.Fprintf(w, "  %s%s: %s / %s\n", prefixed(f.Platform), f.Name, orMissing(f.First), orMissing(f.Second))
	}
	fmt.Fprintln(w, "\ndifferent between the builds, besides the inputs:")
	for _, v := range rep.Varied {
		fmt.Fprintln(w, "  "+v)
	}
}

// stepPlace names a step: file, line, and what it says.
func stepPlace(s engine.StepDifference) string {
	place := s.Step
	if s.Line > 0 {
		place = s.File + ":" + strconv.Itoa(s.Line) + ": " + place
	}
	return prefixed(s.Platform) + place
}

func prefixed(platform string) string {
	if platform == "" {
		return ""
	}
	return "[" + platform + "] "
}

func orMissing(s string) string {
	if s == "" {
		return "(none)"
	}
	return s
}

func writeChange(w io.Writer, c compare.Change) {
	what := c.Type
	if c.Whiteout {
		what = "removal"
	}
	if c.Kind != compare.Changed {
		fmt.Fprintf(w, "  %s  (%s) %s build\n", quoted(c.Path), what, c.Kind)
		return
	}
	fmt.Fprintf(w, "  %s  (%s)\n", quoted(c.Path), what)
	for _, f := range c.Fields {
		fmt.Fprintf(w, "    %s: %s / %s\n", f.Name, orMissing(quoted(f.First)), orMissing(quoted(f.Second)))
	}
	if c.Content == nil {
		return
	}
	fmt.Fprintf(w, "    content: %d of %s\n", c.Content.Bytes, plural(int(max(c.Content.FirstSize, c.Content.SecondSize)), "byte"))
	for i, r := range c.Content.Ranges {
		if i == maxShownRanges {
			break
		}
		fmt.Fprintf(w, "      bytes %d to %d\n", r.Start, r.End-1)
		hexdump(w, "-", r.From, r.First)
		hexdump(w, "+", r.From, r.Second)
	}
	if more := max(0, len(c.Content.Ranges)-maxShownRanges) + int(c.Content.More); more > 0 {
		fmt.Fprintf(w, "      and %s\n", plural(more, "more range"))
	}
}

// hexdump shows bytes as hexdump -C does.
func hexdump(w io.Writer, sign string, at int64, b []byte) {
	for ; len(b) > 0; at += 16 {
		row := b[:min(16, len(b))]
		b = b[len(row):]
		text := strings.Map(func(r rune) rune {
			if r < ' ' || r > '~' {
				return '.'
			}
			return r
		}, latin(row))
		fmt.Fprintf(w, "      %s %08x  %-47s  |%s|\n", sign, at, spaced(row), text)
	}
}

func latin(b []byte) string {
	r := make([]rune, len(b))
	for i, c := range b {
		r[i] = rune(c)
	}
	return string(r)
}

func spaced(b []byte) string {
	s := make([]string, len(b))
	for i, c := range b {
		s[i] = fmt.Sprintf("%02x", c)
	}
	return strings.Join(s, " ")
}

// quoted shows a name from an image as it is, unless it could do something to a terminal.
func quoted(s string) string {
	for _, r := range s {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == 0xfffd {
			return strconv.Quote(s)
		}
	}
	return s
}
