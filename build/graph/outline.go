package graph

import (
	"cmp"
	"path"
	"slices"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

// Outline is what a build of the target can be given. Lists are in the order of the lines.
type Outline struct {
	// Name and Description are the target's, from its FROM and the comment above it.
	Name, Description string
	Args              []OutlineArg
	Secrets, SSH      []OutlineSecret
}

// OutlineArg is a build argument that the target, or a stage that it needs, reads.
type OutlineArg struct {
	Name, Description string
	// Value is the one that this build has: the user's or the default.
	Value    string
	Location []parser.Range
}

// OutlineSecret is a secret, or an SSH agent, that a RUN mounts.
type OutlineSecret struct {
	Name     string
	Required bool
	Location []parser.Range
}

// argInfo is one ARG; deps are the global arguments that its default names.
type argInfo struct {
	OutlineArg
	deps map[string]struct{}
}

// noted is what a stage reads.
type noted struct {
	args         map[string]argInfo
	used         map[string]bool
	secrets, ssh map[string]OutlineSecret
	needs        []int // stages
}

// globalArgs are the ARGs before the first FROM.
func (b *builder) globalArgs() map[string]argInfo {
	out := map[string]argInfo{}
	scope := b.global.Clone()
	for i := range b.f.Args {
		c := &b.f.Args[i]
		for _, kv := range c.Args {
			info := argInfo{OutlineArg: OutlineArg{Name: kv.Key, Description: kv.DocComment, Location: c.Location()}}
			info.Value, _ = scope.Get(kv.Key)
			if _, given := b.opts.Args[kv.Key]; !given && kv.Value != nil {
				if w, err := shell.NewLex(b.f.Escape).ProcessWordWithMatches(*kv.Value, scope); err == nil {
					info.deps = w.Matched
				}
			}
			out[kv.Key] = info
		}
	}
	return out
}

// noteArg notes an ARG of the stage; one without a value of its own stays what it is globally.
func (st *stage) noteArg(c *instructions.ArgCommand, kv instructions.KeyValuePairOptional, value string) {
	st.noted.used[kv.Key] = true
	_, given := st.b.opts.Args[kv.Key]
	if _, global := st.b.global.Get(kv.Key); global && !given && kv.Value == nil {
		return
	}
	st.noted.args[kv.Key] = argInfo{OutlineArg: OutlineArg{Name: kv.Key, Description: kv.DocComment, Value: value, Location: c.Location()}}
}

// noteMounts notes the secrets and the agents that a RUN mounts.
func (st *stage) noteMounts(c *instructions.RunCommand) {
	for _, m := range instructions.GetMounts(c) {
		id := cmp.Or(m.Source, m.CacheID)
		s := OutlineSecret{Required: m.Required, Location: c.Location()}
		switch m.Type {
		case instructions.MountTypeSecret:
			if id == "" {
				id = path.Base(m.Target)
			}
			st.note(&st.noted.secrets, id, s)
		case instructions.MountTypeSSH:
			st.note(&st.noted.ssh, cmp.Or(id, "default"), s)
		}
	}
}

func (st *stage) note(in *map[string]OutlineSecret, id string, s OutlineSecret) {
	if *in == nil {
		*in = map[string]OutlineSecret{}
	}
	if _, ok := (*in)[id]; !ok {
		s.Name = id
		(*in)[id] = s
	}
}

// outline gathers what the stage and those that it needs read.
func (b *builder) outline(target int) Outline {
	def := &b.f.Stages[target]
	out := Outline{Name: def.Name, Description: def.DocComment}
	args, secrets, ssh := map[string]bool{}, map[string]bool{}, map[string]bool{}
	seen := map[int]bool{}
	var walk func(i int)
	walk = func(i int) {
		st := b.stages[i]
		if st == nil || seen[i] {
			return
		}
		seen[i] = true
		n := &st.noted
		for name := range n.allUsed() {
			if info, ok := n.args[name]; ok && !args[name] {
				args[name] = true
				out.Args = append(out.Args, info.OutlineArg)
			}
		}
		out.Secrets = gather(out.Secrets, n.secrets, secrets)
		out.SSH = gather(out.SSH, n.ssh, ssh)
		for _, j := range n.needs {
			walk(j)
		}
	}
	walk(target)
	slices.SortFunc(out.Args, func(x, y OutlineArg) int {
		return cmp.Or(cmp.Compare(line(x.Location), line(y.Location)), cmp.Compare(x.Name, y.Name))
	})
	for _, list := range [][]OutlineSecret{out.Secrets, out.SSH} {
		slices.SortFunc(list, func(x, y OutlineSecret) int {
			return cmp.Or(cmp.Compare(line(x.Location), line(y.Location)), cmp.Compare(x.Name, y.Name))
		})
	}
	return out
}

func gather(out []OutlineSecret, in map[string]OutlineSecret, seen map[string]bool) []OutlineSecret {
	for name, s := range in {
		if !seen[name] {
			seen[name] = true
			out = append(out, s)
		}
	}
	return out
}

// allUsed are the used arguments and those that their defaults name.
func (n *noted) allUsed() map[string]bool {
	out := map[string]bool{}
	var mark func(name string)
	mark = func(name string) {
		if out[name] {
			return
		}
		out[name] = true
		for d := range n.args[name].deps {
			mark(d)
		}
	}
	for name := range n.used {
		mark(name)
	}
	return out
}

func line(loc []parser.Range) int {
	if len(loc) == 0 {
		return 0
	}
	return loc[0].Start.Line
}
