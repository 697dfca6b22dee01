package bake

import (
	"fmt"
	"slices"
	"strings"

	"github.com/camada/camada/bake/internal/compose"
	"github.com/camada/camada/errdefs"
)

// composeKey is the name that bake has for a key of a service's build section, "" for one that the key itself is fit for.
func composeKey(key string) string {
	switch key {
	case "dockerfile_inline":
		return "dockerfile-inline"
	case "additional_contexts":
		return "contexts"
	case "cache_from":
		return "cache-from"
	case "cache_to":
		return "cache-to"
	case "extra_hosts":
		return "extra-hosts"
	case "no_cache":
		return "no-cache"
	case "no_cache_filter":
		return "no-cache-filter"
	case "shm_size":
		return "shm-size"
	}
	return key
}

// addCompose adds the services of compose files that have a build section, and the group of them all as "default".
func (c *config) addCompose(files []File, getenv func(string) (string, bool)) error {
	if len(files) == 0 {
		return nil
	}
	m, err := loadCompose(files, getenv)
	if err != nil {
		return err
	}
	all := []string{}
	for _, name := range sortedKeys(m.Services) {
		svc, _ := m.Services[name].(map[string]any)
		if svc["build"] == nil {
			continue
		}
		t, err := composeTarget(name, svc, m)
		if err != nil {
			return fmt.Errorf("%s: service %s: %w", files[0].Name, name, err)
		}
		c.add(t)
		all = append(all, t.Name)
	}
	c.groups["default"] = all
	return nil
}

func loadCompose(files []File, getenv func(string) (string, bool)) (*compose.Model, error) {
	var in []compose.File
	for _, f := range files {
		in = append(in, compose.File(f))
	}
	m, err := compose.Load(in, getenv)
	if err != nil {
		return nil, err
	}
	if m.Services == nil {
		return nil, errdefs.Invalid("%s: there are no services", files[0].Name)
	}
	return m, nil
}

// composeName is the name of a service's target: those have no dots.
func composeName(service string) string { return strings.ReplaceAll(service, ".", "_") }

// composeTarget makes a target of a service. Its image is the tag when the build section has none.
func composeTarget(name string, svc map[string]any, m *compose.Model) (*Target, error) {
	t := &Target{Name: composeName(name)}
	if !validName(t.Name) {
		return nil, errdefs.Invalid("%q is not a name of a target", name)
	}
	if p, ok := svc["platform"].(string); ok && p != "" {
		t.Platforms = []string{p}
	}
	section, _ := svc["build"].(map[string]any)
	b := builder{t: t, model: m}
	b.environment, _ = pairsOf(svc["environment"])
	keys := sortedKeys(section)
	for _, key := range keys {
		if strings.HasPrefix(key, "x-") {
			continue // extensions are for those who know them
		}
		if err := b.set(key, section[key]); err != nil {
			return nil, fmt.Errorf("build.%s: %w", key, err)
		}
	}
	if x := section["x-bake"]; x != nil {
		if err := b.extension(x); err != nil {
			return nil, fmt.Errorf("build.x-bake: %w", err)
		}
	}
	if image, ok := svc["image"].(string); ok && image != "" && len(t.Tags) == 0 {
		t.Tags = []string{image}
	}
	return t, nil
}

// builder fills a target with what a build section says.
type builder struct {
	t           *Target
	model       *compose.Model
	environment map[string]any // of the service
}

func (b builder) set(key string, v any) error {
	t := b.t
	if v == nil {
		return nil
	}
	switch key {
	case "secrets":
		var err error
		t.Secrets, err = b.secrets(v)
		return err
	case "args":
		m, err := pairsOf(v)
		for k, e := range m {
			if e == nil { // a name alone has the value of the environment
				m[k] = b.variable(k)
			}
		}
		return first(err, func() error { return t.set(key, m) })
	case "labels":
		m, err := pairsOf(v)
		for k, e := range m {
			if e == nil {
				m[k] = ""
			}
		}
		return first(err, func() error { return t.set(key, m) })
	case "extra_hosts":
		return b.hosts(v)
	case "additional_contexts":
		m, err := pairsOf(v)
		for k, p := range m {
			m[k] = contextName(fmt.Sprint(p))
		}
		return first(err, func() error { return t.set("contexts", m) })
	case "ssh":
		m, ok := v.(map[string]any)
		if !ok {
			return errdefs.Invalid("want a list of ID=PATH")
		}
		for _, id := range sortedKeys(m) {
			if m[id] != nil && m[id] != "" {
				id += "=" + fmt.Sprint(m[id])
			}
			t.SSH = append(t.SSH, id)
		}
		return nil
	case "ulimits":
		return b.ulimits(v)
	case "privileged":
		if v == true || v == "true" {
			t.Entitlements = append(t.Entitlements, "security.insecure")
		}
		return nil
	case "entitlements":
		var more []string
		err := texts(&more, plain(v))
		t.Entitlements = append(t.Entitlements, more...)
		return err
	case "isolation": // of Windows
		return nil
	case "provenance", "sbom":
		t.Attest = append(t.Attest, attestation(key, fmt.Sprint(v)))
		return nil
	case "description", "inherits", "context-named", "output", "annotations", "attest", "call", "contexts":
		return errdefs.Invalid("unknown key %q of a build section", key)
	}
	return t.set(composeKey(key), plain(v))
}

// first is err, or what next returns.
func first(err error, next func() error) error {
	if err != nil {
		return err
	}
	return next()
}

// hosts reads extra_hosts. A host that is there several times has several addresses.
func (b builder) hosts(v any) error {
	l, ok := v.([]any)
	if !ok {
		return errdefs.Invalid("want a map or a list of HOST=ADDRESS")
	}
	b.t.ExtraHosts = map[string]string{}
	for _, e := range l {
		host, address, ok := strings.Cut(fmt.Sprint(e), "=")
		if !ok {
			host, address, ok = strings.Cut(host, ":")
		}
		if !ok {
			return errdefs.Invalid("%q is not HOST=ADDRESS", host)
		}
		if have := b.t.ExtraHosts[host]; have != "" {
			address = have + "," + address
		}
		b.t.ExtraHosts[host] = address
	}
	return nil
}

// attestation is a value as --provenance and --sbom take it, as one of --attest.
func attestation(kind, value string) string {
	switch value {
	case "true", "false":
		return "type=" + kind + ",enabled=" + value
	}
	return "type=" + kind + "," + value
}

func (b builder) variable(name string) any {
	if v, ok := b.environment[name]; ok && v != nil {
		return v
	}
	if v, ok := b.model.Getenv(name); ok {
		return v
	}
	return nil
}

// contextName makes a target of the service that a context names.
func contextName(p string) string {
	for _, prefix := range []string{"service:", "target:"} {
		if name, ok := strings.CutPrefix(p, prefix); ok {
			return "target:" + composeName(name)
		}
	}
	return p
}

func (b builder) ulimits(v any) error {
	m, ok := v.(map[string]any)
	if !ok {
		return errdefs.Invalid("want a map")
	}
	for _, k := range sortedKeys(m) {
		limit := fmt.Sprintf("%v:%v", m[k], m[k])
		if both, ok := m[k].(map[string]any); ok {
			limit = fmt.Sprintf("%v:%v", both["soft"], both["hard"])
		}
		b.t.Ulimits = append(b.t.Ulimits, k+"="+limit)
	}
	return nil
}

// secrets reads the secrets of a build section: names of secrets of the file.
func (b builder) secrets(v any) ([]string, error) {
	l, ok := v.([]any)
	if !ok {
		return nil, errdefs.Invalid("want a list")
	}
	var out []string
	for _, e := range l {
		name, target := "", ""
		switch e := e.(type) {
		case string:
			name = e
		case map[string]any:
			name, _ = e["source"].(string)
			target, _ = e["target"].(string)
		}
		def, ok := b.model.Secrets[name].(map[string]any)
		if !ok {
			return nil, errdefs.NotFound("there is no secret %q in the file", name)
		}
		if target == "" {
			target = name
		}
		switch {
		case def["file"] != nil:
			out = append(out, "id="+target+",src="+fmt.Sprint(def["file"]))
		case def["environment"] != nil:
			out = append(out, "id="+target+",env="+fmt.Sprint(def["environment"]))
		default:
			return nil, errdefs.Unsupported("secret %q has neither a file nor an environment variable", name)
		}
	}
	return out, nil
}

// extension reads x-bake, which has what bake files have and compose files have not. Lists are added to, all else wins.
func (b builder) extension(v any) error {
	m, ok := v.(map[string]any)
	if !ok {
		return errdefs.Invalid("want a map")
	}
	for _, k := range sortedKeys(m) {
		switch k {
		case "tags", "platforms", "cache-from", "cache-to", "secret", "ssh", "output", "no-cache-filter", "entitlements", "annotations", "attest", "ulimits":
			more := &Target{}
			val := plain(m[k])
			if s, ok := val.(string); ok {
				words := []any{}
				for _, w := range strings.Fields(s) {
					words = append(words, w)
				}
				val = words
			}
			if err := more.set(k, val); err != nil {
				return fmt.Errorf("%s: %w", k, err)
			}
			have := b.t.list(k)
			for _, e := range *more.list(k) {
				if !slices.Contains(*have, e) {
					*have = append(*have, e)
				}
			}
		case "contexts":
			add := map[string]any{}
			given, _ := m[k].(map[string]any)
			for name, p := range given {
				add[name] = contextName(fmt.Sprint(p))
			}
			more := &Target{}
			if err := more.set(k, add); err != nil {
				return fmt.Errorf("%s: %w", k, err)
			}
			b.t.Contexts = joined(b.t.Contexts, more.Contexts)
		case "pull", "no-cache":
			if err := b.t.set(k, m[k]); err != nil {
				return fmt.Errorf("%s: %w", k, err)
			}
		default:
			return errdefs.Invalid("unknown key %q", k)
		}
	}
	return nil
}

// pairsOf reads a map, or a list of NAME=VALUE; a name alone has nil.
func pairsOf(v any) (map[string]any, error) {
	switch v := v.(type) {
	case map[string]any:
		return plain(v).(map[string]any), nil
	case []any:
		out := map[string]any{}
		for _, e := range v {
			k, val, ok := strings.Cut(fmt.Sprint(e), "=")
			if out[k] = nil; ok {
				out[k] = val
			}
		}
		return out, nil
	}
	return nil, errdefs.Invalid("want a map or a list of NAME=VALUE")
}

// plain turns the numbers of YAML into the ones that package hcl has.
func plain(v any) any {
	switch v := v.(type) {
	case uint64:
		return float64(v)
	case int64:
		return float64(v)
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = plain(e)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[k] = plain(e)
		}
		return out
	}
	return v
}
