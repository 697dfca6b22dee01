package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/camada/camada/errdefs"
)

const (
	// maxPause bounds the pause between two tries, and what a Retry-After is believed.
	maxPause = time.Minute
	// maxGrow bounds the pause that we choose ourselves.
	maxGrow = 10 * time.Second
)

// call is one request to a registry, which may be made several times.
type call struct {
	method string
	// path is below /v2/; url, when not nil, replaces it.
	path string
	url  *url.URL
	// what says in errors what is being done, e.g. "read manifest latest".
	what   string
	header http.Header
	// body opens the request's body, of size bytes; nil is none.
	body func(context.Context) (io.ReadCloser, error)
	size int64
	// scopes are what a token must allow.
	scopes []string
	// want are the statuses that are no errors; empty is 200.
	want []int
	// once makes no second try: the caller does.
	once bool
}

// do makes a call until it is answered, and returns the answer, whose body the caller closes.
func (h *host) do(ctx context.Context, c call) (*http.Response, error) {
	if len(c.want) == 0 {
		c.want = []int{http.StatusOK}
	}
	res, err := h.tries(ctx, c)
	if err != nil {
		if ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
			err = context.Cause(ctx)
		}
		return nil, fmt.Errorf("registry %s: %s: %w", h.name, c.what, err)
	}
	return res, nil
}

func (h *host) tries(ctx context.Context, c call) (*http.Response, error) {
	tries := h.c.opts.Tries
	if c.once {
		tries = 1
	}
	asked := false // for a token, because of a 401
	for try := 0; ; try++ {
		res, err := h.send(ctx, c)
		var wait time.Duration
		switch {
		case ctx.Err() != nil:
			if err == nil {
				res.Body.Close()
			}
			return nil, context.Cause(ctx)
		case err != nil:
			if final(err) {
				return nil, err
			}
			err = errdefs.With(errdefs.ErrUnavailable, err)
			if isUnknownHost(err) {
				return nil, err
			}
			if errors.Is(err, syscall.ECONNREFUSED) {
				tries = min(tries, 2) // nobody is there, not even a proxy that has to wake somebody
			}
		case slices.Contains(c.want, res.StatusCode):
			return res, nil
		case res.StatusCode == http.StatusUnauthorized && !asked:
			asked = true
			if err := h.answer(ctx, res, c.scopes); err != nil {
				return nil, err
			}
			try--
			continue
		default:
			wait = retryAfter(res.Header.Get("Retry-After"))
			if err = statusError(res); !errdefs.IsUnavailable(err) {
				return nil, err
			}
		}
		if try+1 >= tries {
			return nil, err
		}
		if err := h.c.pause(ctx, try, wait); err != nil {
			return nil, err
		}
	}
}

// pause waits before the next try: as long as the server asked, or a time that grows.
func (c *Client) pause(ctx context.Context, try int, asked time.Duration) error {
	d := min(c.opts.Backoff<<min(try, 10), maxGrow)
	d += rand.N(d/2 + 1) // so that many do not come back at the same moment
	if asked > 0 {
		d = min(asked, maxPause)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// retryAfter reads the header of that name (RFC 9110, 10.2.3); 0 when there is none.
func retryAfter(v string) time.Duration {
	if s, err := strconv.Atoi(v); err == nil && s > 0 {
		return time.Duration(min(s, int(maxPause/time.Second))) * time.Second
	}
	if t, err := http.ParseTime(v); err == nil {
		return max(0, time.Until(t))
	}
	return 0
}

// final reports whether another try cannot help.
func final(err error) bool {
	for _, is := range []func(error) bool{errdefs.IsNotFound, errdefs.IsInvalid, errdefs.IsPermission, errdefs.IsCorrupt, errdefs.IsLimit, errdefs.IsUnsupported} {
		if is(err) {
			return true
		}
	}
	return isCertificateError(err)
}

// send makes the request once.
func (h *host) send(ctx context.Context, c call) (*http.Response, error) {
	client, scheme, err := h.connect(ctx)
	if err != nil {
		return nil, err
	}
	u := c.url
	if u == nil {
		if u, err = url.Parse(scheme + "://" + h.api + "/v2/" + c.path); err != nil {
			return nil, errdefs.With(errdefs.ErrInvalid, err)
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	w := &watch{stall: h.c.opts.Stall, cancel: cancel}
	w.timer = time.AfterFunc(w.stall, func() {
		cancel(errdefs.Unavailable("the server was silent for %s", w.stall))
	})
	fail := func(err error) (*http.Response, error) {
		w.end()
		if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
			err = cause
		}
		return nil, unwrapURL(err)
	}
	req, err := http.NewRequestWithContext(ctx, c.method, u.String(), nil)
	if err != nil {
		return fail(errdefs.With(errdefs.ErrInvalid, err))
	}
	for k, v := range c.header {
		req.Header[k] = v
	}
	req.Header.Set("User-Agent", h.c.opts.UserAgent)
	if c.body != nil {
		body, err := c.body(ctx)
		if err != nil {
			return fail(err)
		}
		req.Body, req.ContentLength = &watchedBody{body, w}, c.size
		if c.size == 0 {
			body.Close()
			req.Body = http.NoBody
		}
	}
	if u.Host == h.api {
		if err := h.authorize(ctx, req, c.scopes); err != nil {
			return fail(err)
		}
	}
	res, err := client.Do(req)
	if err != nil {
		return fail(err)
	}
	w.timer.Reset(w.stall)
	res.Body = &answerBody{watchedBody{res.Body, w}}
	return res, nil
}

// watch ends a request when nothing happens for too long.
type watch struct {
	stall  time.Duration
	timer  *time.Timer
	cancel context.CancelCauseFunc
}

func (w *watch) end() {
	w.timer.Stop()
	w.cancel(nil)
}

// watchedBody tells the watch of each read.
type watchedBody struct {
	io.ReadCloser
	w *watch
}

func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.w.timer.Reset(b.w.stall)
	}
	return n, err
}

// answerBody ends the request when it is closed.
type answerBody struct{ watchedBody }

func (b *answerBody) Close() error {
	defer b.w.end()
	// A few bytes are read, so that the connection can be used again.
	_, _ = io.CopyN(io.Discard, b.ReadCloser, 16<<10)
	return b.ReadCloser.Close()
}
