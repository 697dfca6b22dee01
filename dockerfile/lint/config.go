package lint

import (
	"slices"
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/yamltree"
)

// Config chooses what is found, and how bad it is. The zero value is the default.
type Config struct {
	// Ignored are codes of rules that find nothing.
	Ignored []string
	// Severities of rules, by any of their codes.
	Severities map[string]Severity
	// TrustedRegistries are what FROM may name: hosts, with a "*" at the beginning or the end, or alone. All when there are none.
	TrustedRegistries []string
	// Labels are those that an image must have, with what they must be: text, rfc3339, semver, url, hash, spdx or email.
	Labels map[string]string
	// StrictLabels finds labels that Labels has not.
	StrictLabels bool
	// NoPragmas does not let comments ignore anything.
	NoPragmas bool
	// Checks takes the place of the file's "# check=", e.g. "skip=all".
	Checks string
	// Threshold is the severity from which findings make the verb fail; Ignore when the configuration does not say.
	Threshold Severity
	// NoFail makes the verb succeed whatever was found.
	NoFail bool
}

// Severity is that of the findings of a rule.
func (c *Config) Severity(r *Rule) Severity {
	if r.in(c.Ignored) {
		return Ignore
	}
	for _, code := range append([]string{r.Code}, r.Aliases...) {
		if s, ok := c.Severities[code]; ok {
			return s
		}
	}
	return r.Severity
}

// ParseConfig reads a configuration: .camada-lint.yaml, whose keys are those of .hadolint.yaml. Other keys than those are ErrInvalid.
//
//	failure-threshold: warning
//	ignored: [DL3008, {rule: SC2086, reason: none of them has spaces}]
//	override: {error: [DL3007], info: [DL3059]}
//	trustedRegistries: [docker.io, "*.corp.example"]
//	label-schema: {org.opencontainers.image.version: semver}
//	strict-labels: false
//	no-fail: false
//	disable-ignore-pragma: false
func ParseConfig(data []byte) (Config, error) {
	var c Config
	docs, err := yamltree.Parse(data)
	if err != nil {
		return c, err
	}
	if len(docs) == 0 || docs[0] == nil {
		return c, nil
	}
	top, ok := docs[0].(map[string]any)
	if !ok || len(docs) > 1 {
		return c, errdefs.Invalid("want one map of settings")
	}
	keys := make([]string, 0, len(top))
	for k := range top {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		if err := c.set(k, top[k]); err != nil {
			return c, err
		}
	}
	return c, nil
}

func (c *Config) set(key string, v any) (err error) {
	switch key {
	case "failure-threshold":
		word, _ := v.(string)
		c.Threshold, err = ParseSeverity(word)
	case "ignored":
		c.Ignored, err = codes(key, v)
	case "override":
		return c.override(v)
	case "trustedRegistries":
		c.TrustedRegistries, err = texts(key, v)
	case "label-schema":
		return c.labels(v)
	case "strict-labels":
		c.StrictLabels, err = flag(key, v)
	case "no-fail":
		c.NoFail, err = flag(key, v)
	case "disable-ignore-pragma":
		c.NoPragmas, err = flag(key, v)
	case "format", "no-color": // of the face that hadolint has
	default:
		return errdefs.Invalid("unknown setting %q", key)
	}
	return err
}

func (c *Config) override(v any) error {
	levels, ok := v.(map[string]any)
	if !ok {
		return errdefs.Invalid("override: want a map of severities")
	}
	for word, list := range levels {
		s, err := ParseSeverity(word)
		if err != nil || s == None {
			return errdefs.Invalid("override: unknown severity %q", word)
		}
		names, err := texts("override", list)
		if err != nil {
			return err
		}
		for _, n := range names {
			c.Override(n, s)
		}
	}
	return nil
}

// Override gives a rule a severity.
func (c *Config) Override(code string, s Severity) {
	if c.Severities == nil {
		c.Severities = make(map[string]Severity)
	}
	c.Severities[code] = s
}

func (c *Config) labels(v any) error {
	m, ok := v.(map[string]any)
	if !ok {
		return errdefs.Invalid("label-schema: want a map of labels")
	}
	for name, kind := range m {
		word, _ := kind.(string)
		if err := c.RequireLabel(name, word); err != nil {
			return err
		}
	}
	return nil
}

// RequireLabel makes a label one that an image must have; kind says what it must be.
func (c *Config) RequireLabel(name, kind string) error {
	switch kind {
	case "text", "rawtext", "rfc3339", "semver", "url", "hash", "spdx", "email":
	default:
		return errdefs.Invalid("label %s: %q: want text, rfc3339, semver, url, hash, spdx or email", name, kind)
	}
	if c.Labels == nil {
		c.Labels = make(map[string]string)
	}
	c.Labels[name] = kind
	return nil
}

func flag(key string, v any) (bool, error) {
	b, ok := v.(bool)
	if !ok {
		return false, errdefs.Invalid("%s: want true or false", key)
	}
	return b, nil
}

// texts reads a text or a list of them.
func texts(key string, v any) ([]string, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case string:
		return strings.Split(v, ","), nil
	case []any:
		out := make([]string, len(v))
		for i, item := range v {
			text, ok := item.(string)
			if !ok {
				return nil, errdefs.Invalid("%s: want a list of texts", key)
			}
			out[i] = text
		}
		return out, nil
	}
	return nil, errdefs.Invalid("%s: want a list of texts", key)
}

// codes reads a list of codes, or of maps of a rule and a reason.
func codes(key string, v any) ([]string, error) {
	list, ok := v.([]any)
	if !ok {
		return texts(key, v)
	}
	var out []string
	for _, item := range list {
		if m, ok := item.(map[string]any); ok {
			item = m["rule"]
		}
		code, ok := item.(string)
		if !ok || code == "" {
			return nil, errdefs.Invalid("%s: want codes of rules, or maps of rule and reason", key)
		}
		out = append(out, code)
	}
	return out, nil
}
