package http_test

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	nethttp "net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/fetch"
	"github.com/camada/camada/fetch/http"
	"github.com/opencontainers/go-digest"
)

func noProxy(*nethttp.Request) (*url.URL, error) { return nil, nil }

// client returns a Client with a cache of its own, and a function that names new files.
func client(t *testing.T, o http.Options) (*http.Client, func() string) {
	t.Helper()
	dir := t.TempDir()
	if o.Dir == "" {
		o.Dir = filepath.Join(dir, "cache")
	}
	o.Proxy = noProxy
	c := http.New(o)
	t.Cleanup(c.Close)
	n := atomic.Int64{}
	return c, func() string { return filepath.Join(dir, fmt.Sprint(n.Add(1))) }
}

func serve(t *testing.T, h nethttp.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

var modified = time.Date(2021, 2, 3, 4, 5, 6, 0, time.UTC)

func sum(s string) digest.Digest { return digest.FromString(s) }

func TestGet(t *testing.T) {
	u := serve(t, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		w.Header().Set("Last-Modified", modified.Format(nethttp.TimeFormat))
		io.WriteString(w, "content")
	})
	c, name := client(t, http.Options{})
	var last, total int64
	f, err := c.Get(t.Context(), fetch.URL{URL: u + "/a"}, name(), func(n, all int64) { last, total = n, all })
	if err != nil {
		t.Fatal(err)
	}
	if f.Digest != sum("content") || f.Size != 7 || !f.ModTime.Equal(modified) || last != 7 || total != 7 {
		t.Errorf("got %+v, progress %d of %d", f, last, total)
	}
	info, err := os.Stat(f.Path)
	if err != nil || info.Mode() != 0o600 || !info.ModTime().Equal(modified) {
		t.Errorf("the file is %v, %v", info, err)
	}
	if data, _ := os.ReadFile(f.Path); string(data) != "content" {
		t.Errorf("the file holds %q", data)
	}
}

// TestUnchanged asks for a file again: by ETag, by time, and without validators.
func TestUnchanged(t *testing.T) {
	old := time.Now().Add(-time.Hour).UTC()
	for _, c := range []struct {
		name   string
		header nethttp.Header
		bodies int64 // of two requests
	}{
		{"etag", nethttp.Header{"Etag": {`"x"`}}, 1},
		{"weak etag", nethttp.Header{"Etag": {`W/"x"`}}, 1},
		{"time", nethttp.Header{"Last-Modified": {old.Format(nethttp.TimeFormat)}}, 1},
		{"time of just now", nethttp.Header{"Last-Modified": {time.Now().UTC().Format(nethttp.TimeFormat)}}, 2},
		{"nothing", nethttp.Header{}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			var bodies atomic.Int64
			u := serve(t, func(w nethttp.ResponseWriter, r *nethttp.Request) {
				for k, v := range c.header {
					w.Header()[k] = v
				}
				if r.Header.Get("If-None-Match") != "" && r.Header.Get("If-None-Match") == c.header.Get("ETag") ||
					r.Header.Get("If-Modified-Since") != "" && r.Header.Get("If-Modified-Since") == c.header.Get("Last-Modified") {
					w.WriteHeader(nethttp.StatusNotModified)
					return
				}
				bodies.Add(1)
				io.WriteString(w, "content")
			})
			cl, name := client(t, http.Options{})
			for range 2 {
				f, err := cl.Get(t.Context(), fetch.URL{URL: u}, name(), nil)
				if err != nil || f.Digest != sum("content") {
					t.Fatalf("%+v, %v", f, err)
				}
			}
			if bodies.Load() != c.bodies {
				t.Errorf("the content came %d times, want %d", bodies.Load(), c.bodies)
			}
		})
	}
}

func TestChanged(t *testing.T) {
	content := "one"
	u := serve(t, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		w.Header().Set("ETag", `"`+content+`"`)
		if r.Header.Get("If-None-Match") == `"`+content+`"` {
			w.WriteHeader(nethttp.StatusNotModified)
			return
		}
		io.WriteString(w, content)
	})
	c, name := client(t, http.Options{})
	first := name()
	for i, s := range []string{"one", "two", "two"} {
		content = s
		dest := name()
		if i == 0 {
			dest = first
		}
		f, err := c.Get(t.Context(), fetch.URL{URL: u}, dest, nil)
		if err != nil || f.Digest != sum(s) {
			t.Fatalf("%+v, %v", f, err)
		}
	}
	if data, _ := os.ReadFile(first); string(data) != "one" {
		t.Errorf("a file that was given out became %q", data)
	}
}

func TestChecksum(t *testing.T) {
	var requests atomic.Int64
	u := serve(t, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		requests.Add(1)
		io.WriteString(w, "content")
	})
	s384, s512 := sha512.Sum384([]byte("content")), sha512.Sum512([]byte("content"))
	sums := []digest.Digest{sum("content"), digest.Digest("sha384:" + hex.EncodeToString(s384[:])), digest.Digest("sha512:" + hex.EncodeToString(s512[:]))}
	for _, d := range sums {
		c, name := client(t, http.Options{})
		requests.Store(0)
		for range 2 {
			f, err := c.Get(t.Context(), fetch.URL{URL: u, Checksum: d}, name(), nil)
			if err != nil || f.Digest != d {
				t.Fatalf("%+v, %v", f, err)
			}
		}
		if requests.Load() != 1 {
			t.Errorf("%s: %d requests, want one", d, requests.Load())
		}
		wrong := digest.NewDigestFromEncoded(d.Algorithm(), strings.Repeat("0", len(d.Encoded())))
		if _, err := c.Get(t.Context(), fetch.URL{URL: u, Checksum: wrong}, name(), nil); !errdefs.IsCorrupt(err) || !strings.Contains(err.Error(), d.String()) {
			t.Errorf("a wrong checksum: %v", err)
		}
		if f, err := c.Get(t.Context(), fetch.URL{URL: u, Checksum: d}, name(), nil); err != nil || f.Digest != d {
			t.Errorf("after a wrong checksum: %v", err)
		}
		if requests.Load() != 2 {
			t.Errorf("%s: %d requests, want two", d, requests.Load())
		}
	}
	c, name := client(t, http.Options{})
	for _, bad := range []digest.Digest{"sha256:12", "md5:" + digest.Digest(strings.Repeat("0", 32)), "x"} {
		if _, err := c.Get(t.Context(), fetch.URL{URL: u, Checksum: bad}, name(), nil); !errdefs.IsInvalid(err) {
			t.Errorf("checksum %q: %v", bad, err)
		}
	}
}

func TestAnswers(t *testing.T) {
	for _, c := range []struct {
		status int
		is     func(error) bool
		tries  int64
	}{
		{404, errdefs.IsNotFound, 1}, {410, errdefs.IsNotFound, 1}, {401, errdefs.IsPermission, 1}, {403, errdefs.IsPermission, 1},
		{400, errdefs.IsInvalid, 1}, {204, errdefs.IsInvalid, 1}, {304, errdefs.IsInvalid, 1}, {500, errdefs.IsUnavailable, 2}, {429, errdefs.IsUnavailable, 2},
	} {
		var requests atomic.Int64
		u := serve(t, func(w nethttp.ResponseWriter, r *nethttp.Request) {
			requests.Add(1)
			w.WriteHeader(c.status)
		})
		cl, name := client(t, http.Options{Tries: 2})
		if _, err := cl.Get(t.Context(), fetch.URL{URL: u}, name(), nil); !c.is(err) || requests.Load() != c.tries {
			t.Errorf("%d: %v after %d requests", c.status, err, requests.Load())
		}
	}
}

func TestComesBack(t *testing.T) {
	var requests atomic.Int64
	u := serve(t, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		if requests.Add(1) == 1 {
			w.Header().Set("Content-Length", "100") // a lie: the connection breaks off
			io.WriteString(w, "con")
			return
		}
		io.WriteString(w, "content")
	})
	c, name := client(t, http.Options{Tries: 2})
	f, err := c.Get(t.Context(), fetch.URL{URL: u}, name(), nil)
	if err != nil || f.Digest != sum("content") {
		t.Errorf("%+v, %v", f, err)
	}
}

func TestBadServers(t *testing.T) {
	stuck := make(chan struct{})
	defer close(stuck)
	for _, c := range []struct {
		name string
		h    nethttp.HandlerFunc
		is   func(error) bool
		text string
	}{
		{"lies about its length", func(w nethttp.ResponseWriter, r *nethttp.Request) {
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "short")
		}, errdefs.IsUnavailable, "EOF"},
		{"says that it is too large", func(w nethttp.ResponseWriter, r *nethttp.Request) {
			w.Header().Set("Content-Length", "5000")
		}, errdefs.IsLimit, "5000"},
		{"is too large", func(w nethttp.ResponseWriter, r *nethttp.Request) {
			for range 100 {
				io.WriteString(w, strings.Repeat("x", 1000))
				w.(nethttp.Flusher).Flush()
			}
		}, errdefs.IsLimit, "more than 1000"},
		{"sends no head", func(w nethttp.ResponseWriter, r *nethttp.Request) {
			select {
			case <-stuck:
			case <-r.Context().Done():
			}
		}, errdefs.IsUnavailable, ""},
		{"stops in the middle", func(w nethttp.ResponseWriter, r *nethttp.Request) {
			io.WriteString(w, "some")
			w.(nethttp.Flusher).Flush()
			select {
			case <-stuck:
			case <-r.Context().Done():
			}
		}, errdefs.IsUnavailable, "sent nothing"},
		{"leads round in a circle", func(w nethttp.ResponseWriter, r *nethttp.Request) {
			nethttp.Redirect(w, r, r.URL.Path+"x", nethttp.StatusFound)
		}, errdefs.IsLimit, "redirects"},
		{"leads to a file", func(w nethttp.ResponseWriter, r *nethttp.Request) {
			nethttp.Redirect(w, r, "file:///etc/passwd", nethttp.StatusFound)
		}, errdefs.IsPermission, "redirect from http to file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := serve(t, c.h)
			cl, name := client(t, http.Options{Tries: 1, MaxBytes: 1000, Stall: 200 * time.Millisecond})
			dest := name()
			_, err := cl.Get(t.Context(), fetch.URL{URL: u}, dest, nil)
			if !c.is(err) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v", err)
			}
			if _, err := os.Lstat(dest); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("a file was left: %v", err)
			}
		})
	}
}

func TestRedirect(t *testing.T) {
	other := serve(t, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Error("another host was given the credentials")
		}
		io.WriteString(w, "content")
	})
	_, port, _ := strings.Cut(strings.TrimPrefix(other, "http://"), ":")
	u := serve(t, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" {
			t.Error("no credentials")
		}
		nethttp.Redirect(w, r, "http://localhost:"+port+"/b", nethttp.StatusMovedPermanently)
	})
	c, name := client(t, http.Options{Authorization: func(_ context.Context, host string) (string, error) {
		if host != "127.0.0.1" {
			t.Errorf("asked for the credentials of %s", host)
		}
		return "Bearer secret", nil
	}})
	if f, err := c.Get(t.Context(), fetch.URL{URL: u}, name(), nil); err != nil || f.Digest != sum("content") {
		t.Errorf("%+v, %v", f, err)
	}
	secure := httptest.NewTLSServer(nethttp.RedirectHandler(u, nethttp.StatusFound))
	defer secure.Close()
	if _, err := c.Get(t.Context(), fetch.URL{URL: secure.URL}, name(), nil); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("an unknown certificate: %v", err)
	}
}

// TestPassword: it reaches the server, and no message.
func TestPassword(t *testing.T) {
	u := serve(t, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		if user, pw, _ := r.BasicAuth(); user != "me" || pw != "secret" {
			t.Errorf("user %q, password %q", user, pw)
		}
		w.WriteHeader(nethttp.StatusNotFound)
	})
	c, name := client(t, http.Options{})
	_, err := c.Get(t.Context(), fetch.URL{URL: strings.Replace(u, "://", "://me:secret@", 1)}, name(), nil)
	if !errdefs.IsNotFound(err) || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), u) {
		t.Errorf("got %v", err)
	}
}

// TestCrowd: many ask for one URL at once, and it comes once.
func TestCrowd(t *testing.T) {
	var bodies atomic.Int64
	u := serve(t, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		w.Header().Set("ETag", `"x"`)
		if r.Header.Get("If-None-Match") != "" {
			w.WriteHeader(nethttp.StatusNotModified)
			return
		}
		bodies.Add(1)
		io.WriteString(w, "content")
	})
	dir := t.TempDir()
	var wg sync.WaitGroup
	for range 8 {
		c, name := client(t, http.Options{Dir: dir})
		wg.Go(func() {
			if f, err := c.Get(t.Context(), fetch.URL{URL: u}, name(), nil); err != nil || f.Digest != sum("content") {
				t.Errorf("%+v, %v", f, err)
			}
		})
	}
	wg.Wait()
	if bodies.Load() != 1 {
		t.Errorf("the content came %d times", bodies.Load())
	}
}

// TestDamage: whatever is in the cache, what is given out is right.
func TestDamage(t *testing.T) {
	u := serve(t, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		w.Header().Set("ETag", `"x"`)
		if r.Header.Get("If-None-Match") != "" {
			w.WriteHeader(nethttp.StatusNotModified)
			return
		}
		io.WriteString(w, "content")
	})
	hash := sha256.Sum256([]byte(u))
	for name, damage := range map[string]func(dir string) error{
		"no about":   func(d string) error { return os.Remove(filepath.Join(d, "about")) },
		"no body":    func(d string) error { return os.Remove(filepath.Join(d, "body")) },
		"odd about":  func(d string) error { return os.WriteFile(filepath.Join(d, "about"), []byte("{"), 0o600) },
		"short body": func(d string) error { return os.Truncate(filepath.Join(d, "body"), 3) },
		"killed":     func(d string) error { return os.WriteFile(filepath.Join(d, "body.new"), []byte("half"), 0o600) },
		"other body": func(d string) error {
			os.Remove(filepath.Join(d, "body"))
			return os.WriteFile(filepath.Join(d, "body"), []byte("CONTENT"), 0o600)
		},
		"link": func(d string) error {
			os.Remove(filepath.Join(d, "body"))
			return os.Symlink("/etc/passwd", filepath.Join(d, "body"))
		},
		"no lock":     func(d string) error { return os.Remove(filepath.Join(d, "lock")) },
		"no anything": os.RemoveAll,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			c, file := client(t, http.Options{Dir: dir})
			if _, err := c.Get(t.Context(), fetch.URL{URL: u}, file(), nil); err != nil {
				t.Fatal(err)
			}
			if err := damage(filepath.Join(dir, hex.EncodeToString(hash[:]))); err != nil {
				t.Fatal(err)
			}
			f, err := c.Get(t.Context(), fetch.URL{URL: u}, file(), nil)
			data, _ := os.ReadFile(f.Path)
			if err != nil || string(data) != "content" {
				t.Errorf("%q, %v", data, err)
			}
		})
	}
}

func TestExpire(t *testing.T) {
	u := serve(t, func(w nethttp.ResponseWriter, r *nethttp.Request) { io.WriteString(w, "content") })
	dir := t.TempDir()
	c, name := client(t, http.Options{Dir: dir})
	f, err := c.Get(t.Context(), fetch.URL{URL: u}, name(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []struct {
		before time.Time
		dry    bool
		n      int
	}{{time.Now().Add(-time.Hour), false, 0}, {time.Now().Add(time.Hour), true, 1}, {time.Now().Add(time.Hour), false, 1}, {time.Now().Add(time.Hour), false, 0}} {
		if n, bytes, err := http.Expire(dir, s.before, s.dry); err != nil || n != s.n || bytes != int64(7*s.n) {
			t.Errorf("%+v: %d files, %d bytes, %v", s, n, bytes, err)
		}
	}
	if data, err := os.ReadFile(f.Path); string(data) != "content" {
		t.Errorf("a file that was given out: %q, %v", data, err)
	}
	if _, err := c.Get(t.Context(), fetch.URL{URL: u}, name(), nil); err != nil {
		t.Error(err)
	}
	if n, _, err := http.Expire(filepath.Join(dir, "none"), time.Now(), false); n != 0 || err != nil {
		t.Errorf("no cache: %d, %v", n, err)
	}
}
