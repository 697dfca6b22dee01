package engine

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/camada/camada/build/cachemount"
	"github.com/camada/camada/build/op"
	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/progress"
	"github.com/camada/camada/reference"
	"github.com/camada/camada/remote/remotetest"
	"github.com/camada/camada/secret"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// TestPushGuard pushes images with secrets: what the registry has is not read again, and nothing is sent that is refused.
func TestPushGuard(t *testing.T) {
	token := "gl" + "pat-Ab3dE9fGh1JkLm5nOpQr"
	reg := remotetest.Start(t)
	e := machine(t)
	dir := t.TempDir()
	file := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	make := func(tag, dockerfile string) string {
		ref := reg.Ref(tag).String()
		if _, err := e.Build(t.Context(), BuildOptions{ContextDir: dir, Dockerfile: []byte(dockerfile), Tags: []string{ref}, Secrets: SecretsPolicy{Mode: SecretsOff}}, nil); err != nil {
			t.Fatal(err)
		}
		return ref
	}
	file("notes", token)
	file("other", "nothing")
	block := PushOptions{Secrets: SecretsPolicy{Mode: SecretsBlock}}
	one := make("app:1", "FROM scratch\nCOPY notes /notes\n")
	_, err := e.Push(t.Context(), one, block, nil)
	if !errors.Is(err, secret.ErrFound) || !strings.Contains(err.Error(), "layer 1: gitlab-pat glpat-**** in /notes:1:1") || strings.Contains(err.Error(), token) {
		t.Fatalf("a push with a secret: %v", err)
	}
	if _, err := e.Pull(t.Context(), PullOptions{Image: one}, nil); err == nil {
		t.Error("the image is in the registry")
	}
	if _, err := e.Push(t.Context(), one, PushOptions{}, nil); err != nil {
		t.Fatal(err)
	}

	// Another image on the same layer, which nothing is remembered of any more: the registry has it.
	if err := os.RemoveAll(filepath.Join(e.root, "cache", "secrets")); err != nil {
		t.Fatal(err)
	}
	two := make("app:2", "FROM "+one+"\nCOPY other /other\n")
	if _, err := e.Push(t.Context(), two, block, nil); err != nil {
		t.Errorf("a push on top of what is there: %v", err)
	}
	three := make("app:3", "FROM scratch\nCOPY other /other\nENV TOKEN="+token+"\n")
	if _, err := e.Push(t.Context(), three, block, nil); !errors.Is(err, secret.ErrFound) || !strings.Contains(err.Error(), "env TOKEN") {
		t.Errorf("a push with a secret in the config: %v", err)
	}
	block.Secrets.Allow = []byte("rule:gitlab-pat,path:notes never for a test\n")
	four := make("app:4", "FROM scratch\nCOPY other notes /\n")
	if _, err := e.Push(t.Context(), four, block, nil); err != nil {
		t.Errorf("a push of what is allowed: %v", err)
	}
}

// pushedImage writes an image of one layer with these files, and changes the manifest as it is told.
func pushedImage(t *testing.T, e *Engine, layerBlob []byte, change func(*ocispec.Descriptor)) ocispec.Descriptor {
	t.Helper()
	desc, err := content.WriteBlob(t.Context(), e.content, layerBlob)
	if err != nil {
		t.Fatal(err)
	}
	desc.MediaType = ocispec.MediaTypeImageLayer
	cfg := image.Config{}
	cfg.OS, cfg.Architecture = "linux", "amd64"
	cfg.RootFS.Type, cfg.RootFS.DiffIDs = "layers", []digest.Digest{desc.Digest}
	change(&desc)
	m, err := image.Write(t.Context(), e.content, cfg, []ocispec.Descriptor{desc}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// called gives an image a name.
func called(t *testing.T, e *Engine, desc ocispec.Descriptor) string {
	t.Helper()
	const name = "app:1"
	ref, err := reference.Parse(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.refs.Set(t.Context(), ref, desc, image.SetOptions{Verb: "build"}); err != nil {
		t.Fatal(err)
	}
	return name
}

// tarFile is a tar of one file.
func tarFile(t *testing.T, name string, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: name, Size: int64(len(data)), Mode: 0o644}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipped(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestGuardSent looks at all that is sent: layers that say that they lie elsewhere too, and the annotations of an index.
func TestGuardSent(t *testing.T) {
	token := "gl" + "pat-Ab3dE9fGh1JkLm5nOpQr"
	e := machine(t)
	g, err := e.newGuard(SecretsPolicy{Mode: SecretsBlock})
	if err != nil {
		t.Fatal(err)
	}
	nowhere := func(digest.Digest) bool { return false }
	blob := tarFile(t, "notes", []byte(token))
	elsewhere := func(d *ocispec.Descriptor) { d.URLs = []string{"https://example.com/layer"} }
	if err := g.sent(t.Context(), e.content, pushedImage(t, e, blob, elsewhere), nowhere, nil); !errors.Is(err, secret.ErrFound) {
		t.Errorf("a layer that is sent, and has URLs: %v", err)
	}
	one := pushedImage(t, e, tarFile(t, "notes", []byte("nothing")), func(*ocispec.Descriptor) {})
	for name, annotations := range map[string][2]map[string]string{
		"index":      {{"a": token}, nil},
		"descriptor": {nil, {"a": token}},
	} {
		d := one
		d.Annotations = annotations[1]
		idx, err := image.WriteIndex(t.Context(), e.content, []ocispec.Descriptor{d}, annotations[0])
		if err != nil {
			t.Fatal(err)
		}
		if err := g.sent(t.Context(), e.content, idx, nowhere, nil); !errors.Is(err, secret.ErrFound) || strings.Contains(err.Error(), token) {
			t.Errorf("an annotation of the %s: %v", name, err)
		}
	}
	notes, err := parseAnnotations([]string{"index:a=" + token})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.indexNotes(notes); !errors.Is(err, secret.ErrFound) {
		t.Errorf("an annotation that an index will have: %v", err)
	}
}

// TestGuardClosed refuses what cannot be looked at, until someone accepts it, and warns of it.
func TestGuardClosed(t *testing.T) {
	e := machine(t)
	sum := &secret.Summary{Closed: []string{"srv/a.zip!/b.gz"}}
	for _, c := range []struct {
		mode, allow string
		refused     bool
		warnings    int
	}{
		{SecretsBlock, "", true, 0},
		{SecretsBlock, "rule:jwt,path:srv/a.zip never x y\n", true, 0},
		{SecretsBlock, "path:srv/a.zip never we made it\n", false, 0},
		{SecretsBlock, "path:srv/** never we made it\n", false, 0},
		{SecretsWarn, "", false, 1},
		{"", "", false, 0},
	} {
		g, err := e.newGuard(SecretsPolicy{Mode: c.mode, Allow: []byte(c.allow)})
		if err != nil {
			t.Fatal(err)
		}
		err = g.summary(nil, 1, sum)
		if errors.Is(err, secret.ErrFound) != c.refused || err != nil && !strings.Contains(err.Error(), "archive /srv/a.zip!/b.gz") || len(g.told()) != c.warnings {
			t.Errorf("%+v: %v, %v", c, err, g.told())
		}
	}
	g, err := e.newGuard(SecretsPolicy{Mode: SecretsBlock, Allow: []byte("path:srv/** never we made it\n")})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.summary(nil, 1, &secret.Summary{Closed: sum.Closed, Cut: true}); !errors.Is(err, secret.ErrFound) {
		t.Errorf("archives of which not all are told: %v", err)
	}
	if g, err = e.newGuard(SecretsPolicy{Mode: SecretsWarn}); err != nil {
		t.Fatal(err)
	}
	if err := g.summary(nil, 1, &secret.Summary{More: []string{"x"}}); err != nil || len(g.told()) != 1 {
		t.Errorf("a file that was not looked at as a whole: %v, %v", err, g.told())
	}
}

// TestGuardClaims knows that an image can claim of any layer that it is another, of which it is known that nothing is in it.
func TestGuardClaims(t *testing.T) {
	token := "gl" + "pat-Ab3dE9fGh1JkLm5nOpQr"
	e := machine(t)
	g, err := e.newGuard(SecretsPolicy{Mode: SecretsBlock})
	if err != nil {
		t.Fatal(err)
	}
	nowhere := func(digest.Digest) bool { return false }
	clean := tarFile(t, "notes", []byte("nothing"))
	if err := g.sent(t.Context(), e.content, pushedImage(t, e, clean, func(*ocispec.Descriptor) {}), nowhere, nil); err != nil {
		t.Fatal(err)
	}
	blob, err := content.WriteBlob(t.Context(), e.content, tarFile(t, "notes", []byte(token)))
	if err != nil {
		t.Fatal(err)
	}
	claims := pushedImage(t, e, clean, func(d *ocispec.Descriptor) { d.Digest, d.Size = blob.Digest, blob.Size })
	if err := g.sent(t.Context(), e.content, claims, nowhere, nil); err == nil {
		t.Error("what is known of one layer counted for another")
	}
	// Who is not asked to look into layers knows nothing of this one, and lets it be.
	lax, err := e.newGuard(SecretsPolicy{})
	if err != nil {
		t.Fatal(err)
	}
	if err := lax.sent(t.Context(), e.content, claims, nowhere, nil); err != nil || len(lax.told()) > 0 {
		t.Errorf("the mode that looks at no layers: %v, %v", err, lax.told())
	}
	if r, err := e.Secrets(t.Context(), called(t, e, claims), SecretsOptions{}, nil); !errdefs.IsCorrupt(err) {
		t.Errorf("a scan said: %+v, %v", r, err)
	}

	// Of the same layer, compressed, it counts once it was read.
	packed, err := content.WriteBlob(t.Context(), e.content, gzipped(t, clean))
	if err != nil {
		t.Fatal(err)
	}
	packed.MediaType = ocispec.MediaTypeImageLayerGzip
	id, finds := digest.FromBytes(clean), g.finds()
	if _, known := finds.layer(packed, id); known {
		t.Error("a blob that was not read yet is known to be a layer")
	}
	if sum, err := finds.verified(t.Context(), e.content, packed, id); sum == nil || err != nil {
		t.Errorf("%v, %v", sum, err)
	}
	if sum, known := finds.layer(packed, id); sum == nil || !known {
		t.Error("a blob that was read is not known")
	}
}

// TestGuardStored knows of the blobs of layers that were looked at when they were made which layers they are.
func TestGuardStored(t *testing.T) {
	e := machine(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "notes"), []byte("gl"+"pat-Ab3dE9fGh1JkLm5nOpQr"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Build(t.Context(), BuildOptions{ContextDir: dir, Dockerfile: []byte("FROM scratch\nCOPY notes /\n"), Tags: []string{"app"}, Secrets: SecretsPolicy{Mode: SecretsWarn}}, nil); err != nil {
		t.Fatal(err)
	}
	at, err := e.find(t.Context(), "app", "", progress.Or(nil))
	if err != nil {
		t.Fatal(err)
	}
	desc, id := at.image.Layers[0], at.image.DiffIDs[0]
	if desc.Digest == id {
		t.Fatal("the layer is not compressed")
	}
	if sum, known := e.secretFinds(secret.Version()).layer(desc, id); sum == nil || len(sum.Findings) != 1 || !known {
		t.Errorf("the layer of a build: %+v, %v", sum, known)
	}
}

// TestSecretsNames has the same to say of a file with a name that is no UTF-8 when it is remembered, and what a list accepts is still accepted.
func TestSecretsNames(t *testing.T) {
	const dir, token = "caf\xe9", "gl" + "pat-Ab3dE9fGh1JkLm5nOpQr"
	e := machine(t)
	name := called(t, e, pushedImage(t, e, tarFile(t, dir+"/notes", []byte(token)), func(*ocispec.Descriptor) {}))
	for _, look := range []string{"first", "second"} {
		r, err := e.Secrets(t.Context(), name, SecretsOptions{}, nil)
		if err != nil || len(r.Findings) != 1 || r.Findings[0].Hidden || r.Findings[0].Path != dir+"/notes" {
			t.Errorf("%s: %+v, %v", look, r, err)
		}
		r, err = e.Secrets(t.Context(), name, SecretsOptions{Allow: []byte("path:" + dir + "/** never for a test\n")}, nil)
		if err != nil || len(r.Findings) > 0 {
			t.Errorf("%s, with a list: %+v, %v", look, r, err)
		}
	}
	s, id := e.secretFinds("test"), digest.FromString("x")
	if err := s.put(id, &secret.Summary{Closed: []string{"a.zip", dir + ".zip"}}); err != nil {
		t.Fatal(err)
	}
	if got := s.get(id); got == nil || got.Closed[0] != "a.zip" || got.Closed[1] != dir+".zip" {
		t.Errorf("archives: %+v", got)
	}
}

// TestGuardCacheMounts refuses to pack a cache mount with a secret in it for others.
func TestGuardCacheMounts(t *testing.T) {
	e := machine(t)
	key := cachemount.Key{ID: "/root/.cache"}
	h, err := e.cacheMounts().Acquire(t.Context(), key, cachemount.Options{Sharing: op.SharingLocked})
	if err != nil {
		t.Fatal(err)
	}
	err = os.WriteFile(filepath.Join(h.Dir(), "config"), []byte("gl"+"pat-Ab3dE9fGh1JkLm5nOpQr"), 0o600)
	h.Release()
	if err != nil {
		t.Fatal(err)
	}
	for mode, refused := range map[string]bool{SecretsBlock: true, SecretsWarn: false, SecretsOff: false} {
		g, err := e.newGuard(SecretsPolicy{Mode: mode})
		if err != nil {
			t.Fatal(err)
		}
		l, err := (&cacheWriter{e: e, guard: g}).packOne(t.Context(), key)
		if errors.Is(err, secret.ErrFound) != refused {
			t.Errorf("%s: %v", mode, err)
		}
		if mode == SecretsOff {
			block, err := e.newGuard(SecretsPolicy{Mode: SecretsBlock})
			if err != nil {
				t.Fatal(err)
			}
			if err := block.sentLayer(t.Context(), e.content, l); !errors.Is(err, secret.ErrFound) {
				t.Errorf("a mount that comes from another cache: %v", err)
			}
		}
	}
}
