package engine

import (
	"errors"
	"testing"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestWebSource(t *testing.T) {
	for remote, want := range map[string]string{
		"git@github.com:me/app.git":                "https://github.com/me/app",
		"ssh://git@host:2222/me/app.git":           "https://host/me/app",
		"https://me:secret@example.com/me/app.git": "https://example.com/me/app",
		"http://example.com/app?token=x":           "http://example.com/app",
		"git://example.com/app.git":                "git://example.com/app",
		"/srv/app.git":                             "",
		"file:///nowhere/app.git":                  "",
		"":                                         "",
	} {
		if got := webSource(remote); got != want {
			t.Errorf("%s: %q, want %q", remote, got, want)
		}
	}
}

// TestMoveTogether moves names, and takes them back.
func TestMoveTogether(t *testing.T) {
	e, err := Open(t.Context(), Config{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	desc := func(text string) ocispec.Descriptor {
		return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString(text), Size: 1}
	}
	one, two := desc("one"), desc("two")
	var refs []reference.Reference
	for _, name := range []string{"app:1", "app:2", "app:3"} {
		ref, err := reference.Parse(name)
		if err != nil {
			t.Fatal(err)
		}
		refs = append(refs, ref)
	}
	is := func(ref reference.Reference, want digest.Digest) {
		t.Helper()
		tag, err := e.refs.Get(t.Context(), ref)
		if err != nil && !errdefs.IsNotFound(err) || tag.Descriptor.Digest != want {
			t.Errorf("%s is %q, %v, want %q", ref.Familiar(), tag.Descriptor.Digest, err, want)
		}
	}
	if names, err := e.moveTogether(t.Context(), refs[:2], nil, one, "tag", "x"); err != nil || len(names) != 2 {
		t.Fatalf("%v, %v", names, err)
	}
	is(refs[0], one.Digest)
	is(refs[1], one.Digest)

	// What was moved is taken back: to what it was, to nothing, and what was not moved stays.
	before, err := e.refs.Get(t.Context(), refs[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.moveTogether(t.Context(), refs, nil, two, "tag", "x"); err != nil {
		t.Fatal(err)
	}
	for i, was := range []image.Tag{before, {Descriptor: two}, {}} {
		if err := e.takeBack(t.Context(), refs[i], was, two, "tag"); err != nil {
			t.Error(err)
		}
	}
	is(refs[0], one.Digest)
	is(refs[1], two.Digest)
	is(refs[2], "")

	// An immutable one in the middle: nothing moves.
	if err := e.refs.Set(t.Context(), refs[1], two, image.SetOptions{Verb: "tag", Immutable: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := e.moveTogether(t.Context(), refs, nil, desc("three"), "tag", "x"); !errdefs.IsConflict(err) {
		t.Errorf("got %v", err)
	}
	is(refs[0], one.Digest)
	is(refs[2], "")

	// A name that is given twice is moved once.
	if names, err := e.moveTogether(t.Context(), []reference.Reference{refs[2], refs[0], refs[2]}, nil, one, "tag", "x"); err != nil || len(names) != 2 {
		t.Errorf("%v, %v", names, err)
	}
	is(refs[2], one.Digest)

	// A release that another process set since it was looked for stays what it is, and so do the others.
	if _, err := e.moveTogether(t.Context(), []reference.Reference{refs[2], refs[0]}, refs[:1], two, "tag", "x"); !errors.Is(err, ErrReleased) {
		t.Errorf("got %v", err)
	}
	is(refs[0], one.Digest)
	is(refs[2], one.Digest)
	if _, err := e.moveTogether(t.Context(), refs[:1], refs[:1], one, "tag", "x"); err != nil {
		t.Errorf("the same again: %v", err)
	}
}

func TestReleased(t *testing.T) {
	ref, err := reference.Parse("app:1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	a, b := digest.FromString("a"), digest.FromString("b")
	if err := released(ref, "", a, ""); err != nil {
		t.Error(err)
	}
	if err := released(ref, a, a, ""); err != nil {
		t.Error(err)
	}
	if err := released(ref, a, b, ""); !errdefs.IsConflict(err) {
		t.Errorf("got %v", err)
	}
}
