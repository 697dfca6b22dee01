// Package yamltree reads YAML into plain values, with bounds on what a few bytes can become.
//
//	docs, err := yamltree.Parse(data, "!reset")
//	top, ok := docs[0].(map[string]any)
//
// Values are nil, bool, string, int64, uint64, float64, []any, map[string]any, and Tagged for the tags that the caller knows.
// Aliases and merge keys are followed; each use of an anchor is a copy, so values may be changed in place. Keys are texts.
package yamltree

import (
	"errors"
	"math"
	"strconv"

	"github.com/camada/camada/errdefs"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// The bounds of what is read.
const (
	// MaxSize of the text, in bytes.
	MaxSize = 4 << 20
	// maxValues is how many values there may be after aliases were followed.
	maxValues = 200_000
	// maxDepth of what is nested.
	maxDepth = 200
)

// Tagged is a value with a tag in front of it, one of those that Parse was given.
type Tagged struct {
	Tag   string
	Value any
}

// Parse reads the documents of a YAML text; tags are those that it may have besides the standard ones (YAML 1.2, 10.2). Errors
// are of class ErrInvalid, ErrLimit, or ErrUnsupported for tags that are not known, and say the line. They never show the text,
// which may be a file that was not meant to be read.
func Parse(data []byte, tags ...string) ([]any, error) {
	if len(data) > MaxSize {
		return nil, errdefs.Limit("%d bytes of YAML, more than %d", len(data), MaxSize)
	}
	tokens := lexer.Tokenize(string(data))
	if err := shallow(tokens); err != nil {
		return nil, err
	}
	f, err := parser.Parse(tokens, 0)
	if err != nil {
		return nil, syntax(err)
	}
	r := &reader{tags: tags, left: maxValues}
	var docs []any
	for _, d := range f.Docs {
		if _, directive := d.Body.(*ast.DirectiveNode); directive {
			continue
		}
		r.anchors = map[string]any{} // those of a document are its own
		v, err := r.value(d.Body, 0)
		if err != nil {
			return nil, err
		}
		docs = append(docs, v)
	}
	return docs, nil
}

// shallow bounds the depth before the parser, which calls itself for each level, sees the text.
func shallow(tokens token.Tokens) error {
	flow, run := 0, 0
	for _, t := range tokens {
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow--
		case token.SequenceEntryType, token.MappingKeyType, token.MappingValueType, token.TagType, token.AnchorType:
			run++
		default:
			run = 0
		}
		if flow > maxDepth || run > maxDepth {
			return at(t, errdefs.Limit("more than %d levels of nesting", maxDepth))
		}
	}
	return nil
}

// syntax is an error of the parser without the excerpt of the text.
func syntax(err error) error {
	var e interface {
		GetMessage() string
		GetToken() *token.Token
	}
	if !errors.As(err, &e) {
		return errdefs.Invalid("not YAML")
	}
	return at(e.GetToken(), errdefs.Invalid("%s", e.GetMessage()))
}

func at(t *token.Token, err error) error {
	if t == nil || t.Position == nil {
		return err
	}
	return &lineError{t.Position.Line, err}
}

type lineError struct {
	line int
	err  error
}

func (e *lineError) Error() string { return "line " + strconv.Itoa(e.line) + ": " + e.err.Error() }
func (e *lineError) Unwrap() error { return e.err }

// reader makes values of nodes.
type reader struct {
	tags    []string
	anchors map[string]any
	left    int
}

// spend counts values.
func (r *reader) spend(n ast.Node) error {
	if r.left--; r.left < 0 {
		return at(n.GetToken(), errdefs.Limit("more than %d values, aliases included", maxValues))
	}
	return nil
}

func (r *reader) value(n ast.Node, depth int) (any, error) {
	if n == nil {
		return nil, nil
	}
	if depth > maxDepth {
		return nil, at(n.GetToken(), errdefs.Limit("more than %d levels of nesting", maxDepth))
	}
	if err := r.spend(n); err != nil {
		return nil, err
	}
	switch n := n.(type) {
	case *ast.NullNode, *ast.CommentGroupNode:
		return nil, nil
	case *ast.BoolNode:
		return n.Value, nil
	case *ast.IntegerNode:
		return n.Value, nil
	case *ast.FloatNode:
		return n.Value, nil
	case *ast.InfinityNode:
		return n.Value, nil
	case *ast.NanNode:
		return math.NaN(), nil
	case *ast.StringNode:
		return n.Value, nil
	case *ast.LiteralNode:
		return n.Value.Value, nil
	case *ast.TagNode:
		return r.tagged(n, depth)
	case *ast.AnchorNode:
		v, err := r.value(n.Value, depth+1)
		if err == nil {
			r.anchors[n.Name.GetToken().Value] = v
		}
		return v, err
	case *ast.AliasNode:
		name := n.Value.GetToken().Value
		v, ok := r.anchors[name]
		if !ok {
			return nil, at(n.GetToken(), errdefs.Invalid("there is no anchor %q before its use", name))
		}
		return r.clone(n, v, depth)
	case *ast.MappingNode:
		return r.mapping(n.Values, depth)
	case *ast.MappingValueNode:
		return r.mapping([]*ast.MappingValueNode{n}, depth)
	case *ast.SequenceNode:
		out := make([]any, 0, len(n.Values))
		for _, e := range n.Values {
			if err := inside(n.Start, e); err != nil {
				return nil, err
			}
			v, err := r.value(e, depth+1)
			if err != nil {
				return nil, err
			}
			out = append(out, v)
		}
		return out, nil
	}
	return nil, at(n.GetToken(), errdefs.Invalid("%s is no value", n.Type()))
}
