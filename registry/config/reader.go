package config

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry/access"
)

// reader collects what is wrong with a text, all of it.
type reader struct {
	lines map[string]int
	dir   string
	errs  []error
}

// bad notes that the value at a path is wrong.
func (r *reader) bad(path, format string, args ...any) {
	err := errdefs.Invalid(format, args...)
	if line := r.lines[path]; line > 0 {
		r.errs = append(r.errs, fmt.Errorf("line %d: %s: %w", line, path, err))
		return
	}
	r.errs = append(r.errs, fmt.Errorf("%s: %w", path, err))
}

// section is a map of the text. A nil one has nothing in it.
type section struct {
	*reader
	path   string
	values map[string]any
	known  []string
}

// sub is the path of a key.
func (s *section) sub(key string) string {
	if s.path == "" {
		return key
	}
	return s.path + "." + key
}

// get returns a value, nil when there is none, and notes that its key is known.
func (s *section) get(key string) any {
	s.known = append(s.known, key)
	return s.values[key]
}

// end complains about keys that nobody asked for.
func (s *section) end() {
	keys := make([]string, 0, len(s.values))
	for k := range s.values {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		if !slices.Contains(s.known, k) {
			s.bad(s.sub(k), "there is no such key; known are %s", strings.Join(s.known, ", "))
		}
	}
}

// section returns the map below a key, an empty one when there is none.
func (s *section) section(key string) *section {
	return s.asSection(s.sub(key), s.get(key))
}

func (s *section) asSection(path string, v any) *section {
	m, ok := v.(map[string]any)
	if !ok && v != nil {
		s.bad(path, "want a map")
	}
	return &section{reader: s.reader, path: path, values: m}
}

// sections returns the maps of a list.
func (s *section) sections(key string) []*section {
	v := s.get(key)
	list, ok := v.([]any)
	if !ok && v != nil {
		s.bad(s.sub(key), "want a list of maps")
	}
	var out []*section
	for i, e := range list {
		path := s.sub(key) + "[" + strconv.Itoa(i) + "]"
		if _, ok := e.(map[string]any); !ok {
			s.bad(path, "want a map")
			continue
		}
		out = append(out, s.asSection(path, e))
	}
	return out
}

func (s *section) text(key string) string {
	v := s.get(key)
	t, ok := v.(string)
	if !ok && v != nil {
		s.bad(s.sub(key), "want a text")
	}
	return t
}

// file is a path; one that is not absolute begins at the directory of the text.
func (s *section) file(key string) string {
	return s.join(s.text(key))
}

// join is a path from the directory of the text.
func (s *section) join(p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(s.dir, p)
}

// texts is a list of texts; a single one is a list as well.
func (s *section) texts(key string) []string {
	v := s.get(key)
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
				s.bad(s.sub(key)+"["+strconv.Itoa(i)+"]", "want a text")
				continue
			}
			out = append(out, t)
		}
		return out
	default:
		s.bad(s.sub(key), "want a list of texts")
		return nil
	}
}

// patterns is a list of patterns, at least one.
func (s *section) patterns(key string) []string {
	list := s.texts(key)
	if len(list) == 0 {
		s.bad(s.path, "%s is missing", key)
	}
	for _, p := range list {
		if err := access.CheckPattern(p); err != nil {
			s.bad(s.sub(key), "%w", err)
		}
	}
	return list
}

func (s *section) flag(key string) bool {
	v := s.get(key)
	b, ok := v.(bool)
	if !ok && v != nil {
		s.bad(s.sub(key), "want true or false")
	}
	return b
}

// number is one that is not negative.
func (s *section) number(key string) float64 {
	switch v := s.get(key).(type) {
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
	s.bad(s.sub(key), "want a number that is not negative")
	return 0
}

// duration is a text like 90s, 12h or 30d.
func (s *section) duration(key string) time.Duration {
	t := s.text(key)
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
		s.bad(s.sub(key), "want a time like 90s, 12h or 30d")
		return 0
	}
	return d
}

// moment is a date, or a time as RFC 3339 has it.
func (s *section) moment(key string) time.Time {
	t := s.text(key)
	if t == "" {
		return time.Time{}
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if m, err := time.Parse(layout, t); err == nil {
			return m
		}
	}
	s.bad(s.sub(key), "want a date like 2030-01-31, or 2030-01-31T12:00:00Z")
	return time.Time{}
}

// size is a number of bytes, or a text like 10GB or 10GiB.
func (s *section) size(key string) int64 {
	v := s.get(key)
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
	s.bad(s.sub(key), "want a size like 500MB or 10GiB")
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

// networks are addresses or networks.
func (s *section) networks(key string) []netip.Prefix {
	var out []netip.Prefix
	for _, t := range s.texts(key) {
		if a, err := netip.ParseAddr(t); err == nil {
			out = append(out, netip.PrefixFrom(a, a.BitLen()))
			continue
		}
		p, err := netip.ParsePrefix(t)
		if err != nil {
			s.bad(s.sub(key), "%q is neither an address nor a network", t)
			continue
		}
		out = append(out, p.Masked())
	}
	return out
}
