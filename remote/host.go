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
	"github.com/camada/camada/reference"
)

// dockerHub is where the images of docker.io are.
const dockerHub = "registry-1.docker.io"

// host is one registry.
type host struct {
	c *Client
	// name is the host of references, api the one that is talked to.
	name, api string
	insecure  bool

	mu     sync.Mutex
	client *http.Client
	scheme string
	cred   *Credential
	tokens map[string]token
	basic  bool
}

// host returns the registry of a name, always the same one.
func (c *Client) host(name string) *host {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.hosts[name]
	if h == nil {
		h = &host{c: c, name: name, api: name, insecure: isInsecure(name, c.opts.Insecure), tokens: make(map[string]token)}
		if name == reference.DefaultHost {
			h.api = dockerHub
		}
		c.hosts[name] = h
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
	bare := name
	if h, _, err := net.SplitHostPort(name); err == nil {
		bare = h
	}
	bare = strings.Trim(bare, "[]")
	if bare == "localhost" {
		return true
	}
	addr, addrErr := netip.ParseAddr(bare)
	if addrErr == nil && addr.IsLoopback() {
		return true
	}
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

// transport makes a transport with the given TLS settings.
func (c *Client) transport(t *tls.Config) *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 15 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
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
		conf, err := certificates(h.c.opts.CertDirs, h.name)
		if err != nil {
			return nil, "", err
		}
		if h.insecure && conf == nil {
			// The user named this host, or it is this machine.
			conf = &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12} //nolint:gosec // as docker has it
		}
		var t *http.Transport
		if conf != nil {
			t = h.c.transport(conf)
		} else {
			h.c.mu.Lock()
			if h.c.shared == nil {
				h.c.shared = h.c.transport(nil)
			}
			t = h.c.shared
			h.c.mu.Unlock()
		}
		h.client = &http.Client{Transport: t, CheckRedirect: h.redirect}
	}
	scheme := "https"
	if h.insecure {
		var err error
		if scheme, err = h.probe(ctx); err != nil {
			return nil, "", err
		}
	}
	h.scheme = scheme
	return h.client, scheme, nil
}

// probe finds out whether an insecure registry speaks TLS.
func (h *host) probe(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+h.api+"/v2/", nil)
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

// redirect follows within what is as safe as what was asked. net/http drops Authorization for other hosts.
func (h *host) redirect(req *http.Request, via []*http.Request) error {
	if len(via) >= 10 {
		return errdefs.Limit("more than 10 redirects")
	}
	if s := req.URL.Scheme; s != "https" && (s != "http" || via[0].URL.Scheme != "http") {
		return errdefs.Permission("redirect from %s to %s", via[0].URL.Scheme, s)
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
