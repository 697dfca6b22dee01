package tracing

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// collector is one of OpenTelemetry's.
type collector struct {
	*httptest.Server

	mu      sync.Mutex
	spans   []spanForm
	headers []http.Header
	answers []int // statuses of the next answers; 200 afterwards
	wait    chan struct{}
}

func collectorOf(t *testing.T) *collector {
	c := &collector{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c.wait != nil {
			<-c.wait
		}
		var body io.Reader = r.Body
		if r.Header.Get("Content-Encoding") == "gzip" {
			z, err := gzip.NewReader(r.Body)
			if err != nil {
				t.Error(err)
				return
			}
			body = z
		}
		var e export
		if err := json.NewDecoder(body).Decode(&e); err != nil {
			t.Errorf("what came is no OTLP: %v", err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.headers = append(c.headers, r.Header)
		if len(c.answers) > 0 {
			status := c.answers[0]
			if c.answers = c.answers[1:]; status != http.StatusOK {
				w.WriteHeader(status)
				return
			}
		}
		for _, r := range e.Spans {
			for _, s := range r.Scopes {
				c.spans = append(c.spans, s.Spans...)
			}
		}
	}))
	t.Cleanup(c.Close)
	return c
}

// tracer sends to the collector, everything unless the options say something else.
func (c *collector) tracer(t *testing.T, o Options) *Tracer {
	t.Helper()
	o.Endpoint = c.URL + "/v1/traces"
	if o.Ratio == 0 {
		o.Ratio = 1
	}
	tr, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closed(t, tr) })
	return tr
}

func closed(t *testing.T, tr *Tracer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := tr.Close(ctx); err != nil {
		t.Error(err)
	}
}

const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// A trace goes through: from who calls, over what is done here, to who is called.
func TestTrace(t *testing.T) {
	c := collectorOf(t)
	tr := c.tracer(t, Options{Service: "reg", Parent: true, Headers: map[string]string{"Api-Key": "k"}, Compress: true, Resource: map[string]string{"zone": "a"}})
	var got http.Header
	store := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header
		w.WriteHeader(http.StatusNotFound)
	}))
	defer store.Close()
	ctx := Remote(t.Context(), http.Header{"Traceparent": {parent}, "Tracestate": {"a=1", "b=2"}})
	ctx, span := tr.Start(ctx, "GET", Server, Attribute{"a", "x"}, Attribute{"n", int64(7)}, Attribute{"b", true})
	base := &http.Transport{}
	defer base.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, store.URL+"/bucket/key?secret=hunter2", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := Transport(base).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if req.Header.Get("Traceparent") != "" {
		t.Error("the request itself was changed")
	}
	span.Name("GET manifest")
	span.End()
	closed(t, tr)
	if len(c.spans) != 2 {
		t.Fatalf("%d spans", len(c.spans))
	}
	client, server := c.spans[0], c.spans[1]
	if server.Trace != "0af7651916cd43dd8448eb211c80319c" || server.Parent != "b7ad6b7169203331" || server.Name != "GET manifest" || server.Kind != Server || server.State != "a=1,b=2" || server.Status.Code != 0 {
		t.Errorf("%+v", server)
	}
	if client.Trace != server.Trace || client.Parent != server.Span || client.Kind != Client || client.Status.Code != statusError || client.Start > client.End {
		t.Errorf("%+v", client)
	}
	if got.Get("Traceparent") != "00-"+client.Trace+"-"+client.Span+"-01" || got.Get("Tracestate") != "a=1,b=2" {
		t.Errorf("passed on: %v", got)
	}
	b, err := json.Marshal(c.spans)
	if err != nil || strings.Contains(string(b), "hunter2") || !strings.Contains(string(b), "/bucket/key") || !strings.Contains(string(b), `"intValue":"7"`) || !strings.Contains(string(b), `"boolValue":true`) {
		t.Errorf("%s, %v", b, err)
	}
	if h := c.headers[0]; h.Get("Api-Key") != "k" || h.Get("Content-Type") != "application/json" {
		t.Errorf("%v", h)
	}
}

func TestParent(t *testing.T) {
	for _, s := range []string{
		"", "00", parent + "-", parent + "x", "ff" + parent[2:], strings.ToUpper(parent), "00-00000000000000000000000000000000-b7ad6b7169203331-01", "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0g", "00_0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331_01", "0x" + parent[2:],
	} {
		if id, ok := parseParent(s); ok {
			t.Errorf("%q is taken as %+v", s, id)
		}
	}
	for s, sampled := range map[string]bool{parent: true, parent[:53] + "00": false, "cc" + parent[2:] + "-what-comes-later": true, parent[:53] + "03": true} {
		if id, ok := parseParent(s); !ok || id.sampled != sampled {
			t.Errorf("%q: %+v, %v", s, id, ok)
		}
	}
	ctx := t.Context()
	if Remote(ctx, http.Header{"Traceparent": {parent, parent}}) != ctx {
		t.Error("two parents are taken")
	}
	h := http.Header{}
	Inject(Remote(ctx, http.Header{"Traceparent": {parent}, "Tracestate": {"a=\n"}}), h)
	if h.Get("Traceparent") != parent || h.Get("Tracestate") != "" {
		t.Errorf("%v", h)
	}
	if Inject(ctx, http.Header{}); len(h) != 1 {
		t.Errorf("%v", h)
	}
}

func FuzzParent(f *testing.F) {
	f.Add(parent)
	f.Add("01" + parent[2:] + "-x")
	f.Fuzz(func(t *testing.T, s string) {
		id, ok := parseParent(s)
		if !ok {
			return
		}
		h := http.Header{}
		Inject(Remote(context.Background(), http.Header{"Traceparent": {s}}), h)
		if got := h.Get("Traceparent"); got[:53] != "00"+s[2:53] || id.sampled != (got[53:] == "01") {
			t.Errorf("%q becomes %q", s, got)
		}
	})
}

func TestSampling(t *testing.T) {
	for name, tc := range map[string]struct {
		o          Options
		root       bool
		yes, no    bool // below a parent that is sampled, and one that is not
		someOfMany bool
	}{
		"all":              {Options{Ratio: 1}, true, true, true, false},
		"none":             {Options{}, false, false, false, false},
		"all, or parent":   {Options{Ratio: 1, Parent: true}, true, true, false, false},
		"none, or parent":  {Options{Parent: true}, false, true, false, false},
		"a tenth":          {Options{Ratio: 0.1}, false, false, false, true},
		"tenth, or parent": {Options{Ratio: 0.1, Parent: true}, false, true, false, true},
	} {
		yes, no := true, false
		trace := [16]byte{8: 0x80}
		if got := [3]bool{tc.o.samples(trace, nil), tc.o.samples(trace, &yes), tc.o.samples(trace, &no)}; got != [3]bool{tc.root, tc.yes, tc.no} {
			t.Errorf("%s: %v", name, got)
		}
		if low := tc.o.samples([16]byte{8: 1}, nil); tc.someOfMany && !low {
			t.Errorf("%s: a low number is not sampled", name)
		}
	}
}

// A collector that does not take what it gets delays nobody, and what it takes later arrives.
func TestCollectorFails(t *testing.T) {
	c := collectorOf(t)
	c.answers = []int{503, 200, 400}
	faults := make(chan error, 10)
	tr := c.tracer(t, Options{Delay: time.Millisecond, Fault: func(err error) { faults <- err }})
	one := func() { _, s := tr.Start(t.Context(), "x", Internal); s.End() }
	count := func() int { c.mu.Lock(); defer c.mu.Unlock(); return len(c.spans) }
	one()
	for began := time.Now(); count() != 1; time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > time.Minute {
			t.Fatal("what was refused for a moment is not sent again")
		}
	}
	one() // 400: dropped
	if err := <-faults; !strings.Contains(err.Error(), "400") || strings.Contains(err.Error(), c.URL) {
		t.Error(err)
	}
	if n := tr.Dropped(); n != 1 {
		t.Errorf("%d dropped", n)
	}
	one()
	closed(t, tr)
	if n := count(); n != 2 {
		t.Errorf("%d spans came", n)
	}
	one() // after the end
	if n := tr.Dropped(); n != 2 || len(faults) != 0 {
		t.Errorf("%d dropped, %d faults", n, len(faults))
	}
}

// One that hangs fills the queue and no more.
func TestCollectorHangs(t *testing.T) {
	c := collectorOf(t)
	c.wait = make(chan struct{})
	tr := c.tracer(t, Options{Queue: 10, Batch: 5, Delay: time.Millisecond})
	for range 1000 {
		_, s := tr.Start(t.Context(), "x", Internal)
		s.End()
	}
	if n := tr.Dropped(); n < 1000-10-5-5 {
		t.Errorf("%d dropped", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := tr.Close(ctx); err == nil {
		t.Error("the end waits for nobody, and says nothing")
	}
	close(c.wait)
}

func TestNothing(t *testing.T) {
	tr, err := New(Options{})
	if tr != nil || err != nil {
		t.Errorf("%v, %v", tr, err)
	}
	ctx, s := tr.Start(t.Context(), "x", Server)
	s.Set(Attribute{"a", "b"})
	s.Name("y")
	s.Fail("z")
	s.End()
	if ctx != t.Context() || FromContext(ctx) != nil || tr.Dropped() != 0 || tr.Close(ctx) != nil {
		t.Error("nothing does something")
	}
	if _, err := New(Options{Endpoint: "localhost:4318"}); err == nil {
		t.Error("an address without a scheme is taken")
	}
}

func TestFromEnvironment(t *testing.T) {
	for _, tc := range []struct {
		env, want string
	}{
		{"", ""}, {"OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4318/", "http://c:4318/v1/traces"}, {"OTEL_EXPORTER_OTLP_ENDPOINT=http://c OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://d/x", "http://d/x"},
		{"OTEL_TRACES_EXPORTER=otlp", "http://localhost:4318/v1/traces"}, {"OTEL_TRACES_EXPORTER=none OTEL_EXPORTER_OTLP_ENDPOINT=http://c", ""}, {"OTEL_SDK_DISABLED=true OTEL_EXPORTER_OTLP_ENDPOINT=http://c", ""},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=http://c OTEL_EXPORTER_OTLP_PROTOCOL=grpc", "error"}, {"OTEL_TRACES_EXPORTER=zipkin", "error"}, {"OTEL_TRACES_EXPORTER=otlp OTEL_TRACES_SAMPLER=jaeger_remote", "error"},
		{"OTEL_TRACES_EXPORTER=otlp OTEL_TRACES_SAMPLER=traceidratio OTEL_TRACES_SAMPLER_ARG=2", "error"}, {"OTEL_TRACES_EXPORTER=otlp OTEL_EXPORTER_OTLP_HEADERS=hunter2", "error"},
		{"OTEL_TRACES_EXPORTER=otlp OTEL_BSP_MAX_QUEUE_SIZE=x", "error"},
	} {
		o, err := FromEnvironment(environ(tc.env))
		if err != nil {
			o.Endpoint = "error"
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("a secret is told: %v", err)
			}
		}
		if o.Endpoint != tc.want {
			t.Errorf("%s: %q, %v", tc.env, o.Endpoint, err)
		}
	}
	o, err := FromEnvironment(environ("OTEL_TRACES_EXPORTER=otlp OTEL_TRACES_SAMPLER=parentbased_traceidratio OTEL_TRACES_SAMPLER_ARG=0.25 OTEL_EXPORTER_OTLP_HEADERS=a=b%20c,d=e OTEL_RESOURCE_ATTRIBUTES=service.name=reg,zone=x " +
		"OTEL_EXPORTER_OTLP_TIMEOUT=2500 OTEL_EXPORTER_OTLP_TRACES_COMPRESSION=gzip OTEL_BSP_SCHEDULE_DELAY=100 OTEL_BSP_MAX_EXPORT_BATCH_SIZE=9"))
	if err != nil || o.Ratio != 0.25 || !o.Parent || o.Headers["a"] != "b c" || o.Headers["d"] != "e" || o.Service != "reg" || o.Resource["zone"] != "x" || o.Timeout != 2500*time.Millisecond || !o.Compress ||
		o.Delay != 100*time.Millisecond || o.Batch != 9 {
		t.Errorf("%+v, %v", o, err)
	}
}

// environ has variables, with spaces between.
func environ(s string) func(string) string {
	m := map[string]string{}
	for f := range strings.FieldsSeq(s) {
		k, v, _ := strings.Cut(f, "=")
		m[k] = v
	}
	return func(k string) string { return m[k] }
}
