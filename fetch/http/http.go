// Package http gets files from web servers and remembers them.
//
//	c := http.New(http.Options{Dir: filepath.Join(root, "cache", "http")})
//	defer c.Close()
//	f, err := c.Get(ctx, fetch.URL{URL: "https://example.com/a.tar.gz"}, dest, nil)
//
// A file that was fetched before is asked for with its validators (ETag, Last-Modified; RFC 9110, section 13.1), so that an
// unchanged one does not come again. With a checksum it is not even asked for.
//
// Proxies come from the environment. A redirect never leads from https to http, and credentials never
// to another host.
package http

import (
	"context"
	"fmt"
	"io"
	"net"
	nethttp "net/http"
	"net/url"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/fetch"
	"github.com/camada/camada/internal/httptry"
)

const (
	defaultMaxBytes = 64 << 30
	defaultStall    = time.Minute
	defaultTries    = 4
	maxRedirects    = 10
)

// Options of a Client. Dir is needed; all else has a default.
type Options struct {
	// Dir keeps what was fetched. It is made when needed.
	Dir string
	// Proxy chooses the proxy of a request; nil takes the environment's.
	Proxy func(*nethttp.Request) (*url.URL, error)
	// Authorization returns the header of that name for a host, "" for none; nil knows none.
	Authorization func(ctx context.Context, host string) (string, error)
	// MaxBytes bounds a file; 0 means 64 GiB.
	MaxBytes int64
	// Tries is how often a request is made before it fails; 0 means 4.
	Tries int
	// Stall is how long a server may send nothing; 0 means a minute.
	Stall time.Duration
}

// Client gets files. It is safe for use by many goroutines; many processes may share Dir.
type Client struct {
	opts Options
	http *nethttp.Client
}

// New returns a Client.
func New(o Options) *Client {
	if o.MaxBytes <= 0 {
		o.MaxBytes = defaultMaxBytes
	}
	if o.Tries <= 0 {
		o.Tries = defaultTries
	}
	if o.Stall <= 0 {
		o.Stall = defaultStall
	}
	if o.Proxy == nil {
		o.Proxy = nethttp.ProxyFromEnvironment
	}
	t := &nethttp.Transport{
		Proxy:                 o.Proxy,
		DialContext:           (&net.Dialer{Timeout: 15 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:   15 * time.Second,
		ResponseHeaderTimeout: o.Stall,
		IdleConnTimeout:       30 * time.Second,
		ForceAttemptHTTP2:     true,
	}
	return &Client{opts: o, http: &nethttp.Client{Transport: t, CheckRedirect: checkRedirect}}
}

// Close closes the idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

func checkRedirect(req *nethttp.Request, via []*nethttp.Request) error {
	if len(via) >= maxRedirects {
		return errdefs.Limit("more than %d redirects", maxRedirects)
	}
	last := via[len(via)-1].URL
	if s := req.URL.Scheme; s != "https" && (s != "http" || last.Scheme != "http") {
		return errdefs.Permission("redirect from %s to %s", last.Scheme, s)
	}
	return nil
}

// validators are what a server said of a file that is there.
type validators struct {
	ETag string `json:"etag,omitempty"`
	// LastModified is the header when it is good for a comparison.
	LastModified string `json:"lastModified,omitempty"`
}

// answer is a response whose status is good.
type answer struct {
	notModified bool
	validators  validators
	modTime     time.Time
	size        int64 // -1 when it is not known
}

// do requests u until it works, or will not. save is called with each body, from the beginning.
func (c *Client) do(ctx context.Context, u string, have validators, save func(answer, io.Reader) error) (a answer, err error) {
	err = httptry.Do(ctx, httptry.Options{Tries: c.opts.Tries, Stall: c.opts.Stall}, func(ctx context.Context, body httptry.Body) error {
		req, err := c.request(ctx, u, have)
		if err != nil {
			return err
		}
		res, err := c.http.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if a, err = c.judge(res, have); err != nil || a.notModified {
			return err
		}
		return save(a, body(res.Body))
	})
	if err != nil {
		err = fmt.Errorf("get %s: %w", fetch.Redact(u), err)
	}
	return a, err
}

func (c *Client) request(ctx context.Context, u string, have validators) (*nethttp.Request, error) {
	req, err := nethttp.NewRequestWithContext(ctx, nethttp.MethodGet, u, nil)
	if err != nil {
		return nil, errdefs.Invalid("not a URL that can be requested")
	}
	req.Header.Set("User-Agent", "camada")
	if have.ETag != "" {
		req.Header.Set("If-None-Match", have.ETag)
	}
	if have.LastModified != "" {
		req.Header.Set("If-Modified-Since", have.LastModified)
	}
	if c.opts.Authorization != nil {
		h, err := c.opts.Authorization(ctx, req.URL.Hostname())
		if err != nil {
			return nil, err
		}
		if h != "" {
			req.Header.Set("Authorization", h)
		}
	}
	return req, nil
}

// judge reads the head of a response.
func (c *Client) judge(res *nethttp.Response, have validators) (answer, error) {
	switch {
	case res.StatusCode == nethttp.StatusOK, res.StatusCode == nethttp.StatusNonAuthoritativeInfo:
	case res.StatusCode == nethttp.StatusNotModified && have != validators{}:
		return answer{notModified: true}, nil
	case res.StatusCode == nethttp.StatusNotFound, res.StatusCode == nethttp.StatusGone:
		return answer{}, errdefs.NotFound("%s", res.Status)
	case res.StatusCode >= 500, res.StatusCode == nethttp.StatusTooManyRequests, res.StatusCode == nethttp.StatusRequestTimeout:
		return answer{}, errdefs.Unavailable("%s", res.Status)
	case res.StatusCode == nethttp.StatusUnauthorized, res.StatusCode == nethttp.StatusForbidden, res.StatusCode == nethttp.StatusProxyAuthRequired:
		return answer{}, errdefs.Permission("%s", res.Status)
	default:
		return answer{}, errdefs.Invalid("the server answered %s", res.Status)
	}
	if res.ContentLength > c.opts.MaxBytes {
		return answer{}, errdefs.Limit("the file has %d bytes, more than %d", res.ContentLength, c.opts.MaxBytes)
	}
	a := answer{size: res.ContentLength, modTime: time.Unix(0, 0)}
	a.validators.ETag = res.Header.Get("ETag")
	if t, err := nethttp.ParseTime(res.Header.Get("Last-Modified")); err == nil {
		a.modTime = t
		// A file that was changed just now could be changed again in the same second.
		const strong = time.Minute
		if date, err := nethttp.ParseTime(res.Header.Get("Date")); err == nil && date.Sub(t) >= strong {
			a.validators.LastModified = res.Header.Get("Last-Modified")
		}
	}
	return a, nil
}
