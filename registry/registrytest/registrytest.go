// Package registrytest checks that a registry.Storage keeps the promises of package registry. A driver calls it from its tests:
//
//	func TestStorage(t *testing.T) {
//		registrytest.Run(t, registrytest.Driver{
//			Open:   func(t *testing.T) registry.Storage { ... },
//			Reopen: func(t *testing.T, s registry.Storage) registry.Storage { ... },
//			Grain:  time.Millisecond,
//		})
//	}
package registrytest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Driver opens storages for the suite.
type Driver struct {
	// Open makes a new, empty storage. The driver closes what it opened when the test ends.
	Open func(t *testing.T) registry.Storage
	// Reopen closes a storage and opens it again, as a new process does.
	Reopen func(t *testing.T, s registry.Storage) registry.Storage
	// Grain is how far two moments must lie apart for the driver's times to tell them apart.
	Grain time.Duration
	// Condemns says that the grace time begins when a sweep finds that nothing leads to a thing, and that a sweep waits for one that is short.
	// Otherwise it began when somebody was told of the thing last.
	Condemns bool
}

// suite is what a test gets.
type suite struct {
	registry.Storage
	*testing.T
	driver Driver
}

// Run runs the suite.
func Run(t *testing.T, d Driver) {
	tests := []struct {
		name string
		run  func(*suite)
	}{
		{"Blobs", testBlobs},
		{"BlobsThatDiffer", testBlobsThatDiffer},
		{"BlobsOfRepositories", testBlobsOfRepositories},
		{"Mount", testMount},
		{"DeleteBlob", testDeleteBlob},
		{"Uploads", testUploads},
		{"UploadThatFails", testUploadThatFails},
		{"UploadInUse", testUploadInUse},
		{"UploadOtherAlgorithm", testUploadOtherAlgorithm},
		{"UploadThatDiffers", testUploadThatDiffers},
		{"UploadCancel", testUploadCancel},
		{"Manifests", testManifests},
		{"ManifestRequires", testManifestRequires},
		{"ManifestRequiresMore", testManifestRequiresMore},
		{"ManifestTags", testManifestTags},
		{"DeleteManifest", testDeleteManifest},
		{"OtherDocuments", testOtherDocuments},
		{"Tags", testTags},
		{"TagLog", testTagLog},
		{"TagExpect", testTagExpect},
		{"ListTags", testListTags},
		{"Referrers", testReferrers},
		{"Catalog", testCatalog},
		{"NestedNames", testNestedNames},
		{"WalkManifests", testWalkManifests},
		{"Reopen", testReopen},
		{"SweepBlobs", testSweepBlobs},
		{"SweepAsked", testSweepAsked},
		{"SweepShared", testSweepShared},
		{"SweepUntagged", testSweepUntagged},
		{"SweepLog", testSweepLog},
		{"SweepReferrers", testSweepReferrers},
		{"SweepUploads", testSweepUploads},
		{"SweepRepository", testSweepRepository},
		{"SweepDry", testSweepDry},
		{"SweepMany", testSweepMany},
		{"Scrub", testScrub},
		{"OneTagManyWriters", testOneTag},
		{"OneBlobManyWriters", testOneBlob},
		{"SweepBesidePushes", testStorm},
		{"Canceled", testCanceled},
		{"Notes", testNotes},
		{"NoteManyWriters", testNoteManyWriters},
		{"WalkBlobs", testWalkBlobs},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.run(&suite{Storage: d.Open(t), T: t, driver: d})
		})
	}
}

// ok ends the test when there is an error.
func (s *suite) ok(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *suite) class(what string, err error, class errdefs.Class) {
	s.Helper()
	if !errors.Is(err, class) {
		s.Errorf("%s: got error %v, want class %q", what, err, class)
	}
}

// pass waits until the driver's times have gone on.
func (s *suite) pass() { time.Sleep(2 * s.driver.Grain) }

// data are n bytes that nobody else has.
func data(n int, seed int) []byte {
	b := make([]byte, n)
	x := uint32(seed)*2654435761 + 1
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

func describe(b []byte, alg digest.Algorithm) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerGzip, Digest: alg.FromBytes(b), Size: int64(len(b))}
}

// blob stores bytes as a blob.
func (s *suite) blob(repository string, b []byte) ocispec.Descriptor {
	s.Helper()
	d := describe(b, digest.SHA256)
	s.ok(s.PutBlob(s.Context(), repository, d, bytes.NewReader(b)))
	return d
}

func (s *suite) wantBlob(repository string, d digest.Digest, b []byte) {
	s.Helper()
	info, err := s.StatBlob(s.Context(), repository, d)
	s.ok(err)
	if info.Digest != d || info.Size != int64(len(b)) || time.Since(info.ModTime) > time.Hour {
		s.Errorf("StatBlob returned %+v for %d bytes", info, len(b))
	}
	r, err := s.OpenBlob(s.Context(), repository, d)
	s.ok(err)
	defer r.Close()
	if r.Size() != int64(len(b)) {
		s.Errorf("Size is %d, want %d", r.Size(), len(b))
	}
	part := make([]byte, len(b)/2)
	if n, err := r.ReadAt(part, int64(len(b)/4)); n < len(part) && err != nil || !bytes.Equal(part, b[len(b)/4:len(b)/4+len(part)]) {
		s.Errorf("ReadAt of %d bytes: error %v or other bytes", len(part), err)
	}
	got, err := io.ReadAll(r)
	s.ok(err)
	if !bytes.Equal(got, b) {
		s.Errorf("blob %s has other bytes than were written", d)
	}
}

func (s *suite) wantNoBlob(repository string, d digest.Digest) {
	s.Helper()
	_, err := s.StatBlob(s.Context(), repository, d)
	s.class("StatBlob", err, errdefs.ErrNotFound)
	r, err := s.OpenBlob(s.Context(), repository, d)
	s.class("OpenBlob", err, errdefs.ErrNotFound)
	if err == nil {
		r.Close()
	}
}

// parse makes a manifest of a document.
func (s *suite) parse(mediaType string, doc any, alg digest.Algorithm) registry.Manifest {
	s.Helper()
	b, err := json.Marshal(doc)
	s.ok(err)
	m, err := registry.ParseManifest(mediaType, b, alg)
	s.ok(err)
	return m
}

// image stores the blobs of an image and returns its manifest. Two with the same seed are the same.
func (s *suite) image(repository string, seed int) registry.Manifest {
	s.Helper()
	config := s.blob(repository, fmt.Appendf(nil, `{"seed":%d}`, seed))
	layer := s.blob(repository, data(100+seed%50, seed))
	return s.manifestOf(nil, nil, config, layer)
}

func (s *suite) manifestOf(subject *ocispec.Descriptor, annotations map[string]string, config ocispec.Descriptor, layers ...ocispec.Descriptor) registry.Manifest {
	s.Helper()
	config.MediaType = ocispec.MediaTypeImageConfig
	return s.parse(ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: config, Layers: layers, Subject: subject, Annotations: annotations,
	}, digest.SHA256)
}

func (s *suite) indexOf(ms ...registry.Manifest) registry.Manifest {
	s.Helper()
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{}}
	for _, m := range ms {
		index.Manifests = append(index.Manifests, m.Descriptor)
	}
	return s.parse(ocispec.MediaTypeImageIndex, index, digest.SHA256)
}

// put stores a manifest under tags.
func (s *suite) put(repository string, m registry.Manifest, tags ...string) {
	s.Helper()
	s.ok(s.PutManifest(s.Context(), repository, m, registry.PutOptions{Tags: tags, Mover: registry.Mover{Who: "ann", Verb: "push"}}))
}

// push stores an image under tags.
func (s *suite) push(repository string, seed int, tags ...string) registry.Manifest {
	s.Helper()
	m := s.image(repository, seed)
	s.put(repository, m, tags...)
	return m
}

func (s *suite) wantManifest(repository string, m registry.Manifest) {
	s.Helper()
	got, err := s.Manifest(s.Context(), repository, m.Descriptor.Digest)
	s.ok(err)
	if got.Descriptor.MediaType != m.Descriptor.MediaType || got.Descriptor.Digest != m.Descriptor.Digest ||
		got.Descriptor.Size != m.Descriptor.Size || !bytes.Equal(got.Data, m.Data) {
		s.Errorf("Manifest returned %+v with %q, want %+v with %q", got.Descriptor, got.Data, m.Descriptor, m.Data)
	}
}

func (s *suite) wantNoManifest(repository string, d digest.Digest) {
	s.Helper()
	_, err := s.Manifest(s.Context(), repository, d)
	s.class("Manifest", err, errdefs.ErrNotFound)
}

// wantImage checks that all that a manifest leads to is there.
func (s *suite) wantImage(repository string, m registry.Manifest) {
	s.Helper()
	s.wantManifest(repository, m)
	for _, r := range m.Requires {
		if r.Manifest {
			_, err := s.Manifest(s.Context(), repository, r.Digest)
			s.ok(err)
			continue
		}
		rd, err := s.OpenBlob(s.Context(), repository, r.Digest)
		s.ok(err)
		got, err := content.NewVerifyReader(rd, ocispec.Descriptor{Digest: r.Digest, Size: r.Size})
		s.ok(err)
		_, err = io.Copy(io.Discard, got)
		rd.Close()
		s.ok(err)
	}
}

func (s *suite) wantTag(repository, tag string, d digest.Digest) {
	s.Helper()
	t, err := s.Tag(s.Context(), repository, tag)
	if d == "" {
		s.class("Tag", err, errdefs.ErrNotFound)
		return
	}
	s.ok(err)
	if t.Name != tag || t.Descriptor.Digest != d || t.Descriptor.Size <= 0 || t.Descriptor.MediaType == "" || time.Since(t.Updated) > time.Hour {
		s.Errorf("Tag returned %+v, want digest %s", t, d)
	}
}

func (s *suite) move(repository, tag string, to digest.Digest) {
	s.Helper()
	s.ok(s.MoveTag(s.Context(), repository, tag, registry.Move{To: to, Mover: registry.Mover{Who: "bob", Verb: "rollback"}}))
}
