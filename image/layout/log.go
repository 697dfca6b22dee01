package layout

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxLog bounds how much of one reflog is read, in bytes.
const maxLog = 256 << 20

// line is a line of a reflog. It has all that is needed to make the ref's file
// from it.
type line struct {
	Time      time.Time           `json:"time"`
	From      *ocispec.Descriptor `json:"from,omitempty"`
	To        *ocispec.Descriptor `json:"to,omitempty"`
	Verb      string              `json:"verb"`
	Note      string              `json:"note,omitempty"`
	Immutable bool                `json:"immutable,omitempty"`
}

func (l line) entry() image.LogEntry {
	e := image.LogEntry{Time: l.Time, Verb: l.Verb, Note: l.Note}
	if l.From != nil {
		e.From = *l.From
	}
	if l.To != nil {
		e.To = *l.To
	}
	return e
}

func parseLine(b []byte) (line, error) {
	if len(b) > maxFile {
		return line{}, errdefs.Limit("a line of %d bytes", len(b))
	}
	var l line
	if err := json.Unmarshal(b, &l); err != nil {
		return line{}, errdefs.With(errdefs.ErrCorrupt, err)
	}
	if l.Time.IsZero() {
		return line{}, errdefs.Corrupt("a line without a time")
	}
	for _, d := range []*ocispec.Descriptor{l.From, l.To} {
		if d != nil {
			if err := checkDescriptor(*d); err != nil {
				return line{}, errdefs.With(errdefs.ErrCorrupt, err)
			}
		}
	}
	return l, nil
}

func checkDescriptor(d ocispec.Descriptor) error {
	if err := content.CheckDigest(d.Digest); err != nil {
		return err
	}
	if d.Size < 0 {
		return errdefs.Invalid("descriptor of %s: the size is %d", d.Digest, d.Size)
	}
	return nil
}

// Log returns the entries of one ref, the newest first. A line that cannot be read
// is ErrCorrupt; fsck repairs that.
func (r *Refs) Log(ctx context.Context, ref reference.Reference) ([]image.LogEntry, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ref, err := tagOf(ref)
	if err != nil {
		return nil, err
	}
	r.heal()
	lines, err := r.readLog(ref)
	if err != nil {
		return nil, err
	}
	entries := make([]image.LogEntry, 0, len(lines))
	for _, l := range slices.Backward(lines) {
		entries = append(entries, l.entry())
	}
	return entries, nil
}

// WalkLogs calls fn for each entry of each ref, the oldest of a ref first. A log with a line that cannot be read is left out, and ErrCorrupt
// when all others were walked; fsck repairs that.
func (r *Refs) WalkLogs(ctx context.Context, fn func(reference.Reference, image.LogEntry) error) error {
	var unread error
	err := r.each(ctx, "reflog", func(ref reference.Reference) error {
		lines, err := r.readLog(ref)
		if errdefs.IsCorrupt(err) {
			if unread == nil {
				unread = fmt.Errorf("walk reflog: %w", err)
			}
			return nil
		}
		if err != nil {
			return err
		}
		for _, l := range lines {
			if err := fn(ref, l.entry()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return unread
}

func (r *Refs) readLog(ref reference.Reference) ([]line, error) {
	_, file := r.paths(ref)
	data, err := readBounded(file, maxLog)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errdefs.NotFound("no image was ever named %s", ref.Familiar())
	}
	if err != nil {
		return nil, fmt.Errorf("read reflog of %s: %w", ref.Familiar(), err)
	}
	lines, bad := parseLog(data)
	if len(bad) > 0 {
		return nil, errdefs.Corrupt("reflog of %s: line %d cannot be read: %w", ref.Familiar(), bad[0].number, bad[0].err)
	}
	return lines, nil
}

// badLine is a line of a reflog that cannot be read.
type badLine struct {
	number int // from 1
	text   []byte
	err    error
}

// parseLog parses a reflog. What follows the last newline is no line (yet).
func parseLog(data []byte) (lines []line, bad []badLine) {
	data = data[:bytes.LastIndexByte(data, '\n')+1]
	n := 0
	for text := range bytes.Lines(data) {
		n++
		l, err := parseLine(text)
		if err != nil {
			bad = append(bad, badLine{n, text, err})
			continue
		}
		lines = append(lines, l)
	}
	return lines, bad
}

// reflog is an open reflog of one ref, under the exclusive lock.
type reflog struct {
	file *os.File
	last *line // nil when there is none
	size int64 // of whole lines
}

// openLog opens or makes the reflog of a ref, reads its last line, and cuts off
// what follows it.
func (r *Refs) openLog(ref reference.Reference) (*reflog, error) {
	_, path := r.paths(ref)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeDir(filepath.Dir(path)); err != nil {
			return nil, err
		}
		if f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644); err == nil {
			if err := syncDir(filepath.Dir(path)); err != nil {
				f.Close()
				return nil, err
			}
		}
	}
	if err != nil {
		return nil, class("open reflog", err)
	}
	l := &reflog{file: f}
	if err := l.readTail(); err != nil {
		f.Close()
		return nil, fmt.Errorf("reflog of %s: %w", ref.Familiar(), err)
	}
	return l, nil
}

// readTail finds the last line.
func (l *reflog) readTail() error {
	fi, err := l.file.Stat()
	if err != nil {
		return class("look at reflog", err)
	}
	size := fi.Size()
	// Two lines of the greatest length: one torn, and the whole one before it.
	start := max(0, size-2*maxFile)
	tail := make([]byte, size-start)
	if _, err := l.file.ReadAt(tail, start); err != nil && !errors.Is(err, io.EOF) {
		return class("read reflog", err)
	}
	for end := bytes.LastIndexByte(tail, '\n') + 1; end > 0; {
		begin := bytes.LastIndexByte(tail[:end-1], '\n') + 1
		if begin == 0 && start > 0 {
			return errdefs.Corrupt("the last lines cannot be read; run fsck")
		}
		if last, err := parseLine(tail[begin:end]); err == nil {
			l.last, l.size = &last, start+int64(end)
			break
		}
		// A machine that stops can leave a last line that is whole in length only.
		end = begin
	}
	if l.last == nil && start > 0 {
		return errdefs.Corrupt("no line can be read; run fsck")
	}
	if l.size < size {
		if err := l.file.Truncate(l.size); err != nil {
			return class("truncate reflog", err)
		}
	}
	return nil
}

// append adds a line durably. When that fails there is no line.
func (l *reflog) append(e line) error {
	b, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode reflog line: %w", err)
	}
	b = append(b, '\n')
	if len(b) > maxFile {
		return errdefs.Limit("reflog line of %d bytes, more than %d", len(b), maxFile)
	}
	_, err = l.file.WriteAt(b, l.size)
	if err == nil {
		err = l.file.Sync()
	}
	if err != nil {
		return errors.Join(class("write reflog", err), l.file.Truncate(l.size))
	}
	l.last, l.size = &e, l.size+int64(len(b))
	return nil
}

func (l *reflog) close() { l.file.Close() }
