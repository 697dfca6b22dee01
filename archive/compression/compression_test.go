package compression_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/camada/camada/archive/compression"
	"github.com/camada/camada/errdefs"
)

// sample is the same for ever: text that compresses, numbers that hardly do, and zeros.
func sample(size int) []byte {
	rnd := rand.New(rand.NewPCG(1, 2))
	var b bytes.Buffer
	for b.Len() < size {
		switch rnd.IntN(4) {
		case 0:
			for range 2000 {
				b.WriteString("line " + strconv.Itoa(rnd.IntN(5000)) + " of a file\n")
			}
		case 1:
			for range 3000 {
				b.WriteByte(byte(rnd.Uint32()))
			}
		case 2:
			b.Write(make([]byte, rnd.IntN(9000)))
		default:
			b.WriteString(strings.Repeat("abcdefgh"[:1+rnd.IntN(7)], rnd.IntN(700)))
		}
	}
	return b.Bytes()[:size]
}

func compress(t testing.TB, a compression.Algorithm, data []byte, chunk func() int) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := compression.NewWriter(&out, a)
	if err != nil {
		t.Fatal(err)
	}
	for len(data) > 0 {
		n := min(chunk(), len(data))
		if _, err := w.Write(data[:n]); err != nil {
			t.Fatal(err)
		}
		data = data[n:]
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func whole() int { return 1 << 30 }

// The digests are a promise: the same layer has the same digest from every build of a
// release. When a new release of a compressor changes them, say so in the changelog.
func TestGoldenDigests(t *testing.T) {
	data := sample(5 << 20)
	for a, want := range map[compression.Algorithm]string{
		compression.None: "4e8e85439d812ac686ede070fe1640f67a0ac254f47073094e5b5f9cac73ca58",
		compression.Gzip: "d6f721d74a4895478b7bc232c65bee31b5475d2298c2bdceb07d47c219ed0832",
		compression.Zstd: "e2c435aa7c056a1f3ede21074b249cad7a2e9088765f4e853e2193ed31579aea",
	} {
		sum := sha256.Sum256(compress(t, a, data, whole))
		if got := hex.EncodeToString(sum[:]); got != want {
			t.Errorf("%s: digest %s, want %s", a, got, want)
		}
	}
}

func TestBytesDependOnTheInputAlone(t *testing.T) {
	for _, size := range []int{0, 1, 512 << 10, 3<<20 + 17, 20 << 20} {
		data := sample(size)
		for _, a := range []compression.Algorithm{compression.Gzip, compression.Zstd} {
			want := compress(t, a, data, whole)
			for _, cores := range []int{1, 2, 8} {
				old := runtime.GOMAXPROCS(cores)
				rnd := rand.New(rand.NewPCG(uint64(cores), 7))
				got := compress(t, a, data, func() int { return 1 + rnd.IntN(300<<10) })
				runtime.GOMAXPROCS(old)
				if !bytes.Equal(got, want) {
					t.Errorf("%s of %d bytes on %d cores in random writes: %d bytes differ from the %d of one write", a, size, cores, len(got), len(want))
				}
			}
		}
	}
}

func TestRoundTrip(t *testing.T) {
	data := sample(3<<20 + 5)
	for _, a := range []compression.Algorithm{compression.None, compression.Gzip, compression.Zstd} {
		for _, in := range [][]byte{nil, data[:1], data} {
			packed := compress(t, a, in, whole)
			if got := compression.Detect(packed); got != a && len(in) > 0 {
				t.Errorf("Detect of %s = %s", a, got)
			}
			got, err := readAll(packed, compression.Limits{})
			if err != nil || !bytes.Equal(got, in) {
				t.Errorf("%s of %d bytes: %d bytes come back, %v", a, len(in), len(got), err)
			}
		}
	}
}

func readAll(b []byte, l compression.Limits) ([]byte, error) {
	r, err := compression.NewReader(bytes.NewReader(b), l)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// Streams of the tools that people use.
func TestForeignTools(t *testing.T) {
	data := sample(300 << 10)
	for _, args := range [][]string{{"gzip", "-c"}, {"bzip2", "-c"}, {"xz", "-c"}, {"xz", "-9", "-c"}, {"zstd", "-c", "-19"}} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			if _, err := exec.LookPath(args[0]); err != nil {
				t.Skip(err)
			}
			cmd := exec.Command(args[0], args[1:]...)
			cmd.Stdin = bytes.NewReader(data)
			packed, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			if a := compression.Detect(packed); string(a) != args[0] {
				t.Errorf("Detect = %s", a)
			}
			twice := append(bytes.Clone(packed), packed...)
			got, err := readAll(twice, compression.Limits{})
			if err != nil || !bytes.Equal(got, append(bytes.Clone(data), data...)) {
				t.Errorf("two streams in a row: %d bytes, %v", len(got), err)
			}
			for _, cut := range []int{len(packed) - 1, len(packed) / 2, 8} {
				if _, err := readAll(packed[:cut], compression.Limits{}); !errdefs.IsCorrupt(err) {
					t.Errorf("cut to %d of %d bytes: %v, want corrupt", cut, len(packed), err)
				}
			}
		})
	}
}

func TestOursReadByOthers(t *testing.T) {
	data := sample(2 << 20)
	for tool, a := range map[string]compression.Algorithm{"gzip": compression.Gzip, "zstd": compression.Zstd} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Log("skipped:", err)
			continue
		}
		cmd := exec.Command(tool, "-dc")
		cmd.Stdin = bytes.NewReader(compress(t, a, data, whole))
		got, err := cmd.Output()
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s reads %d bytes, %v", tool, len(got), err)
		}
	}
}

func TestLimits(t *testing.T) {
	zeros := make([]byte, 8<<20)
	for _, a := range []compression.Algorithm{compression.Gzip, compression.Zstd} {
		packed := compress(t, a, zeros, whole)
		if n, err := readAll(packed, compression.Limits{MaxBytes: 4 << 20}); !errdefs.IsLimit(err) || len(n) > 4<<20 {
			t.Errorf("%s beyond MaxBytes: %d bytes, %v", a, len(n), err)
		}
		if _, err := readAll(packed, compression.Limits{MaxRatio: 50, RatioAfter: 1 << 20}); !errdefs.IsLimit(err) {
			t.Errorf("%s beyond MaxRatio: %v", a, err)
		}
		if _, err := readAll(packed, compression.Limits{MaxBytes: 8 << 20}); err != nil {
			t.Errorf("%s of exactly MaxBytes: %v", a, err)
		}
	}
	if _, err := readAll(zeros, compression.Limits{MaxBytes: 1 << 20}); !errdefs.IsLimit(err) {
		t.Errorf("plain beyond MaxBytes: %v", err)
	}
	// A frame header that asks for a window of 2 GiB.
	if _, err := readAll([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0, 0, 0, 0, 0, 0, 0}, compression.Limits{}); !errdefs.IsLimit(err) {
		t.Errorf("zstd window of 2 GiB: %v", err)
	}
	// A block header that asks for a dictionary of 4 GiB.
	header := []byte{2, 0, 0x21, 1, 40, 0, 0, 0}
	xz := append([]byte{0xfd, '7', 'z', 'X', 'Z', 0, 0, 4, 0xe6, 0xd6, 0xb4, 0x46}, header...)
	xz = binary.LittleEndian.AppendUint32(xz, crc32.ChecksumIEEE(header))
	if _, err := readAll(xz, compression.Limits{}); !errdefs.IsLimit(err) {
		t.Errorf("xz dictionary of 4 GiB: %v", err)
	}
}

func TestSourceErrorIsKept(t *testing.T) {
	packed := compress(t, compression.Gzip, sample(1<<20), whole)
	boom := errors.New("connection reset")
	r, err := compression.NewReader(io.MultiReader(bytes.NewReader(packed[:len(packed)/2]), failing{boom}), compression.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := io.Copy(io.Discard, r); !errors.Is(err, boom) || errdefs.IsCorrupt(err) {
		t.Errorf("error = %v, want the source's own", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestCloseEarly(t *testing.T) {
	before := runtime.NumGoroutine()
	packed := compress(t, compression.Gzip, sample(8<<20), whole)
	r, err := compression.NewReader(bytes.NewReader(packed), compression.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	r.Close()
	wantGoroutines(t, before)
}

// A disk that is full leaves no goroutine behind.
func TestWriterBelowFails(t *testing.T) {
	data := sample(8 << 20)
	for _, a := range []compression.Algorithm{compression.None, compression.Gzip, compression.Zstd} {
		for _, after := range []int{0, 5, 1 << 20} {
			before := runtime.NumGoroutine()
			boom := errors.New("no space left")
			w, err := compression.NewWriter(&full{after, boom}, a)
			if err != nil {
				t.Fatal(err)
			}
			for rest := data; len(rest) > 0 && err == nil; rest = rest[1<<16:] {
				_, err = w.Write(rest[:1<<16])
			}
			if cerr := w.Close(); err == nil {
				err = cerr
			}
			if !errors.Is(err, boom) {
				t.Errorf("%s after %d bytes: %v", a, after, err)
			}
			wantGoroutines(t, before)
		}
	}
}

type full struct {
	left int
	err  error
}

func (f *full) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, f.err
	}
	return len(p), nil
}

// wantGoroutines waits for those that are on their way out.
func wantGoroutines(t *testing.T, want int) {
	t.Helper()
	for range 500 {
		if runtime.NumGoroutine() <= want {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), want)
}

func TestMediaTypes(t *testing.T) {
	for _, a := range []compression.Algorithm{compression.None, compression.Gzip, compression.Zstd} {
		if got, err := compression.FromMediaType(compression.MediaType(a)); got != a || err != nil {
			t.Errorf("FromMediaType(MediaType(%s)) = %s, %v", a, got, err)
		}
	}
	for mt, want := range map[string]compression.Algorithm{
		"application/vnd.docker.image.rootfs.diff.tar":                  compression.None,
		"application/vnd.docker.image.rootfs.diff.tar.gzip":             compression.Gzip,
		"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip":     compression.Gzip,
		"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd":  compression.Zstd,
		"application/vnd.oci.image.layer.v1.tar+gzip; charset=us-ascii": compression.Gzip,
	} {
		if got, err := compression.FromMediaType(mt); got != want || err != nil {
			t.Errorf("FromMediaType(%s) = %s, %v; want %s", mt, got, err, want)
		}
	}
	if _, err := compression.FromMediaType("application/json"); !errdefs.IsUnsupported(err) {
		t.Errorf("application/json: %v", err)
	}
}

func FuzzReader(f *testing.F) {
	for _, a := range []compression.Algorithm{compression.None, compression.Gzip, compression.Zstd} {
		f.Add(compress(f, a, sample(2000), whole))
	}
	f.Add([]byte("BZh91AY&SY\x17\x72\x45\x38\x50\x90\x00\x00\x00\x00"))
	f.Add([]byte{0xfd, '7', 'z', 'X', 'Z', 0, 0, 4, 0xe6, 0xd6, 0xb4, 0x46, 2, 0, 0x21, 1, 22, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		const most = 1 << 20
		got, err := readAll(b, compression.Limits{MaxBytes: most})
		if len(got) > most {
			t.Errorf("%d bytes come out, the limit is %d", len(got), most)
		}
		if err != nil && !errdefs.IsCorrupt(err) && !errdefs.IsLimit(err) && !errdefs.IsUnsupported(err) {
			t.Errorf("error without a class: %v", err)
		}
	})
}

func BenchmarkWriter(b *testing.B) {
	data := sample(32 << 20)
	for _, a := range []compression.Algorithm{compression.Gzip, compression.Zstd} {
		b.Run(string(a), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				compress(b, a, data, func() int { return 256 << 10 })
			}
		})
	}
}

func BenchmarkReader(b *testing.B) {
	data := sample(32 << 20)
	for _, a := range []compression.Algorithm{compression.Gzip, compression.Zstd} {
		packed := compress(b, a, data, whole)
		b.Run(string(a), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				r, err := compression.NewReader(bytes.NewReader(packed), compression.Limits{})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, r); err != nil {
					b.Fatal(err)
				}
				r.Close()
			}
		})
	}
}
