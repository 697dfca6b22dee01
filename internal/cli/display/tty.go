package display

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/camada/camada/progress"
	"golang.org/x/term"
)

const (
	refresh = 100 * time.Millisecond
	logTail = 6 // lines of output kept and shown below a step that runs

	colorOff  = "\x1b[0m"
	colorDone = "\x1b[34m"
	colorFail = "\x1b[31m"
	colorDim  = "\x1b[2m"
)

// tty keeps what runs in a live area at the bottom of a terminal; what has ended scrolls
// away above it.
type tty struct {
	mu    sync.Mutex
	w     io.Writer
	f     *os.File
	opts  Options
	work  map[string]*ttyWork
	order []*ttyWork // what runs, oldest first
	ended bytes.Buffer
	drawn int // lines of the live area on the screen
	stop  chan struct{}
	done  chan struct{}
	once  sync.Once
	err   error
}

type ttyWork struct {
	last    progress.Event
	name    string
	start   time.Time
	tail    []string
	partial string
	ended   bool
}

func newTTY(w io.Writer, f *os.File, opts Options) *tty {
	t := &tty{w: w, f: f, opts: opts, work: map[string]*ttyWork{}, stop: make(chan struct{}), done: make(chan struct{})}
	go t.loop()
	return t
}

func (t *tty) loop() {
	defer close(t.done)
	tick := time.NewTicker(refresh)
	defer tick.Stop()
	for {
		select {
		case <-t.stop:
			return
		case <-tick.C:
			t.mu.Lock()
			t.draw()
			t.mu.Unlock()
		}
	}
}

func (t *tty) Emit(e progress.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e.Time.IsZero() {
		e.Time = t.opts.Now()
	}
	w := t.work[e.ID]
	if w == nil {
		w = &ttyWork{name: e.Name, start: e.Time}
		t.work[e.ID] = w
		t.order = append(t.order, w)
	}
	if w.ended {
		return
	}
	w.log(e.Log)
	e.Log = nil
	w.last = e
	if e.State != progress.Running {
		w.ended = true
		t.end(w)
	}
}

func (w *ttyWork) log(b []byte) {
	lines := strings.Split(w.partial+string(b), "\n")
	w.partial = lines[len(lines)-1]
	w.tail = append(w.tail, lines[:len(lines)-1]...)
	if n := len(w.tail) - 50; n > 0 {
		w.tail = append([]string(nil), w.tail[n:]...)
	}
}

// end moves w from the live area to the lines that scroll away. A failed step keeps its last output.
func (t *tty) end(w *ttyWork) {
	for i, o := range t.order {
		if o == w {
			t.order = append(t.order[:i], t.order[i+1:]...)
			break
		}
	}
	elapsed := w.last.Time.Sub(w.start)
	right, color := seconds(elapsed), colorDone
	switch w.last.State {
	case progress.Cached:
		right = "CACHED"
	case progress.Failed:
		right, color = "ERROR", colorFail
	case progress.Canceled:
		right, color = "CANCELED", colorFail
	default:
		if a := amount(w.last, elapsed); a != "" {
			right = a + " " + right
		}
	}
	fmt.Fprintf(&t.ended, "%s\n", t.paint(color, t.row(" => ", w.name, right)))
	if w.last.State == progress.Failed {
		if w.partial != "" {
			w.tail = append(w.tail, w.partial)
		}
		for _, l := range w.tail {
			fmt.Fprintf(&t.ended, "    %s\n", oneLine(l, 0))
		}
	}
}

// draw replaces the live area. The caller holds the lock.
func (t *tty) draw() {
	var out bytes.Buffer
	if t.drawn > 0 {
		fmt.Fprintf(&out, "\x1b[%dA\r\x1b[J", t.drawn)
	}
	out.Write(t.ended.Bytes())
	t.ended.Reset()
	_, height := t.size()
	lines := t.live(max(1, height-2))
	for _, l := range lines {
		out.WriteString(l)
		out.WriteByte('\n')
	}
	if t.drawn == 0 && out.Len() == 0 {
		return
	}
	t.drawn = len(lines)
	if _, err := t.w.Write(out.Bytes()); err != nil && t.err == nil {
		t.err = err
	}
}

// live is what runs now, at most limit lines.
func (t *tty) live(limit int) []string {
	width, _ := t.size()
	var lines []string
	now := t.opts.Now()
	for i, w := range t.order {
		if len(lines) >= limit {
			break
		}
		elapsed := now.Sub(w.start)
		right := seconds(elapsed)
		if a := amount(w.last, elapsed); a != "" {
			right = a + " " + right
		}
		lines = append(lines, t.row(" => ", w.name, right))
		tail := w.tail
		if n := len(tail) - logTail; n > 0 {
			tail = tail[n:]
		}
		if room := limit - len(lines) - (len(t.order) - i - 1); len(tail) > room {
			tail = tail[len(tail)-max(room, 0):]
		}
		for _, l := range tail {
			lines = append(lines, t.paint(colorDim, " => => # "+oneLine(l, width-10)))
		}
	}
	return lines
}

func (t *tty) row(prefix, name, right string) string {
	width, _ := t.size()
	room := width - len(prefix) - len(right) - 2
	name = oneLine(name, max(room, 10))
	pad := max(1, room-len([]rune(name))+1)
	return prefix + name + strings.Repeat(" ", pad) + right
}

func (t *tty) paint(color, s string) string {
	if !t.opts.Color {
		return s
	}
	return color + s + colorOff
}

func (t *tty) size() (width, height int) {
	if t.f != nil {
		if w, h, err := term.GetSize(int(t.f.Fd())); err == nil && w > 20 {
			return w, h
		}
	}
	return 80, 24
}

// Close draws a last time and leaves the cursor below.
func (t *tty) Close() error {
	t.once.Do(func() {
		close(t.stop)
		<-t.done
		t.mu.Lock()
		defer t.mu.Unlock()
		t.draw()
	})
	return t.err
}
