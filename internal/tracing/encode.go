package tracing

import (
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"time"
)

// The forms of OTLP in JSON (opentelemetry-proto, trace.proto; OpenTelemetry Protocol, "JSON Protobuf Encoding": IDs are hex, 64-bit numbers are texts).
type (
	export struct {
		Spans []resourceSpans `json:"resourceSpans"`
	}
	resourceSpans struct {
		Resource struct {
			Attributes []keyValue `json:"attributes"`
		} `json:"resource"`
		Scopes []scopeSpans `json:"scopeSpans"`
	}
	scopeSpans struct {
		Scope struct {
			Name string `json:"name"`
		} `json:"scope"`
		Spans []spanForm `json:"spans"`
	}
	spanForm struct {
		Trace      string     `json:"traceId"`
		Span       string     `json:"spanId"`
		State      string     `json:"traceState,omitempty"`
		Parent     string     `json:"parentSpanId,omitempty"`
		Name       string     `json:"name"`
		Kind       Kind       `json:"kind"`
		Start      string     `json:"startTimeUnixNano"`
		End        string     `json:"endTimeUnixNano"`
		Attributes []keyValue `json:"attributes,omitempty"`
		Status     status     `json:"status"`
	}
	status struct {
		Code    int    `json:"code,omitempty"`
		Message string `json:"message,omitempty"`
	}
	keyValue struct {
		Key   string         `json:"key"`
		Value map[string]any `json:"value"`
	}
)

// statusError is OpenTelemetry's number of what failed.
const statusError = 2

// scopeName is what made the spans.
const scopeName = "camada"

// encode encodes spans that ended.
func (o *Options) encode(spans []*Span) ([]byte, error) {
	var r resourceSpans
	service := o.Service
	if service == "" {
		service = scopeName
	}
	r.Resource.Attributes = []keyValue{valueOf("service.name", service)}
	for _, k := range slices.Sorted(maps.Keys(o.Resource)) {
		if k != "service.name" {
			r.Resource.Attributes = append(r.Resource.Attributes, valueOf(k, o.Resource[k]))
		}
	}
	var scope scopeSpans
	scope.Scope.Name = scopeName
	for _, s := range spans {
		scope.Spans = append(scope.Spans, s.form())
	}
	r.Scopes = []scopeSpans{scope}
	return json.Marshal(export{[]resourceSpans{r}})
}

func (s *Span) form() spanForm {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := spanForm{Trace: hex.EncodeToString(s.self.trace[:]), Span: hex.EncodeToString(s.self.span[:]), State: s.self.state, Name: s.name, Kind: s.kind,
		Start: nanos(s.started), End: nanos(s.over)}
	if s.parent != [8]byte{} {
		f.Parent = hex.EncodeToString(s.parent[:])
	}
	for _, a := range s.attributes {
		f.Attributes = append(f.Attributes, valueOf(a.Key, a.Value))
	}
	if s.failed {
		f.Status = status{statusError, s.failure}
	}
	return f
}

func nanos(t time.Time) string { return strconv.FormatInt(t.UnixNano(), 10) }

func valueOf(key string, v any) keyValue {
	switch v := v.(type) {
	case int64:
		return keyValue{key, map[string]any{"intValue": strconv.FormatInt(v, 10)}}
	case bool:
		return keyValue{key, map[string]any{"boolValue": v}}
	case string:
		return keyValue{key, map[string]any{"stringValue": v}}
	default:
		return keyValue{key, map[string]any{}}
	}
}
