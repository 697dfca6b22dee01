package remote

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/tracing"
	"github.com/camada/camada/reference"
)

// dockerHub is where the images of docker.io are.
const dockerHub = "registry-1.docker.io"

// host is one registry.
type host struct {
	c *Client
	// name is the host of references, api the one that is talked to.
	name, api string
	// base is the path of the API, without a slash at its end.
	base     string
	insecure bool
	// site is what is configured for the connection; may be the zero Site.
	site Site

	// pipe is what is talked over where no network leads; may be nil.
	pipe *piped

	mu     sync.Mutex
	client *http.Client
	scheme string
	cred   *Credential
	tokens map[string]token
	basic  bool
	// offline asks token servers for identity tokens too.
	offline bool
	// restUntil is until when it is better not asked.
	restUntil time.Time
	// warned are the texts that the user was told.
	warned []string
	// heldUntil is until when it asked not to be asked, and heldWhy the answer that says so.
	heldUntil time.Time
	heldWhy   error
}

// host returns the registry of a name, always the same one.
func (c *Client) host(name string) *host {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.hosts[name]
	if h == nil {
		h = c.newHost(name)
		c.hosts[name] = h
	}
	return h
}

func (c *Client) newHost(name string) *host {
	h := &host{c: c, name: name, api: name, base: "/v2", insecure: isInsecure(name, c.opts.Insecure), tokens: make(map[string]token)}
	if name == reference.DefaultHost {
		h.api = dockerHub
	}
	if strings.HasPrefix(name, reference.SSH) {
		h.usePipe()
	}
	return h
}

func (h *host) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.client != nil {
		h.client.CloseIdleConnections()
	}
}

// isInsecure reports whether a host may be talked to without certificates: as docker has it, those of
// this machine, and those that the user named.
func isInsecure(name string, list []string) bool {
	bare := bareHost(name)
	addr, err := netip.ParseAddr(bare)
	return bare == "localhost" || err == nil && addr.IsLoopback() || Listed(name, list)
}

// bareHost is a host without its port and its brackets.
func bareHost(name string) string {
	if h, _, err := net.SplitHostPort(name); err == nil {
		name = h
	}
	return strings.Trim(name, "[]")
}

// Listed reports whether a host is in a list of hosts, with their ports or of any port, and of networks (CIDR).
func Listed(name string, list []string) bool {
	bare := bareHost(name)
	addr, addrErr := netip.ParseAddr(bare)
	for _, entry := range list {
		if strings.EqualFold(entry, name) || strings.EqualFold(entry, bare) {
			return true
		}
		if p, err := netip.ParsePrefix(entry); err == nil && addrErr == nil && p.Contains(addr) {
			return true
		}
	}
	return false
}

// dialTimeout is how long a connection may take to be made.
const dialTimeout = 15 * time.Second

// transport makes a transport with the given TLS settings.
func (c *Client) transport(t *tls.Config, dial time.Duration) *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: dial, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:       t,
		TLSHandshakeTimeout:   15 * time.Second,
		ResponseHeaderTimeout: c.opts.Stall,
		MaxIdleConnsPerHost:   16,
		IdleConnTimeout:       30 * time.Second,
		DisableCompression:    true,
		ForceAttemptHTTP2:     true,
	}
}

// connect chooses scheme and transport on first use. All hosts without certificates of their own share
// one transport.
func (h *host) connect(ctx context.Context) (*http.Client, string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.scheme != "" {
		return h.client, h.scheme, nil
	}
	if h.client == nil {
		t, err := h.transport()
		if err != nil {
			return nil, "", err
		}
		h.client = &http.Client{Transport: tracing.Transport(t), CheckRedirect: h.redirect}
	}
	scheme := h.site.Scheme
	if scheme == "" && !h.insecure {
		scheme = "https"
	}
	if scheme == "" {
		var err error
		if scheme, err = h.probe(ctx); err != nil {
			return nil, "", err
		}
	}
	h.scheme = scheme
	return h.client, scheme, nil
}

// transport makes the host's, or returns the one that all without certificates of their own share.
func (h *host) transport() (*http.Transport, error) {
	conf, err := certificates(h.c.opts.CertDirs, h.name)
	if err == nil {
		conf, err = siteCertificates(conf, h.site)
	}
	if err != nil {
		return nil, err
	}
	if h.insecure && conf == nil || h.site.Insecure {
		// The user named this host, or it is this machine.
		if conf == nil {
			conf = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		conf.InsecureSkipVerify = true //nolint:gosec // as docker has it
	}
	dial := h.site.DialTimeout
	if conf != nil || dial > 0 {
		if dial <= 0 {
			dial = dialTimeout
		}
		return h.c.transport(conf, dial), nil
	}
	h.c.mu.Lock()
	defer h.c.mu.Unlock()
	if h.c.shared == nil {
		h.c.shared = h.c.transport(nil, dialTimeout)
	}
	return h.c.shared, nil
}

// probe finds out whether an insecure registry speaks TLS.
func (h *host) probe(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+h.api+h.base+"/", nil)
	if err != nil {
		return "", errdefs.With(errdefs.ErrInvalid, err)
	}
	res, err := h.client.Do(req)
	if err == nil {
		res.Body.Close()
		return "https", nil
	}
	if ctx.Err() != nil {
		return "", errdefs.With(errdefs.ErrUnavailable, fmt.Errorf("registry %s: %w", h.name, unwrapURL(err)))
	}
	return "http", nil
}

// redirect follows within what is as safe as what was asked. What proves who we are goes to no other host or port: net/http would send it to
// other ports and to subdomains, too ("API").
func (h *host) redirect(req *http.Request, via []*http.Request) error {
	if len(via) >= 10 {
		return errdefs.Limit("more than 10 redirects")
	}
	if s := req.URL.Scheme; s != "https" && (s != "http" || via[0].URL.Scheme != "http") {
		return errdefs.Permission("redirect from %s to %s", via[0].URL.Scheme, s)
	}
	if req.URL.Host != via[0].URL.Host {
		if via[0].Header.Get("Content-Type") == typeForm && req.Body != nil {
			return errdefs.Permission("redirect of a token from %s to %s", via[0].URL.Host, req.URL.Host)
		}
		req.Header.Del("Authorization")
		for k := range h.site.Header {
			req.Header.Del(k) // it can be a secret
		}
	}
	return nil
}

// unwrapURL takes the address, which may have secrets in its query, out of an error of net/http.
func unwrapURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
