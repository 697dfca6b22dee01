// Package fetch gets files of an archive over HTTP, and keeps those whose digest
// is known in a cache.
//
//	c := fetch.NewClient(fetch.Options{Proxy: cfg.Proxy()})
//	text, err := c.Get(ctx, url, 1<<20)
//	f, err := fetch.Cache{Dir: dir, Client: c}.File(ctx, urls, fetch.Want{Size: n, SHA256: hex}, nil)
//
// Whatever passes an unsafe road is checked: a file is only given out after its
// bytes were compared with the digest, when they come from the cache as well.
package fetch

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/httptry"
)

// Options of a Client. The zero value works.
type Options struct {
	// Proxy chooses the proxy of a request; nil means the environment's.
	Proxy func(*http.Request) (*url.URL, error)
	// Tries is how often a request is made before it fails; 0 means 4.
	Tries int
	// Stall is how long a server may send nothing; 0 means 60 seconds.
	Stall time.Duration
}

// Client makes requests, and makes them again when the trouble may pass.
type Client struct {
	http  *http.Client
	tries int
	stall time.Duration
}

// NewClient returns a Client for the schemes http, https and file.
func NewClient(o Options) *Client {
	if o.Tries <= 0 {
		o.Tries = 4
	}
	if o.Stall <= 0 {
		o.Stall = time.Minute
	}
	if o.Proxy == nil {
		o.Proxy = http.ProxyFromEnvironment
	}
	t := &http.Transport{
		Proxy:                 o.Proxy,
		DialContext:           (&net.Dialer{Timeout: 15 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:   15 * time.Second,
		ResponseHeaderTimeout: o.Stall,
		MaxIdleConnsPerHost:   8,
		IdleConnTimeout:       30 * time.Second,
		DisableCompression:    true,
		ForceAttemptHTTP2:     true,
	}
	t.RegisterProtocol("file", http.NewFileTransport(http.Dir("/")))
	return &Client{
		http:  &http.Client{Transport: t, CheckRedirect: checkRedirect},
		tries: o.Tries,
		stall: o.Stall,
	}
}

// Close closes the idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

func checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) >= 10 {
		return errdefs.Limit("more than 10 redirects")
	}
	if s := req.URL.Scheme; s != "https" && (s != "http" || via[0].URL.Scheme != "http") {
		return errdefs.Permission("redirect from %s to %s", via[0].URL.Scheme, s)
	}
	return nil
}

// Get returns the body of a small file. Errors are of class ErrNotFound,
// ErrLimit when it is larger than limit bytes, or ErrUnavailable.
func (c *Client) Get(ctx context.Context, url string, limit int64) ([]byte, error) {
	var body []byte
	err := c.do(ctx, url, func(r io.Reader) error {
		var err error
		if body, err = io.ReadAll(io.LimitReader(r, limit+1)); err != nil {
			return err
		}
		if int64(len(body)) > limit {
			return errdefs.Limit("larger than %d bytes", limit)
		}
		return nil
	})
	return body, err
}

// do requests url and gives the body to fn, which must be fit to be called again.
func (c *Client) do(ctx context.Context, url string, fn func(io.Reader) error) error {
	err := httptry.Do(ctx, httptry.Options{Tries: c.tries, Stall: c.stall}, func(ctx context.Context, body httptry.Body) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return errdefs.With(errdefs.ErrInvalid, err)
		}
		req.Header.Set("User-Agent", "camada")
		res, err := c.http.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		switch {
		case res.StatusCode == http.StatusOK:
			return fn(body(res.Body))
		case res.StatusCode == http.StatusNotFound || res.StatusCode == http.StatusGone:
			return errdefs.NotFound("%s", res.Status)
		case res.StatusCode >= 500 || res.StatusCode == http.StatusTooManyRequests || res.StatusCode == http.StatusRequestTimeout:
			return errdefs.Unavailable("%s", res.Status)
		}
		return errdefs.Permission("%s", res.Status)
	})
	if err != nil {
		return fmt.Errorf("get %s: %w", redact(url), err)
	}
	return nil
}

func redact(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return s
	}
	return u.Redacted()
}
