// Package control reads Debian's control files (deb822): paragraphs of
// fields, divided by empty lines. Release, Packages, dpkg's status, .sources files
// and a package's own control file all have this form.
//
//	r := control.NewReader(f)
//	for {
//		p, err := r.Next()
//		if err == io.EOF { break }
//		fmt.Println(p.Get("Package"))
//	}
//
// The input is hostile: lines, fields and paragraphs are bounded.
package control

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"

	"github.com/camada/camada/errdefs"
)

// The bounds of one paragraph.
const (
	maxLine      = 1 << 20
	maxParagraph = 64 << 20
	maxFields    = 4096
)

// Field is one field. The Value of a field with continuation lines has them
// after a newline each, with the space that they begin with.
type Field struct {
	Name  string
	Value string
}

// Paragraph is a list of fields in the order of the file.
type Paragraph []Field

// Get returns the value of a field, "" when there is none. Names are compared
// without regard to case.
func (p Paragraph) Get(name string) string {
	for i := range p {
		if strings.EqualFold(p[i].Name, name) {
			return p[i].Value
		}
	}
	return ""
}

// Words returns the words of a field that is a list divided by white space.
func (p Paragraph) Words(name string) []string { return strings.Fields(p.Get(name)) }

// Set changes a field's value, or appends the field.
func (p *Paragraph) Set(name, value string) {
	for i := range *p {
		if strings.EqualFold((*p)[i].Name, name) {
			(*p)[i].Value = value
			return
		}
	}
	*p = append(*p, Field{name, value})
}

// String returns the paragraph as it stands in a file, without the empty line
// that ends it.
func (p Paragraph) String() string {
	var b strings.Builder
	for _, f := range p {
		b.WriteString(f.Name)
		b.WriteByte(':')
		if f.Value != "" && f.Value[0] != '\n' {
			b.WriteByte(' ')
		}
		b.WriteString(f.Value)
		b.WriteByte('\n')
	}
	return b.String()
}

// Reader reads paragraphs one after the other.
type Reader struct {
	r    *bufio.Reader
	keep func(name []byte) bool
	long []byte
	line int
}

// NewReader returns a Reader of r.
func NewReader(r io.Reader) *Reader {
	return &Reader{r: bufio.NewReaderSize(r, 64<<10)}
}

// Keep makes Next leave out the fields whose name keep refuses; this saves the
// memory of descriptions in a long file.
func (r *Reader) Keep(keep func(name []byte) bool) { r.keep = keep }

// Next returns the next paragraph, io.EOF after the last one, and an error of
// class ErrInvalid or ErrLimit when the input is not a control file.
func (r *Reader) Next() (Paragraph, error) {
	var p Paragraph
	var value []byte // of the field that is being read
	seen, kept := false, false
	size := 0
	flush := func() {
		if kept {
			p[len(p)-1].Value = string(value)
		}
		value, kept = value[:0], false
	}
	for {
		line, err := r.readLine()
		if errors.Is(err, io.EOF) {
			if seen {
				flush()
				return p, nil
			}
			return nil, io.EOF
		}
		if err != nil {
			return nil, err
		}
		if size += len(line); size > maxParagraph {
			return nil, errdefs.Limit("control file line %d: the paragraph is longer than %d bytes", r.line, maxParagraph)
		}
		text := bytes.TrimRight(line, " \t\r")
		switch {
		case len(text) == 0:
			if seen {
				flush()
				return p, nil
			}
		case text[0] == ' ' || text[0] == '\t':
			if !seen {
				return nil, errdefs.Invalid("control file line %d: a continuation line without a field", r.line)
			}
			if kept {
				value = append(append(value, '\n'), text...)
			}
		case text[0] == '#':
		default:
			flush()
			name, rest, err := splitField(text)
			if err != nil {
				return nil, errdefs.Invalid("control file line %d: %w", r.line, err)
			}
			seen = true
			if r.keep != nil && !r.keep(name) {
				continue
			}
			if len(p) == maxFields {
				return nil, errdefs.Limit("control file line %d: more than %d fields", r.line, maxFields)
			}
			kept = true
			p = append(p, Field{Name: string(name)})
			value = append(value, rest...)
		}
	}
}

func splitField(line []byte) (name, value []byte, err error) {
	i := bytes.IndexByte(line, ':')
	if i <= 0 {
		return nil, nil, errors.New("want Name: value")
	}
	for _, c := range line[:i] {
		if c <= ' ' || c >= 0x7f {
			return nil, nil, errors.New("a field's name has a character that it cannot have")
		}
	}
	return line[:i], bytes.TrimLeft(line[i+1:], " \t"), nil
}

// readLine returns one line without its newline; it is valid until the next call.
func (r *Reader) readLine() ([]byte, error) {
	r.line++
	s, err := r.r.ReadSlice('\n')
	if err == nil {
		return s[:len(s)-1], nil
	}
	r.long = r.long[:0]
	for errors.Is(err, bufio.ErrBufferFull) {
		if r.long = append(r.long, s...); len(r.long) > maxLine {
			return nil, errdefs.Limit("control file line %d: longer than %d bytes", r.line, maxLine)
		}
		s, err = r.r.ReadSlice('\n')
	}
	r.long = append(r.long, s...)
	switch {
	case err == nil:
		return r.long[:len(r.long)-1], nil
	case errors.Is(err, io.EOF) && len(r.long) > 0:
		return r.long, nil
	}
	return nil, err
}
