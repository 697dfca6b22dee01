package layout_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/image/layout"
	"github.com/camada/camada/reference"
	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// desc makes a descriptor of nothing in particular.
func desc(text string) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString(text), Size: int64(len(text))}
}

func set(t *testing.T, refs *layout.Refs, name, text string) {
	t.Helper()
	check(t, refs.Set(t.Context(), parse(t, name), desc(text), image.SetOptions{Verb: "test"}))
}

func wantRef(t *testing.T, refs *layout.Refs, name, text string) {
	t.Helper()
	tag, err := refs.Get(t.Context(), parse(t, name))
	if text == "" {
		if !errdefs.IsNotFound(err) {
			t.Errorf("%s: %+v, %v; want none", name, tag, err)
		}
		return
	}
	check(t, err)
	if tag.Descriptor.Digest != digest.FromString(text) {
		t.Errorf("%s points to %s, want the one of %q", name, tag.Descriptor.Digest, text)
	}
}

// wantValid checks that the directory is an image layout whose index is the refs.
func wantValid(t *testing.T, root string, refs *layout.Refs) {
	t.Helper()
	if data, err := os.ReadFile(filepath.Join(root, "oci-layout")); err != nil || !strings.Contains(string(data), `"1.0.0"`) {
		t.Errorf("oci-layout: %q, %v", data, err)
	}
	if fi, err := os.Stat(filepath.Join(root, "blobs")); err != nil || !fi.IsDir() {
		t.Errorf("blobs: %v", err)
	}
	data, err := os.ReadFile(filepath.Join(root, "index.json"))
	check(t, err)
	var idx ocispec.Index
	check(t, json.Unmarshal(data, &idx))
	got, want := map[string]digest.Digest{}, map[string]digest.Digest{}
	for _, m := range idx.Manifests {
		got[m.Annotations[ocispec.AnnotationRefName]] = m.Digest
	}
	tags, err := refs.List(t.Context())
	check(t, err)
	for _, tag := range tags {
		want[layout.Name(tag)] = tag.Descriptor.Digest
	}
	if d := cmp.Diff(want, got); d != "" || idx.SchemaVersion != 2 || idx.Manifests == nil {
		t.Errorf("index.json is not what the refs say (-refs +index):\n%s", d)
	}
	check(t, refs.Check(t.Context(), false, "", func(f layout.Finding) { t.Errorf("check: %+v", f) }))
}

func TestEmpty(t *testing.T) {
	root := t.TempDir()
	refs := layout.Open(root)
	wantRef(t, refs, "app", "")
	tags, err := refs.List(t.Context())
	if len(tags) != 0 || err != nil {
		t.Errorf("List: %v, %v", tags, err)
	}
	if _, err := refs.Log(t.Context(), parse(t, "app")); !errdefs.IsNotFound(err) {
		t.Errorf("Log: %v", err)
	}
	if entries, _ := os.ReadDir(root); len(entries) != 0 {
		t.Errorf("reading made %v", entries)
	}
	if err := refs.Delete(t.Context(), parse(t, "app"), image.SetOptions{}); !errdefs.IsNotFound(err) {
		t.Errorf("Delete: %v", err)
	}
	check(t, refs.Init(t.Context()))
	check(t, refs.Init(t.Context()))
	wantValid(t, root, refs)
}

func TestMoves(t *testing.T) {
	root := t.TempDir()
	refs := layout.Open(root)
	all := []string{"app:1", "app:2", "localhost:5000/app:1", "a/b:x", "a/b/c:x", "[::1]:5/y"}
	for _, name := range all {
		set(t, refs, name, name)
		wantRef(t, refs, name, name)
		wantValid(t, root, refs)
	}
	tags, err := refs.List(t.Context())
	check(t, err)
	if len(tags) != len(all) || !slices.IsSortedFunc(tags, func(a, b image.Tag) int {
		return strings.Compare(a.Reference.String(), b.Reference.String())
	}) {
		t.Errorf("List: %v", tags)
	}
	set(t, refs, "app:1", "new")
	set(t, refs, "app:1", "new") // changes nothing
	check(t, refs.Delete(t.Context(), parse(t, "app:1"), image.SetOptions{Verb: "untag", Note: "why"}))
	wantRef(t, refs, "app:1", "")
	wantRef(t, refs, "app:2", "app:2")
	wantValid(t, root, refs)
	log, err := refs.Log(t.Context(), parse(t, "app:1"))
	check(t, err)
	var got []string
	for _, e := range log {
		got = append(got, fmt.Sprintf("%s %.9s>%.9s %s", e.Verb, strings.TrimPrefix(string(e.From.Digest), "sha256:"), strings.TrimPrefix(string(e.To.Digest), "sha256:"), e.Note))
	}
	short := func(s string) string { return digest.FromString(s).Encoded()[:9] }
	want := []string{"untag " + short("new") + "> why", "test " + short("app:1") + ">" + short("new") + " ", "test >" + short("app:1") + " "}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("log (-want +got):\n%s", d)
	}
	n := 0
	check(t, refs.WalkLogs(t.Context(), func(reference.Reference, image.LogEntry) error { n++; return nil }))
	if n != len(all)+2 {
		t.Errorf("WalkLogs: %d entries", n)
	}
	if entries, _ := os.ReadDir(filepath.Join(root, "refs/localhost:5000")); len(entries) == 0 {
		t.Error("the port is not in the path")
	}
}

// A line that moves nothing is written when it is wanted, and no step of a rollback.
func TestAlways(t *testing.T) {
	root := t.TempDir()
	refs := layout.Open(root)
	set(t, refs, "app:1", "old")
	set(t, refs, "app:1", "new")
	check(t, refs.Set(t.Context(), parse(t, "app:1"), desc("new"), image.SetOptions{Verb: "pull", Note: "why", Always: true}))
	wantRef(t, refs, "app:1", "new")
	wantValid(t, root, refs)
	log, err := refs.Log(t.Context(), parse(t, "app:1"))
	check(t, err)
	if len(log) != 3 || log[0].Note != "why" || log[0].From.Digest != log[0].To.Digest || log[0].To.Digest != desc("new").Digest {
		t.Errorf("%+v", log)
	}
	_, err = refs.Rollback(t.Context(), parse(t, "app:1"), 1, nil)
	check(t, err)
	wantRef(t, refs, "app:1", "old")
}

// A log that cannot be read does not hide the others.
func TestWalkDamaged(t *testing.T) {
	root := t.TempDir()
	refs := layout.Open(root)
	for _, name := range []string{"a:1", "b:1", "c:1"} {
		set(t, refs, name, name)
	}
	if err := os.WriteFile(filepath.Join(root, "reflog/docker.io/library/b/_tags/1"), []byte("damaged\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var got []string
	err := refs.WalkLogs(t.Context(), func(r reference.Reference, _ image.LogEntry) error {
		got = append(got, r.Familiar())
		return nil
	})
	if !errdefs.IsCorrupt(err) || !slices.Equal(got, []string{"a:1", "c:1"}) {
		t.Errorf("%v, %v", got, err)
	}
}

func TestGetByDigest(t *testing.T) {
	refs := layout.Open(t.TempDir())
	set(t, refs, "app:1", "one")
	set(t, refs, "app:2", "two")
	for name, want := range map[string]string{
		"app@" + string(digest.FromString("two")):     "app:2",
		"app:1@" + string(digest.FromString("one")):   "app:1",
		"app:1@" + string(digest.FromString("two")):   "",
		"app@" + string(digest.FromString("three")):   "",
		"other@" + string(digest.FromString("one")):   "",
		"a/b/c@" + string(digest.FromString("three")): "",
	} {
		tag, err := refs.Get(t.Context(), parse(t, name))
		switch {
		case want == "" && !errdefs.IsNotFound(err), want != "" && err != nil:
			t.Errorf("Get(%s): %v", name, err)
		case want != "" && tag.Reference.Familiar() != want:
			t.Errorf("Get(%s) = %s, want %s", name, tag.Reference.Familiar(), want)
		}
	}
}

func TestExpect(t *testing.T) {
	refs := layout.Open(t.TempDir())
	nothing, one, two := digest.Digest(""), digest.FromString("one"), digest.FromString("two")
	try := func(text string, expect digest.Digest, conflict bool) {
		t.Helper()
		err := refs.Set(t.Context(), parse(t, "app"), desc(text), image.SetOptions{Expect: &expect})
		if errdefs.IsConflict(err) != conflict || !conflict && err != nil {
			t.Errorf("Set %s expecting %q: %v", text, expect, err)
		}
	}
	try("one", one, true)
	try("one", nothing, false)
	try("two", nothing, true)
	try("two", two, true)
	try("two", one, false)
	wantRef(t, refs, "app", "two")
	err := refs.Delete(t.Context(), parse(t, "app"), image.SetOptions{Expect: &one})
	if !errdefs.IsConflict(err) {
		t.Errorf("Delete: %v", err)
	}
}

func TestImmutable(t *testing.T) {
	root := t.TempDir()
	refs := layout.Open(root)
	ctx, ref := t.Context(), parse(t, "app:1")
	set(t, refs, "app:1", "one")
	check(t, refs.Set(ctx, ref, desc("one"), image.SetOptions{Verb: "tag", Immutable: true}))
	for name, err := range map[string]error{
		"Set":      refs.Set(ctx, ref, desc("two"), image.SetOptions{}),
		"Delete":   refs.Delete(ctx, ref, image.SetOptions{}),
		"Rollback": func() error { _, err := refs.Rollback(ctx, ref, 1, nil); return err }(),
	} {
		if name == "Rollback" && errdefs.IsNotFound(err) {
			continue // there is nothing to go back to
		}
		if !errdefs.IsConflict(err) {
			t.Errorf("%s: %v, want a conflict", name, err)
		}
	}
	// The same again is no move, and it stays immutable.
	set(t, refs, "app:1", "one")
	tag, err := refs.Get(ctx, ref)
	check(t, err)
	if !tag.Immutable {
		t.Error("the ref is immutable no more")
	}
	wantValid(t, root, refs)
}

// TestHostileReferences: a reference that does not come from Parse cannot leave the store.
func TestHostileReferences(t *testing.T) {
	refs := layout.Open(t.TempDir())
	for _, ref := range []reference.Reference{
		{},
		{Host: "docker.io", Repository: "library/x"},
		{Host: "..", Repository: "x", Tag: "1"},
		{Host: "docker.io", Repository: "../../../x", Tag: "1"},
		{Host: "docker.io", Repository: "x", Tag: "../1"},
		{Host: "docker.io", Repository: "x/_tags", Tag: "1"},
		{Host: "", Repository: "/etc", Tag: "passwd"},
		{Host: "docker.io", Repository: "x", Tag: "1"}, // not canonical: library/ is missing
	} {
		if err := refs.Set(t.Context(), ref, desc("x"), image.SetOptions{}); !errdefs.IsInvalid(err) {
			t.Errorf("Set(%+v): %v", ref, err)
		}
		if _, err := refs.Get(t.Context(), ref); !errdefs.IsInvalid(err) {
			t.Errorf("Get(%+v): %v", ref, err)
		}
	}
	for _, d := range []ocispec.Descriptor{{}, {Digest: "sha256:x"}, {Digest: digest.FromString("x"), Size: -1}} {
		if err := refs.Set(t.Context(), parse(t, "x"), d, image.SetOptions{}); !errdefs.IsInvalid(err) {
			t.Errorf("Set to %+v: %v", d, err)
		}
	}
	big := desc("x")
	big.Annotations = map[string]string{"a": strings.Repeat("x", 70_000)}
	if err := refs.Set(t.Context(), parse(t, "x"), big, image.SetOptions{}); !errdefs.IsLimit(err) {
		t.Errorf("Set to a big descriptor: %v", err)
	}
	wantRef(t, refs, "x", "")
}

func TestRollback(t *testing.T) {
	// Each step is "+X" (set to X), "-" (untag), "<N" (rollback N), followed by what the ref then
	// points to; "!" is an error.
	tests := []string{
		"+A:A +B:B +C:C <1:B <1:A <1:!",
		"+A:A +B:B +C:C <2:A <1:! +D:D <1:A",
		"+A:A +B:B +C:C <1:B +D:D <1:B <1:A",
		"+A:A +A:A <1:!",
		"+A:A +B:B -: <1:B <1:A",
		"+A:A +B:B -: <2:A <1:!",
		"+A:A -: +B:B <1:A <1:!",
		"+A:A +B:B +A:A <1:B <1:A <1:!",
		"+A:A +B:B +A:A <2:A <1:!",
		"+A:A +B:B <3:! <1:A",
		"+A:A -: +A:A <1:!",
	}
	for _, tt := range tests {
		t.Run(tt, func(t *testing.T) {
			root := t.TempDir()
			refs := layout.Open(root)
			ref := parse(t, "app")
			for step := range strings.FieldsSeq(tt) {
				do, want, _ := strings.Cut(step, ":")
				switch do[0] {
				case '+':
					set(t, refs, "app", do[1:])
				case '-':
					check(t, refs.Delete(t.Context(), ref, image.SetOptions{Verb: "untag"}))
				case '<':
					tag, err := refs.Rollback(t.Context(), ref, int(do[1]-'0'), nil)
					if want == "!" {
						if !errdefs.IsNotFound(err) {
							t.Errorf("%s: %v", step, err)
						}
						continue
					}
					check(t, err)
					if tag.Descriptor.Digest != digest.FromString(want) {
						t.Errorf("%s returned %s", step, tag.Descriptor.Digest)
					}
				}
				wantRef(t, refs, "app", want)
			}
			wantValid(t, root, refs)
		})
	}
	refs := layout.Open(t.TempDir())
	set(t, refs, "app", "A")
	set(t, refs, "app", "B")
	gone := errdefs.NotFound("collected")
	_, err := refs.Rollback(t.Context(), parse(t, "app"), 1, func(_ context.Context, d ocispec.Descriptor) error {
		if d.Digest != desc("A").Digest || d.MediaType == "" {
			t.Errorf("check of %+v", d)
		}
		return gone
	})
	if !errdefs.IsNotFound(err) {
		t.Errorf("Rollback to what is gone: %v", err)
	}
	wantRef(t, refs, "app", "B")
	if _, err := refs.Rollback(t.Context(), parse(t, "app"), 0, nil); !errdefs.IsInvalid(err) {
		t.Errorf("Rollback by 0: %v", err)
	}
}

func TestConcurrentMoves(t *testing.T) {
	root := t.TempDir()
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			refs := layout.Open(root)
			for i := range 10 {
				if err := refs.Set(t.Context(), parse(t, "shared"), desc(fmt.Sprint(g, i)), image.SetOptions{}); err != nil {
					t.Error(err)
				}
				if err := refs.Set(t.Context(), parse(t, fmt.Sprintf("own%d", g)), desc(fmt.Sprint(i)), image.SetOptions{}); err != nil {
					t.Error(err)
				}
				if _, err := refs.Get(t.Context(), parse(t, "shared")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	refs := layout.Open(root)
	log, err := refs.Log(t.Context(), parse(t, "shared"))
	check(t, err)
	if len(log) != 80 {
		t.Errorf("%d entries, want 80", len(log))
	}
	for i := 1; i < len(log); i++ {
		if log[i-1].From.Digest != log[i].To.Digest || !log[i-1].Time.After(log[i].Time) {
			t.Errorf("entry %d does not follow from the one before", i)
		}
	}
	wantValid(t, root, refs)
}
