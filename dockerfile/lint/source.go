package lint

import (
	"bytes"
	"sort"
	"strings"
	"unicode/utf8"
)

// span is from byte start to before byte end of the source.
type span struct{ start, end int }

// source is the text of the file with the places of its lines.
type source struct {
	text   []byte
	starts []int // of the lines
	escape byte
}

func newSource(text []byte, escape rune) *source {
	s := &source{text: text, starts: []int{0}, escape: '\\'}
	if escape == '`' {
		s.escape = '`'
	}
	for i, c := range text {
		if c == '\n' && i+1 < len(text) {
			s.starts = append(s.starts, i+1)
		}
	}
	return s
}

// line is a line, from 1, without its end; the place where it starts comes with it.
func (s *source) line(n int) (text []byte, start int) {
	if n < 1 || n > len(s.starts) {
		return nil, len(s.text)
	}
	start = s.starts[n-1]
	end := len(s.text)
	if n < len(s.starts) {
		end = s.starts[n]
	}
	return bytes.TrimRight(s.text[start:end], "\r\n"), start
}

// lines is the span of whole lines, without the white space around them.
func (s *source) lines(first, last int) span {
	text, start := s.line(first)
	indent := len(text) - len(bytes.TrimLeft(text, " \t"))
	text, end := s.line(max(first, last))
	return span{start + indent, max(start+indent, end+len(bytes.TrimRight(text, " \t")))}
}

// rangeOf says where a span is in lines and columns.
func (s *source) rangeOf(at span) Range {
	return Range{s.position(at.start), s.position(max(at.start, at.end))}
}

func (s *source) position(off int) Position {
	off = min(max(off, 0), len(s.text))
	n := sort.SearchInts(s.starts, off+1)
	start := s.starts[max(n-1, 0)]
	if start == 0 {
		if rest, ok := bytes.CutPrefix(s.text[:off], []byte("\xef\xbb\xbf")); ok {
			return Position{n, utf8.RuneCount(rest) + 1}
		}
	}
	return Position{max(n, 1), utf8.RuneCount(s.text[start:off]) + 1}
}

// logical is an instruction as the parser sees it: one line, without continuations and the comments between them, and the bodies of its
// heredocs below it. It knows for each byte where it came from.
type logical struct {
	text string
	// head is how long the first line is.
	head int
	// parts say from which byte of the source what begins at a byte of text was taken, in order.
	parts []part
}

type part struct{ at, from int }

// instruction joins the lines first to last (Dockerfile reference, "Format": comments in continuations are removed).
func (s *source) instruction(first, last int) *logical {
	var b strings.Builder
	l := &logical{}
	n := first
	for more := true; more && n <= last; n++ {
		line, start := s.line(n)
		trimmed := bytes.TrimLeft(line, " \t\v\f")
		switch {
		case n == first:
			start += len(line) - len(trimmed)
			line = trimmed
			if rest, ok := bytes.CutPrefix(line, []byte("\xef\xbb\xbf")); ok && n == 1 {
				line, start = rest, start+3
			}
		case len(trimmed) == 0 || trimmed[0] == '#':
			continue
		}
		line, more = s.continued(line)
		l.parts = append(l.parts, part{b.Len(), start})
		b.Write(line)
	}
	l.head = b.Len()
	for ; n <= last; n++ {
		line, start := s.line(n)
		// The end of the line before it is counted to this line.
		l.parts = append(l.parts, part{b.Len(), start - 1})
		b.WriteByte('\n')
		l.parts = append(l.parts, part{b.Len(), start})
		b.Write(line)
	}
	l.text = b.String()
	return l
}

// continued tells whether the next line belongs to this one, and takes the mark that says so away.
func (s *source) continued(line []byte) ([]byte, bool) {
	trimmed := bytes.TrimRight(line, " \t")
	n := len(trimmed)
	if n == 0 || trimmed[n-1] != s.escape || n > 1 && trimmed[n-2] == s.escape {
		return line, false
	}
	return trimmed[:n-1], true
}

// source is where byte off of the text came from.
func (l *logical) source(off int) int {
	i := sort.Search(len(l.parts), func(i int) bool { return l.parts[i].at > off })
	if i == 0 {
		return 0
	}
	return l.parts[i-1].from + off - l.parts[i-1].at
}

// span is where the bytes start to end of the text came from.
func (l *logical) span(start, end int) span {
	if end <= start {
		return span{l.source(start), l.source(start)}
	}
	return span{l.source(start), l.source(end-1) + 1}
}

// whole tells whether the bytes start to end lie in one piece of the source.
func (l *logical) whole(start, end int) bool {
	at := l.span(start, end)
	return at.end-at.start == end-start
}
