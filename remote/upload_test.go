package remote_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image/imagetest"
	"github.com/camada/camada/remote"
	"github.com/camada/camada/remote/remotetest"
	"github.com/camada/camada/remote/unfinished"
	"github.com/camada/camada/transfer"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// noise is a blob of n bytes in a store.
func noise(t *testing.T, n int) (*imagetest.Memory, ocispec.Descriptor) {
	t.Helper()
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n)}).Read(data)
	src := &imagetest.Memory{}
	desc, err := content.WriteBlob(t.Context(), src, data)
	if err != nil {
		t.Fatal(err)
	}
	desc.MediaType = "application/octet-stream"
	return src, desc
}

// there checks that the registry has a blob.
func there(t *testing.T, reg *remotetest.Registry, desc ocispec.Descriptor) {
	t.Helper()
	reg.Meet(nil)
	repo := client(t, remote.Options{}).Repository(reg.Ref("app"))
	if _, err := content.ReadAll(t.Context(), repo, desc, 1<<30); err != nil {
		t.Errorf("the blob did not arrive: %v", err)
	}
}

// cutBody is a request's body that breaks after some bytes, and counts them.
type cutBody struct {
	io.ReadCloser
	left int
	n    *atomic.Int64
}

func (c *cutBody) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := c.ReadCloser.Read(p[:min(len(p), c.left)])
	c.left -= n
	c.n.Add(int64(n))
	return n, err
}

// cutBodies makes a registry break each request after so many bytes of its body, and counts what it reads.
func cutBodies(reg *remotetest.Registry, after int) *atomic.Int64 {
	var n atomic.Int64
	reg.Meet(func(_ http.ResponseWriter, r *http.Request) bool {
		r.Body = &cutBody{r.Body, after, &n}
		return false
	})
	return &n
}

func TestUploadCutEvery64KiB(t *testing.T) {
	reg := remotetest.Start(t)
	src, desc := noise(t, 20*64<<10+123)
	n := cutBodies(reg, 64<<10)
	if err := client(t, remote.Options{}).Repository(reg.Ref("app")).PutBlob(t.Context(), src, desc); err != nil {
		t.Fatal(err)
	}
	if n.Load() != desc.Size {
		t.Errorf("%d bytes were sent for %d", n.Load(), desc.Size)
	}
	if begun := reg.Calls("POST uploads"); len(begun) != 1 {
		t.Errorf("it was begun %d times", len(begun))
	}
	there(t, reg, desc)
}

// TestUploadOnAnotherDay ends a push in the middle, and lets another process go on with it.
func TestUploadOnAnotherDay(t *testing.T) {
	const size, cut = 3 << 20, 2 << 20
	for name, tc := range map[string]struct {
		between func(reg *remotetest.Registry)
		sent    int64
	}{
		"goes on":     {sent: size - cut},
		"was removed": {func(reg *remotetest.Registry) { reg.ForgetUploads() }, size},
		"was damaged": {func(reg *remotetest.Registry) { reg.DamageUploads() }, size - cut + size},
	} {
		t.Run(name, func(t *testing.T) {
			reg, dir := remotetest.Start(t), t.TempDir()
			src, desc := noise(t, size)
			cutBodies(reg, cut)
			o := remote.Options{Uploads: unfinished.Open(dir), Tries: 1}
			if err := client(t, o).Repository(reg.Ref("app")).PutBlob(t.Context(), src, desc); !errdefs.IsUnavailable(err) {
				t.Fatalf("the connection did not break: %v", err)
			}
			if tc.between != nil {
				tc.between(reg)
			}
			n := cutBodies(reg, 1<<30)
			o.Tries = 0
			if err := client(t, o).Repository(reg.Ref("app")).PutBlob(t.Context(), src, desc); err != nil {
				t.Fatal(err)
			}
			if n.Load() != tc.sent {
				t.Errorf("%d bytes were sent, want %d", n.Load(), tc.sent)
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
				t.Errorf("it is still remembered: %v, %v", left, err)
			}
			there(t, reg, desc)
		})
	}
}

// TestWhatIsNoted: a place that is a secret, or somebody else's, is not kept.
func TestWhatIsNoted(t *testing.T) {
	for name, tc := range map[string]struct {
		location string
		kept     int
	}{
		"plain":     {"/v2/app/blobs/uploads/1?_state=abc", 1},
		"signed":    {"/v2/app/blobs/uploads/1?X-Amz-Signature=abc", 0},
		"elsewhere": {"http://127.0.0.1:1/upload", 0},
		"user":      {"http://me:pass@HOST/v2/app/blobs/uploads/1", 0},
	} {
		t.Run(name, func(t *testing.T) {
			reg, dir := remotetest.Start(t), t.TempDir()
			reg.Before = func(w http.ResponseWriter, r *http.Request) bool {
				switch r.Method {
				case http.MethodPost:
					w.Header().Set("Location", strings.ReplaceAll(tc.location, "HOST", reg.Address))
					w.WriteHeader(http.StatusAccepted)
				case http.MethodPut:
					w.WriteHeader(http.StatusBadGateway)
				}
				return r.URL.Path != "/v2/"
			}
			src, desc := noise(t, 1<<20)
			err := client(t, remote.Options{Uploads: unfinished.Open(dir), Tries: 1}).Repository(reg.Ref("app")).PutBlob(t.Context(), src, desc)
			if left, readErr := os.ReadDir(dir); !errdefs.IsUnavailable(err) || readErr != nil || len(left) != tc.kept {
				t.Errorf("%d are remembered; %v, %v", len(left), err, readErr)
			}
		})
	}
}

// unheard is a ResponseWriter whose client does not hear the answer.
type unheard struct{ http.ResponseWriter }

func (unheard) WriteHeader(int) { panic(http.ErrAbortHandler) }

// TestLostAnswer: the upload ended, and the connection broke before we were told.
func TestLostAnswer(t *testing.T) {
	reg := remotetest.Start(t)
	reg.Before = func(w http.ResponseWriter, r *http.Request) bool {
		if _, ok := w.(unheard); !ok && r.Method == http.MethodPut {
			reg.ServeHTTP(unheard{w}, r)
		}
		return false
	}
	src, desc := noise(t, 1000)
	err := client(t, remote.Options{}).Repository(reg.Ref("app")).PutBlob(t.Context(), src, desc)
	if n := len(reg.Calls("POST uploads")); err != nil || n != 1 || reg.Uploads() != 0 {
		t.Errorf("%v, after %d uploads, of which %d are left", err, n, reg.Uploads())
	}
	there(t, reg, desc)
}

// TestPieces uploads in pieces where the registry or something before it needs them.
func TestPieces(t *testing.T) {
	const mib = 1 << 20
	for name, tc := range map[string]struct {
		size    int
		set     func(reg *remotetest.Registry)
		patches int
	}{
		"the registry tells how big":     {5 * mib, func(reg *remotetest.Registry) { reg.MinPiece = 3 * mib }, 2},
		"small ones are enough":          {5 * mib, func(reg *remotetest.Registry) { reg.MinPiece = 1 }, 3},
		"one piece":                      {2 * mib, func(reg *remotetest.Registry) { reg.MinPiece = 3 * mib }, 0},
		"bodies are bounded":             {5 * mib, func(reg *remotetest.Registry) { reg.MaxBody = mib }, 10 + 1},
		"long streams never get through": {5 * mib, func(reg *remotetest.Registry) { reg.Forgetful = true; cutBodies(reg, 2*mib+1) }, 3},
	} {
		t.Run(name, func(t *testing.T) {
			reg := remotetest.Start(t)
			tc.set(reg)
			src, desc := noise(t, tc.size)
			c := client(t, remote.Options{})
			c.SetPiece(2 * mib)
			if err := c.Repository(reg.Ref("app")).PutBlob(t.Context(), src, desc); err != nil {
				t.Fatal(err)
			}
			if n := len(reg.Calls("PATCH uploads")); n != tc.patches {
				t.Errorf("%d pieces, want %d", n, tc.patches)
			}
			there(t, reg, desc)
		})
	}
	// A registry that takes nothing says so, and is not asked for ever.
	reg := remotetest.Start(t)
	reg.MaxBody = 1000
	src, desc := noise(t, 5*mib)
	if err := client(t, remote.Options{}).Repository(reg.Ref("app")).PutBlob(t.Context(), src, desc); !errdefs.IsLimit(err) {
		t.Errorf("%v; want a limit", err)
	}
}

// TestTokensEnd gives out tokens that are good for three requests each, and breaks connections besides: push and pull go on.
func TestTokensEnd(t *testing.T) {
	reg := remotetest.Start(t)
	var left, tokens atomic.Int64
	guard := func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/token" {
			tokens.Add(1)
			left.Store(3)
			_, _ = io.WriteString(w, `{"token":"t","expires_in":3600}`)
			return true
		}
		if left.Add(-1) < 0 || r.Header.Get("Authorization") != "Bearer t" {
			w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+reg.Address+`/token",service="s"`)
			remotetest.Fail(w, http.StatusUnauthorized, "UNAUTHORIZED")
			return true
		}
		return false
	}
	var n atomic.Int64
	reg.Before = func(w http.ResponseWriter, r *http.Request) bool {
		if _, ok := w.(*cut); ok {
			return false
		}
		if guard(w, r) {
			return true
		}
		r.Body = &cutBody{r.Body, 100_000, &n}
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/sha256") {
			reg.ServeHTTP(&cut{w, 100_000}, r)
			return true
		}
		return false
	}
	repo := client(t, remote.Options{ChunkSize: 300_000}).Repository(reg.Ref("app"))
	src, desc := noise(t, 2<<20)
	if err := repo.PutBlob(t.Context(), src, desc); err != nil {
		t.Fatal(err)
	}
	if _, err := content.ReadAll(t.Context(), repo, desc, 1<<30); err != nil {
		t.Fatal(err)
	}
	if n.Load() > desc.Size || tokens.Load() < 10 {
		t.Errorf("%d bytes sent with %d tokens", n.Load(), tokens.Load())
	}
}

// broken is a source that cannot be read to its end.
type broken struct{ content.Provider }

type brokenReader struct{ content.Reader }

var errBroken = errors.New("a bad sector")

func (b brokenReader) Read(p []byte) (int, error) {
	n, _ := b.Reader.Read(p[:min(len(p), 1000)])
	return n, errBroken
}

func (b broken) Open(ctx context.Context, d ocispec.Descriptor) (content.Reader, error) {
	r, err := b.Provider.Open(ctx, d)
	return brokenReader{r}, err
}

// TestUploadOfBrokenSource: it is not the connection that is blamed, and the source is not read again and again.
func TestUploadOfBrokenSource(t *testing.T) {
	reg := remotetest.Start(t)
	src, desc := noise(t, 1<<20)
	err := client(t, remote.Options{}).Repository(reg.Ref("app")).PutBlob(t.Context(), broken{src}, desc)
	if n := len(reg.Calls("POST uploads")); !errors.Is(err, errBroken) || n != 1 {
		t.Errorf("%v, after %d uploads", err, n)
	}
}

// TestUploadGoesOnFromARegistry copies between two registries, both of which break: what was read is not read again.
func TestUploadGoesOnFromARegistry(t *testing.T) {
	from, to := remotetest.Start(t), remotetest.Start(t)
	src, desc := noise(t, 2<<20)
	c := client(t, remote.Options{})
	if err := c.Repository(from.Ref("app")).PutBlob(t.Context(), src, desc); err != nil {
		t.Fatal(err)
	}
	var ranges atomic.Int64
	from.Before = func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Range") != "" {
			ranges.Add(1)
		}
		return false
	}
	cutBodies(to, 500_000)
	target := c.Repository(to.Ref("app")).Target("", ocispec.Descriptor{Digest: digest.FromString("none")})
	if err := transfer.Push(t.Context(), c.Repository(from.Ref("app")), target, desc, transfer.Options{}); err != nil {
		t.Fatal(err)
	}
	if n := ranges.Load(); n < 4 || n > 5 {
		t.Errorf("%d ranges were asked for", n)
	}
	there(t, to, desc)
}
