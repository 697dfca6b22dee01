package yamltree

import (
	"maps"
	"slices"
	"strconv"

	"github.com/camada/camada/errdefs"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// mapping reads the entries of a map. What a merge key brings gives way to what the map says itself, wherever that stands.
func (r *reader) mapping(entries []*ast.MappingValueNode, depth int) (any, error) {
	out := make(map[string]any, len(entries))
	var merged []map[string]any
	for _, e := range entries {
		if e.Key.IsMergeKey() {
			v, err := r.value(e.Value, depth+1)
			if err != nil {
				return nil, err
			}
			from, ok := mappings(v)
			if !ok {
				return nil, at(e.Key.GetToken(), errdefs.Invalid("the merge key << wants a map, or a list of maps"))
			}
			merged = append(merged, from...)
			continue
		}
		key, err := r.key(e.Key)
		if err != nil {
			return nil, err
		}
		if err := inside(e.Key.GetToken(), e.Value); err != nil {
			return nil, err
		}
		if _, twice := out[key]; twice {
			return nil, at(e.Key.GetToken(), errdefs.Invalid("the key %q is there twice", key))
		}
		if out[key], err = r.value(e.Value, depth+1); err != nil {
			return nil, err
		}
	}
	for _, m := range merged {
		for k, v := range m {
			if _, ok := out[k]; !ok {
				out[k] = v
			}
		}
	}
	return out, nil
}

// mappings are the maps that a merge key names: one, or several, the first of which wins.
func mappings(v any) ([]map[string]any, bool) {
	switch v := v.(type) {
	case map[string]any:
		return []map[string]any{v}, true
	case []any:
		var out []map[string]any
		for _, e := range v {
			m, ok := e.(map[string]any)
			if !ok {
				return nil, false
			}
			out = append(out, m)
		}
		return out, true
	}
	return nil, false
}

// key reads a key: a text, or another scalar as it is written.
func (r *reader) key(n ast.Node) (string, error) {
	switch k := n.(type) {
	case *ast.MappingKeyNode: // ? KEY
		return r.key(k.Value)
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode, *ast.StringNode, *ast.LiteralNode:
		v, err := r.value(n, 0)
		if err != nil {
			return "", err
		}
		if s, ok := v.(string); ok {
			return s, nil
		}
	case ast.ScalarNode:
		return n.GetToken().Value, r.spend(n)
	}
	if n == nil {
		return "", errdefs.Invalid("a key is missing")
	}
	return "", at(n.GetToken(), errdefs.Invalid("a key that is no text"))
}

// inside refuses a tag without a value, whose value the parser takes from a line that stands no further in than from is.
func inside(from *token.Token, n ast.Node) error {
	t, ok := n.(*ast.TagNode)
	if !ok || t.Value == nil || from == nil {
		return nil
	}
	if v := first(t.Value); v != nil && v.Position.Line > t.Start.Position.Line && v.Position.Column <= from.Position.Column {
		return at(t.Start, errdefs.Invalid("the tag %s has no value on its line; write %s null", t.Start.Value, t.Start.Value))
	}
	return nil
}

// first is the first token of a node.
func first(n ast.Node) *token.Token {
	switch m := n.(type) {
	case *ast.MappingNode:
		if !m.IsFlowStyle && len(m.Values) > 0 {
			return m.Values[0].Key.GetToken()
		}
	case *ast.MappingValueNode:
		return m.Key.GetToken()
	}
	return n.GetToken()
}

// plain reads a scalar without quotes behind a tag, which the parser takes for a text.
func plain(n ast.Node, v any) any {
	if s, ok := n.(*ast.StringNode); ok && s.Token.Type == token.StringType {
		switch s.Value {
		case "null", "Null", "NULL", "~", "":
			return nil
		case "true", "false":
			return s.Value == "true"
		}
	}
	return v
}

// tagged reads a value with a tag.
func (r *reader) tagged(n *ast.TagNode, depth int) (any, error) {
	tag := n.Start.Value
	v, err := r.value(n.Value, depth+1)
	if err != nil {
		return nil, err
	}
	s, isText := v.(string)
	switch tag {
	case "!!null", "!!bool", "!!map", "!!seq", "!":
		return v, nil
	case "!!str":
		if scalar, ok := n.Value.(ast.ScalarNode); ok && !isText && v != nil {
			return scalar.GetToken().Value, nil
		}
		if v == nil {
			return "", nil
		}
		return v, nil
	case "!!int":
		if !isText {
			return v, nil
		}
		i, err := strconv.ParseInt(s, 0, 64)
		if err != nil {
			return nil, at(n.Start, errdefs.Invalid("%q is not an integer", s))
		}
		return i, nil
	case "!!float":
		if !isText {
			return v, nil
		}
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return nil, at(n.Start, errdefs.Invalid("%q is not a number", s))
		}
		return f, nil
	}
	if slices.Contains(r.tags, tag) {
		return Tagged{tag, plain(n.Value, v)}, nil
	}
	return nil, at(n.Start, errdefs.Unsupported("the tag %s is not supported", tag))
}

// clone copies the value of an anchor for a use of it.
func (r *reader) clone(n ast.Node, v any, depth int) (any, error) {
	if depth > maxDepth {
		return nil, at(n.GetToken(), errdefs.Limit("more than %d levels of nesting", maxDepth))
	}
	if err := r.spend(n); err != nil {
		return nil, err
	}
	var err error
	switch v := v.(type) {
	case []any:
		out := slices.Clone(v)
		for i := range out {
			if out[i], err = r.clone(n, out[i], depth+1); err != nil {
				return nil, err
			}
		}
		return out, nil
	case map[string]any:
		out := maps.Clone(v)
		for k := range out {
			if out[k], err = r.clone(n, out[k], depth+1); err != nil {
				return nil, err
			}
		}
		return out, nil
	case Tagged:
		v.Value, err = r.clone(n, v.Value, depth+1)
		return v, err
	}
	return v, nil
}
