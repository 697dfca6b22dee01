package bake

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/camada/camada/errdefs"
)

// maxCompose is the largest compose file, in bytes.
const maxCompose = 4 << 20

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
	case "secrets":
		return "secret"
	}
	return key
}

// addCompose adds the services of a compose file that have a build section, and the group of them all as "default".
func (c *config) addCompose(f File, getenv func(string) (string, bool)) error {
	if len(f.Data) > maxCompose {
		return errdefs.Limit("%s has %d bytes, more than %d", f.Name, len(f.Data), maxCompose)
	}
	doc, err := parseYAML(f.Data)
	if err != nil {
		return inFile(f.Name, err)
	}
	env, err := withDotEnv(filepath.Dir(f.Name), getenv)
	if err != nil {
		return err
	}
	whole, err := interpolate(doc, env, 0)
	if err != nil {
		return inFile(f.Name, err)
	}
	doc, _ = whole.(map[string]any)
	for _, key := range []string{"include"} {
		if doc[key] != nil {
			return errdefs.Unsupported("%s: %s is not supported; name the files with -f", f.Name, key)
		}
	}
	services, ok := doc["services"].(map[string]any)
	if !ok {
		return errdefs.Invalid("%s: there are no services", f.Name)
	}
	secrets, _ := doc["secrets"].(map[string]any)
	all := []string{}
	for _, name := range sortedKeys(services) {
		svc, ok := services[name].(map[string]any)
		if !ok {
			return errdefs.Invalid("%s: service %s is not a map", f.Name, name)
		}
		if svc["extends"] != nil && svc["build"] == nil {
			return errdefs.Unsupported("%s: service %s: extends is not supported", f.Name, name)
		}
		if svc["build"] == nil {
			continue
		}
		t, err := composeTarget(name, svc, secrets, filepath.Dir(f.Name))
		if err != nil {
			return fmt.Errorf("%s: service %s: %w", f.Name, name, err)
		}
		c.add(t)
		all = append(all, t.Name)
	}
	c.groups["default"] = all
	return nil
}

// composeTarget makes a target of a service.
func composeTarget(name string, svc, secrets map[string]any, dir string) (*Target, error) {
	t := &Target{Name: strings.ReplaceAll(name, ".", "_")}
	if !validName(t.Name) {
		return nil, errdefs.Invalid("%q is not a name of a target", name)
	}
	if image, ok := svc["image"].(string); ok && image != "" {
		t.Tags = []string{image}
	}
	if p, ok := svc["platform"].(string); ok && p != "" {
		t.Platforms = []string{p}
	}
	section := map[string]any{}
	switch b := svc["build"].(type) {
	case string:
		section["context"] = b
	case map[string]any:
		section = b
	default:
		return nil, errdefs.Invalid("build: want a path or a map")
	}
	for _, key := range sortedKeys(section) {
		if err := composeSet(t, key, section[key], secrets, dir); err != nil {
			return nil, fmt.Errorf("build.%s: %w", key, err)
		}
	}
	if t.Context == nil {
		t.Context = new(string)
		*t.Context = dir
	}
	return t, nil
}

func composeSet(t *Target, key string, v any, secrets map[string]any, dir string) error {
	switch key {
	case "context":
		s, ok := v.(string)
		if !ok {
			return errdefs.Invalid("want a path")
		}
		s = relativeTo(dir, s)
		t.Context = &s
		return nil
	case "tags":
		var tags []string
		if err := texts(&tags, v); err != nil {
			return err
		}
		t.Tags = slices.Concat(t.Tags, tags)
		return nil
	case "secrets":
		var err error
		t.Secrets, err = composeSecrets(v, secrets, dir)
		return err
	case "args", "labels", "additional_contexts", "extra_hosts":
		m, err := mapping(v)
		if err != nil {
			return err
		}
		if key == "additional_contexts" {
			for k, p := range m {
				s := strings.Replace(fmt.Sprint(p), "service:", "target:", 1)
				m[k] = relativeTo(dir, s)
			}
		}
		return t.set(composeKey(key), m)
	case "ulimits":
		m, ok := v.(map[string]any)
		if !ok {
			return errdefs.Invalid("want a map")
		}
		for _, k := range sortedKeys(m) {
			limit := fmt.Sprint(m[k])
			if both, ok := m[k].(map[string]any); ok {
				limit = fmt.Sprintf("%v:%v", both["soft"], both["hard"])
			}
			t.Ulimits = append(t.Ulimits, k+"="+limit)
		}
		return nil
	case "x-bake":
		m, ok := v.(map[string]any)
		if !ok {
			return errdefs.Invalid("want a map")
		}
		for _, k := range sortedKeys(m) {
			val := plain(m[k])
			if s, ok := val.(string); ok && slices.Contains([]string{"tags", "platforms", "cache-from", "cache-to", "secret", "ssh", "output", "no-cache-filter"}, k) {
				val = []any{s}
			}
			if err := t.set(k, val); err != nil {
				return fmt.Errorf("%s: %w", k, err)
			}
		}
		return nil
	case "privileged":
		if v == true {
			t.Entitlements = append(t.Entitlements, "security.insecure")
		}
		return nil
	case "isolation", "provenance", "sbom":
		if key != "isolation" {
			t.Attest = append(t.Attest, fmt.Sprintf("type=%s,enabled=%v", key, v))
		}
		return nil
	}
	if s, ok := v.(string); ok && (key == "cache_from" || key == "cache_to" || key == "ssh" || key == "platforms") {
		v = []any{s}
	}
	return t.set(composeKey(key), plain(v))
}

// composeSecrets reads the secrets of a build section: names of secrets of the file.
func composeSecrets(v any, all map[string]any, dir string) ([]string, error) {
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
		def, ok := all[name].(map[string]any)
		if !ok {
			return nil, errdefs.NotFound("there is no secret %q in the file", name)
		}
		if target == "" {
			target = name
		}
		switch {
		case def["file"] != nil:
			out = append(out, "id="+target+",src="+relativeTo(dir, fmt.Sprint(def["file"])))
		case def["environment"] != nil:
			out = append(out, "id="+target+",env="+fmt.Sprint(def["environment"]))
		default:
			return nil, errdefs.Unsupported("secret %q has neither a file nor an environment variable", name)
		}
	}
	return out, nil
}

// mapping reads a map, or a list of NAME=VALUE.
func mapping(v any) (map[string]any, error) {
	switch v := v.(type) {
	case map[string]any:
		return plain(v).(map[string]any), nil
	case []any:
		out := map[string]any{}
		for _, e := range v {
			k, val, ok := strings.Cut(fmt.Sprint(e), "=")
			if !ok {
				if k, val, ok = strings.Cut(fmt.Sprint(e), ":"); !ok { // extra_hosts
					out[k] = nil
					continue
				}
			}
			out[k] = val
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
	case int:
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

// relativeTo makes a path of a compose file one that is right from here. What is no local path stays.
func relativeTo(dir, p string) string {
	if filepath.IsAbs(p) || strings.Contains(p, "://") || strings.HasPrefix(p, "git@") || strings.HasPrefix(p, "target:") {
		return p
	}
	return filepath.Join(dir, p)
}

// withDotEnv looks variables up in the file .env beside the compose file, behind the environment.
func withDotEnv(dir string, getenv func(string) (string, bool)) (func(string) (string, bool), error) {
	name := filepath.Join(dir, ".env")
	info, err := os.Stat(name)
	if err != nil || !info.Mode().IsRegular() {
		return getenv, nil //nolint:nilerr // most have none
	}
	if info.Size() > 1<<20 {
		return nil, errdefs.Limit("%s has %d bytes, more than %d", name, info.Size(), 1<<20)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	values := map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := strings.TrimPrefix(strings.TrimSpace(lines.Text()), "export ")
		k, v, ok := strings.Cut(line, "=")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		v = strings.TrimSpace(v)
		if n := len(v); n >= 2 && (v[0] == '"' || v[0] == '\'') && v[n-1] == v[0] {
			v = v[1 : n-1]
		} else if i := strings.Index(v, " #"); i >= 0 {
			v = strings.TrimSpace(v[:i])
		}
		values[strings.TrimSpace(k)] = v
	}
	return func(key string) (string, bool) {
		if v, ok := getenv(key); ok {
			return v, true
		}
		v, ok := values[key]
		return v, ok
	}, nil
}

// interpolate expands the variables in all strings of a document.
func interpolate(v any, getenv func(string) (string, bool), depth int) (any, error) {
	if depth > 100 {
		return nil, errdefs.Limit("more than 100 levels of nesting")
	}
	switch v := v.(type) {
	case string:
		return expandVars(v, getenv, 0)
	case []any:
		for i, e := range v {
			var err error
			if v[i], err = interpolate(e, getenv, depth+1); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for k, e := range v {
			x, err := interpolate(e, getenv, depth+1)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", k, err)
			}
			v[k] = x
		}
	}
	return v, nil
}

// expandVars expands $NAME, ${NAME}, ${NAME:-default}, -, :?, ?, :+, + and $$, as compose has them.
func expandVars(s string, getenv func(string) (string, bool), depth int) (string, error) {
	if !strings.Contains(s, "$") {
		return s, nil
	}
	if depth > 20 {
		return "", errdefs.Limit("%q: variables nested too deep", s)
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '$' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		switch {
		case s[i] == '$':
			b.WriteByte('$')
		case s[i] == '{':
			end := closing(s, i)
			if end < 0 {
				return "", errdefs.Invalid("%q: ${ without }", s)
			}
			v, err := expandOne(s[i+1:end], getenv, depth)
			if err != nil {
				return "", err
			}
			b.WriteString(v)
			i = end
		case nameLen(s[i:]) > 0:
			n := nameLen(s[i:])
			v, _ := getenv(s[i : i+n])
			b.WriteString(v)
			i += n - 1
		default:
			return "", errdefs.Invalid("%q: a $ that is no variable is written $$", s)
		}
	}
	return b.String(), nil
}

// closing finds the brace that closes the one at i.
func closing(s string, i int) int {
	depth := 0
	for ; i < len(s); i++ {
		switch s[i] {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

func nameLen(s string) int {
	n := 0
	for n < len(s) && (s[n] == '_' || s[n] >= 'a' && s[n] <= 'z' || s[n] >= 'A' && s[n] <= 'Z' || n > 0 && s[n] >= '0' && s[n] <= '9') {
		n++
	}
	return n
}

func expandOne(inner string, getenv func(string) (string, bool), depth int) (string, error) {
	n := nameLen(inner)
	name, rest := inner[:n], inner[n:]
	if n == 0 {
		return "", errdefs.Invalid("${%s}: not a variable", inner)
	}
	v, set := getenv(name)
	if rest == "" {
		return v, nil
	}
	orEmpty := strings.HasPrefix(rest, ":")
	rest = strings.TrimPrefix(rest, ":")
	missing := !set || orEmpty && v == ""
	if rest == "" {
		return "", errdefs.Invalid("${%s}: not a variable", inner)
	}
	word := rest[1:]
	switch rest[0] {
	case '-':
		if missing {
			return expandVars(word, getenv, depth+1)
		}
		return v, nil
	case '+':
		if missing {
			return "", nil
		}
		return expandVars(word, getenv, depth+1)
	case '?':
		if missing {
			return "", errdefs.Invalid("the variable %s must be set: %s", name, word)
		}
		return v, nil
	}
	return "", errdefs.Invalid("${%s}: not a variable", inner)
}
