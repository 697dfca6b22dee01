package display

import (
	"encoding/json"
	"io"
	"sync"
	"time"

	"github.com/camada/camada/progress"
)

// jsonLines writes each event as one JSON object on a line.
type jsonLines struct {
	mu  sync.Mutex
	enc *json.Encoder
	now func() time.Time
	err error
}

// line is the form of an event for programs; it is part of the command line's interface.
type line struct {
	Time    time.Time `json:"time"`
	ID      string    `json:"id"`
	Name    string    `json:"name,omitempty"`
	State   string    `json:"state"`
	Current int64     `json:"current,omitempty"`
	Total   int64     `json:"total,omitempty"`
	Log     string    `json:"log,omitempty"`
	Stream  string    `json:"stream,omitempty"`
	Error   string    `json:"error,omitempty"`
}

func newJSON(w io.Writer, opts Options) *jsonLines {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return &jsonLines{enc: enc, now: opts.Now}
}

func (j *jsonLines) Emit(e progress.Event) {
	l := line{Time: e.Time, ID: e.ID, Name: e.Name, State: e.State.String(), Current: e.Current, Total: e.Total, Log: string(e.Log)}
	if len(e.Log) > 0 {
		l.Stream = "stdout"
		if e.Stderr {
			l.Stream = "stderr"
		}
	}
	if e.Err != nil {
		l.Error = e.Err.Error()
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if l.Time.IsZero() {
		l.Time = j.now()
	}
	if err := j.enc.Encode(l); err != nil && j.err == nil {
		j.err = err
	}
}

// Close returns the first error of writing.
func (j *jsonLines) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.err
}
