package graph

import (
	"context"
	"strings"

	"github.com/camada/camada/build/op"
	"github.com/camada/camada/platform"
	"github.com/camada/camada/reference"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Context is what a named context stands for: an image, a directory, or, when it is neither, an empty file system.
type Context struct {
	// Name is how Vertex.Context tells the directory.
	Name string
	Base *Base
	Dir  bool

	files *Vertex // all of it; nil until it is needed
}

// Contexts finds named contexts.
type Contexts interface {
	// Named returns what a name stands for, nil when there is no context of that name.
	Named(ctx context.Context, name string, p ocispec.Platform) (*Context, error)
}

// named looks up a context by the name of a stage or an image, as BuildKit does: names are compared as names of images, so
// that "debian" is docker.io/library/debian:latest. It is nil when there is none.
func (b *builder) named(ctx context.Context, name string, p ocispec.Platform, loc []parser.Range) (*Context, error) {
	if b.opts.Contexts == nil {
		return nil, nil
	}
	name, ok := ContextName(name)
	if !ok {
		return nil, nil
	}
	key := platform.Format(p) + " " + name
	if c, ok := b.contexts[key]; ok {
		return c, nil
	}
	c, err := b.opts.Contexts.Named(ctx, name, p)
	if err != nil {
		return nil, b.f.ErrorAt(loc, err, "")
	}
	if b.contexts == nil {
		b.contexts = make(map[string]*Context)
	}
	b.contexts[key] = c
	return c, nil
}

// ContextName is the form in which names of contexts are compared; false when a name cannot be one.
func ContextName(name string) (string, bool) {
	ref, err := reference.Parse(strings.ToLower(name))
	if err != nil {
		return "", false
	}
	return strings.TrimSuffix(ref.Familiar(), ":latest"), true
}

// top is the vertex whose file system the context is; nil for an empty one.
func (b *builder) top(c *Context, loc []parser.Range) *Vertex {
	switch {
	case c.Base != nil && len(c.Base.Layers) == 0, c.Base == nil && !c.Dir:
		return nil
	case c.files == nil && c.Base != nil:
		c.files = b.add(&Vertex{Name: "[context " + c.Name + "] FROM " + c.Base.Name, Base: c.Base, Location: loc})
	case c.files == nil:
		o := &op.Copy{Sources: []string{"/"}, Dest: "/"}
		c.files = b.add(&Vertex{Name: "[context " + c.Name + "] all files", Op: o, Context: c.Name, Location: loc})
	}
	return c.files
}

// fromContext starts the stage from a named context and returns the ONBUILD triggers of an image.
func (st *stage) fromContext(c *Context) []string {
	loc := st.def.Location
	if c.Base == nil {
		st.img = emptyImage(st.platform)
		if st.top = st.b.top(c, loc); st.top != nil {
			st.history("FROM "+c.Name+linked, false)
		}
		return nil
	}
	st.startFrom(c.Base)
	triggers := st.img.Config.OnBuild
	st.img.Config.OnBuild = nil
	st.top = st.b.top(c, loc)
	return triggers
}

// named makes the stage what a named context of its name says, if there is one; its own instructions do not count then.
func (st *stage) named(ctx context.Context) (bool, error) {
	if st.def.Name == "" {
		return false, nil
	}
	c, err := st.b.named(ctx, st.def.Name, st.platform, st.def.Location)
	if err != nil || c == nil {
		return false, err
	}
	st.onbuild = st.fromContext(c)
	if c.Dir {
		st.context = c.Name
	}
	return true, st.ready()
}

// directory returns the named context, a directory, that a --from means; "" for a stage, whose number is i, or anything else.
func (st *stage) directory(ctx context.Context, i int, from string, loc []parser.Range) (string, error) {
	if i >= 0 {
		src, err := st.b.stage(ctx, i)
		if err != nil {
			return "", err
		}
		return src.context, nil
	}
	c, err := st.b.named(ctx, from, st.b.platform, loc)
	if err != nil || c == nil || !c.Dir {
		return "", err
	}
	return c.Name, nil
}
