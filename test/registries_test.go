package test

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/camada/camada/internal/peers"
)

// users is a file of htpasswd: tester, with the password "secret pass".
const users = "tester:$2y$05$abcdefghijklmnopqrstuuFzejfplTChgPyZNQOF2kNcZhBC.ObAS\n"

// otherRegistry is a registry, and what it can do: docs/registries.md has the same table.
type otherRegistry struct {
	name     string
	programs []string
	// users is set when it lets in nobody but tester.
	users bool
	// start starts it and returns its HOST:PORT.
	start func(t *testing.T, p *peers.Peers, users string) string
	// pages: it divides a list of tags. referrers: it lists them itself. removes: it removes a tag. resumes: it keeps what came of an upload that broke.
	pages, referrers, removes, resumes bool
}

// distribution starts a registry of the distribution project.
func distribution(program string) func(*testing.T, *peers.Peers, string) string {
	return func(_ *testing.T, p *peers.Peers, users string) string { return p.StartDistribution(program, users) }
}

// removing is a registry of the distribution project that may remove things, which it does not by itself.
func removing(program string) func(*testing.T, *peers.Peers, string) string {
	return func(_ *testing.T, p *peers.Peers, users string) string {
		return p.StartDistributionRemoving(program, users)
	}
}

// otherRegistries are those that are tried: of others, and our own with both of its storages.
func otherRegistries(t *testing.T) []otherRegistry {
	bin := shipped(t)
	return []otherRegistry{
		{name: "distribution 2", programs: []string{"docker-registry"}, start: distribution("docker-registry")},
		{name: "distribution 2 with users", programs: []string{"docker-registry"}, users: true, start: removing("docker-registry")},
		{name: "distribution 3", programs: []string{"registry"}, start: removing("registry"), pages: true, removes: true, resumes: true},
		{name: "crane", programs: []string{"crane"}, start: func(_ *testing.T, p *peers.Peers, _ string) string { return p.StartRegistry() },
			removes: true},
		{name: "camada with users", users: true, pages: true, referrers: true, removes: true, resumes: true,
			start: func(t *testing.T, p *peers.Peers, users string) string {
				p.Write("registry.yaml", "users: "+users+"\n")
				return startServe(t, bin, p.Path("data"), "127.0.0.1:0", "--config", p.Path("registry.yaml")).host
			}},
		{name: "camada over versitygw", programs: []string{"versitygw"}, pages: true, referrers: true, removes: true, resumes: true,
			start: func(t *testing.T, p *peers.Peers, _ string) string {
				return startServe(t, bin, p.Path("data"), "127.0.0.1:0", "--config", replicated(t, p)).host
			}},
	}
}

// trial is one registry under trial.
type trial struct {
	otherRegistry
	*peers.Peers
	bin string
	// first is set for the first one, which shows what is the same everywhere.
	first bool
	// made has the images and is shared by all trials, got is a store that begins empty.
	made, got *ours
	// host is where the registry is found, by way of w.
	host string
	w    *watch
	// counterpart is the HOST:PORT of another registry, and context that of the images.
	counterpart, context string
}

// in is the trial in a subtest.
func (r *trial) in(t *testing.T) *trial {
	c := *r
	c.Peers, c.made, c.got = r.Peers.In(t), r.made.in(t), r.got.in(t)
	return &c
}

// asked is a request that a registry got, and its answer.
type asked struct {
	method, path string
	// sent is how many bytes its body had.
	sent   int64
	status int
}

// upload tells whether it is a part of an upload of a blob.
func (a asked) upload() bool {
	return a.method != http.MethodGet && strings.Contains(a.path, "/blobs/uploads/")
}

// watch lies before a registry and notes what it is asked.
type watch struct {
	mu    sync.Mutex
	noted []asked
	// at is how many requests are under way.
	at int
	// breaks is how many bytes of a body go through; then reached is closed, and once go is closed the body ends early. 0 is all.
	breaks      int64
	reached, on chan struct{}
}

// newWatch lays one before a registry and returns the HOST:PORT to ask. With pages it asks for lists of tags in pages of two.
func newWatch(t *testing.T, to string, pages bool) (*watch, string) {
	t.Helper()
	w := &watch{}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: to})
			r.Out.Host = r.In.Host // it tells clients to come back by it
			if pages && strings.HasSuffix(r.In.URL.Path, "/tags/list") {
				q := r.In.URL.Query()
				q.Set("n", "2")
				r.Out.URL.RawQuery = q.Encode()
			}
		},
		FlushInterval: -1,
		ErrorLog:      log.New(io.Discard, "", 0),
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.pass(proxy, rw, r) }))
	s.Config.ErrorLog = proxy.ErrorLog
	s.Start()
	t.Cleanup(s.Close)
	return w, strings.TrimPrefix(s.URL, "http://")
}

// pass passes on a request and notes it.
func (w *watch) pass(to http.Handler, rw http.ResponseWriter, r *http.Request) {
	body := &watchedBody{ReadCloser: r.Body, w: w}
	status := &watchedStatus{ResponseWriter: rw}
	r.Body = body
	w.mu.Lock()
	w.at++
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.at--
		w.noted = append(w.noted, asked{r.Method, r.URL.Path, body.n, status.code})
	}()
	to.ServeHTTP(status, r)
}

// during returns what was asked while f ran.
func (w *watch) during(f func()) []asked {
	w.mu.Lock()
	w.noted = nil
	w.mu.Unlock()
	f()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.noted
}

// underWay is how many requests have no answer yet.
func (w *watch) underWay() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at
}

// breakAfter lets the next body that has so many bytes end there. The first channel is closed when it did; closing the other one lets it end.
func (w *watch) breakAfter(n int64) (reached <-chan struct{}, on chan<- struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.breaks, w.reached, w.on = n, make(chan struct{}), make(chan struct{})
	return w.reached, w.on
}

// broken tells whether a body of n bytes ends here, and waits until it may.
func (w *watch) broken(n int64) bool {
	w.mu.Lock()
	if w.breaks == 0 || n < w.breaks {
		w.mu.Unlock()
		return false
	}
	w.breaks = 0
	w.mu.Unlock()
	close(w.reached)
	<-w.on
	return true
}

type watchedBody struct {
	io.ReadCloser
	w *watch
	n int64
}

func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.n += int64(n)
	if b.w.broken(b.n) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

type watchedStatus struct {
	http.ResponseWriter
	code int
}

func (s *watchedStatus) WriteHeader(code int) {
	s.code = code
	s.ResponseWriter.WriteHeader(code)
}

func (s *watchedStatus) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// TestRegistries does all that our client can do with each registry.
func TestRegistries(t *testing.T) {
	need := peers.Need(t, "busybox")
	bin := shipped(t)
	made := &ours{t: t, bin: bin, root: need.Path("made")}
	context := prepare(t, made, need.Path("ctx"))
	counterpart := startServe(t, bin, need.Path("counterpart"), "127.0.0.1:0").host
	for i, registry := range otherRegistries(t) {
		t.Run(registry.name, func(t *testing.T) {
			r := &trial{otherRegistry: registry, Peers: peers.Need(t, registry.programs...), bin: bin, first: i == 0, made: made.in(t), counterpart: counterpart, context: context}
			t.Setenv("DOCKER_CONFIG", r.Path("docker"))
			t.Setenv("REGISTRY_AUTH_FILE", "")
			write(t, r.Path("docker"), "config.json", "{}")
			file := ""
			if r.users {
				r.Write("users", users)
				file = r.Path("users")
			}
			r.w, r.host = newWatch(t, r.start(t, r.Peers, file), r.pages)
			r.got = &ours{t: t, bin: bin, root: r.Path("got")}
			for _, do := range []struct {
				name string
				it   func(*trial, *testing.T)
			}{
				{"login", (*trial).login}, {"push", (*trial).push}, {"pull", (*trial).pull}, {"mount", (*trial).mount}, {"index", (*trial).index}, {"zstd", (*trial).zstd},
				{"copy", (*trial).copy}, {"tags", (*trial).tags}, {"sync", (*trial).sync}, {"untag", (*trial).untag}, {"resume", (*trial).resume},
				{"artifacts", (*trial).artifacts}, {"delta", (*trial).delta}, {"cache", (*trial).cache},
			} {
				t.Run(do.name, func(t *testing.T) { do.it(r.in(t), t) })
			}
			if out := r.got.run("fsck"); !strings.Contains(out, "no problems") {
				t.Error(out)
			}
		})
	}
}

// prepare builds the images that all registries get: app, zstd, multi, noise, program:1 to program:3. It returns the context of app.
func prepare(t *testing.T, c *ours, dir string) string {
	t.Helper()
	system(t, dir)
	write(t, dir, "Dockerfile", cachedDockerfile)
	c.run("build", "-q", "-t", "app", dir)
	c.run("build", "-q", "--output", "type=image,name=zstd,compression=zstd", dir)
	noisyImage(t, c, 8<<20)
	small := filepath.Join(t.TempDir(), "small")
	write(t, small, "Dockerfile", "FROM scratch\nCOPY Dockerfile /\n")
	c.run("build", "-q", "-t", "multi", "--platform", "linux/amd64,linux/arm64", small)
	for _, v := range []string{"1", "2", "3"} {
		programVersion(t, c, small, v)
	}
	if err := os.RemoveAll(small); err != nil {
		t.Fatal(err)
	}
	return dir
}
