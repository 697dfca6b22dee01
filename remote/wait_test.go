package remote_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image/imagetest"
	"github.com/camada/camada/progress"
	"github.com/camada/camada/remote"
	"github.com/camada/camada/remote/remotetest"
	"github.com/camada/camada/transfer"
	"github.com/opencontainers/go-digest"
)

// waits keeps what is told of waiting.
type waits struct {
	mu   sync.Mutex
	says []string
}

func (w *waits) Emit(e progress.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.says = append(w.says, e.State.String()+" "+e.Name)
}

// TestAskedToWait: a registry that asks for patience gets it, by seconds and by a date, more often than things are tried, and the reason is told.
func TestAskedToWait(t *testing.T) {
	for name, tc := range map[string]struct {
		header func() string
		times  int64
	}{
		"seconds": {func() string { return "1" }, 2},
		"a date":  {func() string { return time.Now().Add(1500 * time.Millisecond).UTC().Format(http.TimeFormat) }, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reg := remotetest.Start(t)
			var n atomic.Int64
			reg.Before = func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path == "/v2/" || n.Add(1) > tc.times {
					return false
				}
				w.Header().Set("Retry-After", tc.header())
				remotetest.Fail(w, http.StatusTooManyRequests, "TOOMANYREQUESTS")
				return true
			}
			told := &waits{}
			repo := client(t, remote.Options{Tries: 2, Progress: told}).Repository(reg.Ref("app"))
			if _, _, err := repo.Manifest(t.Context(), "none"); !errdefs.IsNotFound(err) {
				t.Errorf("%v; want not found, at last", err)
			}
			if name == "seconds" && (len(told.says) != 4 || !strings.HasPrefix(told.says[0], "running wait 1s for "+reg.Address+": 429 ") || !strings.HasPrefix(told.says[1], "done ")) {
				t.Errorf("%q", told.says)
			}
		})
	}
}

// TestAskedTooMuch: who wants to be left alone for hours is, at once.
func TestAskedTooMuch(t *testing.T) {
	reg := remotetest.Start(t)
	reg.Before = func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Retry-After", "7200")
		remotetest.Fail(w, http.StatusTooManyRequests, "TOOMANYREQUESTS")
		return r.URL.Path != "/v2/"
	}
	_, _, err := client(t, remote.Options{}).Repository(reg.Ref("app")).Manifest(t.Context(), "1")
	if !errdefs.IsUnavailable(err) || !strings.Contains(err.Error(), "left alone for 2h0m0s") || len(reg.Calls("GET manifests")) != 1 {
		t.Errorf("%v", err)
	}
}

// TestStorms answers a third of all requests, as a die has it, with an error of each kind that passes, on all kinds of requests.
func TestStorms(t *testing.T) {
	for _, status := range []int{429, 500, 502, 503, 504} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			reg := remotetest.Start(t)
			reg.Referrers = true
			die := rand.New(rand.NewPCG(1, uint64(status)))
			reg.Before = func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path == "/v2/" || die.IntN(3) > 0 {
					return false
				}
				remotetest.Fail(w, status, "TRY_AGAIN")
				return true
			}
			src, dst := &imagetest.Memory{}, &imagetest.Memory{}
			desc := sample(t, src, 10_000)
			repo := client(t, remote.Options{ChunkSize: 3000, Tries: 8}).Repository(reg.Ref("app"))
			target := repo.Target("1", desc)
			target.MountFrom = func(digest.Digest) []string { return []string{"other"} }
			if err := transfer.Push(t.Context(), src, target, desc, transfer.Options{Concurrency: 1}); err != nil {
				t.Fatal(err)
			}
			if err := transfer.Copy(t.Context(), repo, dst, desc, transfer.Options{Concurrency: 1}); err != nil || dst.Len() != src.Len() {
				t.Fatalf("%d blobs of %d, %v", dst.Len(), src.Len(), err)
			}
			if tags, err := repo.Tags(t.Context(), 0); err != nil || len(tags) != 1 {
				t.Errorf("%q, %v", tags, err)
			}
			if _, err := repo.Referrers(t.Context(), desc.Digest, ""); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestDripping: a server that says something now and then, and never enough, is given up.
func TestDripping(t *testing.T) {
	reg := remotetest.Start(t)
	src, desc := noise(t, 1<<20)
	if err := client(t, remote.Options{}).Repository(reg.Ref("app")).PutBlob(t.Context(), src, desc); err != nil {
		t.Fatal(err)
	}
	reg.Before = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/blobs/") {
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(desc.Size))
		for r.Context().Err() == nil {
			_, _ = w.Write([]byte("x"))
			w.(http.Flusher).Flush()
			time.Sleep(5 * time.Millisecond)
		}
		return true
	}
	repo := client(t, remote.Options{Tries: 2, Stall: 100 * time.Millisecond}).Repository(reg.Ref("app"))
	err := transfer.Copy(t.Context(), repo, &imagetest.Memory{}, desc, transfer.Options{})
	if !errdefs.IsUnavailable(err) || !strings.Contains(err.Error(), "silent") {
		t.Errorf("%v", err)
	}
}
