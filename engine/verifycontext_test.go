package engine

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/camada/camada/build/source"
	"golang.org/x/sys/unix"
)

// TestCopyContext: what a build reads of the copy is what it reads of the original, and nothing else is the same.
func TestCopyContext(t *testing.T) {
	from, to := t.TempDir(), filepath.Join(t.TempDir(), "copy")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(to, 0o755))
	must(os.MkdirAll(filepath.Join(from, "d/empty"), 0o755))
	must(os.Mkdir(filepath.Join(from, "out"), 0o755))
	for name, text := range map[string]string{"a": "a", "d/b": strings.Repeat("b", 300_000), "out/x": "ignored", "out/keep": "kept", "docker": "FROM scratch",
		"docker.dockerignore": "out\n!out/keep\ndocker*\n"} {
		must(os.WriteFile(filepath.Join(from, name), []byte(text), 0o644))
	}
	must(os.Chmod(filepath.Join(from, "a"), 0o4751))
	must(os.Chmod(filepath.Join(from, "d"), 0o700))
	must(os.Symlink("../nowhere", filepath.Join(from, "d/link")))
	must(unix.Mkfifo(filepath.Join(from, "pipe"), 0o600))
	hole, err := os.Create(filepath.Join(from, "hole"))
	must(err)
	_, err = hole.WriteAt([]byte("end"), 1<<30)
	must(err)
	must(hole.Close())

	file, err := copyContext(t.Context(), from, to, filepath.Join(from, "docker"))
	must(err)
	if want := filepath.Join(to, "docker"); file != want {
		t.Errorf("the Dockerfile is %s, want %s", file, want)
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != "FROM scratch" {
		t.Errorf("the Dockerfile has %q, %v", data, err)
	}
	if _, err := os.Lstat(filepath.Join(to, "out/x")); err == nil {
		t.Error("what is ignored was copied")
	}
	var one, two string
	for _, c := range []struct {
		dir, file string
		sum       *string
	}{{from, filepath.Join(from, "docker"), &one}, {to, file, &two}} {
		ignore, err := source.IgnoreFile(c.dir, c.file)
		must(err)
		tree, err := source.Open(c.dir, source.Options{Ignore: ignore})
		must(err)
		defer tree.Close()
		m, err := tree.Match(t.Context(), "/")
		must(err)
		d, err := tree.Digest(t.Context(), m)
		must(err)
		*c.sum = d.String()
	}
	if one != two {
		t.Errorf("a build reads %s of the context, and %s of its copy", one, two)
	}
	must(filepath.WalkDir(to, func(path string, _ fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(to, path)
		var a, b unix.Stat_t
		if err != nil || unix.Lstat(filepath.Join(from, rel), &a) != nil || unix.Lstat(path, &b) != nil {
			t.Errorf("%s: %v", rel, err)
			return nil //nolint:nilerr // told
		}
		if a.Ino == b.Ino || a.Mtim == b.Mtim && !strings.HasPrefix(rel, "docker") || os.Geteuid() == 0 && b.Uid != otherOwner && !strings.HasPrefix(rel, "docker") {
			t.Errorf("%s: inode %d and %d, owner %d, times %v and %v", rel, a.Ino, b.Ino, b.Uid, a.Mtim, b.Mtim)
		}
		return nil
	}))
	var st unix.Stat_t
	must(unix.Lstat(filepath.Join(to, "hole"), &st))
	if st.Size != 1<<30+3 || st.Blocks*512 > 1<<20 {
		t.Errorf("the sparse file has %d bytes in %d blocks", st.Size, st.Blocks)
	}
}
