// Package object speaks to an object store that has Amazon's S3 protocol: the ten calls that a registry needs, each signed, and
// made again when the trouble may pass.
//
//	c, err := object.New(object.Config{Endpoint: "https://s3.example", Region: "eu-1", Bucket: "registry", Credentials: object.FromEnvironment(os.Getenv)})
//	etag, err := c.Put(ctx, "a/key", data, object.IfAbsent)
//	o, err := c.Get(ctx, "a/key", object.GetOptions{})
//	defer o.Body.Close()
//
// What is written is small or one part of a larger object, and held in memory: so each request can be made again as it was. A conditional write whose answer was lost
// may have happened: it is then answered by ErrConflict although it was ours, and only who reads the object can tell.
package object

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/camada/camada/errdefs"
)

// Config says where objects are.
type Config struct {
	// Endpoint is the service's address, "https://HOST[:PORT]"; "" is Amazon's for the region.
	Endpoint string
	// Region goes to signatures; "" is us-east-1.
	Region string
	Bucket string
	// Virtual puts the bucket into the host's name instead of the path.
	Virtual bool
	// Credentials are asked for before each request; nil asks without a signature.
	Credentials Source
	// Transport makes the requests; nil is a transport of our own.
	Transport http.RoundTripper
	// Wrap is put around it; nil is nothing.
	Wrap func(http.RoundTripper) http.RoundTripper
	// Tries is how often a request is made; 0 is 6.
	Tries int
	// Timeout ends a try on which nothing comes or goes; 0 is 30 seconds.
	Timeout time.Duration
}

// Client speaks to one bucket. It is safe for use by many goroutines.
type Client struct {
	base    *url.URL
	host    string
	region  string
	creds   Source
	http    http.RoundTripper
	own     *http.Transport
	tries   int
	timeout time.Duration
	// skew is how much the store's clock is ahead of ours, in nanoseconds.
	skew atomic.Int64
}

// New makes a client; nothing is asked yet.
func New(cfg Config) (*Client, error) {
	if cfg.Bucket == "" || strings.ContainsAny(cfg.Bucket, "/?#%") {
		return nil, errdefs.Invalid("%q is no name of a bucket", cfg.Bucket)
	}
	if cfg.Region == "" {
		cfg.Region = "us-east-1"
	}
	if cfg.Endpoint == "" {
		cfg.Endpoint = "https://s3." + cfg.Region + ".amazonaws.com"
	}
	u, err := url.Parse(cfg.Endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "" || strings.Trim(u.Path, "/") != "" {
		return nil, errdefs.Invalid("%.200q is no address of an object store: https://HOST[:PORT] is", cfg.Endpoint)
	}
	u.Path = "/" + cfg.Bucket
	if cfg.Virtual {
		u.Host, u.Path = cfg.Bucket+"."+u.Host, ""
	}
	c := &Client{base: u, host: u.Host, region: cfg.Region, creds: cfg.Credentials, http: cfg.Transport, tries: cfg.Tries, timeout: cfg.Timeout}
	if c.http == nil {
		c.own = &http.Transport{
			Proxy: http.ProxyFromEnvironment, MaxIdleConns: 256, MaxIdleConnsPerHost: 256, IdleConnTimeout: time.Minute,
			TLSHandshakeTimeout: 15 * time.Second, DisableCompression: true, ForceAttemptHTTP2: false,
		}
		c.http = c.own
	}
	if cfg.Wrap != nil {
		c.http = cfg.Wrap(c.http)
	}
	if c.tries == 0 {
		c.tries = 6
	}
	if c.timeout == 0 {
		c.timeout = 30 * time.Second
	}
	return c, nil
}

// Close drops idle connections.
func (c *Client) Close() {
	if c.own != nil {
		c.own.CloseIdleConnections()
	}
}

// Now is the time by the store's clock, as the last answer told it.
func (c *Client) Now() time.Time { return time.Now().Add(time.Duration(c.skew.Load())) }

// request is one call.
type request struct {
	method, key string
	query       url.Values
	header      http.Header
	body        []byte
	// whole reads answers that are no objects: up to so many bytes; 0 hands the open body on.
	whole int64
}

// maxAnswer bounds what the store may say in one answer that is no object.
const maxAnswer = 8 << 20

// answer is what came.
type answer struct {
	status int
	header http.Header
	data   []byte
	body   io.ReadCloser
}

// do makes a request until it works or will not.
func (c *Client) do(ctx context.Context, r request) (*answer, error) {
	for try := 1; ; try++ {
		a, wait, err := c.once(ctx, r)
		if err == nil {
			return a, nil
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%s %s: %w", r.method, r.key, context.Cause(ctx))
		}
		if !errdefs.IsUnavailable(err) || try >= c.tries {
			return nil, fmt.Errorf("%s %s: %w", r.method, r.key, err)
		}
		if wait == 0 {
			wait = rand.N(time.Duration(100<<min(try, 6)) * time.Millisecond) // all of a crowd that was refused come back at other times
		}
		select {
		case <-time.After(min(wait, 20*time.Second)):
		case <-ctx.Done():
			return nil, fmt.Errorf("%s %s: %w", r.method, r.key, context.Cause(ctx))
		}
	}
}

// once makes one try. The time that is returned is how long the store asks us to wait.
func (c *Client) once(ctx context.Context, r request) (*answer, time.Duration, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &watch{cancel: cancel, stall: c.timeout}
	w.timer = time.AfterFunc(c.timeout, func() {
		cancel(errdefs.Unavailable("the object store let %s pass without a byte", c.timeout))
	})
	done := func() { w.timer.Stop(); cancel(nil) }
	req, err := c.build(ctx, r, w)
	if err != nil {
		done()
		return nil, 0, err
	}
	res, err := c.http.RoundTrip(req) //nolint:bodyclose // the body is closed with its watch, by whoever gets it
	if err != nil {
		defer done()
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return nil, 0, errdefs.Unavailable("%w", withoutURL(err))
	}
	c.setSkew(res.Header.Get("Date"))
	body := &watchedBody{ReadCloser: res.Body, w: w, done: done, ctx: ctx}
	if res.StatusCode >= 300 {
		defer body.Close()
		wait := retryAfter(res.Header.Get("Retry-After"))
		return nil, wait, failure(res.StatusCode, io.LimitReader(body, 64<<10))
	}
	a := &answer{status: res.StatusCode, header: res.Header, body: body}
	if r.whole == 0 {
		return a, 0, nil
	}
	defer body.Close()
	a.data, err = io.ReadAll(io.LimitReader(body, r.whole+1))
	switch {
	case err != nil:
		return nil, 0, errdefs.Unavailable("read the answer: %w", err)
	case int64(len(a.data)) > r.whole:
		return nil, 0, errdefs.Limit("an answer of more than %d bytes", r.whole)
	}
	return a, 0, nil
}

// build makes and signs the request of one try.
func (c *Client) build(ctx context.Context, r request, w *watch) (*http.Request, error) {
	u := *c.base
	if r.key != "" {
		u.Path += "/" + r.key
	} else if u.Path == "" {
		u.Path = "/"
	}
	u.RawPath = escape(u.Path, true)
	u.RawQuery = canonicalQuery(r.query)
	req := &http.Request{
		Method: r.method, URL: &u, Host: c.host, Header: make(http.Header, 8), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	for k, v := range r.header {
		req.Header[k] = v
	}
	if r.body != nil {
		// A closer of the body may come after the answer did; so each try has a reader of its own.
		req.Body, req.ContentLength = io.NopCloser(&watchedReader{bytes.NewReader(r.body), w}), int64(len(r.body))
		if len(r.body) == 0 {
			req.Body = http.NoBody
		}
	}
	sum := sha256.Sum256(r.body)
	if c.creds != nil {
		k, err := c.creds.Get(ctx)
		if err != nil {
			return nil, fmt.Errorf("credentials of the object store: %w", err)
		}
		sign(req, k, c.region, hex.EncodeToString(sum[:]), c.Now())
	}
	return req.WithContext(ctx), nil
}

// setSkew learns the store's clock. Its seconds have no fractions: what is less than two apart is no difference.
func (c *Client) setSkew(date string) {
	t, err := http.ParseTime(date)
	if err != nil {
		return
	}
	d := time.Until(t)
	if d > -2*time.Second && d < 2*time.Second {
		d = 0
	}
	c.skew.Store(int64(d))
}

// retryAfter reads how long to wait; 0 when it is not said.
func retryAfter(s string) time.Duration {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		return 0
	}
	return time.Duration(min(n, 60)) * time.Second
}

// withoutURL takes the address out of an error: presigned ones are secrets.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// watch ends a try on which nothing moves.
type watch struct {
	cancel context.CancelCauseFunc
	timer  *time.Timer
	stall  time.Duration
}

// watchedReader is a body that is sent: what is taken is a sign of life.
type watchedReader struct {
	*bytes.Reader
	w *watch
}

func (r *watchedReader) Read(p []byte) (int, error) {
	r.w.timer.Reset(r.w.stall)
	return r.Reader.Read(p[:min(len(p), 256<<10)])
}

// WriteTo is hidden: it would send everything without a sign of life.
func (r *watchedReader) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, struct{ io.Reader }{r})
}

// watchedBody is a body that is received.
type watchedBody struct {
	io.ReadCloser
	w    *watch
	done func()
	ctx  context.Context //nolint:containedctx // the cause of an end stands in it
}

func (b *watchedBody) Read(p []byte) (int, error) {
	// Only while somebody reads can the store be slow: who reads slowly himself is not stopped.
	b.w.timer.Reset(b.w.stall)
	n, err := b.ReadCloser.Read(p)
	b.w.timer.Stop()
	if err != nil && !errors.Is(err, io.EOF) {
		if cause := context.Cause(b.ctx); cause != nil {
			err = cause
		}
		err = errdefs.Unavailable("read from the object store: %w", err)
	}
	return n, err
}

func (b *watchedBody) Close() error {
	err := b.ReadCloser.Close()
	b.done()
	return err
}
