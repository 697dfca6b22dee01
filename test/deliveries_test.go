package test

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// told is a receiver of webhooks that notes which tags were pushed.
type told struct {
	mu   sync.Mutex
	tags map[string]int
}

func (r *told) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	var v struct{ Subject string }
	if err := json.NewDecoder(req.Body).Decode(&v); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tags[v.Subject]++
}

// pushIndex pushes an index without images, which differs from all others, and reports whether it was acknowledged.
func pushIndex(host, repository, tag string) (digest.Digest, bool) {
	body := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[],"annotations":{"of":"%s:%s"}}`, repository, tag)
	req, err := http.NewRequest(http.MethodPut, "http://"+host+"/v2/"+repository+"/manifests/"+tag, strings.NewReader(body))
	if err != nil {
		return "", false
	}
	req.Header.Set("Content-Type", "application/vnd.oci.image.index.v1+json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", false
	}
	_, _ = io.Copy(io.Discard, res.Body)
	res.Body.Close()
	return digest.FromString(body), res.StatusCode == http.StatusCreated
}

// digestOf is what a tag points to; "" when it is not there.
func digestOf(t *testing.T, host, name string) digest.Digest {
	t.Helper()
	repository, tag, _ := strings.Cut(name, ":")
	res, err := http.Head("http://" + host + "/v2/" + repository + "/manifests/" + tag)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	return digest.Digest(res.Header.Get("Docker-Content-Digest"))
}

// waiting is how many deliveries wait.
func waiting(t *testing.T, host string) int {
	t.Helper()
	res, err := http.Get("http://" + host + "/v2/_camada/registry/deliveries")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var v struct{ Targets []struct{ Waiting int } }
	if err := json.NewDecoder(res.Body).Decode(&v); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, one := range v.Targets {
		n += one.Waiting
	}
	return n
}

// TestDeliveriesKilled kills a registry between its acknowledgements and its deliveries, and its replica as well: of each push that was acknowledged the
// webhook is told, and the replica has it.
func TestDeliveriesKilled(t *testing.T) {
	bin := shipped(t)
	dir := t.TempDir()
	// The receiver is only there from the middle on.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	hook := l.Addr().String()
	l.Close()
	receiver := &told{tags: map[string]int{}}
	server := &http.Server{Addr: hook, Handler: receiver}
	defer server.Close()
	replica := startServe(t, bin, filepath.Join(dir, "replica"), "127.0.0.1:0")
	config := filepath.Join(dir, "registry.yaml")
	if err := os.WriteFile(config, fmt.Appendf(nil, "webhooks: [{name: hook, url: \"http://%s/\"}]\nreplication: [{name: second, registry: \"http://%s\"}]\n", hook, replica.host), 0o600); err != nil {
		t.Fatal(err)
	}
	rounds := 4
	if os.Getenv("CAMADA_TEST_LONG") != "" {
		rounds = 100
	}
	var mu sync.Mutex
	acknowledged := map[string]digest.Digest{}
	addr := "127.0.0.1:0"
	for round := range rounds {
		s := startServe(t, bin, filepath.Join(dir, "first"), addr, "--config", config)
		addr = s.host
		if round == rounds/2 {
			go func() { _ = server.ListenAndServe() }()
		}
		var all sync.WaitGroup
		for w := range 4 {
			all.Go(func() {
				for i := 0; ; i++ {
					repository, tag := fmt.Sprintf("team/app%d", w), fmt.Sprintf("%d-%d", round, i)
					d, ok := pushIndex(s.host, repository, tag)
					if !ok {
						return
					}
					mu.Lock()
					acknowledged[repository+":"+tag] = d
					mu.Unlock()
				}
			})
		}
		time.Sleep(100*time.Millisecond + rand.N(300*time.Millisecond))
		if round%2 == 1 {
			replica.end(syscall.SIGKILL)
		}
		s.end(syscall.SIGKILL)
		all.Wait()
		if round%2 == 1 {
			replica = startServe(t, bin, filepath.Join(dir, "replica"), replica.host)
		}
	}
	s := startServe(t, bin, filepath.Join(dir, "first"), addr, "--config", config)
	for began := time.Now(); waiting(t, s.host) > 0; time.Sleep(20 * time.Millisecond) {
		if time.Since(began) > 2*time.Minute {
			t.Fatalf("%d deliveries still wait", waiting(t, s.host))
		}
	}
	if len(acknowledged) == 0 {
		t.Fatal("no push was acknowledged")
	}
	receiver.mu.Lock()
	defer receiver.mu.Unlock()
	lost, missing := 0, 0
	for name, d := range acknowledged {
		if receiver.tags[name] == 0 {
			lost++
		}
		if digestOf(t, replica.host, name) != d {
			missing++
		}
	}
	if lost > 0 || missing > 0 {
		t.Errorf("of %d pushes that were acknowledged %d were not told, and %d are not at the replica", len(acknowledged), lost, missing)
	}
}
