package lint

import (
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// bashed tells whether the script is not for an sh that has POSIX alone: another shell was chosen, or the base image's sh is bash.
func (l *linter) bashed(s *script) bool {
	if s.shell != "sh" && s.shell != "dash" {
		return true
	}
	name := s.in.stage.image
	if name == "" {
		return true // not known
	}
	name, _, _ = strings.Cut(name, "@")
	last := name[strings.LastIndexByte(name, '/')+1:]
	repository, tag, _ := strings.Cut(last, ":")
	for _, b := range []string{"fedora", "centos", "rocky", "alma", "ubi", "redhat", "rhel", "amazonlinux", "opensuse", "leap", "tumbleweed", "archlinux", "oraclelinux", "sles", "bci-", "gentoo", "mageia"} {
		if strings.Contains(repository, b) || strings.Contains(tag, b) {
			return true
		}
	}
	return false
}

// ash tells whether the sh of the base image is busybox's, which has more than POSIX.
func (s *script) ash() bool {
	return strings.Contains(s.in.stage.image, "alpine") || strings.Contains(s.in.stage.image, "busybox")
}

// portable finds what sh has not.
func (l *linter) portable(s *script) {
	ash := s.ash()
	at := func(code string, n syntax.Node) {
		l.report(code, s.in, l.span(s, n.Pos(), n.End()), "")
	}
	syntax.Walk(s.file, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.ProcSubst:
			at("SC3001", n)
		case *syntax.TestClause:
			if !ash {
				at("SC3010", n)
			}
			return false
		case *syntax.Redirect:
			switch n.Op {
			case syntax.WordHdoc:
				at("SC3011", n)
			case syntax.RdrAll, syntax.AppAll:
				if !ash {
					at("SC3020", n)
				}
			}
		case *syntax.Assign:
			if n.Append {
				at("SC3024", n)
			}
			if n.Array != nil {
				at("SC3030", n)
			}
		case *syntax.DeclClause:
			if v := n.Variant.Value; v == "declare" || v == "typeset" || v == "nameref" {
				at("SC3044", n)
			}
		case *syntax.ParamExp:
			switch {
			case n.Index != nil:
				at("SC3054", n)
			case n.Slice != nil && !ash:
				at("SC3057", n)
			case n.Repl != nil && !ash:
				at("SC3060", n)
			}
		case *syntax.CallExpr:
			if c := s.nodes[n]; c != nil {
				l.portableCall(s, c, ash)
			}
		}
		return true
	})
}

func (l *linter) portableCall(s *script, c *call, ash bool) {
	switch c.name {
	case "[", "test":
		for _, a := range c.args {
			if a.text == "==" && a.word != nil && !ash {
				l.report("SC3014", s.in, l.spanOfArg(c, a), "")
			}
		}
	case "echo": // /bin/echo is another one
		if len(c.args) > 0 && c.node.Args[0].Lit() == "echo" && (c.args[0].text == "-e" || c.args[0].text == "-ne" || c.args[0].text == "-en") && !ash {
			l.report("SC3037", s.in, l.spanOf(c), "")
		}
	case "set":
		if c.hasArg("pipefail") && !ash {
			l.report("SC3040", s.in, l.spanOf(c), "")
		}
	case "source":
		if !ash {
			l.report("SC3046", s.in, l.spanOf(c), "")
		}
	case "pushd", "popd", "shopt", "mapfile", "readarray":
		l.report("SC3044", s.in, l.spanOf(c), c.name+" in sh")
	}
}
