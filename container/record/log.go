package record

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// Line is one line of a log, or a part of a long one.
type Line struct {
	// Log is the text with its line end; a part of a line has none.
	Log string `json:"log"`
	// Raw is the text in base64 when it is not UTF-8, which JSON cannot hold. ReadLog gives it as Log.
	Raw []byte `json:"raw,omitempty"`
	// Stream is "stdout" or "stderr".
	Stream string    `json:"stream"`
	Time   time.Time `json:"time"`
}

// maxLine is where a long line is cut, as docker does; maxEncoded is more than one takes in the file, where each byte may
// be written as \u00XX.
const (
	maxLine    = 16 << 10
	maxEncoded = 8 * maxLine
)

// Log writes a container's log. It is safe for use by many goroutines.
type Log struct {
	mu  sync.Mutex
	f   *os.File
	buf bytes.Buffer
}

// OpenLog opens the log for appending. The caller closes it.
func (c *Container) OpenLog() (*Log, error) {
	f, err := os.OpenFile(filepath.Join(c.dir, logFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log of container %.12s: %w", c.Config.ID, err)
	}
	return &Log{f: f}, nil
}

// Close closes the log.
func (l *Log) Close() error { return l.f.Close() }

// Copy reads a stream to its end and writes its lines as they come; tee, which may be nil, gets the bytes too.
func (l *Log) Copy(stream string, r io.Reader, tee io.Writer) error {
	br := bufio.NewReaderSize(r, maxLine)
	for {
		line, err := br.ReadSlice('\n')
		if len(line) > 0 {
			if tee != nil {
				if _, werr := tee.Write(line); werr != nil {
					tee = nil // nobody listens any more; the log goes on
				}
			}
			if werr := l.write(stream, line); werr != nil {
				return werr
			}
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			if errors.Is(err, io.EOF) || errors.Is(err, os.ErrClosed) || errors.Is(err, unix.EIO) { // EIO: the terminal was closed
				return nil
			}
			return fmt.Errorf("read the container's output: %w", err)
		}
	}
}

func (l *Log) write(stream string, text []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf.Reset()
	enc := json.NewEncoder(&l.buf)
	enc.SetEscapeHTML(false)
	line := Line{Stream: stream, Time: time.Now().UTC()}
	if utf8.Valid(text) {
		line.Log = string(text)
	} else {
		line.Raw = text
	}
	if err := enc.Encode(line); err != nil {
		return fmt.Errorf("write the log: %w", err)
	}
	if _, err := l.f.Write(l.buf.Bytes()); err != nil {
		return fmt.Errorf("write the log: %w", err)
	}
	return nil
}

// ReadOptions choose lines of a log.
type ReadOptions struct {
	// Tail is how many lines from the end; negative is all.
	Tail int
	// Follow goes on until the container has ended.
	Follow bool
}

// ReadLog calls fn for the lines of the log, in order. A torn last line, of a process that was killed, is left out.
func (c *Container) ReadLog(ctx context.Context, opts ReadOptions, fn func(Line) error) error {
	f, err := os.OpenFile(filepath.Join(c.dir, logFile), os.O_CREATE|os.O_RDONLY, 0o600)
	if err != nil {
		return fmt.Errorf("read the log of container %.12s: %w", c.Config.ID, err)
	}
	defer f.Close()
	if opts.Tail >= 0 {
		if err := seekTail(f, opts.Tail); err != nil {
			return fmt.Errorf("read the log of container %.12s: %w", c.Config.ID, err)
		}
	}
	watch := -1
	if opts.Follow {
		if watch, err = unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK); err == nil {
			defer unix.Close(watch)
			_, err = unix.InotifyAddWatch(watch, f.Name(), unix.IN_MODIFY)
		}
		if err != nil {
			return fmt.Errorf("follow the log of container %.12s: %w", c.Config.ID, err)
		}
	}
	r := &lineReader{r: bufio.NewReaderSize(f, 64<<10)}
	for {
		ended := !opts.Follow || !keeperLives(c.dir) // asked before reading, so that nothing is missed
		if err := r.drain(ctx, fn); err != nil {
			return err
		}
		if ended {
			return nil
		}
		waitFor(watch)
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// waitFor waits for a change of the log, or a moment, in which the container may have ended.
func waitFor(watch int) {
	fds := []unix.PollFd{{Fd: int32(watch), Events: unix.POLLIN}}
	if n, err := unix.Poll(fds, 200); err == nil && n > 0 {
		var buf [4096]byte
		_, _ = unix.Read(watch, buf[:])
	}
}

// lineReader gives whole lines, and keeps the part of one that is still being written.
type lineReader struct {
	r       *bufio.Reader
	partial []byte
}

func (l *lineReader) drain(ctx context.Context, fn func(Line) error) error {
	for {
		b, err := l.r.ReadSlice('\n')
		if len(l.partial) <= maxEncoded {
			l.partial = append(l.partial, b...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if errors.Is(err, io.EOF) {
			return ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("read the log: %w", err)
		}
		line, ok := parseLine(l.partial)
		l.partial = l.partial[:0]
		if !ok {
			continue // torn by a full disk or a kill
		}
		if err := fn(line); err != nil {
			return err
		}
	}
}

// parseLine reads one line of the file.
func parseLine(b []byte) (Line, bool) {
	var line Line
	if len(b) > maxEncoded || json.Unmarshal(b, &line) != nil || line.Stream == "" {
		return Line{}, false
	}
	if line.Raw != nil {
		line.Log, line.Raw = string(line.Raw), nil
	}
	return line, true
}

// seekTail positions f before the last n lines.
func seekTail(f *os.File, n int) error {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil || n == 0 {
		return err
	}
	buf := make([]byte, 32<<10)
	for pos := end; pos > 0; {
		size := min(int64(len(buf)), pos)
		pos -= size
		if _, err := f.ReadAt(buf[:size], pos); err != nil {
			return err
		}
		for i := size - 1; i >= 0; i-- {
			if buf[i] != '\n' || pos+i == end-1 {
				continue
			}
			if n--; n <= 0 {
				_, err := f.Seek(pos+i+1, io.SeekStart)
				return err
			}
		}
	}
	_, err = f.Seek(0, io.SeekStart)
	return err
}

// LogPath is the file of the log.
func (c *Container) LogPath() string { return filepath.Join(c.dir, logFile) }
