package explain

import (
	"encoding/json"
	"slices"
	"strings"
)

// definition compares the operations of step i and of its peer.
func (x *explainer) definition(i int) []Reason {
	p := x.peers[i]
	oldDef, def := p.b.DefinitionOf(p.id), x.cur.DefinitionOf(i)
	if oldDef == def {
		return nil
	}
	oldText, text := x.textOf(p.b, p.id), x.textOf(x.cur, i)
	oldKind, a := fields(oldDef)
	kind, b := fields(def)
	var out []Reason
	if a == nil || b == nil || oldKind != kind {
		return append(out, x.instruction(oldText, text))
	}
	var own []string // what the instruction itself says
	for _, k := range keysOf(a, b) {
		if string(a[k]) == string(b[k]) {
			continue
		}
		switch {
		case k == "platform" && p.b.Platform != x.cur.Platform: // told already
		case k == "env":
			out = append(out, x.env(i, a[k], b[k])...)
		case kind == "run" && (k == "cwd" || k == "user"), kind == "mkdir" && k == "user":
			out = append(out, changed(Option, optionName(k), k, plain(a[k]), plain(b[k])))
		default:
			own = append(own, k)
		}
	}
	if len(own) == 0 {
		return out
	}
	if oldText != text {
		return append([]Reason{x.instruction(oldText, text)}, out...)
	}
	args := x.usedArgs(i)
	for _, k := range own {
		if kind == "run" && k == "args" && len(args)+len(out) > 0 {
			continue // the variables in it are told already
		}
		args = append(args, x.field(kind, k, a[k], b[k]))
	}
	return append(args, out...)
}

// field tells that a part of an operation changed though its text did not.
func (x *explainer) field(kind, k string, a, b json.RawMessage) Reason {
	if kind == "run" && k == "args" {
		var old, cur []string
		if json.Unmarshal(a, &old) == nil && json.Unmarshal(b, &cur) == nil && len(old) > 1 && len(cur) > 1 && old[len(old)-1] == cur[len(cur)-1] {
			return changed(Option, "the SHELL", "shell", strings.Join(old[:len(old)-1], " "), strings.Join(cur[:len(cur)-1], " "))
		}
	}
	return changed(Option, optionName(k), k, plain(a), plain(b))
}

// optionName is what people call a field of a definition.
func optionName(k string) string {
	switch k {
	case "cwd":
		return "the WORKDIR"
	case "user":
		return "the USER"
	case "dest", "path":
		return "its destination, with variables and WORKDIR resolved,"
	case "sources":
		return "what it copies, with variables resolved,"
	case "args":
		return "the command, with variables resolved,"
	case "files", "script":
		return "the text of its heredoc, with variables resolved,"
	case "network":
		return "the network"
	}
	return "its option " + k
}

// fields parts a definition: its kind without the version, and the JSON object.
func fields(def string) (kind string, m map[string]json.RawMessage) {
	head, rest, _ := strings.Cut(def, " ")
	kind, _, _ = strings.Cut(head, ".")
	if json.Unmarshal([]byte(rest), &m) != nil {
		return kind, nil
	}
	if m == nil {
		m = map[string]json.RawMessage{}
	}
	return kind, m
}

// plain shows a JSON value without quotes.
func plain(m json.RawMessage) string {
	var s string
	if json.Unmarshal(m, &s) == nil {
		return s
	}
	var list []string
	if json.Unmarshal(m, &list) == nil {
		return strings.Join(list, " ")
	}
	return string(m)
}

// instruction tells that the text of an instruction changed.
func (x *explainer) instruction(old, text string) Reason {
	r := Reason{Kind: Instruction, Old: old, New: text, Text: "the instruction changed from " + quote(old) + " to " + quote(text)}
	if strings.Contains(old, "\n") || strings.Contains(text, "\n") {
		r.Text = "the instruction changed"
		r.Diff = lineDiff(old, text)
	}
	if old == text {
		r.Text = "camada executes this instruction in another way than before"
	}
	return r
}

// env compares the variables that a command sees.
func (x *explainer) env(i int, a, b json.RawMessage) []Reason {
	var la, lb []string
	if json.Unmarshal(a, &la) != nil && a != nil || json.Unmarshal(b, &lb) != nil && b != nil {
		return []Reason{changed(Env, "the environment", "", string(a), string(b))}
	}
	old, cur := split(la), split(lb)
	var out []Reason
	for _, k := range keysOf(old, cur) {
		ov, was := old[k]
		v, is := cur[k]
		if ov == v && was == is {
			continue
		}
		out = append(out, x.variable(i, k, ov, v, was, is))
	}
	if len(out) == 0 {
		out = []Reason{{Kind: Env, Text: "its variables come in another order"}}
	}
	return out
}

// variable tells how an ARG or ENV changed.
func (x *explainer) variable(i int, name, old, cur string, was, is bool) Reason {
	p := x.peers[i]
	args, oldArgs := x.cur.Plan.Vertices[i].Args, p.b.Plan.Vertices[p.id].Args
	declared := slices.Contains(args, name) && slices.Contains(oldArgs, name)
	if !is {
		args = oldArgs
	}
	kind, what := Env, "ENV "+name
	if slices.Contains(args, name) {
		kind, what = Argument, "build argument "+name
		_, given := x.cur.Args[name]
		if _, before := p.b.Args[name]; !given && !before {
			what = "ARG " + name
		}
	}
	r := changed(kind, what, name, old, cur)
	switch {
	case !was && declared:
		r.Text = what + " is " + short(cur) + ", and had no value before"
	case !is && declared:
		r.Text = what + " was " + short(old) + ", and has no value now"
	case !was:
		r.Text = what + " is " + short(cur) + ", and was not declared before"
	case !is:
		r.Text = what + " was " + short(old) + ", and is not declared any more"
	case old == "" || cur == "":
		r.Text = what + " changed from " + short(old) + " to " + short(cur)
	}
	return r
}

// usedArgs are the user's arguments that changed and that stand in the instruction.
func (x *explainer) usedArgs(i int) []Reason {
	p := x.peers[i]
	text := x.textOf(x.cur, i)
	if v := x.cur.Plan.Vertices[i]; v.Base != "" { // the name has no variables any more
		if lines := strings.Split(x.cur.Plan.Source, "\n"); v.Line >= 1 && v.Line <= len(lines) {
			text = lines[v.Line-1]
		}
	}
	var out []Reason
	for _, k := range keysOf(p.b.Args, x.cur.Args) {
		old, was := p.b.Args[k]
		cur, is := x.cur.Args[k]
		if old == cur && was == is || !mentions(text, k) {
			continue
		}
		out = append(out, changed(Argument, "build argument "+k, k, old, cur))
	}
	return out
}

// mentions reports whether $name or ${name stands in a text.
func mentions(text, name string) bool {
	for rest := text; ; {
		_, after, ok := strings.Cut(rest, "$")
		if !ok {
			return false
		}
		rest = after
		if word, ok := strings.CutPrefix(strings.TrimPrefix(after, "{"), name); ok && (word == "" || !isNameByte(word[0])) {
			return true
		}
	}
}

func isNameByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// keysOf are the keys of two maps, sorted.
func keysOf[V any](a, b map[string]V) []string {
	var out []string
	for k := range a {
		out = append(out, k)
	}
	for k := range b {
		if _, ok := a[k]; !ok {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return out
}
