package remote

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image/imagetest"
	"github.com/camada/camada/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// world answers for all hosts, over TLS or not, and remembers what each was shown.
type world struct {
	answer func(r *http.Request) (status int, header http.Header, body string)
	// shown are the Authorization headers by host, asked the addresses.
	shown map[string]string
	asked []string
}

// RoundTrip implements http.RoundTripper.
func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		_, _ = io.Copy(io.Discard, r.Body)
		r.Body.Close()
	}
	w.shown[r.URL.Host] += r.Header.Get("Authorization")
	w.asked = append(w.asked, r.URL.Scheme+"://"+r.URL.Host)
	status, header, body := w.answer(r)
	return &http.Response{StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: header, Request: r, ContentLength: int64(len(body)), Body: io.NopCloser(strings.NewReader(body))}, nil
}

// visit returns a repository of reg.test in a world, where both reg.test and elsewhere.test know who we are.
func visit(t *testing.T, answer func(r *http.Request) (int, http.Header, string)) (*Repository, *world) {
	t.Helper()
	w := &world{answer: answer, shown: map[string]string{}}
	c := New(Options{Tries: 1})
	t.Cleanup(c.Close)
	for _, name := range []string{"reg.test", "elsewhere.test"} {
		h := c.host(name)
		h.client, h.scheme = &http.Client{Transport: w, CheckRedirect: h.redirect}, "https"
		h.cred, h.basic = &Credential{Username: "me", Password: "secret"}, true
	}
	return c.Repository(reference.Reference{Host: "reg.test", Repository: "app"}), w
}

// TestNotWithoutTLS: nobody is led from TLS to none: not by a redirect, nor by the name of a token server, nor by a place for an upload.
func TestNotWithoutTLS(t *testing.T) {
	data := []byte("hello")
	src, desc := keeping(t, data)
	for name, answer := range map[string]func(r *http.Request) (int, http.Header, string){
		"a redirect": func(*http.Request) (int, http.Header, string) {
			return http.StatusTemporaryRedirect, http.Header{"Location": {"http://elsewhere.test/x"}}, ""
		},
		"a token server": func(*http.Request) (int, http.Header, string) {
			return http.StatusUnauthorized, http.Header{"Www-Authenticate": {`Bearer realm="http://elsewhere.test/token"`}}, ""
		},
		"an upload": func(*http.Request) (int, http.Header, string) {
			return http.StatusAccepted, http.Header{"Location": {"http://elsewhere.test/x"}}, ""
		},
	} {
		r, w := visit(t, answer)
		if err := r.PutBlob(t.Context(), src, desc); !errdefs.IsPermission(err) {
			t.Errorf("%s: %v", name, err)
		}
		if strings.Contains(strings.Join(w.asked, " "), "elsewhere") {
			t.Errorf("%s: %q were asked", name, w.asked)
		}
	}
}

// TestCredentialsStay: what another host is asked for, it is not told who asks, though it may know us.
func TestCredentialsStay(t *testing.T) {
	data := []byte("hello")
	src, desc := keeping(t, data)
	r, w := visit(t, func(r *http.Request) (int, http.Header, string) {
		if r.Method == http.MethodPost {
			return http.StatusAccepted, http.Header{"Location": {"https://elsewhere.test/x"}}, ""
		}
		return http.StatusCreated, http.Header{}, ""
	})
	if err := r.PutBlob(t.Context(), src, desc); err != nil || w.shown["reg.test"] == "" || w.shown["elsewhere.test"] != "" || len(w.asked) != 2 {
		t.Errorf("an upload that goes on elsewhere: %v, %q, %q", err, w.shown, w.asked)
	}
	r, w = visit(t, func(r *http.Request) (int, http.Header, string) {
		if r.URL.Host == "reg.test" {
			return http.StatusNotFound, http.Header{}, ""
		}
		return http.StatusOK, http.Header{}, string(data)
	})
	desc.MediaType, desc.URLs = "application/vnd.oci.image.layer.nondistributable.v1.tar", []string{"https://elsewhere.test/layer"}
	if got, err := readBlob(t, r, desc); err != nil || !bytes.Equal(got, data) || w.shown["reg.test"] == "" || w.shown["elsewhere.test"] != "" {
		t.Errorf("a foreign layer: %q, %v, %q", got, err, w.shown)
	}
}

// TestListsStay: a list does not go on at another host.
func TestListsStay(t *testing.T) {
	for _, next := range []string{"https://elsewhere.test/v2/app/tags/list", "http://reg.test/v2/app/tags/list", "//elsewhere.test/x", "https://reg.test:444/x"} {
		r, w := visit(t, func(*http.Request) (int, http.Header, string) {
			return http.StatusOK, http.Header{"Link": {"<" + next + `>; rel="next"`}}, `{"tags":["a"]}`
		})
		if tags, err := r.Tags(t.Context(), 0); !errdefs.IsLimit(err) || len(w.asked) != 1 {
			t.Errorf("%s: %q, %v, %q", next, tags, err, w.asked)
		}
	}
}

// TestOtherRange: bytes of another range than the one that was asked for are not taken for it.
func TestOtherRange(t *testing.T) {
	data := "0123456789"
	desc := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: digest.FromString(data), Size: int64(len(data))}
	for _, given := range []string{"bytes 5-9/10", "bytes */10", "", "bytes 9-0/10"} {
		r, _ := visit(t, func(*http.Request) (int, http.Header, string) {
			return http.StatusPartialContent, http.Header{"Content-Range": {given}}, data
		})
		if got, err := readBlob(t, r, desc); !errdefs.IsCorrupt(err) {
			t.Errorf("%q: %q, %v", given, got, err)
		}
	}
}

// keeping returns a store with a layer in it.
func keeping(t *testing.T, data []byte) (*imagetest.Memory, ocispec.Descriptor) {
	t.Helper()
	src := &imagetest.Memory{}
	w, err := src.Writer(t.Context(), content.WriterOptions{Algorithm: digest.SHA256})
	if err == nil {
		_, err = w.Write(data)
	}
	if err != nil {
		t.Fatal(err)
	}
	desc, err := w.Commit(t.Context(), int64(len(data)), digest.FromBytes(data))
	if err != nil {
		t.Fatal(err)
	}
	desc.MediaType = ocispec.MediaTypeImageLayer
	return src, desc
}

func readBlob(t *testing.T, r *Repository, desc ocispec.Descriptor) ([]byte, error) {
	t.Helper()
	b, err := r.Open(context.WithoutCancel(t.Context()), desc)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	return io.ReadAll(b)
}
