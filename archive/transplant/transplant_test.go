package transplant_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/camada/camada/archive/transplant"
	"github.com/camada/camada/errdefs"
	"golang.org/x/sys/unix"
)

// copyAll copies from:src to to:dst, both trees that nobody trusts.
func copyAll(t *testing.T, from, src, to, dst string, follow bool) error {
	t.Helper()
	a, err := transplant.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := transplant.Open(to)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	s, err := a.Source(src, follow)
	if err != nil {
		return err
	}
	defer s.Close()
	d, err := b.Target(dst)
	if err != nil {
		return err
	}
	defer d.Close()
	name, err := transplant.Rule(s, d)
	if err != nil {
		return err
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(s.Write(t.Context(), w, name)) }()
	err = d.Extract(t.Context(), r, transplant.Options{Mine: true})
	r.CloseWithError(io.ErrClosedPipe)
	return err
}

// tree makes files of "name" or "name -> link" or "name/" lines; a file holds its own name.
func tree(t *testing.T, lines ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, l := range lines {
		name, link, isLink := strings.Cut(l, " -> ")
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		switch {
		case isLink:
			err = os.Symlink(link, p)
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(p, 0o755)
		default:
			err = os.WriteFile(p, []byte(name), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// list is what tree reads.
func list(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(dir, p)
		switch {
		case err != nil || rel == ".":
			return err
		case d.IsDir():
			out = append(out, rel+"/")
		case d.Type() == fs.ModeSymlink:
			to, _ := os.Readlink(p)
			out = append(out, rel+" -> "+to)
		default:
			b, _ := os.ReadFile(p)
			out = append(out, rel+"="+string(b))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestRules(t *testing.T) {
	source := []string{"f", "d/a", "d/sub/b", "link -> f", "dlink -> d", "up/x -> ../../../f"}
	target := []string{"file", "dir/", "flink -> dir/new", "dlink -> dir", "abs -> /dir", "out -> ../../../../dir"}
	for _, c := range []struct {
		src, dst string
		follow   bool
		want     []string // what is new or changed
		fails    error
	}{
		{src: "f", dst: "new", want: []string{"new=f"}},
		{src: "/f", dst: "/dir", want: []string{"dir/f=f"}},
		{src: "f", dst: "dir/", want: []string{"dir/f=f"}},
		{src: "f", dst: "dir/.", want: []string{"dir/f=f"}},
		{src: "f", dst: "file", want: []string{"file=f"}},
		{src: "f", dst: "new/", fails: errdefs.ErrNotFound},
		{src: "f", dst: "no/such", fails: errdefs.ErrNotFound},
		{src: "f", dst: "file/", fails: errdefs.ErrInvalid},
		{src: "f", dst: "file/x", fails: errdefs.ErrInvalid},
		{src: "f/", dst: "new", fails: errdefs.ErrInvalid},
		{src: "nosuch", dst: "new", fails: errdefs.ErrNotFound},
		{src: "d", dst: "new", want: []string{"new/", "new/a=d/a", "new/sub/", "new/sub/b=d/sub/b"}},
		{src: "d/.", dst: "new", want: []string{"new/", "new/a=d/a", "new/sub/", "new/sub/b=d/sub/b"}},
		{src: "d", dst: "new/", want: []string{"new/", "new/a=d/a", "new/sub/", "new/sub/b=d/sub/b"}},
		{src: "d", dst: "dir", want: []string{"dir/d/", "dir/d/a=d/a", "dir/d/sub/", "dir/d/sub/b=d/sub/b"}},
		{src: "d/", dst: "dir", want: []string{"dir/d/", "dir/d/a=d/a", "dir/d/sub/", "dir/d/sub/b=d/sub/b"}},
		{src: "d/.", dst: "dir", want: []string{"dir/a=d/a", "dir/sub/", "dir/sub/b=d/sub/b"}},
		{src: "d", dst: "file", fails: errdefs.ErrInvalid},
		{src: "link", dst: "new", want: []string{"new -> f"}},
		{src: "link", dst: "new", follow: true, want: []string{"new=f"}},
		{src: "dlink", dst: "new", want: []string{"new -> d"}},
		{src: "dlink/.", dst: "dir", want: []string{"dir/a=d/a", "dir/sub/", "dir/sub/b=d/sub/b"}},
		{src: "up/x", dst: "new", follow: true, want: []string{"new=f"}},
		{src: "f", dst: "flink", want: []string{"dir/new=f"}},
		{src: "f", dst: "dlink", want: []string{"dir/f=f"}},
		{src: "f", dst: "abs/g", want: []string{"dir/g=f"}},
		{src: "f", dst: "out/g", want: []string{"dir/g=f"}},
		{src: "f", dst: "out", want: []string{"dir/f=f"}},
	} {
		from, to := tree(t, source...), tree(t, target...)
		before := list(t, to)
		err := copyAll(t, from, c.src, to, c.dst, c.follow)
		if c.fails != nil {
			if !errors.Is(err, c.fails) {
				t.Errorf("%s to %s: %v, want %v", c.src, c.dst, err, c.fails)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s to %s: %v", c.src, c.dst, err)
			continue
		}
		var got []string
		for _, l := range list(t, to) {
			if !slices.Contains(before, l) {
				got = append(got, l)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s to %s: %q, want %q", c.src, c.dst, got, c.want)
		}
	}
}

func TestKindsStay(t *testing.T) {
	from, to := tree(t, "d/x/y"), tree(t, "d/x")
	if err := copyAll(t, from, "d", to, "/", false); !errors.Is(err, errdefs.ErrConflict) || !strings.Contains(err.Error(), "cannot overwrite non-directory with directory") {
		t.Errorf("directory over file: %v", err)
	}
	from, to = tree(t, "d/x"), tree(t, "d/x/y")
	if err := copyAll(t, from, "d", to, "/", false); !errors.Is(err, errdefs.ErrConflict) || !strings.Contains(err.Error(), "cannot overwrite directory with non-directory") {
		t.Errorf("file over directory: %v", err)
	}
}

// TestWhatIsThereIsNotOpened copies over a pipe and a link: an open for writing would wait for ever, or write elsewhere.
func TestWhatIsThereIsNotOpened(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("whole"), 0o644); err != nil {
		t.Fatal(err)
	}
	from, to := tree(t, "d/pipe", "d/link", "d/.wh.x"), tree(t, "d/link -> "+outside, "d/x")
	if err := unix.Mkfifo(filepath.Join(to, "d/pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := copyAll(t, from, "d", to, "/", false); err != nil {
		t.Fatal(err)
	}
	want := []string{"d/", "d/.wh.x=d/.wh.x", "d/link=d/link", "d/pipe=d/pipe", "d/x=d/x"}
	if got := list(t, to); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if b, _ := os.ReadFile(outside); string(b) != "whole" {
		t.Errorf("a file outside became %q", b)
	}
}

// TestLinksThatChange copies to and from a name that somebody exchanges with a link to the outside all the time.
func TestLinksThatChange(t *testing.T) {
	outside := tree(t, "secret")
	evil := tree(t, "d/", "l -> "+outside)
	safe := tree(t, "f", "out/")
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			_ = unix.Renameat2(unix.AT_FDCWD, evil+"/d", unix.AT_FDCWD, evil+"/l", unix.RENAME_EXCHANGE)
		}
	}()
	for range 500 {
		_ = copyAll(t, safe, "f", evil, "d", false)
		_ = copyAll(t, safe, "f", evil, "d/g", false)
		_ = copyAll(t, evil, "d/.", safe, "out", true)
	}
	stop()
	<-done
	if got := list(t, outside); !slices.Equal(got, []string{"secret=secret"}) {
		t.Errorf("outside: %q", got)
	}
	if _, err := os.Lstat(filepath.Join(safe, "out/secret")); err == nil {
		t.Error("a file from outside was copied")
	}
}

func TestNamesOfOneFile(t *testing.T) {
	dir := tree(t, "d/a")
	if err := os.Link(filepath.Join(dir, "d/a"), filepath.Join(dir, "d/b")); err != nil {
		t.Fatal(err)
	}
	tr, err := transplant.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	src, err := tr.Source("d", false)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	var b bytes.Buffer
	if err := src.Write(t.Context(), &b, "x"); err != nil {
		t.Fatal(err)
	}
	var names []string
	for r := tar.NewReader(&b); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, strings.TrimRight(h.Name+">"+h.Linkname, ">"))
	}
	if want := []string{"x/", "x/a", "x/b>x/a"}; !slices.Equal(names, want) {
		t.Errorf("%q, want %q", names, want)
	}
}

// TestDevicesThatChange copies a file that somebody exchanges with a device all the time, whose bytes would be taken for the file's.
func TestDevicesThatChange(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to make a device")
	}
	evil, safe := tree(t, "d/f"), tree(t, "out/")
	if err := unix.Mknod(filepath.Join(evil, "zero"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5))); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			_ = unix.Renameat2(unix.AT_FDCWD, evil+"/d/f", unix.AT_FDCWD, evil+"/zero", unix.RENAME_EXCHANGE)
		}
	}()
	defer func() { stop(); <-done }()
	copied := 0
	for range 300 {
		for _, src := range []string{"d/.", "d/f"} {
			_ = copyAll(t, evil, src, safe, "out", false)
			name := filepath.Join(safe, "out/f")
			st, err := os.Lstat(name)
			if err != nil || !st.Mode().IsRegular() {
				continue
			}
			b, err := os.ReadFile(name)
			if err != nil || string(b) != "d/f" {
				t.Fatalf("%s: the copy has %q, %v", src, b, err)
			}
			copied++
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	if copied == 0 {
		t.Error("nothing was copied: the test shows nothing")
	}
}
