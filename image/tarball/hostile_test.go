package tarball_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image/imagetest"
	"github.com/camada/camada/image/tarball"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// endless gives entries without end and counts them.
type endless struct {
	entry []byte
	at    int
	n     int
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.entry[e.at:])
	if e.at += n; e.at == len(e.entry) {
		e.at = 0
		e.n++
	}
	return n, nil
}

func header(tb testing.TB, h tar.Header) []byte {
	tb.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	if err := w.WriteHeader(&h); err != nil {
		tb.Fatal(err)
	}
	_ = w.Flush() // pads where no data has to follow
	return buf.Bytes()
}

func TestHostile(t *testing.T) {
	s := newSample(t)
	config := file{name: "c.json", data: s.config}
	manifest := func(layers ...string) file {
		return file{name: "manifest.json", data: s.manifest(t, "c.json", layers...)}
	}
	one, two := file{name: "1", data: s.one}, file{name: "2", data: s.two}
	good := []file{one, two, config, manifest("1", "2", "1")}
	with := func(extra ...file) []byte { return pack(t, append(extra, good...)...) }
	if _, err := load(t, bytes.NewReader(with())); err != nil {
		t.Fatalf("the archive that the others are made from: %v", err)
	}
	wrong := digest.FromString("wrong").Encoded()
	// Go's writer refuses to write sparse files, so the record is put in afterwards.
	sparse := header(t, tar.Header{Typeflag: tar.TypeReg, Name: "sparse", Size: 512,
		PAXRecords: map[string]string{"XYZ.sparse.major": "1", "XYZ.sparse.minor": "0", "XYZ.sparse.realsize": "1099511627776"}})
	sparse = append(bytes.ReplaceAll(sparse, []byte("XYZ.sparse"), []byte("GNU.sparse")), "1\n1099511627776\n0\n"...)
	sparse = append(sparse, make([]byte, 2048)...)
	for name, tc := range map[string]struct {
		archive []byte
		class   errdefs.Class
		text    string
	}{
		"empty":                       {nil, errdefs.ErrInvalid, "no images"},
		"text":                        {[]byte(strings.Repeat("FROM scratch\n", 100)), errdefs.ErrInvalid, "no tar"},
		"some other tar":              {pack(t, file{name: "etc/passwd", data: "x"}), errdefs.ErrInvalid, "neither index.json nor manifest.json"},
		"before docker 1.10":          {pack(t, file{name: "repositories", data: "{}"}), errdefs.ErrUnsupported, "before 1.10"},
		"absolute name":               {with(file{name: "/etc/passwd", data: "x"}), errdefs.ErrCorrupt, `"/etc/passwd" is absolute`},
		"name out of the archive":     {with(file{name: "a/../../x", data: "x"}), errdefs.ErrCorrupt, "'..'"},
		"link out of the archive":     {with(file{name: "a/l", link: "../../x"}), errdefs.ErrCorrupt, "out of the archive"},
		"absolute link":               {with(file{name: "l", link: "/etc/passwd"}), errdefs.ErrCorrupt, "out of the archive"},
		"hard link out":               {with(file{name: "l", link: "../x", hard: true}), errdefs.ErrCorrupt, "'..'"},
		"file twice":                  {with(one), errdefs.ErrCorrupt, `"1": it is there twice`},
		"document twice":              {with(manifest("1", "2", "1")), errdefs.ErrCorrupt, `"manifest.json": it is there twice`},
		"file and link":               {with(file{name: "1", link: "2"}), errdefs.ErrCorrupt, "twice"},
		"blob twice":                  {with(file{name: "blobs/sha256/" + hex("x"), data: "x"}, file{name: "./blobs/sha256/" + hex("x"), data: "x"}), errdefs.ErrCorrupt, "twice"},
		"wrong digest":                {with(file{name: "blobs/sha256/" + wrong, data: "x"}), errdefs.ErrCorrupt, "blobs/sha256/" + wrong},
		"long name":                   {with(file{name: strings.Repeat("x", 5000), data: "x"}), errdefs.ErrLimit, "name of 5000 bytes"},
		"links in a circle":           {pack(t, file{name: "l", link: "m"}, file{name: "m", link: "l"}, config, manifest("l", "l", "l")), errdefs.ErrCorrupt, "links lead"},
		"link to nothing":             {pack(t, file{name: "l", link: "m"}, config, manifest("l", "l", "l")), errdefs.ErrCorrupt, `leads to "m"`},
		"layer is missing":            {pack(t, one, config, manifest("1", "2", "1")), errdefs.ErrCorrupt, `"2" is not in the archive`},
		"config is missing":           {pack(t, one, two, manifest("1", "2", "1")), errdefs.ErrCorrupt, `"c.json" is not in the archive`},
		"layer out of the archive":    {pack(t, one, two, config, manifest("../1", "2", "1")), errdefs.ErrCorrupt, "'..'"},
		"layers swapped":              {pack(t, one, two, config, manifest("2", "1", "1")), errdefs.ErrCorrupt, `layer "2": its diffID`},
		"compressed layers swapped":   {pack(t, file{name: "1", data: string(imagetest.Gzip([]byte(s.two)))}, two, config, manifest("1", "2", "1")), errdefs.ErrCorrupt, `layer "1"`},
		"damaged compressed layer":    {pack(t, file{name: "1", data: string(imagetest.Gzip([]byte(s.one))[:60])}, two, config, manifest("1", "2", "1")), errdefs.ErrCorrupt, `layer "1"`},
		"fewer layers than diff_ids":  {pack(t, one, two, config, manifest("1", "2")), errdefs.ErrCorrupt, "2 layers, and its config"},
		"config has another digest":   {pack(t, one, two, file{name: wrong + ".json", data: s.config}, file{name: "manifest.json", data: s.manifest(t, wrong+".json", "1", "2", "1")}), errdefs.ErrCorrupt, "the bytes have the digest"},
		"config is no JSON":           {pack(t, one, two, file{name: "c.json", data: "{"}, manifest("1", "2", "1")), errdefs.ErrCorrupt, "c.json"},
		"manifest.json is no JSON":    {pack(t, file{name: "manifest.json", data: "]"}), errdefs.ErrCorrupt, "manifest.json"},
		"manifest.json without image": {pack(t, file{name: "manifest.json", data: "[]"}), errdefs.ErrInvalid, "no images"},
		"index.json without image":    {pack(t, file{name: "index.json", data: `{"schemaVersion":2,"manifests":[]}`}), errdefs.ErrInvalid, "no images"},
		"index.json of no index":      {pack(t, file{name: "index.json", data: `{"schemaVersion":2,"layers":[],"manifests":[]}`}), errdefs.ErrCorrupt, "index.json"},
		"blob is missing":             {pack(t, file{name: "index.json", data: `{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:` + wrong + `","size":3}]}`}), errdefs.ErrCorrupt, wrong},
		"layout of another version":   {pack(t, file{name: "oci-layout", data: `{"imageLayoutVersion":"9"}`}, file{name: "index.json", data: `{}`}), errdefs.ErrUnsupported, "version"},
		"bad name of an image":        {pack(t, one, two, config, file{name: "manifest.json", data: strings.Replace(s.manifest(t, "c.json", "1", "2", "1"), "app:1", "../../x", 1)}), errdefs.ErrCorrupt, "../../x"},
		"device":                      {header(t, tar.Header{Typeflag: tar.TypeChar, Name: "null"}), errdefs.ErrCorrupt, "neither a file"},
		"sparse file":                 {sparse, errdefs.ErrUnsupported, "sparse"},
		"too many bytes":              {header(t, tar.Header{Typeflag: tar.TypeReg, Name: "x", Size: 1 << 40}), errdefs.ErrLimit, `"x"`},
		"big document":                {header(t, tar.Header{Typeflag: tar.TypeReg, Name: "index.json", Size: 1 << 30}), errdefs.ErrLimit, "index.json"},
	} {
		t.Run(name, func(t *testing.T) {
			loaded, err := load(t, bytes.NewReader(tc.archive))
			if !errors.Is(err, tc.class) || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("got %v, %v; want %s with %q", loaded, err, tc.class, tc.text)
			}
		})
	}
}

func load(tb testing.TB, r io.Reader) ([]tarball.Loaded, error) {
	return tarball.Load(context.Background(), r, &imagetest.Memory{}, tarball.LoadOptions{})
}

// TestTruncated cuts archives at every block, and in the middle of blocks: none may be
// taken for whole before all that counts is there, and no image may come of it that is not whole.
func TestTruncated(t *testing.T) {
	ctx := context.Background()
	s := newSample(t)
	for name, archive := range map[string][]byte{"docker 20": s.docker20(t), "docker 25": s.docker25(t)} {
		for at := 0; at < len(archive); at += 512 * 7 {
			for _, cut := range []int{at, at + 100} {
				store := &imagetest.Memory{}
				loaded, err := tarball.Load(ctx, bytes.NewReader(archive[:min(cut, len(archive))]), store, tarball.LoadOptions{})
				if err == nil {
					for _, l := range loaded {
						checkSame(t, store, l.Descriptor, store, l.Descriptor)
					}
				} else if !errdefs.IsCorrupt(err) && !errdefs.IsInvalid(err) && !errdefs.IsUnsupported(err) {
					t.Fatalf("%s cut at %d: %v", name, cut, err)
				}
			}
		}
	}
}

func TestEndlessEntries(t *testing.T) {
	for name, h := range map[string]tar.Header{
		"files":       {Typeflag: tar.TypeDir, Name: "d/"},
		"long names":  {Typeflag: tar.TypeDir, Name: strings.Repeat("d", 3000)},
		"global data": {Typeflag: tar.TypeXGlobalHeader, Name: "g", PAXRecords: map[string]string{"x": "y"}},
	} {
		src := &endless{entry: header(t, h)}
		_, err := tarball.Load(context.Background(), src, newStore(t), tarball.LoadOptions{MaxEntries: 1000})
		if !errdefs.IsLimit(err) {
			t.Errorf("%s: %v; want a limit", name, err)
		}
		if src.n > 3000 {
			t.Errorf("%s: %d entries were read", name, src.n)
		}
	}
	// Different names are kept in memory, but not without end.
	r, w := io.Pipe()
	go func() {
		tw := tar.NewWriter(w)
		for i := 0; ; i++ {
			if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: strings.Repeat("x", 3900) + string(rune('a'+i%26)) + strings.Repeat("y", i/26%90) + "z", Linkname: strings.Repeat("l", 4000)}); err != nil {
				return
			}
		}
	}()
	_, err := load(t, r)
	r.Close()
	if !errdefs.IsLimit(err) && !errdefs.IsCorrupt(err) {
		t.Errorf("names without end: %v", err)
	}
}

func TestGzipBomb(t *testing.T) {
	s := newSample(t)
	bomb := append(header(t, tar.Header{Typeflag: tar.TypeReg, Name: "x", Size: 64 << 20}), make([]byte, 64<<20)...)
	packed := imagetest.Gzip(append(bomb, s.docker20(t)...))
	_, err := tarball.Load(context.Background(), bytes.NewReader(packed), newStore(t), tarball.LoadOptions{MaxBytes: 1 << 20})
	if !errdefs.IsLimit(err) {
		t.Errorf("%d bytes became 64 MiB: %v", len(packed), err)
	}
}

// TestNothingIsSetOnFailure checks that a failed load leaves whole blobs only.
func TestNothingIsSetOnFailure(t *testing.T) {
	s := newSample(t)
	archive := s.docker25(t)
	i := bytes.Index(archive, []byte("2222"))
	archive[i] = 'x'
	store := newStore(t)
	if _, err := tarball.Load(context.Background(), bytes.NewReader(archive), store, tarball.LoadOptions{}); !errdefs.IsCorrupt(err) {
		t.Fatalf("a changed byte: %v", err)
	}
	err := store.Walk(context.Background(), func(i content.Info) error {
		_, err := content.ReadAll(context.Background(), store, ocispec.Descriptor{Digest: i.Digest, Size: i.Size}, 1<<30)
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func FuzzLoad(f *testing.F) {
	s := newSample(f)
	s.two = string(imagetest.Layer("two", "2"))
	for _, seed := range [][]byte{s.docker20(f), s.podman(f), s.crane(f), s.docker25(f), imagetest.Gzip(s.docker25(f))} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		store := &imagetest.Memory{}
		loaded, err := tarball.Load(context.Background(), bytes.NewReader(data), store, tarball.LoadOptions{MaxBytes: 16 << 20, MaxEntries: 1000})
		if err != nil {
			return
		}
		for _, l := range loaded {
			if err := tarball.Save(context.Background(), io.Discard, store, []tarball.Image{{Descriptor: l.Descriptor, Names: l.Names}}, tarball.SaveOptions{}); err != nil {
				t.Errorf("what was loaded cannot be saved: %v", err)
			}
		}
	})
}
