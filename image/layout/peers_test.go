package layout_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/content"
	"github.com/camada/camada/content/local"
	"github.com/camada/camada/image"
	"github.com/camada/camada/image/layout"
	"github.com/camada/camada/reference"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// peer finds a program that reads image layouts, or skips the test.
func peer(t *testing.T, name string) string {
	t.Helper()
	if dir := os.Getenv("PEERS_DIR"); dir != "" {
		if p := filepath.Join(dir, "bin", name); exec.Command("test", "-x", p).Run() == nil {
			return p
		}
	}
	p, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed (PEERS_DIR names a directory with bin/%s)", name, name)
	}
	return p
}

// writeImage stores an image of one layer with one file that has the text.
func writeImage(t *testing.T, store content.Store, text string) ocispec.Descriptor {
	t.Helper()
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	check(t, tw.WriteHeader(&tar.Header{Name: "file", Mode: 0o644, Size: int64(len(text))}))
	_, err := tw.Write([]byte(text))
	check(t, err)
	check(t, tw.Close())
	var zipped bytes.Buffer
	zw := gzip.NewWriter(&zipped)
	_, err = zw.Write(buf.Bytes())
	check(t, err)
	check(t, zw.Close())
	layer, err := content.WriteBlob(t.Context(), store, zipped.Bytes())
	check(t, err)
	layer.MediaType = ocispec.MediaTypeImageLayerGzip
	config, err := content.WriteJSON(t.Context(), store, ocispec.MediaTypeImageConfig, ocispec.Image{
		Platform: ocispec.Platform{Architecture: "amd64", OS: "linux"},
		RootFS:   ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{digest.FromBytes(buf.Bytes())}},
	})
	check(t, err)
	desc, err := content.WriteJSON(t.Context(), store, ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: config, Layers: []ocispec.Descriptor{layer},
	})
	check(t, err)
	return desc
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func parse(t *testing.T, name string) reference.Reference {
	t.Helper()
	ref, err := reference.Parse(name)
	check(t, err)
	return ref
}

// The forms that names take: each must be found by tools that read index.json.
var names = []string{
	"app", "app:1.2", "user/app:v1", "localhost:5000/a/b/c:X_y.z-1", "ghcr.io/o/r:sha-1",
	"a__b:c__d", "a---b/c:1", "[::1]:5000/x:1", "Host.example/x:1", "x:_a", "x:a-", "x:a..b",
}

func TestOtherToolsReadNames(t *testing.T) {
	skopeo := peer(t, "skopeo")
	root := t.TempDir()
	store, refs := local.Open(root, local.Options{}), layout.Open(root)
	want := map[string]ocispec.Descriptor{}
	for _, name := range names {
		want[name] = writeImage(t, store, name)
		check(t, refs.Set(t.Context(), parse(t, name), want[name], image.SetOptions{Verb: "test"}))
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			tag, err := refs.Get(t.Context(), parse(t, name))
			check(t, err)
			out, err := exec.Command(skopeo, "inspect", "oci:"+root+":"+layout.Name(tag)).CombinedOutput()
			if err != nil {
				t.Fatalf("skopeo inspect: %v\n%s", err, out)
			}
			var got struct{ Digest digest.Digest }
			check(t, json.Unmarshal(out, &got))
			if got.Digest != want[name].Digest {
				t.Errorf("skopeo found %s, want %s", got.Digest, want[name].Digest)
			}
		})
	}
}

func TestOtherToolsReadTheWhole(t *testing.T) {
	root := t.TempDir()
	store, refs := local.Open(root, local.Options{}), layout.Open(root)
	check(t, refs.Init(t.Context()))
	for _, name := range []string{"app:1", "app:2", "user/x:1"} {
		check(t, refs.Set(t.Context(), parse(t, name), writeImage(t, store, name), image.SetOptions{Verb: "test"}))
	}
	t.Run("crane validate", func(t *testing.T) {
		// crane pushes from a layout, and validates what it pushed.
		crane := peer(t, "crane")
		host := craneRegistry(t, crane)
		out, err := exec.Command(crane, "push", "--index", root, host+"/whole:1").CombinedOutput()
		if err != nil {
			t.Fatalf("crane push: %v\n%s", err, out)
		}
		out, err = exec.Command(crane, "validate", "--remote", host+"/whole:1").CombinedOutput()
		if err != nil {
			t.Fatalf("crane validate: %v\n%s", err, out)
		}
	})
	t.Run("umoci list", func(t *testing.T) {
		out, err := exec.Command(peer(t, "umoci"), "list", "--layout", root).CombinedOutput()
		if err != nil {
			t.Fatalf("umoci list: %v\n%s", err, out)
		}
		if got := strings.Fields(string(out)); strings.Join(got, " ") != "app:1 app:2 user/x:1" {
			t.Errorf("umoci lists %q", got)
		}
	})
}

// craneRegistry starts crane's registry for the time of the test.
func craneRegistry(t *testing.T, crane string) (host string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	host = l.Addr().String()
	l.Close()
	cmd := exec.Command(crane, "registry", "serve", "--address", host)
	check(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for range 200 {
		c, err := net.Dial("tcp", host)
		if err == nil {
			c.Close()
			return host
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("the registry of crane did not start")
	return ""
}
