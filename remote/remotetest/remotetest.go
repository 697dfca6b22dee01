// Package remotetest is a registry for tests: it keeps all in memory, counts what it is asked, and misbehaves
// when it is told to.
//
//	r := remotetest.Start(t)
//	repo := client.Repository(r.Ref("app:1"))
//	r.Before = func(w http.ResponseWriter, req *http.Request) bool { ... } // true: answered
package remotetest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/camada/camada/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Registry is a registry. Its fields are set before it is asked anything.
type Registry struct {
	// Referrers offers the referrers API.
	Referrers bool
	// NoMount refuses to mount blobs.
	NoMount bool
	// NoTagDelete refuses to remove tags: manifests are removed by their digests.
	NoTagDelete bool
	// MinPiece is the least size of a piece that uploads are told.
	MinPiece int64
	// MaxBody is how many bytes a request may have; 0 is any number.
	MaxBody int64
	// Forgetful keeps no bytes of an upload that was cut off.
	Forgetful bool
	// Page is how many tags a page has; 0 is all.
	Page int
	// Before sees each request first; when it returns true it has answered. Once there were requests it is changed by Meet.
	Before func(http.ResponseWriter, *http.Request) bool
	// Address is host:port.
	Address string

	mu        sync.Mutex
	blobs     map[string]map[string][]byte   // repository, digest
	manifests map[string]map[string]document // repository, tag or digest
	uploads   map[string][]byte
	calls     []string
}

type document struct {
	mediaType string
	data      []byte
}

// New returns a registry that nobody serves yet.
func New() *Registry {
	return &Registry{blobs: map[string]map[string][]byte{}, manifests: map[string]map[string]document{}, uploads: map[string][]byte{}}
}

// Start serves a registry until the test ends.
func Start(t testing.TB) *Registry {
	t.Helper()
	r := New()
	s := httptest.NewServer(r)
	t.Cleanup(s.Close)
	r.Address = strings.TrimPrefix(s.URL, "http://")
	return r
}

// Ref is a name in this registry.
func (r *Registry) Ref(name string) reference.Reference {
	ref, err := reference.Parse(r.Address + "/" + name)
	if err != nil {
		panic(err)
	}
	return ref
}

// Calls are the requests so far, as "GET blobs/sha256:…" without the repository; those that begin with prefix.
func (r *Registry) Calls(prefix string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, c := range r.calls {
		if strings.HasPrefix(c, prefix) {
			out = append(out, c)
		}
	}
	return out
}

// Forget forgets the requests so far.
func (r *Registry) Forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = nil
}

// Damage changes a byte of a blob in all repositories.
func (r *Registry) Damage(d digest.Digest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, repo := range r.blobs {
		if b, ok := repo[d.String()]; ok && len(b) > 0 {
			b = bytes.Clone(b)
			b[len(b)/2] ^= 1
			repo[d.String()] = b
		}
	}
}

// Remove removes a blob or manifest from all repositories.
func (r *Registry) Remove(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, repo := range r.blobs {
		delete(repo, name)
	}
	for _, repo := range r.manifests {
		delete(repo, name)
	}
}

// Meet changes Before, also while requests come.
func (r *Registry) Meet(before func(http.ResponseWriter, *http.Request) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Before = before
}

// ServeHTTP implements http.Handler.
func (r *Registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	path := strings.TrimPrefix(req.URL.Path, "/v2/")
	repo, kind, name := split(path)
	r.mu.Lock()
	r.calls = append(r.calls, req.Method+" "+strings.TrimSuffix(kind+"/"+name, "/"))
	before := r.Before
	r.mu.Unlock()
	if before != nil && before(w, req) {
		return
	}
	switch kind {
	case "":
		if repo == "_catalog" {
			r.catalog(w)
			return
		}
		w.WriteHeader(http.StatusOK)
	case "manifests":
		r.manifest(w, req, repo, name)
	case "blobs":
		r.blob(w, req, repo, name)
	case "uploads":
		r.upload(w, req, repo, name)
	case "tags":
		r.tags(w, req, repo)
	case "referrers":
		r.referrers(w, req, repo, name)
	}
}

// split takes a path apart: REPOSITORY/KIND/NAME.
func split(path string) (repo, kind, name string) {
	for _, k := range []string{"/blobs/uploads/", "/blobs/", "/manifests/", "/tags/", "/referrers/"} {
		if i := strings.LastIndex(path, k); i > 0 {
			kind = strings.Trim(k, "/")
			return path[:i], kind[strings.LastIndex(kind, "/")+1:], path[i+len(k):]
		}
	}
	return path, "", ""
}

// Fail answers with an error of the distribution-spec.
func Fail(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"errors":[{"code":%q,"message":%q}]}`, code, strings.ToLower(strings.ReplaceAll(code, "_", " ")))
}

func (r *Registry) manifest(w http.ResponseWriter, req *http.Request, repo, name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if req.Method == http.MethodPut {
		data, err := io.ReadAll(req.Body)
		if err != nil {
			Fail(w, http.StatusBadRequest, "MANIFEST_INVALID")
			return
		}
		d := digest.FromBytes(data)
		var m ocispec.Manifest
		if json.Unmarshal(data, &m) == nil {
			for _, b := range append(m.Layers, m.Config) {
				if b.Digest != "" && len(b.URLs) == 0 && r.blobs[repo][b.Digest.String()] == nil {
					Fail(w, http.StatusBadRequest, "MANIFEST_BLOB_UNKNOWN")
					return
				}
			}
		}
		if r.manifests[repo] == nil {
			r.manifests[repo] = map[string]document{}
		}
		doc := document{req.Header.Get("Content-Type"), data}
		r.manifests[repo][name], r.manifests[repo][d.String()] = doc, doc
		w.Header().Set("Docker-Content-Digest", d.String())
		if m.Subject != nil && r.Referrers {
			w.Header().Set("OCI-Subject", m.Subject.Digest.String())
		}
		w.WriteHeader(http.StatusCreated)
		return
	}
	doc, ok := r.manifests[repo][name]
	if !ok {
		Fail(w, http.StatusNotFound, "MANIFEST_UNKNOWN")
		return
	}
	if req.Method == http.MethodDelete {
		r.remove(w, repo, name)
		return
	}
	w.Header().Set("Content-Type", doc.mediaType)
	w.Header().Set("Docker-Content-Digest", digest.FromBytes(doc.data).String())
	w.Header().Set("Content-Length", strconv.Itoa(len(doc.data)))
	if req.Method == http.MethodGet {
		_, _ = w.Write(doc.data)
	}
}

// remove removes a tag, or a manifest with all its tags.
func (r *Registry) remove(w http.ResponseWriter, repo, name string) {
	if !strings.Contains(name, ":") && r.NoTagDelete {
		Fail(w, http.StatusMethodNotAllowed, "UNSUPPORTED")
		return
	}
	for at, doc := range r.manifests[repo] {
		if at == name || digest.FromBytes(doc.data).String() == name {
			delete(r.manifests[repo], at)
		}
	}
	w.WriteHeader(http.StatusAccepted)
}

func (r *Registry) blob(w http.ResponseWriter, req *http.Request, repo, name string) {
	r.mu.Lock()
	data, ok := r.blobs[repo][name]
	r.mu.Unlock()
	if !ok {
		Fail(w, http.StatusNotFound, "BLOB_UNKNOWN")
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, req, "", time.Time{}, bytes.NewReader(data))
}

func (r *Registry) upload(w http.ResponseWriter, req *http.Request, repo, name string) {
	if r.MaxBody > 0 && req.ContentLength > r.MaxBody {
		Fail(w, http.StatusRequestEntityTooLarge, "SIZE_INVALID")
		return
	}
	r.mu.Lock()
	have, known := r.uploads[name]
	r.mu.Unlock()
	if name != "" && !known {
		Fail(w, http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN")
		return
	}
	if first, _, ok := strings.Cut(req.Header.Get("Content-Range"), "-"); ok && first != strconv.Itoa(len(have)) {
		Fail(w, http.StatusRequestedRangeNotSatisfiable, "BLOB_UPLOAD_INVALID")
		return
	}
	data, err := io.ReadAll(req.Body)
	r.mu.Lock()
	defer r.mu.Unlock()
	all := append(slices.Clone(have), data...)
	if err != nil {
		if name != "" && !r.Forgetful {
			r.uploads[name] = all
		}
		panic(http.ErrAbortHandler) // nobody hears an answer
	}
	q := req.URL.Query()
	status := http.StatusAccepted
	switch req.Method {
	case http.MethodPost:
		if b, ok := r.blobs[q.Get("from")][q.Get("mount")]; ok && !r.NoMount {
			r.store(repo, q.Get("mount"), b)
			w.WriteHeader(http.StatusCreated)
			return
		}
		name, all = fmt.Sprintf("u%d", len(r.calls)), []byte{}
		if r.MinPiece > 0 {
			w.Header().Set("OCI-Chunk-Min-Length", strconv.FormatInt(r.MinPiece, 10))
		}
	case http.MethodGet:
		status = http.StatusNoContent
	case http.MethodPut:
		delete(r.uploads, name)
		if digest.FromBytes(all).String() != q.Get("digest") {
			Fail(w, http.StatusBadRequest, "DIGEST_INVALID")
			return
		}
		r.store(repo, q.Get("digest"), all)
		w.WriteHeader(http.StatusCreated)
		return
	case http.MethodDelete:
		delete(r.uploads, name)
		w.WriteHeader(http.StatusNoContent)
		return
	}
	r.uploads[name] = all
	w.Header().Set("Range", fmt.Sprintf("0-%d", max(len(all)-1, 0)))
	w.Header().Set("Location", "/v2/"+repo+"/blobs/uploads/"+name+"?state="+url.QueryEscape("a b"))
	w.WriteHeader(status)
}

// Uploads is how many uploads were begun and did not end.
func (r *Registry) Uploads() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.uploads)
}

// ForgetUploads removes all uploads that did not end.
func (r *Registry) ForgetUploads() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.uploads)
}

// DamageUploads changes a byte of each upload that did not end.
func (r *Registry) DamageUploads() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range r.uploads {
		if len(b) > 0 {
			b[0] ^= 1
		}
	}
}

func (r *Registry) store(repo, dgst string, data []byte) {
	if r.blobs[repo] == nil {
		r.blobs[repo] = map[string][]byte{}
	}
	r.blobs[repo][dgst] = data
}

func (r *Registry) catalog(w http.ResponseWriter) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = json.NewEncoder(w).Encode(map[string]any{"repositories": slices.Sorted(maps.Keys(r.manifests))})
}

func (r *Registry) tags(w http.ResponseWriter, req *http.Request, repo string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	tags := []string{}
	for name := range r.manifests[repo] {
		if !strings.Contains(name, ":") && name > req.URL.Query().Get("last") {
			tags = append(tags, name)
		}
	}
	slices.Sort(tags)
	if r.Page > 0 && len(tags) > r.Page {
		tags = tags[:r.Page]
		w.Header().Set("Link", fmt.Sprintf(`</v2/%s/tags/list?n=%d&last=%s>; rel="next"`, repo, r.Page, tags[r.Page-1]))
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"name": repo, "tags": tags})
}

func (r *Registry) referrers(w http.ResponseWriter, _ *http.Request, repo, name string) {
	if !r.Referrers {
		http.NotFound(w, nil)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	idx := ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{}}
	idx.SchemaVersion = 2
	for at, doc := range r.manifests[repo] {
		var m ocispec.Manifest
		if !strings.Contains(at, ":") || json.Unmarshal(doc.data, &m) != nil || m.Subject == nil || m.Subject.Digest.String() != name {
			continue
		}
		kind := m.ArtifactType
		if kind == "" {
			kind = m.Config.MediaType
		}
		idx.Manifests = append(idx.Manifests, ocispec.Descriptor{MediaType: doc.mediaType, Digest: digest.Digest(at), Size: int64(len(doc.data)), ArtifactType: kind, Annotations: m.Annotations})
	}
	w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
	_ = json.NewEncoder(w).Encode(idx)
}
