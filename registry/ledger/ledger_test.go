package ledger_test

import (
	"encoding/json"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/registry/api"
	"github.com/camada/camada/registry/ledger"
)

func event(t *testing.T, method, kind string, status int) api.Event {
	return api.Event{Time: time.Unix(1, 0), Took: 3 * time.Millisecond, Request: httptest.NewRequestWithContext(t.Context(), method, "/v2/", nil), Kind: kind,
		Repository: "app", Reference: "ref", Who: "alice", Status: status, Sent: 10, Received: 5}
}

func TestLog(t *testing.T) {
	file := filepath.Join(t.TempDir(), "audit")
	l := ledger.New(ledger.Options{File: file, Fault: func(err error) { t.Error(err) }})
	for _, tc := range []struct {
		method, kind string
		status       int
		want         bool
	}{
		{"PUT", "manifest", 201, true}, {"GET", "manifest", 200, false}, {"GET", "blob", 403, true}, {"POST", "uploads", 202, false}, {"POST", "uploads", 201, true},
		{"PATCH", "upload", 202, false}, {"PUT", "upload", 201, true}, {"DELETE", "blob", 202, true}, {"DELETE", "blob", 404, false}, {"POST", "sweep", 200, true}, {"GET", "base", 401, true},
	} {
		_ = os.Rename(file, file+".1") // as logrotate does
		l.Note(event(t, tc.method, tc.kind, tc.status))
		b, err := os.ReadFile(file)
		if tc.want != (err == nil) {
			t.Errorf("%s %s %d: %v", tc.method, tc.kind, tc.status, err)
		}
		if !tc.want || err != nil {
			continue
		}
		var got map[string]any
		if err := json.Unmarshal(b, &got); err != nil || got["who"] != "alice" || got["repository"] != "app" || got["kind"] != tc.kind || b[len(b)-1] != '\n' {
			t.Errorf("%s: %v", b, err)
		}
		if (got["reference"] == "ref") != (tc.kind != "upload") {
			t.Errorf("%s: the ID of an upload is told, or a reference is not", b)
		}
	}
	var faults []error
	l = ledger.New(ledger.Options{File: filepath.Join(file, "below"), Fault: func(err error) { faults = append(faults, err) }})
	if l.Note(event(t, "PUT", "manifest", 201)); len(faults) != 1 {
		t.Errorf("faults %v", faults)
	}
}

func TestMetrics(t *testing.T) {
	l := ledger.New(ledger.Options{})
	l.Note(event(t, "GET", "manifest", 200))
	l.Note(event(t, "GET", "manifest", 200))
	l.Note(event(t, "BREW", "", 404))
	var b strings.Builder
	if err := l.WriteMetrics(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"# TYPE camada_registry_requests_total counter\n",
		`camada_registry_requests_total{kind="manifest",method="GET",status="200"} 2` + "\n",
		`camada_registry_requests_total{kind="",method="other",status="404"} 1` + "\n",
		`camada_registry_sent_bytes_total{kind="manifest",method="GET",status="200"} 20` + "\n",
		`camada_registry_request_seconds_bucket{kind="manifest",method="GET",status="200",le="0.001"} 0` + "\n",
		`camada_registry_request_seconds_bucket{kind="manifest",method="GET",status="200",le="0.005"} 2` + "\n",
		`camada_registry_request_seconds_bucket{kind="manifest",method="GET",status="200",le="+Inf"} 2` + "\n",
		`camada_registry_request_seconds_count{kind="manifest",method="GET",status="200"} 2` + "\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in\n%s", want, b.String())
		}
	}
}
