package fetch_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/camada/camada/base/debian/fetch"
	"github.com/camada/camada/errdefs"
)

func noProxy(*http.Request) (*url.URL, error) { return nil, nil }

func want(body string) fetch.Want {
	return fetch.Want{Size: int64(len(body)), SHA256: fmt.Sprintf("%x", sha256.Sum256([]byte(body)))}
}

// serve answers the n-th request, counted from 1, with fn.
func serve(t *testing.T, fn func(n int64, w http.ResponseWriter, r *http.Request)) (string, *atomic.Int64) {
	t.Helper()
	var n atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fn(n.Add(1), w, r) }))
	t.Cleanup(s.Close)
	return s.URL, &n
}

func cache(t *testing.T, o fetch.Options) fetch.Cache {
	t.Helper()
	o.Proxy = noProxy
	c := fetch.NewClient(o)
	t.Cleanup(c.Close)
	return fetch.Cache{Dir: t.TempDir(), Client: c}
}

func body(t *testing.T, f *os.File, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestFile(t *testing.T) {
	address, n := serve(t, func(n int64, w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/none"):
			http.NotFound(w, r)
		case n == 2:
			http.Error(w, "busy", http.StatusServiceUnavailable)
		case n == 3: // cut off in the middle
			w.Header().Set("Content-Length", "5")
			_, _ = io.WriteString(w, "he")
		default:
			_, _ = io.WriteString(w, "hello")
		}
	})
	c := cache(t, fetch.Options{})
	var told int64
	f, cached, err := c.File(t.Context(), []string{address + "/none", address + "/x"}, want("hello"), func(n int64) { told = n })
	if got := body(t, f, err); got != "hello" || cached || n.Load() != 4 || told != 5 {
		t.Errorf("got %q, cached %v after %d requests, told of %d bytes", got, cached, n.Load(), told)
	}
	f, cached, err = c.File(t.Context(), nil, want("hello"), nil)
	if got := body(t, f, err); got != "hello" || !cached {
		t.Errorf("from the cache: %q, %v", got, cached)
	}
	left, err := os.ReadDir(filepath.Join(c.Dir, "sha256"))
	if err != nil || len(left) != 1 {
		t.Errorf("the cache has %v, %v", left, err)
	}
}

func TestFileRefused(t *testing.T) {
	for name, sent := range map[string]string{"larger": "hello!", "smaller": "hell", "changed": "hellO"} {
		address, n := serve(t, func(_ int64, w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, sent) })
		c := cache(t, fetch.Options{})
		_, _, err := c.File(t.Context(), []string{address}, want("hello"), nil)
		if !errdefs.IsCorrupt(err) || n.Load() != 1 {
			t.Errorf("%s: %v after %d requests", name, err, n.Load())
		}
		if left, _ := os.ReadDir(filepath.Join(c.Dir, "sha256")); len(left) != 0 {
			t.Errorf("%s: the cache has %v", name, left)
		}
	}
	if _, _, err := cache(t, fetch.Options{}).File(t.Context(), nil, fetch.Want{SHA256: "../x"}, nil); !errdefs.IsInvalid(err) {
		t.Errorf("digest: %v", err)
	}
}

func TestGet(t *testing.T) {
	address, n := serve(t, func(_ int64, w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/forbidden":
			http.Error(w, "no", http.StatusForbidden)
		case "/busy":
			http.Error(w, "no", http.StatusBadGateway)
		case "/away":
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		case "/stall":
			w.WriteHeader(http.StatusOK)
			_, _ = io.WriteString(w, "x")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		default:
			_, _ = io.WriteString(w, "hello")
		}
	})
	client := cache(t, fetch.Options{Tries: 2, Stall: 300 * time.Millisecond}).Client
	for path, is := range map[string]func(error) bool{
		"/forbidden": errdefs.IsPermission,
		"/busy":      errdefs.IsUnavailable,
		"/stall":     errdefs.IsUnavailable,
		"/away":      errdefs.IsPermission,
	} {
		if b, err := client.Get(t.Context(), address+path, 100); !is(err) {
			t.Errorf("%s: %q, %v", path, b, err)
		}
	}
	before := n.Load()
	if _, err := client.Get(t.Context(), address+"/busy", 100); err == nil || n.Load()-before != 2 {
		t.Errorf("a busy server was asked %d times, want 2", n.Load()-before)
	}
	if _, err := client.Get(t.Context(), address, 4); !errdefs.IsLimit(err) {
		t.Errorf("larger than the limit: %v", err)
	}
	if b, err := client.Get(t.Context(), address, 5); err != nil || string(b) != "hello" {
		t.Errorf("got %q, %v", b, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := client.Get(ctx, address, 5); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	if _, err := client.Get(t.Context(), "http://user:secret@127.0.0.1:1/x", 5); !errdefs.IsUnavailable(err) || strings.Contains(err.Error(), "secret") {
		t.Errorf("nobody listens: %v", err)
	}
	name := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(name, []byte("local"), 0o644); err != nil {
		t.Fatal(err)
	}
	if b, err := client.Get(t.Context(), "file://"+name, 5); err != nil || string(b) != "local" {
		t.Errorf("file: %q, %v", b, err)
	}
}
