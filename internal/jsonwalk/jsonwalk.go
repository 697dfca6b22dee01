// Package jsonwalk walks through JSON without making values of what nobody asks for, so that a document of millions of empty objects takes no more memory than its bytes.
//
//	c, err := jsonwalk.New(data)
//	err = c.Object(func(name string) error {
//		if name == "packages" {
//			return c.Array(func() error { names = append(names, c.Text()); return nil })
//		}
//		return nil // what is not read is passed over
//	})
//
// A value of another kind than the one that is asked for is passed over. Of a name that an object has twice, the callback hears twice.
package jsonwalk

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"

	"github.com/camada/camada/errdefs"
)

// MaxText is the length of a text that is taken, in bytes; a longer one is passed over.
const MaxText = 1 << 20

// Cursor stands before a value. It is used by one goroutine.
type Cursor struct {
	data []byte
	at   int
}

// New returns a Cursor before the only value of a document. ErrInvalid when it is no JSON, or has values more than 10,000 deep in each other. It keeps data.
func New(data []byte) (*Cursor, error) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if !json.Valid(data) {
		var v struct{}
		return nil, errdefs.Invalid("%w", json.Unmarshal(data, &v)) // which says where
	}
	return &Cursor{data: data}, nil
}

// next is the first byte of what comes next; 0 at the end.
func (c *Cursor) next() byte {
	for c.at < len(c.data) {
		switch b := c.data[c.at]; b {
		case ' ', '\t', '\r', '\n', ',', ':':
			c.at++
		default:
			return b
		}
	}
	return 0
}

// Object calls fn with the name of each member, to read its value or leave it. Another value is passed over.
func (c *Cursor) Object(fn func(name string) error) error {
	if c.next() != '{' {
		c.skip()
		return nil
	}
	c.at++
	for c.next() == '"' {
		name := c.Text()
		if err := c.value(func() error { return fn(name) }); err != nil {
			return err
		}
	}
	c.at++
	return nil
}

// Array calls fn for each value of an array. Another value is passed over.
func (c *Cursor) Array(fn func() error) error {
	if c.next() != '[' {
		c.skip()
		return nil
	}
	c.at++
	for b := c.next(); b != ']' && b != 0; b = c.next() {
		if err := c.value(fn); err != nil {
			return err
		}
	}
	c.at++
	return nil
}

// value calls fn, and passes over the value when fn has left it.
func (c *Cursor) value(fn func() error) error {
	c.next()
	before := c.at
	if err := fn(); err != nil {
		return err
	}
	if c.at == before {
		c.skip()
	}
	return nil
}

// Text reads a text; "" for another value, which is passed over.
func (c *Cursor) Text() string {
	if c.next() != '"' {
		c.skip()
		return ""
	}
	start := c.at
	c.skip()
	raw := c.data[start:c.at]
	if len(raw) > MaxText {
		return ""
	}
	if inner := raw[1 : len(raw)-1]; bytes.IndexByte(inner, '\\') < 0 && utf8.Valid(inner) {
		return string(inner)
	}
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// First reads the first text of an array of texts, or a text alone.
func (c *Cursor) First() (s string) {
	if c.next() != '[' {
		return c.Text()
	}
	_ = c.Array(func() error {
		if s == "" {
			s = c.Text()
		}
		return nil
	})
	return s
}

// Raw are the bytes of a value, which are the document's.
func (c *Cursor) Raw() []byte {
	c.next()
	start := c.at
	c.skip()
	return c.data[start:c.at]
}

// skip passes over a value. Its form is known to be right.
func (c *Cursor) skip() {
	depth := 0
	for c.next() != 0 {
		switch c.data[c.at] {
		case '{', '[':
			depth++
			c.at++
		case '}', ']':
			depth--
			c.at++
		case '"':
			c.at++
			for c.at < len(c.data) && c.data[c.at] != '"' {
				if c.data[c.at] == '\\' {
					c.at++
				}
				c.at++
			}
			c.at++
		default:
			for c.at < len(c.data) && bytes.IndexByte([]byte(" \t\r\n,:{}[]\""), c.data[c.at]) < 0 {
				c.at++
			}
		}
		if depth <= 0 {
			return
		}
	}
}
