package lint

import (
	"strconv"
	"strings"

	"github.com/camada/camada/dockerfile"
	"github.com/camada/camada/reference"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

// run applies all rules.
func (l *linter) run() {
	for _, st := range l.stages {
		l.from(st)
		l.runs(st)
	}
	l.each(l.instruction)
	l.users()
	l.labels()
	l.documented()
	l.health()
	l.archives()
	l.each(func(_ *stage, in *inst) {
		if in.script != nil {
			l.packages(in.script)
			l.programs(in.script)
			l.shellScript(in.script)
		}
	})
	l.lists()
	l.pipes()
}

// image is what a FROM, a --from or a from= names.
func (l *linter) image(in *inst, name string) {
	if name == "" || name == dockerfile.Scratch {
		return
	}
	ref, err := reference.Parse(name)
	if err != nil {
		return // the build says it
	}
	if len(l.cfg.TrustedRegistries) > 0 && !l.trusted(ref.Host) {
		l.report("DL3026", in, l.word(in, name), "the registry "+ref.Host+" is not one of those that are trusted")
	}
}

func (l *linter) trusted(host string) bool {
	for _, t := range l.cfg.TrustedRegistries {
		prefix, isPrefix := strings.CutSuffix(t, "*")
		suffix, isSuffix := strings.CutPrefix(t, "*")
		switch {
		case t == host, t == "*", t == "hub.docker.com" && host == "docker.io":
			return true
		case isPrefix && strings.HasPrefix(host, prefix), isSuffix && strings.HasSuffix(host, suffix):
			return true
		}
	}
	return false
}

// from looks at the FROM of a stage.
func (l *linter) from(st *stage) {
	name := st.def.BaseName
	if st.parent != nil || st.image == dockerfile.Scratch {
		return
	}
	l.image(st.from, st.image)
	if strings.Contains(name, "$") {
		return // chosen by who builds
	}
	ref, err := reference.Parse(name)
	if err != nil {
		return
	}
	at := l.word(st.from, name)
	last := name[strings.LastIndexByte(name, '/')+1:]
	switch {
	case ref.Digest != "":
	case !strings.Contains(last, ":"):
		l.report("DL3006", st.from, at, "the base image "+name+" has no tag")
	case strings.HasSuffix(last, ":latest"):
		l.report("DL3007", st.from, at, "the base image "+name+" is something else every time")
	default:
		l.report("BaseNotPinned", st.from, at, "the base image "+name+" has no digest")
	}
}

// copyFrom looks at what COPY --from names.
func (l *linter) copyFrom(st *stage, in *inst, c *instructions.CopyCommand) {
	if c.From == "" || in.trigger {
		return
	}
	if _, err := strconv.Atoi(c.From); err == nil {
		return
	}
	if j, err := l.file.CopyFrom(st.def.Index, c.From, c.Location()); err != nil || j >= 0 {
		if err == nil && c.DestPath == "/" && len(c.SourcePaths) == 1 && c.SourcePaths[0] == "/" && st.image != dockerfile.Scratch {
			l.report("DL3067", in, in.at, "")
		}
		return
	}
	if !strings.ContainsAny(c.From, ":@$") {
		l.report("DL3022", in, l.word(in, c.From), "there is no stage "+c.From+" before; the image "+c.From+":latest is meant")
	}
	l.image(in, c.From)
}

// users looks at the user that each result runs as.
func (l *linter) users() {
	for _, st := range l.stages {
		var last *inst
		for _, in := range st.insts {
			c, ok := in.cmd.(*instructions.UserCommand)
			if !ok || in.trigger {
				continue
			}
			last = in
			if name, _, _ := strings.Cut(c.User, ":"); !number(name) && name != "root" && !strings.Contains(name, "$") && st.used {
				l.report("DL3066", in, l.word(in, c.User), "whether "+name+" is root is not known outside of the image")
			}
		}
		if last == nil || st != l.last() {
			continue
		}
		if name, _, _ := strings.Cut(last.cmd.(*instructions.UserCommand).User, ":"); name == "root" || name == "0" {
			l.report("DL3002", last, last.at, "")
		}
	}
}

func number(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// health finds a result without a health check.
func (l *linter) health() {
	for st := l.last(); st != nil; st = st.parent {
		for _, in := range st.insts {
			if _, ok := in.cmd.(*instructions.HealthCheckCommand); ok {
				return
			}
		}
	}
	l.report("DL3057", l.last().from, l.last().from.at, "")
}

// documented finds ports and volumes that neither a comment above them nor a label describes.
func (l *linter) documented() {
	labels := map[string]string{}
	for st := l.last(); st != nil; st = st.parent {
		for _, in := range st.insts {
			if c, ok := in.cmd.(*instructions.LabelCommand); ok {
				for _, kv := range c.Labels {
					labels[strings.Trim(kv.Key, `"'`)] = strings.Trim(kv.Value, `"'`)
				}
			}
		}
	}
	undescribed := func(in *inst, kind string, names []string) (out []string) {
		said := l.file.Describe(in.cmd, names...)
		for _, n := range names {
			if said[n] == "" && dockerfile.DocOf(kind, n, labels, nil) == "" {
				out = append(out, n)
			}
		}
		return out
	}
	for _, in := range l.last().insts {
		switch c := in.cmd.(type) {
		case *instructions.ExposeCommand:
			if ports := undescribed(in, dockerfile.DocPort, c.Ports); len(ports) > 0 {
				l.report("UndocumentedPort", in, in.at, "nothing says what port "+strings.Join(ports, ", ")+" is for")
			}
		case *instructions.VolumeCommand:
			if volumes := undescribed(in, dockerfile.DocVolume, c.Volumes); len(volumes) > 0 {
				l.report("UndocumentedVolume", in, in.at, "nothing says what volume "+strings.Join(volumes, ", ")+" is for")
			}
		}
	}
}

// runs finds RUN after RUN. Those that do something of their own, with a mount, a network or a heredoc, are meant.
func (l *linter) runs(st *stage) {
	var before *instructions.RunCommand
	for _, in := range st.insts {
		run, ok := in.cmd.(*instructions.RunCommand)
		if !ok || in.trigger || len(run.FlagsUsed) > 0 || len(run.Files) > 0 || !run.PrependShell || len(in.comments) > 0 || l.long(in) {
			before = nil
			continue
		}
		if before != nil {
			l.report("DL3059", in, in.at, "")
		}
		before = run
	}
}

// long tells whether a RUN has several commands already: joining more helps nobody.
func (l *linter) long(in *inst) bool {
	return in.script == nil || len(in.script.calls) > 2
}
