package deb_test

import (
	"archive/tar"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/camada/camada/base/debian/deb"
	"github.com/camada/camada/base/debian/debiantest"
	"github.com/camada/camada/errdefs"
)

func list(b []byte) (string, error) {
	d, err := deb.Open(bytes.NewReader(b))
	if err != nil {
		return "", err
	}
	var out strings.Builder
	err = d.Files(func(h *tar.Header, content io.Reader) error {
		body, err := io.ReadAll(content)
		fmt.Fprintf(&out, "%c %s %s%s\n", h.Typeflag, h.Name, h.Linkname, body)
		return err
	})
	return out.String(), err
}

func TestFiles(t *testing.T) {
	for _, compression := range []string{"", "gz", "zst"} {
		p := debiantest.Deb{
			Name: "aa", Version: "1", Compression: compression, Info: map[string]string{"postinst": "#!/bin/sh\n"},
			Files: []debiantest.File{{Name: "./"}, {Name: "./usr/"}, {Name: "./usr/x", Body: "odd"}, {Name: "usr/y", Type: tar.TypeLink, Link: "./usr/x"}, {Name: "./z", Type: tar.TypeSymlink, Link: "/../a"}},
		}
		b := p.Bytes(t)
		got, err := list(b)
		if want := "5 . \n5 usr \n0 usr/x odd\n1 usr/y usr/x\n2 z /../a\n"; err != nil || got != want {
			t.Errorf("%q: got %q, %v; want %q", compression, got, err, want)
		}
		d, err := deb.Open(bytes.NewReader(b))
		if err != nil || d.Control.Get("Package") != "aa" || len(d.Info) != 1 || !d.Info[0].Executable || string(d.InfoData("postinst")) != "#!/bin/sh\n" || !d.Time.Equal(debiantest.Built()) {
			t.Errorf("%q: %+v, %v", compression, d, err)
		}
		for cut := range len(b) - 1 {
			if _, err := list(b[:cut]); !errdefs.IsCorrupt(err) {
				if compression == "" && cut > len(b)-1024-2 {
					continue // a tar without its last, empty blocks is whole
				}
				t.Fatalf("%q: cut after %d of %d: %v", compression, cut, len(b), err)
			}
		}
	}
}

// xzTar is a tar of one file "a" with "hello\n", made by xz(1).
const xzTar = "/Td6WFoAAATm1rRGAgAhARwAAAAQz1jM4Cf/AF5dADCAM1AYaImDAdzibkdnUCbaMYkcln4sH3hDY1Clqp5eIU0iGwsKra8rth622da4oBd1rO839c2BT4ownP+xVLMHnLkdM9kPvMYJ16qY7GPPN0f5ZK0Cmmig39PangAAAAAaNa4+Qo0mvgABeoBQAAAASkUHE7HEZ/sCAAAAAARZWg=="

func TestXZ(t *testing.T) {
	data, err := base64.StdEncoding.DecodeString(xzTar)
	if err != nil {
		t.Fatal(err)
	}
	head := (debiantest.Deb{Name: "aa", Version: "1"}).Bytes(t)
	head = head[:bytes.Index(head, []byte("data.tar"))]
	member := debiantest.Ar(debiantest.Member{Name: "data.tar.xz", Data: data})[8:]
	if got, err := list(append(head[:len(head):len(head)], member...)); err != nil || got != "0 a hello\n\n" {
		t.Errorf("got %q, %v", got, err)
	}
	data[len(data)/2] ^= 1
	member = debiantest.Ar(debiantest.Member{Name: "data.tar.xz", Data: data})[8:]
	if _, err := list(append(head, member...)); !errdefs.IsCorrupt(err) {
		t.Errorf("with a wrong bit: %v", err)
	}
}

func TestRefused(t *testing.T) {
	control := debiantest.Member{Name: "control.tar", Data: debiantest.Tar(t, []debiantest.File{{Name: "./control", Body: "Package: aa\n"}})}
	format := debiantest.Member{Name: "debian-binary", Data: []byte("2.0\n")}
	files := func(f ...debiantest.File) debiantest.Member {
		return debiantest.Member{Name: "data.tar", Data: debiantest.Tar(t, f)}
	}
	info := func(name string) debiantest.Member {
		return debiantest.Member{Name: "control.tar", Data: debiantest.Tar(t, []debiantest.File{{Name: name, Body: "x"}})}
	}
	for name, tc := range map[string]struct {
		members []debiantest.Member
		is      func(error) bool
	}{
		"empty":                {nil, errdefs.IsCorrupt},
		"no format mark":       {[]debiantest.Member{control, files()}, errdefs.IsCorrupt},
		"a later format":       {[]debiantest.Member{{Name: "debian-binary", Data: []byte("3.0\n")}}, errdefs.IsUnsupported},
		"no control archive":   {[]debiantest.Member{format, files()}, errdefs.IsCorrupt},
		"two control archives": {[]debiantest.Member{format, control, control, files()}, errdefs.IsCorrupt},
		"no data archive":      {[]debiantest.Member{format, control}, errdefs.IsCorrupt},
		"unknown member":       {[]debiantest.Member{format, {Name: "x"}, control, files()}, errdefs.IsCorrupt},
		"many members":         {append([]debiantest.Member{format}, make([]debiantest.Member, 100)...), errdefs.IsCorrupt},
		"no control file":      {[]debiantest.Member{format, info("./postinst"), files()}, errdefs.IsCorrupt},
		"malformed control":    {[]debiantest.Member{format, info("./control"), files()}, errdefs.IsCorrupt},
		"info in a directory":  {[]debiantest.Member{format, info("./a/b"), files()}, errdefs.IsCorrupt},
		"info with dots":       {[]debiantest.Member{format, info("./.."), files()}, errdefs.IsCorrupt},
		"unknown compression":  {[]debiantest.Member{format, control, {Name: "data.tar.lzma"}}, errdefs.IsUnsupported},
		"not compressed":       {[]debiantest.Member{format, control, {Name: "data.tar.xz", Data: []byte("no")}}, errdefs.IsCorrupt},
		"dots":                 {[]debiantest.Member{format, control, files(debiantest.File{Name: "./../x"})}, errdefs.IsCorrupt},
		"dots inside":          {[]debiantest.Member{format, control, files(debiantest.File{Name: "./a/../b"})}, errdefs.IsCorrupt},
		"absolute":             {[]debiantest.Member{format, control, files(debiantest.File{Name: "/x"})}, errdefs.IsCorrupt},
		"two slashes":          {[]debiantest.Member{format, control, files(debiantest.File{Name: ".//x"})}, errdefs.IsCorrupt},
		"newline":              {[]debiantest.Member{format, control, files(debiantest.File{Name: "./x\ny"})}, errdefs.IsCorrupt},
		"hard link out":        {[]debiantest.Member{format, control, files(debiantest.File{Name: "./x", Type: tar.TypeLink, Link: "../y"})}, errdefs.IsCorrupt},
		"empty link":           {[]debiantest.Member{format, control, files(debiantest.File{Name: "./x", Type: tar.TypeSymlink})}, errdefs.IsCorrupt},
		"strange type":         {[]debiantest.Member{format, control, files(debiantest.File{Name: "./x", Type: tar.TypeCont})}, errdefs.IsCorrupt},
	} {
		if got, err := list(debiantest.Ar(tc.members...)); err == nil || !tc.is(err) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// The caller's error comes back as it is.
func TestStop(t *testing.T) {
	b := (debiantest.Deb{Name: "aa", Version: "1", Files: []debiantest.File{{Name: "./x"}}}).Bytes(t)
	d, err := deb.Open(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Files(func(*tar.Header, io.Reader) error { return io.ErrNoProgress }); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("error = %v", err)
	}
}

func FuzzOpen(f *testing.F) {
	for _, c := range []string{"", "gz", "zst"} {
		f.Add((debiantest.Deb{Name: "aa", Version: "1", Compression: c, Info: map[string]string{"postinst": "x"}, Files: []debiantest.File{{Name: "./usr/"}, {Name: "./usr/x", Body: "x"}, {Name: "./y", Type: tar.TypeLink, Link: "usr/x"}}}).Bytes(f))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := deb.Open(bytes.NewReader(b))
		if err != nil {
			return
		}
		for _, i := range d.Info {
			if strings.ContainsAny(i.Name, "/.") {
				t.Fatalf("info file %q", i.Name)
			}
		}
		left := int64(64 << 20)
		_ = d.Files(func(h *tar.Header, content io.Reader) error {
			if strings.HasPrefix(h.Name, "/") || strings.Contains("/"+h.Name+"/", "/../") {
				t.Fatalf("name %q", h.Name)
			}
			n, err := io.Copy(io.Discard, io.LimitReader(content, left))
			if left -= n; left <= 0 {
				return io.ErrNoProgress
			}
			return err
		})
	})
}
