// Package event keeps what happened to containers, images, networks and volumes, in a file that many processes write to and follow.
//
//	log := event.Open(dir)
//	err := log.Note(ctx, event.Event{Type: event.Container, Action: "start", ID: id, Attributes: map[string]string{"name": "web"}})
//	err = log.Read(ctx, event.ReadOptions{Since: since, Follow: true}, func(e event.Event) error { ... })
//
// The names of types, actions and attributes are Docker's. The file is bounded: the oldest events go.
package event

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/camada/camada/internal/rotated"
)

// The types of things that events are about.
const (
	Container = "container"
	Image     = "image"
	Network   = "network"
	Volume    = "volume"
)

// Event is one thing that happened.
type Event struct {
	Time   time.Time `json:"time"`
	Type   string    `json:"type"`
	Action string    `json:"action"`
	// ID of the thing: a container's or network's ID, an image's or volume's name.
	ID         string            `json:"id"`
	Attributes map[string]string `json:"attributes,omitempty"`
}

// What is kept: four files of a MiB are some ten thousand events.
const (
	maxSize  = 1 << 20
	maxFiles = 4
	maxEvent = 64 << 10
	logFile  = "log"
)

// Log is a directory of events.
type Log struct{ dir string }

// Open returns the log in dir, which is made when it is needed.
func Open(dir string) *Log { return &Log{dir: dir} }

func (l *Log) path() string { return filepath.Join(l.dir, logFile) }

// Note adds an event; without a time it is of now. It is not synced: events do not outlive a power cut for certain.
func (l *Log) Note(ctx context.Context, e Event) error {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	e.Time = e.Time.UTC()
	b, err := encode(e)
	if err != nil {
		return fmt.Errorf("note an event: %w", err)
	}
	opts := rotated.Options{MaxSize: maxSize, MaxFiles: maxFiles}
	err = rotated.Append(ctx, l.path(), opts, b)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(l.dir, 0o700); err == nil {
			err = rotated.Append(ctx, l.path(), opts, b)
		}
	}
	if err != nil {
		return fmt.Errorf("note an event: %w", err)
	}
	return nil
}

// encode makes the line of an event. One that is too long loses its attributes, which can be the labels of a container.
func encode(e Event) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		return nil, err
	}
	if buf.Len() > maxEvent && e.Attributes != nil {
		e.Attributes = nil
		return encode(e)
	}
	return buf.Bytes(), nil
}

// ReadOptions choose events by their time.
type ReadOptions struct {
	// Since and Until are the first and the last time; zero is no limit.
	Since, Until time.Time
	// Follow waits for more, until Until or the end of the context.
	Follow bool
}

// Read calls fn for each event in the order in which they were noted. The end of the context is no error when it follows.
func (l *Log) Read(ctx context.Context, opts ReadOptions, fn func(Event) error) error {
	ro := rotated.ReadOptions{Tail: -1, MaxLine: maxEvent}
	if opts.Follow {
		if err := os.MkdirAll(l.dir, 0o700); err != nil {
			return fmt.Errorf("read the events: %w", err)
		}
		ro.More = func() bool { return ctx.Err() == nil && (opts.Until.IsZero() || time.Now().Before(opts.Until)) }
	}
	err := rotated.Read(ctx, l.path(), ro, func(line []byte) error {
		e, ok := parse(line)
		if !ok || e.Time.Before(opts.Since) || !opts.Until.IsZero() && e.Time.After(opts.Until) {
			return nil
		}
		return fn(e)
	})
	if opts.Follow && ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the events: %w", err)
	}
	return nil
}

func parse(line []byte) (Event, bool) {
	var e Event
	if len(line) > maxEvent || json.Unmarshal(line, &e) != nil || e.Type == "" || e.Action == "" {
		return Event{}, false
	}
	return e, true
}
