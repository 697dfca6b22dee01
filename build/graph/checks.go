package graph

import (
	"path"

	"github.com/camada/camada/platform"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// The build checks that need to know more than the text. Each has its name and its words from BuildKit.

// warn notes what rule found in c.
func (st *stage) warn(c instructions.Command, rule linter.LinterRuleI, text string) {
	st.b.f.Warn(rule, c.Comments(), c.Location(), text)
}

// checkOnce remarks on an instruction that a later one of the same stage takes the place of.
func (st *stage) checkOnce(c instructions.Command) {
	name := canonical(c)
	if loc, ok := st.once[name]; ok {
		st.b.f.Warn(&linter.RuleMultipleInstructionsDisallowed, c.Comments(), loc, linter.RuleMultipleInstructionsDisallowed.Format(c.Name()))
	}
	if st.once == nil {
		st.once = make(map[string][]parser.Range)
	}
	st.once[name] = c.Location()
}

func canonical(c instructions.Command) string {
	switch c.(type) {
	case *instructions.CmdCommand:
		return "CMD"
	case *instructions.EntrypointCommand:
		return "ENTRYPOINT"
	}
	return "HEALTHCHECK"
}

// checkJSON remarks on a shell form, whose shell keeps signals for itself. Who chose the shell knows that.
func (st *stage) checkJSON(c instructions.Command, line instructions.ShellDependantCmdLine) {
	if line.PrependShell && len(st.img.Config.Shell) == 0 {
		st.warn(c, &linter.RuleJSONArgsRecommended, linter.RuleJSONArgsRecommended.Format(c.Name()))
	}
}

// checkPair remarks on "name value" without "=".
func (st *stage) checkPair(c instructions.Command, kv instructions.KeyValuePair) {
	if kv.NoDelim {
		st.warn(c, &linter.RuleLegacyKeyValueFormat, linter.RuleLegacyKeyValueFormat.Format(c.Name()))
	}
}

// checkWorkdir remarks on a first WORKDIR that depends on the base image's.
func (st *stage) checkWorkdir(c *instructions.WorkdirCommand) {
	if !st.workdirSet && !path.IsAbs(c.Path) {
		st.warn(c, &linter.RuleWorkdirRelativePath, linter.RuleWorkdirRelativePath.Format(c.Path))
	}
	st.workdirSet = true
}

// checkPlatform remarks on an image that is for another platform than the one that is built for. Only the image of a name
// that has no others is one: of several, the right one is taken, or none.
func (b *builder) checkPlatform(base *Base, name string, want ocispec.Platform, loc []parser.Range) {
	is := base.Image.Platform
	if alike(want, is) {
		return
	}
	text := linter.RuleInvalidBaseImagePlatform.Format(name, platform.Format(platform.Normalize(want)), platform.Format(platform.Normalize(is)))
	b.f.Warn(&linter.RuleInvalidBaseImagePlatform, nil, loc, text)
}

func alike(a, b ocispec.Platform) bool { return a.OS == b.OS && a.Architecture == b.Architecture }

// checkSources remarks on sources that .dockerignore leaves out of the context.
func (st *stage) checkSources(c instructions.Command, verb string, sources []string) {
	if st.b.opts.Ignored == nil {
		return
	}
	for _, s := range sources {
		if isRemote(s) {
			continue
		}
		if s = path.Clean(s); st.b.opts.Ignored(s) {
			st.warn(c, &linter.RuleCopyIgnoredFile, linter.RuleCopyIgnoredFile.Format(verb, s))
		}
	}
}
