package referrers_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image/referrers"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func desc(text string) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString(text), Size: int64(len(text)),
		ArtifactType: "application/x", Annotations: map[string]string{"a": text}}
}

func digests(list []ocispec.Descriptor) map[digest.Digest]bool {
	out := map[digest.Digest]bool{}
	for _, d := range list {
		out[d.Digest] = true
	}
	return out
}

func TestAddOfForget(t *testing.T) {
	ctx, root := t.Context(), t.TempDir()
	s := referrers.Open(root)
	subject, other := digest.FromString("subject"), digest.FromString("other")
	if list, err := s.Of(ctx, subject); err != nil || list != nil {
		t.Fatalf("of nothing: %v, %v", list, err)
	}
	if _, err := os.Stat(filepath.Join(root, "referrers")); err == nil {
		t.Error("reading made a directory")
	}
	for _, d := range []ocispec.Descriptor{desc("one"), desc("two"), desc("one")} {
		if err := s.Add(ctx, subject, d); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Add(ctx, other, desc("three")); err != nil {
		t.Fatal(err)
	}
	list, err := referrers.Open(root).Of(ctx, subject)
	if err != nil || len(list) != 2 || !digests(list)[desc("one").Digest] || list[0].ArtifactType != "application/x" || list[0].Annotations["a"] == "" {
		t.Fatalf("got %v, %v", list, err)
	}
	seen := map[digest.Digest]bool{}
	if err := s.Walk(ctx, func(d digest.Digest) error { seen[d] = true; return nil }); err != nil || len(seen) != 2 || !seen[subject] || !seen[other] {
		t.Fatalf("walked %v, %v", seen, err)
	}
	if err := s.Forget(ctx, subject); err != nil {
		t.Fatal(err)
	}
	if list, err := s.Of(ctx, subject); err != nil || list != nil {
		t.Fatalf("after forgetting: %v, %v", list, err)
	}
	if list, err := s.Of(ctx, other); err != nil || len(list) != 1 {
		t.Fatalf("of the other: %v, %v", list, err)
	}
}

func TestBadEntries(t *testing.T) {
	ctx, root := t.Context(), t.TempDir()
	s := referrers.Open(root)
	subject := digest.FromString("subject")
	if err := s.Add(ctx, subject, desc("good")); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, "referrers/sha256", subject.Encoded())
	lie, err := json.Marshal(desc("lie"))
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string]string{
		"sha256-" + digest.FromString("torn").Encoded():  `{"mediaType"`,
		"sha256-" + digest.FromString("named").Encoded(): string(lie),
		"stray": "x", ".hidden": "x",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "sha256-"+digest.FromString("link").Encoded())); err != nil {
		t.Fatal(err)
	}
	if list, err := s.Of(ctx, subject); err != nil || len(list) != 1 || list[0].Digest != desc("good").Digest {
		t.Errorf("got %v, %v", list, err)
	}
	if err := s.Add(ctx, "sha256:../../x", desc("good")); !errdefs.IsInvalid(err) {
		t.Errorf("a subject that is a path: %v", err)
	}
	if err := s.Add(ctx, subject, ocispec.Descriptor{Digest: "sha256:../x"}); !errdefs.IsInvalid(err) {
		t.Errorf("a referrer that is a path: %v", err)
	}
}

func TestManyAtOnce(t *testing.T) {
	ctx, root := t.Context(), t.TempDir()
	subject := digest.FromString("subject")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			s := referrers.Open(root)
			for j := range 8 {
				if err := s.Add(ctx, subject, desc(fmt.Sprint(i, j))); err != nil {
					t.Error(err)
				}
				if err := s.Forget(ctx, digest.FromString(fmt.Sprint("none", i))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if list, err := referrers.Open(root).Of(ctx, subject); err != nil || len(list) != 64 {
		t.Errorf("%d entries, %v", len(list), err)
	}
}
