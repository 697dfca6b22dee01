package display_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/internal/cli/display"
	"github.com/camada/camada/progress"
	"github.com/google/go-cmp/cmp"
)

func story(s progress.Sink, t0 time.Time) {
	at := func(ms int) time.Time { return t0.Add(time.Duration(ms) * time.Millisecond) }
	s.Emit(progress.Event{ID: "a", Name: "[1/2] FROM base", State: progress.Cached, Time: at(0)})
	s.Emit(progress.Event{ID: "b", Name: "[2/2] RUN make", Time: at(10)})
	s.Emit(progress.Event{ID: "b", Log: []byte("one\ntw"), Time: at(110)})
	s.Emit(progress.Event{ID: "b", Log: []byte("o\n"), Time: at(210)})
	s.Emit(progress.Event{ID: "c", Name: "save", Current: 2_000_000, Total: 4_000_000, Time: at(300)})
	s.Emit(progress.Event{ID: "c", State: progress.Done, Current: 4_000_000, Total: 4_000_000, Time: at(1300)})
	s.Emit(progress.Event{ID: "b", State: progress.Failed, Err: errors.New("exit code 2"), Time: at(1310)})
}

func TestPlain(t *testing.T) {
	var b bytes.Buffer
	d, err := display.New("plain", &b, display.Options{})
	if err != nil {
		t.Fatal(err)
	}
	story(d, time.Unix(0, 0))
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	want := `#1 [1/2] FROM base
#1 CACHED
#2 [2/2] RUN make
#2 0.100 one
#2 0.200 two
#3 save
#3 DONE 4.00MB / 4.00MB 4.00MB/s 1.0s
#2 ERROR: exit code 2
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("plain output (-want +got):\n%s", diff)
	}
}

func TestJSONLinesParse(t *testing.T) {
	var b bytes.Buffer
	d, err := display.New("json", &b, display.Options{})
	if err != nil {
		t.Fatal(err)
	}
	story(d, time.Unix(0, 0))
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	if len(lines) != 7 {
		t.Fatalf("%d lines, want 7:\n%s", len(lines), b.String())
	}
	var last struct{ ID, State, Error string }
	if err := json.Unmarshal([]byte(lines[6]), &last); err != nil {
		t.Fatal(err)
	}
	if last.ID != "b" || last.State != "failed" || last.Error != "exit code 2" {
		t.Errorf("last line = %+v", last)
	}
}

func TestTTYEndsWithAllThatHappened(t *testing.T) {
	var b bytes.Buffer
	d, err := display.New("tty", &b, display.Options{})
	if err != nil {
		t.Fatal(err)
	}
	story(d, time.Now())
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"FROM base", "CACHED", "RUN make", "ERROR", "    two", "4.00MB / 4.00MB"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "\x1b[3") {
		t.Error("colours without Options.Color")
	}
}

func TestUnknownMode(t *testing.T) {
	if _, err := display.New("fancy", &bytes.Buffer{}, display.Options{}); err == nil {
		t.Error("--progress=fancy is accepted")
	}
}

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{0: "0B", 999: "999B", 1000: "1.00kB", 12_345: "12.3kB", 999_999: "1.00MB", 123_456_789: "123MB"} {
		if got := display.Bytes(n); got != want {
			t.Errorf("Bytes(%d) = %s, want %s", n, got, want)
		}
	}
}
