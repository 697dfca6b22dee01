package record

import (
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

	"github.com/camada/camada/internal/rotated"
	"golang.org/x/sys/unix"
)

// Line is one line of a log, or a part of a long one.
type Line struct {
	// Log is the text with its line end; a part of a line has none.
	Log string `json:"log"`
	// Raw is the text in base64 when it is not UTF-8, which JSON cannot hold. ReadLog gives it as Log.
	Raw []byte `json:"raw,omitempty"`
	// Stream is "stdout" or "stderr".
	Stream string `json:"stream"`
	// Attrs are what the log's options add to each line.
	Attrs map[string]string `json:"attrs,omitempty"`
	Time  time.Time         `json:"time"`
}

// maxLine is where a long line is cut, as docker does; maxEncoded is more than one takes in the file, where each byte may
// be written as \u00XX, with its attributes.
const (
	maxLine    = 16 << 10
	maxEncoded = 12 * maxLine
)

// LogOptions say how a log is kept.
type LogOptions struct {
	// MaxSize of a file in bytes, 0 for no limit; MaxFiles counts the current one.
	MaxSize  int64
	MaxFiles int
	// Compress compresses what is not the current file.
	Compress bool
	// Attrs are added to each line.
	Attrs map[string]string
}

// Sink takes the lines of a log.
type Sink interface {
	// Put takes a line; its Raw is nil, and Log may be no UTF-8.
	Put(Line) error
	Close() error
}

// Log writes a container's output, line by line, into a sink. It is safe for use by many goroutines.
type Log struct {
	mu   sync.Mutex
	sink Sink
}

// OpenLog opens the log of the container for appending. The caller closes it.
func (c *Container) OpenLog(opts LogOptions) (*Log, error) {
	w, err := rotated.OpenWriter(c.LogPath(), rotated.Options{MaxSize: opts.MaxSize, MaxFiles: opts.MaxFiles, Compress: opts.Compress})
	if err != nil {
		return nil, fmt.Errorf("open the log of container %.12s: %w", c.Config.ID, err)
	}
	return NewLog(&fileSink{w: w, attrs: opts.Attrs}), nil
}

// NewLog makes a log of a sink, which the log closes.
func NewLog(s Sink) *Log { return &Log{sink: s} }

// Close closes the log.
func (l *Log) Close() error { return l.sink.Close() }

// Copy reads a stream to its end and writes its lines as they come; tee, which may be nil, gets the bytes at once. A log that
// cannot be written loses lines: the container must not stand still for it.
func (l *Log) Copy(stream string, r io.Reader, tee io.Writer) error {
	buf := make([]byte, maxLine)
	var line []byte
	var lost error
	put := func(b []byte) {
		if err := l.put(stream, b); err != nil {
			lost = err
		}
	}
	for {
		n, err := r.Read(buf)
		if n > 0 && tee != nil {
			if _, werr := tee.Write(buf[:n]); werr != nil {
				tee = nil // nobody listens any more; the log goes on
			}
		}
		line = cutLines(append(line, buf[:n]...), put)
		if err == nil {
			continue
		}
		if len(line) > 0 {
			put(line)
		}
		if errors.Is(err, io.EOF) || errors.Is(err, os.ErrClosed) || errors.Is(err, unix.EIO) { // EIO: the terminal was closed
			return lost
		}
		return fmt.Errorf("read the container's output: %w", err)
	}
}

// cutLines gives whole lines and parts of long ones to put, and returns the rest.
func cutLines(b []byte, put func([]byte)) []byte {
	rest := b
	for len(rest) > 0 {
		n := bytes.IndexByte(rest, '\n') + 1
		switch {
		case n == 0 && len(rest) < maxLine:
			return append(b[:0], rest...)
		case n == 0 || n > maxLine:
			n = maxLine
		}
		put(rest[:n])
		rest = rest[n:]
	}
	return b[:0]
}

func (l *Log) put(stream string, text []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.sink.Put(Line{Log: string(text), Stream: stream, Time: time.Now().UTC()}); err != nil {
		return fmt.Errorf("write the log: %w", err)
	}
	return nil
}

// fileSink writes lines as JSON into rotated files.
type fileSink struct {
	w     *rotated.Writer
	attrs map[string]string
	buf   bytes.Buffer
}

// Put implements Sink.
func (s *fileSink) Put(line Line) error {
	s.buf.Reset()
	enc := json.NewEncoder(&s.buf)
	enc.SetEscapeHTML(false)
	line.Attrs = s.attrs
	if !utf8.ValidString(line.Log) {
		line.Log, line.Raw = "", []byte(line.Log)
	}
	if err := enc.Encode(line); err != nil {
		return err
	}
	_, err := s.w.Write(s.buf.Bytes())
	return err
}

// Close implements Sink.
func (s *fileSink) Close() error { return s.w.Close() }

// ReadOptions choose lines of a log.
type ReadOptions struct {
	// Tail is how many lines from the end; negative is all.
	Tail int
	// Since and Until are the first and the last time; zero is no limit.
	Since, Until time.Time
	// Follow goes on until the container has ended, or Until.
	Follow bool
}

// ReadLog calls fn for the lines of the log, in order, through all its files. A torn last line, of a process that was killed, is left out.
func (c *Container) ReadLog(ctx context.Context, opts ReadOptions, fn func(Line) error) error {
	ro := rotated.ReadOptions{Tail: opts.Tail, MaxLine: maxEncoded}
	if opts.Follow {
		ro.More = func() bool {
			return keeperLives(c.dir) && (opts.Until.IsZero() || time.Now().Before(opts.Until))
		}
	}
	err := rotated.Read(ctx, c.LogPath(), ro, func(b []byte) error {
		line, ok := parseLine(b)
		if !ok || line.Time.Before(opts.Since) || !opts.Until.IsZero() && line.Time.After(opts.Until) {
			return nil
		}
		return fn(line)
	})
	if err != nil {
		return fmt.Errorf("read the log of container %.12s: %w", c.Config.ID, err)
	}
	return nil
}

// parseLine reads one line of the file; one that was torn by a full disk or a kill is none.
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

// LogPath is the file of the log.
func (c *Container) LogPath() string { return filepath.Join(c.dir, logFile) }
