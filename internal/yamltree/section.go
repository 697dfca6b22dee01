package yamltree

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
)

// Section is a map of a text, whose keys are asked for by their names:
//
//	top, err := yamltree.Top(data)
//	listen, every := top.Text("listen"), top.Duration("every")
//	for _, r := range top.Sections("rules") { name := r.Text("name"); r.End() }
//	top.End()
//	err = top.Err()
//
// What is wrong is collected, with its line and its path, and told at once by Err; the value is zero then. A section without anything in it stands for
// one that is not there.
type Section struct {
	// Path of the map: "rules[0]", and "" for the whole text. Values are what is in it.
	Path   string
	Values map[string]any

	problems *problems
	known    []string
}

type problems struct {
	lines map[string]int
	errs  []error
}

// Top reads a text of one document that is a map, or empty.
func Top(data []byte) (*Section, error) {
	docs, err := Parse(data)
	if err != nil {
		return nil, err
	}
	var top any
	switch len(docs) {
	case 0:
	case 1:
		top = docs[0]
	default:
		return nil, errdefs.Invalid("more than one document")
	}
	values, ok := top.(map[string]any)
	if !ok && top != nil {
		return nil, errdefs.Invalid("want a map of keys")
	}
	return &Section{Values: values, problems: &problems{lines: Lines(data)}}, nil
}

// Err is all that was wrong, here and in all other sections of the text, of class ErrInvalid.
func (s *Section) Err() error { return errors.Join(s.problems.errs...) }

// Bad notes that the value at a path is wrong.
func (s *Section) Bad(path, format string, args ...any) {
	err := fmt.Errorf("%s: %w", path, errdefs.Invalid(format, args...))
	if line := s.Line(path); line > 0 {
		err = fmt.Errorf("line %d: %w", line, err)
	}
	s.problems.errs = append(s.problems.errs, err)
}

// Line is where the value at a path stands, from 1; 0 when that is not known.
func (s *Section) Line(path string) int { return s.problems.lines[path] }

// Sub is the path of a key.
func (s *Section) Sub(key string) string {
	if s.Path == "" {
		return key
	}
	return s.Path + "." + key
}

// Get returns a value, nil when there is none, and notes that its key is known.
func (s *Section) Get(key string) any {
	if !slices.Contains(s.known, key) {
		s.known = append(s.known, key)
	}
	return s.Values[key]
}

// Has reports whether there is a value, and notes that its key is known.
func (s *Section) Has(key string) bool { return s.Get(key) != nil }

// End complains about keys that nobody asked for.
func (s *Section) End() {
	keys := make([]string, 0, len(s.Values))
	for k := range s.Values {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		if !slices.Contains(s.known, k) {
			s.Bad(s.Sub(k), "there is no such key; known are %s", strings.Join(s.known, ", "))
		}
	}
}

// Section returns the map below a key, an empty one when there is none.
func (s *Section) Section(key string) *Section { return s.As(s.Sub(key), s.Get(key)) }

// As makes a section of a value that was got, at its path.
func (s *Section) As(path string, v any) *Section {
	m, ok := v.(map[string]any)
	if !ok && v != nil {
		s.Bad(path, "want a map")
	}
	return &Section{Path: path, Values: m, problems: s.problems}
}

// Sections returns the maps of a list.
func (s *Section) Sections(key string) []*Section {
	v := s.Get(key)
	list, ok := v.([]any)
	if !ok && v != nil {
		s.Bad(s.Sub(key), "want a list of maps")
	}
	var out []*Section
	for i, e := range list {
		path := s.Sub(key) + "[" + strconv.Itoa(i) + "]"
		if _, ok := e.(map[string]any); !ok {
			s.Bad(path, "want a map")
			continue
		}
		out = append(out, s.As(path, e))
	}
	return out
}

// Text is a text.
func (s *Section) Text(key string) string {
	v := s.Get(key)
	t, ok := v.(string)
	if !ok && v != nil {
		s.Bad(s.Sub(key), "want a text")
	}
	return t
}

// Texts is a list of texts; a single one is a list as well.
func (s *Section) Texts(key string) []string {
	v := s.Get(key)
	switch v := v.(type) {
	case nil:
		return nil
	case string:
		return []string{v}
	case []any:
		var out []string
		for i, e := range v {
			t, ok := e.(string)
			if !ok {
				s.Bad(s.Sub(key)+"["+strconv.Itoa(i)+"]", "want a text")
				continue
			}
			out = append(out, t)
		}
		return out
	default:
		s.Bad(s.Sub(key), "want a list of texts")
		return nil
	}
}

// Flag is true or false.
func (s *Section) Flag(key string) bool {
	v := s.Get(key)
	b, ok := v.(bool)
	if !ok && v != nil {
		s.Bad(s.Sub(key), "want true or false")
	}
	return b
}

// Number is one that is not negative.
func (s *Section) Number(key string) float64 {
	switch v := s.Get(key).(type) {
	case nil:
		return 0
	case uint64:
		return float64(v)
	case int64:
		if v >= 0 {
			return float64(v)
		}
	case float64:
		if v >= 0 && v < 1e12 {
			return v
		}
	}
	s.Bad(s.Sub(key), "want a number that is not negative")
	return 0
}

// Duration is a text like 90s, 12h or 30d.
func (s *Section) Duration(key string) time.Duration {
	t := s.Text(key)
	if t == "" {
		return 0
	}
	d, err := time.ParseDuration(t)
	if days, ok := strings.CutSuffix(t, "d"); ok {
		var n uint64
		n, err = strconv.ParseUint(days, 10, 16)
		d = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || d < 0 {
		s.Bad(s.Sub(key), "want a time like 90s, 12h or 30d")
		return 0
	}
	return d
}

// Moment is a date, or a time as RFC 3339 has it.
func (s *Section) Moment(key string) time.Time {
	t := s.Text(key)
	if t == "" {
		return time.Time{}
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if m, err := time.Parse(layout, t); err == nil {
			return m
		}
	}
	s.Bad(s.Sub(key), "want a date like 2030-01-31, or 2030-01-31T12:00:00Z")
	return time.Time{}
}

// Size is a number of bytes, or a text like 10GB or 10GiB.
func (s *Section) Size(key string) int64 {
	v := s.Get(key)
	switch v := v.(type) {
	case nil:
		return 0
	case uint64:
		if v < 1<<62 {
			return int64(v)
		}
	case string:
		if n, ok := parseSize(v); ok {
			return n
		}
	}
	s.Bad(s.Sub(key), "want a size like 500MB or 10GiB")
	return 0
}

func parseSize(s string) (int64, bool) {
	unit := int64(1)
	for _, u := range []struct {
		suffix string
		bytes  int64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}, {"KB", 1e3}, {"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1}} {
		if rest, ok := strings.CutSuffix(s, u.suffix); ok {
			s, unit = strings.TrimSpace(rest), u.bytes
			break
		}
	}
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || n < 0 || n*float64(unit) > 1<<62 {
		return 0, false
	}
	return int64(n * float64(unit)), true
}
