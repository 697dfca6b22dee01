package lint

import (
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// shellScript looks at the syntax tree of a script.
func (l *linter) shellScript(s *script) {
	if s.err != nil {
		l.unreadable(s)
		return
	}
	if s.file == nil {
		return
	}
	if i := strings.Index(s.text, "\u00a0"); i >= 0 && s.at >= 0 {
		l.report("SC1018", s.in, l.logical(s.in).span(s.at+i, s.at+i+2), "")
	}
	v := &visit{linter: l, s: s, vars: s.vars, plain: !s.stops()}
	s.vars.assigned(s)
	v.stmts(s.file.Stmts)
	syntax.Walk(s.file, v.node)
	if !l.bashed(s) {
		l.portable(s)
	}
}

// unreadable reports a script that no shell can read.
func (l *linter) unreadable(s *script) {
	at, text := s.in.at, s.err.Error()
	switch err := s.err.(type) { //nolint:errorlint // the parser returns it as it is
	case syntax.ParseError:
		at, text = l.span(s, err.Pos, err.Pos), err.Text
	case syntax.LangError:
		return // of a shell that has it
	}
	l.report("SC1072", s.in, at, "the shell cannot read this: "+text)
}

// stops tells whether the first failure ends the script.
func (s *script) stops() bool {
	for _, o := range s.options {
		if strings.HasPrefix(o, "-") && !strings.HasPrefix(o, "--") && strings.Contains(o, "e") {
			return true
		}
	}
	for _, c := range s.calls {
		if c.is("set") && (c.has("-e") || c.hasArg("errexit")) {
			return true
		}
	}
	return false
}

// visit is one walk over a script.
type visit struct {
	*linter
	s     *script
	vars  *variables
	plain bool // a failure does not end the script
	// quiet are nodes whose words are not split or expanded.
	quiet map[syntax.Node]bool
}

func (v *visit) at(code string, n syntax.Node, message string, edits ...Edit) {
	v.report(code, v.s.in, v.span(v.s, n.Pos(), n.End()), message, edits...)
}

func (v *visit) hush(n syntax.Node) {
	if v.quiet == nil {
		v.quiet = make(map[syntax.Node]bool)
	}
	v.quiet[n] = true
}

// node looks at one node; those above it have been looked at.
func (v *visit) node(n syntax.Node) bool {
	switch n := n.(type) {
	case *syntax.CallExpr:
		v.call(n)
	case *syntax.DeclClause:
		v.declare(n)
	case *syntax.BinaryCmd:
		v.binary(n)
	case *syntax.ForClause:
		v.loop(n)
	case *syntax.Stmt:
		v.redirects(n)
	case *syntax.Block:
		v.stmts(n.Stmts)
	case *syntax.Subshell:
		v.stmts(n.Stmts)
	case *syntax.CmdSubst:
		if n.Backquotes {
			v.at("SC2006", n, "", v.backquotes(n)...)
		}
		v.echoed(n)
	case *syntax.Assign:
		if n.Value != nil {
			v.hush(n.Value)
		}
	case *syntax.CaseClause:
		v.hush(n.Word)
	case *syntax.TestClause:
		v.hushAll(n)
	case *syntax.Redirect:
		if n.Word != nil && n.Hdoc == nil {
			v.hush(n.Word)
		}
		if n.Hdoc != nil {
			v.hush(n.Hdoc)
		}
	case *syntax.ArithmExp:
		v.hushAll(n)
	case *syntax.ParamExp:
		if n.Param != nil {
			v.unset(n)
		}
	case *syntax.Word:
		v.word(n)
	}
	return true
}

func (v *visit) hushAll(n syntax.Node) {
	syntax.Walk(n, func(n syntax.Node) bool {
		if w, ok := n.(*syntax.Word); ok {
			v.hush(w)
		}
		return true
	})
}

// backquotes makes $() of “ when nothing in it is quoted.
func (v *visit) backquotes(n *syntax.CmdSubst) []Edit {
	from, to := int(n.Left.Offset()), int(n.Right.Offset())
	if from >= to || to >= len(v.s.text) || strings.ContainsAny(v.s.text[from+1:to], "\\`\"'#\n") || to == from+1 || v.s.text[from+1] == '(' {
		return nil
	}
	out := append(v.edit(v.s, n.Left, plus(n.Left, 1), "$("), v.edit(v.s, n.Right, plus(n.Right, 1), ")")...)
	if len(out) != 2 {
		return nil
	}
	return out
}

func plus(p syntax.Pos, n uint) syntax.Pos {
	return syntax.NewPos(p.Offset()+n, max(p.Line(), 1), max(p.Col()+n, 1))
}

// call looks at a simple command.
func (v *visit) call(n *syntax.CallExpr) {
	if len(n.Args) == 0 {
		return
	}
	c := v.s.nodes[n]
	if c == nil {
		return
	}
	v.assignments(n)
	switch c.name {
	case "echo":
		v.echo(c)
		v.uselessEcho(n, c)
	case "printf":
		if len(c.args) > 0 && !c.args[0].static && c.args[0].text != "--" {
			v.at("SC2059", c.args[0].word, "")
		}
	case "read":
		if !c.has("-r") {
			v.at("SC2162", n, "")
		}
	case "rm":
		v.remove(c)
	case "find", "grep":
		v.patterns(c)
	case "[", "test":
		v.test(c)
	case "egrep", "fgrep":
		v.at("SC2196", n.Args[0], c.name+" is deprecated", v.edit(v.s, c.pos, c.nameEnd, "grep -"+strings.ToUpper(c.name[:1]))...)
	case "If", "IF", "Then", "THEN", "Fi", "FI", "Else", "ELSE", "Elif", "ELIF", "For", "FOR", "While", "WHILE", "Do", "DO", "Done", "DONE", "Case", "CASE", "Esac", "ESAC":
		v.at("SC1081", n.Args[0], c.name+" is no keyword, "+strings.ToLower(c.name)+" is")
	}
	if c.is("rm", "chmod", "chown", "cp", "mv", "cat", "tar", "gzip") {
		v.dashes(c)
	}
}

// assignments finds what was meant as one.
func (v *visit) assignments(n *syntax.CallExpr) {
	first := n.Args[0]
	if len(first.Parts) > 1 {
		p, isParam := first.Parts[0].(*syntax.ParamExp)
		lit, isLit := first.Parts[1].(*syntax.Lit)
		if isParam && isLit && p.Short && strings.HasPrefix(lit.Value, "=") {
			v.at("SC2281", first, "")
		}
	}
	if len(n.Args) > 1 && n.Args[1].Lit() == "=" {
		name := first.Lit()
		if name != "" && nameLen(name) == len(name) && name != "test" && name != "expr" {
			v.at("SC2283", first, "")
		}
	}
}

func (v *visit) echo(c *call) {
	if v.s.shell != "bash" || c.has("-e") {
		return
	}
	for _, a := range c.args {
		if a.static && (strings.Contains(a.text, `\n`) || strings.Contains(a.text, `\t`)) {
			v.at("SC2028", a.word, "")
			return
		}
	}
}

// uselessEcho finds echo of nothing but the output of a command.
func (v *visit) uselessEcho(n *syntax.CallExpr, c *call) {
	if len(c.args) != 1 || c.args[0].word == nil || len(c.args[0].word.Parts) != 1 {
		return
	}
	p := c.args[0].word.Parts[0]
	if q, ok := p.(*syntax.DblQuoted); ok && len(q.Parts) == 1 {
		p = q.Parts[0]
	}
	if _, ok := p.(*syntax.CmdSubst); ok {
		v.at("SC2005", n, "")
	}
}

// remove finds rm -r of a path that is the root when a variable is empty.
func (v *visit) remove(c *call) {
	if !c.has("-r", "-R", "--recursive") {
		return
	}
	for _, a := range c.args {
		if a.word == nil || a.static {
			continue
		}
		parts := a.word.Parts
		if q, ok := parts[0].(*syntax.DblQuoted); ok && len(q.Parts) > 0 {
			parts = append(append([]syntax.WordPart{}, q.Parts...), parts[1:]...)
		}
		p, isParam := parts[0].(*syntax.ParamExp)
		if !isParam || p.Exp != nil || p.Param == nil || len(parts) < 2 || v.vars.full(p.Param.Value) {
			continue
		}
		if lit, ok := parts[1].(*syntax.Lit); ok && (lit.Value == "/" || strings.HasPrefix(lit.Value, "/*")) {
			v.at("SC2115", a.word, "when $"+p.Param.Value+" is empty, all is removed")
		}
	}
}

// patterns finds arguments that are for the program and that the shell expands.
func (v *visit) patterns(c *call) {
	check := func(a arg) {
		if a.word != nil && !a.quoted && a.static && strings.ContainsAny(a.text, "*?") && !strings.Contains(a.word.Lit(), `\`) {
			v.at("SC2061", a.word, "")
		}
	}
	if c.name == "grep" {
		if args := c.operands(0, "-e", "-f", "-m", "-A", "-B", "-C", "--include", "--exclude"); len(args) > 1 && !c.has("-e", "-f") {
			check(args[0])
		}
		return
	}
	for i, a := range c.args {
		switch a.text {
		case "-name", "-iname", "-path", "-ipath", "-wholename", "-regex":
			if i+1 < len(c.args) {
				check(c.args[i+1])
			}
		}
	}
}

// dashes finds patterns whose first match may look like an option.
func (v *visit) dashes(c *call) {
	for _, a := range c.args {
		if a.text == "--" {
			return
		}
		if a.word != nil && !a.quoted && strings.HasPrefix(a.text, "*") && a.static {
			v.at("SC2035", a.word, "")
		}
	}
}

func (v *visit) test(c *call) {
	for i, a := range c.args {
		if a.word == nil {
			continue
		}
		switch {
		case (a.text == "-a" || a.text == "-o") && i > 0 && i+1 < len(c.args)-1 && a.static && !a.quoted:
			v.at("SC2166", a.word, "")
		case a.text == "-n" && i+1 < len(c.args) && c.args[i+1].word != nil && !c.args[i+1].static && !c.args[i+1].quoted && i == 0:
			v.at("SC2070", c.args[i+1].word, "")
		}
	}
}

// declare finds failures that export and its like hide.
func (v *visit) declare(n *syntax.DeclClause) {
	for _, a := range n.Args {
		if a.Value == nil {
			continue
		}
		v.hush(a.Value)
		for _, p := range a.Value.Parts {
			if q, ok := p.(*syntax.DblQuoted); ok && len(q.Parts) == 1 {
				p = q.Parts[0]
			}
			if _, ok := p.(*syntax.CmdSubst); ok && n.Variant != nil && n.Variant.Value != "readonly" {
				v.at("SC2155", a, "")
				break
			}
		}
	}
}

// binary looks at pipes and lists.
func (v *visit) binary(n *syntax.BinaryCmd) {
	switch n.Op {
	case syntax.Pipe:
		c := v.s.callOf(n.X)
		if c != nil && c.is("cat") && len(c.args) == 1 && !strings.HasPrefix(c.args[0].text, "-") && len(n.X.Redirs) == 0 && !strings.ContainsAny(c.args[0].text, "*?{") && c.args[0].text != "" {
			v.at("SC2002", n.X, "")
		}
		v.sameFile(n)
	case syntax.OrStmt:
		b, ok := n.X.Cmd.(*syntax.BinaryCmd)
		if !ok || b.Op != syntax.AndStmt {
			return
		}
		// What ends the script, or does nothing, is meant for all failures before it.
		if c := v.s.callOf(n.Y); c != nil && c.is("exit", "return", "true", ":", "false", "echo", "printf", "kill", "die", "break", "continue") {
			return
		}
		if _, ok := n.Y.Cmd.(*syntax.Block); ok {
			return
		}
		if c := v.s.callOf(b.Y); c != nil && c.is("echo", "printf", "true", ":") {
			return
		}
		if _, ok := b.Y.Cmd.(*syntax.CallExpr); ok && len(b.Y.Cmd.(*syntax.CallExpr).Args) == 0 {
			return // an assignment does not fail
		}
		v.at("SC2015", n, "")
	}
}

// sameFile finds a pipe that writes to the file that it reads.
func (v *visit) sameFile(n *syntax.BinaryCmd) {
	c := v.s.callOf(n.X)
	if c == nil || !c.is("cat", "sort", "grep", "sed", "awk", "head", "tail", "tr", "cut", "uniq", "jq") {
		return
	}
	for _, r := range n.Y.Redirs {
		if r.Op != syntax.RdrOut || r.Word == nil {
			continue
		}
		for _, a := range c.operands(0) {
			if to := argOf(r.Word); a.static && to.static && a.text == to.text && a.text != "" && !strings.HasPrefix(a.text, "/dev/") {
				v.at("SC2094", r, a.text+" is read and written at once")
			}
		}
	}
}

// loop looks at what a for goes over.
func (v *visit) loop(n *syntax.ForClause) {
	it, ok := n.Loop.(*syntax.WordIter)
	if !ok {
		return
	}
	for _, w := range it.Items {
		v.hush(w) // to split is what it is for
		for _, p := range w.Parts {
			sub, ok := p.(*syntax.CmdSubst)
			if !ok || len(sub.Stmts) != 1 {
				continue
			}
			if c := v.s.callOf(sub.Stmts[0]); c != nil && c.is("ls") {
				v.at("SC2045", w, "")
			}
		}
	}
}

// redirects finds 2>&1 in front of what it should be behind.
func (v *visit) redirects(st *syntax.Stmt) {
	for i, r := range st.Redirs {
		if r.Op == syntax.DplOut && r.N != nil && r.N.Value == "2" && r.Word.Lit() == "1" && i+1 < len(st.Redirs) {
			if next := st.Redirs[i+1]; (next.Op == syntax.RdrOut || next.Op == syntax.AppOut) && (next.N == nil || next.N.Value == "1") {
				if _, piped := st.Cmd.(*syntax.CallExpr); piped {
					v.at("SC2069", r, "")
				}
			}
		}
	}
}

// echoed finds $(echo x), and the callers of echo $(x).
func (v *visit) echoed(n *syntax.CmdSubst) {
	if len(n.Stmts) != 1 || len(n.Stmts[0].Redirs) > 0 {
		return
	}
	c := v.s.callOf(n.Stmts[0])
	if c == nil || c.name != "echo" || len(c.args) != 1 || strings.HasPrefix(c.args[0].text, "-") || c.args[0].word == nil {
		return
	}
	if strings.ContainsAny(c.args[0].text, "*?[{~") && !c.args[0].quoted || !c.args[0].static && !c.args[0].quoted {
		return // the shell expands it
	}
	v.at("SC2116", n, "")
}

// stmts finds a cd whose failure nothing sees, in a list of statements.
func (v *visit) stmts(list []*syntax.Stmt) {
	if !v.plain {
		return
	}
	for i, st := range list {
		c := v.s.callOf(st)
		if c == nil || i+1 == len(list) || !c.is("cd") || len(c.args) == 0 {
			continue
		}
		if t := c.args[0].text; t == "/" || t == ".." || t == "-" || t == "~" {
			continue // they do not fail
		}
		v.at("SC2164", st.Cmd, "")
	}
}
