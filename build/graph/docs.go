package graph

import (
	"maps"
	"slices"
	"strings"

	"github.com/camada/camada/dockerfile"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

// Bounds of the descriptions of an image, which become part of its manifest: how many there are, and their bytes with their names.
const (
	maxDocs     = 500
	maxDocBytes = 64 << 10
)

// describe notes what the comments above an instruction say of the things that it declares. Of a thing without a name, what was said of the one before does not count
// any more: it is another thing now. What a comment does not speak of keeps what the base says of it.
func (st *stage) describe(c instructions.Command, kind string, names ...string) {
	if len(names) == 0 {
		delete(st.docs, dockerfile.DocKey(kind, ""))
		names = []string{""}
	}
	for name, text := range st.b.f.Describe(c, names...) {
		if st.docs == nil {
			st.docs = make(map[string]string)
		}
		st.docs[dockerfile.DocKey(kind, name)] = text
	}
}

// inheritDocs takes over what the base image's manifest says of what its config has. Arguments were those of its own build.
func (st *stage) inheritDocs(base *Base) {
	st.docs = make(map[string]string)
	for _, key := range slices.Sorted(maps.Keys(base.Annotations)) {
		text := base.Annotations[key]
		if kind, _, ok := dockerfile.SplitDocKey(key); !ok || kind == dockerfile.DocArg || len(st.docs) == maxDocs {
			continue
		}
		if text = dockerfile.CleanDoc(text); text != "" {
			st.docs[key] = text
		}
	}
}

// described are the descriptions of what the image has in the end, and of the arguments that the build takes; nil for none. The same Dockerfile and base give the same.
func (st *stage) described() map[string]string {
	all := maps.Clone(st.docs)
	for key, text := range st.b.argDocs {
		if all == nil {
			all = make(map[string]string)
		}
		all[key] = text
	}
	var out map[string]string
	room := maxDocBytes
	for _, key := range slices.Sorted(maps.Keys(all)) {
		kind, name, ok := dockerfile.SplitDocKey(key)
		if room -= len(key) + len(all[key]); !ok || !st.has(kind, name) {
			room += len(key) + len(all[key])
			continue
		}
		if room < 0 || len(out) == maxDocs {
			break
		}
		if out == nil {
			out = make(map[string]string)
		}
		out[key] = all[key]
	}
	return out
}

// has tells whether the image has a thing.
func (st *stage) has(kind, name string) bool {
	c := &st.img.Config
	switch kind {
	case dockerfile.DocEnv:
		return slices.ContainsFunc(c.Env, func(kv string) bool { return strings.HasPrefix(kv, name+"=") })
	case dockerfile.DocPort:
		_, ok := c.ExposedPorts[name]
		return ok
	case dockerfile.DocVolume:
		_, ok := c.Volumes[name]
		return ok
	case dockerfile.DocUser:
		return c.User != ""
	case dockerfile.DocEntrypoint:
		return len(c.Entrypoint) > 0
	case dockerfile.DocCmd:
		return len(c.Cmd) > 0
	case dockerfile.DocHealthcheck:
		return c.Healthcheck != nil
	case dockerfile.DocStopSignal:
		return c.StopSignal != ""
	}
	return kind == dockerfile.DocArg
}

// describeArgs notes what comments say of arguments, of all stages and of the file.
func (b *builder) describeArgs(c *instructions.ArgCommand) {
	names := make([]string, len(c.Args))
	for i, a := range c.Args {
		names[i] = a.Key
	}
	for name, text := range b.f.Describe(c, names...) {
		if b.argDocs == nil {
			b.argDocs = make(map[string]string)
		}
		if key := dockerfile.DocKey(dockerfile.DocArg, name); b.argDocs[key] == "" {
			b.argDocs[key] = text
		}
	}
}
