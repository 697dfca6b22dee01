package graph

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/camada/camada/dockerfile"
	"github.com/camada/camada/errdefs"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// historyComment is what BuildKit writes; tools know steps of a Dockerfile by it.
const historyComment = "buildkit.dockerfile.v0"

// command applies one command to the stage.
func (st *stage) command(ctx context.Context, c instructions.Command) error {
	switch c := c.(type) {
	case *instructions.RunCommand:
		return st.run(ctx, c)
	case *instructions.CopyCommand:
		return st.copy(ctx, c)
	case *instructions.AddCommand:
		return st.addFiles(c)
	case *instructions.WorkdirCommand:
		return st.workdir(c)
	case *instructions.ArgCommand:
		return st.arg(c)
	case *instructions.EnvCommand:
		st.env(c)
	case *instructions.LabelCommand:
		st.label(c)
	case *instructions.ExposeCommand:
		return st.expose(c)
	case *instructions.StopSignalCommand:
		return st.stopSignal(c)
	case *instructions.OnbuildCommand:
		st.onbuild = append(st.onbuild, c.Expression)
		st.img.Config.OnBuild = append(st.img.Config.OnBuild, c.Expression)
	default:
		return st.plain(c)
	}
	return nil
}

// plain applies the commands that just set fields.
func (st *stage) plain(c instructions.Command) error {
	cfg := &st.img.Config
	switch c := c.(type) {
	case *instructions.MaintainerCommand:
		st.img.Author = c.Maintainer
		st.history("MAINTAINER "+c.Maintainer, true)
	case *instructions.UserCommand:
		cfg.User = c.User
		st.describe(c, dockerfile.DocUser)
		st.history("USER "+c.User, true)
	case *instructions.VolumeCommand:
		if cfg.Volumes == nil {
			cfg.Volumes = make(map[string]struct{})
		}
		for _, v := range c.Volumes {
			if v == "" {
				return errdefs.Invalid("VOLUME of an empty path")
			}
			cfg.Volumes[v] = struct{}{}
		}
		st.describe(c, dockerfile.DocVolume, c.Volumes...)
		st.history(fmt.Sprintf("VOLUME %v", c.Volumes), true)
	case *instructions.ShellCommand:
		cfg.Shell = c.Shell
		st.history(fmt.Sprintf("SHELL %v", c.Shell), true)
	case *instructions.CmdCommand:
		st.checkOnce(c)
		st.checkJSON(c, c.ShellDependantCmdLine)
		cfg.Cmd = st.withShell(c.ShellDependantCmdLine)
		cfg.ArgsEscaped = true //nolint:staticcheck // deprecated, but what other builders write
		st.cmdSet = true
		st.describe(c, dockerfile.DocCmd)
		st.history(fmt.Sprintf("CMD %q", cfg.Cmd), true)
	case *instructions.EntrypointCommand:
		st.checkOnce(c)
		st.checkJSON(c, c.ShellDependantCmdLine)
		cfg.Entrypoint = st.withShell(c.ShellDependantCmdLine)
		if !st.cmdSet {
			cfg.Cmd = nil // the base image's does not fit another entrypoint
			delete(st.docs, dockerfile.DocKey(dockerfile.DocCmd, ""))
		}
		st.describe(c, dockerfile.DocEntrypoint)
		st.history(fmt.Sprintf("ENTRYPOINT %q", cfg.Entrypoint), true)
	case *instructions.HealthCheckCommand:
		st.checkOnce(c)
		h := *c.Health
		cfg.Healthcheck = &h
		st.describe(c, dockerfile.DocHealthcheck)
		st.history(fmt.Sprintf("HEALTHCHECK %+v", h), true)
	default:
		return errdefs.Unsupported("%s is not supported yet", strings.ToUpper(c.Name()))
	}
	return nil
}

func (st *stage) history(text string, empty bool) {
	st.img.History = append(st.img.History, ocispec.History{CreatedBy: text, Comment: historyComment, EmptyLayer: empty})
}

func (st *stage) withShell(c instructions.ShellDependantCmdLine) []string {
	if !c.PrependShell {
		return c.CmdLine
	}
	return append(st.shell(), strings.Join(c.CmdLine, " "))
}

// shell returns a new slice.
func (st *stage) shell() []string {
	if s := st.img.Config.Shell; len(s) > 0 {
		return append([]string(nil), s...)
	}
	return []string{"/bin/sh", "-c"}
}

func (st *stage) env(c *instructions.EnvCommand) {
	text := "ENV"
	names := make([]string, len(c.Env))
	for i, e := range c.Env {
		names[i] = e.Key
		st.checkPair(c, e)
		st.b.f.WarnSecret("ENV", e.Key, c)
		text += " " + e.String()
		st.scope.Set(e.Key, e.Value)
		st.setEnv(e.Key, e.Value)
	}
	st.describe(c, dockerfile.DocEnv, names...)
	st.history(text, true)
}

func (st *stage) setEnv(key, value string) {
	env := st.img.Config.Env
	for i, e := range env {
		if k, _, _ := strings.Cut(e, "="); k == key {
			env[i] = key + "=" + value
			return
		}
	}
	st.img.Config.Env = append(env, key+"="+value)
}

func (st *stage) arg(c *instructions.ArgCommand) error {
	st.b.describeArgs(c)
	text := "ARG"
	for _, a := range c.Args {
		st.b.f.WarnSecret("ARG", a.Key, c)
		v, ok := st.b.opts.Args[a.Key]
		switch {
		case ok:
		case a.Value != nil:
			w, err := st.b.f.ExpandDefault(c, *a.Value, st.scope)
			if err != nil {
				return errdefs.Invalid("ARG %s: %w", a.Key, err)
			}
			v, ok = w, true
		default:
			v, ok = st.b.global.Get(a.Key)
		}
		st.args = append(st.args, a.Key)
		st.scope.Declare(a.Key)
		st.noteArg(c, a, v)
		text += " " + a.Key
		if ok {
			st.scope.Set(a.Key, v)
			text += "=" + v
		}
	}
	st.history(text, true)
	return nil
}

func (st *stage) label(c *instructions.LabelCommand) {
	cfg := &st.img.Config
	if cfg.Labels == nil {
		cfg.Labels = make(map[string]string)
	}
	text := "LABEL"
	for _, l := range c.Labels {
		st.checkPair(c, l)
		cfg.Labels[l.Key] = l.Value
		text += " " + l.String()
	}
	st.history(text, true)
}

func (st *stage) stopSignal(c *instructions.StopSignalCommand) error {
	if !validSignal(c.Signal) {
		return errdefs.Invalid("STOPSIGNAL %s: not a signal", c.Signal)
	}
	st.img.Config.StopSignal = c.Signal
	st.describe(c, dockerfile.DocStopSignal)
	st.history("STOPSIGNAL "+c.Signal, true)
	return nil
}

func validSignal(s string) bool {
	if n, err := strconv.Atoi(s); err == nil {
		return n > 0 && n <= 64
	}
	name := "SIG" + strings.TrimPrefix(strings.ToUpper(s), "SIG")
	if unix.SignalNum(name) != 0 {
		return true
	}
	for prefix, sign := range map[string]string{"SIGRTMIN": "+", "SIGRTMAX": "-"} {
		rest, ok := strings.CutPrefix(name, prefix)
		if !ok {
			continue
		}
		if rest == "" {
			return true
		}
		digits, ok := strings.CutPrefix(rest, sign)
		n, err := strconv.Atoi(digits)
		return ok && err == nil && n >= 0 && n <= 30
	}
	return false
}
