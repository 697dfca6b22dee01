package engine

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/remote/remotetest"
	"github.com/camada/camada/transfer"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// stored pushes an artifact whose files are called so, each with its name as its content, and returns its name.
func stored(t *testing.T, e *Engine, reg *remotetest.Registry, tag string, titles ...string) string {
	t.Helper()
	ctx := context.Background()
	var layers []ocispec.Descriptor
	for _, title := range titles {
		d, err := content.WriteBlob(ctx, e.content, []byte(title))
		if err != nil {
			t.Fatal(err)
		}
		d.MediaType, d.Annotations = "text/plain", map[string]string{ocispec.AnnotationTitle: title}
		layers = append(layers, d)
	}
	desc, err := image.WriteArtifact(ctx, e.content, image.Artifact{Type: "x/y", Layers: layers})
	if err != nil {
		t.Fatal(err)
	}
	ref := reg.Ref("files:" + tag)
	if err := transfer.Push(ctx, e.content, e.registries().Repository(ref).Target(tag, desc), desc, transfer.Options{}); err != nil {
		t.Fatal(err)
	}
	return ref.String()
}

// TestHostileTitles are refused before anything is written.
func TestHostileTitles(t *testing.T) {
	e, reg := machine(t), remotetest.Start(t)
	for i, title := range []string{"../out", "/tmp/camada-out", "a/../../out", "a/./b", "a//b", ".", "..", "a/", `..\out`, "a\x1b[2J", "a\nb", strings.Repeat("a/", 3000) + "b"} {
		name := stored(t, e, reg, "t"+string(rune('a'+i)), "good", title)
		dir := t.TempDir()
		_, err := e.PullArtifact(context.Background(), ArtifactPullOptions{Name: name, Dir: filepath.Join(dir, "in")}, nil)
		entries, rerr := os.ReadDir(dir)
		if !errdefs.IsInvalid(err) || rerr != nil || len(entries) > 0 {
			t.Errorf("%q: %v; written: %v, %v", title, err, entries, rerr)
		}
	}
	name := stored(t, e, reg, "twice", "a", "a")
	if _, err := e.PullArtifact(context.Background(), ArtifactPullOptions{Name: name, Dir: t.TempDir()}, nil); !errdefs.IsInvalid(err) {
		t.Errorf("a file twice: %v", err)
	}
}

// TestPullBesideLinks writes to no place that a link in the directory leads to.
func TestPullBesideLinks(t *testing.T) {
	ctx := context.Background()
	e, reg := machine(t), remotetest.Start(t)
	name := stored(t, e, reg, "1", "link/file", "file")
	out, dir := t.TempDir(), t.TempDir()
	victim := filepath.Join(out, "victim")
	if err := os.WriteFile(victim, []byte("safe"), 0o644); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"link": out, "file": victim} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := e.PullArtifact(ctx, ArtifactPullOptions{Name: name, Dir: dir}, nil); err == nil {
		t.Error("a directory that is a link is followed")
	}
	if data, err := os.ReadFile(victim); err != nil || string(data) != "safe" {
		t.Errorf("%s, %v", data, err)
	}
	if entries, err := os.ReadDir(out); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
	name = stored(t, e, reg, "2", "file", "d/file2")
	for _, keep := range []bool{false, true} {
		_, err := e.PullArtifact(ctx, ArtifactPullOptions{Name: name, Dir: dir, KeepOld: keep}, nil)
		if data, rerr := os.ReadFile(filepath.Join(dir, "file")); string(data) != "file" || rerr != nil || keep != errdefs.IsAlreadyExists(err) {
			t.Errorf("keep %v: %v; %s, %v", keep, err, data, rerr)
		}
	}
	if data, err := os.ReadFile(victim); err != nil || string(data) != "safe" {
		t.Errorf("%s, %v", data, err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".camada-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

// TestPullDamaged gives no name to a file whose bytes are wrong.
func TestPullDamaged(t *testing.T) {
	e, reg := machine(t), remotetest.Start(t)
	name := stored(t, e, reg, "1", "good")
	d, err := content.WriteBlob(context.Background(), e.content, []byte("good"))
	if err != nil {
		t.Fatal(err)
	}
	reg.Damage(d.Digest)
	dir := t.TempDir()
	_, err = e.PullArtifact(context.Background(), ArtifactPullOptions{Name: name, Dir: dir}, nil)
	if entries, rerr := os.ReadDir(dir); !errdefs.IsCorrupt(err) || rerr != nil || len(entries) > 0 {
		t.Errorf("%v; written: %v, %v", err, entries, rerr)
	}
}
