package secret

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func zipOf(t testing.TB, method uint16, files ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		f, err := w.CreateHeader(&zip.FileHeader{Name: files[i], Method: method})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(f, files[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// zipStored is what zip(1) writes of a small file: stored, and how big it is in front of it.
func zipStored(t testing.TB, name, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	f, err := w.CreateRaw(&zip.FileHeader{Name: name, Method: zip.Store, CompressedSize64: uint64(len(text)), UncompressedSize64: uint64(len(text))})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(f, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipOf(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func found(res Result) string {
	var out []string
	for _, f := range res.Findings {
		out = append(out, f.Rule+" "+f.Path)
	}
	return strings.Join(out, ", ")
}

// TestFile finds a secret in archives of all kinds, and in archives in them.
func TestFile(t *testing.T) {
	s, r := scanner(t), random()
	token := r.signed("ghp" + "_")
	text := strings.Repeat("some words\n", 40000) + token + "\n"
	jar := zipOf(t, zip.Deflate, "META-INF/", "", "a.properties", "x=1\n", "BOOT-INF/b.properties", text, "c", token)
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"plain":      {[]byte(text), "github-pat plain"},
		"empty":      {nil, ""},
		"log.gz":     {gzipOf(t, []byte(text)), "github-pat log.gz"},
		"id.p12.gz":  {gzipOf(t, []byte("x")), "pkcs12-file id.p12.gz"},
		"a.tar":      {layerOf(t, "./etc/x", text, "../y", token), "github-pat a.tar!/etc/x, github-pat a.tar!/y"},
		"a.tgz":      {gzipOf(t, layerOf(t, "etc/x", text)), "github-pat a.tgz!/etc/x"},
		"app.jar":    {jar, "github-pat app.jar!/BOOT-INF/b.properties, github-pat app.jar!/c"},
		"stored":     {zipStored(t, "x", text), "github-pat stored!/x"},
		"unsized":    {zipOf(t, zip.Store, "x", text), "github-pat unsized"},
		"fat.jar":    {zipOf(t, zip.Deflate, "lib/app.jar", string(jar), "z", token), "github-pat fat.jar!/lib/app.jar!/BOOT-INF/b.properties, github-pat fat.jar!/lib/app.jar!/c, github-pat fat.jar!/z"},
		"layers":     {layerOf(t, "a.tgz", string(gzipOf(t, layerOf(t, "b.jar", string(jar))))), "github-pat layers!/a.tgz!/b.jar!/BOOT-INF/b.properties, github-pat layers!/a.tgz!/b.jar!/c"},
		"behind.zip": {append(zipOf(t, zip.Deflate, "x", "y"), token...), "github-pat behind.zip"},
		"begun.zip":  {[]byte("PK\x03\x04" + token), "github-pat begun.zip"},
	} {
		for kind, in := range map[string]io.Reader{"whole": bytes.NewReader(c.data), "in pieces": iotest.HalfReader(bytes.NewReader(c.data))} {
			res, err := s.File(t.Context(), in, name)
			if got := found(res); err != nil || got != c.want || len(res.Closed) > 0 {
				t.Errorf("%s, %s: %s, %v, %v", name, kind, got, res.Closed, err)
			}
		}
	}
}

// TestFileLimits wants an end of what has no end, and to be told of it.
func TestFileLimits(t *testing.T) {
	s, r := scanner(t), random()
	token := []byte(r.signed("ghp" + "_"))
	deep := token
	for range maxNested + 1 {
		deep = gzipOf(t, deep)
	}
	res, err := s.File(t.Context(), bytes.NewReader(deep), "deep")
	if err != nil || len(res.Findings) > 0 || len(res.Closed) != 1 {
		t.Errorf("too deep: %+v, %v", res, err)
	}
	bomb := gzipOf(t, make([]byte, ratioAfter+(8<<20)))
	res, err = s.File(t.Context(), bytes.NewReader(layerOf(t, "bomb", string(bomb), "after", string(token))), "b.tar")
	if err != nil || found(res) != "github-pat b.tar!/after" || len(res.Closed) != 1 || res.Closed[0] != "b.tar!/bomb" {
		t.Errorf("a bomb: %+v, %v", res, err)
	}
	d := &dig{s: s, members: maxMembers}
	d.left.Store(100)
	if err := d.look(t.Context(), bytes.NewReader(gzipOf(t, make([]byte, 1000))), "x", "x", 0); err != nil || len(d.res.Closed) != 1 {
		t.Errorf("more than may come out: %+v, %v", d.res, err)
	}

	// What ends too early is looked at as far as it goes; but an error of the file itself stays one.
	cut := gzipOf(t, append(append(token, '\n'), r.bytes(50000)...))
	cut = cut[:len(cut)-100]
	if res, err := s.File(t.Context(), bytes.NewReader(cut), "cut"); err != nil || len(res.Findings) != 1 {
		t.Errorf("cut off: %+v, %v", res, err)
	}
	if res, err := s.File(t.Context(), bytes.NewReader(layerOf(t, "x", string(token)+"\n"+string(r.bytes(5000)))[:3000]), "cut.tar"); err != nil || len(res.Findings) != 1 {
		t.Errorf("a tar that is cut off: %+v, %v", res, err)
	}
	jar := zipOf(t, zip.Deflate, "x", string(r.bytes(50000)))
	if _, err := s.File(t.Context(), bytes.NewReader(jar[:20000]), "cut.jar"); err != nil {
		t.Error(err)
	}
	for name, data := range map[string][]byte{"gzip": cut, "zip": jar[:20000], "tar": layerOf(t, "x", string(r.bytes(5000)))[:3000]} {
		for _, want := range []error{io.ErrClosedPipe, io.ErrUnexpectedEOF} {
			if _, err := s.File(t.Context(), io.MultiReader(bytes.NewReader(data), iotest.ErrReader(want)), name); !errors.Is(err, want) {
				t.Errorf("%s: an error of the file is lost: %v", name, err)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.File(ctx, bytes.NewReader(jar), "x"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// sparse is a tar with a file of GNU's old sparse form, which says of itself that it has size bytes: data, and then a hole.
func sparse(name, data string, size int64) []byte {
	b := make([]byte, 512, 2048)
	copy(b, name)
	copy(b[100:], "0000644\x000000000\x000000000\x00")
	copy(b[124:], fmt.Sprintf("%011o\x00%011o\x00        S", len(data), 0))
	copy(b[257:], "ustar  \x00")
	copy(b[386:], fmt.Sprintf("%011o\x00%011o\x00", 0, len(data)))
	copy(b[483:], fmt.Sprintf("%011o\x00", size))
	sum := 0
	for _, c := range b {
		sum += int(c)
	}
	copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
	b = append(b, data...)
	return append(b, make([]byte, (512-len(data)%512)%512+1024)...)
}

// TestFileKinds looks into all entries of a tar that become files when it is unpacked, and reads no hole without end.
func TestFileKinds(t *testing.T) {
	s, r := scanner(t), random()
	token := r.signed("ghp" + "_")
	var cont bytes.Buffer
	w := tar.NewWriter(&cont)
	if err := errors.Join(w.WriteHeader(&tar.Header{Typeflag: tar.TypeCont, Name: "srv/x", Size: int64(len(token)), Mode: 0o644}), second(io.WriteString(w, token)), w.Close()); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"contiguous": cont.Bytes(), "sparse": sparse("srv/x", token, 100_000)} {
		sum, err := s.Tar(t.Context(), bytes.NewReader(data))
		if got := found(Result{Findings: sum.Findings}); err != nil || got != "github-pat srv/x" || len(sum.Closed) > 0 {
			t.Errorf("%s: %s, %v, %v", name, got, sum.Closed, err)
		}
		res, err := s.File(t.Context(), bytes.NewReader(data), "a.tar")
		if got := found(res); err != nil || got != "github-pat a.tar!/srv/x" || len(res.Closed) > 0 {
			t.Errorf("%s in a file: %s, %v, %v", name, got, res.Closed, err)
		}
	}
	d := &dig{s: s, members: maxMembers}
	d.left.Store(1 << 20)
	res, err := d.file(t.Context(), bytes.NewReader(sparse("x", token, 7<<30)), "a.tar")
	if got := found(res); err != nil || got != "github-pat a.tar!/x" || len(res.Closed) != 1 {
		t.Errorf("a hole of 7 GB: %s, %v, %v", got, res.Closed, err)
	}
}

func second[T any](_ T, err error) error { return err }

// TestFileNames wants long names of archives in each other, and many of them, to take no memory.
func TestFileNames(t *testing.T) {
	s, r := scanner(t), random()
	token := r.signed("ghp" + "_")
	long := strings.Repeat("n", 100_000)
	res, err := s.File(t.Context(), bytes.NewReader(layerOf(t, long, string(layerOf(t, "x", token, "y", token)))), "a.tar")
	if err != nil || len(res.Findings) != 2 || len(res.Findings[0].Path) > maxName+3 {
		t.Errorf("long names: %d findings, %v", len(res.Findings), err)
	}
	sum, err := s.Tar(t.Context(), bytes.NewReader(layerOf(t, long, token)))
	if err != nil || len(sum.Findings) != 1 || len(sum.Findings[0].Path) > maxName+3 {
		t.Errorf("a long name: %d findings, %v", len(sum.Findings), err)
	}
	var many []string
	for range 2 * MaxFindings {
		many = append(many, "x", string(gzipOf(t, nil)))
	}
	deep := layerOf(t, many...)
	for range maxNested - 1 {
		deep = layerOf(t, "y", string(deep))
	}
	if res, err := s.File(t.Context(), bytes.NewReader(deep), "a.tar"); err != nil || len(res.Closed) != MaxFindings || res.Closed[MaxFindings-1] != "a.tar" {
		t.Errorf("many archives too deep: %d are told, %v", len(res.Closed), err)
	}
}

// TestFileTold wants of secrets that are not told no fingerprints, which take time.
func TestFileTold(t *testing.T) {
	s, r := scanner(t), random()
	var files []string
	for i := range 3 {
		var b strings.Builder
		for range MaxFindings/2 + 1 {
			b.WriteString(r.signed("ghp"+"_") + "\n")
		}
		files = append(files, fmt.Sprint(i), b.String())
	}
	res, err := s.File(t.Context(), bytes.NewReader(layerOf(t, files...)), "a.tar")
	if err != nil || len(res.Findings) != MaxFindings || !res.More || len(s.prints) != MaxFindings {
		t.Errorf("%d findings, more: %v, %d fingerprints, %v", len(res.Findings), res.More, len(s.prints), err)
	}
	d := budget{maxUnpacked, maxMembers}.dig(s)
	d.before = MaxTotal - 2
	sum := Summary{Findings: make([]Finding, d.before)}
	if res, err = d.file(t.Context(), strings.NewReader(files[1]), "x"); err != nil || len(res.Findings) != 2 || !res.More {
		t.Errorf("the last of a layer: %d findings, more: %v, %v", len(res.Findings), res.More, err)
	}
	if sum.add("x", 1, res); len(sum.Findings) != MaxTotal || !sum.Cut || len(sum.More) > 0 {
		t.Errorf("a layer: %d findings, cut: %v, more of %v", len(sum.Findings), sum.Cut, sum.More)
	}
}

// TestFileForms wants what cannot be unpacked to be told, and a text that begins as an archive does to be read.
func TestFileForms(t *testing.T) {
	s, r := scanner(t), random()
	token := r.signed("ghp" + "_")
	if res, err := s.File(t.Context(), strings.NewReader("BZhello "+token), "text"); err != nil || found(res) != "github-pat text" {
		t.Errorf("a text: %s, %v", found(res), err)
	}
	packed := zipStored(t, "x", token)
	packed[8] = 93 // zstd (APPNOTE.TXT, 4.4.5)
	if res, err := s.File(t.Context(), bytes.NewReader(packed), "a.zip"); err != nil || len(res.Closed) != 1 || res.Closed[0] != "a.zip!/x" {
		t.Errorf("a zip with zstd in it: %v, %v", res.Closed, err)
	}
}

// FuzzFile wants of any bytes no panic, no error, and what Scan finds when they are no archive.
func FuzzFile(f *testing.F) {
	r := random()
	token := r.signed("ghp" + "_")
	jar := zipOf(f, zip.Deflate, "a", token, "b/", "")
	for _, data := range [][]byte{[]byte(token), jar, zipStored(f, "x", token), gzipOf(f, jar), layerOf(f, "a", string(jar)), sparse("a", token, 1<<30), zipOf(f, zip.Store, "x", "y"), []byte("BZh9"), []byte("\xfd7zXZ\x00"), []byte("\x28\xb5\x2f\xfd\x00"),
		[]byte("Caf\xe9 key=" + r.of(alnum, 20)), []byte("ȺȺ key = " + r.of(alnum, 20)), []byte("caf\xe9 PUSHBULLET_KEY=" + r.of(alnum, 20))} {
		f.Add(data)
	}
	s, err := New()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<16 {
			return
		}
		d := &dig{s: s, members: maxMembers}
		d.left.Store(8 << 20)
		if err := d.look(t.Context(), bytes.NewReader(data), "x", "x", 0); err != nil {
			t.Fatal(err)
		}
		if d.opener(data[:min(len(data), 512)]) == nil {
			if want, _ := s.Scan(t.Context(), bytes.NewReader(data), "x"); len(want.Findings) != len(d.res.Findings) {
				t.Fatalf("%d and %d findings", len(want.Findings), len(d.res.Findings))
			}
		}
	})
}

// TestLayerLimits ends the look into archives where those of a layer together have had too much.
func TestLayerLimits(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := range 3 {
		data := zipOf(t, zip.Deflate, "a", strings.Repeat("words ", 200), "b", "more")
		if err := w.WriteHeader(&tar.Header{Name: fmt.Sprintf("%d.zip", i), Size: int64(len(data)), Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		left budget
		want string
	}{
		"enough": {budget{maxLayerUnpacked, maxLayerMembers}, ""}, "bytes": {budget{2500, maxLayerMembers}, "2.zip"}, "files": {budget{maxLayerUnpacked, 3}, "1.zip 2.zip"},
	} {
		sum, err := scanner(t).tar(t.Context(), bytes.NewReader(b.Bytes()), c.left)
		if err != nil {
			t.Fatal(err)
		}
		var outer []string
		for _, name := range sum.Closed {
			name, _, _ = strings.Cut(name, Inside)
			if !slices.Contains(outer, name) {
				outer = append(outer, name)
			}
		}
		if got := strings.Join(outer, " "); got != c.want {
			t.Errorf("%s: closed %v, want %s", name, sum.Closed, c.want)
		}
	}
}
