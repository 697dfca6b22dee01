package lint

import (
	"path"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"mvdan.cc/sh/v3/syntax"
)

// programs looks at other commands of a script.
func (l *linter) programs(s *script) {
	for i, c := range s.calls {
		switch c.name {
		case "shutdown", "service", "free", "top", "mount", "vim", "ps", "ssh", "kill":
			if !l.senseless(c) {
				continue
			}
			l.report("DL3001", s.in, l.spanOf(c), c.name+" makes no sense in a build")
		case "cd":
			if i == 0 && len(c.args) == 1 && strings.HasPrefix(c.args[0].text, "/") && l.top(s, c) && !s.back() {
				l.report("DL3003", s.in, l.spanOf(c), "")
			}
		case "useradd":
			l.useradd(c)
		case "wget":
			if !c.has("-q", "--quiet", "--progress", "-nv", "--no-verbose", "-o", "--output-file", "-a", "--append-output", "--help", "--version", "-V") && !s.mentions(">/dev/null 2>") {
				l.report("DL3047", s.in, l.spanOf(c), "")
			}
		case "chmod":
			l.worldChmod(c)
		case "ln":
			if last := len(c.args) - 1; last >= 1 && c.args[last].text == "/bin/sh" {
				l.report("DL4005", s.in, l.spanOf(c), "")
			}
		}
		if c.sudo || c.name == "sudo" {
			l.report("DL3004", s.in, l.spanOf(c), "")
		}
	}
}

// senseless leaves out what a build has a use for: ssh with a key of the build, kill and ps of what the script itself started.
func (l *linter) senseless(c *call) bool {
	s := c.script
	switch c.name {
	case "ssh":
		if c.hasArg("-V") {
			return false
		}
		run, ok := s.in.cmd.(*instructions.RunCommand)
		if !ok {
			return true
		}
		for _, m := range instructions.GetMounts(run) {
			if m.Type == instructions.MountTypeSSH || m.Type == instructions.MountTypeSecret {
				return false
			}
		}
	case "kill", "ps":
		return !s.background()
	case "service":
		return !s.background() && !l.later(c)
	case "mount":
		run, ok := s.in.cmd.(*instructions.RunCommand)
		return !ok || !slices.Contains(run.FlagsUsed, "security")
	}
	return true
}

// background tells whether the script starts something that goes on.
func (s *script) background() bool {
	found := false
	if s.file != nil {
		syntax.Walk(s.file, func(n syntax.Node) bool {
			if st, ok := n.(*syntax.Stmt); ok && st.Background {
				found = true
			}
			return !found
		})
	}
	return found
}

// later tells whether the script does more after the call: a database that is started to be filled, say.
func (l *linter) later(c *call) bool {
	calls := c.script.calls
	return len(calls) > 0 && calls[len(calls)-1] != c
}

// top tells whether a call is the first command of the script, not of a subshell or a condition.
func (l *linter) top(s *script, c *call) bool {
	if s.file == nil || len(s.file.Stmts) == 0 {
		return false
	}
	st := s.file.Stmts[0]
	for {
		switch cmd := st.Cmd.(type) {
		case *syntax.BinaryCmd:
			st = cmd.X
		case *syntax.CallExpr:
			return cmd == c.node
		default:
			return false
		}
	}
}

// back tells whether the script leaves the directory again: it works in several.
func (s *script) back() bool {
	n := 0
	for _, c := range s.calls {
		if c.name == "cd" || c.name == "pushd" {
			n++
		}
	}
	return n > 1 || s.removes("/tmp", "/usr/src", "/var/tmp", "/src", "/build", "/opt") || s.removesWhereItIs()
}

// removesWhereItIs tells whether the script deletes the directory that it went to.
func (s *script) removesWhereItIs() bool {
	for _, c := range s.calls {
		if !c.is("rm") {
			continue
		}
		for _, a := range c.args {
			for _, cd := range s.calls {
				if cd.name == "cd" && len(cd.args) == 1 && strings.HasPrefix(cd.args[0].text, strings.TrimSuffix(a.text, "/")) && a.text != "" {
					return true
				}
			}
		}
	}
	return false
}

// useradd finds numbers of users so high that lastlog becomes large.
func (l *linter) useradd(c *call) {
	if c.has("-l", "--no-log-init") {
		return
	}
	for i, a := range c.args {
		value, ok := strings.CutPrefix(a.text, "--uid=")
		if !ok && (a.text == "-u" || a.text == "--uid") && i+1 < len(c.args) {
			value, ok = c.args[i+1].text, true
		}
		if ok && number(value) && len(value) > 5 {
			l.report("DL3046", c.script.in, l.spanOf(c), "")
			return
		}
	}
}

// worldChmod finds modes that let everyone write, but for places that are meant so.
func (l *linter) worldChmod(c *call) {
	args := c.operands(0)
	if len(args) < 2 || !worldWritable(args[0].text) {
		return
	}
	for _, a := range args[1:] {
		if t := path.Clean(a.text); t == "/tmp" || t == "/var/tmp" || t == "/run/lock" {
			return
		}
	}
	l.report("WorldWritable", c.script.in, l.spanOf(c), "mode "+args[0].text+" lets everyone write")
}

// pipes looks at what flows from one command to another, and at what the stages download with.
func (l *linter) pipes() {
	for _, st := range l.stages {
		var first string
		for _, in := range st.insts {
			s := in.script
			if s == nil {
				continue
			}
			for _, c := range s.calls {
				if !c.is("curl", "wget") {
					continue
				}
				if first != "" && first != c.name {
					l.report("DL4001", in, l.spanOf(c), c.name+" is used, and "+first+" before it")
				}
				if first == "" {
					first = c.name
				}
			}
			if s.file == nil {
				continue
			}
			l.pipesOf(s)
		}
	}
}

func (l *linter) pipesOf(s *script) {
	safe := s.pipefail()
	syntax.Walk(s.file, func(n syntax.Node) bool {
		p, ok := n.(*syntax.BinaryCmd)
		if !ok || p.Op != syntax.Pipe && p.Op != syntax.PipeAll {
			return true
		}
		from, to := s.callOf(lastOf(p.X)), s.callOf(p.Y)
		if from != nil && to != nil && from.is("curl", "wget") && posix(to.name) {
			l.report("PipedDownload", s.in, l.span(s, p.Pos(), p.End()), "")
		}
		if !safe && !harmlessPipe(from) {
			l.report("DL4006", s.in, l.span(s, p.Pos(), p.End()), "")
			safe = true // once is enough
		}
		return true
	})
}

// harmlessPipe tells whether the command before a pipe cannot fail in a way that matters.
func harmlessPipe(c *call) bool {
	return c != nil && c.is("echo", "printf", "yes", "true")
}

// lastOf is the command whose output flows out of a statement.
func lastOf(st *syntax.Stmt) *syntax.Stmt {
	for {
		b, ok := st.Cmd.(*syntax.BinaryCmd)
		if !ok {
			return st
		}
		st = b.Y
	}
}

func (s *script) callOf(st *syntax.Stmt) *call {
	n, _ := st.Cmd.(*syntax.CallExpr)
	return s.nodes[n]
}

// pipefail tells whether a failure in a pipe fails the script.
func (s *script) pipefail() bool {
	for i, o := range s.options {
		if o == "pipefail" || strings.HasSuffix(o, "o") && strings.HasPrefix(o, "-") && i+1 < len(s.options) && s.options[i+1] == "pipefail" {
			return true
		}
	}
	for _, c := range s.calls {
		if c.is("set") && c.hasArg("pipefail") {
			return true
		}
		if posix(c.name) && c.hasArg("pipefail") {
			return true
		}
	}
	return false
}
