package api_test

import (
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/camada/camada/registry/api"
	"github.com/camada/camada/registry/s3"
	"github.com/opencontainers/go-digest"
)

// noise is a blob of its own for each seed, which takes no memory.
func noise(seed byte, size int64) io.Reader {
	return io.LimitReader(rand.NewChaCha8([32]byte{seed}), size)
}

// breaking is a body that ends with an error.
type breaking struct{ io.Reader }

func (b breaking) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if errors.Is(err, io.EOF) {
		err = errors.New("cut")
	}
	return n, err
}

// openFiles is how many descriptors the process has.
func openFiles(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// heap is how many bytes are in use.
func heap() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestUploadsAtOnce sends 200 blobs side by side and cuts off every third: the others come whole, and nothing of any stays in the server's process.
func TestUploadsAtOnce(t *testing.T) {
	const crowd, size = 200, 1 << 20
	each(t, api.Options{Fault: func(error) {}}, func(t *testing.T, c *client) {
		transport := &http.Transport{}
		send := func(method, url string, body io.Reader) (int, string) {
			req, err := http.NewRequestWithContext(t.Context(), method, url, body)
			if err != nil {
				t.Error(err)
				return 0, ""
			}
			if body != nil {
				req.ContentLength = size
			}
			resp, err := transport.RoundTrip(req)
			if err != nil {
				return 0, err.Error()
			}
			defer resp.Body.Close()
			_, _ = io.Copy(io.Discard, resp.Body)
			return resp.StatusCode, resp.Header.Get("Location")
		}
		one := func(i int) {
			status, at := send("POST", c.url+"/v2/app/blobs/uploads/", nil)
			if status != http.StatusAccepted {
				t.Errorf("upload %d begins with %d, %s", i, status, at)
				return
			}
			if !strings.HasPrefix(at, "http://") {
				at = c.url + at
			}
			if i%3 == 1 {
				if status, _ := send("PATCH", at, breaking{noise(byte(i), size/2)}); status == http.StatusAccepted {
					t.Errorf("half of upload %d was taken for all", i)
				}
				return
			}
			h := digest.Canonical.Digester()
			_, _ = io.Copy(h.Hash(), noise(byte(i), size))
			if status, said := send("PUT", at+"?digest="+h.Digest().String(), noise(byte(i), size)); status != http.StatusCreated {
				t.Errorf("upload %d ends with %d, %s", i, status, said)
			}
		}
		one(0) // what is kept for ever is there after that
		transport.CloseIdleConnections()
		time.Sleep(100 * time.Millisecond)
		runtime.GC()
		goroutines, files, before := runtime.NumGoroutine(), openFiles(t), heap()

		var all sync.WaitGroup
		for i := range crowd {
			all.Go(func() { one(i) })
		}
		done := make(chan struct{})
		go func() { all.Wait(); close(done) }()
		most := int64(0)
		for running := true; running; {
			select {
			case <-done:
				running = false
			case <-time.After(20 * time.Millisecond):
				most = max(most, heap()-before)
			}
		}
		t.Logf("at most %d MiB more were in use", most>>20)
		objects, remote := c.storage.(*s3.Store) // it gathers parts, in memory that its own tests bound
		if !remote && most > crowd*size/2 {
			t.Errorf("%d bytes were in use for %d blobs of %d", most, crowd, size)
		}
		for range 1000 {
			transport.CloseIdleConnections()
			if remote {
				objects.Close() // of the connections that it keeps for a minute
			}
			if runtime.NumGoroutine() <= goroutines && openFiles(t) <= files {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Errorf("%d goroutines and %d descriptors, %d and %d before", runtime.NumGoroutine(), openFiles(t), goroutines, files)
	})
}
