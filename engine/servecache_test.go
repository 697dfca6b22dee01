package engine

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/camada/camada/registry"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// troubled stands before an upstream and makes trouble.
type troubled struct {
	*httptest.Server

	requests, blobs atomic.Int64
	// answer, when set, answers instead; false hands the request on.
	mu     sync.Mutex
	answer func(w http.ResponseWriter, r *http.Request) bool
}

func (tr *troubled) set(answer func(w http.ResponseWriter, r *http.Request) bool) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.answer = answer
}

func trouble(t *testing.T, upstream string) *troubled {
	t.Helper()
	u, err := url.Parse(upstream)
	if err != nil {
		t.Fatal(err)
	}
	hand := httputil.NewSingleHostReverseProxy(u)
	tr := &troubled{}
	tr.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tr.requests.Add(1)
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
			tr.blobs.Add(1)
		}
		tr.mu.Lock()
		answer := tr.answer
		tr.mu.Unlock()
		if answer == nil || !answer(w, r) {
			hand.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(tr.Close)
	return tr
}

// put sends a request with a body, and wants a status.
func put(t *testing.T, method, url, mediaType string, body []byte, want int) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", mediaType)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	said, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.StatusCode != want {
		t.Fatalf("%s %s: %d %s", method, url, resp.StatusCode, said)
	}
}

// pushed pushes an image with one layer, and returns the layer.
func pushed(t *testing.T, registry, repository, tag string, size int) []byte {
	t.Helper()
	layer, config := make([]byte, size), []byte(`{"x":"`+tag+rand.Text()+`"}`)
	_, _ = rand.Read(layer)
	doc := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: digest.FromBytes(config), Size: int64(len(config))},
		Layers: []ocispec.Descriptor{{MediaType: ocispec.MediaTypeImageLayer, Digest: digest.FromBytes(layer), Size: int64(size)}}}
	doc.SchemaVersion = 2
	for _, b := range [][]byte{config, layer} {
		put(t, "POST", registry+"/v2/"+repository+"/blobs/uploads/?digest="+digest.FromBytes(b).String(), "application/octet-stream", b, http.StatusCreated)
	}
	data, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	put(t, "PUT", registry+"/v2/"+repository+"/manifests/"+tag, doc.MediaType, data, http.StatusCreated)
	return layer
}

// onEach runs a test on both drivers; storage is what a configuration says of it.
func onEach(t *testing.T, test func(t *testing.T, storage string)) {
	t.Helper()
	t.Run("local", func(t *testing.T) { test(t, "") })
	t.Run("s3", func(t *testing.T) {
		endpoint := objectStore(t)
		makeBucket(t, endpoint)
		test(t, fmt.Sprintf("s3: {endpoint: %q, bucket: registry}\nredirect: true\n", endpoint))
	})
}

// cached starts an upstream, trouble before it, and a registry that keeps copies of it as docker.io.
func cached(t *testing.T, storage, more string) (upstream Serving, tr *troubled, cache Serving, faults *atomic.Int64) {
	t.Helper()
	upstream, _ = serving(t, ServeOptions{Data: t.TempDir()})
	tr = trouble(t, upstream.URL)
	dir := t.TempDir()
	file := filepath.Join(dir, "registry.yaml")
	text := fmt.Sprintf("data: data\n%scache:\n  - {host: docker.io, plain: \"library/**\", upstream: %q%s}\n", storage, tr.URL, more)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	faults = &atomic.Int64{}
	cache, _ = servingWith(t, ServeOptions{ConfigFile: file}, func(error) { faults.Add(1) })
	return upstream, tr, cache, faults
}

// want asks for something and wants a status; it returns the body.
func want(t *testing.T, method, url string, status int) string {
	t.Helper()
	got, body, _ := get(t, http.DefaultClient, method, url, "")
	if got != status {
		t.Errorf("%s %s: %d, want %d: %.300s", method, url, got, status, body)
	}
	return body
}

func TestServeCache(t *testing.T) { onEach(t, testServeCache) }

func testServeCache(t *testing.T, storage string) {
	upstream, tr, cache, _ := cached(t, storage, `, fresh: 1h`)
	layer := pushed(t, upstream.URL, "library/app", "v1", 300_000)
	blob := "/blobs/" + digest.FromBytes(layer).String()
	// By its prefix, as containerd asks a mirror, and as docker does.
	for _, path := range []string{"/v2/docker.io/library/app%s", "/v2/library/app%s?ns=docker.io", "/v2/library/app%s"} {
		if body := want(t, "GET", cache.URL+fmt.Sprintf(path, "/manifests/v1"), 200); !strings.Contains(body, digest.FromBytes(layer).String()) {
			t.Errorf("%s: %s", path, body)
		}
		if body := want(t, "GET", cache.URL+fmt.Sprintf(path, blob), 200); body != string(layer) {
			t.Errorf("%s: the layer has %d bytes", path, len(body))
		}
	}
	if n := tr.blobs.Load(); n != 1 {
		t.Errorf("upstream was asked for %d blobs", n)
	}
	want(t, "GET", cache.URL+"/v2/library/app/manifests/v1?ns=quay.io", 404)
	want(t, "GET", cache.URL+"/v2/team/app/manifests/v1", 404)
	want(t, "GET", cache.URL+"/v2/library/app/manifests/none", 404)
	if body := want(t, "GET", cache.URL+"/v2/library/app/tags/list", 200); !strings.Contains(body, `"v1"`) {
		t.Errorf("tags: %s", body)
	}
	for _, path := range []string{"/v2/docker.io/library/app/blobs/uploads/", "/v2/library/x/blobs/uploads/"} {
		if body := want(t, "POST", cache.URL+path, 403); !strings.Contains(body, "DENIED") {
			t.Errorf("%s: %s", path, body)
		}
	}
	if body := want(t, "GET", cache.URL+"/metrics", 200); !strings.Contains(body, "camada_registry_cache_fetched_bytes_total 300000\n") {
		t.Errorf("metrics: %s", body)
	}
	pushed(t, cache.URL, "team/app", "v1", 10) // our own repositories are as ever
	tr.Close()
	want(t, "GET", cache.URL+"/v2/library/app/manifests/v1", 200)
	want(t, "GET", cache.URL+"/v2/library/app"+blob, 200)
	want(t, "GET", cache.URL+"/v2/library/app/manifests/v2", 503)
}

// TestServeCacheTrouble: an upstream that cuts off, lies, is slow, or has enough of us.
func TestServeCacheTrouble(t *testing.T) { onEach(t, testServeCacheTrouble) }

func testServeCacheTrouble(t *testing.T, storage string) {
	upstream, tr, cache, faults := cached(t, storage, `, fresh: 0s, absent: 0s`)
	layer := pushed(t, upstream.URL, "library/app", "v1", 500_000)
	other := pushed(t, upstream.URL, "library/app", "v2", 400_000)
	at := func(b []byte) string { return "/v2/library/app/blobs/" + digest.FromBytes(b).String() }
	isBlob := func(r *http.Request, b []byte) bool {
		return r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, digest.FromBytes(b).String())
	}

	// Cut off in the middle, once: it goes on there.
	var cuts, rest atomic.Int64
	tr.set(func(w http.ResponseWriter, r *http.Request) bool {
		if !isBlob(r, layer) || cuts.Add(1) > 1 {
			if isBlob(r, layer) && r.Header.Get("Range") != "" {
				rest.Add(1)
			}
			return false
		}
		w.Header().Set("Content-Length", "500000")
		_, _ = w.Write(layer[:250_000])
		panic(http.ErrAbortHandler)
	})
	if body := want(t, "GET", cache.URL+at(layer), 200); body != string(layer) {
		t.Errorf("after a cut: %d bytes", len(body))
	}
	if rest.Load() != 1 {
		t.Errorf("%d requests for the rest", rest.Load())
	}

	// Wrong bytes reach nobody whole, and are not kept.
	tr.set(func(w http.ResponseWriter, r *http.Request) bool {
		if !isBlob(r, other) {
			return false
		}
		bad := bytes.Clone(other)
		bad[100]++
		_, _ = w.Write(bad)
		return true
	})
	resp, err := http.Get(cache.URL + at(other)) //nolint:noctx // a test
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.StatusCode == http.StatusOK && err == nil || len(got) >= len(other) {
		t.Errorf("wrong bytes: %s, %d of %d, %v", resp.Status, len(got), len(other), err)
	}

	// Slow: bytes come to the client before the rest has come.
	gate := make(chan struct{})
	tr.set(func(w http.ResponseWriter, r *http.Request) bool {
		if !isBlob(r, other) {
			return false
		}
		w.Header().Set("Content-Length", "400000")
		_, _ = w.Write(other[:200_000])
		_ = http.NewResponseController(w).Flush()
		<-gate
		_, _ = w.Write(other[200_000:])
		return true
	})
	if resp, err = http.Get(cache.URL + at(other)); err != nil { //nolint:noctx // a test
		t.Fatal(err)
	}
	first := make([]byte, 131_072)
	if _, err := io.ReadFull(resp.Body, first); err != nil || !bytes.Equal(first, other[:len(first)]) {
		t.Errorf("the first bytes: %v", err)
	}
	close(gate)
	tail, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || !bytes.Equal(append(first, tail...), other) {
		t.Errorf("the rest: %v", err)
	}

	// Too many requests: what is here counts, and so it does when nobody answers.
	want(t, "GET", cache.URL+"/v2/library/app/manifests/v1", 200)
	tr.set(func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusTooManyRequests)
		return true
	})
	want(t, "GET", cache.URL+"/v2/library/app/manifests/v1", 200)
	if faults.Load() == 0 {
		t.Error("nobody was told")
	}
	want(t, "GET", cache.URL+"/v2/library/app/manifests/v3", 503)
}

// TestServeCacheCredentials: the copies of what is not for everybody.
func TestServeCacheCredentials(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"password":  "sesame\n",
		"up.yaml":   "data: up\nrobots: [{name: puller, secret: sha256:" + digest.FromString("s3cret").Encoded() + "}]\n",
		"good.yaml": "data: good\ncache: [{host: reg.example, upstream: UP, username: puller, password: secret}]\n",
		"bad.yaml":  "data: bad\ncache: [{host: reg.example, upstream: UP, username: puller, password: password}]\n",
		"file.yaml": "data: file\ncache: [{host: reg.example, upstream: UP, credentials: auth.json}]\n",
		"secret":    "s3cret\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	up, _ := serving(t, ServeOptions{ConfigFile: filepath.Join(dir, "up.yaml")})
	host := strings.TrimPrefix(up.URL, "http://")
	if err := os.WriteFile(filepath.Join(dir, "auth.json"), []byte(`{"auths": {"`+host+`": {"auth": "cHVsbGVyOnMzY3JldA=="}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	req := func(method, path string, body []byte, status int) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, up.URL+path, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth("puller", "s3cret")
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != status {
			t.Fatalf("%s %s: %d", method, path, resp.StatusCode)
		}
	}
	b := []byte("private")
	req("POST", "/v2/a/b/blobs/uploads/?digest="+digest.FromBytes(b).String(), b, 201)
	for name, status := range map[string]int{"good": 200, "file": 200, "bad": 403} {
		file := filepath.Join(dir, name+".yaml")
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, bytes.ReplaceAll(text, []byte("UP"), []byte(up.URL)), 0o600); err != nil {
			t.Fatal(err)
		}
		cache, _ := serving(t, ServeOptions{ConfigFile: file})
		body := want(t, "GET", cache.URL+"/v2/reg.example/a/b/blobs/"+digest.FromBytes(b).String(), status)
		if strings.Contains(body, "s3cret") || strings.Contains(body, "sesame") {
			t.Errorf("%s: the answer has a password: %s", name, body)
		}
	}
}

// TestServeCacheEvict: what was pulled is remembered over a restart, and a sweep removes what was not.
func TestServeCacheEvict(t *testing.T) { onEach(t, testServeCacheEvict) }

func testServeCacheEvict(t *testing.T, storage string) {
	upstream, _ := serving(t, ServeOptions{Data: t.TempDir()})
	dir := t.TempDir()
	file := filepath.Join(dir, "registry.yaml")
	text := fmt.Sprintf("data: data\n%scache: [{host: docker.io, upstream: %q, size: 50KB}]\n", storage, upstream.URL)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cache, stop := serving(t, ServeOptions{ConfigFile: file})
	path := cache.URL + "/v2/docker.io/library/app"
	layer := pushed(t, upstream.URL, "library/app", "v1", 100_000)
	want(t, "GET", path+"/manifests/v1", 200)
	want(t, "GET", path+"/blobs/"+digest.FromBytes(layer).String(), 200)
	// It is kept soon after it was answered.
	deadline := time.Now().Add(30 * time.Second)
	for kept := (registry.SweepReport{}); kept.KeptBytes < 100_000; {
		if err := json.Unmarshal([]byte(want(t, "POST", cache.URL+"/v2/_camada/registry/sweep?dry-run=1", 200)), &kept); err != nil || time.Now().After(deadline) {
			t.Fatalf("%d bytes are kept: %v", kept.KeptBytes, err)
		}
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	cache, _ = serving(t, ServeOptions{ConfigFile: file})
	want(t, "POST", cache.URL+"/v2/_camada/registry/sweep?dry-run=1", 200)
	if body := want(t, "GET", cache.URL+"/v2/docker.io/library/app/_camada/history/v1", 200); strings.Contains(body, "evict") {
		t.Errorf("a dry run removed something: %s", body)
	}
	deadline = time.Now().Add(30 * time.Second)
	for body := ""; !strings.Contains(body, `"evict"`); {
		want(t, "POST", cache.URL+"/v2/_camada/registry/sweep", 200)
		if body = want(t, "GET", cache.URL+"/v2/docker.io/library/app/_camada/history/v1", 200); time.Now().After(deadline) {
			t.Fatalf("too much is kept: %s", body)
		}
	}
	want(t, "GET", cache.URL+"/v2/docker.io/library/app/manifests/v1", 200) // it comes back
}
