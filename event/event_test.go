package event_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/event"
)

func TestNoteAndRead(t *testing.T) {
	log := event.Open(t.TempDir() + "/events")
	begin := time.Now()
	for i := range 3 {
		if err := log.Note(t.Context(), event.Event{Time: begin.Add(time.Duration(i) * time.Second), Type: event.Container, Action: "start", ID: fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	collect := func(e event.Event) error {
		got = append(got, e.ID)
		return nil
	}
	if err := log.Read(t.Context(), event.ReadOptions{Since: begin.Add(time.Second), Until: begin.Add(time.Second)}, collect); err != nil || len(got) != 1 || got[0] != "1" {
		t.Errorf("read %v, %v", got, err)
	}
	// Following ends with the context, and sees what another writes.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 0
	err := log.Read(ctx, event.ReadOptions{Follow: true}, func(e event.Event) error {
		n++
		switch e.ID {
		case "2":
			return log.Note(context.Background(), event.Event{Type: event.Image, Action: "tag", ID: "last"})
		case "last":
			cancel()
		}
		return nil
	})
	if err != nil || n != 4 {
		t.Errorf("followed %d events, %v", n, err)
	}
}

// TestLong keeps an event whose attributes are too many, without them.
func TestLong(t *testing.T) {
	log := event.Open(t.TempDir())
	if err := log.Note(t.Context(), event.Event{Type: event.Container, Action: "die", ID: "x", Attributes: map[string]string{"label": strings.Repeat("y", 100<<10)}}); err != nil {
		t.Fatal(err)
	}
	n := 0
	err := log.Read(t.Context(), event.ReadOptions{}, func(e event.Event) error {
		if n++; e.Action != "die" || e.Attributes != nil {
			t.Errorf("read %+v", e)
		}
		return nil
	})
	if err != nil || n != 1 {
		t.Errorf("%d events, %v", n, err)
	}
}

func TestMatcher(t *testing.T) {
	e := event.Event{Type: event.Container, Action: "health_status: healthy", ID: strings.Repeat("ab", 32), Attributes: map[string]string{"name": "web", "image": "app:1", "tier": "front"}}
	connect := event.Event{Type: event.Network, Action: "connect", ID: "bridge", Attributes: map[string]string{"name": "bridge", "container": e.ID}}
	tag := event.Event{Type: event.Image, Action: "tag", ID: "sha256:1", Attributes: map[string]string{"name": "app:latest"}}
	for _, tc := range []struct {
		filters string
		of      event.Event
		want    bool
	}{
		{"", e, true},
		{"container=web", e, true},
		{"container=" + e.ID[:12], e, true},
		{"container=we", e, false},
		{"container=" + e.ID, connect, true},
		{"event=health_status", e, true},
		{"event=health_status: healthy", e, true},
		{"event=health", e, false},
		{"event=die event=health_status", e, true},
		{"event=die container=web", e, false},
		{"image=app", e, true},
		{"image=app:1", e, true},
		{"image=ap", e, false},
		{"image=app", tag, true},
		{"image=sha256:1", tag, true},
		{"label=tier", e, true},
		{"label=tier=front", e, true},
		{"label=tier=back", e, false},
		{"network=bridge", connect, true},
		{"network=bridge", e, false},
		{"type=network", connect, true},
		{"scope=local", e, true},
	} {
		var filters []string
		for _, f := range strings.Split(strings.ReplaceAll(tc.filters, ": ", ":_"), " ") {
			if f != "" {
				filters = append(filters, strings.ReplaceAll(f, ":_", ": "))
			}
		}
		match, err := event.Matcher(filters)
		if err != nil {
			t.Fatal(err)
		}
		if got := match(tc.of); got != tc.want {
			t.Errorf("%q of %s %s: %v", tc.filters, tc.of.Type, tc.of.Action, got)
		}
	}
	for _, bad := range []string{"web", "colour=red"} {
		if _, err := event.Matcher([]string{bad}); !errdefs.IsInvalid(err) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
