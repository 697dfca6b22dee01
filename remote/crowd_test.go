package remote_test

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/camada/camada/content"
	"github.com/camada/camada/content/local"
	"github.com/camada/camada/image/imagetest"
	"github.com/camada/camada/remote"
	"github.com/camada/camada/remote/remotetest"
	"github.com/camada/camada/transfer"
)

// TestEachOnce fetches one blob into one store by many stores at once, as processes do.
func TestEachOnce(t *testing.T) {
	ctx := context.Background()
	reg := remotetest.Start(t)
	repo := client(t, remote.Options{}).Repository(reg.Ref("app"))
	src := &imagetest.Memory{}
	desc, err := content.WriteBlob(ctx, src, bytes.Repeat([]byte("x"), 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	if err := repo.PutBlob(ctx, src, desc); err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			err := transfer.Blob(ctx, repo, local.Open(root, local.Options{}), desc, transfer.Options{Resume: true})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := reg.Calls("GET blobs"); len(got) != 1 {
		t.Errorf("it was fetched %d times", len(got))
	}
}

// TestResumedPull goes on where an interrupted pull stopped.
func TestResumedPull(t *testing.T) {
	ctx := context.Background()
	reg := remotetest.Start(t)
	ref := reg.Ref("app")
	src := &imagetest.Memory{}
	data := bytes.Repeat([]byte("0123456789"), 100_000)
	desc, err := content.WriteBlob(ctx, src, data)
	if err != nil {
		t.Fatal(err)
	}
	if err := client(t, remote.Options{}).Repository(ref).PutBlob(ctx, src, desc); err != nil {
		t.Fatal(err)
	}
	var ranges []string
	breaks := true
	reg.Before = func(w http.ResponseWriter, r *http.Request) bool {
		if _, ok := w.(*cut); ok || r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/blobs/") {
			return false
		}
		ranges = append(ranges, r.Header.Get("Range"))
		if breaks {
			reg.ServeHTTP(&cut{w, 600_000}, r)
		}
		return false
	}
	store := local.Open(t.TempDir(), local.Options{})
	o := transfer.Options{Resume: true}
	if err := transfer.Blob(ctx, client(t, remote.Options{Tries: 1}).Repository(ref), store, desc, o); err == nil {
		t.Fatal("the connection did not break")
	}
	breaks = false
	if err := transfer.Blob(ctx, client(t, remote.Options{}).Repository(ref), store, desc, o); err != nil {
		t.Fatal(err)
	}
	if last := ranges[len(ranges)-1]; !strings.HasPrefix(last, "bytes=6") && !strings.HasPrefix(last, "bytes=5") {
		t.Errorf("it began again: %q", ranges)
	}
	if got, err := content.ReadAll(ctx, store, desc, desc.Size); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}
