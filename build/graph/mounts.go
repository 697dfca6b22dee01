package graph

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"path"
	"slices"
	"strings"

	"github.com/camada/camada/build/op"
	"github.com/camada/camada/dockerfile"
	"github.com/camada/camada/errdefs"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

const (
	secretDir = "/run/secrets/"
	// agentDir is where BuildKit puts the sockets of agents; scripts may know it.
	agentDir    = "/run/buildkit/ssh_agent."
	agentVar    = "SSH_AUTH_SOCK"
	secretMode  = 0o400
	agentMode   = 0o600
	defaultName = "default"
)

// mounts adds what RUN --mount asks for to the operation, and the trees that they show to the vertex.
func (st *stage) mounts(ctx context.Context, c *instructions.RunCommand, v *Vertex, r *op.Run) error {
	var list []op.Mount
	agents := 0
	for _, m := range instructions.GetMounts(c) {
		o := op.Mount{Type: op.MountType(m.Type), ReadOnly: m.ReadOnly, From: op.FromEmpty}
		var err error
		if o.Mode, err = number("mode", m.Mode); err == nil {
			if o.UID, err = number("uid", m.UID); err == nil {
				o.GID, err = number("gid", m.GID)
			}
		}
		if err != nil {
			return err
		}
		switch m.Type {
		case instructions.MountTypeBind:
			err = st.bind(ctx, m, &o, v, c.Location())
		case instructions.MountTypeCache:
			err = st.cache(ctx, m, &o, v, c.Location())
		case instructions.MountTypeTmpfs:
			o.Size = m.SizeLimit
		case instructions.MountTypeSecret:
			err = secret(m, &o)
		case instructions.MountTypeSSH:
			err = agent(m, &o, agents)
			agents++
		}
		if err != nil {
			return err
		}
		if o.Type != op.MountSecret || o.Target != "" || o.Env == "" {
			if o.Target, err = st.mountTarget(m, o); err != nil {
				return err
			}
		}
		list = append(list, o)
	}
	r.Mounts = arrange(list)
	for _, m := range list {
		if m.Type != op.MountSSH {
			continue
		}
		if _, set := st.scope.Get(agentVar); !set {
			r.Env = append(r.Env, agentVar+"="+m.Target)
		}
		break
	}
	return nil
}

// arrange puts mounts in the order in which they are made. Of those on one target the last one counts; secrets and agents come last.
func arrange(list []op.Mount) []op.Mount {
	rank := func(m op.Mount) int {
		switch m.Type {
		case op.MountSecret:
			return 1
		case op.MountSSH:
			return 2
		}
		return 0
	}
	slices.SortStableFunc(list, func(a, b op.Mount) int { return cmp.Compare(rank(a), rank(b)) })
	var out []op.Mount
	for i, m := range list {
		hidden := func(o op.Mount) bool { return m.Target != "" && o.Target == m.Target && o.Env == "" }
		if m.Env == "" && slices.ContainsFunc(list[i+1:], hidden) {
			continue
		}
		out = append(out, m)
	}
	slices.SortStableFunc(out, func(a, b op.Mount) int { return strings.Compare(a.Target, b.Target) })
	return out
}

// mountTarget is where a mount goes, in full.
func (st *stage) mountTarget(m *instructions.Mount, o op.Mount) (string, error) {
	target := cmp.Or(o.Target, m.Target)
	if strings.ContainsRune(target, 0) {
		return "", errdefs.Invalid("RUN --mount: target %q is not a path", target)
	}
	if !path.IsAbs(target) {
		target = path.Join("/", st.img.Config.WorkingDir, target)
	}
	if target = path.Clean(target); target == "/" {
		if m.Target == "" {
			return "", errdefs.Invalid("RUN --mount=type=%s has no target", m.Type)
		}
		return "", errdefs.Invalid("RUN --mount: the target %q is the root of the file system, where nothing can be mounted", m.Target)
	}
	return target, nil
}

func (st *stage) bind(ctx context.Context, m *instructions.Mount, o *op.Mount, v *Vertex, loc []parser.Range) (err error) {
	o.From = op.FromContext
	if m.From != "" {
		err = st.mountFrom(ctx, m.From, o, v, loc)
	}
	o.Source = path.Join("/", m.Source)
	return err
}

func (st *stage) cache(ctx context.Context, m *instructions.Mount, o *op.Mount, v *Vertex, loc []parser.Range) (err error) {
	o.Sharing = op.Sharing(cmp.Or(m.CacheSharing, instructions.MountSharingShared))
	if o.CacheID = m.CacheID; o.CacheID == "" {
		o.CacheID = path.Clean(m.Target)
	}
	if m.From != "" {
		err = st.mountFrom(ctx, m.From, o, v, loc)
	}
	if o.Source = path.Join("/", m.Source); o.Source != "/" {
		o.Mode, o.UID, o.GID = nil, nil, nil // they are for a new directory
	}
	return err
}

// mountFrom sets where the tree that from=NAME means comes from: a named context, or one of the vertex's sources.
func (st *stage) mountFrom(ctx context.Context, from string, o *op.Mount, v *Vertex, loc []parser.Range) error {
	i, err := st.b.f.MountFrom(st.def.Index, from, loc)
	if err != nil {
		return err
	}
	o.From = op.FromContext
	if o.Context, err = st.directory(ctx, i, from, loc); err != nil || o.Context != "" {
		return err
	}
	src, err := st.tree(ctx, i, from, loc)
	if err != nil {
		return err
	}
	if src == nil {
		o.From = op.FromEmpty
		return nil
	}
	if o.From = slices.Index(v.Sources, src); o.From < 0 {
		o.From = len(v.Sources)
		v.Sources = append(v.Sources, src)
	}
	return nil
}

// tree returns the vertex of what --from or from= names, whose stage is i or -1; nil for an empty file system.
func (st *stage) tree(ctx context.Context, i int, from string, loc []parser.Range) (*Vertex, error) {
	if i >= 0 {
		st.noted.needs = append(st.noted.needs, i)
		src, err := st.b.stage(ctx, i)
		if err != nil {
			return nil, err
		}
		return src.top, nil
	}
	if from == dockerfile.Scratch {
		return nil, nil
	}
	return st.b.image(ctx, from, st.b.platform, loc, st.def.Index)
}

func secret(m *instructions.Mount, o *op.Mount) error {
	o.ID, o.Required = cmp.Or(m.Source, m.CacheID), m.Required
	if o.ID == "" {
		o.ID = path.Base(m.Target)
	}
	if m.Env != nil {
		if *m.Env == "" || strings.ContainsAny(*m.Env, "=\x00") {
			return errdefs.Invalid("RUN --mount=type=secret: env=%s is not the name of a variable", *m.Env)
		}
		o.Env = *m.Env
	}
	if o.Target = m.Target; o.Target == "" && o.Env == "" {
		o.Target = secretDir + path.Base(o.ID)
	}
	o.Mode = cmp.Or(o.Mode, mode(secretMode))
	return nil
}

func agent(m *instructions.Mount, o *op.Mount, n int) error {
	if m.Source != "" {
		return errdefs.Invalid("RUN --mount=type=ssh has no source; id=NAME names an agent or a key that --ssh gives")
	}
	o.ID, o.Required = cmp.Or(m.CacheID, defaultName), m.Required
	if o.Target = m.Target; o.Target == "" {
		o.Target = fmt.Sprint(agentDir, n)
	}
	o.Mode = cmp.Or(o.Mode, mode(agentMode))
	return nil
}

// number bounds a number of a mount's options.
func number(name string, n *uint64) (*uint32, error) {
	if n == nil {
		return nil, nil
	}
	if *n > math.MaxInt32 {
		return nil, errdefs.Invalid("RUN --mount: %s=%d is too large", name, *n)
	}
	small := uint32(*n)
	return &small, nil
}

// masked hides the values of variables that come from secrets: the title of a step shows that there is one.
type masked struct {
	*dockerfile.Scope
	names []string
}

// Get implements shell.EnvGetter.
func (m masked) Get(name string) (string, bool) {
	if slices.Contains(m.names, name) {
		return "****", true
	}
	return m.Scope.Get(name)
}

// Keys implements shell.EnvGetter.
func (m masked) Keys() []string {
	keys := slices.Clone(m.Scope.Keys())
	for _, n := range m.names {
		if !slices.Contains(keys, n) {
			keys = append(keys, n)
		}
	}
	return keys
}

// secretVars are the variables that a RUN gets secrets in.
func secretVars(c *instructions.RunCommand) []string {
	var names []string
	for _, m := range instructions.GetMounts(c) {
		if m.Type == instructions.MountTypeSecret && m.Env != nil {
			names = append(names, *m.Env)
		}
	}
	return names
}

func mode(m uint32) *uint32 { return &m }
