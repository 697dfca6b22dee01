package dockerfile

import (
	"bytes"
	"path"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// directives reads "# syntax=" and "# check=". "# escape=" is the parser's.
func (f *File) directives(src []byte, check string) error {
	src = bytes.TrimPrefix(src, []byte("\xef\xbb\xbf"))
	if _, full, loc, ok := parser.DetectSyntax(src); ok {
		f.Syntax = full
		image, _, _ := strings.Cut(full, "@")
		image = path.Base(image)
		image, _, _ = strings.Cut(image, ":")
		if image != "dockerfile" && image != "dockerfile-upstream" {
			return f.unsupported(loc, "the frontend "+full, "only docker/dockerfile's language is built in")
		}
	}
	var loc []parser.Range
	var options string // BuildKit reads them up to a space
	if first, full, at, ok := parser.ParseDirective("check", src); ok {
		f.Check, options, loc = full, first, at
	}
	if check != "" {
		return f.newLint(check, nil)
	}
	return f.newLint(options, loc)
}

// CheckCommand refuses what is not there yet. It is for commands that come from ONBUILD
// triggers; those of the file have been checked by Parse.
func (f *File) CheckCommand(c instructions.Command) error {
	switch c := c.(type) {
	case *instructions.CopyCommand:
		for _, s := range c.SourcePaths {
			if isURL(s) || isGit(s) {
				return f.Invalid(c.Location(), "ADD reads URLs, COPY does not", "the source %s of COPY is a URL", s)
			}
		}
	case *instructions.OnbuildCommand:
		return f.checkOnbuild(c)
	}
	return nil
}

// checkOnbuild reads the trigger now, so that a mistake in it is told to the
// one who wrote it.
func (f *File) checkOnbuild(c *instructions.OnbuildCommand) error {
	cmd, err := f.Trigger(c.Expression, c.Location())
	if err != nil {
		return err
	}
	return f.CheckCommand(cmd)
}

// Trigger parses the text of an ONBUILD instruction; errors and the command's
// location are at loc.
func (f *File) Trigger(expr string, loc []parser.Range) (instructions.Command, error) {
	res, err := parser.Parse(strings.NewReader(expr))
	if err == nil && len(res.AST.Children) != 1 {
		return nil, f.Invalid(loc, "", "the trigger is not one instruction")
	}
	if err != nil {
		return nil, f.Invalid(loc, "", "%s", err)
	}
	node := res.AST.Children[0]
	node.StartLine, node.EndLine = lineRange(loc)
	node.PrevComment = nil // a "check=" comment would need a linter
	cmd, err := instructions.ParseCommand(node)
	if err != nil {
		return nil, f.fromParser(err)
	}
	if _, ok := cmd.(*instructions.OnbuildCommand); ok {
		return nil, f.Invalid(loc, "", "ONBUILD in ONBUILD is not allowed")
	}
	return cmd, nil
}

// TriggerName is what messages call an ONBUILD trigger, whose text comes from another file: its
// first line, without what a terminal would obey.
func TriggerName(expr string) string {
	lines := splitLines([]byte(expr))
	if len(lines) == 0 {
		return "ONBUILD"
	}
	if len(lines) > 1 {
		lines[0] += " ..."
	}
	return "ONBUILD " + lines[0]
}

func isURL(s string) bool {
	s = strings.ToLower(s)
	return strings.HasPrefix(s, "http://") || strings.HasPrefix(s, "https://")
}

// isGit knows the forms that cannot be a local path.
func isGit(s string) bool {
	l := strings.ToLower(s)
	for _, p := range []string{"git://", "ssh://", "git@", "github.com/"} {
		if strings.HasPrefix(l, p) {
			return true
		}
	}
	if !isURL(s) {
		return false
	}
	s, _, _ = strings.Cut(s, "#")
	return strings.HasSuffix(s, ".git")
}
