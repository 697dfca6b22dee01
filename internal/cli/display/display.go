// Package display shows the progress of long work: as a live area on a terminal, as
// plain lines for logs and CI, as JSON lines for programs, or not at all.
//
//	d, err := display.New("auto", os.Stderr, display.Options{})
//	defer d.Close()
//	work(ctx, d) // a progress.Sink
package display

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/progress"
	"golang.org/x/term"
)

// Display is a progress.Sink with an end. Close shows what is pending.
type Display interface {
	progress.Sink
	Close() error
}

// Options shape a Display.
type Options struct {
	// Color allows colours on a terminal.
	Color bool
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Modes are the values of --progress.
const Modes = "auto|plain|tty|json|quiet"

// New makes the display of the mode (one of Modes) on w.
func New(mode string, w io.Writer, opts Options) (Display, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	switch mode {
	case "", "auto":
		if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" {
			return newTTY(w, f, opts), nil
		}
		return newPlain(w, opts), nil
	case "tty":
		f, _ := w.(*os.File)
		return newTTY(w, f, opts), nil
	case "plain":
		return newPlain(w, opts), nil
	case "json", "rawjson":
		return newJSON(w, opts), nil
	case "quiet", "none":
		return quiet{}, nil
	}
	return nil, errdefs.Invalid("--progress=%s: want one of %s", mode, Modes)
}

type quiet struct{}

func (quiet) Emit(progress.Event) {}
func (quiet) Close() error        { return nil }

// Bytes writes a count of bytes as people read it: 3 significant digits, decimal
// units, as docker does.
func Bytes(n int64) string {
	const units = "kMGTPE"
	if n < 1000 {
		return fmt.Sprintf("%dB", n)
	}
	v, i := float64(n)/1000, 0
	for v >= 999.5 && i < len(units)-1 {
		v /= 1000
		i++
	}
	switch {
	case v < 9.995:
		return fmt.Sprintf("%.2f%cB", v, units[i])
	case v < 99.95:
		return fmt.Sprintf("%.1f%cB", v, units[i])
	}
	return fmt.Sprintf("%.0f%cB", v, units[i])
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1fs", d.Seconds()) }

// amount tells how far e is and how fast it went since start.
func amount(e progress.Event, elapsed time.Duration) string {
	if e.Current == 0 && e.Total == 0 {
		return ""
	}
	s := Bytes(e.Current)
	if e.Total > 0 {
		s += " / " + Bytes(e.Total)
	}
	if elapsed > 200*time.Millisecond {
		s += " " + Bytes(int64(float64(e.Current)/elapsed.Seconds())) + "/s"
	}
	return s
}

// oneLine makes foreign text safe and short enough for a line of a terminal.
func oneLine(s string, width int) string {
	s = strings.Map(func(r rune) rune {
		if r == '\t' {
			return ' '
		}
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) {
			return -1
		}
		return r
	}, s)
	if width > 1 {
		if rs := []rune(s); len(rs) > width {
			return string(rs[:width-1]) + "…"
		}
	}
	return s
}
