package remote_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image/imagetest"
	"github.com/camada/camada/remote"
	"github.com/camada/camada/remote/remotetest"
	"github.com/camada/camada/transfer"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func client(t *testing.T, o remote.Options) *remote.Client {
	t.Helper()
	o.Backoff = time.Millisecond
	c := remote.New(o)
	t.Cleanup(c.Close)
	return c
}

// sample stores an image with a layer of n bytes.
func sample(t *testing.T, store *imagetest.Memory, n int) ocispec.Descriptor {
	t.Helper()
	return imagetest.Write(t, store, imagetest.Config(), imagetest.Layer("small", "s"), imagetest.Layer("big", strings.Repeat("0123456789", n/10)))
}

// TestPushAndPull: "POST then PUT", "Pushing a blob in chunks".
func TestPushAndPull(t *testing.T) {
	for name, o := range map[string]remote.Options{"whole": {}, "chunked": {ChunkSize: 1000}} {
		t.Run(name, func(t *testing.T) {
			ctx := context.Background()
			reg := remotetest.Start(t)
			ref := reg.Ref("team/app:1")
			repo := client(t, o).Repository(ref)
			src, dst := &imagetest.Memory{}, &imagetest.Memory{}
			desc := sample(t, src, 10_000)
			if err := transfer.Push(ctx, src, repo.Target(ref.Tag, desc), desc, transfer.Options{}); err != nil {
				t.Fatal(err)
			}
			got, err := repo.Resolve(ctx, "1")
			if err != nil || got.Digest != desc.Digest || got.Size != desc.Size || got.MediaType != desc.MediaType {
				t.Fatalf("resolved %v, %v; want %v", got, err, desc)
			}
			if err := transfer.Copy(ctx, repo, dst, got, transfer.Options{}); err != nil {
				t.Fatal(err)
			}
			if dst.Len() != src.Len() {
				t.Errorf("%d blobs pulled, %d pushed", dst.Len(), src.Len())
			}
			reg.Forget()
			if err := transfer.Push(ctx, src, repo.Target(ref.Tag, desc), desc, transfer.Options{}); err != nil {
				t.Fatal(err)
			}
			if again := append(reg.Calls("PUT"), reg.Calls("POST")...); len(again) > 0 {
				t.Errorf("what is there was pushed again: %v", again)
			}
		})
	}
}

// TestMount: "Mounting a blob from another repository"; the upload that a refused one began is given up, which may fail ("Cancel a blob upload").
func TestMount(t *testing.T) {
	for name, noMount := range map[string]bool{"mounted": false, "refused": true} {
		t.Run(name, func(t *testing.T) {
			ctx := context.Background()
			reg := remotetest.Start(t)
			reg.NoMount = noMount
			c, src := client(t, remote.Options{}), &imagetest.Memory{}
			desc := sample(t, src, 100)
			base := c.Repository(reg.Ref("base"))
			if err := transfer.Push(ctx, src, base.Target("1", desc), desc, transfer.Options{}); err != nil {
				t.Fatal(err)
			}
			reg.Forget()
			reg.Before = func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodDelete {
					remotetest.Fail(w, http.StatusBadRequest, "UNSUPPORTED")
				}
				return r.Method == http.MethodDelete
			}
			target := c.Repository(reg.Ref("app")).Target("1", desc)
			target.MountFrom = func(digest.Digest) []string { return []string{"base"} }
			if err := transfer.Push(ctx, src, target, desc, transfer.Options{}); err != nil {
				t.Fatal(err)
			}
			if uploads := len(reg.Calls("PUT uploads")); (uploads > 0) != noMount {
				t.Errorf("%d uploads", uploads)
			}
			if given := len(reg.Calls("DELETE uploads")); (given > 0) != noMount {
				t.Errorf("%d uploads were given up", given)
			}
			if _, err := c.Repository(reg.Ref("app")).Resolve(ctx, "1"); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	ctx := context.Background()
	reg := remotetest.Start(t)
	repo := client(t, remote.Options{Tries: 2}).Repository(reg.Ref("app"))
	status := 0
	reg.Before = func(w http.ResponseWriter, _ *http.Request) bool {
		if status != 0 {
			remotetest.Fail(w, status, "TOO\x1b[2J_BAD")
		}
		return status != 0
	}
	for _, tc := range []struct {
		status int
		class  errdefs.Class
	}{
		{0, errdefs.ErrNotFound}, {403, errdefs.ErrPermission}, {401, errdefs.ErrPermission}, {429, errdefs.ErrUnavailable},
		{500, errdefs.ErrUnavailable}, {503, errdefs.ErrUnavailable}, {418, errdefs.ErrInvalid}, {409, errdefs.ErrConflict},
	} {
		status = tc.status
		_, _, err := repo.Manifest(ctx, "none")
		if !errors.Is(err, tc.class) || !strings.Contains(err.Error(), reg.Address) || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("%d: %q; want %s, naming the registry", tc.status, err, tc.class)
		}
	}
}

// TestRetry: trouble that passes, with Retry-After as "Error Codes" has it.
func TestRetry(t *testing.T) {
	ctx := context.Background()
	reg := remotetest.Start(t)
	ref := reg.Ref("app:1")
	repo := client(t, remote.Options{Tries: 4}).Repository(ref)
	src := &imagetest.Memory{}
	desc := sample(t, src, 1000)
	var n atomic.Int64
	reg.Before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/v2/" || n.Add(1)%3 != 0 {
			return false
		}
		if n.Load()%2 == 0 {
			panic(http.ErrAbortHandler) // the connection breaks
		}
		w.Header().Set("Retry-After", "0")
		remotetest.Fail(w, []int{500, 502, 503, 429}[n.Load()/3%4], "TRY_AGAIN")
		return true
	}
	if err := transfer.Push(ctx, src, repo.Target("1", desc), desc, transfer.Options{Concurrency: 1}); err != nil {
		t.Fatal(err)
	}
	if err := transfer.Copy(ctx, repo, &imagetest.Memory{}, desc, transfer.Options{Concurrency: 1}); err != nil {
		t.Fatal(err)
	}
}

// cut is a ResponseWriter that ends after some bytes.
type cut struct {
	http.ResponseWriter
	left int
}

func (c *cut) Write(p []byte) (int, error) {
	if len(p) > c.left {
		_, _ = c.ResponseWriter.Write(p[:c.left])
		c.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	c.left -= len(p)
	return c.ResponseWriter.Write(p)
}

func TestResume(t *testing.T) {
	for name, ignoreRange := range map[string]bool{"ranges": false, "no ranges": true} {
		t.Run(name, func(t *testing.T) {
			ctx := context.Background()
			reg := remotetest.Start(t)
			repo := client(t, remote.Options{Tries: 3}).Repository(reg.Ref("app"))
			data := bytes.Repeat([]byte("abcdefgh"), 10_000)
			src := &imagetest.Memory{}
			desc, err := content.WriteBlob(ctx, src, data)
			if err != nil {
				t.Fatal(err)
			}
			if err := repo.PutBlob(ctx, src, desc); err != nil {
				t.Fatal(err)
			}
			inner, left := http.Handler(reg), 30_000
			reg.Before = func(w http.ResponseWriter, r *http.Request) bool {
				if _, ok := w.(*cut); ok || r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/blobs/") {
					return false
				}
				if ignoreRange {
					r.Header.Del("Range")
					left += 30_000
				}
				inner.ServeHTTP(&cut{w, left}, r)
				return true
			}
			got, err := content.ReadAll(ctx, repo, desc, 1<<20)
			if err != nil || !bytes.Equal(got, data) {
				t.Fatalf("%d bytes, %v", len(got), err)
			}
			if asked := len(reg.Calls("GET blobs")); asked < 3 {
				t.Errorf("%d requests: the connection never broke", asked)
			}
			r, err := repo.Open(ctx, desc)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			part := make([]byte, 100)
			if n, err := r.ReadAt(part, 4); n != 100 || err != nil || !bytes.Equal(part, data[4:104]) {
				t.Errorf("ReadAt: %d, %v, %q", n, err, part)
			}
			if n, err := r.ReadAt(part, desc.Size-10); n != 10 || !errors.Is(err, io.EOF) {
				t.Errorf("ReadAt at the end: %d, %v", n, err)
			}
		})
	}
}

// TestLies: what differs from its digest is refused ("Pulling manifests", "Pulling blobs").
func TestLies(t *testing.T) {
	ctx := context.Background()
	reg := remotetest.Start(t)
	repo := client(t, remote.Options{Tries: 2}).Repository(reg.Ref("app"))
	src := &imagetest.Memory{}
	desc := sample(t, src, 100)
	if err := transfer.Push(ctx, src, repo.Target("1", desc), desc, transfer.Options{}); err != nil {
		t.Fatal(err)
	}
	blob, err := content.WriteBlob(ctx, src, []byte("some bytes"))
	if err != nil {
		t.Fatal(err)
	}
	if err := repo.PutBlob(ctx, src, blob); err != nil {
		t.Fatal(err)
	}
	short := blob
	short.Size--
	if _, err := content.ReadAll(ctx, repo, short, 100); !errdefs.IsCorrupt(err) {
		t.Errorf("a blob that is too long: %v", err)
	}
	reg.Damage(blob.Digest)
	if _, err := content.ReadAll(ctx, repo, blob, 100); !errdefs.IsCorrupt(err) {
		t.Errorf("a blob of other bytes: %v", err)
	}
	other := digest.FromString("other")
	reg.Before = func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Docker-Content-Digest", other.String())
		w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
		_, _ = w.Write([]byte(`{"schemaVersion":2}`))
		return true
	}
	if _, _, err := repo.Manifest(ctx, other.String()); !errdefs.IsCorrupt(err) {
		t.Errorf("a manifest of another digest: %v", err)
	}
	if _, _, err := repo.Manifest(ctx, "1"); !errdefs.IsCorrupt(err) {
		t.Errorf("a manifest of another digest than the registry says: %v", err)
	}
	reg.Before = func(w http.ResponseWriter, r *http.Request) bool {
		_, _ = io.CopyN(w, zeros{}, 5<<20)
		return true
	}
	if _, _, err := repo.Manifest(ctx, "1"); !errdefs.IsLimit(err) {
		t.Errorf("a manifest without end: %v", err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestStall(t *testing.T) {
	reg := remotetest.Start(t)
	repo := client(t, remote.Options{Tries: 2, Stall: 50 * time.Millisecond}).Repository(reg.Ref("app"))
	reg.Before = func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "manifests") {
			w.WriteHeader(http.StatusOK)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			return true
		}
		return false
	}
	if _, _, err := repo.Manifest(context.Background(), "1"); !errdefs.IsUnavailable(err) {
		t.Errorf("a silent server: %v", err)
	}
}

// TestReferrers: "Listing Referrers", and what is done without the API ("Unavailable Referrers API").
func TestReferrers(t *testing.T) {
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
			if list, err := repo.Referrers(ctx, subject.Digest, ""); err != nil || len(list) != 0 {
				t.Fatalf("%v, %v; want none", list, err)
			}
			for _, kind := range []string{"application/vnd.a", "application/vnd.b", "application/vnd.b"} {
				m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, ArtifactType: kind, Config: ocispec.DescriptorEmptyJSON,
					Layers: []ocispec.Descriptor{}, Subject: &subject}
				m.SchemaVersion = 2
				if _, err := content.WriteBlob(ctx, src, []byte("{}")); err != nil {
					t.Fatal(err)
				}
				desc, err := content.WriteJSON(ctx, src, m.MediaType, m)
				if err != nil {
					t.Fatal(err)
				}
				if err := transfer.Push(ctx, src, repo.Target("", desc), desc, transfer.Options{}); err != nil {
					t.Fatal(err)
				}
			}
			for kind, want := range map[string]int{"": 2, "application/vnd.a": 1, "application/vnd.c": 0} {
				if list, err := repo.Referrers(ctx, subject.Digest, kind); err != nil || len(list) != want {
					t.Errorf("%q: %v, %v; want %d", kind, list, err, want)
				}
			}
		})
	}
}

func TestTags(t *testing.T) {
	ctx := context.Background()
	reg := remotetest.Start(t)
	reg.Page = 2
	repo := client(t, remote.Options{}).Repository(reg.Ref("app"))
	src := &imagetest.Memory{}
	desc := sample(t, src, 10)
	for _, tag := range []string{"a", "b", "c", "d", "e"} {
		if err := transfer.Push(ctx, src, repo.Target(tag, desc), desc, transfer.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	if tags, err := repo.Tags(ctx, 0); err != nil || strings.Join(tags, "") != "abcde" {
		t.Errorf("%v, %v", tags, err)
	}
	if _, err := repo.Tags(ctx, 3); !errdefs.IsLimit(err) {
		t.Errorf("too many tags: %v", err)
	}
}
