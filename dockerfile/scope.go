package dockerfile

import (
	"slices"
	"strings"

	"github.com/camada/camada/platform"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Scope is an ordered set of variables. It is what words are expanded with.
// The zero value is empty and ready.
type Scope struct {
	keys   []string
	values map[string]string
	// names are what ARGs declare, with a value or without.
	names []string
}

var _ shell.EnvGetter = (*Scope)(nil)

// Get returns the value of a variable and whether it is set.
func (s *Scope) Get(key string) (string, bool) {
	v, ok := s.values[key]
	return v, ok
}

// Keys returns the names in the order in which they were set first.
func (s *Scope) Keys() []string { return s.keys }

// Set sets a variable; one that was set before keeps its place.
func (s *Scope) Set(key, value string) {
	if s.values == nil {
		s.values = make(map[string]string)
	}
	if _, ok := s.values[key]; !ok {
		s.keys = append(s.keys, key)
	}
	s.values[key] = value
}

// Declare notes that an ARG names key, which need not have a value.
func (s *Scope) Declare(key string) {
	if !s.declared(key) {
		s.names = append(s.names, key)
	}
}

func (s *Scope) declared(key string) bool { return slices.Contains(s.names, key) }

// Environ returns the variables as "name=value", in order.
func (s *Scope) Environ() []string {
	out := make([]string, len(s.keys))
	for i, k := range s.keys {
		out[i] = k + "=" + s.values[k]
	}
	return out
}

// Clone returns a copy that can be changed without changing s.
func (s *Scope) Clone() *Scope {
	c := &Scope{keys: slices.Clone(s.keys), names: slices.Clone(s.names), values: make(map[string]string, len(s.values))}
	for k, v := range s.values {
		c.values[k] = v
	}
	return c
}

// GlobalScope returns the scope that FROM lines see and from which stages
// take an ARG without a value: the platform arguments and the ARGs before the
// first FROM, with args given by the user on top.
func (f *File) GlobalScope(build, target ocispec.Platform, stage string, args map[string]string) (*Scope, error) {
	if stage == "" {
		stage = "default"
	}
	s := &Scope{}
	for _, kv := range [][2]string{
		{"BUILDPLATFORM", platform.Format(build)},
		{"BUILDOS", build.OS},
		{"BUILDOSVERSION", build.OSVersion},
		{"BUILDARCH", build.Architecture},
		{"BUILDVARIANT", build.Variant},
		{"TARGETPLATFORM", platform.Format(target)},
		{"TARGETOS", target.OS},
		{"TARGETOSVERSION", target.OSVersion},
		{"TARGETARCH", target.Architecture},
		{"TARGETVARIANT", target.Variant},
		{"TARGETSTAGE", stage},
	} {
		if v, ok := args[kv[0]]; ok {
			kv[1] = v
		}
		s.Set(kv[0], kv[1])
	}
	f.checkDefaults(s)
	lex := shell.NewLex(f.Escape)
	for i := range f.Args {
		for _, kv := range f.Args[i].Args {
			s.Declare(kv.Key)
			if v, ok := args[kv.Key]; ok {
				s.Set(kv.Key, v)
				continue
			}
			if kv.Value == nil {
				continue
			}
			v, _, err := lex.ProcessWord(*kv.Value, s)
			if err != nil {
				return nil, f.Invalid(f.Args[i].Location(), "", "ARG %s: %w", kv.Key, err)
			}
			s.Set(kv.Key, v)
		}
	}
	return s, nil
}

// Expand expands the words of a command with scope, in place, as the language
// says for that command. ARG is not expanded: its default may not be needed.
func (f *File) Expand(c instructions.Command, scope *Scope) error {
	if _, isArg := c.(*instructions.ArgCommand); isArg {
		return nil
	}
	if ex, ok := c.(instructions.SupportsSingleWordExpansion); ok {
		lex := shell.NewLex(f.Escape)
		err := ex.Expand(func(word string) (string, error) {
			w, unmatched, err := lex.ProcessWord(word, scope)
			f.warnUndefined(c, scope, unmatched)
			return w, err
		})
		if err != nil {
			return f.Invalid(c.Location(), "", "%w", err)
		}
	}
	if ex, ok := c.(instructions.SupportsSingleWordExpansionRaw); ok {
		// The text of heredocs: quotes are kept, and the escape character is
		// always the backslash.
		lex := shell.NewLex('\\')
		lex.SkipProcessQuotes = true
		err := ex.ExpandRaw(func(word string) (string, error) {
			w, unmatched, err := lex.ProcessWord(word, scope)
			f.warnUndefined(c, scope, unmatched)
			return w, err
		})
		if err != nil {
			return f.Invalid(c.Location(), "", "%w", err)
		}
	}
	return nil
}

// ExpandDefault expands the default of an ARG in c.
func (f *File) ExpandDefault(c *instructions.ArgCommand, word string, scope *Scope) (string, error) {
	w, unmatched, err := shell.NewLex(f.Escape).ProcessWord(word, scope)
	f.warnUndefined(c, scope, unmatched)
	return w, err
}

// ExpandFrom expands a word of the FROM of s with the global scope.
func (f *File) ExpandFrom(s *Stage, word string, global *Scope) (shell.ProcessWordResult, error) {
	w, err := shell.NewLex(f.Escape).ProcessWordWithMatches(word, global)
	f.warnUndeclared(s, global, w.Unmatched)
	return w, err
}

// ExpandWord expands one word with scope.
func (f *File) ExpandWord(word string, scope *Scope) (string, error) {
	w, _, err := shell.NewLex(f.Escape).ProcessWord(word, scope)
	return w, err
}

// ExpandWords expands a word that may become several.
func (f *File) ExpandWords(word string, scope *Scope) ([]string, error) {
	return shell.NewLex(f.Escape).ProcessWords(word, scope)
}

// IsProxyArg reports whether name is one of the arguments that reach RUN
// steps without an ARG, and that neither the history nor the cache know.
func IsProxyArg(name string) bool {
	switch strings.ToLower(name) {
	case "http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy":
		return true
	}
	return false
}
