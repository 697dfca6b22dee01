package fsck_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/camada/camada/content"
	"github.com/camada/camada/content/local"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/gc/fsck"
	"github.com/camada/camada/image"
	"github.com/camada/camada/image/layout"
	"github.com/camada/camada/lease"
	"github.com/camada/camada/reference"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

type store struct {
	*testing.T
	fsck.Store
}

// newStore makes a store with the refs a:1 and b:1, which share nothing, and
// the index m:1 of a.
func newStore(t *testing.T) *store {
	root := t.TempDir()
	s := &store{t, fsck.Store{Root: root, Blobs: local.Open(root, local.Options{}), Refs: layout.Open(root), Leases: lease.Open(root)}}
	a := s.image("a")
	s.set("a:1", a)
	s.set("a:1", s.image("a2"))
	s.set("b:1", s.image("b"))
	idx, err := content.WriteJSON(t.Context(), s.Blobs, ocispec.MediaTypeImageIndex, ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex,
		// The other platform was never fetched.
		Manifests: []ocispec.Descriptor{a, {MediaType: ocispec.MediaTypeImageManifest, Digest: "sha256:" + ocispec.DescriptorEmptyJSON.Digest[7:], Size: 2}},
	})
	check(t, err)
	s.set("m:1", idx)
	return s
}

func (s *store) image(text string) ocispec.Descriptor {
	layer, err := content.WriteBlob(s.Context(), s.Blobs, []byte("layer "+text))
	check(s.T, err)
	layer.MediaType = ocispec.MediaTypeImageLayer
	config, err := content.WriteJSON(s.Context(), s.Blobs, ocispec.MediaTypeImageConfig, ocispec.Image{Author: text})
	check(s.T, err)
	desc, err := content.WriteJSON(s.Context(), s.Blobs, ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: config, Layers: []ocispec.Descriptor{layer},
	})
	check(s.T, err)
	return desc
}

func (s *store) ref(name string) reference.Reference {
	r, err := reference.Parse(name)
	check(s.T, err)
	return r
}

func (s *store) set(name string, d ocispec.Descriptor) {
	check(s.T, s.Refs.Set(s.Context(), s.ref(name), d, image.SetOptions{Verb: "test"}))
}

func (s *store) path(rel string) string { return filepath.Join(s.Root, rel) }

// overwrite replaces a file's text, whatever its mode.
func (s *store) overwrite(rel, text string) {
	os.Chmod(s.path(rel), 0o644)
	check(s.T, os.WriteFile(s.path(rel), []byte(text), 0o644))
}

func (s *store) run(opts fsck.Options) fsck.Report {
	s.Helper()
	rep, err := fsck.Run(s.Context(), s.Store, opts)
	check(s.T, err)
	return rep
}

func kinds(rep fsck.Report) []string {
	var out []string
	for _, p := range rep.Problems {
		out = append(out, p.Kind)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func TestWholeStore(t *testing.T) {
	s := newStore(t)
	w, err := s.Blobs.Writer(t.Context(), content.WriterOptions{Ref: "half"})
	check(t, err)
	_, err = w.Write([]byte("half"))
	check(t, err)
	check(t, w.Close())
	rep := s.run(fsck.Options{})
	if !rep.Whole() || len(rep.Problems) != 0 || rep.Refs != 3 || rep.Blobs != 10 || len(rep.Notes) != 1 {
		t.Errorf("report: %+v", rep)
	}
	empty := fsck.Store{Root: t.TempDir(), Refs: layout.Open(t.TempDir())}
	empty.Blobs, empty.Leases = local.Open(empty.Root, local.Options{}), lease.Open(empty.Root)
	rep, err = fsck.Run(t.Context(), empty, fsck.Options{})
	if err != nil || !rep.Whole() {
		t.Errorf("an empty store: %+v, %v", rep, err)
	}
}

const tags = "docker.io/library/a/_tags/1"

// damage is one way to damage a store.
type damage struct {
	name   string
	damage func(s *store)
	want   string // kinds found
	left   string // kinds left after a repair
}

func damages() []damage {
	return []damage{
		{"blob", func(s *store) {
			tag, err := s.Refs.Get(s.Context(), s.ref("b:1"))
			check(s.T, err)
			_, m, err := image.ReadManifest(s.Context(), s.Blobs, tag.Descriptor)
			check(s.T, err)
			s.overwrite("blobs/sha256/"+m.Layers[0].Digest.Encoded(), "layer X")
		}, "bad-blob", "missing-blob"},
		{"manifest", func(s *store) {
			tag, err := s.Refs.Get(s.Context(), s.ref("b:1"))
			check(s.T, err)
			check(s.T, os.Remove(s.path("blobs/sha256/"+tag.Descriptor.Digest.Encoded())))
		}, "missing-blob", "missing-blob"},
		{"size", func(s *store) {
			d := s.image("z")
			d.Size++
			s.set("z:1", d)
		}, "bad-manifest", "bad-manifest"},
		{"stray blob", func(s *store) { s.overwrite("blobs/sha256/x", "") }, "stray-file", ""},
		{"stray in blobs", func(s *store) { s.overwrite("blobs/x", "") }, "stray-file", ""},
		{"stray ref", func(s *store) { s.overwrite("refs/docker.io/library/a/x", "") }, "stray-file", ""},
		{"index", func(s *store) { s.overwrite("index.json", "{}") }, "bad-index", ""},
		{"no index", func(s *store) { check(s.T, os.Remove(s.path("index.json"))) }, "bad-index", ""},
		{"layout", func(s *store) { s.overwrite("oci-layout", `{"imageLayoutVersion":"9"}`) }, "bad-layout", ""},
		{"torn ref", func(s *store) { s.overwrite("refs/"+tags, `{"descr`) }, "bad-index bad-ref", ""},
		{"lost ref", func(s *store) { check(s.T, os.Remove(s.path("refs/"+tags))) }, "bad-index missing-ref", ""},
		{"all refs lost", func(s *store) { check(s.T, os.RemoveAll(s.path("refs"))) }, "bad-index missing-ref", ""},
		{"lost log", func(s *store) { check(s.T, os.Remove(s.path("reflog/"+tags))) }, "missing-reflog", ""},
		{"torn log", func(s *store) {
			f, err := os.OpenFile(s.path("reflog/"+tags), os.O_WRONLY|os.O_APPEND, 0)
			check(s.T, err)
			_, err = f.WriteString(`{"time":"2026`)
			check(s.T, err)
			f.Close()
		}, "torn-reflog", ""},
		{"bad first line", func(s *store) {
			data, err := os.ReadFile(s.path("reflog/" + tags))
			check(s.T, err)
			s.overwrite("reflog/"+tags, "\x00\x00\n"+string(data))
		}, "bad-reflog-line", ""},
		{"stale ref", func(s *store) {
			data, err := os.ReadFile(s.path("refs/docker.io/library/b/_tags/1"))
			check(s.T, err)
			s.set("b:1", s.image("newer"))
			s.overwrite("refs/docker.io/library/b/_tags/1", string(data))
		}, "bad-index stale-ref", ""},
	}
}

// TestDamage damages a store in one way at a time. fsck must name the damage, and
// repair what can be repaired, so that the next fsck finds only what is left.
func TestDamage(t *testing.T) {
	for _, tt := range damages() {
		t.Run(tt.name, func(t *testing.T) {
			s := newStore(t)
			before, err := s.Refs.List(t.Context())
			check(t, err)
			tt.damage(s)
			rep := s.run(fsck.Options{})
			if got := strings.Join(kinds(rep), " "); got != tt.want || rep.Whole() {
				t.Errorf("found %q, want %q: %+v", got, tt.want, rep.Problems)
			}
			for _, p := range rep.Problems {
				if p.Advice == "" || p.Detail == "" || p.Repaired {
					t.Errorf("a problem without advice or detail, or repaired unasked: %+v", p)
				}
			}
			rep = s.run(fsck.Options{Repair: true})
			if tt.left == "" && !rep.Whole() {
				t.Errorf("not whole after the repair: %+v", rep.Problems)
			}
			rep = s.run(fsck.Options{})
			if got := strings.Join(kinds(rep), " "); got != tt.left {
				t.Errorf("after the repair there is %q, want %q: %+v", got, tt.left, rep.Problems)
			}
			after, err := s.Refs.List(t.Context())
			check(t, err)
			if len(after) < len(before) {
				t.Errorf("%d refs after the repair, %d before", len(after), len(before))
			}
			a, err := s.Refs.Get(t.Context(), s.ref("a:1"))
			check(t, err)
			if want := s.image("a2"); a.Descriptor.Digest != want.Digest {
				t.Errorf("a:1 points to %s after the repair, want %s", a.Descriptor.Digest, want.Digest)
			}
		})
	}
}

// TestQuarantineKeepsBytes: what is damaged can still be looked at.
func TestQuarantineKeepsBytes(t *testing.T) {
	s := newStore(t)
	d, err := content.WriteBlob(t.Context(), s.Blobs, []byte("good"))
	check(t, err)
	s.overwrite("blobs/sha256/"+d.Digest.Encoded(), "evil")
	rep := s.run(fsck.Options{Repair: true})
	if !rep.Whole() || len(rep.Problems) != 1 {
		t.Errorf("report: %+v", rep)
	}
	data, err := os.ReadFile(s.path("lost+found/blobs%sha256%" + d.Digest.Encoded()))
	if err != nil || string(data) != "evil" {
		t.Errorf("quarantined: %q, %v", data, err)
	}
	if _, err := s.Blobs.Stat(t.Context(), d.Digest); !errdefs.IsNotFound(err) {
		t.Errorf("the damaged blob: %v", err)
	}
}

type brokenSnapshots struct{}

func (brokenSnapshots) Check(_ context.Context, repair bool, report func(path, detail string, repaired bool)) error {
	report("snapshots/x", "no directory", repair)
	return nil
}

func TestSnapshots(t *testing.T) {
	s := newStore(t)
	s.Snapshots = brokenSnapshots{}
	if rep := s.run(fsck.Options{Quick: true}); rep.Whole() || len(rep.Problems) != 1 || rep.Problems[0].Kind != fsck.BadSnapshot || rep.Blobs != 0 {
		t.Errorf("report: %+v", rep)
	}
	if rep := s.run(fsck.Options{Repair: true}); !rep.Whole() {
		t.Errorf("report: %+v", rep)
	}
}
