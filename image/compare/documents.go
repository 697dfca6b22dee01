package compare

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"

	"github.com/camada/camada/errdefs"
)

// maxFields is how many values two documents may differ in.
const maxFields = 100_000

// Documents compares two JSON documents, such as configs, and returns the values that differ, each named by
// its path, e.g. "config.Env[2]". Values are shown as JSON; "" is one that is not there.
func Documents(first, second []byte) ([]Field, error) {
	a, err := decode(first)
	if err != nil {
		return nil, err
	}
	b, err := decode(second)
	if err != nil {
		return nil, err
	}
	var out []Field
	if err := values("", a, b, true, true, &out); err != nil {
		return nil, err
	}
	return out, nil
}

func decode(data []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, errdefs.Corrupt("compare documents: %w", err)
	}
	return v, nil
}

// values compares two values; inA and inB tell whether they are there.
func values(path string, a, b any, inA, inB bool, out *[]Field) error {
	if len(*out) >= maxFields {
		return errdefs.Limit("the documents differ in more than %d values", maxFields)
	}
	if ma, mb := asMap(a), asMap(b); (ma != nil || !inA) && (mb != nil || !inB) && (ma != nil || mb != nil) {
		keys := slices.Collect(maps.Keys(ma))
		for k := range mb {
			if _, both := ma[k]; !both {
				keys = append(keys, k)
			}
		}
		slices.Sort(keys)
		for _, k := range keys {
			x, hasX := ma[k]
			y, hasY := mb[k]
			name := k
			if path != "" {
				name = path + "." + k
			}
			if err := values(name, x, y, hasX, hasY, out); err != nil {
				return err
			}
		}
		return nil
	}
	if la, lb := asList(a), asList(b); la != nil && lb != nil {
		for i := range max(len(la), len(lb)) {
			var x, y any
			if i < len(la) {
				x = la[i]
			}
			if i < len(lb) {
				y = lb[i]
			}
			if err := values(path+"["+strconv.Itoa(i)+"]", x, y, i < len(la), i < len(lb), out); err != nil {
				return err
			}
		}
		return nil
	}
	x, y := text(a, inA), text(b, inB)
	if x != y {
		*out = append(*out, Field{path, x, y})
	}
	return nil
}

func asMap(v any) map[string]any { m, _ := v.(map[string]any); return m }

func asList(v any) []any { l, _ := v.([]any); return l }

func text(v any, there bool) string {
	if !there {
		return ""
	}
	data, err := json.Marshal(v)
	if err != nil { // what was decoded can be encoded
		return err.Error()
	}
	return string(data)
}
