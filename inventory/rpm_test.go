package inventory

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"io"
	"os"
	"reflect"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/camada/camada/errdefs"
)

// real is a database of testdata: rpmdb.sqlite is what rpm 4.18 wrote when it installed three packages, one of them with a header of several pages; Packages has the same headers, and was written by
// Berkeley DB 5.3. The small ones have one header, in pages of 512 bytes.
func real(t testing.TB, name string) []byte {
	t.Helper()
	f, err := os.Open("testdata/" + name + ".gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// ndb makes a database of rpm's own kind: a page of slots, and the headers.
func ndb(headers ...[]byte) []byte {
	le := binary.LittleEndian
	b := make([]byte, 4096)
	copy(b, "RpmP")
	le.PutUint32(b[12:], 1)
	for at := 32; at < len(b); at += 16 {
		copy(b[at:], "Slot")
	}
	for i, h := range headers {
		slot := b[48+16*i:]
		le.PutUint32(slot[4:], uint32(i+1))
		le.PutUint32(slot[8:], uint32(len(b)/16))
		b = append(b, "BlbS"...)
		b = le.AppendUint32(b, uint32(i+1))
		b = le.AppendUint32(b, 1)
		b = le.AppendUint32(b, uint32(len(h)))
		b = append(b, h...)
		b = append(b, make([]byte, 31-(len(b)+15)%16)...)
	}
	return b
}

func TestRPM(t *testing.T) {
	want := []Package{
		{Type: "rpm", Name: "big", Version: "1.4-3", Arch: "noarch", Source: "big", SourceVersion: "1.4-3", License: "MIT and GPL-2.0-or-later", Supplier: "Example Project",
			PURL: "pkg:rpm/rocky/big@1.4-3?arch=noarch&distro=rocky-9.3"},
		{Type: "rpm", Name: "hello", Version: "5-3", Arch: "noarch", Source: "hello-libs", SourceVersion: "1.4-3", License: "MIT and GPL-2.0-or-later", Supplier: "Example Project",
			PURL: "pkg:rpm/rocky/hello@5-3?arch=noarch&distro=rocky-9.3&upstream=hello-libs%401.4-3"},
		{Type: "rpm", Name: "hello-libs", Version: "2:1.4-3", Arch: "noarch", Source: "hello-libs", SourceVersion: "1.4-3", License: "MIT and GPL-2.0-or-later", Supplier: "Example Project",
			PURL: "pkg:rpm/rocky/hello-libs@1.4-3?arch=noarch&distro=rocky-9.3&epoch=2"},
	}
	var headers [][]byte
	if err := rpmSQLite(real(t, "rpmdb.sqlite"), func(h []byte) error {
		headers = append(headers, slices.Clone(h))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"var/lib/rpm/rpmdb.sqlite":         real(t, "rpmdb.sqlite"),
		"usr/lib/sysimage/rpm/Packages.db": ndb(headers...),
		"var/lib/rpm/Packages":             real(t, "Packages"),
	} {
		inv, err := Read(context.Background(), fstest.MapFS{"etc/os-release": file("ID=rocky\nVERSION_ID=9.3\n"), name: {Data: data}, "var/lib/rpm/rpmdb.sqlite-wal": file("")})
		if err != nil {
			t.Fatal(err)
		}
		for i := range want {
			want[i].Found = name
		}
		if !reflect.DeepEqual(inv.Packages, want) || inv.Unread != nil {
			t.Errorf("%s: got %+v\nwant %+v", name, inv, want)
		}
		for _, cut := range []int{0, 100, 600, len(data) / 2, len(data) - 100} {
			if _, err := Read(context.Background(), fstest.MapFS{name: {Data: data[:cut]}}); err != nil && !errdefs.IsInvalid(err) {
				t.Errorf("%s, cut at %d: %v", name, cut, err)
			} else if err == nil && (cut < 601 || name == "var/lib/rpm/Packages") {
				t.Errorf("%s, cut at %d, is none", name, cut)
			}
		}
	}
}

func TestSmallRPM(t *testing.T) {
	for name, read := range map[string]func([]byte, func([]byte) error) error{"small.sqlite": rpmSQLite, "small.bdb": rpmBDB} {
		var got []string
		if err := read(real(t, name), func(h []byte) error {
			p, _, err := rpmHeader(h)
			got = append(got, p.Name+" "+p.Version)
			return err
		}); err != nil || !slices.Equal(got, []string{"hello 5-3"}) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestRPMSource(t *testing.T) {
	for file, want := range map[string][2]string{
		"bash-5.1.8-6.el9.src.rpm":   {"bash", "5.1.8-6.el9"},
		"a-b-1-2.nosrc.rpm":          {"a-b", "1-2"},
		"":                           {"n", "v"},
		"(none)":                     {"n", "v"},
		"-1-2.src.rpm":               {"n", "v"},
		"a--2.src.rpm":               {"n", "v"},
		"bash-5.1.8-6.el9.x86_64.xx": {"n", "v"},
	} {
		if name, version := SourceRPM(file, "n", "v"); name != want[0] || version != want[1] {
			t.Errorf("%s: %s %s", file, name, version)
		}
	}
}

func FuzzRPM(f *testing.F) {
	f.Add(byte(0), real(f, "small.sqlite"))
	f.Add(byte(1), real(f, "small.bdb"))
	f.Add(byte(2), ndb([]byte("x")))
	f.Add(byte(3), []byte("\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x03\xe8\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00\x01a\x00"))
	f.Fuzz(func(t *testing.T, kind byte, data []byte) {
		total := 0
		yield := func(h []byte) error {
			total += len(h)
			p, ok, err := rpmHeader(h)
			if err == nil && ok && p.Type != "rpm" {
				t.Errorf("a bad package: %+v", p)
			}
			return nil
		}
		switch kind % 4 {
		case 0:
			_ = rpmSQLite(data, yield)
		case 1:
			_ = rpmBDB(data, yield)
		case 2:
			_ = rpmNDB(data, yield)
		default:
			_ = yield(data)
		}
		if total > 4*len(data)+64 {
			t.Errorf("%d bytes of headers from %d", total, len(data))
		}
		pkgs, err := rpmReader(rpmSQLite)(Distribution{}, bytes.NewReader(data))
		if err != nil && !errdefs.IsInvalid(err) && !errdefs.IsLimit(err) {
			t.Errorf("%d packages, and an error of no class: %v", len(pkgs), err)
		}
	})
}
