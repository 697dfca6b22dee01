package engine

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/image/imagetest"
	"github.com/camada/camada/platform"
	"github.com/camada/camada/remote"
	"github.com/camada/camada/remote/remotetest"
	"github.com/camada/camada/transfer"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// pushIndex puts an index of two images, of which the first is for this machine, and a manifest about that one into the registry.
func pushIndex(t *testing.T, reg *remotetest.Registry, name string) (index, here, about ocispec.Descriptor) {
	t.Helper()
	src := &imagetest.Memory{}
	cfg := imagetest.Config()
	cfg.Platform = platform.Host()
	here = imagetest.Write(t, src, cfg, imagetest.Layer("one", randomText(1, 100_000)))
	here.Platform = &cfg.Platform
	other := imagetest.Config()
	other.Architecture = "s390x"
	there := imagetest.Write(t, src, other, imagetest.Layer("two", randomText(2, 100_000)))
	there.Platform = &other.Platform
	index, err := image.WriteIndex(t.Context(), src, []ocispec.Descriptor{here, there}, nil)
	if err != nil {
		t.Fatal(err)
	}
	note, err := content.WriteBlob(t.Context(), src, []byte("a note"))
	if err != nil {
		t.Fatal(err)
	}
	note.MediaType = "text/plain"
	about, err = image.WriteArtifact(t.Context(), src, image.Artifact{Type: "application/x-note", Subject: &here, Layers: []ocispec.Descriptor{note}})
	if err != nil {
		t.Fatal(err)
	}
	c := remote.New(remote.Options{})
	defer c.Close()
	ref := reg.Ref(name)
	for tag, d := range map[string]ocispec.Descriptor{ref.Tag: index, "": about} {
		if err := transfer.Push(t.Context(), src, c.Repository(ref).Target(tag, d), d, transfer.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	return index, here, about
}

func mustCopy(t *testing.T, e *Engine, o CopyImageOptions) CopyImageResult {
	t.Helper()
	res, err := e.CopyImage(t.Context(), o, nil)
	if err != nil {
		t.Fatalf("copy %s to %s: %v", o.Source, o.Destination, err)
	}
	return res
}

// TestCopyImage goes from a registry through each other transport back to a registry.
func TestCopyImage(t *testing.T) {
	reg, second := remotetest.Start(t), remotetest.Start(t)
	reg.Referrers, second.Referrers = true, true
	index, here, about := pushIndex(t, reg, "team/app:1")
	from := "docker://" + reg.Ref("team/app:1").String()
	dir := t.TempDir()
	for _, tc := range []struct {
		name, via string
		all       bool
		referrers int
	}{
		{"layout", "oci:" + dir + "/layout:v1", false, 1},
		{"layout of all", "oci:" + dir + "/whole:v1", true, 1},
		{"OCI archive", "oci-archive:" + dir + "/a.tar:app:v1", true, 1},
		{"docker archive", "docker-archive:" + dir + "/d.tar:app:v1", false, 0},
		{"store", "app:v1", true, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := machine(t)
			want := here
			if tc.all {
				want = index
			}
			o := CopyImageOptions{Source: from, Destination: tc.via, All: tc.all, Referrers: tc.referrers > 0}
			if res := mustCopy(t, e, o); res.Digest != want.Digest || res.Referrers != tc.referrers || res.Bytes == 0 && tc.name != "docker archive" {
				t.Fatalf("%+v; want %s and %d referrers", res, want.Digest, tc.referrers)
			}
			if tc.name != "store" && holdsBlobs(t, e) {
				t.Error("blobs that only went through are in the store")
			}
			to := second.Ref(strings.ReplaceAll(strings.ToLower(tc.name), " ", "-") + ":2")
			o.Source, o.Destination = tc.via, "docker://"+to.String()
			res := mustCopy(t, e, o)
			got, err := e.registries().Repository(to).Resolve(t.Context(), "2")
			if err != nil || got.Digest != res.Digest || res.Digest != want.Digest && tc.name != "docker archive" {
				t.Errorf("%v, %v; want %s", got, err, want.Digest)
			}
			list, err := e.registries().Repository(to).Referrers(t.Context(), here.Digest, "")
			if err != nil || len(list) != tc.referrers || len(list) > 0 && list[0].Digest != about.Digest {
				t.Errorf("referrers: %v, %v", list, err)
			}
		})
	}
}

func holdsBlobs(t *testing.T, e *Engine) bool {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(e.root, "blobs", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	left, _ := filepath.Glob(filepath.Join(e.root, "tmp", "*", "*"))
	return len(found)+len(left) > 0
}

// TestCopyWithinRegistry mounts, and sends what is not there only.
func TestCopyWithinRegistry(t *testing.T) {
	reg := remotetest.Start(t)
	_, here, _ := pushIndex(t, reg, "team/app:1")
	e := machine(t)
	reg.Forget()
	o := CopyImageOptions{Source: "docker://" + reg.Ref("team/app:1").String(), Destination: "docker://" + reg.Ref("other/app:2").String()}
	if res := mustCopy(t, e, o); res.Copied != 1 || res.Present != 2 {
		t.Errorf("%+v; want the manifest alone to be sent", res)
	}
	if n := len(reg.Calls("GET blobs")) + len(reg.Calls("PUT uploads")); n > 0 {
		t.Errorf("%d blobs were moved: %v", n, reg.Calls(""))
	}
	o.Destination += "@" + here.Digest.String()
	mustCopy(t, e, o)
	o.Destination = "docker://" + reg.Ref("other/app").String() + "@sha256:" + strings.Repeat("0", 64)
	if _, err := e.CopyImage(t.Context(), o, nil); !errdefs.IsInvalid(err) {
		t.Errorf("to another digest: %v", err)
	}
}

// TestCopyDamaged: what is not as it was promised arrives nowhere.
func TestCopyDamaged(t *testing.T) {
	reg := remotetest.Start(t)
	img := pushSample(t, reg, "app:1", imagetest.Layer("one", randomText(1, 200_000)))
	reg.Damage(img.Layers[0].Digest)
	dir := t.TempDir()
	e := machine(t)
	second := remotetest.Start(t)
	for _, to := range []string{"oci:" + dir + "/layout", "oci-archive:" + dir + "/a.tar", "docker-archive:" + dir + "/d.tar", "app:1", "docker://" + second.Ref("app:1").String()} {
		if _, err := e.CopyImage(t.Context(), CopyImageOptions{Source: "docker://" + reg.Ref("app:1").String(), Destination: to}, nil); err == nil {
			t.Errorf("%s: no error", to)
		}
	}
	for _, name := range []string{"a.tar", "d.tar", "layout/blobs/sha256/" + img.Layers[0].Digest.Encoded()} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			t.Errorf("%s is there", name)
		}
	}
	if tmp, _ := filepath.Glob(filepath.Join(dir, ".camada-*")); len(tmp) > 0 {
		t.Errorf("left: %v", tmp)
	}
	if len(second.Calls("PUT manifests")) > 0 {
		t.Error("the manifest was pushed without its layer")
	}
}

func TestParseTransport(t *testing.T) {
	for text, want := range map[string]string{
		"app:1": "/app:1", "docker://ghcr.io/o/app": "docker/ghcr.io/o/app", "oci:dir:1": "oci/dir:1", "oci-archive:a.tar": "oci-archive/a.tar",
		"docker-archive:a.tar:b/c:1": "docker-archive/a.tar:b/c:1", "localhost:5000/app": "/localhost:5000/app", "app@{1}": "/app@{1}",
	} {
		got, err := parseTransport(text)
		if err != nil || got.kind+"/"+got.rest != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for text, is := range map[string]func(error) bool{
		"docker:ghcr.io/o/app": errdefs.IsInvalid, "dir:/x": errdefs.IsUnsupported, "containers-storage:x": errdefs.IsUnsupported, "oci:": errdefs.IsInvalid,
	} {
		if _, err := parseTransport(text); !is(err) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
