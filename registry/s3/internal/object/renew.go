package object

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/camada/camada/errdefs"
)

// renewed are credentials that end, and that somebody gives anew.
type renewed struct {
	// fetch gets some, and until when they are good; a zero time is for ever.
	fetch func(context.Context) (Credentials, time.Time, error)

	mu    sync.Mutex
	k     Credentials
	until time.Time
	// next is when it is time to ask again.
	next time.Time
}

// early is how long before their end credentials are renewed at most; late is when it is tried again while the old ones are still good.
const (
	early = 5 * time.Minute
	late  = 15 * time.Second
)

// Get returns credentials that are good. When they cannot be renewed, the old ones count to their end.
func (r *renewed) Get(ctx context.Context) (Credentials, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if r.k.ID != "" && now.Before(r.next) {
		return r.k, nil
	}
	k, until, err := r.fetch(ctx)
	if err != nil {
		if r.k.ID != "" && now.Before(r.until) {
			r.next = now.Add(late)
			return r.k, nil
		}
		return Credentials{}, err
	}
	r.k, r.until, r.next = k, until, until.Add(-min(early, until.Sub(now)/4))
	if until.IsZero() {
		r.until, r.next = now.AddDate(100, 0, 0), now.AddDate(100, 0, 0)
	}
	return k, nil
}

// given is what metadata services answer with.
type given struct {
	Code            string
	AccessKeyID     string `json:"AccessKeyId"`
	SecretAccessKey string
	Token           string
	Expiration      time.Time
}

// parseGiven reads credentials in JSON.
func parseGiven(data []byte) (Credentials, time.Time, error) {
	var g given
	if err := json.Unmarshal(data, &g); err != nil {
		return Credentials{}, time.Time{}, errdefs.Corrupt("the answer is no JSON of credentials") // what it is may be a secret
	}
	if g.Code != "" && g.Code != "Success" {
		return Credentials{}, time.Time{}, errdefs.Permission("it says %.60q instead of credentials", g.Code)
	}
	if g.AccessKeyID == "" || g.SecretAccessKey == "" {
		return Credentials{}, time.Time{}, errdefs.Corrupt("the answer has no credentials")
	}
	return Credentials{ID: g.AccessKeyID, Secret: g.SecretAccessKey, Token: g.Token}, g.Expiration, nil
}

// asker asks services for credentials.
type asker struct {
	transport http.RoundTripper
	timeout   time.Duration
}

// near is an asker of services on this machine or beside it: no proxy lies between.
func near() *asker {
	return &asker{transport: &http.Transport{DisableKeepAlives: true}, timeout: 3 * time.Second}
}

// ask makes a request and returns the answer's body. Errors have neither address nor body, as both may be secrets. ErrUnavailable is what may pass.
func (a *asker) ask(ctx context.Context, method, address string, header http.Header, body io.Reader) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return nil, errdefs.Invalid("%q is no address", address)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	res, err := a.transport.RoundTrip(req)
	if err != nil {
		return nil, errdefs.Unavailable("%s does not answer: %w", req.URL.Host, withoutURL(err))
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, maxCredentials))
	switch {
	case err != nil:
		return nil, errdefs.Unavailable("%s: %w", req.URL.Host, err)
	case res.StatusCode == http.StatusOK:
		return data, nil
	case res.StatusCode >= 500 || res.StatusCode == http.StatusTooManyRequests:
		return nil, errdefs.Unavailable("%s answers %d", req.URL.Host, res.StatusCode)
	case res.StatusCode == http.StatusNotFound:
		return nil, errdefs.NotFound("%s answers %d", req.URL.Host, res.StatusCode)
	}
	code := ""
	if e, err := parseXML(data); err == nil && len(e.All("Error")) > 0 {
		code = " " + e.All("Error")[0].Get("Code")
	}
	return nil, errdefs.Permission("%s answers %d%.60s", req.URL.Host, res.StatusCode, code)
}
