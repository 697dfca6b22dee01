package tracing

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/camada/camada/errdefs"
)

const (
	// tries is how often the same spans are sent, and pause how long it takes until the second time; each further one waits twice as long.
	tries = 3
	pause = time.Second
	// maxPause bounds what a collector may ask to wait.
	maxPause = 30 * time.Second
)

// New makes a tracer that sends what it is told; nil when the options name no endpoint.
func New(o Options) (*Tracer, error) {
	if o.Endpoint == "" {
		return nil, nil
	}
	if u, err := url.Parse(o.Endpoint); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errdefs.Invalid("traces: %.200q is no address of a collector: want http://HOST:PORT/v1/traces", o.Endpoint)
	}
	o.Queue, o.Batch = orDefault(o.Queue, 2048), orDefault(o.Batch, 512)
	o.Timeout, o.Delay = orDefault(o.Timeout, 10*time.Second), orDefault(o.Delay, 5*time.Second)
	if o.Fault == nil {
		o.Fault = func(error) {}
	}
	tlsConfig := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CA != "" {
		pem, err := os.ReadFile(o.CA)
		if err != nil {
			return nil, fmt.Errorf("read the certificates of the traces' collector: %w", err)
		}
		tlsConfig.RootCAs = x509.NewCertPool()
		if !tlsConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errdefs.Invalid("%s has no certificates in PEM", o.CA)
		}
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: tlsConfig, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute}
	// Headers with secrets go where the configuration says, and nowhere else.
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	t := &Tracer{opts: o, queue: make(chan *Span, o.Queue), stop: make(chan struct{}), ended: make(chan struct{})}
	t.send = func(ctx context.Context, spans []*Span) error { return t.post(ctx, client, spans) }
	go func() {
		defer close(t.ended)
		defer transport.CloseIdleConnections()
		t.work()
	}()
	return t, nil
}

func orDefault[T int | time.Duration](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}

// Close sends what waits, until ctx is done.
func (t *Tracer) Close(ctx context.Context) error {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	first := !t.closed
	t.closed = true
	t.mu.Unlock()
	if first {
		close(t.stop)
	}
	select {
	case <-t.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// work sends batches until the tracer is closed and its queue is empty.
func (t *Tracer) work() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for {
		batch, last := t.collect()
		if len(batch) > 0 {
			t.deliver(ctx, batch, last)
		}
		if last && len(batch) < t.opts.Batch {
			return
		}
	}
}

// collect waits for spans: until a batch is full, or the first of them has waited long enough. It tells whether the tracer is closed.
func (t *Tracer) collect() (batch []*Span, last bool) {
	timer := time.NewTimer(t.opts.Delay)
	defer timer.Stop()
	for len(batch) < t.opts.Batch {
		select {
		case s := <-t.queue:
			batch = append(batch, s)
			continue
		case <-timer.C:
			return batch, false
		case <-t.stop:
		}
		for len(batch) < t.opts.Batch {
			select {
			case s := <-t.queue:
				batch = append(batch, s)
			default:
				return batch, true
			}
		}
	}
	select {
	case <-t.stop:
		last = true
	default:
	}
	return batch, last
}

// deliver sends a batch, again when that may help, and drops it when it does not. At the end there is one try.
func (t *Tracer) deliver(ctx context.Context, batch []*Span, last bool) {
	var err error
	for try := 1; ; try++ {
		if err = t.send(ctx, batch); err == nil {
			t.mu.Lock()
			t.failing = false
			t.mu.Unlock()
			return
		}
		var r *refusal
		if last || try == tries || errors.As(err, &r) && !r.again {
			break
		}
		wait := pause << (try - 1)
		if r != nil && r.wait > 0 {
			wait = min(r.wait, maxPause)
		}
		select {
		case <-time.After(wait):
		case <-t.stop:
			last = true
		}
	}
	t.mu.Lock()
	t.dropped += int64(len(batch))
	told := t.failing
	t.failing = true
	t.mu.Unlock()
	if !told {
		t.opts.Fault(fmt.Errorf("send traces: %w", err))
	}
}

// refusal is an answer that does not take the spans.
type refusal struct {
	status string
	again  bool
	wait   time.Duration
}

func (r *refusal) Error() string { return "the collector says " + r.status }

// post sends spans (OTLP/HTTP; OpenTelemetry Protocol, "OTLP/HTTP Request").
func (t *Tracer) post(ctx context.Context, client *http.Client, spans []*Span) error {
	ctx, cancel := context.WithTimeout(ctx, t.opts.Timeout)
	defer cancel()
	body, err := t.opts.encode(spans)
	if err != nil {
		return err
	}
	if t.opts.Compress {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		if _, err := z.Write(body); err != nil {
			return err
		}
		if err := z.Close(); err != nil {
			return err
		}
		body = b.Bytes()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.opts.Endpoint, bytes.NewReader(body))
	if err != nil {
		return err
	}
	for k, v := range t.opts.Headers {
		req.Header.Set(k, v)
	}
	req.Header.Set("Content-Type", "application/json")
	if t.opts.Compress {
		req.Header.Set("Content-Encoding", "gzip")
	}
	resp, err := client.Do(req)
	if err != nil {
		return errdefs.With(errdefs.ErrUnavailable, withoutURL(err))
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10) // so that the connection can be used again
	if resp.StatusCode/100 == 2 {
		return nil
	}
	r := &refusal{status: resp.Status}
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		r.again = true
		if n, err := strconv.ParseUint(resp.Header.Get("Retry-After"), 10, 16); err == nil {
			r.wait = time.Duration(n) * time.Second
		}
	}
	return r
}

// withoutURL takes the address out of an error: it may have a key in it.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
