package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/camada/camada/anatomy/manual"
	"github.com/camada/camada/engine"
	"github.com/camada/camada/internal/cli/docpage"
	"github.com/camada/camada/internal/cli/format"
	"github.com/camada/camada/progress"
	"github.com/spf13/cobra"
)

// docOptions are the flags of doc.
type docOptions struct {
	how, output, platform, against string
	packages, check                bool
}

// Exit codes of doc --check: something is not described, and something changed and the version does not tell. The second wins.
const (
	codeUndocumented = 5
	codeUntold       = 6
)

func (a *app) docCommand() *cobra.Command {
	var o docOptions
	cmd := &cobra.Command{
		Use: "doc [OPTIONS] IMAGE", Short: "Write a page about what an image expects and offers",
		Long: `Write what whoever runs an image must know: variables with their defaults, ports, volumes, user, entry point, health check, signals, labels, platforms, base, packages and
layers, each with its description.

Descriptions are comments directly above ENV, EXPOSE, VOLUME, ARG, USER, ENTRYPOINT, CMD, HEALTHCHECK and STOPSIGNAL, which a build keeps as annotations of the manifest, or labels such as
camada.doc.env.NAME, camada.doc.port.8080 and camada.doc.volume./data; those of a base image stay. The image itself is described by the label org.opencontainers.image.description.

IMAGE is as for "camada layers". Of an image in a registry only its manifest and its config are read, unless --packages asks for the layers.

--check looks whether all is described, and compares with the image before: with the version before for a tag such as 1.2.3, otherwise with what the tag was. What was
removed or changed asks for a new major version, what was added for a minor one (before 1.0.0: for a minor one, and a patch). Exit code 5 says that something is not described, and 6 that
something changed and the version does not tell.`,
		Example: `  camada doc app > app.md
  camada doc --format html -o app.html app:1.2
  camada doc --format json registry.example.com/app:1 | jq .Env
  camada doc --format '{{range .Ports}}{{.Name}} {{.Description}}{{"\n"}}{{end}}' app
  camada doc --check app:1.3.0
  camada doc --check --against registry.example.com/app:1 app`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.against != "" && !o.check {
				return usage(cmd, "--against is for --check")
			}
			if o.check {
				return a.checkDoc(cmd, args[0], o)
			}
			return a.doc(cmd, args[0], o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.how, "format", "", "markdown (the default), html, json or a Go `template`; with --check text, json or a template")
	f.StringVarP(&o.output, "output", "o", "", "write it to a `file`")
	f.StringVar(&o.platform, "platform", "", "tell of this `platform` alone")
	f.BoolVar(&o.packages, "packages", false, "list packages of note, also when the layers are not here; without the flag they are listed when the layers are")
	f.BoolVar(&o.check, "check", false, "fail when something is not described, or changed without a fitting version")
	f.StringVar(&o.against, "against", "", "compare with this `image` (default: the version before, or what the tag was before)")
	return cmd
}

// doc writes the page.
func (a *app) doc(cmd *cobra.Command, name string, o docOptions) error {
	opts := engine.DocOptions{Platform: o.platform}
	if cmd.Flags().Changed("packages") {
		opts.Packages = &o.packages
	}
	page, err := withDisplay(a, cmd, func(e *engine.Engine, d progress.Sink) (*manual.Page, error) {
		return e.Doc(cmd.Context(), name, opts, d)
	})
	if err != nil {
		return err
	}
	var doc []byte
	switch o.how {
	case "", "markdown", "md":
		doc = docpage.Markdown(page)
	case "html":
		doc = docpage.HTML(page)
	default:
		var b strings.Builder
		if err := format.Show(&b, o.how, page); err != nil {
			return err
		}
		doc = []byte(b.String())
	}
	return a.document(o.output, doc)
}

// checkDoc says what is not described, and what the version does not tell.
func (a *app) checkDoc(cmd *cobra.Command, name string, o docOptions) error {
	r, err := withDisplay(a, cmd, func(e *engine.Engine, d progress.Sink) (*engine.DocReport, error) {
		return e.DocCheck(cmd.Context(), name, o.against, o.platform, d)
	})
	if err != nil {
		return err
	}
	var b strings.Builder
	if o.how == "" || o.how == "text" {
		docText(&b, r)
	} else if err := format.Show(&b, o.how, r); err != nil {
		return err
	}
	if err := a.document(o.output, []byte(b.String())); err != nil {
		return err
	}
	switch {
	case !r.Fitting:
		return &exitError{code: codeUntold}
	case len(r.Undocumented) > 0:
		return &exitError{code: codeUndocumented}
	}
	return nil
}

// docText says it for people.
func docText(b *strings.Builder, r *engine.DocReport) {
	for _, m := range r.Undocumented {
		place := ""
		if m.Line > 0 {
			place = fmt.Sprintf(" (%s:%d)", m.Dockerfile, m.Line)
		}
		remedy := "write a comment directly above it, or the label " + m.Key
		if m.Kind == manual.KindImage {
			remedy = "give it the label " + m.Key
		}
		fmt.Fprintf(b, "%s is not described%s: %s\n", safe(m.What()), safe(place), safe(remedy))
	}
	if r.Against == "" {
		fmt.Fprintf(b, "there is nothing that %s was before: --against names an image to compare with\n", safe(r.Image))
		return
	}
	for _, c := range r.Changes {
		fmt.Fprintf(b, "since %s: %s\n", safe(r.Against), safe(c.String()))
	}
	version := func(v string) string {
		if v == "" {
			return "no version"
		}
		return safe(v)
	}
	switch {
	case len(r.Changes) == 0:
		fmt.Fprintf(b, "nothing has changed since %s\n", safe(r.Against))
	case r.Fitting:
		fmt.Fprintf(b, "%s after %s is a fitting version\n", version(r.Version), version(r.Was))
	default:
		fmt.Fprintf(b, "this asks for a new %s version: it was %s and is %s\n", r.Needed, version(r.Was), version(r.Version))
	}
}

// withDisplay runs f with an open engine and a display of what takes long, which ends before the result is shown.
func withDisplay[T any](a *app, cmd *cobra.Command, f func(*engine.Engine, progress.Sink) (T, error)) (out T, err error) {
	d, err := a.display("auto")
	if err != nil {
		return out, err
	}
	err = a.with(cmd.Context(), func(e *engine.Engine) error {
		out, err = f(e, d)
		return err
	})
	return out, errors.Join(err, d.Close())
}
