package layoutdir_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/image/imagetest"
	"github.com/camada/camada/image/layoutdir"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func create(t *testing.T, path string) *layoutdir.Dir {
	t.Helper()
	d, err := layoutdir.Create(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func TestRoundTrip(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "new", "layout")
	d := create(t, path)
	a := imagetest.Write(t, d, imagetest.Config(), imagetest.Layer("f", "a"))
	b := imagetest.Write(t, d, imagetest.Config(), imagetest.Layer("f", "b"))
	for _, add := range []struct {
		desc ocispec.Descriptor
		name string
	}{{a, "app:1"}, {a, ""}, {b, "app:2"}, {b, "app:1"}, {a, ""}} {
		if err := d.Add(ctx, add.desc, add.name); err != nil {
			t.Fatal(err)
		}
	}
	again, err := layoutdir.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	var got []string
	for _, e := range again.Entries() {
		got = append(got, e.Annotations[ocispec.AnnotationRefName]+"="+e.Digest.Encoded()[:4])
	}
	want := []string{"app:2=" + b.Digest.Encoded()[:4], "app:1=" + b.Digest.Encoded()[:4], "=" + a.Digest.Encoded()[:4]}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("entries %v, want %v", got, want)
	}
	images := again.Images()
	if len(images) != 2 || images[0].Descriptor.Digest != b.Digest || len(images[0].Names) != 2 || images[0].Names[1].Familiar() != "app:1" ||
		images[0].Descriptor.Annotations != nil || images[1].Descriptor.Digest != a.Digest || len(images[1].Names) != 0 {
		t.Errorf("images %+v", images)
	}
	img, err := image.Open(ctx, again, b, ocispec.Platform{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := content.ReadAll(ctx, again, img.Layers[0], 1<<20); err != nil {
		t.Error(err)
	}
	left, err := filepath.Glob(filepath.Join(path, "*", "*", ".tmp-*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
}

func TestSHA512(t *testing.T) {
	ctx := context.Background()
	d := create(t, t.TempDir())
	want := ocispec.Descriptor{Digest: digest.SHA512.FromString("x"), Size: 1}
	if _, err := content.WriteReader(ctx, d, strings.NewReader("x"), want); err != nil {
		t.Fatal(err)
	}
	if data, err := content.ReadAll(ctx, d, want, 10); err != nil || string(data) != "x" {
		t.Errorf("%q, %v", data, err)
	}
	if _, err := content.WriteReader(ctx, d, strings.NewReader("y"), want); !errdefs.IsCorrupt(err) {
		t.Errorf("other bytes: %v", err)
	}
}

func TestHostileLayout(t *testing.T) {
	ctx := context.Background()
	path := t.TempDir()
	d := create(t, path)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	blob := func(text string) (ocispec.Descriptor, string) {
		dgst := digest.FromString(text)
		return ocispec.Descriptor{Digest: dgst, Size: int64(len(text))}, filepath.Join(path, "blobs/sha256", dgst.Encoded())
	}
	link, linkPath := blob("secret")
	if err := os.Symlink(secret, linkPath); err != nil {
		t.Fatal(err)
	}
	if data, err := content.ReadAll(ctx, d, link, 100); err == nil {
		t.Errorf("a link led out of the layout, to %q", data)
	}
	fifo, fifoPath := blob("fifo")
	if err := syscall.Mkfifo(fifoPath, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Open(ctx, fifo); !errdefs.IsCorrupt(err) {
		t.Errorf("a named pipe: %v", err)
	}
	wrong, wrongPath := blob("right")
	if err := os.WriteFile(wrongPath, []byte("wrong"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := content.ReadAll(ctx, d, wrong, 100); !errdefs.IsCorrupt(err) {
		t.Errorf("a wrong digest: %v", err)
	}
	if _, err := d.Open(ctx, ocispec.Descriptor{Digest: "sha256:../../../etc/passwd"}); !errdefs.IsInvalid(err) {
		t.Errorf("a digest with a path: %v", err)
	}
	if _, err := d.Stat(ctx, digest.FromString("nothing")); !errdefs.IsNotFound(err) {
		t.Errorf("a missing blob: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		files map[string]string
		class func(error) bool
	}{
		"empty":          {nil, errdefs.IsNotFound},
		"no index":       {map[string]string{"oci-layout": `{"imageLayoutVersion":"1.0.0"}`}, errdefs.IsNotFound},
		"other version":  {map[string]string{"oci-layout": `{"imageLayoutVersion":"2"}`, "index.json": "{}"}, errdefs.IsUnsupported},
		"no JSON":        {map[string]string{"oci-layout": `x`, "index.json": "{}"}, errdefs.IsCorrupt},
		"no index JSON":  {map[string]string{"oci-layout": `{"imageLayoutVersion":"1.0.0"}`, "index.json": "{}"}, errdefs.IsCorrupt},
		"index too big":  {map[string]string{"oci-layout": `{"imageLayoutVersion":"1.0.0"}`, "index.json": strings.Repeat(" ", 5<<20)}, errdefs.IsLimit},
		"something else": {map[string]string{"notes.txt": "x"}, errdefs.IsNotFound},
	} {
		dir := t.TempDir()
		for f, text := range tc.files {
			if err := os.WriteFile(filepath.Join(dir, f), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := layoutdir.Open(dir); !tc.class(err) {
			t.Errorf("%s: %v", name, err)
		}
		if name == "something else" {
			if _, err := layoutdir.Create(t.Context(), dir); !errdefs.IsConflict(err) {
				t.Errorf("Create over %s: %v", name, err)
			}
		}
	}
	if _, err := layoutdir.Open(filepath.Join(t.TempDir(), "none")); !errdefs.IsNotFound(err) {
		t.Errorf("no directory: %v", err)
	}
}
