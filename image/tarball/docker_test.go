package tarball_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/camada/camada/image"
	"github.com/camada/camada/image/imagetest"
	"github.com/camada/camada/image/tarball"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestDocker(t *testing.T) {
	p := need(t, "dockerd", "docker")
	p.StartDocker()
	s := p.save()
	for _, format := range []tarball.Format{tarball.Combined, tarball.Docker} {
		t.Run("loads format "+string(format), func(t *testing.T) {
			p := &peer{Peers: p.In(t), t: t}
			p.Run("docker", "load", "-i", s.paths[format])
			if got := p.Run("docker", "image", "inspect", "--format", "{{.Id}}", "app:1"); got != "sha256:"+s.id {
				t.Errorf("docker has the image ID %s, want %s", got, s.id)
			}
			p.Run("docker", "rmi", "app:1")
		})
	}
	t.Run("builds", func(t *testing.T) {
		p := &peer{Peers: p.In(t), t: t}
		dir := p.Path("context")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{"Dockerfile": "FROM scratch\nCOPY a /a\nENV X=y\nCOPY b /b\nCMD [\"/a\"]\n", "a": "a", "b": "b"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		p.Run("docker", "build", "-t", "built:1", dir)
		p.Run("docker", "save", "-o", p.Path("built.tar"), "built:1")
		store, l := p.load(p.Path("built.tar"))
		img, err := image.Open(context.Background(), store, l.Descriptor, ocispec.Platform{})
		if err != nil {
			t.Fatal(err)
		}
		if want := p.Run("docker", "image", "inspect", "--format", "{{.Id}}", "built:1"); img.ID().String() != want {
			t.Errorf("image ID %s, want %s", img.ID(), want)
		}
		if h := img.History(); len(h) != 4 || h[0].Size != 0 || h[1].Size == 0 || h[2].Size != 0 || h[3].Size == 0 {
			t.Errorf("history %+v", h)
		}
	})
	t.Run("saves", func(t *testing.T) {
		p := &peer{Peers: p.In(t), t: t}
		if err := os.WriteFile(p.Path("root.tar"), imagetest.Layer("file", "content"), 0o600); err != nil {
			t.Fatal(err)
		}
		want := p.Run("docker", "import", "--change", "CMD /file", p.Path("root.tar"), "made:1")
		p.Run("docker", "tag", "made:1", "made:2")
		p.Run("docker", "save", "-o", p.Path("docker.tar"), "made:1", "made:2")
		store, l := p.load(p.Path("docker.tar"))
		if got := id(t, store, l.Descriptor); "sha256:"+got != want {
			t.Errorf("image ID %s, want %s", got, want)
		}
		names := familiar(l)
		slices.Sort(names)
		if got := strings.Join(names, " "); got != "made:1 made:2" {
			t.Errorf("names %s", got)
		}
	})
}
