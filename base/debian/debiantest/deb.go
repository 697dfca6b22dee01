// Package debiantest makes small Debian packages and signed archives for tests.
//
//	a := debiantest.New(t, "bookworm", debiantest.Deb{Name: "hello", Version: "1"})
//	plan, err := debian.Resolve(ctx, debian.Options{Mirror: a.URL, Keyrings: []string{a.Keyring}, ...})
package debiantest

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

const built = 1_700_000_000

// Built is when the packages say that they were built.
func Built() time.Time { return time.Unix(built, 0).UTC() }

// Deb is a package to be made.
type Deb struct {
	Name, Version string
	// Arch is "amd64" when empty.
	Arch string
	// Fields are further fields of the control file: "Depends: a\nEssential: yes\n".
	Fields string
	// Info are further files of the control archive: scripts, conffiles, triggers.
	Info map[string]string
	// Files are the entries of the data archive, in this order.
	Files []File
	// Compression is that of the data archive: "gz", "zst" or "" for none.
	Compression string
}

// File is an entry of a data archive. Name is written as it is. Type is that of
// archive/tar, a regular file when zero; a name with a slash at the end is a directory.
type File struct {
	Name, Body, Link string
	Type             byte
	Mode             int64
	UID, GID         int
	Time             time.Time
}

// Control is the package's control file.
func (d Deb) Control() string {
	arch := d.Arch
	if arch == "" {
		arch = "amd64"
	}
	return fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: %s\n%sDescription: a test\n", d.Name, d.Version, arch, d.Fields)
}

// Bytes makes the package file.
func (d Deb) Bytes(t testing.TB) []byte {
	t.Helper()
	control := []File{{Name: "./control", Body: d.Control()}}
	for _, name := range slices.Sorted(maps.Keys(d.Info)) {
		control = append(control, File{Name: "./" + name, Body: d.Info[name], Mode: 0o755})
	}
	data, ending := Tar(t, d.Files), ""
	switch d.Compression {
	case "gz":
		data, ending = gz(t, data), ".gz"
	case "zst":
		w, err := zstd.NewWriter(nil)
		check(t, err)
		data, ending = w.EncodeAll(data, nil), ".zst"
	}
	return Ar(
		Member{"debian-binary", []byte("2.0\n")},
		Member{"control.tar.gz", gz(t, Tar(t, control))},
		Member{"data.tar" + ending, data},
	)
}

// Member is a member of an ar archive.
type Member struct {
	Name string
	Data []byte
}

// Ar makes an ar archive.
func Ar(members ...Member) []byte {
	var b bytes.Buffer
	b.WriteString("!<arch>\n")
	for _, m := range members {
		fmt.Fprintf(&b, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", m.Name, Built().Unix(), 0, 0, "100644", len(m.Data))
		b.Write(m.Data)
		if len(m.Data)%2 == 1 {
			b.WriteByte('\n')
		}
	}
	return b.Bytes()
}

// Tar makes a tar archive of the entries.
func Tar(t testing.TB, files []File) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{Name: f.Name, Typeflag: f.Type, Linkname: f.Link, Mode: f.Mode, Uid: f.UID, Gid: f.GID, ModTime: f.Time, Size: int64(len(f.Body))}
		if h.ModTime.IsZero() {
			h.ModTime = Built().Add(-time.Hour)
		}
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
			if f.Name[len(f.Name)-1] == '/' {
				h.Typeflag = tar.TypeDir
			}
		}
		if h.Mode == 0 {
			h.Mode = 0o644
			if h.Typeflag == tar.TypeDir {
				h.Mode = 0o755
			}
		}
		check(t, w.WriteHeader(h))
		_, err := io.WriteString(w, f.Body)
		check(t, err)
	}
	check(t, w.Close())
	return b.Bytes()
}

func gz(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(data)
	check(t, err)
	check(t, w.Close())
	return b.Bytes()
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
