// Package tracing notes what a request did and how long it took, and sends that to a collector of OpenTelemetry's.
//
//	t, err := tracing.New(opts) // tracing.FromEnvironment(os.Getenv) has the options that OTEL_… say
//	defer t.Close(ctx)
//	ctx, span := t.Start(tracing.Remote(ctx, req.Header), "GET blob", tracing.Server)
//	defer span.End()
//	client := &http.Client{Transport: tracing.Transport(http.DefaultTransport)} // passes the trace on
//
// A span costs nothing of the request: it is put into a queue, and dropped when that is full. A collector that is slow or gone is waited for by
// nobody. A nil *Tracer and a nil *Span do nothing, so whoever uses them need not ask whether there are any.
package tracing

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"sync"
	"time"
)

// Kind says on which side of a request a span is, with OpenTelemetry's numbers.
type Kind int

// The kinds.
const (
	Internal Kind = 1
	Server   Kind = 2
	Client   Kind = 3
)

// Attribute is something that is known of a span. The value is a string, an int64 or a bool.
type Attribute struct {
	Key   string
	Value any
}

// maxAttributes and maxText bound what a span holds of what others send.
const (
	maxAttributes = 32
	maxText       = 512
)

// Tracer makes spans and sends them. It is safe for use by many goroutines.
type Tracer struct {
	opts  Options
	queue chan *Span
	send  func(ctx context.Context, spans []*Span) error
	stop  chan struct{}
	ended chan struct{}

	mu      sync.Mutex
	dropped int64
	closed  bool
	failing bool
}

// Span is one thing that was done. Its methods may be called by many goroutines.
type Span struct {
	tracer  *Tracer
	self    identity
	parent  [8]byte
	kind    Kind
	started time.Time

	mu         sync.Mutex
	name       string
	attributes []Attribute
	failure    string
	failed     bool
	over       time.Time
}

// identity is what goes from one service to the next.
type identity struct {
	trace   [16]byte
	span    [8]byte
	sampled bool
	// state is of other vendors, and passed on as it is.
	state string
}

type contextKey struct{}

// Start begins a span below the one of ctx, or below a remote one.
func (t *Tracer) Start(ctx context.Context, name string, kind Kind, attributes ...Attribute) (context.Context, *Span) {
	if t == nil {
		return ctx, nil
	}
	s := &Span{tracer: t, kind: kind, started: time.Now(), name: name}
	var id [24]byte
	_, _ = rand.Read(id[:]) // it never fails
	if up, ok := identityOf(ctx); ok {
		s.self, s.parent = up, up.span
		s.self.sampled = t.opts.samples(s.self.trace, &up.sampled)
	} else {
		copy(s.self.trace[:], id[:16])
		s.self.sampled = t.opts.samples(s.self.trace, nil)
	}
	copy(s.self.span[:], id[16:])
	s.Set(attributes...)
	return context.WithValue(ctx, contextKey{}, s), s
}

// samples decides about a trace; parent is what who calls decided, nil when nobody did.
func (o *Options) samples(trace [16]byte, parent *bool) bool {
	if o.Parent && parent != nil {
		return *parent
	}
	// As the SDKs have it, so that all services decide alike (TraceIdRatioBased).
	return binary.BigEndian.Uint64(trace[8:])>>1 < uint64(o.Ratio*(1<<63))
}

// FromContext is the span of a context; nil when there is none.
func FromContext(ctx context.Context) *Span {
	s, _ := ctx.Value(contextKey{}).(*Span)
	return s
}

// identityOf is that of the span of a context, of this process or of another one.
func identityOf(ctx context.Context) (identity, bool) {
	switch v := ctx.Value(contextKey{}).(type) {
	case *Span:
		return v.self, true
	case identity:
		return v, true
	default:
		return identity{}, false
	}
}

// Set adds attributes.
func (s *Span) Set(attributes ...Attribute) {
	if s == nil || !s.self.sampled {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range attributes {
		if text, ok := a.Value.(string); ok {
			if text == "" {
				continue
			}
			a.Value = short(text)
		}
		if len(s.attributes) < maxAttributes {
			s.attributes = append(s.attributes, a)
		}
	}
}

func short(s string) string {
	if len(s) > maxText {
		return s[:maxText]
	}
	return s
}

// Name names the span anew, once more is known.
func (s *Span) Name(name string) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.name = name
}

// Fail says that what was done did not succeed.
func (s *Span) Fail(why string) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed, s.failure = true, short(why)
}

// End ends the span, and puts it into the queue. It is called once.
func (s *Span) End() {
	if s == nil || !s.self.sampled {
		return
	}
	s.mu.Lock()
	s.over = time.Now()
	s.mu.Unlock()
	t := s.tracer
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed {
		select {
		case t.queue <- s:
			return
		default:
		}
	}
	t.dropped++
}

// Dropped is how many spans were not sent.
func (t *Tracer) Dropped() int64 {
	if t == nil {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.dropped
}
