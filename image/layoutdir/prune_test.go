package layoutdir_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/camada/camada/image"
	"github.com/camada/camada/image/imagetest"
	"github.com/camada/camada/image/layoutdir"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// blobsOf lists what is in the directories of blobs.
func blobsOf(t *testing.T, path string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(path, "blobs/*/*"))
	if err != nil {
		t.Fatal(err)
	}
	temps, err := filepath.Glob(filepath.Join(path, "blobs/*/.tmp*"))
	if err != nil {
		t.Fatal(err)
	}
	all := append(names, temps...)
	slices.Sort(all)
	return slices.Compact(all)
}

// whole fails when an entry does not lead to all its blobs.
func whole(t *testing.T, d *layoutdir.Dir) {
	t.Helper()
	for _, e := range d.Entries() {
		err := image.Walk(t.Context(), d, e, image.WalkOptions{}, func(desc ocispec.Descriptor) error {
			_, err := d.Stat(t.Context(), desc.Digest)
			return err
		})
		if err != nil {
			t.Errorf("%s: %v", e.Annotations[ocispec.AnnotationRefName], err)
		}
	}
}

func TestPrune(t *testing.T) {
	ctx := context.Background()
	path := t.TempDir()
	d := create(t, path)
	old := imagetest.Write(t, d, imagetest.Config(), imagetest.Layer("old", "a"), imagetest.Layer("both", "x"))
	if err := d.Add(ctx, old, "latest"); err != nil {
		t.Fatal(err)
	}
	other := imagetest.Write(t, d, imagetest.Config(), imagetest.Layer("other", "o"))
	if err := d.Add(ctx, other, "other"); err != nil {
		t.Fatal(err)
	}
	before := len(blobsOf(t, path))
	if err := d.Prune(ctx); err != nil || len(blobsOf(t, path)) != before {
		t.Fatalf("nothing was useless, and %d blobs of %d are left, %v", len(blobsOf(t, path)), before, err)
	}
	now := imagetest.Write(t, d, imagetest.Config(), imagetest.Layer("new", "b"), imagetest.Layer("both", "x"))
	if err := d.Add(ctx, now, "latest"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"blobs/sha256/.tmp-left", ".tmp-left", "blobs/sha256/notes.txt"} {
		if err := os.WriteFile(filepath.Join(path, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	all := len(blobsOf(t, path))
	reader, err := layoutdir.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Prune(ctx); err != nil || len(blobsOf(t, path)) != all {
		t.Errorf("beside a reader %d of %d blobs are left, %v", len(blobsOf(t, path)), all, err)
	}
	reader.Close()
	if err := d.Prune(ctx); err != nil {
		t.Fatal(err)
	}
	for _, gone := range []digest.Digest{old.Digest} {
		if _, err := d.Stat(ctx, gone); err == nil {
			t.Errorf("%s is there still", gone)
		}
	}
	// Manifest and layer of the old image, and the two files that were left; the config is that of the others.
	if got := blobsOf(t, path); len(got) >= all-2 {
		t.Errorf("%d blobs of %d are left", len(got), all)
	}
	if _, err := os.Stat(filepath.Join(path, "blobs/sha256/notes.txt")); err != nil {
		t.Errorf("a file that is no blob: %v", err)
	}
	if _, err := os.Stat(filepath.Join(path, ".tmp-left")); err == nil {
		t.Error("what a killed writer left is there still")
	}
	whole(t, d)
}

func TestPruneNeedsDocuments(t *testing.T) {
	ctx := context.Background()
	path := t.TempDir()
	d := create(t, path)
	desc := imagetest.Write(t, d, imagetest.Config(), imagetest.Layer("f", "a"))
	if err := d.Add(ctx, desc, "a"); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(path, "blobs/sha256", desc.Digest.Encoded())
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	data[0] = '['
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	before := blobsOf(t, path)
	if err := d.Prune(ctx); err == nil || !slices.Equal(blobsOf(t, path), before) {
		t.Errorf("with a damaged manifest: %v, %d of %d blobs", err, len(blobsOf(t, path)), len(before))
	}
}

// TestManyWriters: writers that make one layout at once lose no entry, and prune nothing that another one needs.
func TestManyWriters(t *testing.T) {
	path := filepath.Join(t.TempDir(), "layout")
	const writers = 8
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for round := range 3 {
				d, err := layoutdir.Create(t.Context(), path)
				if err != nil {
					t.Error(err)
					return
				}
				desc := imagetest.Write(t, d, imagetest.Config(), imagetest.Layer("f", fmt.Sprint(w, round)), imagetest.Layer("all", "same"))
				if err := d.Add(t.Context(), desc, fmt.Sprint("w", w)); err != nil {
					t.Error(err)
				}
				if err := d.Prune(t.Context()); err != nil {
					t.Error(err)
				}
				d.Close()
			}
		})
	}
	wg.Wait()
	d, err := layoutdir.Create(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if len(d.Entries()) != writers {
		t.Errorf("%d entries, want %d", len(d.Entries()), writers)
	}
	if err := d.Prune(t.Context()); err != nil {
		t.Error(err)
	}
	whole(t, d)
	if got := len(blobsOf(t, path)); got > 3*writers+1 {
		t.Errorf("%d blobs are left", got)
	}
}
