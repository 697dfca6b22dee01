package admission

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/camada/camada/errdefs"
)

// The version of reviews.
const (
	version = "admission.k8s.io/v1"
	kind    = "AdmissionReview"
)

// request is the part of an AdmissionRequest that is looked at.
type request struct {
	UID       string `json:"uid"`
	Namespace string `json:"namespace"`
	Operation string `json:"operation"`
	Kind      struct {
		Group string `json:"group"`
		Kind  string `json:"kind"`
	} `json:"kind"`
	SubResource string `json:"subResource"`
	UserInfo    struct {
		Username string `json:"username"`
	} `json:"userInfo"`
	Object    json.RawMessage `json:"object"`
	OldObject json.RawMessage `json:"oldObject"`
}

// answer is an AdmissionReview with a response.
type answer struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Response   response `json:"response"`
}

// response is an AdmissionResponse.
type response struct {
	UID       string   `json:"uid"`
	Allowed   bool     `json:"allowed"`
	Status    *status  `json:"status,omitempty"`
	Warnings  []string `json:"warnings,omitempty"`
	PatchType string   `json:"patchType,omitempty"`
	// Patch is a JSON Patch (RFC 6902), in base64.
	Patch []byte `json:"patch,omitempty"`
}

type status struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Reason  string `json:"reason,omitempty"`
}

type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value string `json:"value"`
}

func (r response) no(code int, message string) response {
	r.Allowed, r.Status = false, &status{Code: code, Message: message}
	if code == 403 {
		r.Status.Reason = "Forbidden"
	}
	return r
}

func (r response) patched(ops []operation) response {
	if len(ops) == 0 {
		return r
	}
	data, err := json.Marshal(ops)
	if err != nil {
		return r.no(500, "cannot know: the patch cannot be written")
	}
	r.PatchType, r.Patch = "JSONPatch", data
	return r
}

// parse reads an AdmissionReview.
func parse(data []byte) (*request, error) {
	var review struct {
		APIVersion string   `json:"apiVersion"`
		Kind       string   `json:"kind"`
		Request    *request `json:"request"`
	}
	if err := json.Unmarshal(data, &review); err != nil {
		return nil, errdefs.Invalid("not the JSON of an AdmissionReview")
	}
	if review.APIVersion != version || review.Kind != kind {
		return nil, errdefs.Invalid("want %s %s, not %.50q %.50q", version, kind, review.APIVersion, review.Kind)
	}
	if review.Request == nil || review.Request.UID == "" {
		return nil, errdefs.Invalid("the AdmissionReview has no request")
	}
	return review.Request, nil
}

// container is the part of one that is looked at.
type container struct {
	Name  string `json:"name"`
	Image string `json:"image"`
}

// podSpec is the part of one that is looked at.
type podSpec struct {
	Containers          []container `json:"containers"`
	InitContainers      []container `json:"initContainers"`
	EphemeralContainers []container `json:"ephemeralContainers"`
	Volumes             []struct {
		Image *struct {
			Reference string `json:"reference"`
		} `json:"image"`
	} `json:"volumes"`
}

// used is an image, and where in the object it stands (RFC 6901).
type used struct{ name, path string }

// podPath is where in an object of a kind a pod is described; nil for others.
func (q *request) podPath() []string {
	switch q.Kind.Group + "/" + q.Kind.Kind {
	case "/Pod":
		return []string{"spec"}
	case "/PodTemplate":
		return []string{"template", "spec"}
	case "apps/Deployment", "apps/StatefulSet", "apps/DaemonSet", "apps/ReplicaSet", "batch/Job", "/ReplicationController":
		return []string{"spec", "template", "spec"}
	case "batch/CronJob":
		return []string{"spec", "jobTemplate", "spec", "template", "spec"}
	}
	return nil
}

// images are those of the object, without those that an update leaves as they were: what was admitted under another policy must still be let go, scaled or labelled.
func (q *request) images() ([]used, error) {
	path := q.podPath()
	if path == nil || q.Operation == "DELETE" || q.Operation == "CONNECT" {
		return nil, nil
	}
	if q.Operation != "CREATE" && q.Operation != "UPDATE" {
		return nil, errdefs.Invalid("the operation %.50q is not known", q.Operation)
	}
	now, err := imagesAt(q.Object, path)
	if err != nil {
		return nil, fmt.Errorf("the %s: %w", q.Kind.Kind, err)
	}
	if q.Operation != "UPDATE" {
		return now, nil
	}
	before, err := imagesAt(q.OldObject, path)
	if err != nil {
		return nil, fmt.Errorf("the %s as it was: %w", q.Kind.Kind, err)
	}
	return slices.DeleteFunc(now, func(u used) bool {
		return slices.ContainsFunc(before, func(b used) bool { return b.name == u.name })
	}), nil
}

// imagesAt are the images of a pod that is described at a path.
func imagesAt(object json.RawMessage, path []string) ([]used, error) {
	for _, key := range path {
		var m map[string]json.RawMessage
		if err := json.Unmarshal(object, &m); err != nil {
			return nil, errdefs.Invalid("%s is missing", strings.Join(path, "."))
		}
		// A Kubernetes reads keys to the letter.
		if object = m[key]; len(bytes.TrimSpace(object)) == 0 || string(object) == "null" {
			return nil, errdefs.Invalid("%s is missing", strings.Join(path, "."))
		}
	}
	if err := exactKeys(object); err != nil {
		return nil, err
	}
	var spec podSpec
	if err := json.Unmarshal(object, &spec); err != nil {
		return nil, errdefs.Invalid("%s is not that of a pod", strings.Join(path, "."))
	}
	at := "/" + strings.Join(path, "/")
	var out []used
	add := func(key string, list []container) error {
		for i, c := range list {
			if strings.TrimSpace(c.Image) == "" {
				return errdefs.Invalid("the container %.100q has no image", c.Name)
			}
			out = append(out, used{c.Image, at + "/" + key + "/" + strconv.Itoa(i) + "/image"})
		}
		return nil
	}
	for _, l := range []struct {
		key  string
		list []container
	}{{"initContainers", spec.InitContainers}, {"containers", spec.Containers}, {"ephemeralContainers", spec.EphemeralContainers}} {
		if err := add(l.key, l.list); err != nil {
			return nil, err
		}
	}
	for i, v := range spec.Volumes {
		if v.Image != nil && v.Image.Reference != "" {
			out = append(out, used{v.Image.Reference, at + "/volumes/" + strconv.Itoa(i) + "/image/reference"})
		}
	}
	return out, nil
}

// exactKeys refuses keys that encoding/json would take for those of a pod although they are written in another case: a Kubernetes would not, and so see other images.
func exactKeys(spec json.RawMessage) error {
	var m map[string]json.RawMessage
	if err := json.Unmarshal(spec, &m); err != nil {
		return errdefs.Invalid("the description of the pod is no object")
	}
	for key, value := range m {
		for _, known := range []string{"containers", "initContainers", "ephemeralContainers", "volumes"} {
			switch {
			case key == known && known != "volumes":
				if err := exactImages(value); err != nil {
					return err
				}
			case key != known && strings.EqualFold(key, known):
				return errdefs.Invalid("the key %.50q is written unlike %s", key, known)
			}
		}
	}
	return nil
}

func exactImages(list json.RawMessage) error {
	var items []map[string]json.RawMessage
	if err := json.Unmarshal(list, &items); err != nil {
		return errdefs.Invalid("want lists of containers")
	}
	for _, c := range items {
		for key := range c {
			if key != "image" && strings.EqualFold(key, "image") {
				return errdefs.Invalid("the key %.50q is written unlike image", key)
			}
		}
	}
	return nil
}
