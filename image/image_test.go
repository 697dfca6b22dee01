package image_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/image/imagetest"
	"github.com/camada/camada/reference"
	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func write(tb testing.TB, ing content.Ingester, mediaType, text string) ocispec.Descriptor {
	tb.Helper()
	d, err := content.WriteBlob(context.Background(), ing, []byte(text))
	if err != nil {
		tb.Fatal(err)
	}
	d.MediaType = mediaType
	return d
}

func forPlatform(tb testing.TB, ing content.Ingester, arch, variant string) ocispec.Descriptor {
	tb.Helper()
	cfg := imagetest.Config()
	cfg.Architecture, cfg.Variant = arch, variant
	return imagetest.Write(tb, ing, cfg, imagetest.Layer("arch", arch+variant))
}

func TestOpen(t *testing.T) {
	ctx := context.Background()
	store := &imagetest.Memory{}
	layer := imagetest.Layer("f", "f")
	desc := imagetest.Write(t, store, imagetest.Config(), layer)
	img, err := image.Open(ctx, store, desc, ocispec.Platform{})
	if err != nil {
		t.Fatal(err)
	}
	if img.ID() != digest.FromBytes(img.ConfigBytes) || img.DiffIDs[0] != digest.FromBytes(layer) || len(img.Layers) != 1 {
		t.Errorf("ID %s, diffIDs %v, layers %v", img.ID(), img.DiffIDs, img.Layers)
	}
	if img.Config.Config.Cmd[0] != "/bin/true" || img.Config.OS != "linux" {
		t.Errorf("config %+v", img.Config)
	}
	if again := imagetest.Write(t, &imagetest.Memory{}, imagetest.Config(), layer); again.Digest != desc.Digest {
		t.Errorf("the same image has the digests %s and %s", desc.Digest, again.Digest)
	}
}

func TestOpenRefuses(t *testing.T) {
	store := &imagetest.Memory{}
	config := write(t, store, ocispec.MediaTypeImageConfig, `{"os":"linux","rootfs":{"type":"layers","diff_ids":[]}}`)
	oneLayer, err := image.WriteManifest(context.Background(), store, config, []ocispec.Descriptor{config}, nil)
	if err != nil {
		t.Fatal(err)
	}
	zero := strings.Repeat("0", 64)
	valid := `"config":{"mediaType":"c","digest":"` + config.Digest.String() + `","size":1},"layers":[]`
	manifest := func(text string) ocispec.Descriptor {
		return write(t, store, ocispec.MediaTypeImageManifest, text)
	}
	index := func(text string) ocispec.Descriptor { return write(t, store, ocispec.MediaTypeImageIndex, text) }
	changed := oneLayer
	changed.Size++
	for name, tc := range map[string]struct {
		desc  ocispec.Descriptor
		class errdefs.Class
		text  string
	}{
		"layers without diff_ids":    {oneLayer, errdefs.ErrCorrupt, "1 layers, and its config"},
		"another size":               {changed, errdefs.ErrCorrupt, "bytes"},
		"no JSON":                    {manifest("x"), errdefs.ErrCorrupt, "parse"},
		"schema 1":                   {manifest(`{"schemaVersion":1,"fsLayers":[]}`), errdefs.ErrUnsupported, "schema 1"},
		"no schemaVersion":           {manifest(`{` + valid + `}`), errdefs.ErrCorrupt, "schemaVersion 0"},
		"manifest that is an index":  {manifest(`{"schemaVersion":2,"manifests":[],` + valid + `}`), errdefs.ErrCorrupt, "both"},
		"index that is a manifest":   {index(`{"schemaVersion":2,"manifests":[],` + valid + `}`), errdefs.ErrCorrupt, "both"},
		"another mediaType":          {manifest(`{"schemaVersion":2,"mediaType":"x",` + valid + `}`), errdefs.ErrCorrupt, "mediaType"},
		"artifact":                   {manifest(`{"schemaVersion":2,` + valid + `}`), errdefs.ErrUnsupported, "not that of an image"},
		"layer with a bad digest":    {manifest(`{"schemaVersion":2,"config":{"mediaType":"c","digest":"sha256:` + zero + `"},"layers":[{"mediaType":"x","digest":"sha256:../../x"}]}`), errdefs.ErrCorrupt, "layer 0"},
		"layer of a negative size":   {manifest(`{"schemaVersion":2,"config":{"mediaType":"c","digest":"sha256:` + zero + `"},"layers":[{"mediaType":"x","size":-1,"digest":"sha256:` + zero + `"}]}`), errdefs.ErrCorrupt, "size of -1"},
		"neither manifest nor index": {config, errdefs.ErrUnsupported, "neither"},
		"too big":                    {manifest(`{"schemaVersion":2,` + strings.Repeat(" ", image.MaxManifest) + valid + `}`), errdefs.ErrLimit, "limit"},
		"missing":                    {ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.Digest("sha256:" + zero), Size: 2}, errdefs.ErrNotFound, zero},
	} {
		_, err := image.Open(context.Background(), store, tc.desc, ocispec.Platform{})
		if !errors.Is(err, tc.class) || !strings.Contains(err.Error(), tc.text) {
			t.Errorf("%s: %v; want %s with %q", name, err, tc.class, tc.text)
		}
	}
}

func TestSelect(t *testing.T) {
	ctx := context.Background()
	store := &imagetest.Memory{}
	amd64, v6, v7 := forPlatform(t, store, "amd64", ""), forPlatform(t, store, "arm", "v6"), forPlatform(t, store, "arm", "v7")
	silent := forPlatform(t, store, "riscv64", "")
	silent.Platform = nil
	attestation := amd64
	attestation.Platform = &ocispec.Platform{OS: "unknown", Architecture: "unknown"}
	inner, err := image.WriteIndex(ctx, store, []ocispec.Descriptor{v7}, nil)
	if err != nil {
		t.Fatal(err)
	}
	root, err := image.WriteIndex(ctx, store, []ocispec.Descriptor{attestation, v6, inner, amd64, silent}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		arch, variant string
		want          ocispec.Descriptor
	}{{"amd64", "", amd64}, {"arm", "v6", v6}, {"arm", "v7", v7}, {"arm", "v8", v7}, {"riscv64", "", silent}} {
		got, err := image.Select(ctx, store, root, ocispec.Platform{OS: "linux", Architecture: tc.arch, Variant: tc.variant})
		if err != nil || got.Digest != tc.want.Digest {
			t.Errorf("%s/%s: %s, %v; want %s", tc.arch, tc.variant, got.Digest, err, tc.want.Digest)
		}
	}
	_, err = image.Select(ctx, store, root, ocispec.Platform{OS: "linux", Architecture: "s390x"})
	if !errdefs.IsNotFound(err) || !strings.Contains(err.Error(), "linux/s390x; it has linux/arm/v6, linux/amd64, linux/arm/v7") {
		t.Errorf("s390x: %v", err)
	}
}

// TestWalkSeesBehindDisguise names a manifest first as something else.
func TestWalkSeesBehindDisguise(t *testing.T) {
	ctx := context.Background()
	store := &imagetest.Memory{}
	desc := imagetest.Write(t, store, imagetest.Config(), imagetest.Layer("f", "f"))
	disguise := desc
	disguise.MediaType = "application/octet-stream"
	root, err := image.WriteIndex(ctx, store, []ocispec.Descriptor{disguise, desc, desc}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var seen []string
	err = image.Walk(ctx, store, root, image.WalkOptions{}, func(d ocispec.Descriptor) error {
		seen = append(seen, d.MediaType)
		return nil
	})
	want := []string{ocispec.MediaTypeImageIndex, "application/octet-stream", ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageConfig, ocispec.MediaTypeImageLayerGzip}
	if err != nil || cmp.Diff(want, seen) != "" {
		t.Errorf("%v: %s", err, cmp.Diff(want, seen))
	}
}

func TestWalkBoundsDepth(t *testing.T) {
	ctx := context.Background()
	store := &imagetest.Memory{}
	desc := imagetest.Write(t, store, imagetest.Config())
	var err error
	for range 20 {
		if desc, err = image.WriteIndex(ctx, store, []ocispec.Descriptor{desc}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := image.Select(ctx, store, desc, ocispec.Platform{}); !errdefs.IsLimit(err) {
		t.Errorf("20 indexes in each other: %v", err)
	}
}

func TestHistory(t *testing.T) {
	layers := []ocispec.Descriptor{{Digest: "sha256:a", Size: 1}, {Digest: "sha256:b", Size: 2}}
	config := ocispec.Descriptor{Digest: "sha256:id"}
	row := func(id, by string, layer digest.Digest, size int64, empty bool) image.HistoryRow {
		return image.HistoryRow{ID: id, CreatedBy: by, Layer: layer, Size: size, EmptyLayer: empty}
	}
	for name, tc := range map[string]struct {
		history []ocispec.History
		want    []image.HistoryRow
	}{
		"as it should be": {
			[]ocispec.History{{CreatedBy: "a"}, {CreatedBy: "ENV", EmptyLayer: true}, {CreatedBy: "b"}},
			[]image.HistoryRow{row("sha256:id", "b", "sha256:b", 2, false), row(image.Missing, "ENV", "", 0, true), row(image.Missing, "a", "sha256:a", 1, false)},
		},
		"none": {nil, []image.HistoryRow{row("sha256:id", "", "sha256:b", 2, false), row(image.Missing, "", "sha256:a", 1, false)}},
		"more than layers": {
			[]ocispec.History{{CreatedBy: "a"}, {CreatedBy: "b"}, {CreatedBy: "c"}},
			[]image.HistoryRow{row("sha256:id", "c", "", 0, false), row(image.Missing, "b", "sha256:b", 2, false), row(image.Missing, "a", "sha256:a", 1, false)},
		},
	} {
		img := image.Image{Layers: layers, Manifest: ocispec.Manifest{Config: config}}
		img.Config.History = tc.history
		if diff := cmp.Diff(tc.want, img.History()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func tag(tb testing.TB, name string, desc ocispec.Descriptor) image.Tag {
	tb.Helper()
	ref, err := reference.Parse(name)
	if err != nil {
		tb.Fatal(err)
	}
	return image.Tag{Reference: ref, Descriptor: desc, Updated: time.Unix(5, 0)}
}

func TestListFindInspect(t *testing.T) {
	ctx := context.Background()
	store := &imagetest.Memory{}
	a, b := forPlatform(t, store, "amd64", ""), forPlatform(t, store, "s390x", "")
	gone := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("gone"), Size: 4, Platform: &ocispec.Platform{OS: "linux", Architecture: "amd64"}}
	index, err := image.WriteIndex(ctx, store, []ocispec.Descriptor{gone, b}, nil)
	if err != nil {
		t.Fatal(err)
	}
	tags := []image.Tag{tag(t, "app:1", a), tag(t, "app:2", a), tag(t, "example.org/multi", index), tag(t, "broken", gone)}
	rows, err := image.List(ctx, store, tags)
	if err != nil || len(rows) != 4 {
		t.Fatalf("%v, %v", rows, err)
	}
	img, err := image.Open(ctx, store, a, ocispec.Platform{})
	if err != nil {
		t.Fatal(err)
	}
	other, err := image.Open(ctx, store, b, ocispec.Platform{})
	if err != nil {
		t.Fatal(err)
	}
	if r := rows[1]; r.Repository != "app" || r.Tag != "2" || r.ID != img.ID() || r.Size != img.Size() || r.Created.IsZero() || r.Err != nil {
		t.Errorf("row %+v", r)
	}
	if r := rows[2]; r.ID != other.ID() || r.Digest != index.Digest || r.Err != nil {
		t.Errorf("the row of an index of which only another platform is here: %+v", r)
	}
	if !errdefs.IsNotFound(rows[3].Err) {
		t.Errorf("the row of a missing image: %+v", rows[3])
	}

	for prefix, want := range map[string]ocispec.Descriptor{
		img.ID().Encoded()[:12]:   a,
		img.ID().String():         a,
		a.Digest.Encoded()[:8]:    a,
		other.ID().Encoded()[:12]: b,
		index.Digest.String():     index,
		b.Digest.Encoded()[:12]:   b,
	} {
		m, err := image.Find(ctx, store, tags, prefix)
		if err != nil || m.Descriptor.Digest != want.Digest {
			t.Errorf("Find(%s) = %+v, %v; want %s", prefix, m, err, want.Digest)
		}
		if want.Digest == a.Digest && len(m.Refs) != 2 {
			t.Errorf("Find(%s) has %d refs, want 2", prefix, len(m.Refs))
		}
	}
	if _, err := image.Find(ctx, store, tags, "0000000000000"); !errdefs.IsNotFound(err) {
		t.Errorf("Find of nothing: %v", err)
	}
	if _, err := image.Find(ctx, store, tags, "app"); !errdefs.IsInvalid(err) {
		t.Errorf("Find of no ID: %v", err)
	}

	in := image.Inspect(img, a, tags)
	data, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var docker struct {
		ID                    string `json:"Id"`
		RepoTags, RepoDigests []string
		Config                struct{ Cmd []string }
		RootFS                struct{ Layers []string }
		Os, Created           string
	}
	if err := json.Unmarshal(data, &docker); err != nil {
		t.Fatal(err)
	}
	if docker.ID != img.ID().String() || len(docker.RepoTags) != 2 || len(docker.RepoDigests) != 1 || docker.Config.Cmd[0] != "/bin/true" ||
		len(docker.RootFS.Layers) != 1 || docker.Os != "linux" || docker.Created != "2023-11-14T22:13:20Z" {
		t.Errorf("inspect %s", data)
	}
}

func TestFindIsNotUnique(t *testing.T) {
	ctx := context.Background()
	store := &imagetest.Memory{}
	var tags []image.Tag
	for i := range 40 { // with so many, two begin with the same digit
		cfg := imagetest.Config()
		cfg.Author = strings.Repeat("x", i)
		tags = append(tags, tag(t, "app:"+string(rune('A'+i%26))+strings.Repeat("x", i/26), imagetest.Write(t, store, cfg)))
	}
	conflicts := 0
	for _, c := range "0123456789abcdef" {
		if _, err := image.Find(ctx, store, tags, "sha256:"+string(c)); errdefs.IsConflict(err) {
			conflicts++
		}
	}
	if conflicts == 0 {
		t.Error("no prefix of one digit is refused")
	}
}

func TestToOCI(t *testing.T) {
	ctx := context.Background()
	store := &imagetest.Memory{}
	want := imagetest.Write(t, store, imagetest.Config(), imagetest.Layer("f", "f"))
	raw, _, err := image.ReadManifest(ctx, store, want)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer(ocispec.MediaTypeImageManifest, image.DockerManifest, ocispec.MediaTypeImageConfig, image.DockerConfig, ocispec.MediaTypeImageLayerGzip, image.DockerLayerGzip).Replace(string(raw))
	docker := write(t, store, image.DockerManifest, text)
	docker.Platform = want.Platform
	list := write(t, store, image.DockerManifestList, `{"schemaVersion":2,"mediaType":"`+image.DockerManifestList+`","manifests":[`+mustJSON(t, docker)+`]}`)
	if _, err := image.Open(ctx, store, list, *want.Platform); err != nil {
		t.Errorf("open Docker's: %v", err)
	}
	if got, err := image.ToOCI(ctx, store, docker); err != nil || got.Digest != want.Digest {
		t.Errorf("manifest: %s, %v; want %s", got.Digest, err, want.Digest)
	}
	index, err := image.ToOCI(ctx, store, list)
	if err != nil || index.MediaType != ocispec.MediaTypeImageIndex {
		t.Fatalf("list: %+v, %v", index, err)
	}
	if got, err := image.Select(ctx, store, index, *want.Platform); err != nil || got.Digest != want.Digest {
		t.Errorf("list: %s, %v; want %s", got.Digest, err, want.Digest)
	}
	for _, d := range []ocispec.Descriptor{want, index} {
		if got, err := image.ToOCI(ctx, store, d); err != nil || got.Digest != d.Digest {
			t.Errorf("OCI's own became %s, %v; want %s", got.Digest, err, d.Digest)
		}
	}
}

func mustJSON(tb testing.TB, v any) string {
	tb.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		tb.Fatal(err)
	}
	return string(data)
}

func TestImport(t *testing.T) {
	ctx := context.Background()
	store := &imagetest.Memory{}
	layer := imagetest.Layer("f", "f")
	d := write(t, store, ocispec.MediaTypeImageLayer, string(layer))
	opts := image.ImportOptions{Message: "from a tar"}
	opts.Config.Cmd = []string{"/bin/sh"}
	desc, err := image.Import(ctx, store, d, digest.FromBytes(layer), opts)
	if err != nil {
		t.Fatal(err)
	}
	img, err := image.Open(ctx, store, desc, ocispec.Platform{})
	if err != nil {
		t.Fatal(err)
	}
	if h := img.History(); len(h) != 1 || h[0].Comment != "from a tar" || h[0].Layer != d.Digest || !h[0].Created.IsZero() {
		t.Errorf("history %+v", h)
	}
}

func TestEntryName(t *testing.T) {
	for _, tc := range []struct{ whole, short, ref, word string }{
		{"", "", "", ""},
		{"", "latest", "", "latest"},
		{"docker.io/library/app:1", "1", "docker.io/library/app:1", ""},
		{"", "app:1", "docker.io/library/app:1", ""},
		{"", "localhost/app", "localhost/app:latest", ""},
	} {
		ref, word, err := image.EntryName(map[string]string{image.NameAnnotation: tc.whole, ocispec.AnnotationRefName: tc.short})
		got := ""
		if ref != nil {
			got = ref.String()
		}
		if err != nil || got != tc.ref || word != tc.word {
			t.Errorf("%+v: %q, %q, %v", tc, got, word, err)
		}
	}
	if _, _, err := image.EntryName(map[string]string{ocispec.AnnotationRefName: "../x:1"}); !errdefs.IsCorrupt(err) {
		t.Errorf("a malformed name: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	store := &imagetest.Memory{}
	desc := imagetest.Write(f, store, imagetest.Config(), imagetest.Layer("f", "f"))
	img, err := image.Open(context.Background(), store, desc, ocispec.Platform{})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(img.RawManifest)
	f.Add(img.ConfigBytes)
	f.Add([]byte(`{"schemaVersion":2,"manifests":[` + mustJSON(f, desc) + `]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, manifestErr := image.ParseManifest(data, "")
		_, indexErr := image.ParseIndex(data, "")
		if manifestErr == nil && indexErr == nil && strings.Contains(string(data), `"config"`) && strings.Contains(string(data), `"manifests"`) {
			t.Errorf("both a manifest and an index: %s", data)
		}
		if cfg, err := image.ParseConfig(data); err == nil {
			if _, err := json.Marshal(cfg); err != nil {
				t.Errorf("a config that was parsed cannot be written: %v", err)
			}
		}
	})
}
