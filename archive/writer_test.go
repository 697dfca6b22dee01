package archive_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/archive"
	"github.com/camada/camada/errdefs"
)

var epoch = time.Unix(1_700_000_000, 0)

// odd are entries that do not fit plain ustar headers.
func odd() []archive.Entry {
	long := strings.Repeat("a-long-directory/", 8)
	return []archive.Entry{
		{Name: "dir", Type: archive.TypeDir, Mode: 0o1777, ModTime: epoch},
		{Name: "dir/plain", Type: archive.TypeReg, Mode: 0o4755, Size: 5, ModTime: epoch},
		{Name: "dir/hard", Type: archive.TypeLink, Linkname: "dir/plain", Mode: 0o4755, ModTime: epoch},
		{Name: "dir/sym", Type: archive.TypeSymlink, Linkname: "/nowhere", Mode: 0o777, ModTime: epoch},
		{Name: "null", Type: archive.TypeChar, Mode: 0o666, Devmajor: 1, Devminor: 3, ModTime: epoch},
		{Name: "pipe", Type: archive.TypeFifo, Mode: 0o600, ModTime: epoch},
		{Name: "future", Type: archive.TypeReg, Mode: 0o644, ModTime: epoch.Add(time.Hour)},
		{Name: "past", Type: archive.TypeReg, Mode: 0o644, ModTime: time.Unix(-2, 500_000_000)},
		{Name: "subsecond", Type: archive.TypeReg, Mode: 0o644, ModTime: time.Unix(5, 60)},
		{Name: "ids", Type: archive.TypeReg, Mode: 0o644, UID: 3_000_000_000, GID: 2_097_152, ModTime: epoch},
		{Name: "umlaut-ä", Type: archive.TypeReg, Mode: 0o644, ModTime: epoch},
		{Name: "latin-\xe4", Type: archive.TypeReg, Mode: 0o644, ModTime: epoch},
		{Name: long + "file", Type: archive.TypeReg, Mode: 0o644, ModTime: epoch},
		{Name: strings.Repeat("x", 130), Type: archive.TypeDir, Mode: 0o700, ModTime: epoch},
		{Name: "link", Type: archive.TypeSymlink, Linkname: strings.Repeat("y", 200), Mode: 0o777, ModTime: epoch},
		{Name: "xattrs", Type: archive.TypeReg, Mode: 0o644, ModTime: epoch, Xattrs: map[string]string{
			"user.z": "1\n2=\x003", "user.a": "", "security.capability": "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
		}},
	}
}

func pack(t testing.TB, entries []archive.Entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := archive.NewWriter(&b, archive.WriterOptions{Clamp: epoch})
	for _, e := range entries {
		if err := w.Add(e, strings.NewReader("hello"[:e.Size])); err != nil {
			t.Fatalf("Add(%q): %v", e.Name, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// The digest is a promise: layers that were built yesterday have it today.
func TestWriterGolden(t *testing.T) {
	sum := sha256.Sum256(pack(t, odd()))
	const want = "4f2c3017fb6e808873628cb0006905324572e3631a5cf8fb8e97afc59a3dbe21"
	if got := hex.EncodeToString(sum[:]); got != want {
		t.Errorf("digest %s, want %s", got, want)
	}
}

func TestWriterIsReadByGo(t *testing.T) {
	tr := tar.NewReader(bytes.NewReader(pack(t, odd())))
	for _, want := range odd() {
		hdr, err := tr.Next()
		if err != nil {
			t.Fatalf("%s: %v", want.Name, err)
		}
		name := want.Name
		if want.Type == archive.TypeDir {
			name += "/"
		}
		mtime := want.ModTime
		if mtime.After(epoch) {
			mtime = epoch
		}
		if hdr.Name != name || hdr.Linkname != want.Linkname || hdr.Typeflag != want.Type || uint32(hdr.Mode) != want.Mode ||
			hdr.Uid != want.UID || hdr.Gid != want.GID || hdr.Size != want.Size || !hdr.ModTime.Equal(mtime) ||
			uint32(hdr.Devmajor) != want.Devmajor || uint32(hdr.Devminor) != want.Devminor {
			t.Errorf("read %+v, want %+v", hdr, want)
		}
		for k, v := range want.Xattrs {
			if got := hdr.PAXRecords["SCHILY.xattr."+k]; got != v {
				t.Errorf("%s: %s = %q, want %q", want.Name, k, got, v)
			}
		}
		if hdr.Uname != "" || hdr.Gname != "" || !hdr.AccessTime.IsZero() || !hdr.ChangeTime.IsZero() {
			t.Errorf("%s tells more than an image can: %+v", want.Name, hdr)
		}
	}
	if _, err := tr.Next(); err != io.EOF {
		t.Errorf("after the last entry: %v", err)
	}
}

func TestWriterIsReadByTar(t *testing.T) {
	out, err := command(t, pack(t, odd()), "tar", "--list", "--verbose", "--numeric-owner", "--full-time")
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, want := range []string{"drwxrwxrwt", "3000000000/2097152", "latin-\\344", "/file", "1,3"} {
		if !bytes.Contains(out, []byte(want)) {
			t.Errorf("tar does not show %q:\n%s", want, out)
		}
	}
}

func command(t *testing.T, stdin []byte, name string, args ...string) ([]byte, error) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skip(err)
	}
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Stdin = bytes.NewReader(stdin)
	return cmd.CombinedOutput()
}

func TestWriterRefuses(t *testing.T) {
	for _, e := range []archive.Entry{
		{Name: "", Type: archive.TypeReg},
		{Name: "/abs", Type: archive.TypeReg},
		{Name: "dir/", Type: archive.TypeDir},
		{Name: "nul\x00", Type: archive.TypeReg},
		{Name: "mode", Type: archive.TypeReg, Mode: 0o100644},
		{Name: "owner", Type: archive.TypeReg, UID: -1},
		{Name: "link", Type: archive.TypeSymlink},
		{Name: "type", Type: 'Z'},
		{Name: "short", Type: archive.TypeReg, Size: 10},
	} {
		w := archive.NewWriter(io.Discard, archive.WriterOptions{})
		if err := w.Add(e, strings.NewReader("short")); !errdefs.IsInvalid(err) {
			t.Errorf("Add(%+v) = %v, want invalid", e, err)
		}
		if err := w.Close(); err == nil {
			t.Errorf("Close after Add(%+v) failed gives a whole archive", e)
		}
	}
}

// A file of 9 GiB, all hole but for its end: its size does not fit the field, and its
// bytes are not read from disk.
func TestWriterBigSparseFile(t *testing.T) {
	const size = 9<<30 + 3
	path := filepath.Join(t.TempDir(), "big")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("end"), size-3); err != nil {
		t.Fatal(err)
	}
	pr, pw := io.Pipe()
	go func() {
		w := archive.NewWriter(pw, archive.WriterOptions{})
		err := w.Add(archive.Entry{Name: "big", Type: archive.TypeReg, Size: size}, f)
		pw.CloseWithError(errors.Join(err, w.Close()))
	}()
	if testing.Short() {
		pr.CloseWithError(io.ErrClosedPipe)
		t.Skip("9 GiB take a few seconds")
	}
	tr := tar.NewReader(pr)
	hdr, err := tr.Next()
	if err != nil || hdr.Size != size {
		t.Fatalf("header %+v, %v", hdr, err)
	}
	var last [3]byte
	n, err := io.Copy(tail{&last}, tr)
	if err != nil || n != size || string(last[:]) != "end" {
		t.Errorf("%d bytes that end in %q, %v", n, last, err)
	}
	if _, err := tr.Next(); err != io.EOF {
		t.Errorf("after the file: %v", err)
	}
}

// tail keeps the last three bytes.
type tail struct{ last *[3]byte }

func (t tail) Write(p []byte) (int, error) {
	all := append(t.last[:], p[max(0, len(p)-3):]...)
	copy(t.last[:], all[len(all)-3:])
	return len(p), nil
}

func BenchmarkWriterHeader(b *testing.B) {
	w := archive.NewWriter(io.Discard, archive.WriterOptions{})
	e := archive.Entry{Name: "usr/share/doc/package/copyright", Type: archive.TypeReg, Mode: 0o644, ModTime: time.Unix(1_700_000_000, 5)}
	b.ReportAllocs()
	for b.Loop() {
		if err := w.Add(e, nil); err != nil {
			b.Fatal(err)
		}
	}
}
