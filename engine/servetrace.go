package engine

import (
	"context"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/camada/camada/internal/tracing"
	"github.com/camada/camada/registry/api"
)

// tracesGrace is how long the last spans may take to be sent at the end.
const tracesGrace = 5 * time.Second

// tracer makes what sends traces to where the configuration or the environment says; nil when neither does.
func (s *server) tracer() (*tracing.Tracer, error) {
	getenv := s.cfg.Getenv
	if getenv == nil {
		getenv = func(string) string { return "" }
	}
	o, err := tracing.FromEnvironment(func(name string) string {
		if name == "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" && s.config.Traces.Endpoint != "" {
			return s.config.Traces.Endpoint
		}
		return getenv(name)
	})
	if err != nil {
		return nil, err
	}
	if o.Fault = s.opts.Fault; s.config.Traces.Ratio >= 0 {
		o.Ratio = s.config.Traces.Ratio
	}
	if o.Service == "" {
		o.Service = "camada-registry"
	}
	return tracing.New(o)
}

// endTraces sends what is left.
func (s *server) endTraces() {
	ctx, cancel := context.WithTimeout(context.Background(), tracesGrace)
	defer cancel()
	_ = s.traces.Close(ctx) // a collector that is gone keeps nobody from ending
}

// wrap makes spans of requests to the object store; nil when nobody wants any.
func (s *server) wrap() func(http.RoundTripper) http.RoundTripper {
	if s.traces == nil {
		return nil
	}
	return tracing.Transport
}

// traced makes a span of each request of clients. What machines ask about the process itself is left out.
func (s *server) traced(h http.Handler) http.Handler {
	if s.traces == nil {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/token" && !strings.HasPrefix(r.URL.Path, "/v2") {
			h.ServeHTTP(w, r)
			return
		}
		path, _, _ := strings.Cut(r.URL.Path, "/uploads/") // what follows names an upload, and whoever knows it can write to it
		client, _, _ := net.SplitHostPort(r.RemoteAddr)
		ctx, span := s.traces.Start(tracing.Remote(r.Context(), r.Header), spanName(r.Method, ""), tracing.Server,
			tracing.Attribute{Key: "http.request.method", Value: r.Method}, tracing.Attribute{Key: "url.path", Value: path}, tracing.Attribute{Key: "server.address", Value: r.Host},
			tracing.Attribute{Key: "client.address", Value: client}, tracing.Attribute{Key: "user_agent.original", Value: r.UserAgent()},
			tracing.Attribute{Key: "network.protocol.version", Value: strings.TrimPrefix(r.Proto, "HTTP/")})
		defer span.End()
		if r.URL.Path == "/token" {
			span.Name(spanName(r.Method, "token"))
		}
		h.ServeHTTP(w, r.WithContext(ctx))
	})
}

// spanName is one of few, whatever clients send.
func spanName(method, kind string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPost, http.MethodPatch, http.MethodDelete:
	default:
		method = "HTTP"
	}
	return strings.TrimSpace(method + " " + kind)
}

// annotate tells the span of a request what is known at its end.
func annotate(e api.Event) {
	span := tracing.FromContext(e.Request.Context())
	if span == nil {
		return
	}
	span.Name(spanName(e.Request.Method, e.Kind))
	span.Set(tracing.Attribute{Key: "http.response.status_code", Value: int64(e.Status)}, tracing.Attribute{Key: "camada.kind", Value: e.Kind},
		tracing.Attribute{Key: "camada.repository", Value: e.Repository}, tracing.Attribute{Key: "camada.digest", Value: e.Digest}, tracing.Attribute{Key: "user.name", Value: e.Who},
		tracing.Attribute{Key: "http.request.body.size", Value: e.Received}, tracing.Attribute{Key: "http.response.body.size", Value: e.Sent})
	if e.Status >= http.StatusInternalServerError {
		span.Fail(http.StatusText(e.Status))
	}
}
