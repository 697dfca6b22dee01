package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"syscall"
	"time"

	"github.com/camada/camada/errdefs"
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
	// open shows nobody who we are.
	open bool
	// once makes no second try: the caller does.
	once bool
	// tries is how often it is made at most; 0 is the Client's number.
	tries int
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
	p := patience{tries: h.c.opts.Tries}
	if c.tries > 0 {
		p.tries = min(p.tries, c.tries)
	}
	if c.once {
		p.tries = 1
	}
	asked := false // for a token, because of a 401
	for {
		if c.tries == 0 { // otherwise another place is asked
			if err := h.held(ctx); err != nil {
				return nil, err
			}
		}
		res, err := h.send(ctx, c)
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
				p.tries = min(p.tries, 2) // nobody is there, not even a proxy that has to wake somebody
			}
		case slices.Contains(c.want, res.StatusCode):
			return res, nil
		case res.StatusCode == http.StatusUnauthorized && !asked && !c.open:
			asked = true
			if err := h.answer(ctx, res, c.scopes); err != nil {
				return nil, err
			}
			continue
		default:
			if err = statusError(res); !errdefs.IsUnavailable(err) {
				return nil, err
			}
			asked = false // a token may end while we wait
			h.hold(askedFor(err), err)
		}
		if c.once || c.tries > 0 && askedFor(err) > 0 {
			return nil, err // whoever calls waits, or asks elsewhere
		}
		if err := h.c.wait(ctx, &p, h.name, err); err != nil {
			return nil, err
		}
	}
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
		if u, err = url.Parse(scheme + "://" + h.api + h.base + "/" + c.path); err != nil {
			return nil, errdefs.With(errdefs.ErrInvalid, err)
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	w := &watch{stall: h.c.opts.Stall, cancel: cancel}
	w.timer = time.AfterFunc(w.stall, func() {
		cancel(errdefs.Unavailable("the server was silent, or nearly so, for %s", w.stall))
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
		req.Body, req.ContentLength = &watchedBody{ReadCloser: body, w: w}, c.size
		if c.size == 0 {
			body.Close()
			req.Body = http.NoBody
		}
	}
	if u.Host == h.api && !c.open {
		for k, v := range h.site.Header {
			req.Header[http.CanonicalHeaderKey(k)] = v
		}
		if err := h.authorize(ctx, req, c.scopes); err != nil {
			return fail(err)
		}
	}
	res, err := client.Do(req)
	if err != nil {
		return fail(err)
	}
	h.warn(res.Header["Warning"])
	w.timer.Reset(w.stall)
	res.Body = &answerBody{watchedBody{ReadCloser: res.Body, w: w}}
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

// minRead is how many bytes have to come in the time that a server may be silent: less is as good as silence.
const minRead = 1 << 10

// watchedBody tells the watch of what is read.
type watchedBody struct {
	io.ReadCloser
	w *watch
	// n is what was read since the watch was told.
	n int
}

func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.n += n; b.n >= minRead || errors.Is(err, io.EOF) {
		b.n = 0
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
