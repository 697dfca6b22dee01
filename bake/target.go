package bake

import (
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/camada/camada/bake/internal/hcl"
	"github.com/camada/camada/errdefs"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// merge returns a target with what over says in place of what base says. Maps and annotations are joined, other
// lists replaced, as bake does it.
func merge(base, over *Target) *Target {
	t := *base
	keep := func(to **string, v *string) {
		if v != nil {
			*to = v
		}
	}
	keep(&t.Context, over.Context)
	keep(&t.Dockerfile, over.Dockerfile)
	keep(&t.DockerfileInline, over.DockerfileInline)
	keep(&t.Target, over.Target)
	keep(&t.Network, over.Network)
	keep(&t.ShmSize, over.ShmSize)
	keep(&t.Call, over.Call)
	for _, b := range []struct{ to, from **bool }{{&t.Pull, &over.Pull}, {&t.NoCache, &over.NoCache}} {
		if *b.from != nil {
			*b.to = *b.from
		}
	}
	for _, l := range []struct {
		to, from *[]string
	}{
		{&t.Tags, &over.Tags}, {&t.CacheFrom, &over.CacheFrom}, {&t.CacheTo, &over.CacheTo}, {&t.Secrets, &over.Secrets},
		{&t.SSH, &over.SSH}, {&t.Platforms, &over.Platforms}, {&t.Outputs, &over.Outputs}, {&t.NoCacheFilter, &over.NoCacheFilter},
		{&t.Ulimits, &over.Ulimits}, {&t.Entitlements, &over.Entitlements},
	} {
		if *l.from != nil {
			*l.to = *l.from
		}
	}
	t.Annotations = append(slices.Clone(base.Annotations), over.Annotations...)
	t.Attest = append(slices.Clone(base.Attest), over.Attest...)
	t.Args = joined(base.Args, over.Args)
	t.Labels = joined(base.Labels, over.Labels)
	t.Contexts = joined(base.Contexts, over.Contexts)
	t.ExtraHosts = joined(base.ExtraHosts, over.ExtraHosts)
	if over.Description != "" {
		t.Description = over.Description
	}
	return &t
}

func joined(a, b map[string]string) map[string]string {
	if a == nil && b == nil {
		return nil
	}
	out := maps.Clone(a)
	if out == nil {
		out = map[string]string{}
	}
	maps.Copy(out, b)
	return out
}

// set gives a key of a target, named as in bake files, a value of one. A null says nothing.
func (t *Target) set(key string, v any) error {
	if v == nil {
		return nil
	}
	switch key {
	case "context":
		return text(&t.Context, v)
	case "dockerfile":
		return text(&t.Dockerfile, v)
	case "dockerfile-inline":
		return text(&t.DockerfileInline, v)
	case "target":
		return text(&t.Target, v)
	case "network", "network-mode":
		return text(&t.Network, v)
	case "shm-size":
		return text(&t.ShmSize, v)
	case "call":
		return text(&t.Call, v)
	case "description":
		s, err := hcl.Text(v)
		t.Description = s
		return err
	case "pull":
		return truth(&t.Pull, v)
	case "no-cache":
		return truth(&t.NoCache, v)
	case "args":
		return pairs(&t.Args, v)
	case "labels":
		return pairs(&t.Labels, v)
	case "contexts":
		return pairs(&t.Contexts, v)
	case "extra-hosts":
		return pairs(&t.ExtraHosts, v)
	case "inherits":
		return texts(&t.Inherits, v)
	case "tags":
		return texts(&t.Tags, v)
	case "annotations":
		return texts(&t.Annotations, v)
	case "platforms":
		return texts(&t.Platforms, v)
	case "no-cache-filter":
		return texts(&t.NoCacheFilter, v)
	case "ulimits":
		return texts(&t.Ulimits, v)
	case "entitlements":
		return texts(&t.Entitlements, v)
	case "attest":
		return fields(&t.Attest, v)
	case "cache-from":
		return fields(&t.CacheFrom, v)
	case "cache-to":
		return fields(&t.CacheTo, v)
	case "secret":
		return fields(&t.Secrets, v)
	case "ssh":
		return fields(&t.SSH, v)
	case "output":
		return fields(&t.Outputs, v)
	}
	return errdefs.Invalid("unknown key %q of a target", key)
}

func text(to **string, v any) error {
	s, err := hcl.Text(v)
	*to = &s
	return err
}

func truth(to **bool, v any) error {
	s, err := hcl.Text(v)
	if err != nil {
		return err
	}
	b, err := strconv.ParseBool(s)
	if err != nil {
		return errdefs.Invalid("%q is neither true nor false", s)
	}
	*to = &b
	return nil
}

func texts(to *[]string, v any) error {
	l, ok := v.([]any)
	if !ok {
		return errdefs.Invalid("want a list of strings")
	}
	out := []string{}
	for _, e := range l {
		if e == nil {
			continue
		}
		s, err := hcl.Text(e)
		if err != nil {
			return err
		}
		out = append(out, s)
	}
	*to = out
	return nil
}

// pairs reads a map of strings; an entry that is null is left out.
func pairs(to *map[string]string, v any) error {
	m, ok := v.(map[string]any)
	if !ok {
		return errdefs.Invalid("want a map of strings")
	}
	out := map[string]string{}
	for k, e := range m {
		if e == nil {
			continue
		}
		s, err := hcl.Text(e)
		if err != nil {
			return err
		}
		out[k] = s
	}
	*to = out
	return nil
}

// fields reads a list of flag values, each a string or a map of fields, as newer bake files have it.
func fields(to *[]string, v any) error {
	l, ok := v.([]any)
	if !ok {
		return errdefs.Invalid("want a list")
	}
	out := []string{}
	for _, e := range l {
		m, ok := e.(map[string]any)
		if !ok {
			s, err := hcl.Text(e)
			if err != nil {
				return err
			}
			out = append(out, s)
			continue
		}
		var parts []string
		for _, k := range sortedKeys(m) {
			s, err := hcl.Text(m[k])
			if err != nil {
				return err
			}
			part := k + "=" + s
			if strings.ContainsAny(part, ",\"") {
				part = `"` + strings.ReplaceAll(part, `"`, `""`) + `"`
			}
			if k == "type" {
				parts = slices.Insert(parts, 0, part)
			} else {
				parts = append(parts, part)
			}
		}
		out = append(out, strings.Join(parts, ","))
	}
	*to = out
	return nil
}

// override is one --set.
type override struct {
	text, pattern, key, sub, value string
	add, used                      bool
}

func parseOverrides(in []string) ([]*override, error) {
	var out []*override
	for _, s := range in {
		left, value, ok := strings.Cut(s, "=")
		o := &override{text: s, value: value}
		o.add = strings.HasSuffix(left, "+")
		parts := strings.SplitN(strings.TrimSuffix(left, "+"), ".", 3)
		if len(parts) < 2 || !ok && parts[1] != "args" {
			return nil, errdefs.Invalid("--set %q: want TARGET.KEY=VALUE", s)
		}
		o.pattern, o.key = parts[0], parts[1]
		if len(parts) == 3 {
			o.sub = parts[2]
		}
		if _, err := path.Match(o.pattern, ""); err != nil {
			return nil, errdefs.Invalid("--set %q: %w", s, err)
		}
		out = append(out, o)
	}
	return out, nil
}

func (o *override) matches(name string) bool {
	ok, err := path.Match(o.pattern, name)
	o.used = o.used || ok && err == nil
	return ok && err == nil
}

// apply changes a target. A list is replaced by the first override of its key and added to by the ones with +=.
func (o *override) apply(t *Target) error {
	key := map[string]string{"platform": "platforms", "tag": "tags", "secrets": "secret", "annotation": "annotations", "label": "labels", "arg": "args",
		"context-named": "contexts", "ulimit": "ulimits", "entitlement": "entitlements"}[o.key]
	if key == "" {
		key = o.key
	}
	err := func() error {
		switch key {
		case "args", "labels", "contexts", "extra-hosts":
			if o.sub == "" {
				return errdefs.Invalid("want %s.NAME=VALUE", o.key)
			}
			add := &Target{}
			if err := add.set(key, map[string]any{o.sub: o.value}); err != nil {
				return err
			}
			*t = *mergeNamed(t, add)
			return nil
		case "tags", "annotations", "attest", "cache-from", "cache-to", "secret", "ssh", "platforms", "output", "no-cache-filter", "ulimits", "entitlements":
			list := t.list(key)
			value := []string{o.value}
			if key == "platforms" {
				value = strings.Split(o.value, ",")
			}
			if o.add {
				value = append(slices.Clone(*list), value...)
			}
			*list = value
			return nil
		case "inherits":
			return errdefs.Invalid("inherits cannot be overridden")
		}
		return t.set(key, o.value)
	}()
	if err != nil {
		return errdefs.Invalid("--set %s: %w", o.text, err)
	}
	return nil
}

// mergeNamed is merge for a part of a target that has no name of its own.
func mergeNamed(base, over *Target) *Target {
	t := merge(base, over)
	t.Name = base.Name
	return t
}

func (t *Target) list(key string) *[]string {
	switch key {
	case "tags":
		return &t.Tags
	case "annotations":
		return &t.Annotations
	case "attest":
		return &t.Attest
	case "cache-from":
		return &t.CacheFrom
	case "cache-to":
		return &t.CacheTo
	case "secret":
		return &t.Secrets
	case "ssh":
		return &t.SSH
	case "platforms":
		return &t.Platforms
	case "no-cache-filter":
		return &t.NoCacheFilter
	case "ulimits":
		return &t.Ulimits
	case "entitlements":
		return &t.Entitlements
	}
	return &t.Outputs
}
