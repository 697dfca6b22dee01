package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/camada/camada/internal/peers"
	"github.com/camada/camada/registry"
	"github.com/camada/camada/registry/api"
	"github.com/camada/camada/registry/local"
	"github.com/camada/camada/registry/s3"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// drivers open a storage each: every test runs on every one of them.
var drivers = map[string]func(*testing.T) registry.Storage{
	"local": func(t *testing.T) registry.Storage {
		s, err := local.Open(t.Context(), t.TempDir(), local.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		return s
	},
	"s3": func(t *testing.T) registry.Storage {
		o := peers.Need(t, "versitygw").StartVersity()
		s, err := s3.Open(t.Context(), s3.Options{Endpoint: o.Endpoint, Bucket: "registry", AccessKey: o.ID, SecretKey: o.Secret, Create: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	},
}

// each runs a test on every driver, with a registry of its own.
func each(t *testing.T, opts api.Options, test func(*testing.T, *client)) {
	t.Helper()
	for name, open := range drivers {
		t.Run(name, func(t *testing.T) {
			opts := opts
			if opts.Fault == nil {
				opts.Fault = func(err error) { t.Errorf("the registry had an error of its own: %v", err) }
			}
			storage := open(t)
			server := httptest.NewServer(api.New(storage, opts))
			t.Cleanup(server.Close)
			test(t, &client{T: t, url: server.URL, storage: storage})
		})
	}
}

// client sends requests.
type client struct {
	*testing.T
	url     string
	storage registry.Storage
}

// answer is a response with its body.
type answer struct {
	*http.Response
	body []byte
	t    *testing.T
}

// do sends a request; headers are pairs.
func (c *client) do(method, path string, body any, headers ...string) *answer {
	c.Helper()
	var r io.Reader
	switch b := body.(type) {
	case nil:
	case []byte:
		r = bytes.NewReader(b)
	case string:
		r = strings.NewReader(b)
	case io.Reader:
		r = b
	}
	url := path
	if !strings.HasPrefix(path, "http://") {
		url = c.url + path
	}
	req, err := http.NewRequestWithContext(c.Context(), method, url, r)
	if err != nil {
		c.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	transport := http.Transport{DisableCompression: true}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req) // without following redirects
	if err != nil {
		c.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		c.Fatal(err)
	}
	a := &answer{resp, data, c.T}
	a.form()
	return a
}

// form checks what holds for every answer: errors have the spec's form and codes ("Error Codes"), and there are no warnings ("Warnings").
func (a *answer) form() {
	a.t.Helper()
	if w := a.Header.Values("Warning"); len(w) > 0 {
		a.t.Errorf("%s %s: warnings %q", a.Request.Method, a.Request.URL, w)
	}
	if a.StatusCode < 400 || a.Request.Method == http.MethodHead {
		return
	}
	var e struct {
		Errors []struct {
			Code    *string
			Message *string
			Detail  any
		}
	}
	dec := json.NewDecoder(bytes.NewReader(a.body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&e); err != nil || len(e.Errors) == 0 || a.Header.Get("Content-Type") != "application/json" {
		a.t.Errorf("%s %s: %d, %q with the body %.300s is no error of the spec's form: %v", a.Request.Method, a.Request.URL, a.StatusCode, a.Header.Get("Content-Type"), a.body, err)
		return
	}
	for _, one := range e.Errors {
		if one.Code == nil || !slices.Contains(codes, *one.Code) || one.Message == nil || *one.Message == "" {
			a.t.Errorf("%s %s: an error %.300s", a.Request.Method, a.Request.URL, a.body)
		}
	}
}

// codes are those that an error may have ("Error Codes").
var codes = []string{
	"BLOB_UNKNOWN", "BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN", "DIGEST_INVALID", "MANIFEST_BLOB_UNKNOWN", "MANIFEST_INVALID", "MANIFEST_UNKNOWN",
	"NAME_INVALID", "NAME_UNKNOWN", "SIZE_INVALID", "UNAUTHORIZED", "DENIED", "UNSUPPORTED", "TOOMANYREQUESTS",
}

// want checks the status, and headers in pairs.
func (a *answer) want(status int, headers ...string) *answer {
	a.t.Helper()
	if a.StatusCode != status {
		a.t.Errorf("%s %s: status %d, want %d: %.300s", a.Request.Method, a.Request.URL, a.StatusCode, status, a.body)
	}
	for i := 0; i < len(headers); i += 2 {
		if got := strings.Join(a.Header.Values(headers[i]), ", "); got != headers[i+1] {
			a.t.Errorf("%s %s: %s is %q, want %q", a.Request.Method, a.Request.URL, headers[i], got, headers[i+1])
		}
	}
	return a
}

// code checks that the answer is an error of the spec's form with a code ("Error Codes").
func (a *answer) code(code string) *answer {
	a.t.Helper()
	var e struct {
		Errors []struct{ Code, Message string }
	}
	err := json.Unmarshal(a.body, &e)
	if err != nil || len(e.Errors) == 0 || e.Errors[0].Code != code {
		a.t.Errorf("%s %s: %d, body %.300s, want an error %s", a.Request.Method, a.Request.URL, a.StatusCode, a.body, code)
	}
	return a
}

// blob makes content of some size and its digest.
func blob(seed string, size int) ([]byte, digest.Digest) {
	data := bytes.Repeat([]byte(seed), size/len(seed)+1)[:size]
	return data, digest.FromBytes(data)
}

// push pushes a blob in one request.
func (c *client) push(repo string, data []byte) digest.Digest {
	c.Helper()
	d := digest.FromBytes(data)
	c.do("POST", "/v2/"+repo+"/blobs/uploads/?digest="+d.String(), data).want(http.StatusCreated)
	return d
}

var uuid = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

// upload begins an upload and returns its location.
func (c *client) upload(repo string) string {
	c.Helper()
	loc := c.do("POST", "/v2/"+repo+"/blobs/uploads/", nil).want(http.StatusAccepted).Header.Get("Location")
	// "MUST contain a UUID representing a unique session ID" ("POST then PUT").
	id, ok := strings.CutPrefix(loc, "/v2/"+repo+"/blobs/uploads/")
	if !ok || !uuid.MatchString(id) {
		c.Fatalf("location %q", loc)
	}
	return loc
}

// manifest makes a manifest whose blobs it pushes; extra goes into its document.
func (c *client) manifest(repo, seed string, extra map[string]any) ([]byte, digest.Digest) {
	c.Helper()
	config, layer := []byte(`{"seed":"`+seed+`"}`), []byte("layer of "+seed)
	doc := map[string]any{"schemaVersion": 2, "mediaType": ocispec.MediaTypeImageManifest,
		"config": desc(ocispec.MediaTypeImageConfig, config), "layers": []any{desc(ocispec.MediaTypeImageLayer, layer)}}
	for k, v := range extra {
		doc[k] = v
	}
	c.push(repo, config)
	c.push(repo, layer)
	data, err := json.Marshal(doc)
	if err != nil {
		c.Fatal(err)
	}
	return data, digest.FromBytes(data)
}

// put pushes a manifest under a tag or digest.
func (c *client) put(repo, ref string, data []byte, headers ...string) *answer {
	c.Helper()
	return c.do("PUT", "/v2/"+repo+"/manifests/"+ref, data, append([]string{"Content-Type", ocispec.MediaTypeImageManifest}, headers...)...)
}

func desc(mediaType string, data []byte) map[string]any {
	return map[string]any{"mediaType": mediaType, "digest": digest.FromBytes(data).String(), "size": len(data)}
}

func text(v any) string { return fmt.Sprint(v) }
