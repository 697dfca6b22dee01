package webhook_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry/events"
	"github.com/camada/camada/registry/outbox"
	"github.com/camada/camada/registry/webhook"
	"github.com/opencontainers/go-digest"
)

func event() events.Event {
	return events.Event{ID: "ID1", Time: time.Date(2030, 1, 2, 3, 4, 5, 6e6, time.UTC), Kind: events.Push, Repository: "team/app", Digest: digest.FromString("x"),
		MediaType: "application/vnd.oci.image.manifest.v1+json", Size: 7, Tags: []string{"1"}, Who: "ann",
		Request: events.Request{ID: "R1", Addr: "10.0.0.1:5", Host: "reg.example", Method: "PUT", Agent: "docker", Base: "http://reg.example"}}
}

// received is a request that a receiver got.
type received struct {
	header http.Header
	body   string
}

// receiver answers with a status, and keeps the last request.
func receiver(t *testing.T, status *int, tls bool) (*httptest.Server, *received) {
	t.Helper()
	got := &received{}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		*got = received{r.Header, string(b)}
		switch *status {
		case http.StatusFound:
			w.Header().Set("Location", "http://127.0.0.1:1/elsewhere")
		case http.StatusTooManyRequests:
			w.Header().Set("Retry-After", "17")
		}
		w.WriteHeader(*status)
	})
	s := httptest.NewUnstartedServer(h)
	if tls {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s, got
}

func send(t *testing.T, o webhook.Options, e events.Event) error {
	t.Helper()
	o.Name = "ci"
	h, err := webhook.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return h.Send(t.Context(), e)
}

func TestCloudEvents(t *testing.T) {
	status := http.StatusNoContent
	s, got := receiver(t, &status, false)
	if err := send(t, webhook.Options{URL: s.URL, Registry: "https://registry.example.org/"}, event()); err != nil {
		t.Fatal(err)
	}
	var all map[string]any
	if err := json.Unmarshal([]byte(got.body), &all); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"specversion": "1.0", "id": "ID1", "source": "https://registry.example.org", "type": "io.camada.registry.push", "subject": "team/app:1",
		"time": "2030-01-02T03:04:05.006Z", "datacontenttype": "application/json"} {
		if all[name] != want {
			t.Errorf("%s is %v, want %s", name, all[name], want)
		}
	}
	data, _ := all["data"].(map[string]any)
	if data["repository"] != "team/app" || data["digest"] != event().Digest.String() || data["size"] != 7.0 ||
		data["url"] != "https://registry.example.org/v2/team/app/manifests/"+event().Digest.String() {
		t.Errorf("data: %v", data)
	}
	if ct := got.header.Get("Content-Type"); ct != "application/cloudevents+json; charset=utf-8" {
		t.Errorf("content type %s", ct)
	}
	if got.header.Get("Webhook-Id") != "" || got.header.Get("X-Camada-Signature") != "" {
		t.Errorf("signed without a secret: %v", got.header)
	}
	// In binary mode the same attributes are headers, and the body is the data.
	if err := send(t, webhook.Options{URL: s.URL, Format: webhook.Binary}, event()); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"ce-specversion": "1.0", "ce-id": "ID1", "ce-source": "http://reg.example", "ce-type": "io.camada.registry.push", "ce-subject": "team/app:1",
		"ce-time": "2030-01-02T03:04:05.006Z", "content-type": "application/json"} {
		if v := got.header.Get(name); v != want {
			t.Errorf("%s is %q, want %s", name, v, want)
		}
	}
	if !strings.HasPrefix(got.body, `{"repository":"team/app",`) {
		t.Errorf("body: %s", got.body)
	}
}

func TestDocker(t *testing.T) {
	status := http.StatusOK
	s, got := receiver(t, &status, false)
	type envelope struct {
		Events []struct {
			ID, Action string
			Timestamp  time.Time
			Target     struct{ MediaType, Digest, Repository, URL, Tag string }
			Request    struct{ ID, Addr, Host, Method, Useragent string }
			Actor      struct{ Name string }
		}
	}
	post := func(change func(*events.Event)) envelope {
		t.Helper()
		e := event()
		change(&e)
		if err := send(t, webhook.Options{URL: s.URL, Format: webhook.Docker}, e); err != nil {
			t.Fatal(err)
		}
		if ct := got.header.Get("Content-Type"); ct != "application/vnd.docker.distribution.events.v1+json" {
			t.Errorf("content type %s", ct)
		}
		var v envelope
		if err := json.Unmarshal([]byte(got.body), &v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	v := post(func(e *events.Event) { e.Tags = []string{"1", "latest"} })
	if len(v.Events) != 2 || v.Events[1].Target.Tag != "latest" || v.Events[0].ID == v.Events[1].ID {
		t.Fatalf("%+v", v)
	}
	e := v.Events[0]
	if e.Action != "push" || e.Target.Repository != "team/app" || e.Target.Tag != "1" || e.Target.URL != "http://reg.example/v2/team/app/manifests/"+event().Digest.String() ||
		e.Request.Useragent != "docker" || e.Request.Method != http.MethodPut || e.Actor.Name != "ann" || e.Target.MediaType != event().MediaType || e.Timestamp.Year() != 2030 {
		t.Errorf("%+v", e)
	}
	if v := post(func(e *events.Event) { e.Kind = events.Rollback }); len(v.Events) != 1 || v.Events[0].Action != "push" || v.Events[0].Target.Tag != "1" {
		t.Errorf("a rollback: %+v", v)
	}
	if v := post(func(e *events.Event) { e.Kind = events.Delete }); len(v.Events) != 1 || v.Events[0].Action != "delete" || v.Events[0].Target.Tag != "1" || v.Events[0].Target.Digest != "" {
		t.Errorf("a tag is deleted: %+v", v)
	}
	if v := post(func(e *events.Event) { e.Kind, e.Tags = events.Delete, nil }); len(v.Events) != 1 || v.Events[0].Target.Tag != "" || v.Events[0].Target.Digest == "" {
		t.Errorf("a manifest is deleted: %+v", v)
	}
}

func TestSigned(t *testing.T) {
	status := http.StatusOK
	s, got := receiver(t, &status, false)
	dir := t.TempDir()
	file := filepath.Join(dir, "secret")
	raw := []byte("0123456789abcdef0123456789abcdef")
	for text, key := range map[string][]byte{"hunter2\n": []byte("hunter2"), "whsec_" + base64.StdEncoding.EncodeToString(raw): raw} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := send(t, webhook.Options{URL: s.URL, Secret: file}, event()); err != nil {
			t.Fatal(err)
		}
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(got.header.Get("Webhook-Id") + "." + got.header.Get("Webhook-Timestamp") + "." + got.body))
		if want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)); got.header.Get("Webhook-Signature") != want || got.header.Get("Webhook-Id") != "ID1" {
			t.Errorf("signed %v, want %s", got.header, want)
		}
		mac = hmac.New(sha256.New, key)
		mac.Write([]byte(got.body))
		if want := "sha256=" + hex.EncodeToString(mac.Sum(nil)); got.header.Get("X-Camada-Signature") != want {
			t.Errorf("signed %s, want %s", got.header.Get("X-Camada-Signature"), want)
		}
	}
	for text, want := range map[string]string{"whsec_hunter2!": "not base64", "": "is empty", strings.Repeat("x", 5000): "more than"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		err := send(t, webhook.Options{URL: s.URL, Secret: file}, event())
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%.20q: %v", text, err)
		}
	}
}

func TestHeaders(t *testing.T) {
	status := http.StatusOK
	s, got := receiver(t, &status, false)
	file := filepath.Join(t.TempDir(), "token")
	o := webhook.Options{URL: s.URL, Headers: []webhook.Header{{Name: "X-Team", Value: "a"}, {Name: "Authorization", File: file}}}
	if err := send(t, o, event()); !errdefs.IsUnavailable(err) {
		t.Errorf("without the file: %v", err)
	}
	for text, good := range map[string]bool{"Bearer hunter2\n": true, "Bearer hunter2\nX: y": false} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		err := send(t, o, event())
		if (err == nil) != good || err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", text, err)
		}
	}
	if got.header.Get("Authorization") != "Bearer hunter2" || got.header.Get("X-Team") != "a" {
		t.Errorf("%v", got.header)
	}
}

func TestAnswers(t *testing.T) {
	status := 0
	s, _ := receiver(t, &status, false)
	for code, want := range map[int]string{200: "", 202: "", 302: "down", 400: "refused", 401: "down", 404: "down", 410: "refused", 422: "refused", 429: "later", 500: "down", 503: "down"} {
		status = code
		err := send(t, webhook.Options{URL: s.URL + "/?key=hunter2"}, event())
		var refused *outbox.RefusedError
		var later *outbox.LaterError
		got := "down"
		switch {
		case err == nil:
			got = ""
		case errors.As(err, &refused):
			got = "refused"
		case errors.As(err, &later):
			if got = "later"; later.After != 17*time.Second {
				t.Errorf("after %s", later.After)
			}
		}
		if got != want || err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%d: %s (%v), want %s", code, got, err, want)
		}
	}
	s.Close()
	if err := send(t, webhook.Options{URL: s.URL + "/?key=hunter2"}, event()); !errdefs.IsUnavailable(err) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("nobody there: %v", err)
	}
}

func TestTimeout(t *testing.T) {
	end := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-end }))
	defer s.Close()
	defer close(end)
	if err := send(t, webhook.Options{URL: s.URL, Timeout: 20 * time.Millisecond}, event()); !errdefs.IsUnavailable(err) {
		t.Errorf("a receiver that says nothing: %v", err)
	}
}

func TestAuthorities(t *testing.T) {
	status := http.StatusOK
	s, _ := receiver(t, &status, true)
	s.Config.ErrorLog = nil
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := send(t, webhook.Options{URL: s.URL}, event()); !errdefs.IsUnavailable(err) {
		t.Errorf("a certificate of nobody: %v", err)
	}
	if err := send(t, webhook.Options{URL: s.URL, Authorities: []string{file}}, event()); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := webhook.New(webhook.Options{URL: s.URL, Authorities: []string{file}}); !errdefs.IsInvalid(err) {
		t.Errorf("no certificate: %v", err)
	}
}
