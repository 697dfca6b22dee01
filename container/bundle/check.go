package bundle

import (
	"path"
	"strconv"
	"strings"

	"github.com/camada/camada/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Check sees to it that s obeys the specification as far as that can be told from s alone; what a kernel cannot do, it
// says when the container is made.
func Check(s *specs.Spec) error {
	if err := checkVersion(s.Version); err != nil {
		return err
	}
	for section, set := range map[string]bool{
		"solaris": s.Solaris != nil, "windows": s.Windows != nil, "vm": s.VM != nil, "zos": s.ZOS != nil, "freebsd": s.FreeBSD != nil,
	} {
		if set {
			return errdefs.Unsupported("section %s: this is a runtime for linux", section)
		}
	}
	switch {
	case s.Process == nil:
		return errdefs.Invalid("process is missing")
	case s.Root == nil || s.Root.Path == "":
		return errdefs.Invalid("root.path is missing")
	case s.Linux == nil:
		return errdefs.Invalid("linux is missing")
	}
	if err := CheckProcess(s.Process); err != nil {
		return err
	}
	for _, m := range s.Mounts {
		if m.Destination == "" {
			return errdefs.Invalid("a mount without a destination")
		}
	}
	for key := range s.Annotations {
		if key == "" {
			return errdefs.Invalid("an annotation without a key")
		}
	}
	return checkHooks(s.Hooks)
}

// checkVersion takes all versions of the specification's first generation (config.md, specification version).
func checkVersion(v string) error {
	parts := strings.SplitN(v, ".", 3)
	if len(parts) != 3 {
		return errdefs.Invalid("ociVersion %q: is no version", v)
	}
	patch, _, _ := strings.Cut(parts[2], "-")
	patch, _, _ = strings.Cut(patch, "+")
	for _, n := range []string{parts[0], parts[1], patch} {
		if _, err := strconv.ParseUint(n, 10, 32); err != nil {
			return errdefs.Invalid("ociVersion %q: is no version", v)
		}
	}
	if parts[0] != "1" {
		return errdefs.Unsupported("ociVersion %s: versions 1 are known", v)
	}
	return nil
}

// CheckProcess checks what runs (config.md, process).
func CheckProcess(p *specs.Process) error {
	switch {
	case len(p.Args) == 0:
		return errdefs.Invalid("process.args is empty")
	case p.Cwd == "":
		return errdefs.Invalid("process.cwd is missing")
	case !path.IsAbs(p.Cwd):
		return errdefs.Invalid("process.cwd %q is not an absolute path", p.Cwd)
	}
	for _, list := range [][]string{p.Args, p.Env, {p.Cwd}} {
		for _, text := range list {
			if strings.ContainsRune(text, 0) {
				return errdefs.Invalid("process: %q has a NUL byte", text)
			}
		}
	}
	seen := map[string]bool{}
	for _, l := range p.Rlimits {
		if seen[l.Type] {
			return errdefs.Invalid("process.rlimits: %s twice", l.Type)
		}
		seen[l.Type] = true
	}
	return nil
}

func checkHooks(h *specs.Hooks) error {
	if h == nil {
		return nil
	}
	for _, kind := range []struct {
		name  string
		hooks []specs.Hook
	}{
		{"prestart", h.Prestart}, {"createRuntime", h.CreateRuntime}, {"createContainer", h.CreateContainer}, //nolint:staticcheck // engines still set prestart
		{"startContainer", h.StartContainer}, {"poststart", h.Poststart}, {"poststop", h.Poststop},
	} {
		for _, hook := range kind.hooks {
			switch {
			case !path.IsAbs(hook.Path):
				return errdefs.Invalid("hooks.%s: path %q is not absolute", kind.name, hook.Path)
			case hook.Timeout != nil && *hook.Timeout <= 0:
				return errdefs.Invalid("hooks.%s: a timeout of %d seconds", kind.name, *hook.Timeout)
			}
		}
	}
	return nil
}
