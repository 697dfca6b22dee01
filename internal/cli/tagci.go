package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/camada/camada/engine"
	"github.com/camada/camada/internal/cli/format"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// codeReleased is the exit code when a release exists already and is something else.
const codeReleased = 7

// ciOptions are the flags of tag --ci.
type ciOptions struct {
	on, dryRun bool
	how, dir   string
}

func (o *ciOptions) flags(f *pflag.FlagSet) {
	f.BoolVar(&o.on, "ci", false, "give SOURCE the tags that follow from the state of git")
	f.BoolVar(&o.dryRun, "dry-run", false, "with --ci: show the tags and move none")
	f.StringVar(&o.how, "format", "", "with --ci: table, json or a Go `template` for each tag")
	f.StringVar(&o.dir, "context", ".", "with --ci: the `directory` whose state counts")
}

// moveCI gives an image the tags of the state of git, and shows them.
func (a *app) moveCI(cmd *cobra.Command, o ciOptions, args []string) error {
	repository := ""
	if len(args) == 2 {
		repository = args[1]
	}
	return a.with(cmd.Context(), func(e *engine.Engine) error {
		r, err := e.TagCI(cmd.Context(), args[0], repository, o.dir, o.dryRun)
		if err != nil {
			return released(err)
		}
		a.ciWarnings(r)
		return format.Table[engine.CITag]{Columns: []format.Column[engine.CITag]{
			{Header: "NAME", Value: func(t engine.CITag) string { return t.Name }},
			{Header: "KIND", Value: func(t engine.CITag) string { return t.Kind }},
			{Header: "BEFORE", Value: func(t engine.CITag) string { return shortID(t.Before, false) }},
			{Header: "DIGEST", Value: func(t engine.CITag) string { return shortID(t.Digest, false) }},
		}}.Write(a.stdout, o.how, r.Tags)
	})
}

// tagCI gives a build the tags and annotations of the state of git.
func (a *app) tagCI(ctx context.Context, e *engine.Engine, opts *engine.BuildOptions) error {
	r, err := e.PrepareCI(ctx, opts)
	if err == nil {
		a.ciWarnings(r)
	}
	return err
}

func (a *app) ciWarnings(r engine.CIReport) {
	for _, w := range r.Warnings {
		fmt.Fprintf(a.stderr, "camada: warning: %s\n", safe(w))
	}
}

// released gives an error about a release its exit code.
func released(err error) error {
	if errors.Is(err, engine.ErrReleased) {
		return &exitError{code: codeReleased, err: err}
	}
	return err
}
