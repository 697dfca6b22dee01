package admission

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/policy"
)

// judge says the same of each image: it waits until the time is over when it has no verdict.
type judge struct {
	verdict *policy.Decision
	asked   atomic.Int32
}

func (j *judge) Judge(ctx context.Context, _ string, _ Who) (string, *policy.Decision, error) {
	j.asked.Add(1)
	if j.verdict == nil {
		<-ctx.Done()
		return "", nil, errdefs.Unavailable("still at it")
	}
	return "sha256:0", j.verdict, nil
}

func pod(images ...string) string {
	var list []string
	for i, image := range images {
		list = append(list, fmt.Sprintf(`{"name":"c%d","image":%q}`, i, image))
	}
	return `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u","operation":"CREATE","kind":{"kind":"Pod"},"object":{"spec":{"containers":[` + strings.Join(list, ",") + `]}}}}`
}

func ask(t *testing.T, h http.Handler, method, path, body, contentType string) (int, response) {
	t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	var out answer
	if w.Code == http.StatusOK && method == http.MethodPost {
		if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
			t.Fatal(err)
		}
	}
	return w.Code, out.Response
}

// What takes too long, and what is too much, is refused.
func TestBounds(t *testing.T) {
	slow := New(&judge{}, Options{Timeout: time.Millisecond})
	if _, r := ask(t, slow, "POST", "/validate", pod("a"), "application/json"); r.Allowed || !strings.Contains(r.Status.Message, "cannot know: it took longer than 1ms") {
		t.Errorf("a slow judge: %+v", r)
	}
	j := &judge{verdict: &policy.Decision{Allowed: true}}
	h := New(j, Options{})
	var many []string
	for i := range maxImages + 1 {
		many = append(many, fmt.Sprint("a:", i))
	}
	if _, r := ask(t, h, "POST", "/validate", pod(many...), "application/json"); r.Allowed || !strings.Contains(r.Status.Message, "more than 100 images") {
		t.Errorf("many images: %+v", r)
	}
	if _, r := ask(t, h, "POST", "/validate", pod(strings.Repeat("a", maxName+1)), "application/json"); r.Allowed || !strings.Contains(r.Status.Message, "a name of 1025 bytes") || j.asked.Load() > maxImages {
		t.Errorf("a long name: %+v", r)
	}
	var fault error
	told := New(&judge{}, Options{Timeout: time.Millisecond, Fault: func(err error) { fault = err }})
	if ask(t, told, "POST", "/validate", pod("a\nb"), "application/json"); fault == nil || strings.Contains(fault.Error(), "\n") {
		t.Errorf("whoever makes a pod writes lines of the log: %v", fault)
	}
	j.asked.Store(0)
	if _, r := ask(t, h, "POST", "/validate", pod("a", "a", "b"), "application/json"); !r.Allowed || j.asked.Load() != 2 {
		t.Errorf("an image that is there twice is judged %d times: %+v", j.asked.Load(), r)
	}
	if code, _ := ask(t, h, "POST", "/validate", `{"a":"`+strings.Repeat("x", MaxReview)+`"}`, "application/json"); code != http.StatusRequestEntityTooLarge {
		t.Errorf("a long review: %d", code)
	}
	for _, tc := range []struct {
		method, path, contentType string
		want                      int
	}{
		{"GET", "/validate", "", http.StatusMethodNotAllowed}, {"POST", "/mutate", "application/json", http.StatusNotFound}, {"POST", "/", "application/json", http.StatusNotFound},
		{"POST", "/validate", "text/plain", http.StatusUnsupportedMediaType}, {"GET", "/readyz", "", http.StatusOK},
	} {
		if code, _ := ask(t, h, tc.method, tc.path, pod("a"), tc.contentType); code != tc.want {
			t.Errorf("%s %s: %d, want %d", tc.method, tc.path, code, tc.want)
		}
	}
}

// FuzzReview makes sure that whatever is sent, a pod with an image that is refused is not admitted.
func FuzzReview(f *testing.F) {
	f.Add([]byte(pod("a", "b@sha256:0")))
	f.Add([]byte(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u","operation":"UPDATE","kind":{"group":"batch","kind":"CronJob"},"object":{"spec":{"jobTemplate":{"spec":{"template":{"spec":{"volumes":[{"image":{"reference":"x"}}],"initContainers":[{"image":"y"}]}}}}}},"oldObject":null}}`))
	h := New(&judge{verdict: &policy.Decision{Results: []policy.Result{{Rule: "no", Verdict: policy.Fail}}}}, Options{Mutate: true})
	f.Fuzz(func(t *testing.T, data []byte) {
		q, err := parse(data)
		if err != nil {
			if !errdefs.IsInvalid(err) {
				t.Fatalf("no class: %v", err)
			}
			return
		}
		images, err := q.images()
		for _, mutate := range []bool{false, true} {
			if r := h.review(t.Context(), q, mutate); r.Allowed != (err == nil && len(images) == 0) {
				t.Fatalf("%d images, %v, and admitted: %v", len(images), err, r.Allowed)
			}
		}
	})
}
