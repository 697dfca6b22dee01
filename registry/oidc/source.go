package oidc

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/camada/camada/errdefs"
)

// keySource has the keys of an issuer.
type keySource interface {
	// find returns the keys that are wanted, at least one. ErrPermission when the issuer has none, ErrUnavailable when it cannot be asked.
	find(ctx context.Context, wanted func(*key) bool) ([]*key, error)
}

const (
	// fresh is how long keys are used without a look for newer ones, and stale how long when the issuer does not answer.
	fresh = time.Hour
	stale = 24 * time.Hour
	// again is how long to wait before an issuer is asked once more, whatever tokens come.
	again = 10 * time.Second
	// patience is how long an issuer may take to answer.
	patience = 10 * time.Second
	// maxMetadata bounds what an issuer says of itself, and maxCredential what is shown to it.
	maxMetadata   = 1 << 20
	maxCredential = 64 << 10
	// look is how often a file is looked at.
	look = time.Second
)

// newKeySource chooses where the keys come from.
func newKeySource(i Issuer, fault func(error)) (keySource, error) {
	if i.Keys != "" && !isURL(i.Keys) {
		f := &keyFile{path: i.Keys, now: time.Now}
		_, err := f.find(context.Background(), func(*key) bool { return true })
		return f, err
	}
	tlsConfig := &tls.Config{MinVersion: tls.VersionTLS12}
	if i.CA != "" {
		pem, err := os.ReadFile(i.CA)
		if err != nil {
			return nil, fmt.Errorf("read the certificates: %w", err)
		}
		tlsConfig.RootCAs = x509.NewCertPool()
		if !tlsConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errdefs.Invalid("%s has no certificates in PEM", i.CA)
		}
	}
	// It is asked once an hour: a connection is not worth to be kept.
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: tlsConfig, DisableKeepAlives: true, ForceAttemptHTTP2: true, MaxResponseHeaderBytes: 64 << 10}
	s := &keyServer{issuer: i.URL, keysURL: i.Keys, credential: i.Credential, now: time.Now}
	// Whoever redirects could name any server, also one that only this machine reaches.
	s.client = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	s.fault = func(err error) { fault(fmt.Errorf("get the keys of the issuer %s: %w", i.Name, err)) }
	return s, nil
}

// choose keeps the keys that are wanted.
func choose(keys []*key, wanted func(*key) bool) []*key {
	var list []*key
	for _, k := range keys {
		if wanted(k) {
			list = append(list, k)
		}
	}
	return list
}

// unknownKey is what is said of a key that an issuer has not got.
func unknownKey() error { return errdefs.Permission("none of them is the token's") }

// keyFile has keys in a file, which is read again when it changed.
type keyFile struct {
	path string
	now  func() time.Time

	mu      sync.Mutex
	looked  time.Time
	changed time.Time
	size    int64
	keys    []*key
}

func (f *keyFile) find(_ context.Context, wanted func(*key) bool) ([]*key, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.now().Sub(f.looked) >= look {
		f.looked = f.now()
		if err := f.read(); err != nil && f.keys == nil { // while it cannot be read, what it had before counts
			return nil, fmt.Errorf("read the keys %s: %w", f.path, err)
		}
	}
	if list := choose(f.keys, wanted); len(list) > 0 {
		return list, nil
	}
	return nil, unknownKey()
}

// read reads the file when it changed. f.mu is held.
func (f *keyFile) read() error {
	file, err := os.Open(f.path)
	if err != nil {
		return err
	}
	defer file.Close()
	fi, err := file.Stat()
	if err != nil {
		return err
	}
	if f.keys != nil && fi.ModTime().Equal(f.changed) && fi.Size() == f.size {
		return nil
	}
	data, err := io.ReadAll(io.LimitReader(file, maxKeySet+1))
	if err != nil {
		return err
	}
	keys, err := parseKeys(data)
	if err == nil {
		f.keys, f.changed, f.size = keys, fi.ModTime(), fi.Size()
	}
	return err
}

// keyServer asks the issuer for its keys, and keeps them for a while.
type keyServer struct {
	issuer, keysURL, credential string

	client *http.Client
	fault  func(error)
	now    func() time.Time

	mu    sync.Mutex
	keys  []*key
	got   time.Time // when the keys came
	tried time.Time
	err   error         // why the last try failed
	busy  chan struct{} // closed when the try that is under way ends; nil when there is none
}

func (s *keyServer) find(ctx context.Context, wanted func(*key) bool) ([]*key, error) {
	keys, age := s.known()
	switch {
	case keys == nil || age > stale:
		if err := s.renew(ctx); err != nil {
			return nil, err
		}
	case age > fresh:
		s.begin() // the old ones do meanwhile
	}
	if keys, _ = s.known(); keys != nil {
		if list := choose(keys, wanted); len(list) > 0 {
			return list, nil
		}
	}
	// The issuer may have a new key.
	if err := s.renew(ctx); err != nil {
		return nil, err
	}
	keys, _ = s.known()
	if list := choose(keys, wanted); len(list) > 0 {
		return list, nil
	}
	return nil, unknownKey()
}

func (s *keyServer) known() ([]*key, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys, s.now().Sub(s.got)
}

// renew gets the keys and waits for them; when it was tried a moment ago, that counts.
func (s *keyServer) renew(ctx context.Context) error {
	if done := s.begin(); done != nil {
		select {
		case <-done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return errdefs.Unavailable("they cannot be got at the moment") // why is for whoever runs the registry
	}
	return nil
}

// begin begins to get the keys, unless somebody did a moment ago; what it returns is closed when that is done.
func (s *keyServer) begin() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy != nil {
		return s.busy
	}
	if !s.tried.IsZero() && s.now().Sub(s.tried) < again {
		return nil
	}
	done := make(chan struct{})
	s.busy, s.tried = done, s.now()
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		keys, err := s.get(ctx)
		s.mu.Lock()
		if s.err = err; err == nil {
			s.keys, s.got = keys, s.now()
		}
		s.busy = nil
		s.mu.Unlock()
		close(done)
		if err != nil {
			s.fault(err)
		}
	}()
	return done
}

// get asks for the metadata, and for the keys that they name (OpenID Connect Discovery 1.0, section 4).
func (s *keyServer) get(ctx context.Context) ([]*key, error) {
	at := s.keysURL
	if at == "" {
		data, err := s.fetch(ctx, strings.TrimRight(s.issuer, "/")+"/.well-known/openid-configuration", maxMetadata)
		if err != nil {
			return nil, err
		}
		var m struct {
			Issuer string `json:"issuer"`
			Keys   string `json:"jwks_uri"`
		}
		if err := json.Unmarshal(data, &m); err != nil {
			return nil, errdefs.Invalid("its metadata cannot be read: %w", err)
		}
		if m.Issuer != s.issuer { // section 4.3: they MUST be the same
			return nil, errdefs.Invalid("its metadata are of %.200q", m.Issuer)
		}
		if err := checkURL(m.Keys); err != nil {
			return nil, fmt.Errorf("its metadata name the keys %.200q: %w", m.Keys, err)
		}
		if at = m.Keys; strings.HasPrefix(s.issuer, "https://") && !strings.HasPrefix(at, "https://") {
			return nil, errdefs.Invalid("its metadata name keys without TLS")
		}
	}
	data, err := s.fetch(ctx, at, maxKeySet)
	if err != nil {
		return nil, err
	}
	return parseKeys(data)
}

// fetch gets a document of at most limit bytes.
func (s *keyServer) fetch(ctx context.Context, url string, limit int64) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, errdefs.With(errdefs.ErrInvalid, err)
	}
	req.Header.Set("Accept", "application/json")
	if s.credential != "" {
		token, err := readCredential(s.credential)
		if err != nil {
			return nil, err
		}
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, errdefs.With(errdefs.ErrUnavailable, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, errdefs.Unavailable("%s says %s", url, resp.Status)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	switch {
	case err != nil:
		return nil, errdefs.With(errdefs.ErrUnavailable, err)
	case int64(len(data)) > limit:
		return nil, errdefs.Limit("%s has more than %d bytes", url, limit)
	}
	return data, nil
}

// readCredential reads a token, which Kubernetes writes anew every hour.
func readCredential(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("read the credential: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxCredential+1))
	if err != nil {
		return "", fmt.Errorf("read the credential: %w", err)
	}
	text := strings.TrimSpace(string(data))
	if len(data) > maxCredential || text == "" || strings.ContainsAny(text, "\r\n") {
		return "", errors.New("the credential is no token")
	}
	return text, nil
}
