package display

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/camada/camada/internal/harmless"
	"github.com/camada/camada/progress"
)

// plain writes a line for each thing that happens:
//
//	#3 [build 2/4] RUN make
//	#3 0.412 cc -c main.c
//	#3 DONE 1.2s
type plain struct {
	mu   sync.Mutex
	w    io.Writer
	now  func() time.Time
	work map[string]*plainWork
	err  error
}

type plainWork struct {
	n       int
	start   time.Time
	partial []byte
	shown   time.Time
	ended   bool
}

// every is how often plain tells of bytes under way.
const every = 5 * time.Second

func newPlain(w io.Writer, opts Options) *plain {
	return &plain{w: w, now: opts.Now, work: map[string]*plainWork{}}
}

func (p *plain) Emit(e progress.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e.Time.IsZero() {
		e.Time = p.now()
	}
	w := p.work[e.ID]
	if w == nil {
		w = &plainWork{n: len(p.work) + 1, start: e.Time, shown: e.Time}
		p.work[e.ID] = w
		p.printf("#%d %s\n", w.n, oneLine(e.Name, 0))
	}
	if w.ended {
		return
	}
	p.log(w, e)
	elapsed := e.Time.Sub(w.start)
	switch e.State {
	case progress.Running:
		if a := amount(e, elapsed); a != "" && e.Time.Sub(w.shown) >= every {
			w.shown = e.Time
			p.printf("#%d %s %s\n", w.n, a, seconds(elapsed))
		}
		return
	case progress.Done:
		p.flush(w)
		if a := amount(e, elapsed); a != "" {
			p.printf("#%d DONE %s %s\n", w.n, a, seconds(elapsed))
		} else {
			p.printf("#%d DONE %s\n", w.n, seconds(elapsed))
		}
	case progress.Cached:
		p.printf("#%d CACHED\n", w.n)
	case progress.Canceled:
		p.flush(w)
		p.printf("#%d CANCELED\n", w.n)
	case progress.Failed:
		p.flush(w)
		if e.Err != nil {
			p.printf("#%d ERROR: %s\n", w.n, harmless.Text(e.Err.Error()))
		} else {
			p.printf("#%d ERROR\n", w.n)
		}
	}
	w.ended = true
}

func (p *plain) log(w *plainWork, e progress.Event) {
	rest := e.Log
	for {
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			break
		}
		line := append(w.partial, rest[:i]...)
		p.printf("#%d %.3f %s\n", w.n, e.Time.Sub(w.start).Seconds(), bytes.TrimSuffix(line, []byte("\r")))
		w.partial, rest = w.partial[:0], rest[i+1:]
	}
	w.partial = append(w.partial, rest...)
}

func (p *plain) flush(w *plainWork) {
	if len(w.partial) > 0 {
		p.printf("#%d %s\n", w.n, w.partial)
		w.partial = nil
	}
}

func (p *plain) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

// Close returns the first error of writing.
func (p *plain) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}
