package remote_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/image/imagetest"
	"github.com/camada/camada/reference"
	"github.com/camada/camada/remote"
	"github.com/camada/camada/remote/remotetest"
	"github.com/camada/camada/transfer"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// pipes lead to a server that listens at a socket. They count, and can be cut.
type pipes struct {
	path   string
	opened atomic.Int32
	host   atomic.Value
	mu     sync.Mutex
	last   net.Conn
	// fail, when not nil, is the error of what is read.
	fail error
}

func (p *pipes) Pipe(_ context.Context, host string) (net.Conn, error) {
	p.opened.Add(1)
	p.host.Store(host)
	c, err := net.Dial("unix", p.path)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = c
	if p.fail != nil {
		return brokenPipe{c, p.fail}, err
	}
	return c, err
}

func (p *pipes) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last.Close()
}

type brokenPipe struct {
	net.Conn
	err error
}

func (b brokenPipe) Read([]byte) (int, error) { return 0, b.err }

// startPiped serves a registry at a socket.
func startPiped(t *testing.T, reg http.Handler) *pipes {
	t.Helper()
	p := &pipes{path: filepath.Join(t.TempDir(), "socket")}
	l, err := net.Listen("unix", p.path)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: reg, Protocols: new(http.Protocols)}
	s.Protocols.SetUnencryptedHTTP2(true)
	ended := make(chan struct{})
	go func() { _ = s.Serve(l); close(ended) }()
	t.Cleanup(func() { s.Close(); <-ended })
	return p
}

func remoteName(t *testing.T, name string) reference.Reference {
	t.Helper()
	ref, err := reference.ParseRemote(name)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// TestPipe pushes and pulls over one pipe, with requests side by side, and goes on over another one when it broke.
func TestPipe(t *testing.T) {
	ctx := context.Background()
	reg := remotetest.New()
	p := startPiped(t, reg)
	reg.Before = func(_ http.ResponseWriter, r *http.Request) bool {
		if r.ProtoMajor != 2 || r.Host != "host.example:2222" || r.Header.Get("Authorization") != "" {
			t.Errorf("%s of %s, %v", r.Proto, r.Host, r.Header)
		}
		return false
	}
	repo := client(t, remote.Options{Pipes: p, Credentials: credentials{}, Sites: noSites{}}).Repository(remoteName(t, "ssh://me@host.example:2222/team/app:1"))
	src, dst := &imagetest.Memory{}, &imagetest.Memory{}
	desc := sample(t, src, 1_000_000)
	if err := transfer.Push(ctx, src, repo.Target("1", desc), desc, transfer.Options{Concurrency: 3}); err != nil {
		t.Fatal(err)
	}
	if err := transfer.Copy(ctx, repo, dst, desc, transfer.Options{Concurrency: 3}); err != nil {
		t.Fatal(err)
	}
	if dst.Len() != src.Len() || p.opened.Load() != 1 || p.host.Load() != "ssh://me@host.example:2222" {
		t.Errorf("%d of %d blobs over %d pipes to %v", dst.Len(), src.Len(), p.opened.Load(), p.host.Load())
	}
	twice(t, repo, src, desc)
	if n := p.opened.Load(); n != 1 {
		t.Errorf("two requests at once went over %d pipes", n)
	}
	p.cut()
	if got, err := repo.Resolve(ctx, "1"); err != nil || got.Digest != desc.Digest {
		t.Errorf("after the pipe broke: %v, %v", got, err)
	}
	if p.opened.Load() != 2 {
		t.Errorf("%d pipes", p.opened.Load())
	}
}

// twice reads a layer while it is being read.
func twice(t *testing.T, repo *remote.Repository, src content.Provider, desc ocispec.Descriptor) {
	t.Helper()
	_, m, err := image.ReadManifest(t.Context(), src, desc)
	if err != nil {
		t.Fatal(err)
	}
	layer := m.Layers[1]
	first, err := repo.Open(t.Context(), layer)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if _, err := io.ReadFull(first, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if data, err := content.ReadAll(t.Context(), repo, layer, 1<<30); err != nil || int64(len(data)) != layer.Size {
		t.Fatalf("%d bytes, %v", len(data), err)
	}
	if n, err := io.Copy(io.Discard, first); err != nil || n != layer.Size-1 {
		t.Fatalf("%d bytes, %v", n, err)
	}
}

// credentials are asked for nothing.
type credentials struct{}

func (credentials) Credential(context.Context, string) (remote.Credential, error) {
	return remote.Credential{}, errors.New("credentials are none of ssh's")
}

type noSites struct{}

func (noSites) Sites(string, string) ([]remote.Site, error) {
	return nil, errors.New("ssh has no mirrors")
}

func TestPipeFails(t *testing.T) {
	ctx := context.Background()
	if _, err := client(t, remote.Options{}).Repository(remoteName(t, "ssh://host/app:1")).Resolve(ctx, "1"); !errdefs.IsUnsupported(err) {
		t.Errorf("without pipes: %v", err)
	}
	for _, tc := range []struct {
		err    error
		class  func(error) bool
		opened int32
	}{
		{errdefs.Permission("ssh to host: Permission denied (publickey)"), errdefs.IsPermission, 1},
		{errdefs.NotFound("ssh to host: camada: command not found"), errdefs.IsNotFound, 1},
		{errdefs.Unavailable("ssh to host: Connection refused"), errdefs.IsUnavailable, 3},
	} {
		p := startPiped(t, remotetest.New())
		p.fail = tc.err
		c := client(t, remote.Options{Pipes: p, Tries: 3})
		_, err := c.Repository(remoteName(t, "ssh://host/app:1")).Resolve(ctx, "1")
		if err == nil || !tc.class(err) || !strings.Contains(err.Error(), tc.err.Error()) || p.opened.Load() != tc.opened {
			t.Errorf("%v: %v after %d pipes, want %d", tc.err, err, p.opened.Load(), tc.opened)
		}
	}
	// What the registry says must not lead out of the pipe.
	reg := remotetest.New()
	reg.Before = func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, "https://elsewhere.example/", http.StatusTemporaryRedirect)
		return true
	}
	_, err := client(t, remote.Options{Pipes: startPiped(t, reg)}).Repository(remoteName(t, "ssh://host/app:1")).Resolve(ctx, "1")
	if !errdefs.IsUnsupported(err) {
		t.Errorf("a redirect: %v", err)
	}
	if _, err := client(t, remote.Options{}).Login(ctx, "ssh://host", remote.Credential{Username: "u", Password: "p"}); !errdefs.IsInvalid(err) {
		t.Errorf("a login: %v", err)
	}
}
