package graph

import (
	"strings"

	"github.com/camada/camada/dockerfile"
	"github.com/camada/camada/platform"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// from is what a FROM says, with variables expanded.
type from struct {
	name     string
	platform *ocispec.Platform // nil when it names none
	args     map[string]bool   // what the line reads
}

// readFroms reads the FROM of each stage, also of those that the target does not need.
func (b *builder) readFroms() error {
	b.froms = make([]from, len(b.f.Stages))
	for i := range b.f.Stages {
		def := &b.f.Stages[i]
		name, err := b.f.ExpandFrom(def, def.BaseName, b.global)
		if err != nil {
			return b.f.Invalid(def.Location, "", "FROM %s: %w", def.BaseName, err)
		}
		if name.Result == "" {
			return b.f.Invalid(def.Location, "give its ARGs a value before the first FROM or with --build-arg", "the base name %s is empty after expansion", def.BaseName)
		}
		b.froms[i].name, b.froms[i].args = name.Result, map[string]bool{}
		for n := range name.Matched {
			b.froms[i].args[n] = true
		}
		if def.Platform == "" {
			continue
		}
		if err := b.fromPlatform(def, &b.froms[i]); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) fromPlatform(def *dockerfile.Stage, into *from) error {
	w, err := b.f.ExpandFrom(def, def.Platform, b.global)
	if err != nil {
		return b.f.Invalid(def.Location, "", "FROM --platform=%s: %w", def.Platform, err)
	}
	if w.Result == "" {
		return b.f.Invalid(def.Location, "", "the platform %s is empty after expansion", def.Platform)
	}
	_, isTarget := w.Matched["TARGETPLATFORM"]
	if target, _ := b.global.Get("TARGETPLATFORM"); isTarget && len(w.Matched) == 1 && len(w.Unmatched) == 0 && w.Result == target {
		b.f.Warn(&linter.RuleRedundantTargetPlatform, def.Comments, def.Location, linter.RuleRedundantTargetPlatform.Format(def.Platform))
	}
	p, err := platform.Parse(w.Result)
	if err != nil {
		return b.f.ErrorAt(def.Location, err, "")
	}
	constant := len(w.Matched) == 0 && len(w.Unmatched) == 0
	if constant && !strings.Contains(def.Name, p.OS) && !strings.Contains(def.Name, p.Architecture) {
		b.f.Warn(&linter.RuleFromPlatformFlagConstDisallowed, def.Comments, def.Location, linter.RuleFromPlatformFlagConstDisallowed.Format(w.Result))
	}
	into.platform = &p
	for n := range w.Matched {
		into.args[n] = true
	}
	return nil
}
