package local

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry"
	"github.com/camada/camada/registry/local/kv"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func push(t *testing.T, s *Store, repository string, b []byte) digest.Digest {
	t.Helper()
	d := digest.FromBytes(b)
	check(t, s.PutBlob(t.Context(), repository, ocispec.Descriptor{Digest: d, Size: int64(len(b))}, bytes.NewReader(b)))
	return d
}

func pushManifest(t *testing.T, s *Store, repository, tag, doc string) digest.Digest {
	t.Helper()
	mediaType := "application/vnd.example+json"
	if strings.Contains(doc, "config") {
		mediaType = ocispec.MediaTypeImageManifest
	} else if strings.Contains(doc, "manifests") {
		mediaType = ocispec.MediaTypeImageIndex
	}
	m, err := registry.ParseManifest(mediaType, []byte(doc), digest.SHA256)
	check(t, err)
	check(t, s.PutManifest(t.Context(), repository, m, registry.PutOptions{Tags: []string{tag}}))
	return m.Descriptor.Digest
}

// blobFiles lists the files of blobs.
func blobFiles(t *testing.T, s *Store, d digest.Digest) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(s.root, "blobs/*/*", d.Encoded()+"-*"))
	check(t, err)
	return found
}

// TestScrubDamage: every kind of damage is told, once, and a push mends what it can.
func TestScrubDamage(t *testing.T) {
	s, err := Open(t.Context(), t.TempDir(), Options{})
	check(t, err)
	defer s.Close()
	big := func(i int) []byte { return bytes.Repeat([]byte{byte(i)}, 100_000) }
	flipped, short, lostFile := push(t, s, "a", big(1)), push(t, s, "a", big(2)), push(t, s, "a", big(3))
	little := []byte("a small blob that lies in the journal")
	small := push(t, s, "a", little)
	good := push(t, s, "a", []byte("good"))
	doc := fmt.Sprintf(`{"schemaVersion":2,"config":{"digest":%q,"size":4}}`, good)
	m := pushManifest(t, s, "a", "good", doc)
	pushManifest(t, s, "a", "index", fmt.Sprintf(`{"schemaVersion":2,"manifests":[{"digest":%q,"size":4}]}`, m))
	other := pushManifest(t, s, "b", "other", `{"a":"document of which a byte will be another"}`)
	gone := push(t, s, "c", []byte("gone"))
	pushManifest(t, s, "c", "broken", fmt.Sprintf(`{"schemaVersion":2,"config":{"digest":%q,"size":4}}`, gone))
	problems := func() []string {
		t.Helper()
		var list []string
		r, err := s.Scrub(t.Context(), func(p registry.Problem) error {
			list = append(list, strings.TrimSpace(p.What+" "+p.Repository+" "+p.Digest.String()))
			return nil
		})
		check(t, err)
		if r.Problems != len(list) {
			t.Errorf("%d problems were told, the report says %d", len(list), r.Problems)
		}
		slices.Sort(list)
		return list
	}
	if list := problems(); len(list) != 0 {
		t.Fatalf("problems before there are any: %q", list)
	}
	flip(t, blobFiles(t, s, flipped)[0], big(1)[:10])
	check(t, os.Truncate(blobFiles(t, s, short)[0], 99_999))
	check(t, os.Remove(blobFiles(t, s, lostFile)[0]))
	for _, text := range [][]byte{little, []byte("of which a byte")} {
		for _, log := range must(filepath.Glob(filepath.Join(s.root, "db/*.log"))) {
			flip(t, log, text)
		}
	}
	stray := filepath.Join(s.root, "blobs/sha256", "stray")
	check(t, os.WriteFile(stray, nil, 0o600))
	check(t, os.WriteFile(blobFiles(t, s, flipped)[0]+"x", nil, 0o600))
	var b kv.Batch
	b.Delete(blobKey("c", gone))
	b.Delete(manifestKey("a", m))
	_, err = s.db.Write(&b)
	check(t, err)
	want := []string{
		"bad-blob  " + flipped.String(), "bad-blob  " + short.String(), "bad-blob  " + lostFile.String(), "bad-blob  " + small.String(),
		"bad-blob  " + other.String(), "bad-manifest b " + other.String(), "missing-blob c " + gone.String(),
		"missing-manifest a " + m.String(), "bad-tag a " + m.String(), "stray", "stray  " + flipped.String(),
	}
	slices.Sort(want)
	for range 2 {
		if got := problems(); !slices.Equal(got, want) {
			t.Fatalf("problems:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	if _, err := s.StatBlob(t.Context(), "a", flipped); !errdefs.IsNotFound(err) {
		t.Errorf("StatBlob of what is damaged: %v", err)
	}
	for i := range 3 {
		push(t, s, "a", big(i+1))
	}
	push(t, s, "a", little)
	push(t, s, "c", []byte("gone"))
	pushManifest(t, s, "b", "other", `{"a":"document of which a byte will be another"}`)
	pushManifest(t, s, "a", "good", doc)
	time.Sleep(20 * time.Millisecond)
	_, err = s.Sweep(t.Context(), registry.SweepOptions{Grace: time.Minute})
	check(t, err)
	if got := problems(); len(got) != 0 {
		t.Errorf("problems after all was pushed again: %q", got)
	}
	for i, d := range []digest.Digest{flipped, short, lostFile} {
		r, err := s.OpenBlob(t.Context(), "a", d)
		check(t, err)
		got := make([]byte, 100_000)
		if _, err := r.ReadAt(got, 0); err != nil || !bytes.Equal(got, big(i+1)) {
			t.Errorf("blob %d after it was mended: %v", i, err)
		}
		r.Close()
	}
}

func must(list []string, _ error) []string { return list }

// flip changes the byte before the end of a text in a file, if it is there.
func flip(t *testing.T, path string, text []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	check(t, err)
	at := bytes.Index(b, text)
	if at < 0 {
		return
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	check(t, err)
	defer f.Close()
	_, err = f.WriteAt([]byte{text[len(text)-1] ^ 1}, int64(at+len(text)-1))
	check(t, err)
}

func TestOneOwner(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(t.Context(), dir, Options{})
	check(t, err)
	_, err = Open(t.Context(), dir, Options{})
	if !errdefs.IsUnavailable(err) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("a second one: %v", err)
	}
	check(t, s.Close())
	s, err = Open(t.Context(), dir, Options{})
	check(t, err)
	check(t, s.Close())
}

// TestUntrustedState: a noted state of a hash that is torn or lies costs a second reading, no more.
func TestUntrustedState(t *testing.T) {
	s, err := Open(t.Context(), t.TempDir(), Options{})
	check(t, err)
	defer s.Close()
	lie := func(boot, alg string, at int64, state string) string {
		return string(fields(nil).text(boot).text(alg).number(at).text(state))
	}
	for i, state := range []string{
		"", "x", lie("other", "sha256", 3, "x"), lie(bootID(), "sha256", 3, "x"), lie(bootID(), "sha256", 1<<40, ""), lie(bootID(), "sha512", 3, ""),
		lie(bootID(), "sha256", -1, ""),
	} {
		u, err := s.NewUpload(t.Context(), "a", digest.SHA256)
		check(t, err)
		_, err = u.Append(t.Context(), strings.NewReader("hello "))
		check(t, err)
		check(t, u.Close())
		check(t, os.WriteFile(s.uploadPath(u.ID())+stateSuffix, []byte(state), 0o600))
		u, err = s.OpenUpload(t.Context(), "a", u.ID())
		check(t, err)
		_, err = u.Append(t.Context(), strings.NewReader("world"))
		check(t, err)
		if _, err := u.Commit(t.Context(), digest.FromString("hello world")); err != nil {
			t.Errorf("state %d: %v", i, err)
		}
	}
	if left := must(filepath.Glob(filepath.Join(s.root, "uploads/*"))); len(left) != 0 {
		t.Errorf("uploads are left: %v", left)
	}
}

func FuzzValues(f *testing.F) {
	f.Add(manifestEntry{mediaType: "x", requires: []registry.Requirement{{Digest: digest.FromString("x"), Manifest: true}}}.encode())
	f.Add(encodeReferrer(ocispec.Descriptor{MediaType: "x", Annotations: map[string]string{"a": "b"}}))
	f.Add(stored{size: 3, file: "x"}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		for what, err := range map[string]error{
			"manifest": second(decodeManifest(b)), "referrer": second(decodeReferrer("", b)), "content": second(decodeStored(kv.Entry{Head: b})),
			"tag": second(decodeTag("", b)), "upload": second(decodeUpload(b)), "log": second(decodeLog(b, b)),
		} {
			if err != nil && !errdefs.IsCorrupt(err) {
				t.Errorf("%s: %v", what, err)
			}
		}
		// What can be read is written so that it is read as the same.
		if m, err := decodeManifest(b); err == nil {
			if again, err := decodeManifest(m.encode()); err != nil || !reflect.DeepEqual(m, again) {
				t.Errorf("%+v became %+v, %v", m, again, err)
			}
		}
		if u, err := decodeUpload(b); err == nil {
			if again, err := decodeUpload(u.encode()); err != nil || u != again {
				t.Errorf("%+v became %+v, %v", u, again, err)
			}
		}
		if tag, err := decodeTag("", b); err == nil {
			if again, err := decodeTag("", encodeTag(tag)); err != nil || !reflect.DeepEqual(tag, again) || content.CheckDigest(tag.Descriptor.Digest) != nil {
				t.Errorf("%+v became %+v, %v", tag, again, err)
			}
		}
		if c, err := decodeStored(kv.Entry{Head: b, BodySize: 3}); err == nil && (c.size < 0 || strings.Contains(c.file, "..") && !fs.ValidPath(c.file)) {
			t.Errorf("%+v", c)
		}
	})
}

func second[T any](_ T, err error) error { return err }
