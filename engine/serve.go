package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/tracing"
	"github.com/camada/camada/registry/access"
	"github.com/camada/camada/registry/api"
	"github.com/camada/camada/registry/config"
	"github.com/camada/camada/registry/oidc"
)

// DefaultServeAddr is where a registry is served when nothing else is said.
const DefaultServeAddr = "127.0.0.1:5000"

// maxServeConfig bounds the file.
const maxServeConfig = 4 << 20

// ServeOptions say how a registry is served.
type ServeOptions struct {
	// Addr is HOST:PORT; "" is what the file says, or DefaultServeAddr.
	Addr string
	// Data is the directory; "" is what the file says, or "registry" in the store.
	Data string
	// ConfigFile is a file as package registry/config has it; "" is none.
	ConfigFile string
	// In and Out are one connection instead of an address. What is behind them needs no credentials: it is a user who was let in already.
	In  io.ReadCloser
	Out io.WriteCloser
	// Ready is told once requests are answered.
	Ready func(Serving)
	// Again makes the configuration be read again at once; it is, too, when its file changes. nil is never.
	Again <-chan os.Signal
	// Reloaded is told that it was, with the keys that differ and count only after a restart.
	Reloaded func(kept []string)
	// Fault is told of errors that end nothing. It is called by many goroutines.
	Fault func(error)
}

// Serving says what is served.
type Serving struct {
	// URL is where, Data what.
	URL, Data string
	// Open is true when everybody who reaches it may do everything, and it can be reached from other machines.
	Open bool
}

// CheckServe reads the configuration of a registry and says what is wrong with it.
func CheckServe(cfg Config, opts ServeOptions) error {
	s, err := newServer(cfg, opts)
	if err != nil {
		return err
	}
	if s.config.Protected() {
		if _, err := access.OpenUsers(s.config.Users, s.config.Robots); err != nil {
			return err
		}
	}
	if _, err := oidc.New(s.config.Issuers, nil); err != nil {
		return err
	}
	if s.config.Policy != "" {
		if _, err := ReadPolicy(s.config.Policy); err != nil {
			return err
		}
	}
	if s.traces, err = s.tracer(); err != nil {
		return err
	}
	s.endTraces()
	if s.config.Cert != "" {
		if _, err = newCertificates(s.config.Cert, s.config.Key); err != nil {
			return err
		}
	}
	return checkDeliveries(&s.config)
}

// Serve serves a registry until ctx is done, and what was asked for until then is answered.
func Serve(ctx context.Context, cfg Config, opts ServeOptions) error {
	s, err := newServer(cfg, opts)
	if err != nil {
		return err
	}
	if opts.In != nil {
		return s.stdio(ctx)
	}
	if s.traces, err = s.tracer(); err != nil {
		return err
	}
	defer s.endTraces()
	g, err := s.open(ctx)
	if err != nil {
		return err
	}
	return errors.Join(s.listen(ctx, g), g.Close())
}

// server is a registry that is served.
type server struct {
	cfg    Config
	config config.Config
	mark   fileMark // of the file, as it was read
	opts   ServeOptions
	addr   string
	data   string
	traces *tracing.Tracer // nil is none
}

// newServer reads the configuration. Flags say more than the file.
func newServer(cfg Config, opts ServeOptions) (*server, error) {
	if cfg.Getenv == nil {
		cfg.Getenv = func(string) string { return "" }
	}
	s := &server{cfg: cfg, opts: opts, mark: markOf(opts.ConfigFile)}
	if s.opts.Fault == nil {
		s.opts.Fault = func(error) {}
	}
	data, dir := []byte(nil), "."
	if opts.ConfigFile != "" {
		var err error
		if data, err = readServeConfig(opts.ConfigFile); err != nil {
			return nil, fmt.Errorf("read the configuration: %w", err)
		}
		if dir, err = filepath.Abs(filepath.Dir(opts.ConfigFile)); err != nil {
			return nil, fmt.Errorf("read the configuration: %w", err)
		}
	}
	var err error
	if s.config, err = config.Parse(data, dir); err != nil {
		return nil, fmt.Errorf("configuration %s: %w", opts.ConfigFile, err)
	}
	s.addr = cmp.Or(opts.Addr, s.config.Addr, DefaultServeAddr)
	if _, _, err := net.SplitHostPort(s.addr); err != nil {
		return nil, errdefs.Invalid("address %q: want HOST:PORT", s.addr)
	}
	if s.data = cmp.Or(opts.Data, s.config.Data); s.data == "" {
		root, err := rootDir(cfg)
		if err != nil {
			return nil, err
		}
		s.data = filepath.Join(root, "registry")
	}
	if s.data, err = filepath.Abs(s.data); err != nil {
		return nil, fmt.Errorf("find the data: %w", err)
	}
	return s, nil
}

func readServeConfig(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxServeConfig+1))
	if err == nil && len(data) > maxServeConfig {
		err = errdefs.Limit("more than %d bytes", maxServeConfig)
	}
	return data, err
}

// handler answers the requests of the registry. A nil gate lets everybody do everything.
func (s *server) handler(k *keeping, gate *access.Gate, rules *servePolicy, done func(api.Event)) http.Handler {
	opts := api.Options{MaxBlob: s.config.Limits.Blob, Patience: s.config.Limits.Patience, Redirect: s.config.Redirect && gate != nil, // who comes by a pipe may not get anywhere else
		Sweep: s.config.Sweep.SweepOptions, Fault: s.opts.Fault, Done: done}
	delivers := len(s.config.Webhooks) > 0 || len(s.config.Replication) > 0
	if delivers {
		opts.More = k.ground.deliveries.more()
	}
	if gate != nil {
		opts.Gate, opts.Limiter = serveGate{gate}, gate
	}
	if len(s.config.Immutable) > 0 {
		opts.Immutable = s.config.IsImmutable
	}
	if rules != nil {
		opts.Admit = rules.admit(k, hostOf(s.config.URL))
	}
	k.serve(&opts, s.config.URL)
	if delivers {
		return watching(api.New(k, opts))
	}
	return api.New(k, opts)
}

// serveGate is a Gate as the api wants it.
type serveGate struct{ *access.Gate }

// Enter says who sends a request.
func (g serveGate) Enter(r *http.Request) (api.Caller, error) {
	v, err := g.Gate.Enter(r)
	if err != nil {
		return nil, err
	}
	return v, nil
}

// admit makes the gate of the configuration.
func (s *server) admit(f, was *face) error {
	c := s.config
	opts := access.Options{Rules: c.Rules, URL: c.URL, Service: c.Tokens.Service, TokenLife: c.Tokens.Life, RefreshLife: c.Tokens.Refresh,
		Proxies: c.Proxies, Rate: c.Limits.Rate, Burst: c.Limits.Burst,
		Limits: c.Limits.Rates, Uploads: c.Limits.Uploads}
	if was != nil {
		opts.Last = was.gate
	}
	if !c.Protected() {
		f.gate = access.NewGate(opts)
		return nil
	}
	var err error
	if was != nil && was.users != nil && was.config.Users == c.Users && reflect.DeepEqual(was.config.Robots, c.Robots) {
		f.users = was.users
	} else if f.users, err = access.OpenUsers(c.Users, c.Robots); err != nil {
		return err
	}
	opts.Users = f.users
	if len(opts.Rules) == 0 { // whoever is known may do what a registry is for
		opts.Rules = access.Rules{{Repositories: []string{"**"}, Users: []string{access.Known}, Actions: access.Pull | access.Push | access.Delete}}
	}
	if !c.Tokens.Off {
		opts.Issuer, err = access.OpenIssuer(cmp.Or(c.Tokens.KeyFile, filepath.Join(s.data, "token.key")), cmp.Or(c.Tokens.Service, "camada"))
		if err != nil {
			return err
		}
	}
	if len(c.Issuers) > 0 {
		if was != nil && reflect.DeepEqual(was.config.Issuers, c.Issuers) {
			f.outside = was.outside
		} else if f.outside, err = oidc.New(c.Issuers, s.opts.Fault); err != nil {
			return err
		}
		opts.Outside = f.outside
	}
	f.gate = access.NewGate(opts)
	return nil
}

// sweeps runs sweeps until ctx is done, as often as the configuration of the moment says.
func (s *server) sweeps(ctx context.Context, g *ground) {
	for ctx.Err() == nil {
		pause, due := g.now.Load().config.Sweep.Every, (<-chan time.Time)(nil)
		if pause > 0 {
			due = time.After(pause)
		}
		select {
		case <-ctx.Done():
		case <-g.swept:
		case <-due:
			k := g.now.Load()
			// Another replica may be at it.
			if _, err := k.Sweep(ctx, k.config.Sweep.SweepOptions); err != nil && ctx.Err() == nil && !errdefs.IsUnavailable(err) {
				s.opts.Fault(fmt.Errorf("sweep the registry: %w", err))
			}
		}
	}
}

// every does something now and then until ctx is done; the first time after a pause.
func every(ctx context.Context, pause time.Duration, do func()) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			do()
		}
	}
}

// isLoopback reports whether an address can be reached from this machine only.
func isLoopback(a net.Addr) bool {
	t, ok := a.(*net.TCPAddr)
	return ok && t.IP.IsLoopback()
}

// urlOf is where clients reach an address.
func (s *server) urlOf(a net.Addr) string {
	if s.config.URL != "" {
		return strings.TrimRight(s.config.URL, "/")
	}
	scheme := "http://"
	if s.config.Cert != "" {
		scheme = "https://"
	}
	return scheme + a.String()
}
