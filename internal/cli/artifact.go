package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/camada/camada/engine"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/cli/display"
	"github.com/camada/camada/internal/cli/format"
	"github.com/camada/camada/progress"
	"github.com/spf13/cobra"
)

func (a *app) artifactCommand() *cobra.Command {
	return a.group("artifact", "Keep files in registries, alone or attached to images",
		a.artifactPushCommand(), a.artifactPullCommand(), a.artifactAttachCommand(), a.artifactDiscoverCommand())
}

// artifactFlags are those of push and attach.
type artifactFlags struct {
	o              engine.ArtifactOptions
	annotations    []string
	annotationFile string
	mode, how      string
}

func (f *artifactFlags) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.o.Type, "artifact-type", "", "`type` of the artifact, as application/vnd.example.report (default application/vnd.unknown.artifact.v1)")
	listFlag(fl, &f.annotations, "annotation", "a", "`KEY=VALUE` for the manifest")
	fl.StringVar(&f.annotationFile, "annotation-file", "", "JSON `file` of annotations, as oras has it: those of the manifest under \"$manifest\"")
	fl.StringVar(&f.mode, "progress", "auto", "how to show progress: `"+display.Modes+"`")
	fl.StringVar(&f.how, "format", "", "json or a Go `template`")
}

// read makes options of the flags and the files that are named, FILE[:MEDIATYPE].
func (f *artifactFlags) read(files []string) error {
	for _, arg := range files {
		path, kind := arg, ""
		if i := strings.LastIndexByte(arg, ':'); i > 0 && strings.Contains(arg[i:], "/") {
			path, kind = arg[:i], arg[i+1:]
		}
		f.o.Files = append(f.o.Files, engine.ArtifactFile{Path: path, MediaType: kind})
	}
	if f.annotationFile != "" {
		var err error
		if f.o.Annotations, err = readAnnotations(f.annotationFile); err != nil {
			return err
		}
	}
	for _, kv := range f.annotations {
		k, v, ok := strings.Cut(kv, "=")
		if !ok || k == "" {
			return errdefs.Invalid("annotation %q: want KEY=VALUE", kv)
		}
		if f.o.Annotations == nil {
			f.o.Annotations = map[string]string{}
		}
		f.o.Annotations[k] = v
	}
	return nil
}

// readAnnotations reads the annotations of the manifest.
func readAnnotations(path string) (map[string]string, error) {
	const most = 1 << 20
	r, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read annotations: %w", err)
	}
	defer r.Close()
	var all map[string]map[string]string
	if err := json.NewDecoder(io.LimitReader(r, most)).Decode(&all); err != nil {
		return nil, errdefs.Invalid("%s: want {\"$manifest\": {KEY: VALUE}}: %w", path, err)
	}
	for key := range all {
		if key != "$manifest" {
			return nil, errdefs.Unsupported("%s: annotations of %q: only those of $manifest are supported", path, key)
		}
	}
	return all["$manifest"], nil
}

// artifact does something with an artifact while its progress is shown.
func (a *app) artifact(ctx context.Context, mode string, f func(*engine.Engine, progress.Sink) (engine.Artifact, error)) (res engine.Artifact, err error) {
	d, err := a.display(mode)
	if err != nil {
		return res, err
	}
	err = a.with(ctx, func(e *engine.Engine) error {
		res, err = f(e, d)
		return err
	})
	return res, errors.Join(err, d.Close())
}

func (a *app) artifactPushCommand() *cobra.Command {
	var f artifactFlags
	cmd := &cobra.Command{
		Use: "push [OPTIONS] NAME[:TAG] FILE[:MEDIATYPE]...", Short: "Send files to a registry",
		Long: `Send files to a registry under a name, as oras does. Each keeps its relative path, which it gets back by "artifact pull". The same
files give the same digest: nothing tells when they were sent.`,
		Example: `  camada artifact push --artifact-type application/vnd.example.model localhost:5000/models/small:1 weights.bin
  camada artifact push ghcr.io/org/report:1 report.json:application/json logs/build.txt:text/plain`,
		Args: args(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.o.Name = args[0]
			if err := f.read(args[1:]); err != nil {
				return err
			}
			res, err := a.artifact(cmd.Context(), f.mode, func(e *engine.Engine, s progress.Sink) (engine.Artifact, error) {
				return e.PushArtifact(cmd.Context(), f.o, s)
			})
			if err != nil || f.how != "" {
				return a.showUnless(err, f.how, res)
			}
			fmt.Fprintf(a.stdout, "Pushed [registry] %s\nArtifactType: %s\nDigest: %s\n", args[0], res.ArtifactType, res.Digest)
			return nil
		},
	}
	f.register(cmd)
	return cmd
}

func (a *app) artifactAttachCommand() *cobra.Command {
	var f artifactFlags
	var subject string
	cmd := &cobra.Command{
		Use: "attach [OPTIONS] SUBJECT FILE[:MEDIATYPE]...", Short: "Attach files to an image in a registry",
		Long: `Send files to a registry as something that is about an image there: a report, a signature, a licence. The image does not change; "artifact
discover" lists what is attached, and "camada push" takes it along once "camada referrers --fetch" brought it. In a registry that knows of no referrers they are listed under a tag.`,
		Example: `  camada artifact attach --artifact-type application/vnd.example.scan localhost:5000/app:1 scan.json:application/json
  camada artifact attach --artifact-type application/vnd.example.note -a state=reviewed --subject localhost:5000/app:1`,
		Args: args(0, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if subject == "" {
				if len(args) == 0 {
					return usage(cmd, "%q requires a subject", cmd.CommandPath())
				}
				subject, args = args[0], args[1:]
			}
			if f.o.Type == "" {
				return usage(cmd, "%q requires --artifact-type", cmd.CommandPath())
			}
			f.o.Name, f.o.Attach = subject, true
			if err := f.read(args); err != nil {
				return err
			}
			res, err := a.artifact(cmd.Context(), f.mode, func(e *engine.Engine, s progress.Sink) (engine.Artifact, error) {
				return e.PushArtifact(cmd.Context(), f.o, s)
			})
			if err != nil || f.how != "" {
				return a.showUnless(err, f.how, res)
			}
			fmt.Fprintf(a.stdout, "Attached to [registry] %s\nDigest: %s\n", res.Subject, res.Digest)
			return nil
		},
	}
	f.register(cmd)
	cmd.Flags().StringVar(&subject, "subject", "", "`name` of the image, in place of the first argument")
	cmd.Flags().StringVar(&f.o.Platform, "platform", "", "attach to the manifest of an index for this `platform`")
	return cmd
}

// showUnless shows a value, unless there is an error.
func (a *app) showUnless(err error, how string, v any) error {
	if err != nil {
		return err
	}
	return format.Show(a.stdout, how, v)
}
