// Package rotated keeps lines in a file that is rotated by its size, and reads them in order, also while that goes on.
//
//	w, err := rotated.OpenWriter("log", rotated.Options{MaxSize: 10 << 20, MaxFiles: 3})
//	_, err = w.Write([]byte("a line\n"))
//	err = rotated.Read(ctx, "log", rotated.ReadOptions{Tail: 10}, func(line []byte) error { ... })
//
// # On disk
//
//	log        what is written now
//	log.<n>    what was written before; a greater n is newer
//	log.<n>.gz the same, compressed
//
// A file never changes its number, so a reader that holds one knows which is the next. A writer that is killed leaves a torn line at
// most, or no file of the plain name; the next one goes on from there.
package rotated

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/camada/camada/internal/flock"
)

// Options say when a file is rotated and what is kept.
type Options struct {
	// MaxSize of a file in bytes; 0 is no limit.
	MaxSize int64
	// MaxFiles counts the current one too; less than 1 is 1.
	MaxFiles int
	// Compress compresses what is not the current file.
	Compress bool
}

const (
	suffixGzip = ".gz"
	suffixTemp = ".tmp"
)

// Writer appends to the file. Only one process has one for a file at a time. It is not safe for use by many goroutines.
type Writer struct {
	path string
	opts Options
	f    *os.File
	size int64
	torn bool
	zips sync.WaitGroup
}

// OpenWriter opens a file for appending, and makes it when it is not there. The caller closes it.
func OpenWriter(path string, opts Options) (*Writer, error) {
	f, size, err := openAppend(path)
	if err != nil {
		return nil, err
	}
	w := &Writer{path: path, opts: opts, f: f, size: size}
	if opts.Compress {
		w.zips.Go(func() { compressAll(path) }) // and what a killed writer left
	}
	w.torn = size > 0 && !endsLine(path, size)
	return w, nil
}

func openAppend(path string) (*os.File, int64, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, 0, err
	}
	st, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, st.Size(), nil
}

func endsLine(path string, size int64) bool {
	f, err := os.Open(path)
	if err != nil {
		return true
	}
	defer f.Close()
	var b [1]byte
	_, err = f.ReadAt(b[:], size-1)
	return err != nil || b[0] == '\n'
}

// Write appends whole lines. After one that failed half-way the next begins a new line.
func (w *Writer) Write(lines []byte) (int, error) {
	if w.opts.MaxSize > 0 && w.size > 0 && w.size+int64(len(lines)) > w.opts.MaxSize {
		w.rotate()
	}
	if w.torn {
		if _, err := w.f.Write([]byte("\n")); err != nil {
			return 0, err
		}
		w.torn, w.size = false, w.size+1
	}
	n, err := w.f.Write(lines)
	w.size += int64(n)
	w.torn = err != nil && n > 0
	return n, err
}

// rotate begins a new file. Where that fails, the lines go on into the old one.
func (w *Writer) rotate() {
	if w.opts.MaxFiles > 1 {
		w.zips.Wait()
	}
	f, ok := next(w.path, w.opts)
	if !ok {
		return
	}
	w.f.Close()
	w.f, w.size, w.torn = f, 0, false
	if w.opts.Compress && w.opts.MaxFiles > 1 {
		w.zips.Go(func() { compressAll(w.path) })
	}
}

// next gives the current file its number, removes what is too old, and opens a new one.
func next(path string, opts Options) (*os.File, bool) {
	old := numbers(path)
	n := 1
	if len(old) > 0 {
		n = old[len(old)-1] + 1
	}
	name := numbered(path, n)
	if os.Rename(path, name) != nil {
		return nil, false
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		_ = os.Rename(name, path)
		return nil, false
	}
	for _, o := range append(old, n) {
		if o <= n-max(opts.MaxFiles, 1)+1 {
			os.Remove(numbered(path, o))
			os.Remove(numbered(path, o) + suffixGzip)
		}
	}
	return f, true
}

// Close waits for what is being compressed and closes the file.
func (w *Writer) Close() error {
	w.zips.Wait()
	return w.f.Close()
}

// Append adds whole lines to a file that many processes write to, under a lock of moments.
func Append(ctx context.Context, path string, opts Options, lines []byte) error {
	const tries = 100
	for range tries {
		f, _, err := openAppend(path)
		if err != nil {
			return err
		}
		done, err := appendLocked(ctx, f, opts, lines)
		f.Close()
		if done || err != nil {
			return err
		}
	}
	return fmt.Errorf("%s was rotated %d times", path, tries)
}

func appendLocked(ctx context.Context, f *os.File, opts Options, lines []byte) (done bool, err error) {
	if err := flock.Exclusive(ctx, f); err != nil {
		return false, err
	}
	st, err := f.Stat()
	if err != nil {
		return false, err
	}
	if now, err := os.Lstat(f.Name()); err != nil || !os.SameFile(st, now) {
		return false, nil //nolint:nilerr // another rotated it
	}
	if opts.MaxSize > 0 && st.Size() > 0 && st.Size()+int64(len(lines)) > opts.MaxSize {
		if g, ok := next(f.Name(), opts); ok {
			g.Close()
			return false, nil
		}
	}
	if st.Size() > 0 && !endsLine(f.Name(), st.Size()) {
		lines = append([]byte("\n"), lines...)
	}
	_, err = f.Write(lines)
	return true, err
}

func numbered(path string, n int) string { return path + "." + strconv.Itoa(n) }

// numbers are those of the files that were rotated, the oldest first.
func numbers(path string) []int {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil
	}
	var all []int
	for _, name := range names {
		rest, ok := strings.CutPrefix(name, filepath.Base(path)+".")
		if !ok {
			continue
		}
		if n, err := strconv.Atoi(strings.TrimSuffix(rest, suffixGzip)); err == nil && n > 0 {
			all = append(all, n)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Remove removes the file and all that were rotated.
func Remove(path string) error {
	err := os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	for _, n := range numbers(path) {
		for _, name := range []string{numbered(path, n), numbered(path, n) + suffixGzip} {
			if rerr := os.Remove(name); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
				err = errors.Join(err, rerr)
			}
		}
	}
	return err
}

// compressAll compresses each rotated file that is not. What fails stays as it was.
func compressAll(path string) {
	for _, n := range numbers(path) {
		name := numbered(path, n)
		os.Remove(name + suffixGzip + suffixTemp)
		if err := compress(name); err == nil {
			os.Remove(name)
		}
	}
}

func compress(name string) (err error) {
	in, err := os.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	tmp := name + suffixGzip + suffixTemp
	out, err := os.OpenFile(tmp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	z, err := gzip.NewWriterLevel(out, gzip.BestSpeed)
	if err == nil {
		_, err = io.Copy(z, in)
		err = errors.Join(err, z.Close())
	}
	if err = errors.Join(err, out.Close()); err == nil {
		err = os.Rename(tmp, name+suffixGzip)
	}
	if err != nil {
		os.Remove(tmp)
	}
	return err
}

// countLines counts line ends.
func countLines(r io.Reader) (int, error) {
	buf := make([]byte, 32<<10)
	n := 0
	for {
		k, err := r.Read(buf)
		n += bytes.Count(buf[:k], []byte{'\n'})
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}
