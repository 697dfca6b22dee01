// Package progress carries what long work has to tell from the place where it
// is done to whoever shows it.
//
// Work reports to a Sink, and knows nothing of terminals:
//
//	sink.Emit(progress.Event{ID: "sha256:…", Name: "layer 3", Current: n, Total: size})
//
// A Sink may be nil-safe wrapped with Or: progress.Or(nil) discards.
package progress

import "time"

// State is where a piece of work stands.
type State uint8

// The states. A piece of work goes from Running to one of the others.
const (
	Running State = iota
	Done
	Cached
	Failed
	Canceled
)

// String returns the state's name in lower case.
func (s State) String() string {
	switch s {
	case Running:
		return "running"
	case Done:
		return "done"
	case Cached:
		return "cached"
	case Failed:
		return "failed"
	case Canceled:
		return "canceled"
	}
	return "unknown"
}

// Event is one thing that happened to one piece of work. Events of one ID are
// emitted in order; events of different IDs may come from different goroutines.
type Event struct {
	// ID tells pieces of work apart; it is stable for the life of the work.
	ID string
	// Name is what a person calls the work, e.g. "[build 3/7] RUN make".
	Name string
	// State is where the work stands.
	State State
	// Current and Total are bytes; Total is 0 when it is not known.
	Current, Total int64
	// Log is output of the work (of a RUN step, say), whole lines or parts of
	// them, not to be kept by the Sink after Emit returns. Stderr tells on
	// which stream it came.
	Log    []byte
	Stderr bool
	// Err says why the work failed.
	Err error
	// Time is when it happened; the Sink fills it in when it is zero.
	Time time.Time
}

// Sink receives events. Emit may be called from many goroutines and must not
// block for long.
type Sink interface {
	Emit(Event)
}

// Func is a Sink made of a function.
type Func func(Event)

// Emit calls f.
func (f Func) Emit(e Event) { f(e) }

type discard struct{}

func (discard) Emit(Event) {}

// Or returns s, or a Sink that discards when s is nil.
func Or(s Sink) Sink {
	if s == nil {
		return discard{}
	}
	return s
}
