package tarball_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/camada/camada/content"
	"github.com/camada/camada/content/local"
	"github.com/camada/camada/image"
	"github.com/camada/camada/image/imagetest"
	"github.com/camada/camada/image/tarball"
	"github.com/camada/camada/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func newStore(tb testing.TB) *local.Store {
	tb.Helper()
	return local.Open(tb.TempDir(), local.Options{})
}

func parse(tb testing.TB, names ...string) []reference.Reference {
	tb.Helper()
	var refs []reference.Reference
	for _, n := range names {
		r, err := reference.Parse(n)
		if err != nil {
			tb.Fatal(err)
		}
		refs = append(refs, r)
	}
	return refs
}

func save(tb testing.TB, p content.Provider, images []tarball.Image, opts tarball.SaveOptions) []byte {
	tb.Helper()
	var buf bytes.Buffer
	if err := tarball.Save(context.Background(), &buf, p, images, opts); err != nil {
		tb.Fatal(err)
	}
	return buf.Bytes()
}

func familiar(l tarball.Loaded) []string {
	var names []string
	for _, n := range l.Names {
		names = append(names, n.Familiar())
	}
	return names
}

func entries(tb testing.TB, archive []byte) (names []string, files map[string][]byte) {
	tb.Helper()
	files = map[string][]byte{}
	tr := tar.NewReader(bytes.NewReader(archive))
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return names, files
		}
		if err != nil {
			tb.Fatal(err)
		}
		data, err := io.ReadAll(tr)
		if err != nil {
			tb.Fatal(err)
		}
		names, files[h.Name] = append(names, h.Name), data
	}
}

func TestRoundTrip(t *testing.T) {
	ctx := context.Background()
	src := newStore(t)
	base := imagetest.Layer("etc/os", "one")
	a := imagetest.Write(t, src, imagetest.Config(), base, imagetest.Layer("a", strings.Repeat("a", 100000)))
	cfg := imagetest.Config()
	cfg.Config.Cmd = []string{"b"}
	b := imagetest.Write(t, src, cfg, base)
	empty := imagetest.Write(t, src, imagetest.Config())
	images := []tarball.Image{
		{Descriptor: a, Names: parse(t, "a:1", "example.org:5000/x/a:2")},
		{Descriptor: b, Names: parse(t, "b")},
		{Descriptor: empty},
	}
	for _, format := range []tarball.Format{tarball.Combined, tarball.OCI, tarball.Docker} {
		t.Run("format "+string(format), func(t *testing.T) {
			archive := save(t, src, images, tarball.SaveOptions{Format: format})
			if again := save(t, src, images, tarball.SaveOptions{Format: format}); !bytes.Equal(archive, again) {
				t.Error("the same images gave another archive")
			}
			for _, packed := range [][]byte{archive, imagetest.Gzip(archive)} {
				dst := newStore(t)
				loaded, err := tarball.Load(ctx, bytes.NewReader(packed), dst, tarball.LoadOptions{})
				if err != nil {
					t.Fatal(err)
				}
				if len(loaded) != len(images) {
					t.Fatalf("%d images came back, want %d", len(loaded), len(images))
				}
				for i, l := range loaded {
					if !slices.Equal(l.Names, images[i].Names) {
						t.Errorf("image %d has the names %v, want %v", i, l.Names, images[i].Names)
					}
					if format != tarball.Docker && l.Descriptor.Digest != images[i].Descriptor.Digest {
						t.Errorf("image %d has the digest %s, want %s", i, l.Descriptor.Digest, images[i].Descriptor.Digest)
					}
					checkSame(t, dst, l.Descriptor, src, images[i].Descriptor)
				}
			}
		})
	}
}

// checkSame checks that two images have the same config and that the layers are there.
func checkSame(t *testing.T, p content.Provider, got ocispec.Descriptor, q content.Provider, want ocispec.Descriptor) {
	t.Helper()
	ctx := context.Background()
	x, err := image.Open(ctx, p, got, ocispec.Platform{})
	if err != nil {
		t.Fatal(err)
	}
	y, err := image.Open(ctx, q, want, ocispec.Platform{})
	if err != nil {
		t.Fatal(err)
	}
	if x.ID() != y.ID() {
		t.Errorf("image ID %s, want %s", x.ID(), y.ID())
	}
	for _, l := range x.Layers {
		if _, err := content.ReadAll(ctx, p, l, 1<<30); err != nil {
			t.Errorf("layer: %v", err)
		}
	}
}

func TestCombinedIsBoth(t *testing.T) {
	src := newStore(t)
	desc := imagetest.Write(t, src, imagetest.Config(), imagetest.Layer("f", "f"))
	names, files := entries(t, save(t, src, []tarball.Image{{Descriptor: desc, Names: parse(t, "app:1")}}, tarball.SaveOptions{}))
	if want := []string{"oci-layout", "index.json", "manifest.json", "blobs/", "blobs/sha256/"}; !slices.Equal(names[:5], want) {
		t.Errorf("the archive begins with %v, want %v", names[:5], want)
	}
	var items []struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	if err := json.Unmarshal(files["manifest.json"], &items); err != nil {
		t.Fatal(err)
	}
	if len(items) != 1 || !slices.Equal(items[0].RepoTags, []string{"docker.io/library/app:1"}) || len(items[0].Layers) != 1 {
		t.Fatalf("manifest.json is %s", files["manifest.json"])
	}
	for _, f := range append(items[0].Layers, items[0].Config) {
		if files[f] == nil {
			t.Errorf("manifest.json names %s, which is not there", f)
		}
	}
	var idx ocispec.Index
	if err := json.Unmarshal(files["index.json"], &idx); err != nil {
		t.Fatal(err)
	}
	if a := idx.Manifests[0].Annotations; a[image.NameAnnotation] != "docker.io/library/app:1" || a[ocispec.AnnotationRefName] != "app:1" {
		t.Errorf("index.json has the annotations %v", a)
	}
}

func TestSaveToFile(t *testing.T) {
	src := newStore(t)
	desc := imagetest.Write(t, src, imagetest.Config(), imagetest.Layer("f", strings.Repeat("kernel copies this ", 10000)))
	images := []tarball.Image{{Descriptor: desc}}
	want := save(t, src, images, tarball.SaveOptions{})
	for name, flag := range map[string]int{"plain": 0, "append": os.O_APPEND} {
		path := filepath.Join(t.TempDir(), name)
		f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|flag, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if err := tarball.Save(context.Background(), f, src, images, tarball.SaveOptions{}); err != nil {
			t.Fatal(err)
		}
		f.Close()
		if got, _ := os.ReadFile(path); !bytes.Equal(got, want) {
			t.Errorf("%s: a file gets %d bytes that differ from the %d of a buffer", name, len(got), len(want))
		}
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	done := make(chan error, 1)
	go func() {
		err := tarball.Save(context.Background(), w, src, images, tarball.SaveOptions{})
		w.Close()
		done <- err
	}()
	got, _ := io.ReadAll(r)
	if err := <-done; err != nil || !bytes.Equal(got, want) {
		t.Errorf("a pipe gets %d bytes that differ from the %d of a buffer: %v", len(got), len(want), err)
	}
}
