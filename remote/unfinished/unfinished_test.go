package unfinished_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/camada/camada/remote"
	"github.com/camada/camada/remote/unfinished"
	"github.com/opencontainers/go-digest"
)

const (
	repository = "example.org/app"
	location   = "https://example.org/v2/app/blobs/uploads/1?_state=x"
)

var blob = digest.FromString("blob")

func open(t *testing.T, dir string) remote.Note {
	t.Helper()
	n := unfinished.Open(dir).Open(t.Context(), repository, blob)
	if n == nil {
		t.Fatal("nothing can be remembered")
	}
	return n
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestNotes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "uploads")
	n := open(t, dir)
	if other := unfinished.Open(dir).Open(t.Context(), repository, blob); other != nil {
		t.Error("two are at one upload")
	}
	if other := unfinished.Open(dir).Open(t.Context(), "example.org/other", blob); other == nil || other.Location() != "" {
		t.Error("another repository is the same")
	} else {
		other.Close()
	}
	n.Keep("https://example.org/something/much/longer/than/what/comes/after/it/" + location)
	n.Keep(location)
	n.Close()
	if info, err := os.Stat(files(t, dir)[0]); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	n = open(t, dir)
	if n.Location() != location {
		t.Errorf("it is remembered as %q", n.Location())
	}
	n.Keep("")
	n.Close()
	if left := files(t, dir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// TestOldAndTorn: what is too old, torn or of another blob says nothing.
func TestOldAndTorn(t *testing.T) {
	for name, text := range map[string]string{
		"torn":    `{"repository":"example.org/app","loca`,
		"empty":   "",
		"another": `{"repository":"example.org/x","digest":"` + blob.String() + `","location":"` + location + `","begun":"` + time.Now().Format(time.RFC3339) + `"}`,
		"old":     `{"repository":"example.org/app","digest":"` + blob.String() + `","location":"` + location + `","begun":"2020-01-01T00:00:00Z"}`,
	} {
		dir := t.TempDir()
		n := open(t, dir)
		n.Keep(location)
		n.Close()
		if err := os.WriteFile(files(t, dir)[0], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		n = open(t, dir)
		if n.Location() != "" {
			t.Errorf("%s: %q", name, n.Location())
		}
		n.Close()
	}
}

func TestExpire(t *testing.T) {
	dir := t.TempDir()
	d := unfinished.Open(dir)
	n := open(t, dir)
	n.Keep(location)
	later := time.Now().Add(time.Hour)
	if removed, err := d.Expire(later, false); removed != 0 || err != nil {
		t.Errorf("an upload under way was removed: %d, %v", removed, err)
	}
	n.Close()
	if removed, err := d.Expire(time.Now().Add(-time.Hour), false); removed != 0 || err != nil {
		t.Errorf("a young one was removed: %d, %v", removed, err)
	}
	if removed, err := d.Expire(later, true); removed != 1 || err != nil || len(files(t, dir)) != 1 {
		t.Errorf("a dry run: %d, %v", removed, err)
	}
	if removed, err := d.Expire(later, false); removed != 1 || err != nil || len(files(t, dir)) != 0 {
		t.Errorf("%d, %v", removed, err)
	}
	if removed, err := unfinished.Open(filepath.Join(dir, "none")).Expire(later, false); removed != 0 || err != nil {
		t.Errorf("no directory: %d, %v", removed, err)
	}
}

// FuzzNotes reads what is in a file: only what is of this upload, and not old, is believed, and what is remembered then takes its place.
func FuzzNotes(f *testing.F) {
	now := time.Now().UTC().Format(time.RFC3339)
	for _, s := range []string{
		`{"repository":"` + repository + `","digest":"` + blob.String() + `","location":"` + location + `","begun":"` + now + `"}`,
		`{"repository":"` + repository + `","digest":"` + blob.String() + `","location":"` + location + `","begun":"2001-01-01T00:00:00Z"}`,
		`{"repository":"example.org/other","digest":"` + blob.String() + `","location":"x","begun":"` + now + `"}`,
		`{"repository":"`, ``, `null`, `{"location":"x"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		n := unfinished.Open(dir).Open(t.Context(), repository, blob)
		n.Keep(location)
		n.Close()
		if err := os.WriteFile(files(t, dir)[0], data, 0o600); err != nil {
			t.Fatal(err)
		}
		n = unfinished.Open(dir).Open(t.Context(), repository, blob)
		var e struct{ Repository, Digest, Location string }
		if n.Location() != "" && (json.Unmarshal(data, &e) != nil || e.Repository != repository || e.Digest != blob.String() || e.Location != n.Location()) {
			t.Errorf("%q is believed: %q", data, n.Location())
		}
		n.Keep("")
		n.Keep(location)
		n.Close()
		n = unfinished.Open(dir).Open(t.Context(), repository, blob)
		defer n.Close()
		if n.Location() != location {
			t.Errorf("after %q it remembers %q", data, n.Location())
		}
	})
}
