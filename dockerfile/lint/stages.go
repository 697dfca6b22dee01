package lint

import (
	"sort"
	"strings"

	"github.com/camada/camada/dockerfile"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// inst is one instruction.
type inst struct {
	// cmd is nil for FROM.
	cmd         instructions.Command
	stage       *stage // nil before the first FROM
	first, last int    // lines
	at          span
	comments    []string
	// trigger is set for what ONBUILD holds back.
	trigger bool
	script  *script // of a RUN
	text    *logical
}

// stage is one FROM and what follows it.
type stage struct {
	def   *dockerfile.Stage
	from  *inst
	insts []*inst
	// parent is the stage that it starts from; nil for an image.
	parent *stage
	// known tells whether all that the base sets is known: it is scratch, or a stage whose base is.
	known bool
	// image is the name that the chain of stages begins with, with the defaults of ARG; "" when it cannot be told.
	image string
	// shell is that of the last SHELL, vars what ENV and ARG set, as far as it was read; workdir tells whether a WORKDIR came.
	shell   []string
	vars    *variables
	workdir bool
	// used tells whether another stage starts from it, or it is the last.
	used bool
}

// last is the stage that a build makes when nobody says otherwise.
func (l *linter) last() *stage { return l.stages[len(l.stages)-1] }

// read makes the stages and instructions of the file.
func (l *linter) read() {
	scope := &dockerfile.Scope{}
	for i := range l.file.Args {
		for _, kv := range l.file.Args[i].Args {
			if kv.Value == nil {
				continue
			}
			if v, err := l.file.ExpandWord(*kv.Value, scope); err == nil {
				scope.Set(kv.Key, v)
			}
		}
	}
	for i := range l.file.Stages {
		def := &l.file.Stages[i]
		st := &stage{def: def}
		st.from = l.inst(nil, st, def.Location, def.Comments)
		name, err := l.file.ExpandWord(def.BaseName, scope)
		if err != nil {
			name = ""
		}
		if strings.Contains(def.BaseName, "$") && !l.defaults(def.BaseName, scope) {
			name = ""
		}
		st.image, st.vars = name, newVariables(nil)
		if name == dockerfile.Scratch {
			st.known = true
		} else if b := l.file.BaseStage(i, name); b >= 0 {
			st.parent = l.stages[b]
			st.known, st.image, st.shell = st.parent.known, st.parent.image, st.parent.shell
			st.vars.below = st.parent.vars
			st.parent.used = true
		}
		l.stages = append(l.stages, st)
		l.all = append(l.all, st.from)
		for _, c := range def.Commands {
			l.command(st, c)
		}
	}
	l.last().used = true
}

// defaults tells whether all variables of word have one.
func (l *linter) defaults(word string, scope *dockerfile.Scope) bool {
	for i := strings.IndexByte(word, '$'); i >= 0; i = strings.IndexByte(word, '$') {
		word = strings.TrimPrefix(word[i+1:], "{")
		n := nameLen(word)
		if _, ok := scope.Get(word[:n]); !ok {
			return false
		}
	}
	return true
}

// nameLen is how long the name of a variable is that s begins with.
func nameLen(s string) int {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c != '_' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9' || i == 0) {
			return i
		}
	}
	return len(s)
}

func (l *linter) inst(c instructions.Command, st *stage, loc []parser.Range, comments []string) *inst {
	in := &inst{cmd: c, stage: st, first: firstLine(loc), last: lastLine(loc), comments: comments}
	in.at = l.src.lines(in.first, in.last)
	return in
}

// command adds an instruction to a stage; that of an ONBUILD is added in its place.
func (l *linter) command(st *stage, c instructions.Command) {
	in := l.inst(c, st, c.Location(), c.Comments())
	if on, ok := c.(*instructions.OnbuildCommand); ok {
		if t, err := l.file.Trigger(on.Expression, c.Location()); err == nil {
			in.cmd, in.trigger = t, true
		}
	}
	switch c := in.cmd.(type) {
	case *instructions.RunCommand:
		if err := c.Expand(func(word string) (string, error) { return word, nil }); err != nil {
			break // the mounts are not known; the build says why
		}
		if in.script = l.script(in, c); in.script != nil {
			in.script.vars = newVariables(st.vars)
			st.vars = newVariables(st.vars) // what comes later is not seen by this one
		}
	case *instructions.ShellCommand:
		if !in.trigger {
			st.shell = c.Shell
		}
	case *instructions.EnvCommand:
		for _, kv := range c.Env {
			l.value(st.vars, kv.Key, &kv.Value)
		}
	case *instructions.ArgCommand:
		for _, kv := range c.Args {
			if kv.Value == nil {
				kv.Value = l.global(kv.Key)
			}
			l.value(st.vars, kv.Key, kv.Value)
		}
	}
	st.insts = append(st.insts, in)
	l.all = append(l.all, in)
}

// logical is the text of the instruction as the parser sees it.
func (l *linter) logical(in *inst) *logical {
	if in.text == nil {
		in.text = l.src.instruction(in.first, in.last)
	}
	return in.text
}

// each calls fn for each instruction of all stages, in order.
func (l *linter) each(fn func(st *stage, in *inst)) {
	for _, st := range l.stages {
		for _, in := range st.insts {
			fn(st, in)
		}
	}
}

// instAt finds the instruction that begins at a place, or around it.
func (l *linter) instAt(loc []parser.Range) *inst {
	line := firstLine(loc)
	i := sort.Search(len(l.all), func(i int) bool { return l.all[i].last >= line })
	if i == len(l.all) || l.all[i].first > line {
		return nil
	}
	return l.all[i]
}

// word is the span of a word in the instruction, or all of it when the word cannot be found.
func (l *linter) word(in *inst, word string) span {
	text := l.logical(in)
	for from := 0; word != ""; {
		i := strings.Index(text.text[from:], word)
		if i < 0 {
			break
		}
		i += from
		end := i + len(word)
		if (i == 0 || isBreak(text.text[i-1])) && (end == len(text.text) || isBreak(text.text[end])) {
			return text.span(i, end)
		}
		from = i + 1
	}
	return in.at
}

func isBreak(c byte) bool {
	switch c {
	case ' ', '\t', '\n', '"', '\'', '=', ',', '[', ']':
		return true
	}
	return false
}

// mounts tells whether the RUN has a cache or tmpfs over one of the directories, or over what they are in.
func (in *inst) mounts(dirs ...string) bool {
	run, ok := in.cmd.(*instructions.RunCommand)
	if !ok {
		return false
	}
	for _, m := range instructions.GetMounts(run) {
		if m.Type != instructions.MountTypeCache && m.Type != instructions.MountTypeTmpfs {
			continue
		}
		target := strings.TrimSuffix(m.Target, "/")
		for _, d := range dirs {
			if d == target || strings.HasPrefix(d, target+"/") {
				return true
			}
		}
	}
	return false
}
