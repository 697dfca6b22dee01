package yamltree

import (
	"strconv"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
)

// Lines tells on which line each value of the first document of a text stands that Parse could read, by its path: "rules[0].users". A value that an alias
// brings stands where the alias does.
func Lines(data []byte) map[string]int {
	lines := map[string]int{}
	tokens := lexer.Tokenize(string(data))
	if len(data) > MaxSize || shallow(tokens) != nil {
		return lines
	}
	f, err := parser.Parse(tokens, 0)
	if err != nil {
		return lines
	}
	for _, d := range f.Docs {
		if _, directive := d.Body.(*ast.DirectiveNode); directive || d.Body == nil {
			continue
		}
		note(lines, "", d.Body, 0)
		break
	}
	return lines
}

// note notes where the values below a node stand.
func note(lines map[string]int, path string, n ast.Node, depth int) {
	if depth > maxDepth || len(lines) > maxValues {
		return
	}
	var entries []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.AnchorNode:
		note(lines, path, n.Value, depth+1)
	case *ast.TagNode:
		note(lines, path, n.Value, depth+1)
	case *ast.MappingNode:
		entries = n.Values
	case *ast.MappingValueNode:
		entries = []*ast.MappingValueNode{n}
	case *ast.SequenceNode:
		for i, e := range n.Values {
			below := path + "[" + strconv.Itoa(i) + "]"
			if t := first(e); t != nil && t.Position != nil {
				lines[below] = t.Position.Line
			}
			note(lines, below, e, depth+1)
		}
	}
	for _, e := range entries {
		t := e.Key.GetToken()
		if t == nil || t.Position == nil {
			continue
		}
		below := t.Value
		if path != "" {
			below = path + "." + below
		}
		lines[below] = t.Position.Line
		if e.Value != nil {
			note(lines, below, e.Value, depth+1)
		}
	}
}
