package engine

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry/access"
	"github.com/camada/camada/registry/api"
	"github.com/camada/camada/registry/config"
	"github.com/camada/camada/registry/oidc"
)

// face is what a registry shows of one configuration. Requests that are under way keep theirs when another one takes its place.
type face struct {
	config config.Config
	// public is for the address, inner for the socket.
	public, inner http.Handler
	gate          *access.Gate
	users         *access.Users
	outside       *oidc.Verifier
	certs         *certificates // nil without TLS
	rules         *servePolicy  // nil without a policy
}

// faces has the face of now.
type faces struct {
	now  atomic.Pointer[face]
	good atomic.Bool // what was read last is what is used
}

// newFace makes a face. What the last one, which may be nil, knows of clients and users goes on where it can.
func (s *server) newFace(k *keeping, done func(api.Event), was *face) (*face, error) {
	f := &face{config: s.config}
	if err := s.admit(f, was); err != nil {
		return nil, err
	}
	if was != nil && was.config.Cert == s.config.Cert && was.config.Key == s.config.Key {
		f.certs = was.certs
	} else if s.config.Cert != "" {
		var err error
		if f.certs, err = newCertificates(s.config.Cert, s.config.Key); err != nil {
			return nil, err
		}
	}
	var err error
	if f.rules, err = s.rules(was); err != nil {
		return nil, err
	}
	f.public, f.inner = s.handler(k, f.gate, f.rules, done), s.handler(k, nil, f.rules, done)
	return f, nil
}

// exchange is the next configuration with what cannot change while the registry is served of the last one, and the keys of that which differ: where it is
// served, where the data lies, whether there is TLS at all, and where traces go, which are of the connection to the data as well.
func exchange(last, next config.Config) (config.Config, []string) {
	var kept []string
	keep := func(key string, differs bool, restore func()) {
		if differs {
			restore()
			kept = append(kept, key)
		}
	}
	keep("listen", last.Addr != next.Addr, func() { next.Addr = last.Addr })
	keep("data", last.Data != next.Data, func() { next.Data = last.Data })
	keep("s3", last.S3 != next.S3, func() { next.S3 = last.S3 })
	keep("tls", (last.Cert == "") != (next.Cert == ""), func() { next.Cert, next.Key = last.Cert, last.Key })
	keep("traces", last.Traces != next.Traces, func() { next.Traces = last.Traces })
	return next, kept
}

// reload reads the configuration again. What is not good is not taken, and the last one stays.
func (s *server) reload(ctx context.Context, f *front, done func(api.Event)) {
	kept, err := s.tryReload(ctx, f, done)
	f.good.Store(err == nil)
	switch {
	case err != nil:
		s.opts.Fault(fmt.Errorf("the configuration is not taken, and the last one stays: %w", err))
	case s.opts.Reloaded != nil:
		s.opts.Reloaded(kept)
	}
}

func (s *server) tryReload(ctx context.Context, f *front, done func(api.Event)) ([]string, error) {
	read, err := newServer(s.cfg, s.opts)
	if err != nil {
		return nil, err
	}
	was := f.now.Load()
	if was.config.Protected() && !read.config.Protected() {
		// A file that is being written is empty for a moment.
		return nil, errdefs.Invalid("it has no users any more: everybody could do everything; start anew if it should be so")
	}
	var kept []string
	next := *s // all that is open stays so
	next.config, kept = exchange(was.config, read.config)
	if err := checkDeliveries(&next.config); err != nil {
		return nil, err
	}
	k, err := next.keep(f.ground, f.ground.now.Load())
	if err != nil {
		return nil, err
	}
	now, err := next.newFace(k, done, was)
	if err != nil {
		return nil, err
	}
	if err := f.ground.take(ctx, k); err != nil {
		return nil, err
	}
	f.now.Store(now)
	f.ledger.SetFile(next.config.Audit)
	return kept, nil
}

// reloadLook is how often the file is looked at.
const reloadLook = time.Second

// fileMark tells whether a file is another one.
type fileMark struct {
	size int64
	time time.Time
	ino  uint64
}

func markOf(name string) fileMark {
	fi, err := os.Stat(name)
	if err != nil {
		return fileMark{}
	}
	m := fileMark{size: fi.Size(), time: fi.ModTime()}
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		m.ino = st.Ino
	}
	return m
}

// reloads reads the configuration again when the file changed and stays so for a moment, or when it is asked for, until ctx is done.
func (s *server) reloads(ctx context.Context, again func()) {
	if s.opts.ConfigFile == "" {
		return
	}
	tick := time.NewTicker(reloadLook)
	defer tick.Stop()
	read := s.mark
	last := read
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.opts.Again:
			read = markOf(s.opts.ConfigFile)
			last = read
			again()
		case <-tick.C:
			m := markOf(s.opts.ConfigFile)
			// Somebody may be writing it: it has to be the same twice. One that is gone for a moment is not looked at.
			if m != read && m == last && m != (fileMark{}) {
				read = m
				again()
			}
			last = m
		}
	}
}
