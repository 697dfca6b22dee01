package remote_test

import (
	"bytes"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/camada/camada/content"
	"github.com/camada/camada/content/local"
	"github.com/camada/camada/image/imagetest"
	"github.com/camada/camada/remote"
	"github.com/camada/camada/remote/remotetest"
	"github.com/camada/camada/transfer"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// TestCutEvery64KiB breaks the connection after each 64 KiB of a blob: it arrives whole, from where it was each time.
func TestCutEvery64KiB(t *testing.T) {
	const piece = 64 << 10
	data := make([]byte, 20*piece+123)
	_, _ = rand.NewChaCha8([32]byte{3}).Read(data)
	reg, src := remotetest.Start(t), &imagetest.Memory{}
	repo := client(t, remote.Options{}).Repository(reg.Ref("app"))
	desc, err := content.WriteBlob(t.Context(), src, data)
	if err != nil {
		t.Fatal(err)
	}
	if err := repo.PutBlob(t.Context(), src, desc); err != nil {
		t.Fatal(err)
	}
	var sent atomic.Int64
	reg.Before = func(w http.ResponseWriter, r *http.Request) bool {
		if _, ok := w.(*cut); ok || r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/blobs/") {
			return false
		}
		sent.Add(1)
		reg.ServeHTTP(&cut{w, piece}, r)
		return true
	}
	store := local.Open(t.TempDir(), local.Options{})
	desc.MediaType = "application/octet-stream"
	if err := transfer.Blob(t.Context(), repo, store, desc, transfer.Options{Resume: true}); err != nil {
		t.Fatal(err)
	}
	got, err := content.ReadAll(t.Context(), store, desc, 1<<30)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if n := sent.Load(); n < 20 || n > 30 {
		t.Errorf("%d requests for 21 pieces", n)
	}
}

// TestDamagedRest: what an interrupted copy left may be wrong, and then the blob is fetched anew.
func TestDamagedRest(t *testing.T) {
	reg, src := remotetest.Start(t), &imagetest.Memory{}
	repo := client(t, remote.Options{}).Repository(reg.Ref("app"))
	desc, err := content.WriteBlob(t.Context(), src, bytes.Repeat([]byte("right"), 1000))
	if err != nil {
		t.Fatal(err)
	}
	if err := repo.PutBlob(t.Context(), src, desc); err != nil {
		t.Fatal(err)
	}
	store := local.Open(t.TempDir(), local.Options{})
	w, err := store.Writer(t.Context(), content.WriterOptions{Ref: "copy-" + desc.Digest.String()})
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write([]byte("wrong"))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	desc.MediaType = "application/octet-stream"
	if err := transfer.Blob(t.Context(), repo, store, desc, transfer.Options{Resume: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := content.ReadAll(t.Context(), store, ocispec.Descriptor{Digest: desc.Digest}, 1<<20); err != nil {
		t.Error(err)
	}
}

// TestAsksSideBySide holds each question for a blob until a second one has come.
func TestAsksSideBySide(t *testing.T) {
	reg, src := remotetest.Start(t), &imagetest.Memory{}
	desc := imagetest.Write(t, src, imagetest.Config(), imagetest.Layer("a", "1"), imagetest.Layer("b", "2"), imagetest.Layer("c", "3"))
	repo := client(t, remote.Options{}).Repository(reg.Ref("app"))
	var n atomic.Int64
	all := make(chan struct{})
	reg.Before = func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodHead && strings.Contains(r.URL.Path, "/blobs/") {
			if n.Add(1) == 4 {
				close(all)
			}
			<-all
		}
		return false
	}
	if err := transfer.Push(t.Context(), src, repo.Target("1", desc), desc, transfer.Options{Concurrency: 2}); err != nil {
		t.Fatal(err)
	}
	if asked := len(reg.Calls("HEAD blobs")); asked != 4 {
		t.Errorf("%d questions for four blobs", asked)
	}
}
