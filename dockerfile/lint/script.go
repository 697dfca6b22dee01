package lint

import (
	"bytes"
	"path"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"mvdan.cc/sh/v3/syntax"
)

const (
	// maxScript is the longest script that is parsed, in bytes.
	maxScript = 128 << 10
	// maxOpen bounds how deep the parser, which calls itself for each level, can go.
	maxOpen = 4000
	// maxCalls is how many commands of a script are looked at.
	maxCalls = 2000
	// maxScripts is how many scripts of a file are looked at.
	maxScripts = 5000
)

// script is what a RUN gives to a shell.
type script struct {
	in *inst
	// shell is the program that reads it: "sh", "bash", "ash" ...; "" is one that is not known.
	shell string
	// options are what the shell is started with.
	options []string
	text    string
	// at is where text begins in the logical text of the instruction; -1 when its bytes have no place there.
	at   int
	file *syntax.File
	// err is why it cannot be parsed.
	err   error
	calls []*call
	nodes map[*syntax.CallExpr]*call
	vars  *variables
}

// script reads the script of a RUN. It is nil when no shell that is known reads it.
func (l *linter) script(in *inst, run *instructions.RunCommand) *script {
	if l.scripts++; l.scripts > maxScripts {
		return nil
	}
	if !run.PrependShell {
		return l.execForm(in, run.CmdLine)
	}
	if len(run.CmdLine) == 0 {
		return nil
	}
	s := &script{in: in, at: -1}
	shell := l.shellOf(in.stage)
	s.shell, s.options = path.Base(shell[0]), shell[1:]
	text := l.logical(in)
	head := strings.TrimRight(text.text[:text.head], " \t\v\f\r")
	if strings.HasSuffix(head, run.CmdLine[0]) {
		s.at = len(head) - len(run.CmdLine[0])
		s.text = text.text[s.at:]
	} else {
		s.text = run.CmdLine[0]
	}
	if len(run.Files) == 1 && strings.HasPrefix(run.CmdLine[0], "<<") && len(strings.Fields(run.CmdLine[0])) == 1 && s.at >= 0 {
		s.body(text, run.Files[0])
	}
	if !posix(s.shell) {
		return nil
	}
	s.parse()
	return s
}

// body makes the body of a heredoc the script, which the shell reads, or the program that its first line names.
func (s *script) body(text *logical, file instructions.ShellInlineFile) {
	s.at = min(text.head+1, len(text.text))
	s.text = text.text[s.at:]
	if i := strings.LastIndexByte(strings.TrimRight(s.text, "\n"), '\n'); i >= 0 {
		s.text = s.text[:i+1] // the last line ends the heredoc
	} else {
		s.text = ""
	}
	first, ok := strings.CutPrefix(file.Data, "#!")
	if !ok {
		return
	}
	first, _, _ = strings.Cut(first, "\n")
	words := strings.Fields(first)
	if len(words) > 1 && path.Base(words[0]) == "env" {
		words = words[1:]
	}
	if len(words) == 0 {
		s.shell = ""
		return
	}
	s.shell, s.options = path.Base(words[0]), words[1:]
}

// execForm makes a script of a command line without a shell: of what it gives to one, or of the one command that it is.
func (l *linter) execForm(in *inst, line []string) *script {
	if len(line) == 0 {
		return nil
	}
	s := &script{in: in, at: -1, shell: "exec"}
	if len(line) == 3 && posix(path.Base(line[0])) && strings.HasPrefix(line[1], "-") && strings.HasSuffix(line[1], "c") {
		s.shell, s.options, s.text = path.Base(line[0]), line[1:2], line[2]
		s.parse()
		return s
	}
	c := &call{script: s, name: path.Base(line[0])}
	for _, a := range line[1:] {
		c.args = append(c.args, arg{text: a, static: true, quoted: true})
	}
	s.calls = []*call{c}
	return s
}

// shellOf is what reads the shell form in a stage, as far as it was read.
func (l *linter) shellOf(st *stage) []string {
	if len(st.shell) > 0 {
		return st.shell
	}
	if word := l.pragma("shell"); word != "" {
		return []string{word, "-c"}
	}
	return []string{"/bin/sh", "-c"}
}

// posix tells whether the syntax of a shell is that of the parser.
func posix(shell string) bool {
	switch shell {
	case "sh", "bash", "ash", "dash", "ksh", "mksh", "busybox":
		return true
	}
	return false
}

// deep counts what could make the parser go one level deeper.
func deep(text string) int {
	n := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '(', '{', '`', '[':
			n++
		}
	}
	for word := range strings.FieldsFuncSeq(text, func(r rune) bool { return r < 'a' || r > 'z' }) {
		switch word {
		case "if", "elif", "while", "until", "for", "case", "select", "time", "coproc", "function":
			n++
		}
	}
	return n
}

// parse makes the syntax tree and the calls.
func (s *script) parse() {
	if len(s.text) > maxScript || deep(s.text) > maxOpen {
		return
	}
	// What is a mistake in all of them is one for sure.
	for _, lang := range []syntax.LangVariant{syntax.LangBash, syntax.LangPOSIX, syntax.LangMirBSDKorn} {
		file, err := syntax.NewParser(syntax.Variant(lang)).Parse(strings.NewReader(s.text), "")
		if err == nil {
			s.file, s.err = file, nil
			break
		}
		if s.err == nil {
			s.err = err
		}
	}
	if s.file != nil {
		s.nodes = make(map[*syntax.CallExpr]*call)
		syntax.Walk(s.file, func(n syntax.Node) bool {
			if c, ok := n.(*syntax.CallExpr); ok && len(c.Args) > 0 && len(s.calls) < maxCalls {
				s.calls = append(s.calls, s.call(c))
				s.nodes[c] = s.calls[len(s.calls)-1]
			}
			return true
		})
	}
}

// span is where the nodes from one position to another came from: all of the instruction when that is not known.
func (l *linter) span(s *script, from, to syntax.Pos) span {
	if s.at < 0 || !from.IsValid() || !to.IsValid() {
		return s.in.at
	}
	start, end := s.at+int(from.Offset()), s.at+int(to.Offset())
	text := l.logical(s.in)
	if start > end || end > len(text.text) {
		return s.in.at
	}
	return text.span(start, end)
}

// edit takes the place of the text from one position to another; none when that is in several pieces of the source.
func (l *linter) edit(s *script, from, to syntax.Pos, text string) []Edit {
	if s.at < 0 || s.in.trigger || !from.IsValid() || !to.IsValid() {
		return nil
	}
	all := l.logical(s.in)
	start, end := s.at+int(from.Offset()), s.at+int(to.Offset())
	if start > end || end > len(all.text) || start < end && !all.whole(start, end) {
		return nil
	}
	at := all.span(start, end)
	if start == end && start > 0 {
		// Behind the byte before, which may be the last of a line.
		at.start = all.source(start-1) + 1
		at.end = at.start
	}
	return []Edit{{at.start, at.end, text}}
}

// call is one command of a script.
type call struct {
	script *script
	// name is the program without its directory, "" when that cannot be told. What runs another program (env, sudo, time) is passed over.
	name string
	args []arg
	// pos and end are those of the words, nameEnd that of the program's name.
	pos, end, nameEnd syntax.Pos
	node              *syntax.CallExpr
	// sudo tells that it is called through sudo.
	sudo bool
}

// arg is an argument.
type arg struct {
	// text is without quotes; what is expanded stands in it as "$NAME", or "$" alone.
	text string
	// static tells that nothing is expanded, quoted that there are quotes.
	static, quoted bool
	word           *syntax.Word
}

func (s *script) call(n *syntax.CallExpr) *call {
	c := &call{script: s, node: n, pos: n.Args[0].Pos(), end: n.Args[len(n.Args)-1].End()}
	args := make([]arg, len(n.Args))
	for i, w := range n.Args {
		args[i] = argOf(w)
	}
	for len(args) > 0 {
		name := path.Base(args[0].text)
		if !args[0].static {
			name = ""
		}
		c.name, c.args = name, args[1:]
		if w := args[0].word; w != nil {
			c.pos, c.nameEnd = w.Pos(), w.End()
		}
		rest := wrapped(name, args[1:])
		if rest == nil {
			break
		}
		c.sudo = c.sudo || name == "sudo"
		args = rest
	}
	return c
}

// wrapped is the command that another one runs; nil when it runs none.
func wrapped(name string, args []arg) []arg {
	switch name {
	case "sudo", "env", "command", "exec", "time", "nice", "nohup", "eatmydata":
	default:
		return nil
	}
	for i, a := range args {
		if strings.HasPrefix(a.text, "-") {
			return nil // options may take values
		}
		if name == "env" && strings.Contains(a.text, "=") {
			continue
		}
		return args[i:]
	}
	return nil
}

func argOf(w *syntax.Word) arg {
	var b bytes.Buffer
	a := arg{static: true, word: w}
	a.parts(&b, w.Parts, false)
	a.text = b.String()
	return a
}

func (a *arg) parts(b *bytes.Buffer, parts []syntax.WordPart, inQuotes bool) {
	for _, p := range parts {
		switch p := p.(type) {
		case *syntax.Lit:
			b.WriteString(unescape(p.Value, inQuotes))
		case *syntax.SglQuoted:
			a.quoted = true
			b.WriteString(p.Value)
		case *syntax.DblQuoted:
			a.quoted = true
			a.parts(b, p.Parts, true)
		case *syntax.ParamExp:
			a.static = false
			b.WriteByte('$')
			if p.Param != nil {
				b.WriteString(p.Param.Value)
			}
		default:
			a.static = false
			b.WriteByte('$')
		}
	}
}

// unescape takes away the backslashes that quote.
func unescape(s string, inQuotes bool) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) && (!inQuotes || strings.IndexByte("\"\\$`\n", s[i+1]) >= 0) {
			if i++; s[i] == '\n' {
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// is tells whether the program has one of the names.
func (c *call) is(names ...string) bool {
	for _, n := range names {
		if c.name == n {
			return true
		}
	}
	return false
}

// has tells whether one of the flags is there: "-y" also in "-qy", "--yes" also as "--yes=…".
func (c *call) has(flags ...string) bool {
	for _, a := range c.args {
		for _, f := range flags {
			if a.text == f {
				return true
			}
			if strings.HasPrefix(f, "--") {
				if strings.HasPrefix(a.text, f+"=") {
					return true
				}
			} else if len(f) == 2 && len(a.text) > 1 && a.text[0] == '-' && a.text[1] != '-' && strings.IndexByte(a.text, f[1]) > 0 {
				return true
			}
		}
	}
	return false
}

// hasArg tells whether an argument is one of the texts.
func (c *call) hasArg(texts ...string) bool {
	for _, a := range c.args {
		for _, t := range texts {
			if a.text == t {
				return true
			}
		}
	}
	return false
}

// verb is the first argument that is no flag, and its place; values are flags that take the next argument.
func (c *call) verb(values ...string) (string, int) {
	for i := 0; i < len(c.args); i++ {
		t := c.args[i].text
		if takes(t, values) {
			i++
			continue
		}
		if !strings.HasPrefix(t, "-") {
			return t, i
		}
	}
	return "", -1
}

// operands are the arguments after place from that are no flags.
func (c *call) operands(from int, values ...string) []arg {
	var out []arg
	for i := from; i < len(c.args); i++ {
		t := c.args[i].text
		switch {
		case t == "--":
			return append(out, c.args[i+1:]...)
		case takes(t, values):
			i++
		case !strings.HasPrefix(t, "-"):
			out = append(out, c.args[i])
		}
	}
	return out
}

func takes(flag string, values []string) bool {
	for _, v := range values {
		if flag == v {
			return true
		}
	}
	return false
}
