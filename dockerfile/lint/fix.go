package lint

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"github.com/camada/camada/dockerfile"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

// Fixed is the text with all edits of the findings made, those that lie over one made before left out. n is how many findings were mended.
func (r *Report) Fixed() (text []byte, n int) {
	type one struct {
		Edit
		f int
	}
	var all []one
	for i, f := range r.Findings {
		for _, e := range f.Edits {
			all = append(all, one{e, i})
		}
	}
	slices.SortStableFunc(all, func(a, b one) int { return a.Start - b.Start })
	// A finding is mended whole or not at all.
	drop, end := map[int]bool{}, -1
	for _, e := range all {
		if e.Start < end || e.Start > e.End || e.End > len(r.source) {
			drop[e.f] = true
			continue
		}
		end = max(end, e.End)
	}
	var b bytes.Buffer
	at := 0
	mended := map[int]bool{}
	for _, e := range all {
		if drop[e.f] {
			continue
		}
		b.Write(r.source[at:e.Start])
		b.WriteString(e.Text)
		at = e.End
		mended[e.f] = true
	}
	b.Write(r.source[at:])
	return b.Bytes(), len(mended)
}

// checkEdits mends what a build check found, where the result stays the same.
func (l *linter) checkEdits(rule string, in *inst, w dockerfile.Warning) []Edit {
	if rule == "NoEmptyContinuation" {
		return l.emptyLines(in)
	}
	if in == nil || in.trigger || firstLine(w.Location) != in.first {
		return nil
	}
	switch rule {
	case "ConsistentInstructionCasing":
		text := l.logical(in).text
		n := strings.IndexAny(text, " \t")
		if n < 0 || strings.EqualFold(text[:n], "ONBUILD") {
			return nil
		}
		word := text[:n]
		to := strings.ToUpper(word)
		if strings.Contains(w.Text, "(lowercase)") {
			to = strings.ToLower(word)
		}
		at := l.logical(in).span(0, n)
		return []Edit{{at.start, at.end, to}}
	case "FromAsCasing":
		return l.asCasing(in)
	case "MaintainerDeprecated":
		return l.maintainer(in)
	case "JSONArgsRecommended":
		return l.jsonForm(in)
	case "LegacyKeyValueFormat":
		return l.keyValue(in)
	case "RedundantTargetPlatform":
		flag := "--platform=" + in.stage.def.Platform + " "
		text := l.logical(in)
		i := strings.Index(text.text, flag)
		if i < 0 || !text.whole(i, i+len(flag)) {
			return nil
		}
		at := text.span(i, i+len(flag))
		return []Edit{{at.start, at.end, ""}}
	}
	return nil
}

// emptyLines removes the empty lines of an instruction, but for those in heredocs.
func (l *linter) emptyLines(in *inst) []Edit {
	if in == nil || in.stage == nil {
		return nil
	}
	if strings.Contains(l.logical(in).text, "<<") {
		return nil
	}
	var out []Edit
	for n := in.first + 1; n <= in.last; n++ {
		line, start := l.src.line(n)
		if len(bytes.TrimSpace(line)) > 0 {
			continue
		}
		end := len(l.src.text)
		if n < len(l.src.starts) {
			end = l.src.starts[n]
		}
		out = append(out, Edit{start, end, ""})
	}
	return out
}

func (l *linter) asCasing(in *inst) []Edit {
	text := l.logical(in)
	words := strings.Fields(text.text)
	if len(words) < 4 || !strings.EqualFold(words[len(words)-2], "as") {
		return nil
	}
	as := words[len(words)-2]
	i := strings.LastIndex(text.text, as+" ")
	if j := strings.LastIndex(text.text, as+"\t"); j > i {
		i = j
	}
	if i < 1 || text.text[i-1] != ' ' && text.text[i-1] != '\t' {
		return nil
	}
	to := "as"
	if words[0] == strings.ToUpper(words[0]) {
		to = "AS"
	}
	at := text.span(i, i+2)
	return []Edit{{at.start, at.end, to}}
}

// maintainer makes the label of it that OCI has for it.
func (l *linter) maintainer(in *inst) []Edit {
	c, ok := in.cmd.(*instructions.MaintainerCommand)
	if !ok || in.first != in.last || strings.ContainsAny(c.Maintainer, "\"\\$`'") {
		return nil
	}
	word := "LABEL"
	if strings.HasPrefix(l.logical(in).text, "m") {
		word = "label"
	}
	return []Edit{{in.at.start, in.at.end, word + ` org.opencontainers.image.authors="` + c.Maintainer + `"`}}
}

// partner finds the ENTRYPOINT that a CMD is for, or the CMD that is for an ENTRYPOINT: what one of them gets changes with the other's form.
func partner(in *inst) *inst {
	for st := in.stage; st != nil; st = st.parent {
		for _, other := range st.insts {
			_, cmd := other.cmd.(*instructions.CmdCommand)
			_, entrypoint := other.cmd.(*instructions.EntrypointCommand)
			if _, isCmd := in.cmd.(*instructions.CmdCommand); isCmd && entrypoint || !isCmd && cmd {
				return other
			}
		}
	}
	return nil
}

// jsonForm writes a command line as a list, when the shell would do nothing but split it at spaces.
func (l *linter) jsonForm(in *inst) []Edit {
	if partner(in) != nil {
		return nil
	}
	var line instructions.ShellDependantCmdLine
	switch c := in.cmd.(type) {
	case *instructions.CmdCommand:
		line = c.ShellDependantCmdLine
	case *instructions.EntrypointCommand:
		line = c.ShellDependantCmdLine
	default:
		return nil
	}
	if in.first != in.last || len(line.CmdLine) != 1 || len(line.Files) > 0 {
		return nil
	}
	text := line.CmdLine[0]
	for i := 0; i < len(text); i++ {
		c := text[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && strings.IndexByte(" -_./:,@+%=", c) < 0 {
			return nil
		}
	}
	words := strings.Fields(text)
	if len(words) == 0 || strings.Contains(words[0], "=") || builtin(words[0]) {
		return nil
	}
	all := l.logical(in)
	head := strings.TrimRight(all.text, " \t")
	if !strings.HasSuffix(head, text) {
		return nil
	}
	for i, w := range words {
		words[i] = strconv.Quote(w)
	}
	at := all.span(len(head)-len(text), len(head))
	return []Edit{{at.start, at.end, "[" + strings.Join(words, ", ") + "]"}}
}

// builtin tells whether the shell has the command itself, and there may be no program of the name.
func builtin(name string) bool {
	switch name {
	case "cd", "exec", "eval", "export", "set", "unset", "exit", "return", "source", ".", ":", "trap", "ulimit", "umask", "wait", "read", "if", "while", "for", "case", "until", "command", "type", "alias":
		return true
	}
	return false
}

// keyValue writes ENV and LABEL with =.
func (l *linter) keyValue(in *inst) []Edit {
	var kvs instructions.KeyValuePairs
	switch c := in.cmd.(type) {
	case *instructions.EnvCommand:
		kvs = c.Env
	case *instructions.LabelCommand:
		kvs = c.Labels
	}
	if len(kvs) != 1 || in.first != in.last || strings.ContainsAny(kvs[0].Value, "\"'\\`#") || kvs[0].Value == "" {
		return nil
	}
	text := l.logical(in)
	word, _, _ := strings.Cut(text.text, " ")
	value := kvs[0].Value
	if strings.ContainsAny(value, " \t") {
		value = `"` + value + `"`
	}
	return []Edit{{in.at.start, in.at.end, word + " " + kvs[0].Key + "=" + value}}
}
