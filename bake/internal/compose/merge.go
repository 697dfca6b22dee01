package compose

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/yamltree"
)

// mark is the place of a value with !reset or !override: the keys that lead to it.
type mark []string

// takeMarks returns v without tags, and adds their places to marks: what has !reset goes, what has !override stays as it
// is. In a list there is no place to mark.
func takeMarks(v any, path mark, marks *[]mark) any {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			at := append(slices.Clone(path), k)
			t, tagged := e.(yamltree.Tagged)
			if !tagged {
				v[k] = takeMarks(e, at, marks)
				continue
			}
			*marks = append(*marks, at)
			if v[k] = takeMarks(t.Value, nil, new([]mark)); t.Tag == "!reset" {
				delete(v, k)
			}
		}
	case []any:
		kept := v[:0]
		for _, e := range v {
			t, tagged := e.(yamltree.Tagged)
			if tagged && t.Tag == "!reset" {
				continue
			}
			if tagged {
				e = t.Value
			}
			kept = append(kept, takeMarks(e, nil, new([]mark)))
		}
		return kept
	case yamltree.Tagged: // a tag of a tag
		return takeMarks(v.Value, path, marks)
	}
	return v
}

// apply takes away what is at the place in all.
func (m mark) apply(all map[string]any) {
	for _, k := range m[:len(m)-1] {
		next, ok := all[k].(map[string]any)
		if !ok {
			return
		}
		all = next
	}
	delete(all, m[len(m)-1])
}

// merge lays over on top of base, which it changes (Compose Specification, 13-merge.md): maps are joined, lists are appended
// to, all else is replaced. path are the keys that lead to base.
func merge(base, over map[string]any, path []string) error {
	for _, k := range slices.Sorted(maps.Keys(over)) {
		have, ok := base[k]
		if !ok {
			base[k] = over[k]
			continue
		}
		v, err := joined(have, over[k], append(slices.Clone(path), k))
		if err != nil {
			return err
		}
		base[k] = v
	}
	return nil
}

func joined(base, over any, path []string) (any, error) {
	if isPairs(path) {
		return joinPairs(sequence(base, "="), sequence(over, "=")), nil
	}
	if over == nil {
		return base, nil
	}
	if len(path) == 5 && path[3] == "ulimits" {
		if _, ok := over.(map[string]any); !ok {
			return over, nil
		}
		if _, ok := base.(map[string]any); !ok {
			return over, nil
		}
	}
	switch base := base.(type) {
	case map[string]any:
		m, ok := over.(map[string]any)
		if !ok {
			return nil, errdefs.Invalid("%s is a map in one file and none in another", strings.Join(path, "."))
		}
		return base, merge(base, m, path)
	case []any:
		l, ok := over.([]any)
		if !ok {
			return nil, errdefs.Invalid("%s is a list in one file and none in another", strings.Join(path, "."))
		}
		return appendNew(base, l), nil
	}
	return over, nil
}

// isPairs tells the places that have NAME=VALUE, as a list or as a map.
func isPairs(path []string) bool {
	if len(path) < 3 || path[0] != "services" {
		return false
	}
	return len(path) == 3 && path[2] == "environment" ||
		len(path) == 4 && path[2] == "build" && slices.Contains([]string{"args", "additional_contexts", "labels"}, path[3])
}

// joinPairs joins lists of NAME=VALUE: the last of a name counts, at the place of its first.
func joinPairs(base, over []any) []any {
	out := []any{}
	at := map[string]int{}
	for _, e := range slices.Concat(base, over) {
		name, _, _ := strings.Cut(fmt.Sprint(e), "=")
		if i, ok := at[name]; ok {
			out[i] = e
			continue
		}
		at[name] = len(out)
		out = append(out, e)
	}
	return out
}

// sequence makes a list of NAME=VALUE of a map; a list stays.
func sequence(v any, sep string) []any {
	switch v := v.(type) {
	case []any:
		return v
	case map[string]any:
		var out []any
		for _, k := range slices.Sorted(maps.Keys(v)) {
			switch e := v[k].(type) {
			case nil:
				out = append(out, k)
			case []any: // several addresses of a host
				for _, a := range e {
					out = append(out, k+sep+fmt.Sprint(a))
				}
			default:
				out = append(out, k+sep+fmt.Sprint(e))
			}
		}
		return out
	case string:
		return []any{v}
	}
	return nil
}

// appendNew appends what is not there yet.
func appendNew(base, more []any) []any {
	texts := map[string]bool{}
	for _, e := range base {
		if s, ok := e.(string); ok {
			texts[s] = true
		}
	}
	for _, e := range more {
		if s, ok := e.(string); ok {
			if !texts[s] {
				texts[s] = true
				base = append(base, e)
			}
			continue
		}
		if !slices.ContainsFunc(base, func(have any) bool { return reflect.DeepEqual(have, e) }) {
			base = append(base, e)
		}
	}
	return base
}

// clone copies a value, and counts what it makes.
func (l *loader) clone(v any) (any, error) {
	if err := l.spend(1); err != nil {
		return nil, err
	}
	var err error
	switch v := v.(type) {
	case []any:
		out := slices.Clone(v)
		for i := range out {
			if out[i], err = l.clone(out[i]); err != nil {
				return nil, err
			}
		}
		return out, nil
	case map[string]any:
		out := maps.Clone(v)
		for k := range out {
			if out[k], err = l.clone(out[k]); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return v, nil
}
