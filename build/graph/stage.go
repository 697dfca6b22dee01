package graph

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/camada/camada/dockerfile"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/platform"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// defaultPath is the PATH of an image that has none.
const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

type builder struct {
	f        *dockerfile.File
	opts     Options
	host     ocispec.Platform
	platform ocispec.Platform
	global   *dockerfile.Scope
	froms    []from   // by index
	stages   []*stage // by index; nil until needed
	images   map[string]*Vertex
	contexts map[string]*Context // by ContextName; nil for what is none
	vertices []*Vertex
	argDocs  map[string]string // descriptions of arguments, by dockerfile.DocKey
	texts    []Text
}

// stage is a stage while its commands are read, and what came of it.
type stage struct {
	b   *builder
	def *dockerfile.Stage
	// platform of the stage's base.
	platform ocispec.Platform
	img      image.Config
	// scope holds ENV and ARG; env is what RUN steps get.
	scope *dockerfile.Scope
	// args are the ARGs in the order in which they were declared.
	args []string
	top  *Vertex
	base *Base
	// baseHistory is how many history entries came from base.
	baseHistory int
	// context is the named context that stands for the stage, when it is a directory.
	context string
	// onbuild are the stage's own ONBUILD instructions.
	onbuild []string
	cmdSet  bool
	// docs are descriptions, by dockerfile.DocKey.
	docs map[string]string
	// once are the places of instructions of which only the last counts; workdirSet says that a WORKDIR stood in this file.
	once       map[string][]parser.Range
	workdirSet bool
	noted      noted
	// steps are the stage's own vertices; their names get their numbers at the end.
	steps []*Vertex
	// trigger says which ONBUILD trigger is being read, for messages; "" for none.
	trigger string
	// baseName is the base after expansion.
	baseName string
}

// stage returns stage i, made if it was not yet. What it needs has lower numbers
// only, so this ends.
func (b *builder) stage(ctx context.Context, i int) (*stage, error) {
	if st := b.stages[i]; st != nil {
		return st, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	st := &stage{b: b, def: &b.f.Stages[i], platform: b.platform}
	if p := b.froms[i].platform; p != nil {
		st.platform = *p
	}
	st.noted = noted{args: b.globalArgs(), used: b.froms[i].args}
	if replaced, err := st.named(ctx); err != nil || replaced {
		b.stages[i] = st
		return st, err
	}
	triggers, err := st.from(ctx)
	if err != nil {
		return nil, err
	}
	if err := st.triggers(ctx, triggers); err != nil {
		return nil, err
	}
	for _, c := range st.def.Commands {
		if err := st.expanded(ctx, c); err != nil {
			return nil, err
		}
	}
	st.number()
	b.stages[i] = st
	return st, nil
}

// expanded expands and reads a command.
func (st *stage) expanded(ctx context.Context, c instructions.Command) error {
	if err := st.b.f.Expand(c, st.scope); err != nil {
		return err
	}
	if err := st.command(ctx, c); err != nil {
		return st.b.f.ErrorAt(c.Location(), err, "")
	}
	st.texts(c)
	return nil
}

// triggers reads the ONBUILD triggers of the base, as if they stood behind FROM. They were
// written in another file, so errors say what they are and where they come from.
func (st *stage) triggers(ctx context.Context, exprs []string) error {
	f := st.b.f
	for _, expr := range exprs {
		st.trigger = dockerfile.TriggerName(expr) + ", a trigger of " + st.baseName
		c, err := f.Trigger(expr, st.def.Location)
		if err == nil {
			err = f.CheckCommand(c)
		}
		if err == nil {
			err = st.expanded(ctx, c)
		}
		if err != nil {
			return f.Within(st.trigger, err)
		}
	}
	st.trigger = ""
	return nil
}

// add makes v the next step of the stage.
func (st *stage) add(v *Vertex, name string) *Vertex {
	if st.trigger != "" {
		name = "ONBUILD " + name
	}
	v.Name, v.Trigger = name, st.trigger
	v.Stage = st.def.Name
	if v.Stage == "" {
		v.Stage = strconv.Itoa(st.def.Index)
	}
	v.Parent = st.top
	v.Args = slices.Clip(st.args)
	st.steps = append(st.steps, v)
	st.top = st.b.add(v)
	return v
}

// number puts "[stage 2/5]" before the names, as BuildKit does.
func (st *stage) number() {
	total := len(st.steps)
	width := len(strconv.Itoa(total))
	title := ""
	if st.b.opts.Prefix != "" {
		title = st.b.opts.Prefix + " "
	}
	if len(st.b.f.Stages) > 1 {
		title += st.def.Title() + " "
	}
	for i, v := range st.steps {
		v.Name = fmt.Sprintf("[%s%*d/%d] %s", title, width, i+1, total, v.Name)
	}
}

// from starts the stage from its base and returns the ONBUILD triggers of it.
func (st *stage) from(ctx context.Context) ([]string, error) {
	b, def := st.b, st.def
	name := b.froms[def.Index].name
	st.baseName = name
	var triggers []string
	if i := b.f.BaseStage(def.Index, name); i >= 0 {
		parent, err := b.stage(ctx, i)
		if err != nil {
			return nil, err
		}
		st.inherit(parent)
		st.noted.needs = append(st.noted.needs, i)
		maps.Copy(st.noted.args, parent.noted.args)
		maps.Copy(st.noted.used, parent.noted.used)
		triggers = parent.onbuild
	} else if name == dockerfile.Scratch {
		st.platform = b.platform // there is nothing to choose from
		st.img = emptyImage(st.platform)
	} else if c, err := b.named(ctx, name, st.platform, def.Location); err != nil {
		return nil, err
	} else if c != nil {
		triggers = st.fromContext(c)
	} else if triggers, err = st.fromImage(ctx, name); err != nil {
		return nil, err
	}
	return triggers, st.ready()
}

// inherit starts from another stage. Its ONBUILD instructions are triggers
// here and do not carry over.
func (st *stage) inherit(parent *stage) {
	st.platform = parent.platform
	st.img = parent.img.Clone()
	st.img.Config.OnBuild = nil
	st.top, st.base, st.baseHistory = parent.top, parent.base, parent.baseHistory
	st.args, st.workdirSet = slices.Clone(parent.args), parent.workdirSet
	st.scope = parent.scope.Clone()
	st.docs = maps.Clone(parent.docs)
}

func (st *stage) fromImage(ctx context.Context, name string) ([]string, error) {
	b, def := st.b, st.def
	base, err := b.base(ctx, name, st.platform, def.Location, def.Index)
	if err != nil {
		return nil, err
	}
	is, chosen := base.Image.Platform, b.opts.Platform != nil || b.froms[def.Index].platform != nil
	if !alike(is, st.platform) && !chosen && b.opts.Foreign != nil && b.opts.Foreign(is) {
		st.platform = platform.Normalize(is)
	}
	b.checkPlatform(base, name, st.platform, def.Location)
	st.startFrom(base)
	triggers := st.img.Config.OnBuild
	st.img.Config.OnBuild = nil
	if len(base.Layers) > 0 {
		st.top = st.add(&Vertex{Base: base, Location: def.Location}, "FROM "+base.Name)
	}
	return triggers, nil
}

// startFrom takes the config of an image.
func (st *stage) startFrom(base *Base) {
	st.base, st.img = base, base.Image.Clone()
	st.img.Created = nil
	st.baseHistory = len(st.img.History)
	st.inheritDocs(base)
}

// ready fills in what every stage has, whatever it starts from.
func (st *stage) ready() error {
	c := &st.img.Config
	if st.scope == nil {
		st.scope = &dockerfile.Scope{}
		if !slices.ContainsFunc(c.Env, func(e string) bool { return strings.HasPrefix(e, "PATH=") }) {
			c.Env = append(c.Env, defaultPath)
		}
		for _, e := range c.Env {
			k, v, _ := strings.Cut(e, "=")
			st.scope.Set(k, v)
		}
	}
	if c.WorkingDir != "" {
		c.WorkingDir = workingDir("", c.WorkingDir)
	}
	if os := st.platform.OS; os != "linux" {
		return st.b.f.ErrorAt(st.def.Location, errdefs.Unsupported("building for %s is not supported", os), "")
	}
	return nil
}

// base asks for an image. index is the stage that names it.
func (b *builder) base(ctx context.Context, name string, p ocispec.Platform, loc []parser.Range, index int) (*Base, error) {
	if b.opts.Images == nil {
		return nil, b.f.ErrorAt(loc, errdefs.NotFound("image %s: there is no place to look for images", name), "")
	}
	base, err := b.opts.Images.Base(ctx, name, p)
	if err == nil {
		if n := len(base.Image.RootFS.DiffIDs); n != len(base.Layers) {
			err = errdefs.Corrupt("image %s has %d layers and %d diffIDs", name, len(base.Layers), n)
		}
	}
	if err == nil {
		return base, nil
	}
	hint := ""
	if errdefs.IsNotFound(err) {
		if j := b.f.LaterStage(index, name); j == index {
			hint = "a stage cannot start from itself"
		} else if j > index {
			if cycle := b.f.Cycle(index, j); cycle != "" {
				return nil, b.f.Invalid(loc, "", "cycle of stages: %s", cycle)
			}
			hint = fmt.Sprintf("stage %s comes later; move it before this one", name)
		} else {
			hint = dockerfile.DidYouMean(name, b.f.StageNames()[:earlierNames(b.f, index)])
		}
	}
	return nil, b.f.ErrorAt(loc, err, hint)
}

// earlierNames is how many named stages come before stage index.
func earlierNames(f *dockerfile.File, index int) int {
	n := 0
	for _, s := range f.Stages[:index] {
		if s.Name != "" {
			n++
		}
	}
	return n
}

// image returns the vertex of an image that COPY --from names; one for each name.
func (b *builder) image(ctx context.Context, name string, p ocispec.Platform, loc []parser.Range, index int) (*Vertex, error) {
	key := platform.Format(p) + " " + name
	if v, ok := b.images[key]; ok {
		return v, nil
	}
	if c, err := b.named(ctx, name, p, loc); err != nil {
		return nil, err
	} else if c != nil {
		return b.top(c, loc), nil
	}
	base, err := b.base(ctx, name, p, loc, index)
	if err != nil {
		return nil, err
	}
	b.checkPlatform(base, name, p, loc)
	var v *Vertex
	if len(base.Layers) > 0 {
		v = b.add(&Vertex{Name: "FROM " + base.Name, Base: base, Location: loc})
	}
	if b.images == nil {
		b.images = make(map[string]*Vertex)
	}
	b.images[key] = v
	return v, nil
}

func (b *builder) add(v *Vertex) *Vertex {
	v.ID = len(b.vertices)
	b.vertices = append(b.vertices, v)
	return v
}

func emptyImage(p ocispec.Platform) image.Config {
	var img image.Config
	img.OS, img.Architecture, img.Variant = p.OS, p.Architecture, p.Variant
	img.RootFS.Type = "layers"
	img.Config.WorkingDir = "/"
	img.Config.Env = []string{defaultPath}
	return img
}
