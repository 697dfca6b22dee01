package lint

import (
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// variables are what is known of those of a stage or a script. A layer of them lies over another, which it does not change.
type variables struct {
	below *variables
	have  map[string]variable
}

// variable is what is known of one: plain ones have nothing that the shell would split or expand, full ones are not empty.
type variable struct {
	value       string
	plain, full bool
}

func newVariables(below *variables) *variables { return &variables{below: below} }

func (v *variables) get(name string) (variable, bool) {
	for ; v != nil; v = v.below {
		if is, ok := v.have[name]; ok {
			return is, true
		}
	}
	return variable{}, false
}

func (v *variables) plain(name string) bool { is, _ := v.get(name); return is.plain }
func (v *variables) full(name string) bool  { is, _ := v.get(name); return is.full }
func (v *variables) set(name string) bool   { _, ok := v.get(name); return ok }

// note notes a value; known is false for one that is not known before the script is executed. One of several must do for all.
func (v *variables) note(name, value string, known bool) {
	if v.have == nil {
		v.have = make(map[string]variable)
	}
	before, again := v.have[name]
	is := variable{value: value, plain: known && !strings.ContainsAny(value, " \t\n*?["), full: known && value != ""}
	if again {
		is.plain, is.full = is.plain && before.plain, is.full && before.full
	}
	v.have[name] = is
}

// global is the default of an ARG before the first FROM.
func (l *linter) global(name string) *string {
	for i := range l.file.Args {
		for _, kv := range l.file.Args[i].Args {
			if kv.Key == name {
				return kv.Value
			}
		}
	}
	empty := "x" // those of platforms
	if strings.HasPrefix(name, "TARGET") || strings.HasPrefix(name, "BUILD") {
		return &empty
	}
	return nil
}

// value notes a variable of the Dockerfile. A value that is made of plain ones is plain.
func (l *linter) value(v *variables, name string, value *string) {
	if value == nil {
		v.note(name, "", false)
		return
	}
	text := strings.Trim(*value, `"'`)
	for i := strings.IndexByte(text, '$'); i >= 0; i = strings.IndexByte(text, '$') {
		rest := strings.TrimPrefix(text[i+1:], "{")
		n := nameLen(rest)
		if n == 0 || !v.plain(rest[:n]) {
			v.note(name, "", false)
			return
		}
		text = text[:i] + "x" + strings.TrimPrefix(rest[n:], "}")
	}
	v.note(name, text, true)
}

// assigned notes what the script sets.
func (v *variables) assigned(s *script) {
	syntax.Walk(s.file, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.Assign:
			if n.Name == nil {
				break
			}
			if n.Value == nil || n.Naked {
				if !v.set(n.Name.Value) {
					v.note(n.Name.Value, "", false)
				}
				break
			}
			v.note(n.Name.Value, argOf(n.Value).text, v.plainWord(n.Value))
		case *syntax.WordIter:
			known, all := true, ""
			for _, w := range n.Items {
				known = known && v.plainWord(w)
				all += argOf(w).text
			}
			v.note(n.Name.Value, all, known)
		case *syntax.CallExpr:
			c := s.nodes[n]
			if c == nil || !c.is("read", "getopts", "mapfile", "readarray", "printf", "eval", "source", ".", "let", "unset") {
				break
			}
			for _, a := range c.args {
				if k := nameLen(a.text); k > 0 && k == len(a.text) {
					v.note(a.text, "", false)
				}
			}
		case *syntax.ParamExp:
			if n.Exp != nil && n.Param != nil && (n.Exp.Op == syntax.AssignUnset || n.Exp.Op == syntax.AssignUnsetOrNull) {
				v.note(n.Param.Value, "", false)
			}
		}
		return true
	})
}

// plainWord tells whether a word becomes one without anything that is split or expanded.
func (v *variables) plainWord(w *syntax.Word) bool {
	for _, p := range w.Parts {
		if q, ok := p.(*syntax.DblQuoted); ok {
			if !v.plainWord(&syntax.Word{Parts: q.Parts}) {
				return false
			}
			continue
		}
		switch p := p.(type) {
		case *syntax.Lit, *syntax.SglQuoted:
		case *syntax.ParamExp:
			if p.Param == nil || !v.plain(p.Param.Value) && !special(p.Param.Value) {
				return false
			}
		case *syntax.CmdSubst:
			if !oneWord(p) {
				return false
			}
		case *syntax.ArithmExp:
		default:
			return false
		}
	}
	return true
}

// special tells whether the value is a number.
func special(name string) bool {
	switch name {
	case "?", "#", "$", "!", "-", "UID", "EUID", "PPID", "RANDOM", "LINENO", "SECONDS":
		return true
	}
	return false
}

// oneWord tells whether a command prints one word.
func oneWord(n *syntax.CmdSubst) bool {
	if len(n.Stmts) != 1 {
		return false
	}
	st := lastOf(n.Stmts[0])
	call, ok := st.Cmd.(*syntax.CallExpr)
	if !ok || len(call.Args) == 0 {
		return false
	}
	switch call.Args[0].Lit() {
	case "nproc", "uname", "id", "getconf", "arch", "whoami", "hostname", "mktemp", "which", "basename", "dirname", "pwd", "wc", "rpm", "dpkg-architecture", "expr", "readlink", "realpath",
		"lsb_release", "xx-info":
		return true
	case "command":
		return len(call.Args) > 1 && call.Args[1].Lit() == "-v"
	case "dpkg":
		return len(call.Args) > 1 && strings.HasPrefix(call.Args[1].Lit(), "--print")
	case "date":
		return len(call.Args) > 1 && strings.HasPrefix(argOf(call.Args[1]).text, "+")
	case "apk":
		return len(call.Args) > 1 && call.Args[1].Lit() == "--print-arch"
	case "head", "tail", "tr", "cut", "sed", "awk", "grep", "sha256sum", "jq", "cat", "go", "python", "python3", "node", "git":
		return false
	}
	return false
}

// word looks at what is split and expanded in an argument.
func (v *visit) word(w *syntax.Word) {
	if v.quiet[w] {
		return
	}
	for _, p := range w.Parts {
		switch p := p.(type) {
		case *syntax.ParamExp:
			v.param(p)
		case *syntax.CmdSubst:
			// What is an argument by itself is mostly meant to become several.
			if len(w.Parts) > 1 && !oneWord(p) {
				v.at("SC2046", p, "")
			}
		case *syntax.DblQuoted:
			v.bracket(p.Parts)
		}
	}
	v.bracket(w.Parts)
}

// bracket finds "$name[0]".
func (v *visit) bracket(parts []syntax.WordPart) {
	for i := 0; i+1 < len(parts); i++ {
		p, isParam := parts[i].(*syntax.ParamExp)
		lit, isLit := parts[i+1].(*syntax.Lit)
		if isParam && isLit && p.Short && strings.HasPrefix(lit.Value, "[") && strings.Contains(lit.Value, "]") && p.Param != nil {
			v.at("SC1087", p, "")
		}
	}
}

func (v *visit) param(p *syntax.ParamExp) {
	if p.Length || p.Param == nil {
		return
	}
	name := p.Param.Value
	if name == "*" || name == "@" {
		v.at("SC2048", p, "")
		return
	}
	if special(name) || v.vars.plain(name) || lists(name) {
		return
	}
	if p.Exp != nil && p.Exp.Op != syntax.RemSmallPrefix && p.Exp.Op != syntax.RemSmallSuffix && p.Exp.Op != syntax.RemLargePrefix && p.Exp.Op != syntax.RemLargeSuffix {
		return // ${x:+…} and the like are often meant to vanish
	}
	v.at("SC2086", p, "$"+name+" is split at spaces, and patterns in it are expanded")
}

// lists tells whether the name of a variable says that it has several words.
func lists(name string) bool {
	name = strings.ToUpper(name)
	for _, end := range []string{"FLAGS", "OPTS", "OPTIONS", "ARGS", "DEPS", "PACKAGES", "PKGS", "PACKAGE_LIST", "EXTRAS", "MODULES", "FILES", "PLUGINS", "EXTENSIONS", "LIST"} {
		if strings.HasSuffix(name, end) {
			return true
		}
	}
	return false
}

// unset finds variables in lower case that nothing sets: those in capitals may be the base image's.
func (v *visit) unset(p *syntax.ParamExp) {
	name := p.Param.Value
	if name != strings.ToLower(name) || nameLen(name) != len(name) || v.vars.set(name) || !v.sets() || p.Exp != nil || p.IsSet {
		return
	}
	switch name {
	case "http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy", "_":
		return
	}
	v.at("SC2154", p, "nothing sets $"+name)
}

// sets tells whether all that can set a variable is known: not after eval or a file that is read.
func (v *visit) sets() bool {
	for _, c := range v.s.calls {
		if c.is("eval", "source", ".") {
			return false
		}
	}
	return true
}
