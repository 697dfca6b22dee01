package tracing

import (
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
)

// Options of a Tracer.
type Options struct {
	// Endpoint is where spans are sent: the whole URL, with /v1/traces at its end for most. "" makes no tracer.
	Endpoint string
	// Headers are sent along; they may have secrets in them.
	Headers map[string]string
	// CA is a file with the certificates, in PEM, that sign those of the collector; "" means those of the system.
	CA string
	// Timeout is how long the collector may take; 0 means 10 seconds.
	Timeout time.Duration
	// Compress compresses what is sent.
	Compress bool
	// Service names what is traced, Resource tells more of it.
	Service  string
	Resource map[string]string
	// Ratio is which part of the traces is sent, from 0 to 1. With Parent, who calls decides when he has a trace already.
	Ratio  float64
	Parent bool
	// Queue is how many spans wait, Batch how many are sent at once, and Delay how long they wait; 0 means 2048, 512 and 5 seconds.
	Queue, Batch int
	Delay        time.Duration
	// Fault is told when the collector fails, and not again before it worked; nil drops it.
	Fault func(error)
}

// FromEnvironment are the options that OpenTelemetry's variables say (OpenTelemetry Environment Variable Specification). ErrInvalid names the variable that is wrong, and never
// shows those that may have secrets.
func FromEnvironment(getenv func(string) string) (Options, error) {
	o := Options{Endpoint: getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), Service: getenv("OTEL_SERVICE_NAME")}
	either := func(name string) string {
		if v := getenv("OTEL_EXPORTER_OTLP_TRACES_" + name); v != "" {
			return v
		}
		return getenv("OTEL_EXPORTER_OTLP_" + name)
	}
	if base := getenv("OTEL_EXPORTER_OTLP_ENDPOINT"); o.Endpoint == "" && base != "" {
		o.Endpoint = strings.TrimRight(base, "/") + "/v1/traces"
	}
	switch exporter := getenv("OTEL_TRACES_EXPORTER"); exporter {
	case "":
	case "otlp":
		if o.Endpoint == "" {
			o.Endpoint = "http://localhost:4318/v1/traces"
		}
	case "none":
		o.Endpoint = ""
	default:
		return o, errdefs.Unsupported("OTEL_TRACES_EXPORTER is %.40q: want otlp or none", exporter)
	}
	if strings.EqualFold(getenv("OTEL_SDK_DISABLED"), "true") {
		o.Endpoint = ""
	}
	if o.Endpoint == "" {
		return o, nil
	}
	if protocol := either("PROTOCOL"); protocol == "grpc" {
		return o, errdefs.Unsupported("OTEL_EXPORTER_OTLP_PROTOCOL is grpc: want http/json or http/protobuf, and the collector's port for HTTP")
	}
	var err error
	if o.Headers, err = pairs(either("HEADERS")); err != nil {
		return o, errdefs.Invalid("OTEL_EXPORTER_OTLP_HEADERS: %w", err)
	}
	if o.Resource, err = pairs(getenv("OTEL_RESOURCE_ATTRIBUTES")); err != nil {
		return o, errdefs.Invalid("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	if o.Service == "" {
		o.Service = o.Resource["service.name"]
	}
	o.CA, o.Compress = either("CERTIFICATE"), either("COMPRESSION") == "gzip"
	if err := o.numbers(getenv, either); err != nil {
		return o, err
	}
	return o, o.sampler(getenv("OTEL_TRACES_SAMPLER"), getenv("OTEL_TRACES_SAMPLER_ARG"))
}

// numbers reads the variables that are numbers; times are milliseconds.
func (o *Options) numbers(getenv, either func(string) string) error {
	for _, v := range []struct {
		name, text string
		to         func(int64)
	}{
		{"OTEL_EXPORTER_OTLP_TIMEOUT", either("TIMEOUT"), func(n int64) { o.Timeout = time.Duration(n) * time.Millisecond }},
		{"OTEL_BSP_SCHEDULE_DELAY", getenv("OTEL_BSP_SCHEDULE_DELAY"), func(n int64) { o.Delay = time.Duration(n) * time.Millisecond }},
		{"OTEL_BSP_MAX_QUEUE_SIZE", getenv("OTEL_BSP_MAX_QUEUE_SIZE"), func(n int64) { o.Queue = int(n) }},
		{"OTEL_BSP_MAX_EXPORT_BATCH_SIZE", getenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE"), func(n int64) { o.Batch = int(n) }},
	} {
		if v.text == "" {
			continue
		}
		n, err := strconv.ParseInt(v.text, 10, 32)
		if err != nil || n < 0 {
			return errdefs.Invalid("%s is %.40q: want a number", v.name, v.text)
		}
		v.to(n)
	}
	return nil
}

// sampler reads which traces are sent.
func (o *Options) sampler(name, arg string) error {
	rest, parent := strings.CutPrefix(name, "parentbased_")
	switch o.Parent = parent; rest {
	case "":
		o.Parent, o.Ratio = true, 1 // parentbased_always_on
	case "always_on":
		o.Ratio = 1
	case "always_off":
		o.Ratio = 0
	case "traceidratio":
		o.Ratio = 1
		if arg == "" {
			return nil
		}
		f, err := strconv.ParseFloat(arg, 64)
		if err != nil || !(f >= 0 && f <= 1) {
			return errdefs.Invalid("OTEL_TRACES_SAMPLER_ARG is %.40q: want a number from 0 to 1", arg)
		}
		o.Ratio = f
	default:
		return errdefs.Unsupported("OTEL_TRACES_SAMPLER is %.60q: want always_on, always_off, traceidratio, or these after parentbased_", name)
	}
	return nil
}

// maxPairs bounds lists of pairs.
const maxPairs = 64

// pairs reads KEY=VALUE,KEY=VALUE with values as in W3C Baggage.
func pairs(s string) (map[string]string, error) {
	m := map[string]string{}
	if strings.TrimSpace(s) == "" {
		return m, nil
	}
	for part := range strings.SplitSeq(s, ",") {
		k, v, ok := strings.Cut(part, "=")
		k = strings.TrimSpace(k)
		v, err := url.PathUnescape(strings.TrimSpace(v))
		if !ok || k == "" || err != nil || !plain(k) || strings.ContainsAny(v, "\r\n\x00") || len(m) == maxPairs {
			return nil, errdefs.Invalid("want KEY=VALUE,KEY=VALUE")
		}
		m[k] = v
	}
	return m, nil
}
