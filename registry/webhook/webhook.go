// Package webhook tells others over HTTP what changed in a registry.
//
//	hook, err := webhook.New(webhook.Options{Name: "ci", URL: "https://ci.example.org/hook", Secret: "/etc/hook.secret"})
//	err = hook.Send(ctx, event)
//
// A body is a CloudEvent (CloudEvents 1.0, HTTP protocol binding), in structured or binary mode, or the envelope of notifications that the
// distribution registry sends. Requests are signed as Standard Webhooks has it when there is a secret.
//
// Secrets are read from their files for each request, so they can be replaced at any time. Neither they nor the query of the URL are in any error.
package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry/events"
	"github.com/camada/camada/registry/outbox"
)

// Format is what bodies look like.
type Format string

// The formats.
const (
	// Structured is a CloudEvent as one JSON document.
	Structured Format = "cloudevents"
	// Binary is a CloudEvent whose attributes are headers.
	Binary Format = "cloudevents-binary"
	// Docker is the envelope of the distribution registry.
	Docker Format = "docker"
)

// Header is a header that is sent along.
type Header struct {
	Name string
	// Value is sent as it is; otherwise what File has.
	Value, File string
}

// Options of a Hook.
type Options struct {
	// Name is what errors call it.
	Name string
	URL  string
	// Format is Structured when it is "".
	Format  Format
	Headers []Header
	// Secret is a file with the secret that signs; "" signs nothing. What is in it is taken as it is, or from base64 after "whsec_".
	Secret string
	// Authorities are files of certificates besides the system's.
	Authorities []string
	// Timeout is how long an answer may take; 0 means 10 seconds.
	Timeout time.Duration
	// Registry is the registry's URL, the source of events; "" takes it from the request that made the change.
	Registry string
}

// Hook is somebody who is told. It is safe for use by many goroutines.
type Hook struct {
	opts   Options
	client *http.Client
}

const (
	defaultTimeout = 10 * time.Second
	// maxSecret bounds a file of a secret, maxAnswer what is read of an answer, in bytes.
	maxSecret = 4 << 10
	maxAnswer = 64 << 10
	maxCerts  = 1 << 20
)

// New returns a hook. Files of secrets are read when they are needed.
func New(opts Options) (*Hook, error) {
	if opts.Format == "" {
		opts.Format = Structured
	}
	if opts.Timeout <= 0 {
		opts.Timeout = defaultTimeout
	}
	t := &http.Transport{Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: opts.Timeout}).DialContext, TLSHandshakeTimeout: opts.Timeout,
		MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}
	if len(opts.Authorities) > 0 {
		pool, err := authorities(opts.Authorities)
		if err != nil {
			return nil, fmt.Errorf("webhook %s: %w", opts.Name, err)
		}
		t.TLSClientConfig.RootCAs = pool
	}
	// A receiver that has moved is for whoever configured it: a redirect could lead the secrets elsewhere.
	last := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Hook{opts: opts, client: &http.Client{Transport: t, Timeout: opts.Timeout, CheckRedirect: last}}, nil
}

// authorities reads certificates, and adds the system's.
func authorities(names []string) (*x509.CertPool, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	for _, name := range names {
		pem, err := readFile(name, maxCerts)
		if err != nil {
			return nil, err
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, errdefs.Invalid("there is no certificate in %s", name)
		}
	}
	return pool, nil
}

// Check reads the files, and says what is wrong with them.
func (h *Hook) Check() error {
	_, err := h.request(context.Background(), events.Event{ID: "check", Kind: events.Push, Repository: "check"})
	return err
}

// Send tells of an event. Answers of the classes 2xx are good. An error wraps an *outbox.RefusedError when the receiver does not want this event,
// and an *outbox.LaterError when it said when to come again.
func (h *Hook) Send(ctx context.Context, e events.Event) error {
	req, err := h.request(ctx, e)
	if err != nil {
		return err
	}
	res, err := h.client.Do(req)
	if err != nil {
		return errdefs.With(errdefs.ErrUnavailable, fmt.Errorf("webhook %s: %w", h.opts.Name, plain(err)))
	}
	_, _ = io.CopyN(io.Discard, res.Body, maxAnswer) // so that the connection can be used again
	res.Body.Close()
	if res.StatusCode >= http.StatusOK && res.StatusCode < http.StatusMultipleChoices {
		return nil
	}
	return h.judge(res)
}

// judge makes an error of an answer.
func (h *Hook) judge(res *http.Response) error {
	err := errdefs.Unavailable("webhook %s: %d %s", h.opts.Name, res.StatusCode, http.StatusText(res.StatusCode))
	switch res.StatusCode {
	case http.StatusBadRequest, http.StatusConflict, http.StatusGone, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		return &outbox.RefusedError{Err: err}
	}
	if after := retryAfter(res.Header.Get("Retry-After"), time.Now()); after > 0 {
		return &outbox.LaterError{After: after, Err: err}
	}
	return err
}

// retryAfter reads seconds or a date (RFC 9110, section 10.2.3); 0 when it is neither.
func retryAfter(text string, now time.Time) time.Duration {
	if n, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if t, err := http.ParseTime(text); err == nil {
		return max(t.Sub(now), 0)
	}
	return 0
}

// plain takes the address, whose query may be a secret, out of an error of net/http.
func plain(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// request makes the request for an event.
func (h *Hook) request(ctx context.Context, e events.Event) (*http.Request, error) {
	fail := func(err error) (*http.Request, error) { return nil, fmt.Errorf("webhook %s: %w", h.opts.Name, err) }
	header, body, err := h.encode(e)
	if err != nil {
		return fail(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.opts.URL, bytes.NewReader(body))
	if err != nil {
		return fail(errdefs.Invalid("the URL is none"))
	}
	req.Header = header
	req.Header.Set("User-Agent", "camada")
	for _, add := range h.opts.Headers {
		value := add.Value
		if add.File != "" {
			text, err := readSecret(add.File)
			if err != nil {
				return fail(err)
			}
			value = text
		}
		if strings.ContainsAny(value, "\r\n\x00") {
			return fail(errdefs.Invalid("the value of the header %s has more than one line", add.Name))
		}
		req.Header.Set(add.Name, value)
	}
	if h.opts.Secret == "" {
		return req, nil
	}
	secret, err := readSecret(h.opts.Secret)
	if err != nil {
		return fail(err)
	}
	if err := sign(req.Header, secret, e.ID, body, time.Now()); err != nil {
		return fail(fmt.Errorf("%s: %w", h.opts.Secret, err))
	}
	return req, nil
}

// sign adds the headers of Standard Webhooks 1.0, of which the ID stays the same when a request is made again, and for simple receivers one that is of
// the body alone.
func sign(header http.Header, secret, id string, body []byte, now time.Time) error {
	key := []byte(secret)
	if text, ok := strings.CutPrefix(secret, "whsec_"); ok {
		var err error
		if key, err = base64.StdEncoding.DecodeString(text); err != nil {
			return errdefs.Invalid(`what follows "whsec_" is not base64`)
		}
	}
	if len(key) == 0 {
		return errdefs.Invalid("the secret is empty")
	}
	at := strconv.FormatInt(now.Unix(), 10)
	whole := hmac.New(sha256.New, key)
	whole.Write([]byte(id + "." + at + "."))
	whole.Write(body)
	header.Set("Webhook-Id", id)
	header.Set("Webhook-Timestamp", at)
	header.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(whole.Sum(nil)))
	alone := hmac.New(sha256.New, key)
	alone.Write(body)
	header.Set("X-Camada-Signature", "sha256="+hex.EncodeToString(alone.Sum(nil)))
	return nil
}

// readSecret reads a secret without the end of its line.
func readSecret(name string) (string, error) {
	data, err := readFile(name, maxSecret)
	return strings.TrimRight(string(data), "\r\n"), err
}

func readFile(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, errdefs.With(errdefs.ErrUnavailable, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = errdefs.Limit("%s has more than %d bytes", name, limit)
	}
	return data, err
}
