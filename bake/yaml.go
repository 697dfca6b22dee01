package bake

import (
	"github.com/camada/camada/errdefs"
	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// maxValues is how many values a document may have after its aliases were followed.
const maxValues = 200_000

// parseYAML reads a YAML document into maps and lists. Aliases can make billions of values of a few bytes, so they are counted
// before anything is made of them.
func parseYAML(data []byte) (map[string]any, error) {
	f, err := parser.ParseBytes(data, 0)
	if err != nil {
		return nil, errdefs.Invalid("%s", yaml.FormatError(err, false, false))
	}
	c := counter{anchors: map[string]int{}}
	for _, d := range f.Docs {
		if _, err := c.count(d.Body, 0); err != nil {
			return nil, err
		}
	}
	var doc map[string]any
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, errdefs.Invalid("%s", yaml.FormatError(err, false, false))
	}
	return doc, nil
}

// counter counts the values of a document; anchors are those of the anchors so far.
type counter struct{ anchors map[string]int }

func (c counter) count(n ast.Node, depth int) (int, error) {
	if depth > 200 {
		return 0, errdefs.Limit("more than 200 levels of nesting")
	}
	total := 1
	add := func(nodes ...ast.Node) error {
		for _, n := range nodes {
			k, err := c.count(n, depth+1)
			if err != nil {
				return err
			}
			if total += k; total > maxValues {
				return errdefs.Limit("more than %d values, aliases included", maxValues)
			}
		}
		return nil
	}
	var err error
	switch n := n.(type) {
	case *ast.MappingNode:
		for _, v := range n.Values {
			if err = add(v); err != nil {
				break
			}
		}
	case *ast.MappingValueNode:
		err = add(n.Key, n.Value)
	case *ast.SequenceNode:
		err = add(n.Values...)
	case *ast.TagNode:
		err = add(n.Value)
	case *ast.AnchorNode:
		err = add(n.Value)
		c.anchors[n.Name.GetToken().Value] = total
	case *ast.AliasNode:
		if total += c.anchors[n.Value.GetToken().Value]; total > maxValues {
			err = errdefs.Limit("more than %d values, aliases included", maxValues)
		}
	}
	return total, err
}
