package engine

import (
	"encoding/csv"
	"slices"
	"strconv"
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/reference"
	"github.com/opencontainers/go-digest"
)

// The types of cache.
const (
	cacheRegistry = "registry"
	cacheLocal    = "local"
	cacheInline   = "inline"
)

// cacheSpec is one --cache-from or --cache-to.
type cacheSpec struct {
	kind string
	// ref is the name in a registry.
	ref reference.Reference
	// dir is a directory with an OCI layout, tag the entry in it, digest one that has to be it.
	dir, tag string
	digest   digest.Digest
	// max takes along the layers of all steps, else those of the image only.
	max bool
	// mounts takes along the cache mounts.
	mounts bool
	// ignoreError makes a failure to write a warning.
	ignoreError bool
}

// String is what people call it.
func (c *cacheSpec) String() string {
	switch c.kind {
	case cacheRegistry:
		return c.ref.Familiar()
	case cacheLocal:
		return c.dir
	}
	return c.kind
}

// parseCacheSpecs reads the values of --cache-from or --cache-to: type=TYPE,KEY=VALUE..., or a name in a registry.
func parseCacheSpecs(flag string, values []string) ([]*cacheSpec, error) {
	var out []*cacheSpec
	for _, v := range values {
		c, err := parseCacheSpec(flag, v)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

func parseCacheSpec(flag, value string) (*cacheSpec, error) {
	fields, err := csv.NewReader(strings.NewReader(value)).Read()
	if err != nil {
		return nil, errdefs.Invalid("%s %q: want type=TYPE,KEY=VALUE... or a name", flag, value)
	}
	attrs := map[string]string{}
	for _, f := range fields {
		k, v, ok := strings.Cut(f, "=")
		if !ok {
			if len(fields) > 1 {
				return nil, errdefs.Invalid("%s %q: %q is not KEY=VALUE", flag, value, f)
			}
			attrs["type"], attrs["ref"] = cacheRegistry, f // docker's short form
			continue
		}
		attrs[strings.ToLower(strings.TrimSpace(k))] = v
	}
	c := &cacheSpec{kind: attrs["type"]}
	if err := c.place(flag, attrs); err != nil {
		return nil, errdefs.Invalid("%s %q: %w", flag, value, err)
	}
	if err := c.options(flag, attrs); err != nil {
		return nil, errdefs.Invalid("%s %q: %w", flag, value, err)
	}
	return c, nil
}

// place reads where the cache is.
func (c *cacheSpec) place(flag string, attrs map[string]string) error {
	var err error
	switch c.kind {
	case cacheRegistry:
		if attrs["ref"] == "" {
			return errdefs.Invalid("ref=NAME is missing")
		}
		if c.ref, err = reference.ParseRemote(attrs["ref"]); err == nil && flag == "--cache-to" && c.ref.Digest != "" {
			err = errdefs.Invalid("a digest cannot be written to")
		}
	case cacheLocal:
		key := "src"
		if flag == "--cache-to" {
			key = "dest"
		}
		if c.dir = attrs[key]; c.dir == "" {
			return errdefs.Invalid("%s=DIRECTORY is missing", key)
		}
		if c.tag = attrs["tag"]; c.tag == "" {
			c.tag = reference.DefaultTag
		}
		if !reference.ValidTag(c.tag) {
			return errdefs.Invalid("%q is not a tag", c.tag)
		}
		if d := attrs["digest"]; d != "" {
			c.digest, err = digest.Parse(d)
		}
	case cacheInline:
		if flag == "--cache-from" {
			return errdefs.Invalid("a cache that is with an image is found by its name: type=registry,ref=NAME")
		}
	case "":
		return errdefs.Invalid("type=TYPE is missing: one of registry, local, inline")
	default:
		return errdefs.Unsupported("type %q: want registry, local or inline", c.kind)
	}
	return err
}

// options reads the rest. What has no meaning here, because there is one way only, is accepted.
func (c *cacheSpec) options(flag string, attrs map[string]string) error {
	for k, v := range attrs {
		var err error
		switch k {
		case "type", "ref", "src", "dest", "tag", "digest", "oci-mediatypes", "image-manifest", "force-compression", "compression", "compression-level":
		case "mode":
			if !slices.Contains([]string{"min", "max"}, v) {
				return errdefs.Invalid("mode=%s: want min or max", v)
			}
			c.max = v == "max"
		case "mounts":
			c.mounts, err = onOff(v)
		case "ignore-error":
			c.ignoreError, err = onOff(v)
		default:
			return errdefs.Invalid("%s is not known", k)
		}
		if err != nil {
			return errdefs.Invalid("%s=%s: want true or false", k, v)
		}
	}
	return nil
}

// onOff reads true or false; "" is true.
func onOff(v string) (bool, error) {
	if v == "" {
		return true, nil
	}
	return strconv.ParseBool(v)
}
