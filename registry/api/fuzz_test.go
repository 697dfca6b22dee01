package api_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/camada/camada/reference"
	"github.com/camada/camada/registry"
	"github.com/camada/camada/registry/access"
	"github.com/camada/camada/registry/api"
	"github.com/camada/camada/registry/local"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// FuzzRequest sends whatever a client may send, as somebody who may do all in "mine" and nothing in "secret": every answer is one of the protocol's, none is
// a fault of the registry, and what is in "secret" is neither told nor changed.
func FuzzRequest(f *testing.F) {
	const hidden = "a hidden layer"
	d := digest.FromString(hidden)
	empty := digest.FromString("")
	for _, s := range [][]string{ // method, path, query, header, value, body
		{"POST", "/v2/mine/blobs/uploads/", "mount=" + d.String() + "&from=secret", "", "", ""},
		{"POST", "/v2/mine/blobs/uploads/", "mount=" + d.String(), "", "", ""},
		{"POST", "/v2/mine/blobs/uploads/", "digest=" + empty.String(), "Content-Type", "a/b", ""},
		{"POST", "/v2/mine/blobs/uploads/", "digest-algorithm=sha512", "", "", ""},
		{"PUT", "/v2/mine/manifests/x", "", "Content-Type", ocispec.MediaTypeImageManifest, `{"schemaVersion":2,"config":{"mediaType":"a/b","digest":"` + d.String() + `","size":14}}`},
		{"PUT", "/v2/mine/manifests/x", "tag=y&tag=z", "Content-Type", "a/b; c=d", `{"mediaType":"a/b"}`},
		{"PUT", "/v2/mine/manifests/" + d.String(), "tag=y", "If-Match", `"` + d.String() + `"`, `{}`},
		{"GET", "/v2/secret/blobs/" + d.String(), "", "Range", "bytes=0-3", ""}, {"GET", "/v2/mine/blobs/" + d.String(), "", "If-None-Match", "*", ""},
		{"GET", "/v2/mine/../secret/blobs/" + d.String(), "", "", "", ""}, {"DELETE", "/v2/secret/manifests/latest", "", "", "", ""},
		{"PATCH", "/v2/mine/blobs/uploads/x", "", "Content-Range", "0-4", "hello"}, {"PUT", "/v2/mine/blobs/uploads/../x", "digest=sha256:x", "", "", ""},
		{"GET", "/v2/mine/referrers/" + d.String(), "artifactType=a%2Fb&n=1&last=sha256:", "", "", ""}, {"GET", "/v2/_catalog", "n=0&last=%00", "", "", ""},
		{"GET", "/v2/mine/tags/list", "n=99999999999999999999", "", "", ""}, {"POST", "/v2/mine/_camada/history/x", "to=sha256:x", "If-Match", "\"\"", ""},
		{"POST", "/v2/_camada/registry/sweep", "dry-run=1", "", "", ""}, {"GET", "/v2/", ";", "Authorization", "x", ""}, {"OPTIONS", "*", "", "", "", ""},
	} {
		f.Add(s[0], s[1], s[2], s[3], s[4], s[5])
	}
	storage, err := local.Open(f.Context(), f.TempDir(), local.Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { storage.Close() })
	put(f, storage, "secret", "latest", hidden)
	rules := access.Rules{{Repositories: []string{"mine"}, Users: []string{"thief"}, Actions: access.Pull | access.Push | access.Delete}}
	fault := make(chan error, 100)
	h := api.New(storage, api.Options{Gate: byName{rules}, MaxBlob: 1 << 16, Fault: func(err error) { fault <- err }})
	f.Fuzz(func(t *testing.T, method, path, query, name, value, body string) {
		if strings.Contains(body, hidden) {
			return // who has it may push it
		}
		r := &http.Request{Method: method, URL: &url.URL{Path: path, RawQuery: query}, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Host: "reg.test", RemoteAddr: "192.0.2.1:1",
			Header: http.Header{}, Body: http.NoBody}
		if body != "" {
			r = httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(body))
			r.Method, r.URL = method, &url.URL{Path: path, RawQuery: query}
		}
		r = r.WithContext(t.Context())
		r.Header[http.CanonicalHeaderKey(name)] = []string{value}
		r.Header.Set("User", "thief")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		select {
		case err := <-fault:
			t.Errorf("%s %q?%q: a fault of the registry: %v", method, path, query, err)
		default:
		}
		if w.Code < 200 || w.Code >= 500 {
			t.Errorf("%s %q?%q: %d %s", method, path, query, w.Code, w.Body)
		}
		if strings.Contains(w.Body.String(), hidden) {
			t.Errorf("%s %q?%q tells what is hidden", method, path, query)
		}
		if location := w.Header().Get("Location"); location != "" && !strings.HasPrefix(location, "/v2/mine/") {
			t.Errorf("%s %q?%q leads to %q", method, path, query, location)
		}
		for key, values := range w.Header() {
			if slices.ContainsFunc(values, func(v string) bool { return strings.ContainsAny(v, "\r\n\x00") }) {
				t.Errorf("%s %q?%q: %s is %q", method, path, query, key, values)
			}
		}
		var e struct {
			Errors []struct{ Code, Message string }
		}
		if w.Code >= 400 && method != http.MethodHead && (json.Unmarshal(w.Body.Bytes(), &e) != nil || len(e.Errors) != 1 || !slices.Contains(codes, e.Errors[0].Code)) {
			t.Errorf("%s %q?%q: %d with the body %q", method, path, query, w.Code, w.Body)
		}
		unchanged(t, storage, d)
	})
}

// put stores an image of one blob.
func put(f *testing.F, storage registry.Storage, repository, tag, blob string) {
	f.Helper()
	d := digest.FromString(blob)
	if err := storage.PutBlob(f.Context(), repository, ocispec.Descriptor{Digest: d, Size: int64(len(blob))}, strings.NewReader(blob)); err != nil {
		f.Fatal(err)
	}
	m, err := registry.ParseManifest(ocispec.MediaTypeImageManifest, []byte(`{"schemaVersion":2,"config":{"mediaType":"a/b","digest":"`+d.String()+`","size":14}}`), digest.SHA256)
	if err == nil {
		err = storage.PutManifest(f.Context(), repository, m, registry.PutOptions{Tags: []string{tag}})
	}
	if err != nil {
		f.Fatal(err)
	}
}

// unchanged looks whether there is what was put, and nothing of it elsewhere.
func unchanged(t *testing.T, storage registry.Storage, hidden digest.Digest) {
	t.Helper()
	if _, err := storage.StatBlob(t.Context(), "secret", hidden); err != nil {
		t.Error(err)
	}
	if _, err := storage.Tag(t.Context(), "secret", "latest"); err != nil {
		t.Error(err)
	}
	if _, err := storage.StatBlob(t.Context(), "mine", hidden); err == nil {
		t.Error("what is hidden was mounted")
	}
	for _, of := range []string{"secret", "mine"} {
		tags, err := storage.ListTags(t.Context(), of, "", -1)
		if err != nil || of == "secret" && len(tags) != 1 || slices.ContainsFunc(tags, func(s string) bool { return !reference.ValidTag(s) }) {
			t.Errorf("tags of %s: %q, %v", of, tags, err)
		}
	}
	names, err := storage.ListRepositories(t.Context(), "", -1)
	if err != nil || slices.ContainsFunc(names, func(s string) bool { return s != "secret" && s != "mine" }) {
		t.Errorf("repositories %q, %v", names, err)
	}
}
