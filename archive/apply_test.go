package archive_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/camada/camada/archive"
	"github.com/camada/camada/errdefs"
	"golang.org/x/sys/unix"
)

// file, dir, link and so on make headers of the entries of hostile and ordinary tars.
func file(name, content string) entry {
	return entry{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(content)), ModTime: epoch}, content}
}

func dir(name string, mode int64) entry {
	return entry{tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: mode, ModTime: epoch}, ""}
}

func symlink(name, target string) entry {
	return entry{tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target, Mode: 0o777, ModTime: epoch}, ""}
}

func hardlink(name, target string) entry {
	return entry{tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: target, ModTime: epoch}, ""}
}

type entry struct {
	tar.Header
	content string
}

func (e entry) with(change func(*tar.Header)) entry { change(&e.Header); return e }

// tarOf is a tar by the standard library, which writes whatever names it is told to.
func tarOf(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		hdr := e.Header
		if err := w.WriteHeader(&hdr); err != nil {
			t.Fatalf("%s: %v", e.Name, err)
		}
		if _, err := io.WriteString(w, e.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: files are given to other owners")
	}
}

// apply extracts into the directory below, which is made if need be.
func apply(t testing.TB, into string, b []byte, opts archive.ApplyOptions) (archive.Result, error) {
	t.Helper()
	if err := os.MkdirAll(into, 0o755); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(into)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	return archive.Apply(t.Context(), root, bytes.NewReader(b), opts)
}

func mustApply(t testing.TB, into string, b []byte, opts archive.ApplyOptions) archive.Result {
	t.Helper()
	res, err := apply(t, into, b, opts)
	if err != nil {
		t.Fatalf("Apply: %v", err)
	}
	return res
}

// tree describes all below a directory, a line for each file.
func tree(t testing.TB, root string) []string {
	t.Helper()
	var lines []string
	inodes := map[uint64]string{}
	err := filepath.WalkDir(root, func(p string, _ fs.DirEntry, err error) error {
		if err != nil || p == root {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(p, &st); err != nil {
			return err
		}
		name, _ := filepath.Rel(root, p)
		line := fmt.Sprintf("%s %o %d:%d %d.%09d", name, st.Mode, st.Uid, st.Gid, st.Mtim.Sec, st.Mtim.Nsec)
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFLNK:
			target, _ := os.Readlink(p)
			line += " -> " + target
		case unix.S_IFCHR, unix.S_IFBLK:
			if st.Rdev == 0 { // a whiteout: its time means nothing
				line = name + " whiteout"
				break
			}
			line += fmt.Sprintf(" dev %d,%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
		case unix.S_IFREG:
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" %q", b)
			if first, ok := inodes[st.Ino]; ok && st.Nlink > 1 {
				line += " = " + first
			}
			inodes[st.Ino] = name
		}
		lines = append(lines, line+xattrs(t, p, st.Mode))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func xattrs(t testing.TB, path string, mode uint32) string {
	t.Helper()
	buf := make([]byte, 4096)
	n, err := unix.Llistxattr(path, buf)
	if err != nil || n == 0 {
		return ""
	}
	names := strings.Split(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00")
	sort.Strings(names)
	var s string
	for _, name := range names {
		v := make([]byte, 4096)
		n, err := unix.Lgetxattr(path, name, v)
		if err != nil {
			t.Fatal(err)
		}
		s += fmt.Sprintf(" %s=%q", name, v[:n])
	}
	return s
}

func wantTree(t testing.TB, root string, want ...string) {
	t.Helper()
	got := tree(t, root)
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("the tree is\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func TestApplyRestoresMetadata(t *testing.T) {
	needRoot(t)
	capability := "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	late := time.Unix(1_600_000_000, 123_456_789)
	b := tarOf(t,
		dir("d/", 0o2775).with(func(h *tar.Header) { h.ModTime, h.Format = late, tar.FormatPAX }),
		file("d/suid", "x").with(func(h *tar.Header) {
			h.Mode, h.Uid, h.Gid = 0o6755, 70000, 80000
			h.PAXRecords = map[string]string{"SCHILY.xattr.security.capability": capability, "SCHILY.xattr.user.k": "v", "SCHILY.xattr.trusted.t": "no"}
		}),
		file("d/mine", "y").with(func(h *tar.Header) { h.Mode = 0o666 }),
		hardlink("d/zwei", "d/mine"),
		symlink("d/s", "/etc/passwd").with(func(h *tar.Header) { h.Uid = 5 }),
		entry{tar.Header{Name: "null", Typeflag: tar.TypeChar, Mode: 0o666, Devmajor: 1, Devminor: 3, ModTime: epoch}, ""},
		entry{tar.Header{Name: "pipe", Typeflag: tar.TypeFifo, Mode: 0o622, ModTime: epoch, Gid: 9}, ""},
		file("a/b/implied", ""),
		file(strings.Repeat("n", 200)+"/"+strings.Repeat("m", 255), "long"),
	)
	root := filepath.Join(t.TempDir(), "root")
	res := mustApply(t, root, b, archive.ApplyOptions{})
	wantTree(t, root,
		"a 40755 0:0 0.000000000",
		"a/b 40755 0:0 0.000000000",
		"a/b/implied 100644 0:0 1700000000.000000000 \"\"",
		"d 42775 0:0 1600000000.123456789",
		"d/mine 100666 0:0 1700000000.000000000 \"y\"",
		"d/s 120777 5:0 1700000000.000000000 -> /etc/passwd",
		fmt.Sprintf("d/suid 106755 70000:80000 1700000000.000000000 \"x\" security.capability=%q user.k=\"v\"", capability),
		"d/zwei 100666 0:0 1700000000.000000000 \"y\" = d/mine",
		strings.Repeat("n", 200)+" 40755 0:0 0.000000000",
		strings.Repeat("n", 200)+"/"+strings.Repeat("m", 255)+" 100644 0:0 1700000000.000000000 \"long\"",
		"null 20666 0:0 1700000000.000000000 dev 1,3",
		"pipe 10622 0:9 1700000000.000000000",
	)
	if res.Entries != 9 || res.Bytes != 6 || res.Skipped["xattr trusted.t"] != 1 {
		t.Errorf("result %+v", res)
	}
}

func TestApplyDefaultACLIsNotInherited(t *testing.T) {
	needRoot(t)
	// u::rwx,u:5:rwx,g::r-x,m::rwx,o::r-x as the kernel stores it.
	acl := "\x02\x00\x00\x00" + "\x01\x00\x07\x00\xff\xff\xff\xff" + "\x02\x00\x07\x00\x05\x00\x00\x00" +
		"\x04\x00\x05\x00\xff\xff\xff\xff" + "\x10\x00\x07\x00\xff\xff\xff\xff" + "\x20\x00\x05\x00\xff\xff\xff\xff"
	root := filepath.Join(t.TempDir(), "root")
	b := tarOf(t, dir("d", 0o755).with(func(h *tar.Header) {
		h.PAXRecords = map[string]string{"SCHILY.xattr.system.posix_acl_default": acl}
	}), file("d/f", ""))
	mustApply(t, root, b, archive.ApplyOptions{})
	more := tarOf(t, file("d/g", ""), dir("d/e", 0o700))
	mustApply(t, root, more, archive.ApplyOptions{})
	wantTree(t, root,
		fmt.Sprintf("d 40755 0:0 1700000000.000000000 system.posix_acl_default=%q", acl),
		"d/e 40700 0:0 1700000000.000000000",
		"d/f 100644 0:0 1700000000.000000000 \"\"",
		"d/g 100644 0:0 1700000000.000000000 \"\"",
	)
}

func TestApplyDuplicatesLastWins(t *testing.T) {
	for _, mode := range []archive.Whiteouts{archive.WhiteoutDelete, archive.WhiteoutOverlayUser} {
		root := filepath.Join(t.TempDir(), "root")
		mustApply(t, root, tarOf(t,
			file("a", "first"), hardlink("b", "a"), file("a", "second"), // b keeps the first
			dir("c", 0o755), file("c/in", ""), file("c", "file"), // a directory becomes a file
			file("d", "file"), dir("d", 0o700), file("d/in", "x"), // and the reverse
			symlink("e", "c"), file("e", "not through the link"),
			file("f", "same"), hardlink("f", "f"), // a link to itself
			file("g", "file"), file("g/in", "below a file"),
			dir("h", 0o755), symlink("h", "d"), file("h/through", "y"),
		), archive.ApplyOptions{Whiteouts: mode})
		got := map[string]string{}
		for _, name := range []string{"a", "b", "c", "d/in", "e", "f", "g/in", "d/through"} {
			b, err := os.ReadFile(filepath.Join(root, name))
			if err != nil {
				t.Error(err)
			}
			got[name] = string(b)
		}
		want := map[string]string{"a": "second", "b": "first", "c": "file", "d/in": "x", "e": "not through the link", "f": "same", "g/in": "below a file", "d/through": "y"}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("mode %d: %v, want %v", mode, got, want)
		}
	}
}

func TestApplySparse(t *testing.T) {
	const size = 8 << 20
	content := make([]byte, size)
	copy(content[3<<20:], "data")
	root := filepath.Join(t.TempDir(), "root")
	mustApply(t, root, tarOf(t, file("sparse", string(content))), archive.ApplyOptions{})
	got, err := os.ReadFile(filepath.Join(root, "sparse"))
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("content differs, %v", err)
	}
	var st syscall.Stat_t
	if err := syscall.Stat(filepath.Join(root, "sparse"), &st); err != nil || st.Blocks*512 > 1<<20 {
		t.Errorf("%d bytes on disk, %v", st.Blocks*512, err)
	}
}

func TestApplyErrors(t *testing.T) {
	whole := tarOf(t, file("a", strings.Repeat("x", 5000)), file("b", "y"))
	boom := errors.New("connection reset")
	for name, c := range map[string]struct {
		r    io.Reader
		opts archive.ApplyOptions
		is   func(error) bool
	}{
		"cut in content":    {bytes.NewReader(whole[:2000]), archive.ApplyOptions{}, errdefs.IsCorrupt},
		"cut in header":     {bytes.NewReader(whole[:512+5120+100]), archive.ApplyOptions{}, errdefs.IsCorrupt},
		"not a tar":         {strings.NewReader(strings.Repeat("no tar ", 500)), archive.ApplyOptions{}, errdefs.IsCorrupt},
		"source fails":      {io.MultiReader(bytes.NewReader(whole[:2000]), failing{boom}), archive.ApplyOptions{}, func(err error) bool { return errors.Is(err, boom) && !errdefs.IsCorrupt(err) }},
		"too many":          {bytes.NewReader(whole), archive.ApplyOptions{MaxEntries: 1}, errdefs.IsLimit},
		"too big":           {bytes.NewReader(whole), archive.ApplyOptions{MaxBytes: 5000}, errdefs.IsLimit},
		"a size of 1 EiB":   {bytes.NewReader(headerOnly(t, 1<<60)), archive.ApplyOptions{}, errdefs.IsLimit},
		"trailing for ever": {io.MultiReader(bytes.NewReader(whole), zeros{}), archive.ApplyOptions{MaxBytes: 1 << 20}, errdefs.IsLimit},
	} {
		root, err := os.OpenRoot(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := archive.Apply(t.Context(), root, c.r, c.opts); !c.is(err) {
			t.Errorf("%s: %v", name, err)
		}
		root.Close()
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if _, err := archive.Apply(ctx, root, bytes.NewReader(whole), archive.ApplyOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

// headerOnly is a tar that promises more than it has.
func headerOnly(t testing.TB, size int64) []byte {
	var b bytes.Buffer
	if err := tar.NewWriter(&b).WriteHeader(&tar.Header{Name: "a", Typeflag: tar.TypeReg, Size: size}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
