package remote_test

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/camada/camada/content"
	"github.com/camada/camada/content/local"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image/imagetest"
	"github.com/camada/camada/remote"
	"github.com/camada/camada/remote/remotetest"
	"github.com/camada/camada/transfer"
)

// meeting lets requests wait until so many are there at once.
type meeting struct {
	mu   sync.Mutex
	want int
	here int
	all  chan struct{}
}

func (m *meeting) join(r *http.Request) {
	m.mu.Lock()
	if m.here++; m.here == m.want {
		close(m.all)
	}
	m.mu.Unlock()
	select {
	case <-m.all:
	case <-r.Context().Done():
	}
}

// whole is a ResponseWriter's request without its Range: the server ignores it.
func whole(r *http.Request) *http.Request {
	r = r.Clone(r.Context())
	r.Header.Del("Range")
	return r
}

// TestWide fetches one blob by several requests at once, whatever the registry makes of that.
func TestWide(t *testing.T) {
	const size, first, part = 1<<20 + 77, 64 << 10, 32 << 10
	plain := func(reg *remotetest.Registry, w http.ResponseWriter, r *http.Request) { reg.ServeHTTP(again{w}, r) }
	for name, tc := range map[string]struct {
		below float64
		serve func(reg *remotetest.Registry) func(w http.ResponseWriter, r *http.Request)
		least int // requests
		most  int
	}{
		"slow": {math.Inf(1), func(reg *remotetest.Registry) func(w http.ResponseWriter, r *http.Request) {
			m := &meeting{want: 2, all: make(chan struct{})}
			return func(w http.ResponseWriter, r *http.Request) {
				if from := r.Header.Get("Range"); from != "bytes=0-65535" {
					m.join(r)
				}
				plain(reg, w, r)
			}
		}, 32, 32},
		"fast": {0, func(reg *remotetest.Registry) func(w http.ResponseWriter, r *http.Request) {
			return func(w http.ResponseWriter, r *http.Request) { plain(reg, w, r) }
		}, 2, 2},
		"takes no ranges": {math.Inf(1), func(reg *remotetest.Registry) func(w http.ResponseWriter, r *http.Request) {
			return func(w http.ResponseWriter, r *http.Request) { plain(reg, w, whole(r)) }
		}, 1, 1},
		"takes one range": {math.Inf(1), func(reg *remotetest.Registry) func(w http.ResponseWriter, r *http.Request) {
			return func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Range") != "bytes=0-65535" {
					r = whole(r)
				}
				plain(reg, w, r)
			}
		}, 3, 4},
		"breaks": {math.Inf(1), func(reg *remotetest.Registry) func(w http.ResponseWriter, r *http.Request) {
			return func(w http.ResponseWriter, r *http.Request) { plain(reg, &cut{w, 20_000}, r) }
		}, 50, 70},
		"allows one at a time": {math.Inf(1), func(reg *remotetest.Registry) func(w http.ResponseWriter, r *http.Request) {
			var n atomic.Int64
			return func(w http.ResponseWriter, r *http.Request) {
				if from := r.Header.Get("Range"); from != "bytes=0-65535" && !strings.HasSuffix(from, fmt.Sprint("-", size-1)) && n.Add(1) > 5 {
					remotetest.Fail(w, http.StatusTooManyRequests, "TOOMANYREQUESTS")
					return
				}
				plain(reg, w, r)
			}
		}, 10, 30},
	} {
		t.Run(name, func(t *testing.T) {
			reg := remotetest.Start(t)
			src, desc := noise(t, size)
			c := client(t, remote.Options{Tries: 3})
			c.SetWide(size/2, first, part, tc.below)
			repo := c.Repository(reg.Ref("app"))
			if err := repo.PutBlob(t.Context(), src, desc); err != nil {
				t.Fatal(err)
			}
			serve := tc.serve(reg)
			var asked atomic.Int64
			reg.Before = func(w http.ResponseWriter, r *http.Request) bool {
				if _, ok := w.(again); ok || r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/blobs/") {
					return false
				}
				asked.Add(1)
				serve(w, r)
				return true
			}
			store := local.Open(t.TempDir(), local.Options{})
			if err := transfer.Blob(t.Context(), repo, store, desc, transfer.Options{Resume: true}); err != nil {
				t.Fatal(err)
			}
			if _, err := content.ReadAll(t.Context(), store, desc, 1<<30); err != nil {
				t.Fatal(err)
			}
			if n := int(asked.Load()); n < tc.least || n > tc.most {
				t.Errorf("%d requests, want %d to %d", n, tc.least, tc.most)
			}
			if c.Parts() != 0 {
				t.Errorf("%d parts are still in memory", c.Parts())
			}
		})
	}
}

// again is a ResponseWriter that was seen by Before.
type again struct{ http.ResponseWriter }

func (a again) Flush() { a.ResponseWriter.(http.Flusher).Flush() }

// TestWideEndsEarly: who stops reading in the middle leaves nothing under way.
func TestWideEndsEarly(t *testing.T) {
	reg := remotetest.Start(t)
	src, desc := noise(t, 1<<20)
	c := client(t, remote.Options{})
	c.SetWide(1000, 1000, 10_000, math.Inf(1))
	repo := c.Repository(reg.Ref("app"))
	if err := repo.PutBlob(t.Context(), src, desc); err != nil {
		t.Fatal(err)
	}
	r, err := repo.Open(t.Context(), desc)
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n < 50_000; {
		m, err := r.Read(make([]byte, 7000))
		if n += m; err != nil {
			t.Fatal(err)
		}
	}
	if c.Parts() == 0 {
		t.Error("there was nothing under way")
	}
	if err := r.Close(); err != nil || c.Parts() != 0 {
		t.Errorf("%d parts are still under way: %v", c.Parts(), err)
	}
}

// TestWrongLengths: a blob that is longer or shorter than its descriptor says is told from one that breaks off, at once.
func TestWrongLengths(t *testing.T) {
	src, desc := noise(t, 100_000)
	data, err := content.ReadAll(t.Context(), src, desc, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		body   []byte
		length bool
		class  errdefs.Class
	}{
		"longer": {append(data[:len(data):len(data)], 1), true, errdefs.ErrCorrupt}, "shorter": {data[:len(data)-1], true, errdefs.ErrCorrupt},
		"longer, and does not say": {append(data[:len(data):len(data)], 1), false, errdefs.ErrCorrupt}, "shorter, and does not say": {data[:len(data)-1], false, errdefs.ErrUnavailable},
		"nothing": {nil, true, errdefs.ErrCorrupt}, "right, and does not say": {data, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			reg := remotetest.Start(t)
			reg.Before = func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.Contains(r.URL.Path, "/blobs/") {
					return false
				}
				if tc.length {
					w.Header().Set("Content-Length", fmt.Sprint(len(tc.body)))
				}
				w.WriteHeader(http.StatusOK)
				w.(http.Flusher).Flush()
				_, _ = w.Write(tc.body)
				return true
			}
			dst := &imagetest.Memory{}
			err := transfer.Copy(t.Context(), client(t, remote.Options{Tries: 3}).Repository(reg.Ref("app")), dst, desc, transfer.Options{})
			if tc.class == "" && err != nil || tc.class != "" && !errors.Is(err, tc.class) {
				t.Errorf("%v; want %s", err, tc.class)
			}
			if _, statErr := dst.Stat(t.Context(), desc.Digest); (statErr == nil) != (tc.class == "") {
				t.Errorf("in the store: %v", statErr)
			}
		})
	}
}
