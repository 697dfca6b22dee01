package imagelint

import (
	"fmt"
	"slices"
	"strings"

	"github.com/camada/camada/dockerfile"
	"github.com/camada/camada/internal/semver"
)

// config looks at what the image says of how it is run.
func (c *check) config() {
	cfg := &c.in.Image.Config.Config
	switch name, _, _ := strings.Cut(cfg.User, ":"); name {
	case "", "root", "0":
		c.report("RunsAsRoot", 0, "")
	}
	if cfg.Healthcheck == nil || len(cfg.Healthcheck.Test) == 0 || cfg.Healthcheck.Test[0] == "NONE" {
		c.report("NoHealthcheck", 0, "")
	}
	for _, kv := range cfg.Env {
		if name, value, _ := strings.Cut(kv, "="); value != "" && dockerfile.SecretName(name) {
			c.report("SecretsUsedInArgOrEnv", 0, fmt.Sprintf("the variable %q sounds like a secret, and has a value", name))
		}
	}
	for _, p := range sorted(cfg.ExposedPorts) {
		if !c.described(dockerfile.DocPort, p) {
			c.report("UndocumentedPort", 0, "nothing says what port "+p+" is for")
		}
	}
	for _, v := range sorted(cfg.Volumes) {
		if !c.described(dockerfile.DocVolume, v) {
			c.report("UndocumentedVolume", 0, "nothing says what volume "+v+" is for")
		}
	}
}

func sorted(set map[string]struct{}) []string {
	out := make([]string, 0, len(set))
	for k := range set {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// described tells whether a label or an annotation says what a port or a volume is for.
func (c *check) described(kind, name string) bool {
	return dockerfile.DocOf(kind, name, c.in.Image.Config.Config.Labels, c.in.Image.Manifest.Annotations) != ""
}

// base looks at what the image was built from.
func (c *check) base() {
	if c.in.Base == "" {
		return
	}
	if !c.in.BasePinned {
		c.report("BaseNotPinned", 0, "the base image "+c.in.Base+" was named without a digest")
	}
	name := c.in.Base[strings.LastIndexByte(c.in.Base, '/')+1:]
	name, _, _ = strings.Cut(name, "@")
	if _, tag, ok := strings.Cut(name, ":"); (!ok || tag == "latest") && !c.in.BasePinned {
		c.report("LatestBase", 0, "the base image is "+c.in.Base+", which is something else every time")
	}
}

// name looks at the tags.
func (c *check) name() {
	if len(c.in.Names) == 0 {
		return
	}
	for _, n := range c.in.Names {
		last := n[strings.LastIndexByte(n, '/')+1:]
		_, tag, _ := strings.Cut(last, ":")
		for i := 0; i < len(tag); i++ { // v1.2, 1.2-alpine, app-1.2.3
			if i > 0 && tag[i-1] != '-' && tag[i-1] != '_' {
				continue
			}
			word, _, _ := strings.Cut(tag[i:], "_")
			core, _, _ := strings.Cut(word, "-")
			if _, ok := semver.Parse(core); ok && strings.Contains(core, ".") {
				return
			}
		}
	}
	c.report("NoVersionTag", 0, "none of its tags is a version: "+strings.Join(c.in.Names[:min(len(c.in.Names), 5)], ", "))
}
