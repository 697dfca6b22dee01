package hcl

import (
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/camada/camada/errdefs"
)

// collective are the functions of lists and maps.
func collective(name string) Func {
	switch name {
	case "length", "strlen":
		return length
	case "concat":
		return concat
	case "flatten":
		return flatten
	case "merge":
		return merge
	case "keys", "values":
		return mapParts(name == "keys")
	case "lookup":
		return lookup
	case "contains":
		return contains
	case "coalesce":
		return coalesce
	case "element", "index":
		return elementAt
	case "distinct", "setunion", "toset":
		return distinct
	case "sort":
		return sorted
	case "reverse", "reverselist":
		return reverse
	case "slice":
		return slice
	case "compact":
		return compact
	case "zipmap":
		return zipmap
	}
	return nil
}

func length(args []any) (any, error) {
	if err := count(args, 1, 1); err != nil {
		return nil, err
	}
	switch v := args[0].(type) {
	case string:
		return float64(len([]rune(v))), nil
	case []any:
		return float64(len(v)), nil
	case map[string]any:
		return float64(len(v)), nil
	}
	return nil, errdefs.Invalid("length: %s has none", kind(args[0]))
}

func concat(args []any) (any, error) {
	out := []any{}
	for _, a := range args {
		l, err := asList(a)
		if err != nil {
			return nil, err
		}
		if out = append(out, l...); len(out) > maxItems {
			return nil, errdefs.Limit("a list of more than %d elements", maxItems)
		}
	}
	return out, nil
}

func flatten(args []any) (any, error) {
	if err := count(args, 1, 1); err != nil {
		return nil, err
	}
	out := []any{}
	var add func(v any, depth int) error
	add = func(v any, depth int) error {
		l, ok := v.([]any)
		if !ok || depth > maxDepth {
			if out = append(out, v); len(out) > maxItems {
				return errdefs.Limit("a list of more than %d elements", maxItems)
			}
			return nil
		}
		for _, e := range l {
			if err := add(e, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	if err := add(args[0], 0); err != nil {
		return nil, err
	}
	return out, nil
}

func merge(args []any) (any, error) {
	out := map[string]any{}
	for _, a := range args {
		if a == nil {
			continue
		}
		m, ok := a.(map[string]any)
		if !ok {
			return nil, errdefs.Invalid("merge: %s is not a map", kind(a))
		}
		maps.Copy(out, m)
	}
	return out, nil
}

func mapParts(names bool) Func {
	return func(args []any) (any, error) {
		if err := count(args, 1, 1); err != nil {
			return nil, err
		}
		m, ok := args[0].(map[string]any)
		if !ok {
			return nil, errdefs.Invalid("%s is not a map", kind(args[0]))
		}
		out := []any{}
		for _, k := range slices.Sorted(maps.Keys(m)) {
			if names {
				out = append(out, k)
			} else {
				out = append(out, m[k])
			}
		}
		return out, nil
	}
}

func lookup(args []any) (any, error) {
	if err := count(args, 2, 3); err != nil {
		return nil, err
	}
	v, err := element(args[0], args[1])
	if err != nil && len(args) == 3 {
		return args[2], nil
	}
	return v, err
}

func contains(args []any) (any, error) {
	if err := count(args, 2, 2); err != nil {
		return nil, err
	}
	if s, ok := args[0].(string); ok {
		sub, err := Text(args[1])
		return strings.Contains(s, sub), err
	}
	l, err := asList(args[0])
	if err != nil {
		return nil, err
	}
	return slices.ContainsFunc(l, func(v any) bool { return equal(v, args[1]) }), nil
}

// coalesce is the first argument that is neither null nor empty.
func coalesce(args []any) (any, error) {
	for _, a := range args {
		if a != nil && a != "" {
			return a, nil
		}
	}
	return nil, errdefs.Invalid("coalesce: all arguments are empty")
}

func elementAt(args []any) (any, error) {
	if err := count(args, 2, 2); err != nil {
		return nil, err
	}
	l, err := asList(args[0])
	if err != nil {
		return nil, err
	}
	n, err := number(args[1])
	if err != nil {
		return nil, err
	}
	if len(l) == 0 || n < 0 || n > math.MaxInt32 {
		return nil, errdefs.Invalid("the list has %d elements, no element %v", len(l), n)
	}
	return l[int(n)%len(l)], nil
}

func distinct(args []any) (any, error) {
	all, err := concat(args)
	if err != nil {
		return nil, err
	}
	out := []any{}
	seen := map[string]bool{}
	for _, v := range all.([]any) {
		// Texts are told apart quickly, all others by comparing.
		if s, ok := v.(string); ok {
			if !seen[s] {
				seen[s] = true
				out = append(out, v)
			}
			continue
		}
		if len(out) > 1000 {
			return nil, errdefs.Limit("distinct: more than 1000 elements that are no strings")
		}
		if !slices.ContainsFunc(out, func(o any) bool { return equal(o, v) }) {
			out = append(out, v)
		}
	}
	return out, nil
}

func sorted(args []any) (any, error) {
	if err := count(args, 1, 1); err != nil {
		return nil, err
	}
	l, err := asList(args[0])
	if err != nil {
		return nil, err
	}
	s, err := texts(l, 0, -1)
	if err != nil {
		return nil, err
	}
	slices.Sort(s)
	return anys(s), nil
}

func reverse(args []any) (any, error) {
	if err := count(args, 1, 1); err != nil {
		return nil, err
	}
	if s, ok := args[0].(string); ok {
		r := []rune(s)
		slices.Reverse(r)
		return string(r), nil
	}
	l, err := asList(args[0])
	if err != nil {
		return nil, err
	}
	l = slices.Clone(l)
	slices.Reverse(l)
	return l, nil
}

func slice(args []any) (any, error) {
	if err := count(args, 3, 3); err != nil {
		return nil, err
	}
	l, err := asList(args[0])
	if err != nil {
		return nil, err
	}
	from, err := number(args[1])
	if err != nil {
		return nil, err
	}
	to, err := number(args[2])
	if err != nil {
		return nil, err
	}
	if from < 0 || to < from || to > float64(len(l)) {
		return nil, errdefs.Invalid("slice: %v to %v of %d elements", from, to, len(l))
	}
	return slices.Clone(l[int(from):int(to)]), nil
}

func compact(args []any) (any, error) {
	if err := count(args, 1, 1); err != nil {
		return nil, err
	}
	l, err := asList(args[0])
	if err != nil {
		return nil, err
	}
	out := []any{}
	for _, v := range l {
		if v != nil && v != "" {
			out = append(out, v)
		}
	}
	return out, nil
}

func zipmap(args []any) (any, error) {
	if err := count(args, 2, 2); err != nil {
		return nil, err
	}
	keys, err := asList(args[0])
	if err != nil {
		return nil, err
	}
	values, err := asList(args[1])
	if err != nil {
		return nil, err
	}
	if len(keys) != len(values) {
		return nil, errdefs.Invalid("zipmap: %d keys and %d values", len(keys), len(values))
	}
	out := map[string]any{}
	for i, k := range keys {
		name, err := Text(k)
		if err != nil {
			return nil, err
		}
		out[name] = values[i]
	}
	return out, nil
}
