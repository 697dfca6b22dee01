package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/camada/camada/engine"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/cli/display"
	"github.com/spf13/cobra"
)

type buildOptions struct {
	tags         []string
	file         string
	target       string
	buildArgs    []string
	noCache      bool
	pull         bool
	platform     string
	progress     string
	iidFile      string
	metadataFile string
	quiet        bool
}

func (a *app) buildCommand() *cobra.Command {
	var o buildOptions
	cmd := &cobra.Command{
		Use:   "build [OPTIONS] DIRECTORY",
		Short: "Build an image from a Dockerfile",
		Long: `Build an image from a Dockerfile and a directory of files, the context.

The result depends on the Dockerfile, the context, the build arguments and the base images, and
on nothing else: the same inputs give the same digest on every machine. Times in the image are
SOURCE_DATE_EPOCH when it is set; otherwise they are those of the base image.`,
		Example: `  camada build -t app .
  camada build -t app:1.2 -t app:latest -f docker/Dockerfile --build-arg VERSION=1.2 .
  camada build --target test --progress=plain .
  camada build -t app - < Dockerfile        # a Dockerfile without a context`,
		Args:        args(1, 1),
		Annotations: map[string]string{inNamespace: "yes"},
		RunE:        func(cmd *cobra.Command, args []string) error { return a.runBuild(cmd, o, args[0]) },
	}
	f := cmd.Flags()
	f.StringArrayVarP(&o.tags, "tag", "t", nil, "`name` of the image, \"name:tag\"; may be given again")
	f.StringVarP(&o.file, "file", "f", "", "the Dockerfile (default: `DIRECTORY/Dockerfile`); - reads standard input")
	f.StringVar(&o.target, "target", "", "`stage` to build")
	f.StringArrayVar(&o.buildArgs, "build-arg", nil, "value of an ARG, `NAME=VALUE`; NAME alone takes it from the environment")
	f.BoolVar(&o.noCache, "no-cache", false, "run every step again")
	f.BoolVar(&o.pull, "pull", false, "always look for a newer base image")
	f.StringVar(&o.platform, "platform", "", "`platform` of the image, e.g. linux/amd64")
	f.StringVar(&o.progress, "progress", "auto", "how to show progress: `"+display.Modes+"`")
	f.StringVar(&o.iidFile, "iidfile", "", "write the image's ID to a `file`")
	f.StringVar(&o.metadataFile, "metadata-file", "", "write what was built to a `file`, as JSON")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "print the image's ID only")
	return cmd
}

func (a *app) runBuild(cmd *cobra.Command, o buildOptions, dir string) error {
	opts := engine.BuildOptions{
		ContextDir: dir, File: o.file, Tags: o.tags, Target: o.target, NoCache: o.noCache, Pull: o.pull,
		Platform: o.platform, SourceDateEpoch: os.Getenv("SOURCE_DATE_EPOCH"),
	}
	var err error
	if opts.BuildArgs, err = keyValues("--build-arg", o.buildArgs, os.LookupEnv); err != nil {
		return err
	}
	if err := a.readDockerfile(&opts); err != nil {
		return err
	}
	mode := o.progress
	if o.quiet {
		mode = "quiet"
	}
	d, err := a.display(mode)
	if err != nil {
		return err
	}
	var res engine.BuildResult
	err = a.with(cmd.Context(), func(e *engine.Engine) error {
		res, err = e.Build(cmd.Context(), opts, d)
		return err
	})
	if err := errors.Join(err, d.Close()); err != nil {
		return err
	}
	if o.quiet {
		fmt.Fprintln(a.stdout, res.ConfigDigest)
	} else if mode != "quiet" {
		for _, t := range res.Tags {
			fmt.Fprintf(a.stderr, "%s is %s\n", t, res.Descriptor.Digest)
		}
		if len(res.Tags) == 0 {
			fmt.Fprintf(a.stderr, "built %s\n", res.Descriptor.Digest)
		}
	}
	return writeResults(o, res)
}

// readDockerfile reads a Dockerfile from standard input where one of the two dashes asks for it.
func (a *app) readDockerfile(opts *engine.BuildOptions) error {
	if opts.ContextDir != "-" && opts.File != "-" {
		return nil
	}
	if opts.ContextDir == "-" && opts.File != "" {
		return errdefs.Invalid("the context and -f cannot both be given when the Dockerfile comes from standard input")
	}
	const limit = 1 << 20
	b, err := io.ReadAll(io.LimitReader(a.stdin, limit+1))
	if err != nil {
		return fmt.Errorf("read the Dockerfile from standard input: %w", err)
	}
	if len(b) > limit {
		return errdefs.Limit("the Dockerfile on standard input is larger than %d bytes; archives as context are not supported yet", limit)
	}
	opts.Dockerfile = b
	if opts.ContextDir == "-" {
		opts.ContextDir = ""
	}
	opts.File = ""
	return nil
}

// buildMetadata is the content of --metadata-file, with buildx's names.
type buildMetadata struct {
	ConfigDigest string `json:"containerimage.config.digest"`
	Digest       string `json:"containerimage.digest"`
	Descriptor   any    `json:"containerimage.descriptor"`
	Names        string `json:"image.name,omitempty"`
}

func writeResults(o buildOptions, res engine.BuildResult) error {
	if o.iidFile != "" {
		if err := replaceFile(o.iidFile, []byte(res.ConfigDigest.String())); err != nil {
			return fmt.Errorf("write --iidfile: %w", err)
		}
	}
	if o.metadataFile == "" {
		return nil
	}
	b, err := json.MarshalIndent(buildMetadata{
		ConfigDigest: res.ConfigDigest.String(), Digest: res.Descriptor.Digest.String(),
		Descriptor: res.Descriptor, Names: strings.Join(res.Tags, ","),
	}, "", "  ")
	if err != nil {
		return fmt.Errorf("write --metadata-file: %w", err)
	}
	if err := replaceFile(o.metadataFile, append(b, '\n')); err != nil {
		return fmt.Errorf("write --metadata-file: %w", err)
	}
	return nil
}

// replaceFile writes a file whole or not at all.
func replaceFile(name string, b []byte) error {
	f, err := newFile(name)
	if err != nil {
		return err
	}
	if _, err = f.Write(b); err == nil {
		err = f.publish()
	}
	return errors.Join(err, f.discard())
}

// keyValues reads NAME=VALUE flags; NAME alone takes the value of lookup and is left out when there is none.
func keyValues(flag string, in []string, lookup func(string) (string, bool)) (map[string]string, error) {
	out := map[string]string{}
	for _, kv := range in {
		k, v, ok := strings.Cut(kv, "=")
		if k == "" {
			return nil, errdefs.Invalid("%s %q: want NAME=VALUE", flag, kv)
		}
		if !ok {
			if v, ok = lookup(k); !ok {
				continue
			}
		}
		out[k] = v
	}
	return out, nil
}
