package lint

import (
	"bytes"
	"slices"
	"strings"
)

// What comments say to the linter, in a line of their own:
//
//	# hadolint ignore=DL3008,SC2086            above an instruction
//	# hadolint global ignore=DL3008            anywhere outside of instructions, for the whole file
//	# hadolint shell=bash                      what the base image calls /bin/sh
//	# camada ignore=DL3008,SC2086 the reason   the same by our name
//	# camada global ignore=DL3008 the reason
//	# check=skip=JSONArgsRecommended           BuildKit's, which knows DL and SC codes here too
//
// A code is one of the names of a rule, or "all".

// pragma is what a comment says.
type pragma struct {
	key    string // "ignore", "global ignore", "shell"
	values []string
}

// parsePragma reads a comment without its "#". It is nil when the comment says nothing to the linter.
func parsePragma(comment string) *pragma {
	text := strings.TrimSpace(comment)
	rest, ours := strings.CutPrefix(text, "camada ")
	if !ours {
		var ok bool
		if rest, ok = strings.CutPrefix(text, "hadolint "); !ok {
			return parseCheck(text)
		}
	}
	key, value, ok := strings.Cut(rest, "=")
	if !ok {
		return nil
	}
	key = strings.Join(strings.Fields(key), " ")
	switch key {
	case "ignore", "global ignore", "shell":
	default:
		return nil
	}
	p := &pragma{key: key}
	for _, item := range strings.Split(value, ",") {
		words := strings.Fields(item)
		if len(words) == 0 {
			continue
		}
		p.values = append(p.values, words[0])
		if len(words) > 1 {
			break // a reason
		}
	}
	return p
}

// parseCheck reads the "skip" of "check=skip=A,B;error=true".
func parseCheck(text string) *pragma {
	key, value, ok := strings.Cut(text, "=")
	if !ok || strings.TrimSpace(strings.ToLower(key)) != "check" {
		return nil
	}
	for option := range strings.SplitSeq(value, ";") {
		if list, ok := strings.CutPrefix(strings.TrimSpace(option), "skip="); ok {
			list, _, _ = strings.Cut(list, " ")
			return &pragma{key: "ignore", values: strings.Split(list, ",")}
		}
	}
	return nil
}

// ignores removes the findings that comments ask to.
func (l *linter) ignores() {
	if l.cfg.NoPragmas {
		return
	}
	var global []string
	for _, p := range l.pragmas() {
		if p.key == "global ignore" {
			global = append(global, p.values...)
		}
	}
	if p := parseCheck("check=" + l.file.Check); p != nil && l.cfg.Checks == "" {
		global = append(global, p.values...)
	}
	if p := parseCheck("check=" + l.cfg.Checks); p != nil {
		global = append(global, p.values...)
	}
	l.found = slices.DeleteFunc(l.found, func(f found) bool {
		if f.Code == "DL1000" {
			return false
		}
		rule := l.rules[f.Code]
		if rule.in(global) {
			return true
		}
		if f.in == nil {
			return false
		}
		return slices.ContainsFunc(f.in.comments, func(c string) bool {
			p := parsePragma(c)
			return p != nil && p.key == "ignore" && rule.in(p.values)
		})
	})
}

// in tells whether a list has one of the rule's names.
func (r *Rule) in(list []string) bool {
	return slices.ContainsFunc(list, func(code string) bool {
		code = strings.TrimSpace(code)
		return strings.EqualFold(code, "all") || strings.EqualFold(code, r.Code) ||
			slices.ContainsFunc(r.Aliases, func(a string) bool { return strings.EqualFold(a, code) })
	})
}

// pragmas are those of all comments outside of instructions.
func (l *linter) pragmas() []*pragma {
	if l.said != nil || l.cfg.NoPragmas {
		return l.said
	}
	inside := map[int]bool{}
	for _, s := range l.file.Stages {
		for _, c := range s.Commands {
			for n := firstLine(c.Location()); n <= lastLine(c.Location()); n++ {
				inside[n] = true
			}
		}
	}
	l.said = []*pragma{}
	for n := 1; n <= len(l.src.starts); n++ {
		line, _ := l.src.line(n)
		line = bytes.TrimLeft(line, " \t")
		if inside[n] || len(line) == 0 || line[0] != '#' {
			continue
		}
		if p := parsePragma(string(line[1:])); p != nil {
			l.said = append(l.said, p)
		}
	}
	return l.said
}

// pragma is the value of the last comment with a key; "" without one.
func (l *linter) pragma(key string) string {
	value := ""
	for _, p := range l.pragmas() {
		if p.key == key && len(p.values) > 0 {
			value = p.values[0]
		}
	}
	return value
}
