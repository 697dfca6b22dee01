package cli

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/camada/camada/engine"
	"github.com/camada/camada/internal/cli/display"
	"github.com/camada/camada/internal/cli/format"
	"github.com/camada/camada/progress"
	"github.com/spf13/cobra"
)

func (a *app) artifactPullCommand() *cobra.Command {
	var o engine.ArtifactPullOptions
	var mode, how string
	cmd := &cobra.Command{
		Use: "pull [OPTIONS] NAME[:TAG|@DIGEST]", Short: "Fetch the files of an artifact",
		Long: `Fetch the files of an artifact and write them below a directory, by the names that they have in it (org.opencontainers.image.title). A
name that leads out of the directory is refused. Each file appears when it is whole and its digest was right.`,
		Example: `  camada artifact pull -o models localhost:5000/models/small:1
  camada artifact pull --format '{{range .Files}}{{println .Path}}{{end}}' ghcr.io/org/report:1`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Name = args[0]
			res, err := a.artifact(cmd.Context(), mode, func(e *engine.Engine, s progress.Sink) (engine.Artifact, error) {
				return e.PullArtifact(cmd.Context(), o, s)
			})
			if err != nil || how != "" {
				return a.showUnless(err, how, res)
			}
			for _, f := range res.Files {
				fmt.Fprintf(a.stdout, "Downloaded %s %s\n", shortID(f.Digest.String(), false), f.Path)
			}
			if res.Unnamed > 0 {
				fmt.Fprintf(a.stderr, "camada: warning: %s without a name of a file left out\n", plural(res.Unnamed, "part"))
			}
			fmt.Fprintf(a.stdout, "Pulled [registry] %s\nDigest: %s\n", args[0], res.Digest)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.Dir, "output", "o", ".", "`directory` to write to")
	f.BoolVarP(&o.KeepOld, "keep-old-files", "k", false, "fail rather than replacing a file")
	f.StringVar(&o.Platform, "platform", "", "`platform` of the manifest, when the name is that of an index")
	f.StringVar(&mode, "progress", "auto", "how to show progress: `"+display.Modes+"`")
	f.StringVar(&how, "format", "", "json or a Go `template`")
	return cmd
}

func (a *app) artifactDiscoverCommand() *cobra.Command {
	var o engine.DiscoverOptions
	var how string
	var verbose bool
	cmd := &cobra.Command{
		Use: "discover [OPTIONS] NAME[:TAG|@DIGEST]", Short: "Show what is attached to an image in a registry",
		Long: `Show what refers to a manifest of a registry, and to that in turn: SBOMs, provenance, signatures, reports. Registries that know of no referrers
have a list of them under a tag; it is read too.`,
		Example: `  camada artifact discover localhost:5000/app:1
  camada artifact discover --artifact-type application/vnd.example.scan --format json localhost:5000/app:1`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Name = args[0]
			return a.with(cmd.Context(), func(e *engine.Engine) error {
				top, err := e.Discover(cmd.Context(), o)
				if err != nil {
					return err
				}
				switch how {
				case "", "tree":
					t := tree{w: a.stdout, verbose: verbose}
					t.line("", top.Reference)
					t.referrers("", top.Referrers)
					return t.err
				case "table":
					return attachedTable().Write(a.stdout, "", flat(top.Referrers))
				}
				return format.Show(a.stdout, how, top)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Type, "artifact-type", "", "only those of this `type`")
	f.IntVar(&o.Depth, "depth", 0, "look at so many `levels`; 0 is all")
	f.StringVar(&o.Platform, "platform", "", "what is attached to the manifest of an index for this `platform`")
	f.BoolVarP(&verbose, "verbose", "v", false, "show annotations in the tree")
	f.StringVar(&how, "format", "", "tree, table, json or a Go `template`")
	return cmd
}

func attachedTable() format.Table[engine.Attached] {
	return format.Table[engine.Attached]{Columns: []format.Column[engine.Attached]{
		{Header: "ARTIFACT TYPE", Value: func(r engine.Attached) string { return r.ArtifactType }},
		{Header: "DIGEST", Value: func(r engine.Attached) string { return r.Digest.String() }},
	}}
}

func flat(list []engine.Attached) []engine.Attached {
	var all []engine.Attached
	for _, r := range list {
		all = append(append(all, r), flat(r.Referrers)...)
	}
	return all
}

// tree writes lines with the branches that lead to them, as oras has them: a type, below it the manifests of it, below each what refers to it.
type tree struct {
	w       io.Writer
	verbose bool
	err     error
}

func (t *tree) line(lead, text string) {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, text)
	_, err := fmt.Fprintf(t.w, "%s%s\n", lead, text)
	t.err = errors.Join(t.err, err)
}

// branch writes one of the things below the same one, and returns what leads to those below it.
func (t *tree) branch(lead, text string, last bool) string {
	if last {
		t.line(lead+"└── ", text)
		return lead + "    "
	}
	t.line(lead+"├── ", text)
	return lead + "│   "
}

func (t *tree) referrers(lead string, list []engine.Attached) {
	byType := map[string][]engine.Attached{}
	for _, r := range list {
		byType[r.ArtifactType] = append(byType[r.ArtifactType], r)
	}
	types := slices.Sorted(maps.Keys(byType))
	for i, kind := range types {
		name := kind
		if name == "" {
			name = "<unknown>"
		}
		below := t.branch(lead, name, i == len(types)-1)
		for j, r := range byType[kind] {
			further := t.branch(below, r.Digest.String(), j == len(byType[kind])-1)
			if t.verbose && len(r.Annotations) > 0 {
				notes := t.branch(further, "[annotations]", len(r.Referrers) == 0)
				keys := slices.Sorted(maps.Keys(r.Annotations))
				for k, key := range keys {
					t.branch(notes, fmt.Sprintf("%s: %q", key, r.Annotations[key]), k == len(keys)-1)
				}
			}
			t.referrers(further, r.Referrers)
		}
	}
}
