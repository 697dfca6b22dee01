package rotated

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// ReadOptions choose lines.
type ReadOptions struct {
	// Tail is how many lines from the end; negative is all.
	Tail int
	// More says whether more lines can come; it is asked before what is there is read. nil reads what is there.
	More func() bool
	// MaxLine is the longest line in bytes; a longer one is left out. 0 is 1 MiB.
	MaxLine int
}

// Read calls fn for the lines, in order and without their ends; fn must not keep the bytes. A torn last line, of a process that was
// killed, is left out, and so is what is removed before it was read.
func Read(ctx context.Context, path string, opts ReadOptions, fn func(line []byte) error) error {
	if opts.MaxLine == 0 {
		opts.MaxLine = 1 << 20
	}
	r := &reader{path: path, opts: opts, fn: fn, watch: -1}
	defer r.close()
	if opts.More != nil {
		var err error
		if r.watch, err = unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK); err == nil {
			_, err = unix.InotifyAddWatch(r.watch, filepath.Dir(path), unix.IN_MODIFY|unix.IN_CREATE|unix.IN_MOVED_TO|unix.IN_DELETE_SELF)
		}
		if err != nil {
			return fmt.Errorf("follow %s: %w", path, err)
		}
	}
	if err := r.run(ctx); err != nil {
		return err
	}
	return nil
}

type reader struct {
	path string
	opts ReadOptions
	fn   func([]byte) error
	cur  *os.File
	// number is what cur will be called when it is rotated.
	number int
	watch  int
	lines  lineReader
}

func (r *reader) close() {
	if r.cur != nil {
		r.cur.Close()
	}
	if r.watch >= 0 {
		unix.Close(r.watch)
	}
}

func (r *reader) run(ctx context.Context) error {
	old, err := r.open(0)
	if err != nil {
		return err
	}
	skip, err := r.seekTail(&old)
	if err != nil {
		return err
	}
	for {
		for _, n := range old {
			if err := r.whole(ctx, n, skip); err != nil {
				return err
			}
			skip = 0
		}
		if old, err = r.follow(ctx); err != nil || len(old) == 0 && r.cur == nil {
			return err
		}
		skip = 0
	}
}

// open opens the current file, and tells the numbers of those that are older than it and newer than after.
func (r *reader) open(after int) ([]int, error) {
	const tries = 100
	for range tries {
		before := numbers(r.path)
		f, err := os.Open(r.path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if !slices.Equal(before, numbers(r.path)) {
			if f != nil {
				f.Close()
			}
			continue
		}
		if r.cur != nil {
			r.cur.Close()
		}
		r.cur, r.number = f, 1
		if f == nil {
			r.cur = nil
		}
		if len(before) > 0 {
			r.number = before[len(before)-1] + 1
		}
		r.lines = lineReader{limit: r.opts.MaxLine}
		return slices.DeleteFunc(before, func(n int) bool { return n <= after }), nil
	}
	return nil, fmt.Errorf("%s is rotated too often to be read", r.path)
}

// seekTail leaves those of the old files that have the last lines, and tells how many lines of the first one to skip.
func (r *reader) seekTail(old *[]int) (skip int, err error) {
	left := r.opts.Tail
	if left < 0 {
		return 0, nil
	}
	if r.cur != nil {
		if left, err = seekTail(r.cur, left); err != nil {
			return 0, fmt.Errorf("read %s: %w", r.path, err)
		}
	}
	for i := len(*old) - 1; i >= 0 && left > 0; i-- {
		f, err := openNumber(r.path, (*old)[i])
		if err != nil {
			continue
		}
		n, err := countLines(f)
		f.Close()
		if err != nil {
			continue
		}
		if n >= left {
			*old = (*old)[i:]
			return n - left, nil
		}
		left -= n
	}
	if left == 0 {
		*old = nil
	}
	return 0, nil
}

// openNumber opens a rotated file, compressed or not.
func openNumber(path string, n int) (io.ReadCloser, error) {
	f, err := os.Open(numbered(path, n))
	if err == nil {
		return f, nil
	}
	if f, err = os.Open(numbered(path, n) + suffixGzip); err != nil {
		return nil, err
	}
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return struct {
		io.Reader
		io.Closer
	}{z, f}, nil
}

// whole reads a rotated file. One that was removed meanwhile, or is damaged, has no more lines.
func (r *reader) whole(ctx context.Context, n, skip int) error {
	f, err := openNumber(r.path, n)
	if err != nil {
		return ctx.Err()
	}
	defer f.Close()
	lines := lineReader{limit: r.opts.MaxLine}
	err = lines.drain(ctx, f, func(b []byte) error {
		if skip > 0 {
			skip--
			return nil
		}
		return r.fn(b)
	})
	if lines.damaged {
		return ctx.Err()
	}
	return err
}

// follow reads the current file until no more lines come, or until it is rotated: then the files that came after it are returned, and
// cur is a new one.
func (r *reader) follow(ctx context.Context) ([]int, error) {
	for {
		more := r.opts.More != nil && r.opts.More()
		moved := r.moved() // before reading, so that all that was written into it is read
		if r.cur != nil {
			if err := r.lines.drain(ctx, r.cur, r.fn); err != nil {
				return nil, err
			}
		}
		switch {
		case moved:
			return r.open(r.after())
		case !more:
			if r.cur != nil {
				r.cur.Close()
				r.cur = nil
			}
			return nil, ctx.Err()
		}
		r.wait()
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
}

// after is the number of the last file that was read.
func (r *reader) after() int {
	if r.cur == nil {
		return r.number - 1
	}
	return r.number
}

// moved reports whether the current file is not the one that is read.
func (r *reader) moved() bool {
	now, err := os.Stat(r.path)
	if err != nil {
		return false
	}
	if r.cur == nil {
		return true
	}
	st, err := r.cur.Stat()
	return err == nil && !os.SameFile(st, now)
}

// wait waits for a change, or a moment, in which the end may have come.
func (r *reader) wait() {
	const moment = 200 // milliseconds
	fds := []unix.PollFd{{Fd: int32(r.watch), Events: unix.POLLIN}}
	if n, err := unix.Poll(fds, moment); err == nil && n > 0 {
		var buf [4096]byte
		_, _ = unix.Read(r.watch, buf[:])
	}
}

// lineReader gives whole lines, and keeps the part of one that is still being written.
type lineReader struct {
	limit   int
	partial []byte
	damaged bool
	buf     *bufio.Reader
}

func (l *lineReader) drain(ctx context.Context, from io.Reader, fn func([]byte) error) error {
	if l.buf == nil {
		l.buf = bufio.NewReaderSize(from, 16<<10)
	}
	for {
		b, err := l.buf.ReadSlice('\n')
		if len(l.partial) <= l.limit {
			l.partial = append(l.partial, b...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if errors.Is(err, io.EOF) {
			return ctx.Err()
		}
		if err != nil {
			l.damaged = true
			return fmt.Errorf("read the lines: %w", err)
		}
		line := l.partial[:len(l.partial)-1]
		if len(line) <= l.limit {
			if err := fn(line); err != nil {
				return err
			}
		}
		l.partial = l.partial[:0]
	}
}

// seekTail positions f before the last n lines, and tells how many of them it has not.
func seekTail(f *os.File, n int) (left int, err error) {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil || n == 0 {
		return 0, err
	}
	buf := make([]byte, 32<<10)
	for pos := end; pos > 0; {
		size := min(int64(len(buf)), pos)
		pos -= size
		if _, err := f.ReadAt(buf[:size], pos); err != nil {
			return 0, err
		}
		for i := size - 1; i >= 0; i-- {
			if buf[i] != '\n' || pos+i == end-1 {
				continue
			}
			if n--; n <= 0 {
				_, err := f.Seek(pos+i+1, io.SeekStart)
				return 0, err
			}
		}
	}
	if end > 0 {
		n--
	}
	_, err = f.Seek(0, io.SeekStart)
	return n, err
}
