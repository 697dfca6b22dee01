// Package ledger counts what a registry does, and notes who changed it.
//
//	l := ledger.New(ledger.Options{File: "/var/log/registry.audit"})
//	h := api.New(storage, api.Options{Done: l.Note})
//	l.WriteMetrics(w) // the text format of Prometheus
package ledger

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/camada/camada/registry/api"
)

// Options of a Ledger.
type Options struct {
	// File gets a JSON object a line for each request that changed something, or that was refused for want of a right; "" is none.
	// It may be moved away at any time: the next line makes it anew.
	File string
	// Fault is told when a line cannot be written; nil drops it.
	Fault func(error)
}

// Ledger counts and notes. It is safe for use by many goroutines.
type Ledger struct {
	opts Options

	mu    sync.Mutex
	kinds map[key]*count
	// writing is held by who writes; name is the file.
	writing sync.Mutex
	name    string
}

// key is what is counted together: few, whatever clients send.
type key struct {
	kind, method string
	status       int
}

// count is what is known of a key.
type count struct {
	requests, sent, received int64
	seconds                  float64
	buckets                  [len(bounds)]int64
}

// bounds of the durations, in seconds.
var bounds = [...]float64{0.001, 0.005, 0.025, 0.1, 0.5, 2, 10, 60}

// New returns a ledger that counts from nothing.
func New(opts Options) *Ledger {
	return &Ledger{opts: opts, kinds: map[key]*count{}, name: opts.File}
}

// SetFile makes another file get the lines from now on; "" is none.
func (l *Ledger) SetFile(name string) {
	l.writing.Lock()
	defer l.writing.Unlock()
	l.name = name
}

// Note counts a request that was answered, and writes its line.
func (l *Ledger) Note(e api.Event) {
	l.count(e)
	if !worth(e) {
		return
	}
	if err := l.write(e); err != nil && l.opts.Fault != nil {
		l.opts.Fault(fmt.Errorf("write the audit log: %w", err))
	}
}

// worth reports whether a request belongs in the log. Chunks do not: the blob does that they become.
func worth(e api.Event) bool {
	switch {
	case e.Status == http.StatusUnauthorized, e.Status == http.StatusForbidden:
		return true
	case e.Status >= http.StatusBadRequest:
		return false
	}
	switch e.Request.Method {
	case http.MethodPut, http.MethodDelete:
		return true
	case http.MethodPost: // of an upload only one that made a blob
		return e.Kind != "uploads" || e.Status == http.StatusCreated
	default:
		return false
	}
}

func (l *Ledger) count(e api.Event) {
	method := e.Request.Method
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPost, http.MethodPatch, http.MethodDelete:
	default:
		method = "other"
	}
	k := key{e.Kind, method, e.Status}
	took := e.Took.Seconds()
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.kinds[k]
	if c == nil {
		c = &count{}
		l.kinds[k] = c
	}
	c.requests++
	c.sent += e.Sent
	c.received += e.Received
	c.seconds += took
	for i, b := range bounds {
		if took <= b {
			c.buckets[i]++
		}
	}
}

// line is one of the log.
type line struct {
	Time       time.Time `json:"time"`
	Who        string    `json:"who"`
	From       string    `json:"from"`
	Method     string    `json:"method"`
	Kind       string    `json:"kind"`
	Repository string    `json:"repository,omitempty"`
	Reference  string    `json:"reference,omitempty"`
	Digest     string    `json:"digest,omitempty"`
	Tags       []string  `json:"tags,omitempty"`
	Status     int       `json:"status"`
	Received   int64     `json:"received,omitempty"`
}

// write appends a line. One write, so that lines of several processes do not mix.
func (l *Ledger) write(e api.Event) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	if l.name == "" {
		return nil
	}
	ref := e.Reference
	if e.Kind == "upload" {
		ref = "" // whoever knows the ID of an upload can write to it
	}
	b, err := json.Marshal(line{e.Time.UTC(), e.Who, e.Request.RemoteAddr, e.Request.Method, e.Kind, e.Repository, ref, e.Digest, e.Tags, e.Status, e.Received})
	if err != nil {
		return err
	}
	f, err := os.OpenFile(l.name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}

// WriteMetrics writes the counts in the text format of Prometheus (version 0.0.4).
func (l *Ledger) WriteMetrics(w io.Writer) error {
	l.mu.Lock()
	kinds := make(map[key]count, len(l.kinds))
	for k, c := range l.kinds {
		kinds[k] = *c
	}
	l.mu.Unlock()
	keys := slices.SortedFunc(maps.Keys(kinds), func(a, b key) int {
		return strings.Compare(a.kind+" "+a.method+strconv.Itoa(a.status), b.kind+" "+b.method+strconv.Itoa(b.status))
	})
	var b strings.Builder
	family := func(name, kind, help string, value func(labels string, c count)) {
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
		for _, k := range keys {
			value(fmt.Sprintf(`kind=%q,method=%q,status="%d"`, k.kind, k.method, k.status), kinds[k])
		}
	}
	family("camada_registry_requests_total", "counter", "Requests that were answered.", func(labels string, c count) {
		fmt.Fprintf(&b, "camada_registry_requests_total{%s} %d\n", labels, c.requests)
	})
	family("camada_registry_sent_bytes_total", "counter", "Bytes of the bodies of answers.", func(labels string, c count) {
		fmt.Fprintf(&b, "camada_registry_sent_bytes_total{%s} %d\n", labels, c.sent)
	})
	family("camada_registry_received_bytes_total", "counter", "Bytes of the bodies of requests.", func(labels string, c count) {
		fmt.Fprintf(&b, "camada_registry_received_bytes_total{%s} %d\n", labels, c.received)
	})
	family("camada_registry_request_seconds", "histogram", "How long requests took.", func(labels string, c count) {
		for i, bound := range bounds {
			fmt.Fprintf(&b, "camada_registry_request_seconds_bucket{%s,le=\"%g\"} %d\n", labels, bound, c.buckets[i])
		}
		fmt.Fprintf(&b, "camada_registry_request_seconds_bucket{%s,le=\"+Inf\"} %d\n", labels, c.requests)
		fmt.Fprintf(&b, "camada_registry_request_seconds_sum{%s} %g\ncamada_registry_request_seconds_count{%s} %d\n", labels, c.seconds, labels, c.requests)
	})
	_, err := io.WriteString(w, b.String())
	return err
}
