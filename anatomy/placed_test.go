package anatomy_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/camada/camada/anatomy"
	"github.com/camada/camada/archive"
	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/image/imagetest"
	"github.com/camada/camada/inventory"
	"github.com/camada/camada/layer/index"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// filesOf makes a layer of files: a path and its text by turns.
func filesOf(t *testing.T, files ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := archive.NewWriter(&b, archive.WriterOptions{})
	for i := 0; i < len(files); i += 2 {
		if err := w.Add(archive.Entry{Name: files[i], Type: archive.TypeReg, Mode: 0o644, Size: int64(len(files[i+1]))}, strings.NewReader(files[i+1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// statusOf is a list of dpkg's, of packages "name=version".
func statusOf(packages ...string) string {
	var b strings.Builder
	for _, p := range packages {
		name, version, _ := strings.Cut(p, "=")
		fmt.Fprintf(&b, "Package: %s\nStatus: install ok installed\nVersion: %s\nArchitecture: all\n\n", name, version)
	}
	return b.String()
}

// unreadable is a provider that has nothing.
type unreadable struct{ content.Provider }

func (unreadable) Open(_ context.Context, d ocispec.Descriptor) (content.Reader, error) {
	return nil, fmt.Errorf("%s is asked for", d.Digest)
}

// TestPlacedPackages: a package belongs to the layer since which the lists have it in this version, whatever else changed in them.
func TestPlacedPackages(t *testing.T) {
	const list = "var/lib/dpkg/status"
	a, p := open(t,
		filesOf(t, "etc/os-release", "ID=debian\n", list, statusOf("a=1", "b=1", "c=1", "d=1")),
		filesOf(t, "app/x", "x"),
		filesOf(t, list, statusOf("a=1", "b=2", "c=2", "e=1")),
		filesOf(t, list, statusOf("a=1", "b=2", "c=1", "d=1"), "var/lib/dpkg/status.d/f", statusOf("f=1")),
	)
	dir := filepath.Join(t.TempDir(), "lists")
	kept := anatomy.OpenLists(dir)
	inv, layers, err := a.PlacedPackages(t.Context(), p, kept)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i, x := range inv.Packages {
		got = append(got, fmt.Sprintf("%s=%s:%d", x.Name, x.Version, layers[i]))
	}
	if want := "a=1:0 b=2:2 c=1:3 d=1:3 f=1:3"; strings.Join(got, " ") != want || inv.Distribution.ID != "debian" {
		t.Errorf("got %v of %+v, want %s", got, inv.Distribution, want)
	}
	// What was kept is taken; what is damaged is read again.
	again, _, err := a.PlacedPackages(t.Context(), unreadable{}, kept)
	if err != nil || len(again.Packages) != len(inv.Packages) {
		t.Errorf("kept lists: %d packages, %v", len(again.Packages), err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 3 {
		t.Fatalf("%d layers were kept, not 3: %v", len(files), err)
	}
	if err := os.Truncate(filepath.Join(dir, files[0].Name()), 700); err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.PlacedPackages(t.Context(), unreadable{}, kept); err == nil {
		t.Error("a list that was cut short is believed")
	}
	if again, _, err = a.PlacedPackages(t.Context(), p, kept); err != nil || len(again.Packages) != len(inv.Packages) {
		t.Errorf("after damage: %d packages, %v", len(again.Packages), err)
	}
	if _, err := kept.Expire(time.Now().Add(-time.Hour), false); err != nil {
		t.Error(err)
	}
	if n, err := kept.Expire(time.Now().Add(time.Hour), false); err != nil || n == 0 {
		t.Errorf("expired %d bytes, %v", n, err)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 0 {
		t.Errorf("%v is left, %v", files, err)
	}
}

// TestPlacedUnread: a list that nobody can read is said, and none at all are no packages.
func TestPlacedUnread(t *testing.T) {
	a, p := open(t, filesOf(t, "var/lib/pacman/local/ALPM_DB_VERSION", "9"))
	if inv, _, err := a.PlacedPackages(t.Context(), p, nil); err != nil || len(inv.Unread)+len(inv.Packages) == 0 {
		t.Errorf("an image of pacman's has %+v, %v", inv, err)
	}
	b, p := open(t, filesOf(t, "x", "x"))
	if inv, layers, err := b.PlacedPackages(t.Context(), p, nil); err != nil || len(inv.Packages)+len(inv.Unread)+len(layers) != 0 || inv.Packages == nil {
		t.Errorf("an image of nothing has %+v, %v", inv, err)
	}
}

// TestPlacedDamage: a damaged list matters when it is there in the end.
func TestPlacedDamage(t *testing.T) {
	const list = "var/lib/dpkg/status"
	a, p := open(t, filesOf(t, list, statusOf("a=1")), filesOf(t, list, "no field\n"), filesOf(t, list, statusOf("a=1")))
	inv, layers, err := a.PlacedPackages(t.Context(), p, nil)
	if err != nil || len(inv.Packages) != 1 || layers[0] != 0 {
		t.Errorf("%+v %v, %v", inv, layers, err)
	}
	b, p := open(t, filesOf(t, list, statusOf("a=1")), filesOf(t, list, "no field\n"))
	if _, _, err := b.PlacedPackages(t.Context(), p, nil); err == nil {
		t.Error("a damaged list is believed")
	}
}

// TestPlacedVerified: a manifest that gives a config other layers than it speaks of tells nothing of the layers that it speaks of, also when their lists of files are known already.
func TestPlacedVerified(t *testing.T) {
	layer := func(version string) []byte {
		return filesOf(t, "var/lib/dpkg/status", statusOf("a="+version), "app/Cargo.lock", fmt.Sprintf("[[package]]\nname = \"b\"\nversion = %q\n", version))
	}
	ctx, store := t.Context(), &imagetest.Memory{}
	img, err := image.Open(ctx, store, imagetest.Write(t, store, imagetest.Config(), layer("1")), ocispec.Platform{})
	if err != nil {
		t.Fatal(err)
	}
	id := img.DiffIDs[0]
	x, err := index.Read(bytes.NewReader(layer("1")))
	if err != nil {
		t.Fatal(err)
	}
	other, err := content.WriteBlob(ctx, store, imagetest.Gzip(layer("2")))
	if err != nil {
		t.Fatal(err)
	}
	other.MediaType = img.Layers[0].MediaType
	img.Layers[0] = other
	a, err := anatomy.Open(ctx, store, kept{id: x.Marshal(id)}, img)
	if err != nil {
		t.Fatal(err)
	}
	lists := anatomy.OpenLists(t.TempDir())
	if _, _, err := a.PlacedLists(ctx, store, lists); !errdefs.IsCorrupt(err) || lists.Get(id) != nil {
		t.Errorf("lists of packages of another layer: %v, and kept: %v", err, lists.Get(id))
	}
	if _, _, err := a.PlaceLanguages(ctx, store, lists, nil, inventory.Inventory{}, nil); !errdefs.IsCorrupt(err) || lists.Told(id) != nil {
		t.Errorf("languages of another layer: %v, and kept: %v", err, lists.Told(id))
	}
	if _, err := a.Head(ctx, store, a.Lookup("app/Cargo.lock").Now(), 3); !errdefs.IsCorrupt(err) {
		t.Errorf("the begin of a file of another layer: %v", err)
	}
}

// counted is what a test keeps, and counts.
type counted struct {
	*anatomy.ListStore
	put atomic.Int32
}

func (k *counted) PutTold(d digest.Digest, t *anatomy.Told) error {
	k.put.Add(1)
	return k.ListStore.PutTold(d, t)
}

// TestPlacedLanguages: what a file tells belongs to the layer since which it tells it; what does not show tells nothing.
func TestPlacedLanguages(t *testing.T) {
	lock := func(crates ...string) string {
		var b strings.Builder
		for _, c := range crates {
			fmt.Fprintf(&b, "[[package]]\nname = %q\nversion = \"1\"\n", c)
		}
		return b.String()
	}
	const copyright = "usr/share/doc/x/copyright"
	a, p := open(t,
		filesOf(t, "app/Cargo.lock", lock("a", "b"), "gone/Cargo.lock", lock("gone"), "var/lib/dpkg/status", statusOf("x=1"), copyright, "License: no\n"),
		filesOf(t, "app/Cargo.lock", lock("a", "c"), "gone/.wh.Cargo.lock", "", "bad/package-lock.json", "{", "worse/package-lock.json", "{"),
		filesOf(t, "app/x", "x"),
		filesOf(t, "app/Cargo.lock", lock("a", "c", "b"), "worse/.wh.package-lock.json", "", copyright, "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nLicense: Zlib\n"),
	)
	k := &counted{ListStore: anatomy.OpenLists(t.TempDir())}
	look := func(a *anatomy.Image, p content.Provider, trees anatomy.Trees) string {
		t.Helper()
		inv, layers, err := a.PlacedLists(context.Background(), p, k)
		if err == nil {
			inv, layers, err = a.PlaceLanguages(context.Background(), p, k, trees, inv, layers)
		}
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		for i, x := range inv.Packages {
			fmt.Fprintf(&b, "%s:%s%s:%d ", x.Type, x.Name, x.License, layers[i])
		}
		return b.String() + strings.Join(inv.Unread, " ")
	}
	const want = "cargo:a:0 cargo:b:3 cargo:c:1 deb:xZlib:0 bad/package-lock.json"
	if got := look(a, p, nil); got != want || k.put.Load() != 3 {
		t.Errorf("got %q and %d layers that were read, want %q", got, k.put.Load(), want)
	}
	if got := look(a, unreadable{}, nil); got != want {
		t.Errorf("what was kept: got %q, want %q", got, want)
	}

	// Trees are read where they have what the layers have.
	k.ListStore = anatomy.OpenLists(t.TempDir())
	var used atomic.Int32
	trees := func(_ context.Context, layer int) (fs.FS, func(), error) {
		used.Add(1)
		tree := fstest.MapFS{"app/Cargo.lock": {Data: []byte(lock("a", "b"))}, "gone/Cargo.lock": {Data: []byte(lock("gone"))}, copyright: {Data: []byte("License: no\n")}}
		switch layer {
		case 1: // another file, of another size
			tree["app/Cargo.lock"] = &fstest.MapFile{Data: []byte("x")}
		case 3:
			return nil, nil, fs.ErrNotExist
		}
		return tree, func() {}, nil
	}
	if got := look(a, p, trees); got != want || used.Load() != 3 {
		t.Errorf("trees: got %q and %d trees, want %q", got, used.Load(), want)
	}
}

// TestPlacedKinds reads all that becomes a file when a layer is unpacked.
func TestPlacedKinds(t *testing.T) {
	a, p := open(t, tarOf(t, `c app/package-lock.json {"lockfileVersion":3,"packages":{"node_modules/a":{"version":"1.0.0"}}}`))
	inv, _, err := a.PlacedPackages(t.Context(), p, nil)
	if err != nil || len(inv.Packages) != 1 || inv.Packages[0].Name != "a" || len(inv.Unread) > 0 {
		t.Errorf("a contiguous file: %v, unread %v, %v", inv.Packages, inv.Unread, err)
	}
}
