package engine

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/camada/camada/internal/peers"
	"github.com/camada/camada/registry/s3"
	"github.com/opencontainers/go-digest"
)

// objectStore starts an object store, gives its credentials to the environment, and returns its address.
func objectStore(t *testing.T) (endpoint string) {
	t.Helper()
	o := peers.Need(t, "versitygw").StartVersity()
	t.Setenv("AWS_ACCESS_KEY_ID", o.ID)
	t.Setenv("AWS_SECRET_ACCESS_KEY", o.Secret)
	return o.Endpoint
}

// makeBucket makes the bucket "registry".
func makeBucket(t *testing.T, endpoint string) {
	t.Helper()
	made, err := s3.Open(t.Context(), s3.Options{Endpoint: endpoint, Bucket: "registry", Create: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := made.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestServeReplicas: what one replica was given, the other one has, also of an upload that the first one began.
func TestServeReplicas(t *testing.T) {
	endpoint := objectStore(t)
	file := filepath.Join(t.TempDir(), "registry.yaml")
	if err := os.WriteFile(file, []byte("s3: {endpoint: \""+endpoint+"\", bucket: registry, prefix: team}\nredirect: true\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	data := t.TempDir()
	if err := Serve(t.Context(), Config{}, ServeOptions{Data: data, ConfigFile: file, Addr: "127.0.0.1:0"}); err == nil || !strings.Contains(err.Error(), "bucket registry") {
		t.Errorf("without a bucket: %v", err)
	}
	makeBucket(t, endpoint)
	a, stop := serving(t, ServeOptions{Data: data, ConfigFile: file})
	b, _ := serving(t, ServeOptions{Data: t.TempDir(), ConfigFile: file})
	if a.Data != "s3://registry/team" {
		t.Errorf("it says that it serves %s", a.Data)
	}
	if err := Serve(t.Context(), Config{}, ServeOptions{Data: data, ConfigFile: file, Addr: "127.0.0.1:0"}); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second one for the same directory: %v", err)
	}
	client := &http.Client{}
	defer client.CloseIdleConnections()
	send := func(method, url, body string) (status int, location string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode, resp.Header.Get("Location")
	}
	text := strings.Repeat("large enough not to lie in its link ", 1000)
	d := digest.FromString(text).String()
	_, location := send("POST", a.URL+"/v2/app/blobs/uploads/", "")
	location = strings.TrimPrefix(location, a.URL)
	send("PATCH", a.URL+location, text[:100])
	if err := stop(); err != nil {
		t.Error(err)
	}
	_, location = send("PATCH", b.URL+location, text[100:])
	location = strings.TrimPrefix(location, b.URL)
	if status, _ := send("PUT", b.URL+location+"?digest="+d, ""); status != http.StatusCreated {
		t.Errorf("the end of an upload that another replica began: status %d", status)
	}
	for _, path := range []string{"/readyz", "/v2/app/blobs/" + d} {
		if status, body, _ := get(t, client, "GET", b.URL+path, ""); status != 200 || path != "/readyz" && body != text {
			t.Errorf("%s: %d, %d bytes", path, status, len(body))
		}
	}
}
