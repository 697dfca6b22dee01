package registrytest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry"
	"github.com/opencontainers/go-digest"
)

func testTags(s *suite) {
	m1, m2 := s.push("a", 1, "x"), s.push("a", 2)
	s.wantTag("a", "nothing", "")
	s.wantTag("b", "x", "")
	s.wantTag("a", "X", "")
	s.move("a", "x", m2.Descriptor.Digest)
	s.wantTag("a", "x", m2.Descriptor.Digest)
	s.move("a", "other", m1.Descriptor.Digest)
	s.wantTag("a", "other", m1.Descriptor.Digest)
	to := registry.Move{To: digest.FromString("x")}
	s.class("to what is not there", s.MoveTag(s.Context(), "a", "x", to), errdefs.ErrNotFound)
	s.class("in another repository", s.MoveTag(s.Context(), "b", "x", registry.Move{To: m1.Descriptor.Digest}), errdefs.ErrNotFound)
	// A blob is nothing that a tag can point to.
	s.class("to a blob", s.MoveTag(s.Context(), "a", "x", registry.Move{To: m1.Requires[0].Digest}), errdefs.ErrNotFound)
	s.wantTag("a", "x", m2.Descriptor.Digest)
	s.move("a", "x", "")
	s.wantTag("a", "x", "")
	s.class("remove it again", s.MoveTag(s.Context(), "a", "x", registry.Move{}), errdefs.ErrNotFound)
	s.wantImage("a", m2)
}

func testTagLog(s *suite) {
	_, err := s.TagLog(s.Context(), "a", "x")
	s.class("no such tag", err, errdefs.ErrNotFound)
	m1 := s.push("a", 1, "x")
	d1 := m1.Descriptor.Digest
	d2 := s.push("a", 2, "x", "xx", "x-").Descriptor.Digest
	s.move("a", "x", d2) // it points there already
	s.put("a", m1, "x")
	s.move("a", "x", "")
	s.move("a", "x", d2)
	want := []registry.LogEntry{
		{From: "", To: d2, Verb: "rollback", Who: "bob"},
		{From: d1, To: "", Verb: "rollback", Who: "bob"},
		{From: d2, To: d1, Verb: "push", Who: "ann"},
		{From: d1, To: d2, Verb: "push", Who: "ann"},
		{From: "", To: d1, Verb: "push", Who: "ann"},
	}
	for range 2 {
		log, err := s.TagLog(s.Context(), "a", "x")
		s.ok(err)
		for i := range log {
			if i > 0 && !log[i].Time.Before(log[i-1].Time) {
				s.Errorf("line %d has %v, the one after it %v", i, log[i].Time, log[i-1].Time)
			}
			w := log[i]
			w.Time = w.Time.Add(-w.Time.Sub(w.Time))
			if i < len(want) {
				want[i].Time = log[i].Time
			}
		}
		if !slices.Equal(log, want) {
			s.Errorf("the log:\n%+v\nwant:\n%+v", log, want)
		}
		s.Storage = s.driver.Reopen(s.T, s.Storage)
	}
	if log, err := s.TagLog(s.Context(), "a", "x-"); err != nil || len(log) != 1 {
		s.Errorf("the log of another tag: %v, %v", log, err)
	}
}

func testTagExpect(s *suite) {
	d1, d2 := s.push("a", 1, "x").Descriptor.Digest, s.push("a", 2).Descriptor.Digest
	none := digest.Digest("")
	move := func(tag string, to digest.Digest, expect *digest.Digest) error {
		return s.MoveTag(s.Context(), "a", tag, registry.Move{To: to, Expect: expect})
	}
	s.class("it is there", move("x", d2, &none), errdefs.ErrConflict)
	s.class("it points elsewhere", move("x", d2, &d2), errdefs.ErrConflict)
	s.class("it is not there", move("y", d2, &d2), errdefs.ErrConflict)
	s.class("remove what points elsewhere", move("x", "", &d2), errdefs.ErrConflict)
	s.wantTag("a", "x", d1)
	s.ok(move("x", d2, &d1))
	s.wantTag("a", "x", d2)
	s.ok(move("y", d1, &none))
	s.wantTag("a", "y", d1)
	s.ok(move("x", "", &d2))
	s.wantTag("a", "x", "")
}

func testListTags(s *suite) {
	list := func(repository, after string, n int) []string {
		s.Helper()
		l, err := s.ListTags(s.Context(), repository, after, n)
		s.ok(err)
		return l
	}
	if l := list("a", "", -1); len(l) != 0 {
		s.Errorf("tags of nothing: %q", l)
	}
	var want []string
	for i := range 300 {
		want = append(want, fmt.Sprintf("v%d", i))
	}
	want = append(want, "V1", "v1-a", "v1.a", "v1_a", "_x", "v", "0", "Z", "z", strings.Repeat("t", 128))
	s.push("a", 1, want...)
	s.push("a/b", 2, "b1")
	s.push("a-b", 3, "b2")
	slices.Sort(want)
	for range 2 {
		if got := list("a", "", -1); !slices.Equal(got, want) {
			s.Errorf("all tags: %q", got)
		}
		for _, n := range []int{0, 1, 7, 256, 1000} {
			for _, after := range []string{"", "0", "00", "v1", "v1-", "v100", "z", "zz"} {
				at, found := slices.BinarySearch(want, after)
				if found {
					at++
				}
				w := want[at:min(at+n, len(want))]
				if got := list("a", after, n); !slices.Equal(got, w) {
					s.Errorf("%d tags after %q: %q, want %q", n, after, got, w)
				}
			}
		}
		s.Storage = s.driver.Reopen(s.T, s.Storage)
	}
	s.move("a", "v1", "")
	if got := list("a", "v0", 1); !slices.Equal(got, []string{"v1-a"}) {
		s.Errorf("after v1 was removed: %q", got)
	}
}

func testCatalog(s *suite) {
	list := func(after string, n int) []string {
		s.Helper()
		l, err := s.ListRepositories(s.Context(), after, n)
		s.ok(err)
		return l
	}
	if l := list("", -1); len(l) != 0 {
		s.Errorf("repositories of nothing: %q", l)
	}
	want := []string{"a", "a-b", "a.b/c", "a/b", "a/b/c", "a0", "a_b", "a__b", "b/tags", "b/manifests/list"}
	for i, name := range want {
		s.blob(name, data(10, i))
	}
	slices.Sort(want)
	for range 2 {
		if got := list("", -1); !slices.Equal(got, want) {
			s.Errorf("all repositories: %q, want %q", got, want)
		}
		for n := range 4 {
			for _, after := range append([]string{"", "a/", "zz"}, want...) {
				at, found := slices.BinarySearch(want, after)
				if found {
					at++
				}
				if got := list(after, n); !slices.Equal(got, want[at:min(at+n, len(want))]) {
					s.Errorf("%d repositories after %q: %q", n, after, got)
				}
			}
		}
		s.Storage = s.driver.Reopen(s.T, s.Storage)
	}
}

// testNestedNames: any name can begin another one, and none sees what is another's.
func testNestedNames(s *suite) {
	names := []string{"a", "a/a", "a/a/a", "a/blobs", "a/manifests/x", "a/tags", "a/_x" + "x", "aa", "a-a", strings.Repeat("n/", 120) + "n"}
	var ms []registry.Manifest
	for i, name := range names {
		ms = append(ms, s.push(name, i, "a", "tags", "t"+fmt.Sprint(i)))
	}
	for i, name := range names {
		s.wantImage(name, ms[i])
		tags, err := s.ListTags(s.Context(), name, "", -1)
		s.ok(err)
		if want := []string{"a", "t" + fmt.Sprint(i), "tags"}; !slices.Equal(tags, want) {
			s.Errorf("tags of %s: %q, want %q", name, tags, want)
		}
		s.wantNoManifest(name, ms[(i+1)%len(ms)].Descriptor.Digest)
	}
	for i, name := range names {
		s.ok(s.DeleteManifest(s.Context(), name, ms[i].Descriptor.Digest, registry.Mover{}))
		if i+1 < len(names) {
			s.wantImage(names[i+1], ms[i+1])
		}
	}
}

// testReopen: what was done is there for the next process.
func testReopen(s *suite) {
	m := s.push("a/b", 1, "x")
	big := data(300_000, 1)
	d := s.blob("a/b", big)
	gone := s.blob("a/b", data(20, 3))
	s.ok(s.DeleteBlob(s.Context(), "a/b", gone.Digest))
	old := s.push("a/b", 2, "y")
	s.ok(s.DeleteManifest(s.Context(), "a/b", old.Descriptor.Digest, registry.Mover{}))
	for range 3 {
		s.Storage = s.driver.Reopen(s.T, s.Storage)
		s.wantImage("a/b", m)
		s.wantTag("a/b", "x", m.Descriptor.Digest)
		s.wantBlob("a/b", d.Digest, big)
		s.wantNoBlob("a/b", gone.Digest)
		s.wantNoManifest("a/b", old.Descriptor.Digest)
		s.wantTag("a/b", "y", "")
	}
}
