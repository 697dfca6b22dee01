package engine

import (
	"context"
	"time"

	"github.com/camada/camada/container/record"
	"github.com/camada/camada/event"
)

// EventOptions choose events.
type EventOptions struct {
	// Since is the first time; zero is from now on. Until is the last; zero is none.
	Since, Until time.Time
	// Filters are NAME=VALUE, as docker's.
	Filters []string
}

// EventMessage is one event in the form of docker's.
type EventMessage struct {
	// Status, ID and From are those of old versions, for containers and images.
	Status string `json:"status,omitempty"`
	ID     string `json:"id,omitempty"`
	From   string `json:"from,omitempty"`
	Type   string
	Action string
	Actor  EventActor
	Scope  string `json:"scope"`
	// Time in seconds and TimeNano in nanoseconds since 1970.
	Time     int64 `json:"time"`
	TimeNano int64 `json:"timeNano"`
}

// EventActor is what an event is about.
type EventActor struct {
	ID         string
	Attributes map[string]string
}

// Events calls fn for what happened and, unless Until is over, for what happens, until the end of the context.
func (e *Engine) Events(ctx context.Context, opts EventOptions, fn func(EventMessage) error) error {
	match, err := event.Matcher(opts.Filters)
	if err != nil {
		return err
	}
	ro := event.ReadOptions{Since: opts.Since, Until: opts.Until, Follow: opts.Until.IsZero() || opts.Until.After(time.Now())}
	if ro.Since.IsZero() {
		ro.Since = time.Now()
	}
	return e.events().Read(ctx, ro, func(ev event.Event) error {
		if !match(ev) {
			return nil
		}
		return fn(message(ev))
	})
}

func message(ev event.Event) EventMessage {
	m := EventMessage{
		Type: ev.Type, Action: ev.Action, Actor: EventActor{ID: ev.ID, Attributes: ev.Attributes}, Scope: "local",
		Time: ev.Time.Unix(), TimeNano: ev.Time.UnixNano(),
	}
	if m.Actor.Attributes == nil {
		m.Actor.Attributes = map[string]string{}
	}
	switch ev.Type {
	case event.Container:
		m.Status, m.ID, m.From = ev.Action, ev.ID, ev.Attributes["image"]
	case event.Image:
		m.Status, m.ID = ev.Action, ev.ID
	}
	return m
}

// noteImage notes an event of an image, by what it is called.
func (e *Engine) noteImage(ctx context.Context, action, id, name string) {
	e.note(ctx, event.Event{Type: event.Image, Action: action, ID: id, Attributes: map[string]string{"name": name}})
}

// noteVolume notes an event of a volume.
func (e *Engine) noteVolume(ctx context.Context, action, name string) {
	e.note(ctx, event.Event{Type: event.Volume, Action: action, ID: name, Attributes: map[string]string{"driver": volumeDriver}})
}

// noteNetwork notes that a container came to its network, or left it.
func (e *Engine) noteNetwork(ctx context.Context, c *record.Container, action string) {
	name := c.Config.Network
	e.note(ctx, event.Event{Type: event.Network, Action: action, ID: name, Attributes: map[string]string{"container": c.Config.ID, "name": name, "type": name}})
}
