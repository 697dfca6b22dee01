package index_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/camada/camada/base/debian/debiantest"
	"github.com/camada/camada/base/debian/index"
	"github.com/camada/camada/errdefs"
)

const text = "Origin: Debian\nSuite: stable\nCodename: bookworm\nDate: Sat, 11 Jul 2026 10:16:37 UTC\nValid-Until: Sat, 18 Jul 2026 10:16:37 UTC\n- dashed: x\n"

func keyring(t *testing.T, key *openpgp.Entity) *index.Keyring {
	t.Helper()
	var b bytes.Buffer
	w, err := armor.Encode(&b, openpgp.PublicKeyType, nil)
	if err == nil {
		err = key.Serialize(w)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	k, err := index.ParseKeyring(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestOpen(t *testing.T) {
	now := debiantest.Built().Add(time.Hour)
	mine, other := debiantest.NewKey(t), debiantest.NewKey(t)
	message := debiantest.Sign(t, mine, text)
	got, err := keyring(t, mine).Open(message, now)
	if err != nil || strings.ReplaceAll(string(got), "\r\n", "\n") != text {
		t.Errorf("Open = %q, %v", got, err)
	}
	if _, err := keyring(t, other).Open(message, now); !errdefs.IsPermission(err) {
		t.Errorf("with another key: %v", err)
	}
	if _, err := keyring(t, mine).Open(message, debiantest.Built().Add(-2*time.Hour)); !errdefs.IsPermission(err) {
		t.Errorf("before the key was made: %v", err)
	}
	// Signed by several keys, of which one is known: that one counts, wherever it stands.
	var b bytes.Buffer
	w, err := clearsign.EncodeMulti(&b, []*packet.PrivateKey{other.PrivateKey, debiantest.NewKey(t).PrivateKey, mine.PrivateKey}, &packet.Config{Time: debiantest.Built})
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write([]byte(text))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := keyring(t, mine).Open(b.Bytes(), now); err != nil {
		t.Errorf("signed by three: %v", err)
	}
	if n := keyring(t, mine).Only([]string{strings.Repeat("AB", 20)}).Len(); n != 0 {
		t.Errorf("%d keys have a fingerprint that none has", n)
	}
	if n := keyring(t, mine).Only([]string{mine.PrimaryKey.KeyIdString()}).Len(); n != 1 {
		t.Errorf("%d keys have the key's own ID", n)
	}
}

func TestRelease(t *testing.T) {
	sum := strings.Repeat("ab", 32)
	r, err := index.ParseRelease([]byte("Suite: stable\nCodename: bookworm\nAcquire-By-Hash: yes\nArchitectures: all amd64\nDate: Sat, 11 Jul 2026 10:16:37 UTC\nSHA256:\n " + sum + "  12 main/x\n"))
	if err != nil {
		t.Fatal(err)
	}
	if f, err := r.Find("main/none", "main/x"); err != nil || f.Size != 12 || f.SHA256 != sum || !r.ByHash || !r.SeparateAll() {
		t.Errorf("file = %+v, %v of %+v", f, err, r)
	}
	if _, err := r.Find("main/none"); !errdefs.IsNotFound(err) {
		t.Errorf("Find = %v", err)
	}
	at := time.Date(2026, 7, 12, 0, 0, 0, 0, time.UTC)
	for _, suite := range []string{"stable", "bookworm"} {
		if err := r.Check(suite, at, false); err != nil {
			t.Error(err)
		}
	}
	for name, bad := range map[string]string{
		"no date":    "Suite: x\n",
		"local time": "Date: Sat, 11 Jul 2026 10:16:37 CEST\n",
		"short sum":  "Date: Sat, 11 Jul 2026 10:16:37 UTC\nSHA256:\n abcd 1 x\n",
		"size":       "Date: Sat, 11 Jul 2026 10:16:37 UTC\nSHA256:\n " + sum + " -1 x\n",
		"path":       "Date: Sat, 11 Jul 2026 10:16:37 UTC\nSHA256:\n " + sum + " 1 ../x\n",
	} {
		if _, err := index.ParseRelease([]byte(bad)); !errdefs.IsCorrupt(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReadPackages(t *testing.T) {
	good := "Package: aa\nVersion: 1:2-3\nArchitecture: amd64\nSource: src (9)\nEssential: yes\nFilename: ./pool/a%20a.deb\nSize: 5\nSHA256: " + strings.Repeat("ab", 32) + "\n"
	var got []index.Package
	err := index.ReadPackages(strings.NewReader(good+"\n"+good), func(p index.Package) error {
		got = append(got, p)
		return nil
	})
	if err != nil || len(got) != 2 || got[0].Source != "src" || !got[0].Essential || got[1].Filename != "pool/a%20a.deb" {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, change := range [][2]string{
		{"Package: aa", "Package: ../a"}, {"Version: 1:2-3", "Version: x/y"}, {"Architecture: amd64", "Architecture: a/b"},
		{"pool/", "../"}, {"Size: 5", "Size: 0"}, {"Size: 5", "Size: five"}, {"SHA256: ab", "SHA256: zz"}, {"SHA256: ab", "SHA256: AB"},
	} {
		bad := strings.Replace(good, change[0], change[1], 1)
		if err := index.ReadPackages(strings.NewReader(bad), func(index.Package) error { return nil }); !errdefs.IsCorrupt(err) {
			t.Errorf("%s: %v", change[1], err)
		}
	}
	stop := errors.New("stop")
	if err := index.ReadPackages(strings.NewReader(good), func(index.Package) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("error of the caller: %v", err)
	}
}

func FuzzPackages(f *testing.F) {
	f.Add("Package: aa\nVersion: 1\nArchitecture: amd64\nFilename: pool/a.deb\nSize: 5\nSHA256: " + strings.Repeat("ab", 32) + "\n")
	f.Fuzz(func(t *testing.T, text string) {
		_ = index.ReadPackages(strings.NewReader(text), func(p index.Package) error {
			if strings.Contains("/"+p.Filename+"/", "/../") || strings.Contains(p.Name, "/") || p.Size <= 0 {
				t.Fatalf("unsafe package %+v", p)
			}
			return nil
		})
	})
}

func FuzzRelease(f *testing.F) {
	f.Add([]byte(text))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := index.ParseRelease(b); err == nil && r.Date.IsZero() {
			t.Fatal("a Release without a date")
		}
	})
}

// Nothing that was not signed is opened.
func FuzzOpen(f *testing.F) {
	key := debiantest.NewKey(f)
	var b bytes.Buffer
	if err := key.Serialize(&b); err != nil {
		f.Fatal(err)
	}
	ring, err := index.ParseKeyring(b.Bytes())
	if err != nil {
		f.Fatal(err)
	}
	message := debiantest.Sign(f, key, text)
	signed, err := ring.Open(message, debiantest.Built())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(message)
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, err := ring.Open(b, debiantest.Built()); err == nil && !bytes.Equal(got, signed) {
			t.Fatalf("%q was opened", got)
		}
		_, _ = index.ParseKeyring(b)
	})
}
