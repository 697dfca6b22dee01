package engine

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// A request's trace goes from who calls, over the registry, to the object store.
func TestServeTraces(t *testing.T) {
	endpoint := objectStore(t)
	makeBucket(t, endpoint)
	var mu sync.Mutex
	var got string
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		got += string(b)
	}))
	defer collector.Close()
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(file, []byte("s3: {endpoint: \""+endpoint+"\", bucket: registry}\ntraces: {endpoint: \""+collector.URL+"/v1/traces\"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, stop := serving(t, ServeOptions{ConfigFile: file, Data: t.TempDir()})
	client := &http.Client{}
	defer client.CloseIdleConnections()
	const trace = "0af7651916cd43dd8448eb211c80319c"
	for _, path := range []string{"/v2/app/blobs/sha256:" + strings.Repeat("0", 64), "/v2/app/blobs/uploads/secret-name", "/livez"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Traceparent", "00-"+trace+"-b7ad6b7169203331-01")
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	if err := stop(); err != nil { // and so the spans are sent
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	for _, want := range []string{`"traceId":"` + trace + `"`, `"parentSpanId":"b7ad6b7169203331","name":"GET blob","kind":2`, `"kind":3`, `{"key":"camada.repository","value":{"stringValue":"app"}}`, `"stringValue":"camada-registry"`} {
		if !strings.Contains(got, want) {
			t.Errorf("the collector got no %s", want)
		}
	}
	for _, not := range []string{"blobs/uploads/secret-name", "livez"} {
		if strings.Contains(got, not) {
			t.Errorf("the collector got %s", not)
		}
	}
}

// Without a collector the registry serves as ever, and ends.
func TestServeTracesToNobody(t *testing.T) {
	r := reloadingOf(t, "data: data\ntraces: {endpoint: \"http://127.0.0.1:1/v1/traces\"}\n")
	client := &http.Client{}
	defer client.CloseIdleConnections()
	for range 100 {
		if status, _, _ := get(t, client, "GET", r.url+"/v2/", ""); status != 200 {
			t.Fatalf("status %d", status)
		}
	}
}
