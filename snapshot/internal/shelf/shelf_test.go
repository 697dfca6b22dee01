package shelf

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/snapshot"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

var chain = digest.FromString("chain")

func newShelf(t *testing.T) *Shelf {
	t.Helper()
	return Open(filepath.Join(t.TempDir(), "snapshots", "test"), nil)
}

// again opens the shelf as after a boot with this id.
func (s *Shelf) again(boot string) *Shelf {
	n := Open(s.dir, nil)
	n.boot = func() string { return boot }
	return n
}

func (s *Shelf) frozen(t *testing.T, parent string) string {
	t.Helper()
	d, rec, err := s.Draft(t.Context(), parent)
	if err != nil {
		t.Fatal(err)
	}
	rec.State = snapshot.Frozen
	if _, err := d.Publish(rec); err != nil {
		t.Fatal(err)
	}
	d.Discard() // does nothing any more
	return rec.ID
}

func (s *Shelf) named(t *testing.T, parent string) string {
	t.Helper()
	id := s.frozen(t, parent)
	if rec, err := s.Name(t.Context(), id, chain); err != nil || rec.ID != id {
		t.Fatalf("Name: %+v, %v", rec, err)
	}
	return id
}

func TestOtherBoot(t *testing.T) {
	s := newShelf(t).again("one")
	id := s.named(t, "")
	if _, err := s.again("one").Lookup(t.Context(), chain); err != nil {
		t.Errorf("Lookup in the same boot: %v", err)
	}
	two := s.again("two")
	if _, err := two.Lookup(t.Context(), chain); !errdefs.IsNotFound(err) {
		t.Errorf("Lookup after a reboot: %v, want ErrNotFound", err)
	}
	// Whatever lay on top goes on, and the snapshot can be collected.
	walked := 0
	err := two.Walk(t.Context(), func(i snapshot.Info) error {
		walked++
		if i.State != snapshot.Frozen || i.ChainID != "" {
			t.Errorf("Walk shows %+v, want no name", i)
		}
		return nil
	})
	if err != nil || walked != 1 {
		t.Errorf("Walk: %d, %v", walked, err)
	}
	other := two.frozen(t, "")
	if rec, err := two.Name(t.Context(), other, chain); err != nil || rec.ID != other {
		t.Errorf("Name after a reboot: %+v, %v, want %s", rec, err, other)
	}
	if err := two.Remove(t.Context(), id); err != nil {
		t.Error(err)
	}
	if rec, err := two.Lookup(t.Context(), chain); err != nil || rec.ID != other {
		t.Errorf("the name went with the snapshot that had lost it: %v", err)
	}
}

func TestNameReplacesUntrusted(t *testing.T) {
	s := newShelf(t).again("one")
	s.named(t, "")
	two := s.again("two") // no Lookup comes between
	other := two.frozen(t, "")
	if rec, err := two.Name(t.Context(), other, chain); err != nil || rec.ID != other {
		t.Errorf("Name: %+v, %v, want %s", rec, err, other)
	}
}

// TestHalfMadeShelf is a process that is overtaken while it makes the directories.
func TestHalfMadeShelf(t *testing.T) {
	s := newShelf(t)
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Lookup(t.Context(), chain); !errdefs.IsNotFound(err) {
		t.Errorf("Lookup: %v, want ErrNotFound", err)
	}
	if err := errors.Join(s.Recover(t.Context()), s.MarkDurable(t.Context())); err != nil {
		t.Error(err)
	}
	release, err := s.Reserve(t.Context(), chain)
	if err != nil {
		t.Fatal(err)
	}
	release()
	if err := os.RemoveAll(s.path(chainsDir)); err != nil {
		t.Fatal(err)
	}
	s.named(t, "")
}

func TestUnknownBoot(t *testing.T) {
	s := newShelf(t).again("")
	id := s.frozen(t, "")
	if rec, err := s.Name(t.Context(), id, chain); err != nil || rec.ID != id {
		t.Fatalf("Name: %+v, %v", rec, err)
	}
	if _, err := s.Lookup(t.Context(), chain); !errdefs.IsNotFound(err) {
		t.Errorf("a name is trusted though the boot is not known: %v", err)
	}
}

func TestMarkDurable(t *testing.T) {
	s := newShelf(t).again("one")
	id := s.named(t, "")
	if err := s.MarkDurable(t.Context()); err != nil {
		t.Fatal(err)
	}
	link, _ := s.link(chain)
	if n, _ := readName(link); n.boot != "one" {
		t.Errorf("a name of this moment was made durable: %+v", n)
	}
	if err := s.again("two").markDurable(t.Context(), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if n, _ := readName(link); n.boot != "one" {
		t.Errorf("a name of another boot was made durable: %+v", n)
	}
	if err := s.markDurable(t.Context(), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if rec, err := s.again("two").Lookup(t.Context(), chain); err != nil || rec.ID != id {
		t.Errorf("Lookup of a durable name after a reboot: %+v, %v", rec, err)
	}
	if err := s.again("two").Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if rec, err := s.again("three").Lookup(t.Context(), chain); err != nil || rec.ID != id {
		t.Errorf("Lookup after Recover: %+v, %v", rec, err)
	}
}

func TestDeadChild(t *testing.T) {
	s := newShelf(t)
	id := s.frozen(t, "")
	// What a process leaves that was killed between its first and its last step.
	if err := errors.Join(
		os.WriteFile(s.path(id, childrenDir, "deadbeef"), nil, 0o600),
		os.MkdirAll(s.path(draftPrefix+"deadbeef", filesDir), 0o700),
	); err != nil {
		t.Fatal(err)
	}
	d, _, err := s.Draft(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(t.Context(), id); !errdefs.IsConflict(err) {
		t.Errorf("Remove under a live draft: %v, want ErrConflict", err)
	}
	d.Discard()
	if err := s.Remove(t.Context(), id); err != nil {
		t.Errorf("Remove under a dead draft: %v", err)
	}
	if _, _, err := s.Draft(t.Context(), id); !errdefs.IsNotFound(err) {
		t.Errorf("Draft on a removed snapshot: %v", err)
	}
	if err := s.Recover(t.Context()); err != nil {
		t.Error(err)
	}
	checkEmpty(t, s)
}

func checkEmpty(t *testing.T, s *Shelf) {
	t.Helper()
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		switch e.Name() {
		case chainsDir, busyDir, "lock":
		default:
			t.Errorf("%s was left", e.Name())
		}
	}
}

// TestInterruptedRemoval is a kill between the steps of a removal.
func TestInterruptedRemoval(t *testing.T) {
	s := newShelf(t)
	id := s.named(t, "")
	if err := os.Rename(s.path(id), s.path(removedPrefix+id)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Lookup(t.Context(), chain); !errdefs.IsNotFound(err) {
		t.Errorf("Lookup of a name without a snapshot: %v", err)
	}
	if err := s.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	checkEmpty(t, s)
}

// TestRemovedOrParent removes a snapshot while another process makes one on top of it. One of them wins, and a
// parent is never out of its place.
func TestRemovedOrParent(t *testing.T) {
	s := newShelf(t)
	for range 400 {
		parent := s.named(t, "")
		removed := make(chan error)
		go func() { removed <- s.Remove(t.Context(), parent) }()
		var err error
		d, rec, derr := s.Draft(t.Context(), parent)
		for waiting := true; waiting; {
			if _, gone := os.Lstat(s.Files(parent)); derr == nil && gone != nil {
				t.Fatalf("the files of a parent: %v", gone)
			}
			select {
			case err = <-removed:
				waiting = false
			default:
			}
		}
		switch {
		case derr == nil && errdefs.IsConflict(err):
			if _, err := d.Publish(rec); err != nil {
				t.Fatal(err)
			}
			err = errors.Join(s.Remove(t.Context(), d.ID()), s.Remove(t.Context(), parent))
		case errdefs.IsNotFound(derr):
		default:
			t.Fatalf("draft: %v, removal: %v", derr, err)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	checkEmpty(t, s)
}

func TestUnreadableRecord(t *testing.T) {
	for name, text := range map[string]string{
		"empty": "", "zeros": strings.Repeat("\x00", 100), "other": `{"id":"aaaaaaaa"}`,
		"climbs": `{"id":"ID","parent":"../../x"}`, "below": `{"id":"ID","below":["../x"]}`, "missing": "-",
	} {
		t.Run(name, func(t *testing.T) {
			s := newShelf(t)
			id := s.named(t, "")
			path := s.path(id, recordFile)
			err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "ID", id)), 0o600)
			if text == "-" {
				err = os.Remove(path)
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Get(t.Context(), id); !errdefs.IsCorrupt(err) {
				t.Errorf("Get: %v, want ErrCorrupt", err)
			}
			if _, err := s.Lookup(t.Context(), chain); !errdefs.IsNotFound(err) {
				t.Errorf("Lookup: %v, want ErrNotFound", err)
			}
			other := s.frozen(t, "")
			if rec, err := s.Name(t.Context(), other, chain); err != nil || rec.ID != other {
				t.Errorf("Name: %+v, %v", rec, err)
			}
			if err := errors.Join(s.Recover(t.Context()), s.Remove(t.Context(), other)); err != nil {
				t.Error(err)
			}
			checkEmpty(t, s)
		})
	}
}

func TestStrangeLinks(t *testing.T) {
	s := newShelf(t)
	s.named(t, "")
	link, _ := s.link(chain)
	for _, text := range []string{"../../../etc", "x", "aaaaaaaa@", "aaaaaaaa", "aaaaaaaa@" + s.boot()} {
		if err := errors.Join(os.Remove(link), os.Symlink(text, link)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Lookup(t.Context(), chain); !errdefs.IsNotFound(err) {
			t.Errorf("%q: %v, want ErrNotFound", text, err)
		}
		id := s.frozen(t, "")
		if rec, err := s.Name(t.Context(), id, chain); err != nil || rec.ID != id {
			t.Errorf("Name over %q: %+v, %v", text, rec, err)
		}
	}
}

func TestUmask(t *testing.T) {
	old := unix.Umask(0o077)
	defer unix.Umask(old)
	s := newShelf(t)
	id := s.frozen(t, s.frozen(t, ""))
	info, err := os.Stat(s.Files(id))
	if err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("the root of a snapshot has mode %v, %v", info.Mode(), err)
	}
	for _, dir := range []string{s.dir, s.path(id)} {
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s is open to others: %v, %v", dir, info.Mode(), err)
		}
	}
}

// TestRemoveDeepTree deletes a tree that no path can name and no process could
// hold open from top to bottom.
func TestRemoveDeepTree(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tree")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5000 {
		name := strings.Repeat("d", 100)
		err := unix.Mkdirat(fd, name, 0o755)
		if err == nil {
			err = unix.Symlinkat("/", fd, fmt.Sprint("link", i))
		}
		next := -1
		if err == nil {
			next, err = unix.Openat(fd, name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
		}
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(fd)
		fd = next
	}
	unix.Close(fd)
	if err := removeTree(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the tree is still there: %v", err)
	}
}

func TestRemoveTreeTouchesNothingElse(t *testing.T) {
	outside := t.TempDir()
	keep := filepath.Join(outside, "keep")
	if err := os.WriteFile(keep, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "tree")
	if err := errors.Join(os.MkdirAll(dir+"/a", 0o755), os.Symlink(outside, dir+"/link"), os.Link(keep, dir+"/a/hard")); err != nil {
		t.Fatal(err)
	}
	if err := removeTree(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(keep); err != nil {
		t.Error(err)
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add([]byte(`{"id":"abcdefgh","parent":"01234567","below":["01234567"],"state":"frozen"}`))
	f.Add([]byte(`{"id":"abcdefgh","copied":{"unixNano":1,"boot":"x"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		rec, err := parseRecord("abcdefgh", b)
		if err != nil {
			if !errdefs.IsCorrupt(err) {
				t.Errorf("%v is not ErrCorrupt", err)
			}
			return
		}
		for _, id := range append(rec.On(), rec.Parent) {
			if id != "" && !validID(id) {
				t.Errorf("%q is taken as an id", id)
			}
		}
	})
}

func FuzzParseName(f *testing.F) {
	f.Add("abcdefgh")
	f.Add("abcdefgh@6f9619ff-8b86-d011-b42d-00cf4fc964ff")
	f.Fuzz(func(t *testing.T, text string) {
		if n, ok := parseName(text); ok && (n.String() != text || !validID(n.id)) {
			t.Errorf("%q is read as %+v", text, n)
		}
	})
}

// BenchmarkPrepare is what a container's start and end cost.
func BenchmarkPrepare(b *testing.B) {
	s := Open(filepath.Join(b.TempDir(), "s"), nil)
	d, rec, err := s.Draft(b.Context(), "")
	if err != nil {
		b.Fatal(err)
	}
	rec.State = snapshot.Frozen
	if _, err := d.Publish(rec); err != nil {
		b.Fatal(err)
	}
	if _, err := s.Name(b.Context(), rec.ID, chain); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		base, err := s.Lookup(b.Context(), chain)
		if err != nil {
			b.Fatal(err)
		}
		d, rec, err := s.Draft(b.Context(), base.ID)
		if err != nil {
			b.Fatal(err)
		}
		rec.State = snapshot.Active
		if _, err := d.Publish(rec); err != nil {
			b.Fatal(err)
		}
		if err := s.Remove(b.Context(), rec.ID); err != nil {
			b.Fatal(err)
		}
	}
}
