package remote_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image/imagetest"
	"github.com/camada/camada/remote"
	"github.com/camada/camada/remote/remotetest"
	"github.com/camada/camada/transfer"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// requirements are what the distribution-spec 1.1 requires of a client (MUST and SHOULD), by its sections, in their order and in its words,
// and the test that holds us to it, which names the section.
var requirements = []struct{ section, text, test string }{
	{"Pulling manifests", "The client SHOULD include an `Accept` header indicating which manifest content types it supports", "TestManifestHeaders"},
	{"Pulling manifests", "The client SHOULD ignore parameters on the `Content-Type` header", "TestManifestHeaders"},
	{"Pulling manifests", "clients SHOULD reject unless the `mediaType` field's value matches the type", "TestManifestHeaders"},
	{"Pulling manifests", "if it is used, the client MUST verify the value matches the returned manifest", "TestLies"},
	{"Pulling manifests", "clients SHOULD verify the returned manifest matches this digest", "TestLies"},
	{"Pulling blobs", "Clients SHOULD verify that the response body matches the requested digest", "TestLies"},
	{"POST then PUT", "it SHOULD match exactly the `<blob-push-location>` obtained from the `POST` request", "TestLocations"},
	{"POST then PUT", "It SHOULD NOT be assembled manually by clients", "TestLocations"},
	{"Pushing a blob in chunks", "the post request SHOULD include the `digest-algorithm` parameter", "TestAlgorithm"},
	{"Pushing a blob in chunks", "MUST be inclusive on both ends", "TestPushAndPull"},
	{"Pushing a blob in chunks", "The first chunk's range MUST begin with `0`", "TestPushAndPull"},
	{"Pushing a blob in chunks", "SHOULD use the `<blob-push-location>` provided in the response to the previous chunk upload", "TestLocations"},
	{"Pushing a blob in chunks", "Chunks MUST be uploaded in order", "TestPushAndPull"},
	{"Pushing a blob in chunks", "the session MUST be closed with a `PUT` request", "TestPushAndPull"},
	{"Pushing a blob in chunks", "The closing `PUT` request MUST include the `<digest>` of the whole blob", "TestPushAndPull"},
	{"Cancel a blob upload", "Clients SHOULD send this request when aborting a blob upload", "TestMount"},
	{"Cancel a blob upload", "Clients SHOULD ignore any failures", "TestMount"},
	{"Pushing Manifests", "Clients SHOULD set the `Content-Type` header to the type of the manifest being pushed", "TestManifestHeaders"},
	{"Pushing Manifests", "The client SHOULD NOT include parameters on the `Content-Type` header", "TestManifestHeaders"},
	{"Pushing Manifests", "clients MUST set the `Content-Type` header to the value specified by the `mediaType` field", "TestManifestHeaders"},
	{"Pushing Manifests", "SHOULD expect to be able to support manifest pushes of at least 4 megabytes", "TestManifestHeaders"},
	{"Pushing Manifests with Subject", "the client SHOULD report a failure and skip the remaining steps", "TestTaggedReferrers"},
	{"Pushing Manifests with Subject", "the client MUST begin with an empty image index", "TestTaggedReferrers"},
	{"Pushing Manifests with Subject", "duplicate entries SHOULD NOT be created", "TestTaggedReferrers"},
	{"Pushing Manifests with Subject", "The value of the `artifactType` MUST be set to the `artifactType` value in the pushed manifest, if present", "TestTaggedReferrers"},
	{"Pushing Manifests with Subject", "the value of `artifactType` MUST be set to the config descriptor `mediaType` value", "TestTaggedReferrers"},
	{"Pushing Manifests with Subject", "All annotations from the pushed manifest MUST be copied to this descriptor", "TestTaggedReferrers"},
	{"Listing Referrers", "the client MUST fallback to pulling the", "TestReferrers"},
	{"Listing Referrers", "the client SHOULD assume there are no referrers to the manifest", "TestTaggedReferrers"},
	{"Deleting Manifests", "and the [referrers API](#listing-referrers) returns a 404, clients SHOULD", "TestDeleteReferrer"},
	{"Registry Proxying", "A client SHOULD avoid sending `ns` query parameters to non-proxy registries", "TestManifestHeaders"},
	{"Unavailable Referrers API", "MUST verify the [referrers API](#listing-referrers) is available or fallback to updating the image index", "TestReferrers"},
	{"Unavailable Referrers API", "MUST fallback to using an image index pushed to a tag", "TestReferrers"},
	{"Referrers Tag Schema", "The Truncated Algorithm associated with a Content Digest MUST match", "TestReferrersTag"},
	{"Referrers Tag Schema", "The Truncated Encoded section associated with a Content Digest MUST match", "TestReferrersTag"},
	{"API", "MUST NOT forward `Authorization` headers across host boundaries", "TestRedirect"},
	{"Error Codes", "SHOULD include a `Retry-After` header", "TestRetry"},
	{"Warnings", "it SHOULD report the warnings to the user in an unobtrusive way", "TestWarnings"},
	{"Warnings", "Clients SHOULD deduplicate warnings from multiple associated responses", "TestWarnings"},
	{"Warnings", "clients MUST NOT take any automated action based on the presence or contents of warnings", "TestWarnings"},
}

// TestSpecification looks whether each requirement has a test that names the section.
func TestSpecification(t *testing.T) {
	names, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	tests := make(map[string]string)
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, name, text, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Doc != nil {
				tests[f.Name.Name] = string(text[files.Position(f.Doc.Pos()).Offset:files.Position(f.End()).Offset])
			}
		}
	}
	for _, r := range requirements {
		if text, ok := tests[r.test]; !ok || !strings.Contains(text, `"`+r.section+`"`) {
			t.Errorf("%q: %s is not there, or does not name the section", r.section, r.test)
		}
	}
}

// TestManifestHeaders: what is asked for and sent ("Pulling manifests", "Pushing Manifests"), and of whom it is not said ("Registry Proxying").
func TestManifestHeaders(t *testing.T) {
	ctx := context.Background()
	reg := remotetest.Start(t)
	repo := client(t, remote.Options{}).Repository(reg.Ref("app"))
	src := &imagetest.Memory{}
	desc := sample(t, src, 100)
	kind := "" // of what is answered
	reg.Before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Has("ns") {
			t.Errorf("%s %s: this is no proxy", r.Method, r.URL)
		}
		if !strings.Contains(r.URL.Path, "/manifests/") {
			return false
		}
		if accept := r.Header.Values("Accept"); r.Method != http.MethodPut && !slices.Contains(accept, ocispec.MediaTypeImageIndex) {
			t.Errorf("%s accepts %q", r.Method, accept)
		}
		if got := r.Header.Get("Content-Type"); r.Method == http.MethodPut && got != desc.MediaType {
			t.Errorf("a manifest is sent as %q", got)
		}
		if kind != "" && r.Method == http.MethodGet {
			data, err := content.ReadAll(ctx, src, desc, 1<<20)
			if err != nil {
				t.Error(err)
			}
			w.Header().Set("Content-Type", kind)
			_, _ = w.Write(data)
			return true
		}
		return false
	}
	if err := transfer.Push(ctx, src, repo.Target("1", desc), desc, transfer.Options{}); err != nil {
		t.Fatal(err)
	}
	kind = desc.MediaType + "; charset=utf-8"
	if got, _, err := repo.Manifest(ctx, "1"); err != nil || got.MediaType != desc.MediaType {
		t.Errorf("with a parameter: %+v, %v", got, err)
	}
	kind = ocispec.MediaTypeImageIndex
	got, _, err := repo.Manifest(ctx, "1")
	if err == nil {
		err = transfer.Copy(ctx, repo, &imagetest.Memory{}, got, transfer.Options{})
	}
	if !errdefs.IsCorrupt(err) && !errdefs.IsInvalid(err) {
		t.Errorf("a manifest that is sent as an index: %v", err)
	}
	kind = ""
	big := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: ocispec.DescriptorEmptyJSON, Layers: []ocispec.Descriptor{},
		Annotations: map[string]string{"note": strings.Repeat("x", 4_000_000)}}
	big.SchemaVersion = 2
	if _, err := content.WriteBlob(ctx, src, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	large, err := content.WriteJSON(ctx, src, big.MediaType, big)
	if err != nil {
		t.Fatal(err)
	}
	if err := transfer.Push(ctx, src, repo.Target("big", large), large, transfer.Options{}); err != nil {
		t.Error(err)
	}
	if err := transfer.Copy(ctx, repo, &imagetest.Memory{}, large, transfer.Options{}); err != nil {
		t.Error(err)
	}
}

// located adds the number of the request to each Location.
type located struct {
	http.ResponseWriter
	n int
}

func (l *located) WriteHeader(status int) {
	if at := l.Header().Get("Location"); at != "" {
		l.Header().Set("Location", fmt.Sprintf("%s&step=%d", at, l.n))
	}
	l.ResponseWriter.WriteHeader(status)
}

// TestLocations: each request of an upload goes where the answer to the one before it says ("POST then PUT", "Pushing a blob in chunks").
func TestLocations(t *testing.T) {
	ctx := context.Background()
	reg := remotetest.Start(t)
	inner, n := http.Handler(reg), 0
	reg.Before = func(w http.ResponseWriter, r *http.Request) bool {
		if _, ok := w.(*located); ok || !strings.Contains(r.URL.Path, "/uploads/") {
			return false
		}
		if r.Method != http.MethodPost && (r.URL.Query().Get("step") != fmt.Sprint(n) || r.URL.Query().Get("state") != "a b") {
			t.Errorf("%s %s after step %d", r.Method, r.URL, n)
		}
		n++
		inner.ServeHTTP(&located{w, n}, r)
		return true
	}
	src := &imagetest.Memory{}
	desc, err := content.WriteBlob(ctx, src, bytes.Repeat([]byte("x"), 2500))
	if err != nil {
		t.Fatal(err)
	}
	for _, chunk := range []int64{0, 1000} {
		if err := client(t, remote.Options{ChunkSize: chunk}).Repository(reg.Ref("app")).PutBlob(ctx, src, desc); err != nil {
			t.Error(err)
		}
	}
	if n != 2+5 {
		t.Errorf("%d requests", n)
	}
}

// sha512er has one blob.
type sha512er []byte

func (s sha512er) Open(context.Context, ocispec.Descriptor) (content.Reader, error) {
	return bytesReader{bytes.NewReader(s)}, nil
}

type bytesReader struct{ *bytes.Reader }

func (bytesReader) Close() error { return nil }

// TestAlgorithm: an upload that will have another digest than sha256 says so when it begins ("Pushing a blob in chunks").
func TestAlgorithm(t *testing.T) {
	reg := remotetest.Start(t)
	data := []byte("some bytes")
	d := digest.SHA512.FromBytes(data)
	var begun, ended []string
	reg.Before = func(w http.ResponseWriter, r *http.Request) bool {
		switch q := r.URL.Query(); r.Method {
		case http.MethodPost:
			begun = append(begun, q.Get("digest-algorithm"))
		case http.MethodPut:
			ended = append(ended, q.Get("digest"))
			w.WriteHeader(http.StatusCreated)
			return true
		}
		return false
	}
	err := client(t, remote.Options{}).Repository(reg.Ref("app")).PutBlob(context.Background(), sha512er(data), ocispec.Descriptor{Digest: d, Size: int64(len(data))})
	if err != nil || !slices.Equal(begun, []string{"sha512"}) || !slices.Equal(ended, []string{d.String()}) {
		t.Errorf("begun with %q, ended with %q, %v", begun, ended, err)
	}
}

// artifact pushes a manifest about subject and returns its descriptor.
func artifact(t *testing.T, repo *remote.Repository, subject ocispec.Descriptor, extra func(*ocispec.Manifest)) (ocispec.Descriptor, error) {
	t.Helper()
	ctx := context.Background()
	src := &imagetest.Memory{}
	m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: ocispec.DescriptorEmptyJSON, Layers: []ocispec.Descriptor{}, Subject: &subject}
	m.SchemaVersion = 2
	extra(&m)
	if _, err := content.WriteBlob(ctx, src, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	desc, err := content.WriteJSON(ctx, src, m.MediaType, m)
	if err != nil {
		t.Fatal(err)
	}
	return desc, transfer.Push(ctx, src, repo.Target("", desc), desc, transfer.Options{})
}

// TestTaggedReferrers: the list that a client keeps where the registry keeps none ("Pushing Manifests with Subject", "Listing Referrers").
func TestTaggedReferrers(t *testing.T) {
	ctx := context.Background()
	reg := remotetest.Start(t)
	repo := client(t, remote.Options{}).Repository(reg.Ref("app"))
	src := &imagetest.Memory{}
	subject := sample(t, src, 10)
	if err := transfer.Push(ctx, src, repo.Target("1", subject), subject, transfer.Options{}); err != nil {
		t.Fatal(err)
	}
	notes := map[string]string{"a": "1", "b": "2"}
	typed := func(m *ocispec.Manifest) { m.ArtifactType, m.Annotations = "application/sbom", notes }
	plain := func(m *ocispec.Manifest) { m.Config.MediaType = "application/vnd.config" }
	var want []digest.Digest
	for _, extra := range []func(*ocispec.Manifest){typed, plain, typed} {
		d, err := artifact(t, repo, subject, extra)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, d.Digest)
	}
	tag := "sha256-" + subject.Digest.Encoded()
	got, data, err := repo.Manifest(ctx, tag)
	if err != nil {
		t.Fatal(err)
	}
	var idx ocispec.Index
	if err := json.Unmarshal(data, &idx); err != nil || got.MediaType != ocispec.MediaTypeImageIndex || idx.MediaType != got.MediaType || len(idx.Manifests) != 2 {
		t.Fatalf("%s, %v: %s", got.MediaType, err, data)
	}
	one, two := idx.Manifests[0], idx.Manifests[1]
	if one.Digest != want[0] || one.ArtifactType != "application/sbom" || one.Annotations["b"] != "2" || one.Size == 0 || one.MediaType != ocispec.MediaTypeImageManifest ||
		two.Digest != want[1] || two.ArtifactType != "application/vnd.config" || len(two.Annotations) != 0 {
		t.Errorf("the list: %s", data)
	}
	// Something else has the tag: nobody is a referrer then, and it is left as it is.
	other := sample(t, src, 20)
	if err := transfer.Push(ctx, src, repo.Target(tag, other), other, transfer.Options{}); err != nil {
		t.Fatal(err)
	}
	if list, err := repo.Referrers(ctx, subject.Digest, ""); err != nil || len(list) != 0 {
		t.Errorf("of an image under the tag: %v, %v", list, err)
	}
	if _, err := artifact(t, repo, subject, func(m *ocispec.Manifest) { m.ArtifactType = "application/other" }); !errdefs.IsCorrupt(err) {
		t.Error("a list was made of an image")
	}
	if now, err := repo.Resolve(ctx, tag); err != nil || now.Digest != other.Digest {
		t.Errorf("the tag is %v, %v", now, err)
	}
}

// TestDeleteReferrer: what is removed is taken out of the list, too ("Deleting Manifests").
func TestDeleteReferrer(t *testing.T) {
	for name, api := range map[string]bool{"api": true, "tag": false} {
		t.Run(name, func(t *testing.T) {
			ctx := context.Background()
			reg := remotetest.Start(t)
			reg.Referrers = api
			repo := client(t, remote.Options{}).Repository(reg.Ref("app"))
			src := &imagetest.Memory{}
			subject := sample(t, src, 10)
			if err := transfer.Push(ctx, src, repo.Target("1", subject), subject, transfer.Options{}); err != nil {
				t.Fatal(err)
			}
			var made []digest.Digest
			for _, kind := range []string{"x/a", "x/b"} {
				d, err := artifact(t, repo, subject, func(m *ocispec.Manifest) { m.ArtifactType = kind })
				if err != nil {
					t.Fatal(err)
				}
				made = append(made, d.Digest)
			}
			for i, d := range made {
				if err := repo.Delete(ctx, d.String()); err != nil {
					t.Fatal(err)
				}
				list, err := repo.Referrers(ctx, subject.Digest, "")
				if err != nil || len(list) != 1-i || i == 0 && list[0].Digest != made[1] {
					t.Errorf("after %d were removed: %v, %v", i+1, list, err)
				}
			}
			if _, err := repo.Resolve(ctx, "sha256-"+subject.Digest.Encoded()); api != errdefs.IsNotFound(err) {
				t.Errorf("the tag of the list: %v", err)
			}
		})
	}
}

// TestRedirect: credentials stay with the registry when it sends a client elsewhere, be it only another port ("API").
func TestRedirect(t *testing.T) {
	ctx := context.Background()
	reg, far := remotetest.Start(t), remotetest.Start(t)
	src := &imagetest.Memory{}
	desc := sample(t, src, 100)
	push(t, remote.Options{}, far, "app:1", src, desc)
	var asked []string
	far.Before = func(_ http.ResponseWriter, r *http.Request) bool {
		asked = append(asked, r.Method)
		if a := r.Header.Get("Authorization"); a != "" {
			t.Errorf("%s %s has %q", r.Method, r.URL, a)
		}
		return false
	}
	reg.Before = func(w http.ResponseWriter, r *http.Request) bool {
		if _, _, ok := r.BasicAuth(); !ok {
			w.Header().Set("WWW-Authenticate", `Basic realm="here"`)
			remotetest.Fail(w, http.StatusUnauthorized, "UNAUTHORIZED")
			return true
		}
		http.Redirect(w, r, "http://"+far.Address+r.URL.String(), http.StatusTemporaryRedirect)
		return true
	}
	repo := client(t, remote.Options{Credentials: given{Username: "me", Password: "secret"}}).Repository(reg.Ref("app"))
	got, err := repo.Resolve(ctx, "1")
	if err != nil {
		t.Fatal(err)
	}
	if err := transfer.Copy(ctx, repo, &imagetest.Memory{}, got, transfer.Options{Concurrency: 1}); err != nil {
		t.Error(err)
	}
	if len(asked) == 0 {
		t.Error("no redirect was followed")
	}
}

// TestWarnings: what a registry warns of is told once, and changes nothing ("Warnings").
func TestWarnings(t *testing.T) {
	ctx := context.Background()
	reg := remotetest.Start(t)
	src := &imagetest.Memory{}
	desc := sample(t, src, 100)
	push(t, remote.Options{}, reg, "app:1", src, desc)
	n := 0
	reg.Before = func(w http.ResponseWriter, _ *http.Request) bool {
		h := w.Header()
		h.Add("Warning", `299 - "The image is \"old\".`+"\t"+`See \\x."`)
		h.Add("Warning", `199 - "not for people"`)
		h.Add("Warning", `299 proxy "nor this"`)
		h.Add("Warning", `299 - "`+strings.Repeat("long", 2000)+`"`)
		n++
		h.Add("Warning", fmt.Sprintf(`299 - "after too much %d"`, n))
		return false
	}
	var mu sync.Mutex
	var told []string
	repo := client(t, remote.Options{Warn: func(s string) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, s)
	}}).Repository(reg.Ref("app"))
	got, err := repo.Resolve(ctx, "1")
	if err != nil {
		t.Fatal(err)
	}
	if err := transfer.Copy(ctx, repo, &imagetest.Memory{}, got, transfer.Options{Concurrency: 1}); err != nil {
		t.Error(err)
	}
	if want := []string{"registry " + reg.Address + ` warns: The image is "old". See \x.`}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
	// Nor can a registry talk without end.
	reg.Before = func(w http.ResponseWriter, _ *http.Request) bool {
		n++
		w.Header().Add("Warning", fmt.Sprintf(`299 - "number %d"`, n))
		return false
	}
	for range 30 {
		if _, err := repo.Resolve(ctx, "1"); err != nil {
			t.Fatal(err)
		}
	}
	if len(told) != 10 {
		t.Errorf("%d warnings", len(told))
	}
}
