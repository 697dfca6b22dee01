package gc_test

import (
	"testing"

	"github.com/camada/camada/gc"
	"github.com/camada/camada/image"
	"github.com/camada/camada/image/referrers"
	"github.com/camada/camada/lease"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// attach stores something about subject and returns its manifest and its blob.
func (s *store) attach(refs *referrers.Store, subject ocispec.Descriptor, text string) (manifest ocispec.Descriptor, blob digest.Digest) {
	s.t.Helper()
	b := s.blob(text)
	m, err := image.WriteArtifact(s.t.Context(), s.blobs, image.Artifact{Type: "application/x", Subject: &subject, Layers: []ocispec.Descriptor{b}})
	check(s.t, err)
	check(s.t, refs.Add(s.t.Context(), subject.Digest, m))
	return m, b.Digest
}

func TestReferrersStayWithTheirSubject(t *testing.T) {
	s := newStore(t)
	refs := referrers.Open(s.root)
	kept, gone := s.image(false, "kept"), s.image(false, "gone")
	leased := s.image(false, "leased")
	s.set("kept", s.index(kept).desc)
	sbom, sbomBlob := s.attach(refs, kept.desc, "sbom")
	signature, signatureBlob := s.attach(refs, sbom, "signature of the sbom")
	lost, lostBlob := s.attach(refs, gone.desc, "sbom of what goes")
	used, usedBlob := s.attach(refs, leased.desc, "sbom of what is leased")
	l, err := lease.Open(s.root).Acquire(t.Context(), "test")
	check(t, err)
	defer l.Release()
	check(t, l.Pin(t.Context(), lease.Blob(leased.desc.Digest)))

	store := s.gc()
	store.Referrers = refs
	_, err = gc.Collect(t.Context(), store, gc.Options{DryRun: true})
	check(t, err)
	if list, err := refs.Of(t.Context(), gone.desc.Digest); err != nil || len(list) != 1 {
		t.Errorf("a dry run forgot: %v, %v", list, err)
	}
	_, err = gc.Collect(t.Context(), store, gc.Options{})
	check(t, err)
	for d, want := range map[digest.Digest]bool{
		sbom.Digest: true, sbomBlob: true, signature.Digest: true, signatureBlob: true, used.Digest: true, usedBlob: true,
		lost.Digest: false, lostBlob: false,
	} {
		if _, err := s.blobs.Stat(t.Context(), d); (err == nil) != want {
			t.Errorf("%s: %v, want it kept: %t", d, err, want)
		}
	}
	for subject, want := range map[digest.Digest]int{kept.desc.Digest: 1, sbom.Digest: 1, leased.desc.Digest: 1, gone.desc.Digest: 0} {
		if list, err := refs.Of(t.Context(), subject); err != nil || len(list) != want {
			t.Errorf("referrers of %s: %v, %v; want %d", subject, list, err, want)
		}
	}
}
