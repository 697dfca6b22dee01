package remote

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
)

const (
	// maxToken bounds the answer of a token server in bytes.
	maxToken = 1 << 20
	// minLife is how long a token lasts when the server does not say (distribution's token specification).
	minLife = time.Minute
	// clientID is what this program is called among a token server's clients.
	clientID = "camada"
	// typeForm is the media type of what has an identity token in it.
	typeForm = "application/x-www-form-urlencoded"
)

// token is an access token for some scopes.
type token struct {
	value string
	until time.Time
	// refresh is what the next token is to be asked for with; "" is the same as before.
	refresh string
}

// key names a set of scopes.
func key(scopes []string) string { return strings.Join(slices.Sorted(slices.Values(scopes)), " ") }

// credential asks for the host's credential, once.
func (h *host) credential(ctx context.Context) (Credential, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.cred != nil {
		return *h.cred, nil
	}
	var cred Credential
	if h.c.opts.Credentials != nil {
		var err error
		if cred, err = h.c.opts.Credentials.Credential(ctx, h.name); err != nil {
			return cred, err
		}
	}
	h.cred = &cred
	return cred, nil
}

// authorize puts to a request what is known to be wanted.
func (h *host) authorize(ctx context.Context, req *http.Request, scopes []string) error {
	h.mu.Lock()
	tok, basic := h.tokens[key(scopes)], h.basic
	h.mu.Unlock()
	if tok.value != "" && time.Now().Before(tok.until) {
		req.Header.Set("Authorization", "Bearer "+tok.value)
		return nil
	}
	if !basic {
		return nil
	}
	cred, err := h.credential(ctx)
	if err == nil {
		req.SetBasicAuth(cred.Username, cred.Password)
	}
	return err
}

// answer does what a 401 asks for, so that the request can be made again. It closes the answer.
func (h *host) answer(ctx context.Context, res *http.Response, scopes []string) error {
	cred, err := h.credential(ctx)
	if err != nil {
		res.Body.Close()
		return err
	}
	challenges := parseChallenges(res.Header.Values("WWW-Authenticate"))
	for _, c := range challenges {
		if c.scheme != "bearer" {
			continue
		}
		res.Body.Close()
		tok := token{value: cred.RegistryToken, until: time.Now().Add(time.Hour)}
		if tok.value == "" {
			if tok, err = h.fetchToken(ctx, c, cred, scopes); err != nil {
				return fmt.Errorf("get a token: %w", err)
			}
		}
		h.mu.Lock()
		h.tokens[key(scopes)] = tok
		if tok.refresh != "" && (h.offline || cred.IdentityToken != "") {
			h.cred = &Credential{Username: cred.Username, IdentityToken: tok.refresh}
		}
		h.mu.Unlock()
		return nil
	}
	for _, c := range challenges {
		if c.scheme != "basic" || cred.Username == "" {
			continue
		}
		if _, _, tried := res.Request.BasicAuth(); tried {
			break // what we know was refused
		}
		h.mu.Lock()
		h.basic = true
		h.mu.Unlock()
		res.Body.Close()
		return nil
	}
	return statusError(res)
}

// fetchToken gets an access token from the server that a challenge names (distribution's
// "Token Authentication Specification", and its OAuth2 form for identity tokens).
func (h *host) fetchToken(ctx context.Context, c challenge, cred Credential, scopes []string) (token, error) {
	realm, err := url.Parse(c.params["realm"])
	if err != nil || realm.Host == "" || realm.Scheme != "https" && realm.Scheme != "http" {
		return token{}, errdefs.Invalid("the registry names no token server")
	}
	if realm.Scheme == "http" && !h.insecure {
		return token{}, errdefs.Permission("the registry's token server %s does not speak TLS", realm.Host)
	}
	if len(scopes) == 0 && c.params["scope"] != "" {
		scopes = strings.Fields(c.params["scope"])
	}
	req, err := tokenRequest(ctx, realm, c.params["service"], cred, scopes, h.offline)
	if err != nil {
		return token{}, err
	}
	req.Header.Set("User-Agent", h.c.opts.UserAgent)
	p := patience{tries: h.c.opts.Tries}
	for {
		tok, err := h.askToken(req)
		if err == nil || final(err) || ctx.Err() != nil {
			return tok, err
		}
		if err := h.c.wait(ctx, &p, realm.Host, err); err != nil {
			return token{}, err
		}
	}
}

// tokenRequest asks for a token; offline asks for an identity token too, which can be kept in place of a password.
func tokenRequest(ctx context.Context, realm *url.URL, service string, cred Credential, scopes []string, offline bool) (*http.Request, error) {
	q := realm.Query()
	if service != "" {
		q.Set("service", service)
	}
	if cred.IdentityToken != "" {
		q.Set("grant_type", "refresh_token")
		q.Set("refresh_token", cred.IdentityToken)
		q.Set("client_id", clientID)
		q.Set("scope", strings.Join(scopes, " "))
		body := q.Encode()
		u := *realm
		u.RawQuery = ""
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), strings.NewReader(body))
		if err != nil {
			return nil, errdefs.With(errdefs.ErrInvalid, err)
		}
		req.Header.Set("Content-Type", typeForm)
		return req, nil
	}
	for _, s := range scopes {
		q.Add("scope", s)
	}
	if cred.Username != "" {
		q.Set("account", cred.Username)
	}
	if offline {
		q.Set("offline_token", "true")
		q.Set("client_id", clientID)
	}
	u := *realm
	u.RawQuery = q.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, errdefs.With(errdefs.ErrInvalid, err)
	}
	if cred.Username != "" {
		req.SetBasicAuth(cred.Username, cred.Password)
	}
	return req, nil
}

// askToken makes the request once.
func (h *host) askToken(req *http.Request) (token, error) {
	if req.GetBody != nil {
		body, err := req.GetBody()
		if err != nil {
			return token{}, err
		}
		req.Body = body
	}
	ctx, cancel := context.WithTimeout(req.Context(), h.c.opts.Stall)
	defer cancel()
	res, err := h.client.Do(req.WithContext(ctx))
	if err != nil {
		return token{}, errdefs.With(errdefs.ErrUnavailable, unwrapURL(err))
	}
	if res.StatusCode != http.StatusOK {
		return token{}, statusError(res)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, maxToken))
	if err != nil {
		return token{}, errdefs.With(errdefs.ErrUnavailable, err)
	}
	return parseToken(data, time.Now())
}

// parseToken reads the answer of a token server.
func parseToken(data []byte, now time.Time) (token, error) {
	var body struct {
		Token        string `json:"token"`
		AccessToken  string `json:"access_token"`
		RefreshToken string `json:"refresh_token"`
		ExpiresIn    int64  `json:"expires_in"`
	}
	if err := json.Unmarshal(data, &body); err != nil {
		return token{}, errdefs.Invalid("the token server's answer cannot be read")
	}
	value := body.Token
	if value == "" {
		value = body.AccessToken
	}
	if value == "" || strings.ContainsAny(value, "\r\n\x00") {
		return token{}, errdefs.Invalid("the token server gave no token")
	}
	life := min(max(time.Duration(body.ExpiresIn), 0), 24*3600) * time.Second
	if body.ExpiresIn <= 0 {
		life = minLife
	}
	// A little earlier, so that it does not end on the way.
	return token{value: value, until: now.Add(life - min(life/10, 10*time.Second)), refresh: body.RefreshToken}, nil
}
