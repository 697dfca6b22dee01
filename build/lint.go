package build

import (
	"context"

	"github.com/camada/camada/build/graph"
	"github.com/camada/camada/dockerfile"
	"github.com/camada/camada/dockerfile/lint"
	"github.com/camada/camada/image"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Lint looks at a Dockerfile without a store or a network: the build checks, and the rules of package lint. What depends on the
// configs of base images is left out, so that the findings depend on the text alone, and on the .dockerignore of the directory dir; "" is none.
// Its error is that of ctx.
func Lint(ctx context.Context, name string, source []byte, dir string, cfg lint.Config) (*lint.Report, error) {
	f, err := dockerfile.ParseChecked(name, source, cfg.Checks)
	if err == nil {
		o := graph.Options{Images: anyImages{}, Args: missingArgs(f), AllStages: true, Allow: graph.Entitlements{HostNetwork: true, Insecure: true}}
		if dir != "" {
			if ignore, err := ignoreOf(Context{Dir: dir}, name); err == nil { // else the first COPY of a build says it
				o.Ignored = ignore.Out()
			}
		}
		if _, err = graph.Build(ctx, f, o); err != nil {
			err = lintError(ctx, name, source, o)
		}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	checks := append([]dockerfile.Warning{}, f.Warnings...)
	return lint.Check(lint.Input{Name: name, Source: source, Checks: checks, Err: err}, cfg), nil
}

// lintError is why the last stage cannot be built: a mistake in one that it does not need is none of a build.
func lintError(ctx context.Context, name string, source []byte, o graph.Options) error {
	f, err := dockerfile.ParseChecked(name, source, "skip=all")
	if err == nil && len(o.Args) == 0 { // else it may be about values that nobody gave
		o.AllStages = false
		_, err = graph.Build(ctx, f, o)
	}
	return err
}

// missingArgs are values for those ARGs before the first FROM that have no default: whoever builds gives them.
func missingArgs(f *dockerfile.File) map[string]string {
	args := map[string]string{}
	for i := range f.Args {
		for _, kv := range f.Args[i].Args {
			if kv.Value == nil {
				args[kv.Key] = "given"
			}
		}
	}
	return args
}

// anyImages has all images, for all platforms, and nothing in them.
type anyImages struct{}

func (anyImages) Base(_ context.Context, name string, p ocispec.Platform) (*graph.Base, error) {
	return &graph.Base{Name: name, Image: image.Config{Image: ocispec.Image{Platform: p}}}, nil
}

// lintWarnings are the findings of the linter that a build tells at its end, after those of the build checks.
func lintWarnings(name string, source []byte, opts Options) []dockerfile.Warning {
	if opts.Lint == nil {
		return nil
	}
	cfg := *opts.Lint
	if checks := opts.BuildArgs[checkArg]; checks != "" {
		cfg.Checks = checks
	}
	var out []dockerfile.Warning
	for _, f := range lint.Check(lint.Input{Name: name, Source: source, Checks: []dockerfile.Warning{}}, cfg).Findings {
		if f.Severity >= cfg.Threshold {
			out = append(out, f.Warning())
		}
	}
	return out
}
