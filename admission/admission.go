// Package admission answers a Kubernetes whether pods may be admitted (AdmissionReview, admission.k8s.io/v1).
//
//	h := admission.New(judge, admission.Options{Mutate: true, Exempt: []string{"kube-system"}})
//	server := &http.Server{Handler: h, TLSConfig: …}
//
// A review is of a pod, or of what makes pods: Deployment, StatefulSet, DaemonSet, ReplicaSet, ReplicationController, Job, CronJob, PodTemplate. The images of all its containers, of those
// that start before it and of those that are added to a running one, are shown to a Judge. Everything else that is asked about is allowed: nothing of it has images.
//
// At /validate it says yes or no; at /mutate it writes the digest of each image beside its tag, so that what was judged is what runs. Whatever goes wrong is a no.
package admission

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/pattern"
	"github.com/camada/camada/policy"
)

// The bounds of a review.
const (
	// MaxReview is the size of a request in bytes. A Kubernetes keeps objects of 3 MB at most, and an update has two of them.
	MaxReview = 8 << 20
	// maxImages is how many different images one object may have.
	maxImages = 100
	// maxName is how long the name of an image may be, in bytes: one with a tag and a digest has less than half of it.
	maxName = 1024
	// atOnce is how many reviews wait for their images at the same time. What waits is names.
	atOnce = 512
)

// Judge says whether an image may be deployed. It is used by many goroutines.
type Judge interface {
	// Judge judges the image that a name stands for now. digest is that of the manifest or index behind the name, "" when that is not known. Errors mean that it cannot
	// be known, which is a no.
	Judge(ctx context.Context, name string, w Who) (digest string, d *policy.Decision, err error)
}

// Who asks, and where.
type Who struct{ Namespace, User string }

// Options of a Handler.
type Options struct {
	// Mutate answers at /mutate.
	Mutate bool
	// Exempt are patterns of namespaces whose objects are allowed without a look.
	Exempt []string
	// Timeout is how long one review may take; 0 is DefaultTimeout.
	Timeout time.Duration
	// Fault is told of what could not be found out; nil drops it.
	Fault func(error)
}

// DefaultTimeout is less than the 10 seconds that a Kubernetes waits.
const DefaultTimeout = 8 * time.Second

// Handler is the http.Handler.
type Handler struct {
	judge Judge
	opts  Options
	slots chan struct{}
}

// New returns a handler.
func New(judge Judge, opts Options) *Handler {
	if opts.Timeout <= 0 {
		opts.Timeout = DefaultTimeout
	}
	if opts.Fault == nil {
		opts.Fault = func(error) {}
	}
	return &Handler{judge: judge, opts: opts, slots: make(chan struct{}, atOnce)}
}

// ServeHTTP answers a request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/livez" || r.URL.Path == "/readyz":
		_, _ = io.WriteString(w, "ok\n")
		return
	case r.URL.Path != "/validate" && (r.URL.Path != "/mutate" || !h.opts.Mutate):
		http.NotFound(w, r)
		return
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "want POST", http.StatusMethodNotAllowed)
		return
	}
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		http.Error(w, "want application/json", http.StatusUnsupportedMediaType)
		return
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxReview))
	if err != nil {
		http.Error(w, "the review is too long, or has no end", http.StatusRequestEntityTooLarge)
		return
	}
	review, err := parse(data)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	body, err := json.Marshal(answer{APIVersion: version, Kind: kind, Response: h.review(r.Context(), review, r.URL.Path == "/mutate")})
	if err != nil {
		http.Error(w, "the answer cannot be written", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body) // who went away is told nothing
}

// review judges all images of an object, or finds their digests.
func (h *Handler) review(ctx context.Context, q *request, mutate bool) response {
	out := response{UID: q.UID, Allowed: true}
	if pattern.Any(h.opts.Exempt, q.Namespace) {
		return out
	}
	images, err := q.images()
	if err != nil {
		return out.no(http.StatusBadRequest, err.Error())
	}
	q.Object, q.OldObject = nil, nil
	if len(images) == 0 {
		return out
	}
	ctx, cancel := context.WithTimeout(ctx, h.opts.Timeout)
	defer cancel()
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	case <-ctx.Done():
		return out.no(http.StatusTooManyRequests, "cannot know: too many reviews at once")
	}
	judged := map[string]verdict{}
	for _, i := range images {
		if len(i.name) > maxName {
			return out.no(http.StatusBadRequest, fmt.Sprintf("the image %.100q has a name of %d bytes, more than %d", i.name, len(i.name), maxName))
		}
		if _, done := judged[i.name]; !done {
			if len(judged) == maxImages {
				return out.no(http.StatusBadRequest, fmt.Sprintf("more than %d images", maxImages))
			}
			judged[i.name] = h.ask(ctx, i.name, Who{q.Namespace, q.UserInfo.Username})
		}
	}
	var no []string
	var patch []operation
	told := map[string]bool{}
	for _, i := range images {
		v := judged[i.name]
		if mutate && v.digest != "" && !strings.Contains(i.name, "@") {
			patch = append(patch, operation{"replace", i.path, i.name + "@" + v.digest})
		}
		if told[i.name] {
			continue
		}
		told[i.name] = true
		out.Warnings = append(out.Warnings, v.warnings...)
		if v.no != "" {
			no = append(no, v.no)
		}
	}
	if len(no) > 0 {
		return out.no(http.StatusForbidden, strings.Join(no, "\n"))
	}
	return out.patched(patch)
}

// verdict is what is said of one image; no is empty when it is allowed.
type verdict struct {
	digest   string
	no       string
	warnings []string
}

func (h *Handler) ask(ctx context.Context, name string, w Who) verdict {
	dgst, d, err := h.judge.Judge(ctx, name, w)
	v := verdict{digest: dgst}
	if err != nil {
		if ctx.Err() != nil && !errors.Is(err, context.Canceled) {
			err = errdefs.Unavailable("it took longer than %s: %w", h.opts.Timeout, err)
		}
		h.opts.Fault(fmt.Errorf("judge %q: %w", name, err)) // whoever makes a pod chooses the name
		v.no = fmt.Sprintf("%s: cannot know: %v", name, err)
		return v
	}
	for _, r := range d.Warnings() {
		v.warnings = append(v.warnings, short("policy: "+name+": "+r.String()))
	}
	if err := d.Err(); err != nil {
		v.no = err.Error()
	}
	return v
}

// short cuts a warning: a Kubernetes drops those that are long (at most 256 characters are kept).
func short(s string) string {
	if r := []rune(s); len(r) > 250 {
		return string(r[:247]) + "..."
	}
	return s
}
