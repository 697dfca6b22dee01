package registrytest

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func testManifests(s *suite) {
	m := s.push("a", 1)
	s.wantImage("a", m)
	s.wantNoManifest("b", m.Descriptor.Digest)
	s.wantNoManifest("a", digest.FromString("x"))
	s.put("a", m)
	s.wantImage("a", m)
	index := s.indexOf(m, s.push("a", 2))
	s.put("a", index, "latest")
	s.wantImage("a", index)
	s.wantTag("a", "latest", index.Descriptor.Digest)

	m, err := registry.ParseManifest(m.Descriptor.MediaType, m.Data, digest.SHA512)
	s.ok(err)
	s.put("a", m, "512")
	s.wantImage("a", m)
	s.wantTag("a", "512", m.Descriptor.Digest)
}

func testManifestRequires(s *suite) {
	m := s.image("a", 1)
	var missing *registry.MissingError
	err := s.PutManifest(s.Context(), "b", m, registry.PutOptions{Tags: []string{"x"}})
	s.class("blobs of another repository", err, errdefs.ErrNotFound)
	if !errors.As(err, &missing) || len(missing.Digests) != 2 || !slices.Contains(missing.Digests, m.Requires[0].Digest) {
		s.Errorf("PutManifest without its blobs: %v", err)
	}
	s.wantNoManifest("b", m.Descriptor.Digest)
	s.wantTag("b", "x", "")

	index := s.indexOf(m)
	err = s.PutManifest(s.Context(), "a", index, registry.PutOptions{})
	if missing = nil; !errors.As(err, &missing) || !slices.Equal(missing.Digests, []digest.Digest{m.Descriptor.Digest}) {
		s.Errorf("an index without its manifest: %v", err)
	}
	// A blob with the manifest's bytes is no manifest.
	s.blob("a", m.Data)
	s.class("an index of a blob", s.PutManifest(s.Context(), "a", index, registry.PutOptions{}), errdefs.ErrNotFound)
	s.put("a", m)
	s.put("a", index)
	s.wantImage("a", index)
}

// testManifestRequiresMore: who keeps copies stores a manifest first as one that requires what is there, and again when more has come.
func testManifestRequiresMore(s *suite) {
	whole := s.image("from", 1)
	index := s.indexOf(whole)
	early := func(m registry.Manifest) {
		s.Helper()
		m.Requires = nil
		s.put("a", m)
	}
	early(index)
	early(whole)
	s.put("a", index)
	config := s.blob("a", []byte(`{"seed":1}`)).Digest
	for _, q := range whole.Requires {
		if q.Digest != config {
			s.ok(s.MountBlob(s.Context(), "a", "from", q.Digest))
		}
	}
	s.put("a", whole)
	s.wantImage("a", index)
	for _, q := range whole.Requires {
		s.class("delete a blob that came later", s.DeleteBlob(s.Context(), "a", q.Digest), errdefs.ErrConflict)
	}
	s.class("delete a manifest that came later", s.DeleteManifest(s.Context(), "a", whole.Descriptor.Digest, registry.Mover{}), errdefs.ErrConflict)
	s.sweep(registry.SweepOptions{})
	s.wantImage("a", index)
	s.ok(s.DeleteManifest(s.Context(), "a", index.Descriptor.Digest, registry.Mover{}))
	s.ok(s.DeleteManifest(s.Context(), "a", whole.Descriptor.Digest, registry.Mover{}))
	s.sweep(registry.SweepOptions{})
	s.wantNoBlob("a", config)
}

func testManifestTags(s *suite) {
	m1, m2 := s.push("a", 1, "x", "y", "x"), s.image("a", 2)
	s.wantTag("a", "x", m1.Descriptor.Digest)
	s.wantTag("a", "y", m1.Descriptor.Digest)
	none, one := digest.Digest(""), m1.Descriptor.Digest
	put := func(expect *digest.Digest, tags ...string) error {
		return s.PutManifest(s.Context(), "a", m2, registry.PutOptions{Tags: tags, Expect: expect})
	}
	s.class("one of two is there", put(&none, "new", "y"), errdefs.ErrConflict)
	s.class("one of two is not there", put(&one, "x", "new"), errdefs.ErrConflict)
	s.wantNoManifest("a", m2.Descriptor.Digest)
	s.wantTag("a", "new", "")
	s.wantTag("a", "x", m1.Descriptor.Digest)
	s.ok(put(&none, "new"))
	s.ok(put(&one, "x"))
	s.wantTag("a", "x", m2.Descriptor.Digest)
	s.wantTag("a", "new", m2.Descriptor.Digest)
	s.wantTag("a", "y", m1.Descriptor.Digest)
}

func testDeleteManifest(s *suite) {
	m := s.push("a", 1, "x", "y")
	other := s.push("a", 2, "z")
	index := s.indexOf(m)
	s.put("a", index, "all")
	by := registry.Mover{Who: "eve", Verb: "delete"}
	s.class("required", s.DeleteManifest(s.Context(), "a", m.Descriptor.Digest, by), errdefs.ErrConflict)
	s.class("not there", s.DeleteManifest(s.Context(), "a", digest.FromString("x"), by), errdefs.ErrNotFound)
	s.class("of another repository", s.DeleteManifest(s.Context(), "b", m.Descriptor.Digest, by), errdefs.ErrNotFound)
	s.ok(s.DeleteManifest(s.Context(), "a", index.Descriptor.Digest, by))
	s.wantTag("a", "all", "")
	s.wantImage("a", m)
	s.ok(s.DeleteManifest(s.Context(), "a", m.Descriptor.Digest, by))
	s.wantNoManifest("a", m.Descriptor.Digest)
	s.wantTag("a", "x", "")
	s.wantTag("a", "y", "")
	s.wantTag("a", "z", other.Descriptor.Digest)
	log, err := s.TagLog(s.Context(), "a", "x")
	s.ok(err)
	if len(log) != 2 || log[0].To != "" || log[0].From != m.Descriptor.Digest || log[0].Verb != "delete" || log[0].Who != "eve" {
		s.Errorf("the log of a tag whose manifest was deleted: %+v", log)
	}
	s.put("a", m, "x")
	s.wantImage("a", m)
	s.wantTag("a", "x", m.Descriptor.Digest)
}

// testOtherDocuments: what is no manifest of images is kept as it is.
func testOtherDocuments(s *suite) {
	m := s.parse("application/vnd.example+json", map[string]any{"hello": "world"}, digest.SHA256)
	s.put("a", m, "x")
	s.wantImage("a", m)
	big := s.parse("application/vnd.example+json", map[string]any{"hello": strings.Repeat("x", 3<<20)}, digest.SHA256)
	s.put("a", big, "big")
	s.wantImage("a", big)
	s.Storage = s.driver.Reopen(s.T, s.Storage)
	s.wantImage("a", big)
}

func testReferrers(s *suite) {
	list := func(repository string, d digest.Digest) []ocispec.Descriptor {
		s.Helper()
		l, err := s.Referrers(s.Context(), repository, d)
		s.ok(err)
		return l
	}
	if l := list("a", digest.FromString("x")); len(l) != 0 {
		s.Errorf("referrers of nothing: %v", l)
	}
	m := s.image("a", 1)
	subject := m.Descriptor
	config := s.blob("a", []byte("{}"))
	var want []ocispec.Descriptor
	for i := range 20 {
		r := s.manifestOf(&subject, map[string]string{"n": fmt.Sprint(i), "long": strings.Repeat("x", i*1000)}, config)
		s.put("a", r) // the subject is not there yet
		want = append(want, r.Referrer())
	}
	slices.SortFunc(want, func(a, b ocispec.Descriptor) int { return strings.Compare(a.Digest.String(), b.Digest.String()) })
	check := func() {
		s.Helper()
		got := list("a", subject.Digest)
		if fmt.Sprint(got) != fmt.Sprint(want) {
			s.Errorf("referrers:\n%.500v\nwant:\n%.500v", got, want)
		}
	}
	check()
	s.put("a", m)
	check()
	if l := list("b", subject.Digest); len(l) != 0 {
		s.Errorf("referrers in another repository: %v", l)
	}
	s.ok(s.DeleteManifest(s.Context(), "a", want[7].Digest, registry.Mover{}))
	want = slices.Delete(want, 7, 8)
	check()
	s.Storage = s.driver.Reopen(s.T, s.Storage)
	check()
	s.ok(s.DeleteManifest(s.Context(), "a", subject.Digest, registry.Mover{}))
	check()
}

func testWalkManifests(s *suite) {
	want := map[digest.Digest]int64{}
	for i := range 300 {
		m := s.parse("application/vnd.example+json", map[string]any{"n": i}, digest.SHA256)
		s.put("a", m)
		want[m.Descriptor.Digest] = m.Descriptor.Size
	}
	s.push("a/b", 1)
	s.push("a-b", 2)
	s.ok(s.WalkManifests(s.Context(), "a", func(m registry.ManifestInfo) error {
		if want[m.Digest] != m.Size || m.Pushed.IsZero() {
			s.Errorf("WalkManifests gave %+v", m)
		}
		delete(want, m.Digest)
		return nil
	}))
	if len(want) != 0 {
		s.Errorf("WalkManifests left out %d", len(want))
	}
	bad := errors.New("enough")
	if err := s.WalkManifests(s.Context(), "a", func(registry.ManifestInfo) error { return bad }); !errors.Is(err, bad) {
		s.Errorf("an error of fn: %v", err)
	}
}
