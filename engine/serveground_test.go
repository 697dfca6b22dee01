package engine

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// to makes the registry read a configuration, and wants that it takes it.
func (r *reloading) to(text string, kept ...string) {
	r.Helper()
	r.mu.Lock()
	n, faults := r.reloaded, len(r.faults)
	r.mu.Unlock()
	r.write(text)
	r.again <- os.Interrupt
	r.until("it takes "+text, func() bool { return r.reloaded > n })
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.faults) > faults || !slices.Equal(r.kept, kept) {
		r.Errorf("%s: faults %v, kept %v, want %v", text, r.faults[faults:], r.kept, kept)
	}
}

// refuses makes the registry read a configuration, and wants that it does not take it.
func (r *reloading) refuses(text string) {
	r.Helper()
	r.mu.Lock()
	n, reloaded := len(r.faults), r.reloaded
	r.mu.Unlock()
	r.write(text)
	r.again <- os.Interrupt
	r.until("it refuses "+text, func() bool { return len(r.faults) > n })
	if r.reloaded > reloaded {
		r.Errorf("%s was taken", text)
	}
}

const dataOnly = "data: data\n"

// Each section counts from the moment on at which it is read.
func TestReloadSections(t *testing.T) {
	for name, test := range map[string]func(t *testing.T, r *reloading){
		"quotas": func(t *testing.T, r *reloading) {
			const quotas, all = dataOnly + "quotas: [{repositories: 'team/**', tags: 2}]\n", "/v2/_camada/registry/quotas"
			pushed(t, r.url, "team/app", "a", 10)
			manifest := []byte(want(t, "GET", r.url+"/v2/team/app/manifests/a", 200))
			tag := func(name string, status int) {
				t.Helper()
				if got, body := answered(t, "PUT", r.url+"/v2/team/app/manifests/"+name, manifest); got != status {
					t.Errorf("%s: %d %s", name, got, body)
				}
			}
			r.to(quotas)
			tag("b", 201)
			tag("c", 403)
			// What comes while there is no quota is counted when there is one again.
			r.to(dataOnly)
			tag("c", 201)
			r.to(strings.Replace(quotas, "tags: 2", "tags: 4", 1))
			r.to(strings.Replace(quotas, "tags: 2", "tags: 4", 1) + "redirect: true\n")
			tag("d", 201)
			tag("e", 403)
			if body := want(t, "GET", r.url+all, 200); !strings.Contains(body, `"tags":4`) {
				t.Errorf("used: %s", body)
			}
			r.refuses(dataOnly + "quotas: [{repositories: 1}]\n")
			tag("e", 403)
		},
		"retention and sweep": func(t *testing.T, r *reloading) {
			pushed(t, r.url, "team/app", "v1", 10)
			pushed(t, r.url, "team/app", "pr-1", 10)
			rule := dataOnly + "retention: [{repositories: 'team/**', keep: {versions: 1}}]\n"
			r.to(rule)
			if body := want(t, "POST", r.url+"/v2/_camada/registry/retain?dry-run=1", 200); !strings.Contains(body, `"tag":"pr-1"`) || strings.Contains(body, `"tag":"v1"`) {
				t.Errorf("would go: %s", body)
			}
			r.refuses(rule + "sweep: {every: soon}\n")
			want(t, "GET", r.url+"/v2/team/app/manifests/pr-1", 200)
			r.to(rule + "sweep: {every: 1s}\n")
			eventually(t, "a sweep comes by itself", func() bool {
				code, _, _ := get(t, http.DefaultClient, "GET", r.url+"/v2/team/app/manifests/pr-1", "")
				return code == 404
			})
			want(t, "GET", r.url+"/v2/team/app/manifests/v1", 200)
		},
		"audit": func(t *testing.T, r *reloading) {
			for _, name := range []string{"one", "two"} {
				r.to(dataOnly + "audit: " + name + "\n")
				pushed(t, r.url, "app", name, 10)
				b, err := os.ReadFile(filepath.Join(filepath.Dir(r.file), name))
				if err != nil || strings.Count(string(b), `"tags":["`+name+`"]`) != 1 || strings.Count(string(b), `"tags"`) != 1 {
					t.Errorf("%s: %s, %v", name, b, err)
				}
			}
		},
		"what is named": func(t *testing.T, r *reloading) {
			certificate(t, filepath.Dir(r.file), 1)
			r.to("data: elsewhere\nlisten: 127.0.0.1:1\ntls: {certificate: cert.pem, key: key.pem}\ntraces: {endpoint: 'http://127.0.0.1:1'}\ns3: {endpoint: 'http://127.0.0.1:1', bucket: b}\n",
				"listen", "data", "s3", "tls", "traces")
			pushed(t, r.url, "app", "a", 10)
			r.to(dataOnly)
		},
	} {
		t.Run(name, func(t *testing.T) { test(t, reloadingOf(t, dataOnly)) })
	}
}

func TestReloadCache(t *testing.T) {
	first, _ := serving(t, ServeOptions{Data: t.TempDir()})
	second, _ := serving(t, ServeOptions{Data: t.TempDir()})
	tr := trouble(t, first.URL)
	layer := pushed(t, first.URL, "app", "v1", 300_000)
	pushed(t, second.URL, "app", "v2", 10)
	r := reloadingOf(t, dataOnly)
	cache := func(url string) string {
		return dataOnly + fmt.Sprintf("cache: [{host: docker.io, upstream: %q, absent: 1h, fresh: 1h}]\n", url)
	}
	at := r.url + "/v2/docker.io/app"
	want(t, "GET", at+"/manifests/v1", 404)
	r.to(cache(tr.URL))
	want(t, "GET", at+"/manifests/v1", 200)
	want(t, "GET", at+"/manifests/v2", 404)
	// What is being fetched goes on when its source is taken out.
	half := make(chan struct{})
	tr.set(func(w http.ResponseWriter, req *http.Request) bool {
		if req.Method != http.MethodGet || !strings.Contains(req.URL.Path, "/blobs/") {
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(layer)))
		_, _ = w.Write(layer[:200_000])
		_ = http.NewResponseController(w).Flush()
		<-half
		_, _ = w.Write(layer[200_000:])
		return true
	})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, at+"/blobs/"+digest.FromBytes(layer).String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got := make([]byte, len(layer))
	if _, err := io.ReadFull(resp.Body, got[:100_000]); err != nil {
		t.Fatal(err)
	}
	r.refuses(strings.Replace(cache(second.URL), "docker.io", "/", 1))
	want(t, "GET", at+"/manifests/v2", 404)
	r.to(cache(second.URL))
	want(t, "GET", at+"/manifests/v2", 200) // it is not remembered that the other one had it not
	r.to(dataOnly)
	close(half)
	if _, err := io.ReadFull(resp.Body, got[100_000:]); err != nil || digest.FromBytes(got) != digest.FromBytes(layer) {
		t.Errorf("what was under way: %v", err)
	}
	want(t, "GET", at+"/manifests/v2", 200) // it is a copy of our own now
	want(t, "GET", at+"/manifests/v3", 404)
	pushed(t, r.url, "docker.io/app", "mine", 10)
	r.to(cache(tr.URL))
	want(t, "POST", at+"/blobs/uploads/", 403)
	if body := want(t, "GET", r.url+"/metrics", 200); !strings.Contains(body, "camada_registry_cache_fetched_bytes_total 300000\n") {
		t.Errorf("metrics do not go on: %s", body)
	}
}

func TestReloadWebhooks(t *testing.T) {
	one, two := &listener{t: t}, &listener{t: t}
	one.start()
	two.start()
	defer one.server.Close()
	defer two.server.Close()
	hook := func(name string, l *listener) string {
		return fmt.Sprintf("  - {name: %s, url: \"http://%s/\", events: [push]}\n", name, l.addr)
	}
	hooks := func(list ...string) string { return dataOnly + "webhooks:\n" + strings.Join(list, "") }
	count := func(l *listener) int { l.mu.Lock(); defer l.mu.Unlock(); return len(l.got) }
	r := reloadingOf(t, dataOnly)
	a := speaking(t, r.url)
	a.image("app", "before", "before", nil)
	a.do(404, "GET", "/v2/_camada/registry/deliveries", "", "")
	r.to(hooks(hook("one", one)))
	a.image("app", "a", "a", nil)
	eventually(t, "the first one is told", func() bool { return slices.Equal(one.list(), []string{"push app:a"}) })
	r.to(hooks(hook("one", one), hook("two", two)))
	a.image("app", "b", "b", nil)
	eventually(t, "both are told", func() bool { return count(one) == 2 && slices.Equal(two.list(), []string{"push app:b"}) })
	r.refuses(hooks(hook("one", one)) + "  - {name: two, url: \"http://127.0.0.1:1/\", secret: nowhere}\n")
	r.to(hooks(hook("two", two)))
	a.image("app", "c", "c", nil)
	eventually(t, "the second one is told", func() bool { return count(two) == 2 })
	if n := count(one); n != 2 {
		t.Errorf("who was taken out is told: %v", one.got)
	}
	// What waits for one that is down arrives once, at the address that its name has then; no event is lost while the configuration changes.
	if err := two.server.Close(); err != nil {
		t.Error(err)
	}
	pushing := make(chan struct{})
	go func() {
		defer close(pushing)
		for i := range 30 {
			speaking(t, r.url).image("app", fmt.Sprint("many", i), fmt.Sprint(i), nil)
		}
	}()
	for i := range 4 {
		r.to(hooks(hook("two", two)) + fmt.Sprintf("limits: {burst: %d}\n", 1000+i))
		r.to(hooks(hook("two", two), hook("three", one)))
	}
	<-pushing
	eventually(t, "all wait", func() bool { return a.targets()["webhook/two"].Waiting == 30 })
	r.to(dataOnly)
	a.image("app", "nobody", "nobody", nil)
	was := count(one)
	r.to(hooks(hook("two", one)))
	eventually(t, "all arrive", func() bool { return count(one) == was+30 })
	a.quiet()
	time.Sleep(50 * time.Millisecond)
	if n := count(one); n != was+30 {
		t.Errorf("%d arrived instead of 30", n-was)
	}
	if got := one.list(); slices.Contains(got, "push app:nobody") || !slices.Contains(got, "push app:many29") {
		t.Errorf("told: %v", got)
	}
}

func TestReloadReplication(t *testing.T) {
	there, _ := serving(t, ServeOptions{Data: t.TempDir()})
	to := speaking(t, there.URL)
	rule := func(more string) string {
		return dataOnly + fmt.Sprintf("replication: [{name: backup, registry: %q%s}]\n", there.URL, more)
	}
	r := reloadingOf(t, dataOnly)
	a := speaking(t, r.url)
	a.image("app", "before", "before", nil)
	r.to(rule(""))
	one := a.image("app", "a", "a", nil)
	eventually(t, "it comes", func() bool { d, _ := to.has("app", "a"); return d == one.Digest })
	r.to(rule(", to: \"mirror/{repository}\""))
	two := a.image("app", "b", "b", nil)
	eventually(t, "it comes elsewhere", func() bool { d, _ := to.has("mirror/app", "b"); return d == two.Digest })
	r.refuses(rule(", credentials: nowhere"))
	r.to(dataOnly)
	a.image("app", "c", "c", nil)
	r.to(rule(""))
	a.do(202, "POST", "/v2/_camada/registry/replicate?name=backup", "", "")
	for _, tag := range []string{"before", "b", "c"} {
		eventually(t, "all is compared: "+tag, func() bool { _, ok := to.has("app", tag); return ok })
	}
	if _, ok := to.has("mirror/app", "c"); ok {
		t.Error("who was taken out got something")
	}
}

func TestReloadCertificate(t *testing.T) {
	dir := t.TempDir()
	for i, name := range []string{"one", "two"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		certificate(t, filepath.Join(dir, name), int64(i+1))
	}
	text := func(name string) string {
		return dataOnly + fmt.Sprintf("tls: {certificate: %q, key: %q}\n", filepath.Join(dir, name, "cert.pem"), filepath.Join(dir, name, "key.pem"))
	}
	r := reloadingOf(t, text("one"))
	wants := func(serial int64) {
		t.Helper()
		d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}
		conn, err := d.DialContext(t.Context(), "tcp", strings.TrimPrefix(r.url, "https://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if got := conn.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.Int64(); got != serial {
			t.Errorf("certificate %d, want %d", got, serial)
		}
	}
	wants(1)
	r.to(text("two"))
	wants(2)
	r.refuses(text("nowhere"))
	wants(2)
	r.to(dataOnly, "tls")
	wants(2)
}
