package debiantest

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// Archive is an archive of one suite, served on the loopback device until
// the test ends.
type Archive struct {
	// URL is the archive's address, Keyring a file with the key it is signed with.
	URL, Keyring string

	mu       sync.Mutex
	files    map[string][]byte
	requests map[string]int
	key      *openpgp.Entity
}

// Option changes the Release file before it is signed.
type Option func(release *string)

// Field sets a field of the Release file.
func Field(name, value string) Option {
	return func(release *string) {
		var out strings.Builder
		for line := range strings.Lines(*release) {
			if !strings.HasPrefix(line, name+":") {
				out.WriteString(line)
			}
		}
		*release = name + ": " + value + "\n" + out.String()
	}
}

// New makes an archive of the packages. Its Release is of Built plus a day.
func New(t testing.TB, suite string, debs []Deb, opts ...Option) *Archive {
	t.Helper()
	a := &Archive{files: map[string][]byte{}, requests: map[string]int{}, key: NewKey(t)}
	var packages bytes.Buffer
	for _, d := range debs {
		body := d.Bytes(t)
		name := fmt.Sprintf("pool/main/%s_%s.deb", d.Name, strings.ReplaceAll(d.Version, ":", "."))
		a.files["/"+name] = body
		fmt.Fprintf(&packages, "%sFilename: %s\nSize: %d\nSHA256: %x\n\n", d.Control(), name, len(body), sha256.Sum256(body))
	}
	index := gz(t, packages.Bytes())
	const path = "main/binary-amd64/Packages.gz"
	a.files["/dists/"+suite+"/"+path] = index
	release := fmt.Sprintf("Origin: Debian\nSuite: stable\nCodename: %s\nDate: %s\nArchitectures: amd64\nComponents: main\nSHA256:\n %x %d %s\n",
		suite, Built().Add(24*time.Hour).Format(time.RFC1123), sha256.Sum256(index), len(index), path)
	for _, o := range opts {
		o(&release)
	}
	a.files["/dists/"+suite+"/InRelease"] = Sign(t, a.key, release)
	a.Keyring = WriteKey(t, a.key)
	s := httptest.NewServer(a)
	t.Cleanup(s.Close)
	a.URL = s.URL
	return a
}

// ServeHTTP serves the archive's files.
func (a *Archive) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.requests[r.URL.Path]++
	body, ok := a.files[r.URL.Path]
	a.mu.Unlock()
	if !ok {
		http.NotFound(w, r)
		return
	}
	_, _ = w.Write(body)
}

// Change replaces a file, named by the end of its path.
func (a *Archive) Change(t testing.TB, suffix string, change func([]byte) []byte) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	for name, body := range a.files {
		if strings.HasSuffix(name, suffix) {
			a.files[name] = change(bytes.Clone(body))
			return
		}
	}
	t.Fatalf("the archive has no file %s", suffix)
}

// Requests returns how often a file was asked for, named by the end of its path.
func (a *Archive) Requests(suffix string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	for name, times := range a.requests {
		if strings.HasSuffix(name, suffix) {
			n += times
		}
	}
	return n
}

// NewKey makes a key that nobody trusts.
func NewKey(t testing.TB) *openpgp.Entity {
	t.Helper()
	cfg := &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA, Time: func() time.Time { return Built().Add(-time.Hour) }}
	key, err := openpgp.NewEntity("Test Archive", "", "archive@example.org", cfg)
	check(t, err)
	return key
}

// WriteKey writes a key's public half to a file.
func WriteKey(t testing.TB, key *openpgp.Entity) string {
	t.Helper()
	var b bytes.Buffer
	check(t, key.Serialize(&b))
	name := filepath.Join(t.TempDir(), "keyring.gpg")
	check(t, os.WriteFile(name, b.Bytes(), 0o644))
	return name
}

// Sign makes a clear-signed message.
func Sign(t testing.TB, key *openpgp.Entity, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := clearsign.Encode(&b, key.PrivateKey, &packet.Config{Time: func() time.Time { return Built() }})
	check(t, err)
	_, err = w.Write([]byte(text))
	check(t, err)
	check(t, w.Close())
	b.WriteByte('\n')
	return b.Bytes()
}
