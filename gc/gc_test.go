package gc_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/camada/camada/content"
	"github.com/camada/camada/content/local"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/gc"
	"github.com/camada/camada/image"
	"github.com/camada/camada/image/layout"
	"github.com/camada/camada/lease"
	"github.com/camada/camada/reference"
	"github.com/camada/camada/snapshot"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// store is a store under test.
type store struct {
	t     *testing.T
	root  string
	blobs *local.Store
	refs  *layout.Refs
	snaps *snapshots
}

func newStore(t *testing.T) *store {
	root := t.TempDir()
	return &store{t, root, local.Open(root, local.Options{}), layout.Open(root), &snapshots{infos: map[string]snapshot.Info{}}}
}

func (s *store) gc(extra ...gc.Source) gc.Store {
	return gc.Store{
		Blobs: s.blobs, Snapshots: s.snaps, Ingests: s.blobs, Leases: lease.Open(s.root),
		Roots: append([]gc.Source{gc.Refs(s.refs), gc.Reflog(s.refs, gc.DefaultKeep(), time.Now())}, extra...),
	}
}

func (s *store) blob(text string) ocispec.Descriptor {
	s.t.Helper()
	d, err := content.WriteBlob(s.t.Context(), s.blobs, []byte(text))
	check(s.t, err)
	d.MediaType = ocispec.MediaTypeImageLayer
	return d
}

// parts are the blobs of one image: manifest, config, layers.
type parts struct {
	desc   ocispec.Descriptor
	all    []digest.Digest
	chains []digest.Digest
}

// image stores an image of layers with the texts, in OCI's or Docker's media types.
func (s *store) image(docker bool, texts ...string) parts {
	s.t.Helper()
	config, manifest := ocispec.MediaTypeImageConfig, ocispec.MediaTypeImageManifest
	if docker {
		config, manifest = image.DockerConfig, image.DockerManifest
	}
	var p parts
	var m ocispec.Manifest
	var ids []digest.Digest
	for _, text := range texts {
		m.Layers = append(m.Layers, s.blob(text))
		ids = append(ids, digest.FromString("diff of "+text))
	}
	c, err := content.WriteJSON(s.t.Context(), s.blobs, config, ocispec.Image{
		Author: fmt.Sprint(texts), RootFS: ocispec.RootFS{Type: "layers", DiffIDs: ids}})
	check(s.t, err)
	m.Versioned, m.MediaType, m.Config = specs.Versioned{SchemaVersion: 2}, manifest, c
	p.desc, err = content.WriteJSON(s.t.Context(), s.blobs, manifest, m)
	check(s.t, err)
	p.all = append(p.all, p.desc.Digest, c.Digest)
	for _, l := range m.Layers {
		p.all = append(p.all, l.Digest)
	}
	p.chains = identity.ChainIDs(slices.Clone(ids))
	return p
}

func (s *store) index(images ...parts) parts {
	idx := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	var p parts
	for _, i := range images {
		idx.Manifests = append(idx.Manifests, i.desc)
		p.all = append(p.all, i.all...)
	}
	var err error
	p.desc, err = content.WriteJSON(s.t.Context(), s.blobs, idx.MediaType, idx)
	check(s.t, err)
	p.all = append(p.all, p.desc.Digest)
	return p
}

func (s *store) set(name string, d ocispec.Descriptor) {
	s.t.Helper()
	check(s.t, s.refs.Set(s.t.Context(), ref(s.t, name), d, image.SetOptions{Verb: "test"}))
}

func ref(t *testing.T, name string) reference.Reference {
	t.Helper()
	r, err := reference.Parse(name)
	check(t, err)
	return r
}

func (s *store) have(want bool, dgsts ...digest.Digest) {
	s.t.Helper()
	for _, d := range dgsts {
		there, err := content.Exists(s.t.Context(), s.blobs, d)
		check(s.t, err)
		if there != want {
			s.t.Errorf("blob %s: there is %v, want %v", d, there, want)
		}
	}
}

func (s *store) collect(opts gc.Options, extra ...gc.Source) gc.Result {
	s.t.Helper()
	res, err := gc.Collect(s.t.Context(), s.gc(extra...), opts)
	check(s.t, err)
	return res
}

// snapshots is an implementation in memory.
type snapshots struct{ infos map[string]snapshot.Info }

func (s *snapshots) add(id, parent string, chain digest.Digest) {
	s.infos[id] = snapshot.Info{ID: id, Parent: parent, ChainID: chain}
}

func (s *snapshots) Walk(_ context.Context, fn func(snapshot.Info) error) error {
	for _, i := range s.infos {
		if err := fn(i); err != nil {
			return err
		}
	}
	return nil
}

func (s *snapshots) Remove(_ context.Context, id string) error {
	for _, i := range s.infos {
		if i.Parent == id {
			return errdefs.Conflict("%s lies on %s", i.ID, id)
		}
	}
	delete(s.infos, id)
	return nil
}

func (s *snapshots) Usage(context.Context, string) (snapshot.Usage, error) {
	return snapshot.Usage{Bytes: 1000}, nil
}

func (s *snapshots) ids() (ids []string) {
	for id := range s.infos {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

func TestCollect(t *testing.T) {
	s := newStore(t)
	oci, docker := s.image(false, "base", "app"), s.image(true, "base", "other")
	multi := s.index(s.image(false, "amd64"), s.index(s.image(true, "arm64")))
	lost := s.index(s.image(false, "base", "lost"), s.image(true, "lost too"))
	junk := s.blob("junk")
	s.set("oci", oci.desc)
	s.set("docker", docker.desc)
	s.set("multi", multi.desc)
	// The base layer is kept by others.
	gone := slices.DeleteFunc(slices.Clone(lost.all), func(d digest.Digest) bool { return d == oci.all[2] })
	gone = append(gone, junk.Digest)

	s.snaps.add("base", "", oci.chains[0])
	s.snaps.add("app", "base", oci.chains[1])
	s.snaps.add("old", "base", lost.chains0())
	s.snaps.add("build1", "old", "")
	s.snaps.add("build2", "build1", "")

	dry := s.collect(gc.Options{DryRun: true})
	s.have(true, gone...)
	res := s.collect(gc.Options{})
	s.have(false, gone...)
	for _, p := range []parts{oci, docker, multi} {
		s.have(true, p.all...)
	}
	if res.Blobs.Count != len(gone) || res.Snapshots.Count != 3 || res.Snapshots.Bytes != 3000 {
		t.Errorf("result: %+v", res)
	}
	if fmt.Sprint(dry) != fmt.Sprint(res) {
		t.Errorf("a dry run says %+v, and then comes %+v", dry, res)
	}
	if got := s.snaps.ids(); !slices.Equal(got, []string{"app", "base"}) {
		t.Errorf("snapshots: %v", got)
	}
	if res := s.collect(gc.Options{}); res.Blobs.Count+res.Snapshots.Count != 0 {
		t.Errorf("a second collection: %+v", res)
	}
}

// chains0 is a chain that no image has.
func (parts) chains0() digest.Digest { return digest.FromString("no such chain") }

func TestReflogKeeps(t *testing.T) {
	s := newStore(t)
	var builds []parts
	for i := range 15 {
		builds = append(builds, s.image(false, fmt.Sprint("build ", i)))
		s.set("app", builds[i].desc)
	}
	removed := s.image(false, "removed")
	s.set("removed", removed.desc)
	check(t, s.refs.Delete(t.Context(), ref(t, "removed"), image.SetOptions{Verb: "untag"}))

	s.collect(gc.Options{})
	for _, b := range append(builds, removed) {
		s.have(true, b.all...)
	}
	// Much later only the last entries stay, and those of removed refs do not.
	st := s.gc()
	st.Roots = []gc.Source{gc.Refs(s.refs), gc.Reflog(s.refs, gc.DefaultKeep(), time.Now().AddDate(0, 0, 31))}
	_, err := gc.Collect(t.Context(), st, gc.Options{})
	check(t, err)
	for i, b := range builds {
		s.have(i >= 5, b.all...)
	}
	s.have(false, removed.all...)
	// With nothing to keep only the ref is left.
	st.Roots[1] = gc.Reflog(s.refs, gc.Keep{}, time.Now())
	_, err = gc.Collect(t.Context(), st, gc.Options{})
	check(t, err)
	for i, b := range builds {
		s.have(i == 14, b.all...)
	}
}

func TestLeasesAndRootsKeep(t *testing.T) {
	s := newStore(t)
	leased, pinned, root, free := s.image(false, "leased"), s.blob("pinned"), s.image(true, "root"), s.blob("free")
	l, err := lease.Open(s.root).Acquire(t.Context(), "run")
	check(t, err)
	// A manifest that is pinned keeps all that it leads to.
	check(t, l.Pin(t.Context(), lease.Blob(leased.desc.Digest), lease.Blob(pinned.Digest), lease.Snapshot("s2")))
	for i := range 4 {
		s.snaps.add(fmt.Sprint("s", i), map[bool]string{true: fmt.Sprint("s", i-1)}[i > 0], "")
	}
	s.snaps.add("chain", "", root.chains[0])
	s.snaps.add("c", "", "")
	extra := func(_ context.Context, yield func(gc.Root) error) error {
		return errors.Join(yield(gc.Root{Descriptor: ocispec.Descriptor{Digest: root.desc.Digest}}), yield(gc.Root{Snapshot: "c"}))
	}
	s.collect(gc.Options{}, extra)
	s.have(true, append(append(leased.all, root.all...), pinned.Digest)...)
	s.have(false, free.Digest)
	if got := s.snaps.ids(); !slices.Equal(got, []string{"c", "chain", "s0", "s1", "s2"}) {
		t.Errorf("snapshots: %v", got)
	}
	check(t, l.Release())
	s.collect(gc.Options{})
	s.have(false, append(append(leased.all, root.all...), pinned.Digest)...)
	if got := s.snaps.ids(); len(got) != 0 {
		t.Errorf("snapshots: %v", got)
	}
}

func TestFailingSourceRemovesNothing(t *testing.T) {
	s := newStore(t)
	d := s.blob("x")
	_, err := gc.Collect(t.Context(), s.gc(func(context.Context, func(gc.Root) error) error { return errdefs.Unavailable("disk") }), gc.Options{})
	if !errdefs.IsUnavailable(err) {
		t.Errorf("Collect: %v", err)
	}
	s.have(true, d.Digest)
}

func TestIncompleteImages(t *testing.T) {
	s := newStore(t)
	a, b := s.image(false, "a"), s.image(false, "b")
	s.set("a", a.desc)
	s.set("i", s.index(a, b).desc)
	check(t, s.blobs.Delete(t.Context(), b.desc.Digest))
	path := filepath.Join(s.root, "blobs/sha256", a.all[1].Encoded())
	check(t, os.Chmod(path, 0o644))
	check(t, os.WriteFile(path, []byte("rotten"), 0))
	res := s.collect(gc.Options{})
	if want := []digest.Digest{a.all[1]}; !slices.Equal(res.Damaged, want) {
		t.Errorf("damaged: %v, want %v", res.Damaged, want)
	}
	s.have(true, a.all...)
}

func TestIngests(t *testing.T) {
	s := newStore(t)
	w, err := s.blobs.Writer(t.Context(), content.WriterOptions{Ref: "old"})
	check(t, err)
	_, err = w.Write(make([]byte, 100))
	check(t, err)
	check(t, w.Close())
	live, err := s.blobs.Writer(t.Context(), content.WriterOptions{Ref: "live"})
	check(t, err)
	defer live.Abort()
	if res := s.collect(gc.Options{}); res.Ingests.Count != 0 {
		t.Errorf("a fresh ingest was removed: %+v", res.Ingests)
	}
	time.Sleep(10 * time.Millisecond)
	if res := s.collect(gc.Options{IngestKeep: -1}); res.Ingests != (gc.Count{Count: 1, Bytes: 100}) {
		t.Errorf("ingests: %+v", res.Ingests)
	}
	left, err := s.blobs.Ingests(t.Context())
	check(t, err)
	if len(left) != 1 || left[0].Ref != "live" || !left[0].Active {
		t.Errorf("left: %+v", left)
	}
}

func TestMeasure(t *testing.T) {
	s := newStore(t)
	a, b := s.image(false, "base", "a"), s.image(false, "base", "b")
	s.set("a", a.desc)
	s.set("a2", a.desc)
	s.set("b", b.desc)
	s.blob("junk")
	s.snaps.add("a", "", a.chains[0])
	s.snaps.add("x", "", "")
	u, err := gc.Measure(t.Context(), s.gc())
	check(t, err)
	if u.Refs != 3 || u.Images != 2 || u.Blobs.Count != 8 || u.Shared != (gc.Count{Count: 1, Bytes: 4}) || u.Saved != 4 ||
		u.ReclaimableBlobs != (gc.Count{Count: 1, Bytes: 4}) || u.Snapshots != (gc.Count{Count: 2, Bytes: 2000}) ||
		u.ReclaimableSnapshots != (gc.Count{Count: 1, Bytes: 1000}) {
		t.Errorf("usage: %+v", u)
	}
}
