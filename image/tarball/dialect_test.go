package tarball_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/image/imagetest"
	"github.com/camada/camada/image/tarball"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/ulikunitz/xz"
)

// file is an entry of a tar; a directory when its name ends in a slash, a link when link is set.
type file struct {
	name, data, link string
	hard             bool
}

func pack(tb testing.TB, files ...file) []byte {
	tb.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, f := range files {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: 0o644, Size: int64(len(f.data)), Linkname: f.link}
		switch {
		case strings.HasSuffix(f.name, "/"):
			h.Typeflag = tar.TypeDir
		case f.hard:
			h.Typeflag = tar.TypeLink
		case f.link != "":
			h.Typeflag = tar.TypeSymlink
		}
		if err := w.WriteHeader(h); err != nil {
			tb.Fatal(err)
		}
		if _, err := w.Write([]byte(f.data)); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return buf.Bytes()
}

func toJSON(tb testing.TB, v any) string {
	tb.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		tb.Fatal(err)
	}
	return string(data)
}

func hex(data string) string { return digest.FromString(data).Encoded() }

// sample is an image of two different layers, the first of which is there twice.
type sample struct {
	one, two, config string
	diffIDs          []digest.Digest
}

func newSample(tb testing.TB) sample {
	tb.Helper()
	s := sample{
		one: string(imagetest.Layer("one", "1")),
		two: string(imagetest.Layer("two", strings.Repeat("2", 200000))),
	}
	s.diffIDs = []digest.Digest{digest.FromString(s.one), digest.FromString(s.two), digest.FromString(s.one)}
	cfg := imagetest.Config()
	cfg.RootFS = ocispec.RootFS{Type: "layers", DiffIDs: s.diffIDs}
	// A field that the types do not know must survive.
	s.config = strings.Replace(toJSON(tb, cfg), "{", `{"docker_version":"20.10.24",`, 1)
	return s
}

// manifest is a manifest.json for the sample.
func (s sample) manifest(tb testing.TB, config string, layers ...string) string {
	tb.Helper()
	return toJSON(tb, []map[string]any{{"Config": config, "RepoTags": []string{"app:1", "example.org/app:2"}, "Layers": layers}})
}

// docker20 is what docker save wrote up to version 24: documents last, equal layers as links.
func (s sample) docker20(tb testing.TB) []byte {
	return pack(tb,
		file{name: "aaa/"}, file{name: "aaa/VERSION", data: "1.0"}, file{name: "aaa/json", data: "{}"}, file{name: "aaa/layer.tar", data: s.one},
		file{name: "bbb/"}, file{name: "bbb/VERSION", data: "1.0"}, file{name: "bbb/json", data: "{}"}, file{name: "bbb/layer.tar", data: s.two},
		file{name: "ccc/"}, file{name: "ccc/VERSION", data: "1.0"}, file{name: "ccc/json", data: "{}"}, file{name: "ccc/layer.tar", link: "../aaa/layer.tar"},
		file{name: hex(s.config) + ".json", data: s.config},
		file{name: "manifest.json", data: s.manifest(tb, hex(s.config)+".json", "aaa/layer.tar", "bbb/layer.tar", "ccc/layer.tar")},
		file{name: "repositories", data: `{"app":{"1":"ccc"}}`},
	)
}

// podman is what podman save writes: layers by diffID, and links for old readers.
func (s sample) podman(tb testing.TB) []byte {
	one, two := hex(s.one)+".tar", hex(s.two)+".tar"
	return pack(tb,
		file{name: one, data: s.one}, file{name: "aaa/layer.tar", link: "../" + one},
		file{name: two, data: s.two}, file{name: "bbb/layer.tar", link: "../" + two},
		file{name: hex(s.config) + ".json", data: s.config},
		file{name: "repositories", data: `{}`},
		file{name: "manifest.json", data: s.manifest(tb, hex(s.config)+".json", one, two, one)},
	)
}

// crane is what crane pull writes: gzip layers.
func (s sample) crane(tb testing.TB) []byte {
	one, two := string(imagetest.Gzip([]byte(s.one))), string(imagetest.Gzip([]byte(s.two)))
	return pack(tb,
		file{name: "sha256:" + hex(s.config), data: s.config},
		file{name: hex(one) + ".tar.gz", data: one},
		file{name: hex(two) + ".tar.gz", data: two},
		file{name: "manifest.json", data: s.manifest(tb, "sha256:"+hex(s.config), hex(one)+".tar.gz", hex(two)+".tar.gz", hex(one)+".tar.gz")},
	)
}

// hardLinks has a hard link, "./" names, and a layer in xz, which OCI does not know.
func (s sample) hardLinks(tb testing.TB) []byte {
	var packed bytes.Buffer
	w, err := xz.NewWriter(&packed)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := w.Write([]byte(s.two)); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return pack(tb,
		file{name: "./"},
		file{name: "./one.tar", data: s.one},
		file{name: "./again.tar", link: "./one.tar", hard: true},
		file{name: "./two.tar.xz", data: packed.String()},
		file{name: "./config.json", data: s.config},
		file{name: "./manifest.json", data: s.manifest(tb, "config.json", "one.tar", "two.tar.xz", "again.tar")},
	)
}

// docker25 is a layout of uncompressed layers with a manifest.json.
func (s sample) docker25(tb testing.TB) []byte {
	blob := func(data string) string { return "blobs/sha256/" + hex(data) }
	desc := func(mediaType, data string) ocispec.Descriptor {
		return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromString(data), Size: int64(len(data))}
	}
	layer := func(data string) ocispec.Descriptor { return desc(ocispec.MediaTypeImageLayer, data) }
	manifest := toJSON(tb, map[string]any{
		"schemaVersion": 2, "mediaType": ocispec.MediaTypeImageManifest,
		"config": desc(ocispec.MediaTypeImageConfig, s.config), "layers": []ocispec.Descriptor{layer(s.one), layer(s.two), layer(s.one)},
	})
	var entries []ocispec.Descriptor
	for tag, name := range map[string]string{"1": "docker.io/library/app:1", "2": "example.org/app:2"} {
		d := desc(ocispec.MediaTypeImageManifest, manifest)
		d.Annotations = map[string]string{image.NameAnnotation: name, ocispec.AnnotationRefName: tag}
		entries = append(entries, d)
	}
	return pack(tb,
		file{name: "blobs/"}, file{name: "blobs/sha256/"},
		file{name: blob(s.one), data: s.one}, file{name: blob(s.two), data: s.two},
		file{name: blob(s.config), data: s.config}, file{name: blob(manifest), data: manifest},
		file{name: "index.json", data: toJSON(tb, map[string]any{"schemaVersion": 2, "manifests": entries})},
		file{name: "manifest.json", data: s.manifest(tb, blob(s.config), blob(s.one), blob(s.two), blob(s.one))},
		file{name: "oci-layout", data: `{"imageLayoutVersion": "1.0.0"}`},
		file{name: "repositories", data: `{}`},
	)
}

func TestDialects(t *testing.T) {
	s := newSample(t)
	for name, archive := range map[string][]byte{
		"docker up to 24":           s.docker20(t),
		"docker up to 24, in gzip":  imagetest.Gzip(s.docker20(t)),
		"docker up to 24, in zstd":  zstdOf(t, s.docker20(t)),
		"podman":                    s.podman(t),
		"crane":                     s.crane(t),
		"hard links and xz":         s.hardLinks(t),
		"docker from 25 on":         s.docker25(t),
		"docker from 25 on, in two": append(imagetest.Gzip(s.docker25(t)[:1000]), imagetest.Gzip(s.docker25(t)[1000:])...),
	} {
		t.Run(name, func(t *testing.T) {
			ctx := context.Background()
			store := newStore(t)
			// A stream has no Seek.
			loaded, err := tarball.Load(ctx, struct{ *bytes.Buffer }{bytes.NewBuffer(archive)}, store, tarball.LoadOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if len(loaded) != 1 {
				t.Fatalf("%d images, want 1", len(loaded))
			}
			names := familiar(loaded[0])
			slices.Sort(names)
			if !slices.Equal(names, []string{"app:1", "example.org/app:2"}) {
				t.Errorf("names %v", names)
			}
			img, err := image.Open(ctx, store, loaded[0].Descriptor, ocispec.Platform{})
			if err != nil {
				t.Fatal(err)
			}
			if string(img.ConfigBytes) != s.config {
				t.Errorf("the config became %s", img.ConfigBytes)
			}
			if !slices.Equal(img.DiffIDs, s.diffIDs) {
				t.Errorf("diffIDs %v", img.DiffIDs)
			}
			checkSame(t, store, loaded[0].Descriptor, store, loaded[0].Descriptor)
			// Whatever came can be saved for Docker, which checks the diffIDs.
			save(t, store, []tarball.Image{{Descriptor: loaded[0].Descriptor}}, tarball.SaveOptions{Format: tarball.Docker})
		})
	}
}

func zstdOf(tb testing.TB, data []byte) []byte {
	tb.Helper()
	e, err := zstd.NewWriter(nil)
	if err != nil {
		tb.Fatal(err)
	}
	defer e.Close()
	return e.EncodeAll(data, nil)
}

// TestPartialIndex loads an index of which one manifest is not in the archive,
// as Docker with containerd's store saves it.
func TestPartialIndex(t *testing.T) {
	ctx := context.Background()
	src := newStore(t)
	have := imagetest.Write(t, src, imagetest.Config(), imagetest.Layer("f", "amd64"))
	arm := imagetest.Config()
	arm.Architecture = "arm64"
	other := imagetest.Write(t, src, arm, imagetest.Layer("f", "arm64"))
	gone := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("gone"), Size: 4, Platform: &ocispec.Platform{OS: "linux", Architecture: "s390x"}}

	for name, tc := range map[string]struct {
		manifests []ocispec.Descriptor
		want      digest.Digest
		platforms int
	}{
		"whole":        {manifests: []ocispec.Descriptor{have, other}, platforms: 2},
		"one is there": {manifests: []ocispec.Descriptor{gone, have}, want: have.Digest, platforms: 1},
		"two of three": {manifests: []ocispec.Descriptor{have, gone, other}, platforms: 2},
	} {
		index, err := image.WriteIndex(ctx, src, tc.manifests, nil)
		if err != nil {
			t.Fatal(err)
		}
		if name == "whole" {
			tc.want = index.Digest
		}
		archive := save(t, src, []tarball.Image{{Descriptor: index, Names: parse(t, "app")}}, tarball.SaveOptions{})
		dst := newStore(t)
		loaded, err := tarball.Load(ctx, bytes.NewReader(archive), dst, tarball.LoadOptions{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		desc := loaded[0].Descriptor
		if tc.want != "" && desc.Digest != tc.want {
			t.Errorf("%s: it became %s %s, want %s", name, desc.MediaType, desc.Digest, tc.want)
		}
		n := 0
		err = image.Walk(ctx, dst, desc, image.WalkOptions{}, func(d ocispec.Descriptor) error {
			if image.IsManifest(d.MediaType) {
				n++
			}
			return nil
		})
		if err != nil || n != tc.platforms {
			t.Errorf("%s: %d manifests, %v; want %d", name, n, err, tc.platforms)
		}
	}
	index, err := image.WriteIndex(ctx, src, []ocispec.Descriptor{gone}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := tarball.Save(ctx, &bytes.Buffer{}, src, []tarball.Image{{Descriptor: index}}, tarball.SaveOptions{}); !errdefs.IsNotFound(err) {
		t.Errorf("an index with nothing in the store was saved: %v", err)
	}
}
