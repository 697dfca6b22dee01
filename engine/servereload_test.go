package engine

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/camada/camada/registry/config"
	"github.com/opencontainers/go-digest"
)

// reloading is a registry whose configuration changes.
type reloading struct {
	*testing.T
	file  string
	again chan os.Signal
	url   string

	mu       sync.Mutex
	reloaded int
	kept     []string
	faults   []error
}

func reloadingOf(t *testing.T, text string) *reloading {
	t.Helper()
	r := &reloading{T: t, file: filepath.Join(t.TempDir(), "c.yaml"), again: make(chan os.Signal)}
	r.write(text)
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan Serving, 1), make(chan error, 1)
	opts := ServeOptions{ConfigFile: r.file, Addr: "127.0.0.1:0", Again: r.again, Ready: func(s Serving) { ready <- s },
		Reloaded: func(kept []string) { r.mu.Lock(); defer r.mu.Unlock(); r.reloaded++; r.kept = kept },
		Fault:    func(err error) { r.mu.Lock(); defer r.mu.Unlock(); r.faults = append(r.faults, err) }}
	go func() { ended <- Serve(ctx, Config{}, opts) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	select {
	case s := <-ready:
		r.url = s.URL
	case err := <-ended:
		ended <- nil
		t.Fatal(err)
	}
	return r
}

// write replaces the file, as whoever deploys it does.
func (r *reloading) write(text string) {
	r.Helper()
	if err := os.WriteFile(r.file+".new", []byte(text), 0o600); err != nil {
		r.Fatal(err)
	}
	if err := os.Rename(r.file+".new", r.file); err != nil {
		r.Fatal(err)
	}
}

// until waits until something holds.
func (r *reloading) until(what string, holds func() bool) {
	r.Helper()
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		r.mu.Lock()
		ok := holds()
		r.mu.Unlock()
		if ok {
			return
		}
		if time.Since(began) > time.Minute {
			r.Fatalf("%s: it does not happen; reloaded %d, faults %v", what, r.reloaded, r.faults)
		}
	}
}

func robot(name string) string {
	return fmt.Sprintf("{name: %s, secret: \"sha256:%s\"}", name, digest.FromString("hunter2").Encoded())
}

func TestReload(t *testing.T) {
	base := "data: data\nrobots: [" + robot("one") + "]\nrules: [{repositories: '**', users: one, actions: [pull, push]}]\n"
	r := reloadingOf(t, base)
	client := &http.Client{}
	defer client.CloseIdleConnections()
	status := func(method, path, user string) int {
		t.Helper()
		code, _, _ := get(t, client, method, r.url+path, user+":hunter2")
		return code
	}
	if got := status("GET", "/v2/", "one"); got != 200 {
		t.Fatalf("one: %d", got)
	}
	// An upload that is under way while all changes goes on, on its connection.
	loc := ""
	if resp, err := client.Do(mustRequest(t, "POST", r.url+"/v2/app/blobs/uploads/", nil)); err != nil {
		t.Fatal(err)
	} else {
		loc = resp.Header.Get("Location")
		resp.Body.Close()
	}
	body, feed := io.Pipe()
	sent := make(chan int, 1)
	go func() {
		resp, err := client.Do(mustRequest(t, "PATCH", r.url+loc, body))
		if err != nil {
			sent <- 0
			return
		}
		resp.Body.Close()
		sent <- resp.StatusCode
	}()
	if _, err := feed.Write([]byte("first")); err != nil {
		t.Fatal(err)
	}
	r.until("the upload is taken", func() bool { return status("GET", loc, "one") == http.StatusServiceUnavailable })
	// By a signal.
	r.write("data: elsewhere\nlisten: 127.0.0.1:1\nrobots: [" + robot("two") + "]\nrules: [{repositories: 'b/**', users: two, actions: [pull, push]}]\n")
	r.again <- syscall.SIGHUP
	r.until("a signal", func() bool { return r.reloaded > 0 })
	if !slices.Equal(r.kept, []string{"listen", "data"}) {
		t.Errorf("kept %v", r.kept)
	}
	for _, tc := range []struct {
		method, path, user string
		status             int
	}{{"GET", "/v2/", "one", 401}, {"GET", "/v2/", "two", 200}, {"POST", "/v2/app/blobs/uploads/", "two", 403}, {"POST", "/v2/b/app/blobs/uploads/", "two", 202}} {
		if got := status(tc.method, tc.path, tc.user); got != tc.status {
			t.Errorf("%s %s as %s: %d, want %d", tc.method, tc.path, tc.user, got, tc.status)
		}
	}
	if _, err := feed.Write([]byte(" second")); err != nil {
		t.Errorf("what was under way is cut off: %v", err)
	}
	feed.Close()
	if got := <-sent; got != http.StatusAccepted {
		t.Errorf("what was under way: %d", got)
	}
	// What is wrong is not taken.
	for _, text := range []string{"rules: 1", "", "robots: [{name: x}]", "users: nowhere"} {
		n := len(r.faults)
		r.write(text)
		r.again <- syscall.SIGHUP
		r.until("a fault of "+text, func() bool { return len(r.faults) > n })
		if got := status("GET", "/v2/", "two"); got != 200 {
			t.Errorf("after %q: %d", text, got)
		}
		if got := status("GET", "/v2/", "one"); got != 401 {
			t.Errorf("after %q: %d", text, got)
		}
	}
	// By itself, when the file changes.
	n := r.reloaded
	r.write(strings.Replace(base, "[pull, push]", "[pull, admin]", 1))
	r.until("a change", func() bool { return r.reloaded > n })
	if got := status("POST", "/v2/app/blobs/uploads/", "one"); got != 403 {
		t.Errorf("after a change: %d", got)
	}
	if code, body, _ := get(t, client, "GET", r.url+"/metrics", "one:hunter2"); code != 200 || !strings.Contains(body, "camada_registry_configuration_good 1\n") {
		t.Errorf("metrics: %d %s", code, body)
	}
}

func mustRequest(t *testing.T, method, url string, body io.Reader) *http.Request {
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Error(err)
		return nil
	}
	req.SetBasicAuth("one", "hunter2")
	return req
}

// Every key either takes effect or is named.
func TestExchange(t *testing.T) {
	parse := func(text string) config.Config {
		t.Helper()
		c, err := config.Parse([]byte(text), "/d")
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	a := parse("robots: [" + robot("a") + "]")
	b := parse("robots: [" + robot("b") + "]\nlisten: a:1\ndata: x\ns3: {bucket: b}\ntls: {certificate: a, key: b}\naudit: x\nsweep: {every: 1h}\nlimits: {rate: 1}\nredirect: true\nurl: http://x\nimmutable: [{repositories: a, tags: b}]")
	got, kept := exchange(a, b)
	if want := []string{"listen", "data", "s3", "tls"}; !slices.Equal(kept, want) {
		t.Errorf("kept %v, want %v", kept, want)
	}
	if got.Addr != "" || got.Data != "" || got.Cert != "" || got.Sweep.Every != time.Hour || got.Audit == "" || got.Robots[0].Name != "b" || got.Limits.Rate != 1 || !got.Redirect || got.URL == "" || len(got.Immutable) != 1 {
		t.Errorf("%+v", got)
	}
	if _, kept := exchange(b, b); len(kept) > 0 {
		t.Errorf("kept %v of what is the same", kept)
	}
}
