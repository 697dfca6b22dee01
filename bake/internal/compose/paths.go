package compose

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/camada/camada/errdefs"
)

// resolveBuild brings the build section of a service into the one form that merging wants, and makes its paths right from
// the current directory.
func (d *document) resolveBuild(svc map[string]any, getenv Lookup) error {
	switch b := svc["build"].(type) {
	case nil:
		delete(svc, "build")
		return nil
	case string:
		svc["build"] = map[string]any{"context": b}
	case map[string]any:
	default:
		return errdefs.Invalid("build: want a path or a map")
	}
	build := svc["build"].(map[string]any)
	if c, ok := build["context"].(string); ok {
		build["context"] = d.context(c, getenv)
	} else if build["context"] != nil {
		return errdefs.Invalid("build.context: want a path")
	}
	for _, key := range []string{"cache_from", "cache_to", "no_cache_filter", "platforms", "tags"} {
		if s, ok := build[key].(string); ok {
			build[key] = []any{s}
		}
	}
	if v := build["extra_hosts"]; v != nil {
		build["extra_hosts"] = sequence(v, "=")
	}
	if v := build["additional_contexts"]; v != nil {
		var out []any
		for _, e := range sequence(v, "=") {
			name, where, ok := strings.Cut(fmt.Sprint(e), "=")
			if !ok {
				return errdefs.Invalid("build.additional_contexts: %q is not NAME=PATH", name)
			}
			out = append(out, name+"="+d.context(where, getenv))
		}
		build["additional_contexts"] = out
	}
	if v := build["ssh"]; v != nil {
		agents, err := d.agents(v, getenv)
		if err != nil {
			return fmt.Errorf("build.ssh: %w", err)
		}
		build["ssh"] = agents
	}
	return nil
}

// agents makes a map of a list of ID=PATH.
func (d *document) agents(v any, getenv Lookup) (map[string]any, error) {
	out := map[string]any{}
	switch v := v.(type) {
	case map[string]any:
		maps.Copy(out, v)
	case []any:
		for _, e := range v {
			id, path, ok := strings.Cut(fmt.Sprint(e), "=")
			if out[id] = nil; ok {
				out[id] = path
			}
		}
	case string:
		out[v] = nil
	default:
		return nil, errdefs.Invalid("want a list of ID=PATH")
	}
	for id, v := range out {
		if path, ok := v.(string); ok && path != "" {
			out[id] = inDir(d.dir, path, getenv)
		}
	}
	return out, nil
}

// context makes the path of a build context right; what is no local path stays.
func (d *document) context(p string, getenv Lookup) string {
	if strings.HasPrefix(p, "service:") || strings.HasPrefix(p, "target:") {
		return p
	}
	return inDir(d.dir, p, getenv)
}

// resolveSecrets makes the paths of secrets right.
func (d *document) resolveSecrets(getenv Lookup) error {
	secrets, err := section(d.top, "secrets")
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(secrets)) {
		s, ok := secrets[name].(map[string]any)
		if !ok {
			return errdefs.Invalid("secret %s is not a map", name)
		}
		if f, ok := s["file"].(string); ok && f != "" {
			s["file"] = inDir(d.dir, f, getenv)
		}
	}
	return nil
}

// inDir makes a path that is below dir one that is right from here. What is not local stays.
func inDir(dir, p string, getenv Lookup) string {
	if filepath.IsAbs(p) || isRemote(p) {
		return p
	}
	if rest, ok := strings.CutPrefix(p, "~/"); ok {
		if home, ok := getenv("HOME"); ok {
			return filepath.Join(home, rest)
		}
	}
	return filepath.Join(dir, p)
}

// isRemote tells what is fetched: URLs and what git and docker take for one.
func isRemote(p string) bool {
	return strings.Contains(p, "://") || strings.HasPrefix(p, "git@") || strings.HasPrefix(p, "github.com/") || strings.HasPrefix(p, "oci:")
}
