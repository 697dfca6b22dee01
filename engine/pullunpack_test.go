package engine

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/image/imagetest"
	"github.com/camada/camada/platform"
	"github.com/camada/camada/remote"
	"github.com/camada/camada/remote/remotetest"
	"github.com/camada/camada/transfer"
	"github.com/camada/camada/unpack"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// randomText is n bytes that no compressor makes smaller.
func randomText(seed byte, n int) string {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	return string(b)
}

// pushSample puts an image for this machine, made of tars, into the registry.
func pushSample(t *testing.T, reg *remotetest.Registry, name string, tars ...[]byte) *image.Image {
	t.Helper()
	cfg := imagetest.Config()
	cfg.Platform = platform.Host()
	src := &imagetest.Memory{}
	desc := imagetest.Write(t, src, cfg, tars...)
	ref := reg.Ref(name)
	c := remote.New(remote.Options{})
	defer c.Close()
	if err := transfer.Push(t.Context(), src, c.Repository(ref).Target(ref.Tag, desc), desc, transfer.Options{}); err != nil {
		t.Fatal(err)
	}
	img, err := image.Open(t.Context(), src, desc, ocispec.Platform{})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// holding sends the first bytes of an answer, and the others when it may.
type holding struct {
	http.ResponseWriter
	left int
	wait func()
}

func (h *holding) Write(p []byte) (int, error) {
	if h.left < len(p) && h.wait != nil {
		n, err := h.ResponseWriter.Write(p[:h.left])
		if err != nil {
			return n, err
		}
		h.ResponseWriter.(http.Flusher).Flush()
		h.wait()
		h.wait = nil
		m, err := h.ResponseWriter.Write(p[n:])
		return n + m, err
	}
	h.left -= len(p)
	return h.ResponseWriter.Write(p)
}

func unpackedTop(t *testing.T, e *Engine, img *image.Image) error {
	t.Helper()
	snaps, err := e.snapshots(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = snaps.Lookup(t.Context(), unpack.ChainID(img.DiffIDs))
	return err
}

// TestPullUnpacksMeanwhile has a registry that sends the rest of a layer only after files of its beginning were unpacked.
func TestPullUnpacksMeanwhile(t *testing.T) {
	reg := remotetest.Start(t)
	img := pushSample(t, reg, "app:1", imagetest.Layer("first", randomText(1, 3<<20), "second", randomText(2, 3<<20)), imagetest.Layer("third", "3"))
	e := machine(t)
	first := filepath.Join(e.root, "snapshots", "*", "tmp-*", "fs", "first")
	early := false
	reg.Before = func(w http.ResponseWriter, r *http.Request) bool {
		if _, ok := w.(*holding); ok || r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, img.Layers[0].Digest.String()) {
			return false
		}
		reg.ServeHTTP(&holding{w, 5 << 20, func() {
			for end := time.Now().Add(30 * time.Second); !early && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
				found, _ := filepath.Glob(first)
				early = len(found) > 0
			}
		}}, r)
		return true
	}
	if _, err := e.Pull(t.Context(), PullOptions{Image: reg.Ref("app:1").String()}, nil); err != nil {
		t.Fatal(err)
	}
	if !early {
		t.Error("nothing was unpacked before the layer was whole")
	}
	if err := unpackedTop(t, e, img); err != nil {
		t.Error(err)
	}
}

// TestPullVerifies: of a layer that is not what was promised nothing gets a name, however far it was unpacked.
func TestPullVerifies(t *testing.T) {
	for name, damage := range map[string]func(*testing.T, *remotetest.Registry) *image.Image{
		"another blob": func(t *testing.T, reg *remotetest.Registry) *image.Image {
			img := pushSample(t, reg, "app:1", imagetest.Layer("first", randomText(1, 1<<20)))
			reg.Damage(img.Layers[0].Digest)
			return img
		},
		"another tar": func(t *testing.T, reg *remotetest.Registry) *image.Image {
			cfg := imagetest.Config()
			cfg.Platform = platform.Host()
			src := &imagetest.Memory{}
			cfg.RootFS.DiffIDs = []digest.Digest{digest.FromString("another tar")}
			good := pushSample(t, reg, "good:1", imagetest.Layer("first", randomText(1, 1<<20)))
			desc, err := image.Write(t.Context(), src, cfg, good.Layers, nil)
			if err != nil {
				t.Fatal(err)
			}
			c := remote.New(remote.Options{})
			defer c.Close()
			target := c.Repository(reg.Ref("app:1")).Target("1", desc)
			target.MountFrom = func(digest.Digest) []string { return []string{"good"} }
			if err := transfer.Push(t.Context(), src, target, desc, transfer.Options{}); err != nil {
				t.Fatal(err)
			}
			img, err := image.Open(t.Context(), src, desc, ocispec.Platform{})
			if err != nil {
				t.Fatal(err)
			}
			return img
		},
	} {
		t.Run(name, func(t *testing.T) {
			reg := remotetest.Start(t)
			img := damage(t, reg)
			e := machine(t)
			ref := reg.Ref("app:1").String()
			if _, err := e.Pull(t.Context(), PullOptions{Image: ref}, nil); !errdefs.IsCorrupt(err) {
				t.Errorf("pull: %v", err)
			}
			if err := unpackedTop(t, e, img); !errdefs.IsNotFound(err) {
				t.Errorf("the snapshot has a name: %v", err)
			}
			if _, err := e.resolve(t.Context(), ref); !errdefs.IsNotFound(err) {
				t.Errorf("the image has a name: %v", err)
			}
			if left, _ := filepath.Glob(filepath.Join(e.root, "snapshots", "*", "tmp-*")); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

// TestPullPacked leaves layers as they are: when that is asked for, and when the image is for another platform.
func TestPullPacked(t *testing.T) {
	reg := remotetest.Start(t)
	img := pushSample(t, reg, "app:1", imagetest.Layer("first", "1"))
	e := machine(t)
	if _, err := e.Pull(t.Context(), PullOptions{Image: reg.Ref("app:1").String(), Packed: true}, nil); err != nil {
		t.Fatal(err)
	}
	if err := unpackedTop(t, e, img); !errdefs.IsNotFound(err) {
		t.Errorf("unpacked: %v", err)
	}
	other := *img
	other.Config.Architecture = "s390x"
	if !runsHere(img) || runsHere(&other) {
		t.Error("an image for another platform would be unpacked")
	}
}

// TestPullOfOneAtOnce: two who pull the same image at once fetch each blob once, and both can run it.
func TestPullOfOneAtOnce(t *testing.T) {
	reg := remotetest.Start(t)
	img := pushSample(t, reg, "app:1", imagetest.Layer("first", randomText(1, 1<<20)), imagetest.Layer("second", randomText(2, 1<<20)))
	one := machine(t)
	two, err := Open(t.Context(), Config{Root: one.root, Driver: DriverNative})
	if err != nil {
		t.Fatal(err)
	}
	defer two.Close()
	reg.Forget()
	errs := make(chan error, 2)
	for _, e := range []*Engine{one, two} {
		go func() {
			_, err := e.Pull(context.WithoutCancel(t.Context()), PullOptions{Image: reg.Ref("app:1").String()}, nil)
			errs <- err
		}()
	}
	for range 2 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	for _, l := range img.Layers {
		if n := len(reg.Calls("GET blobs/" + l.Digest.String())); n != 1 {
			t.Errorf("layer %s was fetched %d times", l.Digest, n)
		}
	}
	if err := unpackedTop(t, two, img); err != nil {
		t.Error(err)
	}
	links, _ := filepath.Glob(filepath.Join(one.root, "snapshots", "*", "by-chain", "*"))
	if len(links) != 2 {
		t.Errorf("snapshots: %v", links)
	}
	data, err := os.ReadFile(filepath.Join(one.root, "blobs", "sha256", img.Layers[0].Digest.Encoded()))
	if err != nil || !bytes.Equal(data[:2], []byte{0x1f, 0x8b}) {
		t.Errorf("the blob: %v", err)
	}
}
