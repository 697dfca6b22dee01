package tarball_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/camada/camada/content/local"
	"github.com/camada/camada/image"
	"github.com/camada/camada/image/imagetest"
	"github.com/camada/camada/image/layoutdir"
	"github.com/camada/camada/image/tarball"
	"github.com/camada/camada/internal/peers"
	"github.com/camada/camada/transfer"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// peer runs the programs of others, and loads what they wrote.
type peer struct {
	*peers.Peers
	t *testing.T
}

func need(t *testing.T, programs ...string) *peer {
	t.Helper()
	return &peer{Peers: peers.Need(t, programs...), t: t}
}

// load loads an archive into a new store and checks that there is one image, which is whole.
func (p *peer) load(archive string) (*local.Store, tarball.Loaded) {
	p.t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		p.t.Fatal(err)
	}
	defer f.Close()
	store := newStore(p.t)
	loaded, err := tarball.Load(context.Background(), f, store, tarball.LoadOptions{})
	if err != nil {
		p.t.Fatalf("load %s: %v", filepath.Base(archive), err)
	}
	if len(loaded) != 1 {
		p.t.Fatalf("load %s: %d images, want 1", filepath.Base(archive), len(loaded))
	}
	checkSame(p.t, store, loaded[0].Descriptor, store, loaded[0].Descriptor)
	return store, loaded[0]
}

// id is the image ID in hex.
func id(t *testing.T, store *local.Store, desc ocispec.Descriptor) string {
	t.Helper()
	img, err := image.Open(context.Background(), store, desc, ocispec.Platform{})
	if err != nil {
		t.Fatal(err)
	}
	return img.ID().Encoded()
}

// saved is an image saved in all formats.
type saved struct {
	store *local.Store
	desc  ocispec.Descriptor
	id    string
	paths map[tarball.Format]string
}

var formats = []tarball.Format{tarball.Combined, tarball.OCI, tarball.Docker}

// save saves an image with the name app:1.
func (p *peer) save() saved {
	p.t.Helper()
	s := saved{store: newStore(p.t), paths: map[tarball.Format]string{}}
	base := imagetest.Layer("etc/motd", "hello\n")
	s.desc = imagetest.Write(p.t, s.store, imagetest.Config(), base, imagetest.Layer("bin/true", strings.Repeat("x", 100000)), base)
	s.id = id(p.t, s.store, s.desc)
	images := []tarball.Image{{Descriptor: s.desc, Names: parse(p.t, "app:1")}}
	for _, format := range formats {
		s.paths[format] = p.Path("camada" + string(format) + ".tar")
		data := save(p.t, s.store, images, tarball.SaveOptions{Format: format})
		if err := os.WriteFile(s.paths[format], data, 0o600); err != nil {
			p.t.Fatal(err)
		}
	}
	return s
}

func TestPodmanLoadsOurs(t *testing.T) {
	for _, format := range formats {
		t.Run("format "+string(format), func(t *testing.T) {
			p := need(t, "podman")
			s := p.save()
			p.Run("podman", "load", "-i", s.paths[format])
			if got := p.Run("podman", "image", "inspect", "--format", "{{.Id}}", "docker.io/library/app:1"); got != s.id {
				t.Errorf("podman has the image ID %s, want %s", got, s.id)
			}
		})
	}
}

func TestPodmanLoadsOursOfMoreImages(t *testing.T) {
	p := need(t, "podman")
	store := newStore(t)
	a := imagetest.Write(t, store, imagetest.Config(), imagetest.Layer("a", "a"))
	b := imagetest.Write(t, store, imagetest.Config(), imagetest.Layer("b", "b"))
	data := save(t, store, []tarball.Image{
		{Descriptor: a, Names: parse(t, "app:1", "other:2")},
		{Descriptor: b, Names: parse(t, "app:3")},
	}, tarball.SaveOptions{})
	if err := os.WriteFile(p.Path("a.tar"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	p.Run("podman", "load", "-i", p.Path("a.tar"))
	for name, desc := range map[string]ocispec.Descriptor{"docker.io/library/app:1": a, "docker.io/library/other:2": a, "docker.io/library/app:3": b} {
		if got := p.Run("podman", "image", "inspect", "--format", "{{.Id}}", name); got != id(t, store, desc) {
			t.Errorf("podman has %s as %s", name, got)
		}
	}
}

func TestSkopeoReadsOurs(t *testing.T) {
	p := need(t, "skopeo")
	s := p.save()
	for source, keeps := range map[string]bool{
		"oci-archive:" + s.paths[tarball.Combined]:    true,
		"docker-archive:" + s.paths[tarball.Combined]: false,
		"oci-archive:" + s.paths[tarball.OCI]:         true,
		"docker-archive:" + s.paths[tarball.Docker]:   false,
	} {
		got := p.Run("skopeo", "inspect", "--format", "{{.Digest}}", source)
		if keeps && got != s.desc.Digest.String() {
			t.Errorf("skopeo sees %s as %s, want %s", source, got, s.desc.Digest)
		}
		out := p.Path("copy")
		p.Run("skopeo", "copy", source, "dir:"+out)
		if _, err := os.Stat(filepath.Join(out, s.id)); err != nil {
			t.Errorf("skopeo's copy of %s has another config: %v", source, err)
		}
	}
	p.Run("skopeo", "inspect", "oci-archive:"+s.paths[tarball.Combined]+":app:1")
}

func TestUmociUnpacksOurs(t *testing.T) {
	p := need(t, "umoci", "tar")
	s := p.save()
	for _, format := range []tarball.Format{tarball.Combined, tarball.OCI} {
		dir := p.Path("layout" + string(format))
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		p.Run("tar", "-C", dir, "-xf", s.paths[format])
		p.Run("umoci", "unpack", "--image", dir+":app:1", dir+"/bundle")
		if data, err := os.ReadFile(dir + "/bundle/rootfs/etc/motd"); err != nil || string(data) != "hello\n" {
			t.Errorf("umoci unpacked %q, %v", data, err)
		}
	}
}

func TestCrane(t *testing.T) {
	p := need(t, "crane", "tar")
	s := p.save()
	for _, format := range []tarball.Format{tarball.Combined, tarball.Docker} {
		p.Run("crane", "validate", "--tarball", s.paths[format])
	}
	name := p.StartRegistry() + "/app:1"
	// The layout that is in the archive, and the archive itself.
	if err := os.Mkdir(p.Path("layout"), 0o700); err != nil {
		t.Fatal(err)
	}
	p.Run("tar", "-C", p.Path("layout"), "-xf", s.paths[tarball.Combined])
	p.Run("crane", "push", p.Path("layout"), name)
	if got := p.Run("crane", "digest", name); got != s.desc.Digest.String() {
		t.Errorf("crane pushed %s from the layout, want %s", got, s.desc.Digest)
	}
	p.Run("crane", "validate", "--remote", name)
	p.Run("crane", "pull", "--format", "tarball", name, p.Path("crane.tar"))
	p.Run("crane", "pull", "--format", "oci", "--annotate-ref", name, p.Path("pulled"))
	store, l := p.load(p.Path("crane.tar"))
	if got := id(t, store, l.Descriptor); got != s.id {
		t.Errorf("through crane's tarball the image ID became %s, want %s", got, s.id)
	}
	d, err := layoutdir.Open(p.Path("pulled"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if images := d.Images(); len(images) != 1 || images[0].Descriptor.Digest != s.desc.Digest || len(images[0].Names) != 1 {
		t.Errorf("crane's layout has the images %+v", images)
	}
	p.Run("crane", "push", s.paths[tarball.Docker], name)
	if got := p.Run("crane", "config", name); !strings.Contains(got, `"test":"yes"`) {
		t.Errorf("crane pushed the config %s", got)
	}
}

func TestBuildahsArchives(t *testing.T) {
	p := need(t, "buildah", "skopeo")
	if err := os.WriteFile(p.Path("file"), []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.Run("buildah", "from", "--name", "c", "scratch")
	p.Run("buildah", "copy", "c", p.Path("file"), "/file")
	p.Run("buildah", "config", "--cmd", "/file", "--label", "made=buildah", "c")
	for _, format := range []string{"oci", "docker"} {
		name := "localhost/made-" + format + ":1"
		want := p.Run("buildah", "commit", "--format", format, "c", name)
		for _, kind := range []string{"oci-archive", "docker-archive"} {
			archive := p.Path(format + kind)
			p.Run("buildah", "push", name, kind+":"+archive+":"+name)
			store, l := p.load(archive)
			if kind == "docker-archive" && format == "docker" && id(t, store, l.Descriptor) != want {
				t.Errorf("%s of %s: image ID %s, want %s", kind, format, id(t, store, l.Descriptor), want)
			}
			if got := familiar(l); !slices.Equal(got, []string{name}) {
				t.Errorf("%s of %s: names %v, want %s", kind, format, got, name)
			}
			if p.Run("skopeo", "inspect", "--format", "{{index .Labels \"made\"}}", kind+":"+archive) != "buildah" {
				t.Errorf("skopeo does not see the label")
			}
		}
	}
	p.Run("buildah", "push", "localhost/made-oci:1", "oci:"+p.Path("layout")+":1")
	p.copyLayout(p.Path("layout"), "1")
}

// copyLayout copies the only image of a layout directory into a new store.
func (p *peer) copyLayout(dir, tag string) {
	p.t.Helper()
	ctx := context.Background()
	d, err := layoutdir.Open(dir)
	if err != nil {
		p.t.Fatal(err)
	}
	defer d.Close()
	if len(d.Entries()) != 1 {
		p.t.Fatalf("the layout has %d entries, want 1", len(d.Entries()))
	}
	desc := d.Entries()[0]
	if _, word, err := image.EntryName(desc.Annotations); word != tag || err != nil {
		p.t.Errorf("the entry has the name %q, %v; want %q", word, err, tag)
	}
	store := newStore(p.t)
	if err := transfer.Copy(ctx, d, store, desc, transfer.Options{}); err != nil {
		p.t.Fatal(err)
	}
	checkSame(p.t, store, desc, d, desc)
}

func TestPodmansArchives(t *testing.T) {
	p := need(t, "podman")
	if err := os.WriteFile(p.Path("root.tar"), imagetest.Layer("file", "content"), 0o600); err != nil {
		t.Fatal(err)
	}
	want := p.Run("podman", "import", "-q", "--change", "CMD /file", p.Path("root.tar"), "localhost/pod:1")
	want = strings.TrimPrefix(want, "sha256:")
	for _, format := range []string{"docker-archive", "oci-archive"} {
		archive := p.Path(format)
		p.Run("podman", "save", "--format", format, "-o", archive, "localhost/pod:1")
		store, l := p.load(archive)
		if got := familiar(l); !slices.Equal(got, []string{"localhost/pod:1"}) {
			t.Errorf("%s: names %v", format, got)
		}
		img, err := image.Open(context.Background(), store, l.Descriptor, ocispec.Platform{})
		if err != nil {
			t.Fatal(err)
		}
		if format == "oci-archive" && img.ID().Encoded() != want {
			t.Errorf("%s: image ID %s, want %s", format, img.ID(), want)
		}
		if len(img.Config.Config.Cmd) == 0 {
			t.Errorf("%s: no command", format)
		}
	}
	p.Run("podman", "tag", "localhost/pod:1", "localhost/two:2")
	p.Run("podman", "save", "-m", "-o", p.Path("many"), "localhost/pod:1", "localhost/two:2")
	if _, l := p.load(p.Path("many")); len(l.Names) != 2 {
		t.Errorf("podman save -m: names %v, want two", l.Names)
	}
}

func TestUmocisLayout(t *testing.T) {
	p := need(t, "umoci", "tar")
	dir := p.Path("layout")
	p.Run("umoci", "init", "--layout", dir)
	p.Run("umoci", "new", "--image", dir+":v1")
	if err := os.WriteFile(p.Path("file"), []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.Run("umoci", "insert", "--image", dir+":v1", p.Path("file"), "/file")
	p.Run("umoci", "config", "--image", dir+":v1", "--config.cmd", "/file")
	p.Run("umoci", "gc", "--layout", dir)
	p.copyLayout(dir, "v1")
	p.Run("tar", "-C", dir, "-cf", p.Path("layout.tar"), ".")
	if _, l := p.load(p.Path("layout.tar")); l.RefName != "v1" {
		t.Errorf("RefName = %q", l.RefName)
	}
}

func TestSkopeoReadsOurDirectory(t *testing.T) {
	p := need(t, "skopeo")
	s := p.save()
	d, err := layoutdir.Create(t.Context(), p.Path("dir"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := transfer.Copy(context.Background(), s.store, d, s.desc, transfer.Options{}); err != nil {
		t.Fatal(err)
	}
	if err := d.Add(t.Context(), s.desc, "app:1"); err != nil {
		t.Fatal(err)
	}
	if got := p.Run("skopeo", "inspect", "--format", "{{.Digest}}", "oci:"+p.Path("dir")+":app:1"); got != s.desc.Digest.String() {
		t.Errorf("skopeo sees %s, want %s", got, s.desc.Digest)
	}
	p.Run("skopeo", "copy", "oci:"+p.Path("dir")+":app:1", "docker-archive:"+p.Path("skopeo.tar")+":example.org/app:2")
	store, l := p.load(p.Path("skopeo.tar"))
	if got := id(t, store, l.Descriptor); got != s.id {
		t.Errorf("through skopeo's docker archive the image ID became %s, want %s", got, s.id)
	}
	p.Run("skopeo", "copy", "--dest-compress-format", "zstd", "--dest-compress", "oci:"+p.Path("dir")+":app:1", "oci-archive:"+p.Path("zstd.tar")+":example.org/app:2")
	p.load(p.Path("zstd.tar"))
}
