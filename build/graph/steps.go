package graph

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/camada/camada/build/op"
	"github.com/camada/camada/dockerfile"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/fetch"
	"github.com/camada/camada/platform"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

// linked marks history entries of steps that BuildKit's tools show without
// "/bin/sh -c #(nop)".
const linked = " # buildkit"

// title is what the step's name says: the source line with variables expanded.
// A line that does not expand is shown as it is.
func (st *stage) title(c instructions.Command) string {
	code := c.Name()
	if s, ok := c.(fmt.Stringer); ok {
		code = s.String()
	}
	lex := shell.NewLex(st.b.f.Escape)
	var env shell.EnvGetter = st.scope
	if r, ok := c.(*instructions.RunCommand); ok {
		lex.RawQuotes, lex.RawEscapes, lex.SkipUnsetEnv = true, true, true
		env = masked{st.scope, secretVars(r)}
	}
	if w, _, err := lex.ProcessWord(code, env); err == nil {
		code = w
	}
	name, rest, _ := strings.Cut(code, " ")
	return strings.ToUpper(name) + " " + rest
}

func (st *stage) run(ctx context.Context, c *instructions.RunCommand) error {
	st.noteMounts(c)
	args, script, note, err := runArgs(c)
	if err != nil {
		return err
	}
	if c.PrependShell {
		args = append(st.shell(), strings.Join(args, " "))
	}
	if len(args) == 0 || args[0] == "" {
		return errdefs.Invalid("RUN of nothing")
	}
	r := &op.Run{
		Args: args, Env: st.scope.Environ(), Cwd: path.Join("/", st.img.Config.WorkingDir), User: st.img.Config.User,
		Network: st.b.opts.Network, Settings: st.b.opts.Settings, Script: script, Proxy: st.proxyEnv(),
	}
	if p := platform.Normalize(st.platform); p.Architecture != st.b.host.Architecture || p.OS != st.b.host.OS {
		r.Platform = platform.Format(p)
	}
	if n := op.Network(instructions.GetNetwork(c)); n != op.NetworkDefault {
		r.Network = n
	}
	r.Insecure = instructions.GetSecurity(c) == instructions.SecurityInsecure
	for _, d := range instructions.GetDevices(c) {
		r.Devices = append(r.Devices, op.Device{Name: d.Name, Required: d.Required})
	}
	if err := st.b.opts.Allow.check(r); err != nil {
		return err
	}
	v := &Vertex{Op: r, Location: c.Location()}
	if err := st.mounts(ctx, c, v, r); err != nil {
		return err
	}
	st.add(v, st.title(c)+note)
	st.history("RUN "+strings.Join(append(st.declaredArgs(), args...), " ")+linked, false)
	return nil
}

// runArgs returns the words of RUN. A heredoc that is all of the command is its script:
// run by the shell, or written to a file when it has a "#!" line.
func runArgs(c *instructions.RunCommand) (args []string, script *op.File, note string, err error) {
	args = slices.Clone(c.CmdLine)
	if len(c.Files) == 0 {
		return args, nil, "", nil
	}
	if len(args) != 1 || !c.PrependShell {
		return nil, nil, "", errdefs.Invalid("a heredoc cannot be combined with the exec form of RUN")
	}
	if parser.MustParseHeredoc(args[0]) == nil {
		var b strings.Builder
		b.WriteString(args[0])
		for _, f := range c.Files {
			b.WriteString("\n" + f.Data + f.Name)
		}
		return []string{b.String()}, nil, "", nil
	}
	f := c.Files[0]
	data := f.Data
	if f.Chomp {
		data = parser.ChompHeredocContent(data)
	}
	first, rest, _ := strings.Cut(strings.TrimSpace(data), "\n")
	note = " (" + strings.TrimSuffix(first, "\r")
	if rest != "" {
		note += "..."
	}
	note += ")"
	if strings.HasPrefix(data, "#!") {
		if strings.ContainsAny(f.Name, "/\x00") || f.Name == "." || f.Name == ".." {
			return nil, nil, "", errdefs.Invalid("heredoc name %q is not a file name", f.Name)
		}
		return []string{op.ScriptDir + "/" + f.Name}, &op.File{Name: f.Name, Data: data}, note, nil
	}
	return []string{data}, nil, note, nil
}

// declaredArgs is how the history shows the ARGs that a RUN could see: "|2 a=1 b=2".
func (st *stage) declaredArgs() []string {
	var out []string
	var seen []string
	for _, k := range st.args {
		if slices.Contains(seen, k) {
			continue
		}
		seen = append(seen, k)
		v, _ := st.scope.Get(k)
		out = append(out, k+"="+v)
	}
	if len(out) > 0 {
		out = append([]string{fmt.Sprintf("|%d", len(out))}, out...)
	}
	return out
}

// proxyEnv is the user's proxy arguments, in both spellings.
func (st *stage) proxyEnv() []string {
	var out []string
	for k, v := range st.b.opts.Args {
		if !dockerfile.IsProxyArg(k) {
			continue
		}
		for _, name := range []string{strings.ToUpper(k), strings.ToLower(k)} {
			if _, set := st.scope.Get(name); !set {
				out = append(out, name+"="+v)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (st *stage) workdir(c *instructions.WorkdirCommand) error {
	cfg := &st.img.Config
	st.checkWorkdir(c)
	wd := workingDir(cfg.WorkingDir, c.Path)
	cfg.WorkingDir = wd
	if wd == "/" {
		st.history("WORKDIR "+wd, true)
		return nil
	}
	st.add(&Vertex{Op: &op.Mkdir{Path: path.Clean(wd), User: cfg.User}, Location: c.Location()}, st.title(c))
	st.history("WORKDIR "+wd, false)
	return nil
}

// workingDir is the working directory that p means in cur. An absolute one is kept as it was
// written, as BuildKit keeps it, even with a slash at its end.
func workingDir(cur, p string) string {
	switch {
	case p == "" && cur == "":
		return "/"
	case p == "":
		p = cur
	}
	if path.IsAbs(p) {
		return p
	}
	return path.Join("/", cur, p)
}

func (st *stage) copy(ctx context.Context, c *instructions.CopyCommand) error {
	o := &op.Copy{Chown: c.Chown, Chmod: c.Chmod, Link: c.Link, Exclude: c.ExcludePatterns, Parents: c.Parents}
	v := &Vertex{Op: o, Location: c.Location()}
	if c.From == "" {
		st.checkSources(c, "Copy", c.SourcePaths)
	} else {
		o.From = true
		i, err := st.b.f.CopyFrom(st.def.Index, c.From, c.Location())
		if err == nil {
			err = st.b.f.Later(st.def.Index, i, c.From, c.Location())
		}
		if err != nil {
			return err
		}
		if v.Context, err = st.directory(ctx, i, c.From, c.Location()); err != nil {
			return err
		}
		if v.Context != "" {
			o.From = false // what is copied is read where it is
			return st.files(v, o, "COPY", c, &c.SourcesAndDest)
		}
		src, err := st.tree(ctx, i, c.From, c.Location())
		if err != nil {
			return err
		}
		v.Sources = []*Vertex{src}
	}
	return st.files(v, o, "COPY", c, &c.SourcesAndDest)
}

func (st *stage) addFiles(c *instructions.AddCommand) error {
	st.checkSources(c, "Add", c.SourcePaths)
	o := &op.Copy{Chown: c.Chown, Chmod: c.Chmod, Link: c.Link, Exclude: c.ExcludePatterns, Unpack: c.Unpack == nil || *c.Unpack}
	if err := remotes(o, c); err != nil {
		return err
	}
	return st.files(&Vertex{Op: o, Location: c.Location()}, o, "ADD", c, &c.SourcesAndDest)
}

// files adds a COPY or ADD step.
func (st *stage) files(v *Vertex, o *op.Copy, verb string, c instructions.Command, sd *instructions.SourcesAndDest) error {
	text := verb
	if o.Parents {
		text += " --parents"
	}
	if o.Chown != "" {
		text += " --chown=" + o.Chown
	}
	if o.Chmod != "" {
		text += " --chmod=" + o.Chmod
	}
	title := st.title(c)
	for _, s := range sd.SourcePaths {
		if !isRemote(s) {
			o.Sources = append(o.Sources, s)
		} else if verb == "COPY" {
			return errdefs.Invalid("the source %s of COPY is not a path; ADD fetches", fetch.Redact(s))
		}
		text += " " + fetch.Redact(s)
		title = strings.ReplaceAll(title, s, fetch.Redact(s))
	}
	for _, f := range sd.SourceContents {
		text += " <<" + f.Path
		o.Files = append(o.Files, op.File{Name: f.Path, Data: f.Data})
	}
	text += " " + sd.DestPath
	o.Dest = absolute(st.img.Config.WorkingDir, sd.DestPath)
	if err := o.Check(); err != nil {
		return err
	}
	st.add(v, title)
	st.history(text+linked, false)
	return nil
}

// absolute makes a destination absolute and clean and keeps what says that it is
// a directory: a slash, or a dot, at its end.
func absolute(wd, p string) string {
	abs := p
	if !path.IsAbs(p) {
		abs = path.Join("/", wd, p)
	}
	abs = path.Clean(abs)
	isDir := p == "" || p == "." || p == ".." || strings.HasSuffix(p, "/") || strings.HasSuffix(p, "/.") || strings.HasSuffix(p, "/..")
	if isDir && abs != "/" {
		abs += "/"
	}
	return abs
}
