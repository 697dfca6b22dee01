package engine

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/camada/camada/internal/peers"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// speaker speaks to a registry.
type speaker struct {
	*testing.T
	url    string
	client *http.Client
}

func speaking(t *testing.T, url string) *speaker {
	c := &http.Client{}
	t.Cleanup(c.CloseIdleConnections)
	return &speaker{t, url, c}
}

// do sends a request and returns status and body; status 0 is whatever it is.
func (a *speaker) do(want int, method, path, mediaType, body string) string {
	a.Helper()
	req, err := http.NewRequestWithContext(a.Context(), method, a.url+path, strings.NewReader(body))
	if err != nil {
		a.Fatal(err)
	}
	if mediaType != "" {
		req.Header.Set("Content-Type", mediaType)
		req.Header.Set("Accept", mediaType)
	}
	res, err := a.client.Do(req)
	if err != nil {
		a.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		a.Fatal(err)
	}
	if want != 0 && res.StatusCode != want {
		a.Fatalf("%s %s: %d %s, want %d", method, path, res.StatusCode, b, want)
	}
	return strings.TrimSpace(string(b))
}

// blob pushes a blob.
func (a *speaker) blob(repository, text string) ocispec.Descriptor {
	a.Helper()
	d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: digest.FromString(text), Size: int64(len(text))}
	a.do(201, "POST", "/v2/"+repository+"/blobs/uploads/?digest="+d.Digest.String(), "application/octet-stream", text)
	return d
}

// image pushes an image of one layer; at is a tag, or "" for its digest.
func (a *speaker) image(repository, at, text string, subject *ocispec.Descriptor) ocispec.Descriptor {
	a.Helper()
	config := a.blob(repository, "{}")
	config.MediaType = "application/vnd.test.config"
	m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: config, Layers: []ocispec.Descriptor{a.blob(repository, text)}, Subject: subject}
	m.SchemaVersion = 2
	return a.manifest(repository, at, m.MediaType, m)
}

func (a *speaker) manifest(repository, at, mediaType string, m any) ocispec.Descriptor {
	a.Helper()
	data, err := json.Marshal(m)
	if err != nil {
		a.Fatal(err)
	}
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	if at == "" {
		at = d.Digest.String()
	}
	a.do(201, "PUT", "/v2/"+repository+"/manifests/"+at, mediaType, string(data))
	return d
}

// has reports whether a manifest is there, and its digest.
func (a *speaker) has(repository, at string) (digest.Digest, bool) {
	a.Helper()
	req, err := http.NewRequestWithContext(a.Context(), http.MethodHead, a.url+"/v2/"+repository+"/manifests/"+at, nil)
	if err != nil {
		a.Fatal(err)
	}
	req.Header.Set("Accept", ocispec.MediaTypeImageManifest+", "+ocispec.MediaTypeImageIndex)
	res, err := a.client.Do(req)
	if err != nil {
		a.Fatal(err)
	}
	res.Body.Close()
	return digest.Digest(res.Header.Get("Docker-Content-Digest")), res.StatusCode == http.StatusOK
}

// targets lists the targets of deliveries.
func (a *speaker) targets() map[string]struct {
	State         string
	Waiting, Sent int
	Error         string
} {
	a.Helper()
	var v struct {
		Targets []struct {
			Target        string
			State         string
			Waiting, Sent int
			Error         string
		}
	}
	if err := json.Unmarshal([]byte(a.do(200, "GET", "/v2/_camada/registry/deliveries?n=5", "", "")), &v); err != nil {
		a.Fatal(err)
	}
	out := map[string]struct {
		State         string
		Waiting, Sent int
		Error         string
	}{}
	for _, t := range v.Targets {
		out[t.Target] = struct {
			State         string
			Waiting, Sent int
			Error         string
		}{t.State, t.Waiting, t.Sent, t.Error}
	}
	return out
}

// quiet waits until nothing waits.
func (a *speaker) quiet() {
	a.Helper()
	eventually(a.T, "nothing waits", func() bool {
		for _, t := range a.targets() {
			if t.Waiting > 0 {
				return false
			}
		}
		return true
	})
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for began := time.Now(); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Since(began) > time.Minute {
			t.Fatalf("never: %s", what)
		}
	}
}

// listener is a receiver of webhooks that can die and come back at the same address.
type listener struct {
	t      *testing.T
	addr   string
	server *http.Server

	mu  sync.Mutex
	got []string
}

func (l *listener) start() {
	l.t.Helper()
	addr := l.addr
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	var nl net.Listener
	eventually(l.t, "the address is free", func() bool {
		var err error
		nl, err = net.Listen("tcp", addr)
		return err == nil
	})
	l.addr = nl.Addr().String()
	l.server = &http.Server{Handler: l}
	go func(s *http.Server) { _ = s.Serve(nl) }(l.server)
}

func (l *listener) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	var v struct {
		Type, Subject string
	}
	if err := json.NewDecoder(r.Body).Decode(&v); err != nil {
		l.t.Error(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.got = append(l.got, strings.TrimPrefix(v.Type, "io.camada.registry.")+" "+v.Subject)
}

func (l *listener) list() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	got := slices.Clone(l.got)
	slices.Sort(got)
	return slices.Compact(got)
}

// configured writes a configuration.
func configured(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "registry.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestServeWebhooks(t *testing.T) {
	l := &listener{t: t}
	l.start()
	file := configured(t, fmt.Sprintf("data: data\nwebhooks:\n  - {name: all, url: \"http://%s/?key=hunter2\", events: [push, delete, rollback, tag]}\n  - {name: some, url: \"http://127.0.0.1:1/\", repositories: \"team/**\", tags: \"v*\"}\n", l.addr))
	s, stop := serving(t, ServeOptions{ConfigFile: file})
	a := speaking(t, s.URL)
	a.image("team/app", "latest", "one", nil)
	two := a.image("team/app", "latest", "two", nil)
	a.do(200, "POST", "/v2/team/app/_camada/history/latest", "", "")
	a.do(202, "DELETE", "/v2/team/app/manifests/latest", "", "")
	a.do(202, "DELETE", "/v2/team/app/manifests/"+two.Digest.String(), "", "")
	want := []string{"delete team/app:latest", "delete team/app@" + two.Digest.String(), "push team/app:latest", "rollback team/app:latest", "tag team/app:latest"}
	eventually(t, "all events", func() bool { return slices.Equal(l.list(), want) })
	a.image("team/app", "v1", "three", nil)
	eventually(t, "the other one fails", func() bool { return a.targets()["webhook/some"].Error != "" })
	if got := a.targets()["webhook/some"]; got.State != "failing" || got.Waiting != 1 || !strings.Contains(got.Error, "refused") {
		t.Errorf("%+v", got)
	}
	// The receiver dies. What it missed it gets when it is back, also when the registry was restarted meanwhile.
	if err := l.server.Close(); err != nil {
		t.Error(err)
	}
	l.got = nil
	for _, tag := range []string{"a", "b", "c"} {
		a.image("team/app", tag, tag, nil)
	}
	eventually(t, "it fails", func() bool { return a.targets()["webhook/all"].State == "failing" })
	text := a.do(200, "GET", "/metrics", "", "")
	if !strings.Contains(text, `camada_registry_deliveries_failing{target="webhook/all"} 1`) || !strings.Contains(text, `camada_registry_deliveries_waiting{target="webhook/some"} 1`) {
		t.Errorf("metrics: %s", text)
	}
	if list := a.do(200, "GET", "/v2/_camada/registry/deliveries?n=9", "", ""); strings.Contains(list+text, "hunter2") {
		t.Errorf("a secret is shown: %s", list)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	s, _ = serving(t, ServeOptions{ConfigFile: file})
	l.start()
	defer l.server.Close()
	want = []string{"push team/app:a", "push team/app:b", "push team/app:c", "tag team/app:a", "tag team/app:b", "tag team/app:c"}
	a = speaking(t, s.URL)
	eventually(t, "what was missed", func() bool {
		a.do(0, "POST", "/v2/_camada/registry/deliveries?resume=webhook/all", "", "")
		return slices.Equal(l.list(), want)
	})
	a.do(404, "POST", "/v2/_camada/registry/deliveries?resume=nobody", "", "")
	a.do(405, "DELETE", "/v2/_camada/registry/deliveries", "", "")
	a.do(404, "POST", "/v2/_camada/registry/replicate", "", "")
}

// TestServeWebhookStdio: who pushes through ssh is seen, too.
func TestServeWebhookStdio(t *testing.T) {
	l := &listener{t: t}
	l.start()
	defer l.server.Close()
	file := configured(t, fmt.Sprintf("data: data\nwebhooks: [{name: all, url: \"http://%s/\"}]\n", l.addr))
	in, client := io.Pipe()
	answers, out := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- Serve(t.Context(), Config{}, ServeOptions{ConfigFile: file, In: in, Out: out}) }()
	body := `{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageIndex + `","manifests":[]}`
	fmt.Fprintf(client, "PUT /v2/app/manifests/x HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", ocispec.MediaTypeImageIndex, len(body), body)
	res, err := http.ReadResponse(bufio.NewReader(answers), nil)
	if err != nil || res.StatusCode != http.StatusCreated {
		t.Fatalf("%+v, %v", res, err)
	}
	res.Body.Close()
	client.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	_, _ = serving(t, ServeOptions{ConfigFile: file})
	eventually(t, "the push is told", func() bool { return slices.Equal(l.list(), []string{"push app:x"}) })
}

// pair starts two registries of which the second one gets what the first one has, by more settings of the rule.
func pair(t *testing.T, more string) (from, to *speaker, restart func()) {
	t.Helper()
	second, _ := serving(t, ServeOptions{Data: t.TempDir()})
	to = speaking(t, second.URL)
	file := configured(t, "data: data\nreplication:\n  - {name: second, registry: "+second.URL+more+"}\n")
	first, stop := serving(t, ServeOptions{ConfigFile: file})
	from = speaking(t, first.URL)
	return from, to, func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
		first, stop = serving(t, ServeOptions{ConfigFile: file})
		from.url = first.URL
	}
}

func TestServeReplication(t *testing.T) {
	from, to, _ := pair(t, ", repositories: \"team/**\", tags: [\"v*\", latest], to: \"mirror/{repository}\", deletions: true")
	one := from.image("team/app", "latest", "one", nil)
	from.image("team/app", "other", "not wanted", nil)
	from.image("home/app", "latest", "not wanted", nil)
	// An index with its images, and what refers to one of them and to that in turn.
	arm := from.image("team/app", "", "arm", nil)
	early := from.image("team/app", "", "signature of arm", &arm)
	index := ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{arm, one}}
	index.SchemaVersion = 2
	idx := from.manifest("team/app", "v1", index.MediaType, index)
	from.quiet()
	late := from.image("team/app", "", "sbom of the index", &idx)
	later := from.image("team/app", "", "signature of the sbom", &late)
	from.quiet()
	for _, d := range []ocispec.Descriptor{one, arm, early, idx, late, later} {
		if _, ok := to.has("mirror/team/app", d.Digest.String()); !ok {
			t.Errorf("%s did not come", d.Digest)
		}
	}
	for at, want := range map[string]digest.Digest{"latest": one.Digest, "v1": idx.Digest} {
		if got, _ := to.has("mirror/team/app", at); got != want {
			t.Errorf("%s is %s, want %s", at, got, want)
		}
	}
	if list := to.do(200, "GET", "/v2/mirror/team/app/referrers/"+arm.Digest.String(), "", ""); !strings.Contains(list, early.Digest.String()) {
		t.Errorf("referrers: %s", list)
	}
	if list := to.do(200, "GET", "/v2/_catalog", "", ""); list != `{"repositories":["mirror/team/app"]}` {
		t.Errorf("catalog: %s", list)
	}
	if list := to.do(200, "GET", "/v2/mirror/team/app/tags/list", "", ""); !strings.Contains(list, `"tags":["latest","v1"]`) {
		t.Errorf("tags: %s", list)
	}
	// A tag moves, goes back, and is deleted; a manifest is.
	two := from.image("team/app", "latest", "two", nil)
	from.quiet()
	if got, _ := to.has("mirror/team/app", "latest"); got != two.Digest {
		t.Errorf("latest is %s", got)
	}
	from.do(200, "POST", "/v2/team/app/_camada/history/latest", "", "")
	from.quiet()
	if got, _ := to.has("mirror/team/app", "latest"); got != one.Digest {
		t.Errorf("latest is %s after a rollback", got)
	}
	from.do(202, "DELETE", "/v2/team/app/manifests/latest", "", "")
	from.do(202, "DELETE", "/v2/team/app/manifests/"+idx.Digest.String(), "", "")
	from.quiet()
	for _, at := range []string{"latest", "v1"} {
		if _, ok := to.has("mirror/team/app", at); ok {
			t.Errorf("%s is still there", at)
		}
	}
}

// TestServeReplicationLater: a replica that was not there gets everything when it is asked for, and jobs stay over a restart.
func TestServeReplicationLater(t *testing.T) {
	from, to, restart := pair(t, "")
	a := from.image("team/app", "a", "a", nil)
	from.quiet()
	to.image("team/app", "theirs", "theirs", nil)
	to.do(202, "DELETE", "/v2/team/app/manifests/a", "", "")
	if got := from.do(202, "POST", "/v2/_camada/registry/replicate", "", ""); got != `{"queued":["second"]}` {
		t.Errorf("%s", got)
	}
	from.quiet()
	if got, _ := to.has("team/app", "a"); got != a.Digest {
		t.Errorf("a is %s", got)
	}
	// Deletions are not mirrored by this rule.
	from.do(202, "DELETE", "/v2/team/app/manifests/a", "", "")
	from.do(202, "POST", "/v2/_camada/registry/replicate?name=second", "", "")
	from.quiet()
	for _, tag := range []string{"a", "theirs"} {
		if _, ok := to.has("team/app", tag); !ok {
			t.Errorf("%s was deleted", tag)
		}
	}
	from.do(404, "POST", "/v2/_camada/registry/replicate?name=third", "", "")
	restart()
	for i := range 20 {
		from.image("team/app", fmt.Sprintf("n%d", i), fmt.Sprint(i), nil)
	}
	restart()
	from.quiet()
	for i := range 20 {
		if _, ok := to.has("team/app", fmt.Sprintf("n%d", i)); !ok {
			t.Errorf("n%d did not come", i)
		}
	}
}

// TestServeReplicationRace: while a tag moves all the time, what is there in the end is what is here in the end.
func TestServeReplicationRace(t *testing.T) {
	from, to, _ := pair(t, ", deletions: true")
	var last ocispec.Descriptor
	for i := range 30 {
		last = from.image("app", "x", fmt.Sprint(i), nil)
		if i%7 == 3 {
			from.do(202, "DELETE", "/v2/app/manifests/x", "", "")
		}
	}
	from.quiet()
	if got, _ := to.has("app", "x"); got != last.Digest {
		t.Errorf("x is %s, want %s", got, last.Digest)
	}
}

// TestServeReplicationGuarded replicates to a registry that asks who comes, over TLS, and in which some tags never move.
func TestServeReplicationGuarded(t *testing.T) {
	dir := t.TempDir()
	certificate(t, dir, 1)
	write := func(name, text string) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	second, _ := serving(t, ServeOptions{ConfigFile: write("second.yaml", `
data: second
tls: {certificate: cert.pem, key: key.pem}
robots: [{name: bot, secret: "sha256:`+digest.FromString("hunter2").Encoded()+`"}]
rules:
  - {repositories: "mirror/**", users: bot, actions: [pull, push]}
  - {repositories: "**", users: anonymous, actions: pull}
immutable: [{repositories: "**", tags: "v*"}]
`)})
	host := strings.TrimPrefix(second.URL, "https://")
	write("password", "hunter2\n")
	file := write("first.yaml", "data: first\nreplication:\n  - {name: second, registry: "+host+", to: \"mirror/{name}\", username: bot, password: password, authorities: cert.pem}\n")
	first, _ := serving(t, ServeOptions{ConfigFile: file})
	from, to := speaking(t, first.URL), speaking(t, second.URL)
	to.client.Transport = &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	one := from.image("team/app", "v1", "one", nil)
	from.quiet()
	if got, _ := to.has("mirror/app", "v1"); got != one.Digest {
		t.Errorf("v1 is %s, want %s", got, one.Digest)
	}
	from.image("team/app", "v1", "two", nil)
	from.do(202, "POST", "/v2/_camada/registry/replicate", "", "")
	three := from.image("team/app", "latest", "three", nil)
	eventually(t, "what is not taken is told", func() bool { return strings.Contains(from.targets()["replication/second"].Error, "immutable") })
	eventually(t, "other tags come", func() bool { got, _ := to.has("mirror/app", "latest"); return got == three.Digest })
	if got, _ := to.has("mirror/app", "v1"); got != one.Digest {
		t.Errorf("v1 is %s, want %s", got, one.Digest)
	}
	// The tag itself, and the comparison that found it so.
	eventually(t, "only that waits", func() bool { return from.targets()["replication/second"].Waiting == 2 })
	if got := from.targets()["replication/second"]; got.State == "failing" {
		t.Errorf("%+v", got)
	}
	if err := CheckServe(Config{}, ServeOptions{ConfigFile: file}); err != nil {
		t.Errorf("the configuration is good: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "password")); err != nil {
		t.Fatal(err)
	}
	if err := CheckServe(Config{}, ServeOptions{ConfigFile: file}); err == nil || !strings.Contains(err.Error(), "password") {
		t.Errorf("credentials that are not there: %v", err)
	}
}

// TestServeReplicationCache: copies of other registries are theirs to replicate, and getting one is no push.
func TestServeReplicationCache(t *testing.T) {
	hub, _ := serving(t, ServeOptions{Data: t.TempDir()})
	second, _ := serving(t, ServeOptions{Data: t.TempDir()})
	file := configured(t, "data: data\ncache: [{host: \""+strings.TrimPrefix(hub.URL, "http://")+"\", prefix: hub}]\nreplication: [{name: second, registry: \""+second.URL+"\", deletions: true}]\n")
	first, _ := serving(t, ServeOptions{ConfigFile: file})
	from, to := speaking(t, first.URL), speaking(t, second.URL)
	theirs := speaking(t, hub.URL).image("app", "x", "theirs", nil)
	if got, _ := from.has("hub/app", "x"); got != theirs.Digest {
		t.Fatalf("the copy is %s", got)
	}
	from.do(200, "GET", "/v2/hub/app/manifests/x", ocispec.MediaTypeImageManifest, "")
	ours := from.image("app", "x", "ours", nil)
	from.do(202, "POST", "/v2/_camada/registry/replicate", "", "")
	from.quiet()
	if got, _ := to.has("app", "x"); got != ours.Digest {
		t.Errorf("x is %s", got)
	}
	if list := to.do(200, "GET", "/v2/_catalog", "", ""); list != `{"repositories":["app"]}` {
		t.Errorf("catalog: %s", list)
	}
}

// TestServeReplicationObjects replicates what lies in an object store: each process sends what it was given.
func TestServeReplicationObjects(t *testing.T) {
	endpoint := objectStore(t)
	makeBucket(t, endpoint)
	second, _ := serving(t, ServeOptions{Data: t.TempDir()})
	to := speaking(t, second.URL)
	file := configured(t, "s3: {endpoint: \""+endpoint+"\", bucket: registry}\nreplication: [{name: second, registry: \""+second.URL+"\"}]\n")
	var last ocispec.Descriptor
	for range 2 { // one after the other, since both have the same tag
		s, _ := serving(t, ServeOptions{ConfigFile: file, Data: t.TempDir()})
		from := speaking(t, s.URL)
		last = from.image("app", "x", strings.Repeat("not small ", 10_000)+s.URL, nil)
		from.quiet()
		if got, _ := to.has("app", "x"); got != last.Digest {
			t.Errorf("x is %s, want %s", got, last.Digest)
		}
	}
}

// TestServeReplicationPeers replicates to registries of others.
func TestServeReplicationPeers(t *testing.T) {
	for _, program := range []string{"docker-registry", "registry"} {
		t.Run(program, func(t *testing.T) {
			t.Setenv("REGISTRY_STORAGE_DELETE_ENABLED", "true")
			p := peers.Need(t, program)
			users, auth := p.Path("users"), p.Path("auth.json")
			p.Write("users", "tester:$2y$05$abcdefghijklmnopqrstuuFzejfplTChgPyZNQOF2kNcZhBC.ObAS\n")
			p.Write("auth.json", "{}")
			host := p.StartDistribution(program, users)
			file := configured(t, "data: data\nreplication:\n  - {name: theirs, registry: \"http://"+host+"\", credentials: "+auth+", deletions: true}\n")
			s, _ := serving(t, ServeOptions{ConfigFile: file})
			from := speaking(t, s.URL)
			one := from.image("team/app", "v1", "one", nil)
			signature := from.image("team/app", "", "signature", &one)
			from.image("team/app", "v2", "two", nil)
			eventually(t, "it is not let in", func() bool { return from.targets()["replication/theirs"].State == "failing" })
			// Credentials are read when they are needed.
			p.Write("auth.json", `{"auths": {"`+host+`": {"username": "tester", "password": "secret pass"}}}`)
			from.do(200, "POST", "/v2/_camada/registry/deliveries?resume=replication/theirs", "", "")
			from.quiet()
			to := speaking(t, "http://tester:secret%20pass@"+host)
			if got, _ := to.has("team/app", "v1"); got != one.Digest {
				t.Errorf("v1 is %s, want %s", got, one.Digest)
			}
			if _, ok := to.has("team/app", signature.Digest.String()); !ok {
				t.Error("what refers to it did not come")
			}
			from.do(202, "DELETE", "/v2/team/app/manifests/v2", "", "")
			from.quiet()
			if _, ok := to.has("team/app", "v2"); ok {
				t.Error("v2 is still there")
			}
			if _, ok := to.has("team/app", "v1"); !ok {
				t.Error("v1 is gone")
			}
		})
	}
}
