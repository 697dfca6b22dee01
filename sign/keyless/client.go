// Package keyless talks to the services of sigstore: an authority that gives certificates for identity tokens (fulcio), transparency logs
// (rekor, both versions of its API) and time stamping authorities.
//
//	c := keyless.New(keyless.Options{})
//	token, err := keyless.Token(ctx, c, "", os.Getenv)                      // of the CI system
//	signer, certs, err := c.Certificate(ctx, fulcioURL, token)              // a key for one signature
//	m := sign.Maker{Signer: signer, Certificates: certs, Logs: []sign.Log{c.Rekor(rekorURL, 1)}, Clocks: []sign.Clock{c.Clock(tsaURL)}}
//
// What they answer is not verified here: who verifies the signature does that.
package keyless

import (
	"bytes"
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

const (
	// maxAnswer bounds what a service answers, in bytes: an entry of a log can have an attestation in it.
	maxAnswer = 96 << 20
	// tries is how often a service is asked, patience how long it may send nothing.
	tries, patience = 3, 30 * time.Second
	// maxSaid bounds what is shown of an answer that says no.
	maxSaid = 300
)

// Options shape a Client.
type Options struct {
	// Transport may be nil.
	Transport http.RoundTripper
}

// Client asks services.
type Client struct{ http *http.Client }

// New returns a Client.
func New(o Options) *Client {
	if o.Transport == nil {
		o.Transport = &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, ForceAttemptHTTP2: true, MaxResponseHeaderBytes: 64 << 10}
	}
	// Whoever redirects could name any server, and what is sent can be a token.
	return &Client{http: &http.Client{Transport: o.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// request is what is asked of a service.
type request struct {
	// service is its name in messages.
	service           string
	method, url       string
	kind, accept      string
	authorization     string
	body              []byte
	conflictIsAllowed bool
}

// answer is what came; location is the header of an answer that says that it is there already.
type answer struct {
	body     []byte
	location string
}

// ask sends a request, again when the trouble may pass.
func (c *Client) ask(ctx context.Context, r request) (answer, error) {
	var got answer
	err := httptry.Do(ctx, httptry.Options{Tries: tries, Stall: patience}, func(ctx context.Context, body httptry.Body) error {
		req, err := http.NewRequestWithContext(ctx, r.method, r.url, bytes.NewReader(r.body))
		if err != nil {
			return errdefs.Invalid("the address of the service: %w", err)
		}
		for name, value := range map[string]string{"Content-Type": r.kind, "Accept": r.accept, "Authorization": r.authorization} {
			if value != "" {
				req.Header.Set(name, value)
			}
		}
		res, err := c.http.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		got.body, err = io.ReadAll(io.LimitReader(body(res.Body), maxAnswer+1))
		if err != nil {
			return err
		}
		if len(got.body) > maxAnswer {
			return errdefs.Limit("it answers with more than %d bytes", maxAnswer)
		}
		if res.StatusCode == http.StatusConflict && r.conflictIsAllowed {
			got.location = res.Header.Get("Location")
			return nil
		}
		return statusError(res.StatusCode, got.body)
	})
	if err != nil {
		return answer{}, fmt.Errorf("ask %s at %s: %w", r.service, shown(r.url), err)
	}
	return got, nil
}

// statusError is nil for an answer that says yes.
func statusError(status int, body []byte) error {
	said := string(bytes.ToValidUTF8(body[:min(len(body), maxSaid)], nil))
	switch {
	case status == http.StatusOK || status == http.StatusCreated:
		return nil
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return errdefs.Permission("it refuses (%d): %q", status, said)
	case status == http.StatusNotFound:
		return errdefs.NotFound("there is no such service (%d): %q", status, said)
	case status == http.StatusTooManyRequests || status >= 500:
		return errdefs.Unavailable("it has trouble (%d): %q", status, said)
	}
	return errdefs.Invalid("it does not take what it is sent (%d): %q", status, said)
}

// shown is an address without what can be a credential.
func shown(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "?"
	}
	return u.Scheme + "://" + u.Host
}

// checkURL checks the address of a service; secret says that others must not read what is sent.
func checkURL(address string, secret bool) error {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return errdefs.Invalid("%.200q is no address of a service: want https://HOST", address)
	}
	if secret && u.Scheme == "http" {
		if ip := net.ParseIP(u.Hostname()); u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return errdefs.Permission("%s: an identity token is sent over https alone", shown(address))
		}
	}
	return nil
}
