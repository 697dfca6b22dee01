package archive_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/camada/camada/archive"
)

// image is a layer of the given number of files, in directories of 40, of 20 KiB each: about what
// distributions have.
func image(b *testing.B, files int) []byte {
	b.Helper()
	content := bytes.Repeat([]byte("camada is layer in Portuguese. "), 661)
	var out bytes.Buffer
	w := archive.NewWriter(&out, archive.WriterOptions{})
	for i := range files {
		d := fmt.Sprintf("usr/share/package-%04d", i/40)
		if i%40 == 0 {
			if err := w.Add(archive.Entry{Name: d, Type: archive.TypeDir, Mode: 0o755, ModTime: epoch}, nil); err != nil {
				b.Fatal(err)
			}
		}
		e := archive.Entry{Name: fmt.Sprintf("%s/file-%02d", d, i%40), Type: archive.TypeReg, Mode: 0o644, ModTime: epoch, Size: int64(len(content))}
		if err := w.Add(e, bytes.NewReader(content)); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	return out.Bytes()
}

const benchFiles = 5000

// BenchmarkApply extracts 5,000 files of 20 KiB into a fresh directory. BenchmarkApplyFloor is
// the least that it can take: the calls of the kernel alone, one after the other.
func BenchmarkApply(b *testing.B) {
	layer := image(b, benchFiles)
	for name, opts := range map[string]archive.ApplyOptions{"delete": {}, "overlay": {Whiteouts: archive.WhiteoutOverlayUser}} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(layer)))
			base, i := b.TempDir(), 0
			for b.Loop() {
				mustApply(b, filepath.Join(base, fmt.Sprint(i)), layer, opts)
				i++
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*benchFiles), "µs/file")
		})
	}
}

func BenchmarkApplyFloor(b *testing.B) {
	content := bytes.Repeat([]byte("camada is layer in Portuguese. "), 661)
	base, n := b.TempDir(), 0
	for b.Loop() {
		for i := range benchFiles {
			d := filepath.Join(base, fmt.Sprint(n), fmt.Sprintf("package-%04d", i/40))
			if i%40 == 0 {
				if err := os.MkdirAll(d, 0o755); err != nil {
					b.Fatal(err)
				}
			}
			if err := os.WriteFile(filepath.Join(d, fmt.Sprintf("file-%02d", i%40)), content, 0o644); err != nil {
				b.Fatal(err)
			}
		}
		n++
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*benchFiles), "µs/file")
}

// BenchmarkReadTar is the share of the standard library's tar reader.
func BenchmarkReadTar(b *testing.B) {
	layer := image(b, benchFiles)
	b.SetBytes(int64(len(layer)))
	for b.Loop() {
		tr := tar.NewReader(bytes.NewReader(layer))
		for {
			_, err := tr.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkPack(b *testing.B) {
	layer := image(b, benchFiles)
	dir := b.TempDir()
	mustApply(b, dir, layer, archive.ApplyOptions{})
	b.SetBytes(int64(len(layer)))
	for b.Loop() {
		if err := archive.Pack(b.Context(), dir, io.Discard, archive.DiffOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}
