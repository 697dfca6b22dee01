package tracing

import (
	"net"
	"net/http"
	"strconv"
)

// Transport makes a span of each request whose context has one, and passes the trace on.
func Transport(base http.RoundTripper) http.RoundTripper { return transport{base} }

type transport struct{ base http.RoundTripper }

// RoundTrip makes the request. The span ends when the head of the answer is there. What follows "?" in an address can be a secret, and is not told.
func (t transport) RoundTrip(req *http.Request) (*http.Response, error) {
	up := FromContext(req.Context())
	if up == nil {
		return t.base.RoundTrip(req)
	}
	ctx, span := up.tracer.Start(req.Context(), req.Method, Client, Attribute{"http.request.method", req.Method}, Attribute{"server.address", req.URL.Hostname()},
		Attribute{"url.full", req.URL.Scheme + "://" + req.URL.Host + req.URL.EscapedPath()})
	defer span.End()
	if _, port, err := net.SplitHostPort(req.URL.Host); err == nil {
		if n, err := strconv.ParseUint(port, 10, 16); err == nil {
			span.Set(Attribute{"server.port", int64(n)})
		}
	}
	// A RoundTripper does not change the request that it is given.
	req = req.Clone(ctx)
	Inject(ctx, req.Header)
	resp, err := t.base.RoundTrip(req)
	if err != nil {
		span.Fail("no answer")
		return nil, err
	}
	span.Set(Attribute{"http.response.status_code", int64(resp.StatusCode)})
	if resp.StatusCode >= http.StatusBadRequest {
		span.Fail(resp.Status)
	}
	return resp, nil
}

// CloseIdleConnections closes those of the base.
func (t transport) CloseIdleConnections() {
	if c, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}
