package carry_test

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/camada/camada/build/cache"
	"github.com/camada/camada/build/cache/carry"
	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/image/imagetest"
	"github.com/camada/camada/layer"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// step makes the record of a step with a layer of the given bytes.
func step(definition string, parent digest.Digest, data string) (cache.Key, cache.Result) {
	l := layer.Layer{
		Descriptor: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerGzip, Digest: digest.FromString(data), Size: int64(len(data))},
		DiffID:     digest.FromString("tar of " + data), Size: 1024,
	}
	return cache.NewKey(definition, []string{"epoch=0"}, parent), cache.Result{Layer: l, ChainID: cache.ChainID(parent, l.DiffID)}
}

// store stores an artifact.
func store(t *testing.T, a carry.Artifact) *imagetest.Memory {
	t.Helper()
	m := &imagetest.Memory{}
	for d, data := range a.Documents {
		got, err := content.WriteBlob(context.Background(), m, data)
		if err != nil || got.Digest != d {
			t.Fatalf("document %s is %s: %v", d, got.Digest, err)
		}
	}
	return m
}

func TestThereAndBack(t *testing.T) {
	ctx := context.Background()
	var recs, same carry.Records
	key1, r1 := step("RUN one --token=hunter2", "", "one")
	key2, r2 := step("COPY two", r1.ChainID, "two")
	r2.Files = digest.FromString("files")
	l1, l2 := r1.Layer, r2.Layer
	recs.Add(key1, r1)
	recs.Add(key2, r2)
	same.Add(key2, r2)
	same.Add(key1, r1)
	a, err := recs.Encode([]ocispec.Descriptor{l2.Descriptor}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := same.Encode([]ocispec.Descriptor{l2.Descriptor}, nil); err != nil || b.Manifest.Digest != a.Manifest.Digest {
		t.Errorf("the same cache is %s and %s, %v", a.Manifest.Digest, b.Manifest.Digest, err)
	}
	for _, data := range a.Documents {
		if strings.Contains(string(data), "hunter2") {
			t.Errorf("a definition travels: %s", data)
		}
	}
	got, blobs, err := carry.Read(ctx, store(t, a), a.Manifest)
	if err != nil || len(blobs) != 1 || blobs[0].Digest != l2.Descriptor.Digest {
		t.Fatalf("%v, %v", blobs, err)
	}
	for _, want := range []struct {
		key cache.Key
		res cache.Result
	}{{key1, r1}, {key2, r2}} {
		if res, ok := got.Find(want.key); !ok || !reflect.DeepEqual(res, want.res) {
			t.Errorf("%v: %v %t, want %v", want.key, res, ok, want.res)
		}
	}
	if _, ok := got.Find(cache.Key{Op: key1.Op, Parent: r1.ChainID}); ok || !got.Known(key1.Op) || got.Known(digest.FromString("x")) {
		t.Error("what is known and what not")
	}
	if rest := got.Without(func(d digest.Digest) bool { return d == l1.Descriptor.Digest }); rest.Known(key1.Op) || !rest.Known(key2.Op) {
		t.Error("Without leaves the wrong ones")
	}
	if len(got.Layers()) != 2 {
		t.Errorf("layers %v", got.Layers())
	}
}

func TestSubject(t *testing.T) {
	ctx := context.Background()
	var recs carry.Records
	recs.Add(step("RUN one", "", "one"))
	subject := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("image"), Size: 5}
	a, err := recs.Encode(nil, &subject)
	if err != nil {
		t.Fatal(err)
	}
	got, listed, ok, err := image.Referrer(ctx, store(t, a), a.Manifest)
	if err != nil || !ok || got.Digest != subject.Digest || listed.ArtifactType != carry.ArtifactType {
		t.Errorf("%v, %v, %t, %v", got, listed, ok, err)
	}
}

func TestOthers(t *testing.T) {
	ctx := context.Background()
	m := &imagetest.Memory{}
	desc := imagetest.Write(t, m, imagetest.Config(), imagetest.Layer("a", "b"))
	if _, _, err := carry.Read(ctx, m, desc); !errdefs.IsUnsupported(err) {
		t.Errorf("an image: %v", err)
	}
}

func TestHostile(t *testing.T) {
	good := `{"records":[{"op":"%[1]s","parent":"","chainID":"%[2]s","layer":{"descriptor":{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"%[1]s","size":7},"diffID":"%[2]s","size":9}}]}`
	good = fmt.Sprintf(good, digest.FromString("a"), digest.FromString("b"))
	if recs, err := carry.Parse([]byte(good)); err != nil || !recs.Known(digest.FromString("a")) {
		t.Fatal(err)
	}
	for what, change := range map[string][2]string{
		"another chainID":     {`"chainID":"` + digest.FromString("b").String(), `"chainID":"` + digest.FromString("c").String()},
		"a path as digest":    {`"digest":"sha256:`, `"digest":"sha256:../../`},
		"an unknown type":     {"layer.v1.tar+gzip", "layer.v1.rar"},
		"a negative size":     {`"size":7`, `"size":-7`},
		"no size":             {`"size":7`, `"size":0`},
		"an address":          {`"size":7`, `"size":7,"urls":["http://example.org"]`},
		"no JSON":             {`]}`, `]`},
		"a negative tar":      {`"size":9`, `"size":-9`},
		"a parent of no form": {`"parent":""`, `"parent":"x"`},
		"files of no form":    {`"parent":""`, `"parent":"","files":"sha256:../x"`},
	} {
		bad := strings.Replace(good, change[0], change[1], 1)
		if bad == good {
			t.Fatalf("%s: nothing changed", what)
		}
		if _, err := carry.Parse([]byte(bad)); !errdefs.IsCorrupt(err) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"records":[]}`))
	f.Add([]byte(`{"records":[{"op":"sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb","parent":"","chainID":"sha256:3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d","layer":{"descriptor":{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d","size":7},"diffID":"sha256:3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d","size":9}}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		recs, err := carry.Parse(data)
		if err != nil {
			return
		}
		a, err := recs.Encode(recs.Layers(), nil)
		if err != nil {
			t.Skip(err)
		}
		if _, _, err := carry.Read(context.Background(), store(t, a), a.Manifest); err != nil {
			t.Errorf("what was read cannot be read again: %v", err)
		}
	})
}

func TestMounts(t *testing.T) {
	ctx := context.Background()
	mount := func(id string) carry.Mount {
		_, res := step(id, "", id)
		return carry.Mount{Key: digest.FromString(id), ID: id, Layer: res.Layer}
	}
	a, err := carry.EncodeMounts([]carry.Mount{mount("/b"), mount("/a")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := carry.EncodeMounts([]carry.Mount{mount("/a"), mount("/b")}, nil); err != nil || b.Manifest.Digest != a.Manifest.Digest {
		t.Errorf("the order matters: %v", err)
	}
	m := store(t, a)
	got, err := carry.ReadMounts(ctx, m, a.Manifest)
	if err != nil || len(got) != 2 {
		t.Fatalf("%v, %v", got, err)
	}
	for _, g := range got {
		if w := mount(g.ID); g.Key != w.Key || g.Layer.DiffID != w.Layer.DiffID {
			t.Errorf("%+v, want %+v", g, w)
		}
	}
	if _, _, err := carry.Read(ctx, m, a.Manifest); !errdefs.IsUnsupported(err) {
		t.Errorf("mounts read as records: %v", err)
	}
	for _, bad := range []string{`{"mounts":[{}]}`, `{"mounts":[{"key":"sha256:x"}]}`, `[`} {
		if _, err := carry.ParseMounts([]byte(bad)); !errdefs.IsCorrupt(err) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func FuzzParseMounts(f *testing.F) {
	f.Add([]byte(`{"mounts":[]}`))
	f.Add([]byte(`{"mounts":[{"key":"sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb","id":"/x","layer":{"descriptor":{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d","size":7},"diffID":"sha256:3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d","size":9}}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		mounts, err := carry.ParseMounts(data)
		if err != nil {
			return
		}
		a, err := carry.EncodeMounts(mounts, nil)
		if err != nil {
			t.Skip(err)
		}
		if _, err := carry.ReadMounts(context.Background(), store(t, a), a.Manifest); err != nil {
			t.Errorf("what was read cannot be read again: %v", err)
		}
	})
}
