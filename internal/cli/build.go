package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/camada/camada/engine"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/cli/display"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

type buildOptions struct {
	tags          []string
	contexts      []string
	file          string
	target        string
	buildArgs     []string
	noCache       bool
	pull          bool
	noCacheFilter []string
	cacheFrom     []string
	cacheTo       []string
	platforms     []string
	labels        []string
	annotations   []string
	outputs       []string
	push, load    bool
	run           buildRunOptions
	progress      string
	iidFile       string
	metadataFile  string
	quiet         bool
	explain       string
	verify        string
	attest        attestations
	call          string
	check         bool
	lint          string
	secrets       secretsPolicy
	// inline is the text of the Dockerfile, as bake files can have it.
	inline string
	// images are named contexts: what other targets of a bake file made.
	images map[string]ocispec.Descriptor
	// tagCI takes tags and annotations from the state of git.
	tagCI bool
}

func (a *app) buildCommand() *cobra.Command {
	var o buildOptions
	cmd := &cobra.Command{
		Use:   "build [OPTIONS] PATH|URL|-",
		Short: "Build an image from a Dockerfile",
		Long: `Build an image from a Dockerfile and a tree of files, the context: a directory, an archive on standard
input or at a URL, or a git repository with #ref:directory.

The result depends on the Dockerfile, the context, the build arguments and the base images, and
on nothing else: the same inputs give the same digest on every machine. Times in the image are
SOURCE_DATE_EPOCH when it is set; otherwise they are those of the base image.`,
		Example: `  camada build -t app .
  camada build -t app:1.2 -t app:latest -f docker/Dockerfile --build-arg VERSION=1.2 .
  camada build --tag-ci -t reg.lan/app --push .     # tags of the state of git
  camada build --target test --progress=plain .
  camada build --push -t reg.lan/app --cache-from reg.lan/app:cache --cache-to type=registry,ref=reg.lan/app:cache,mode=max .
  camada build --platform linux/amd64,linux/arm64 -t app .
  camada build --explain -t app .           # and say why steps were executed
  camada build -o out .                     # the files of the result in a directory
  camada build -o type=oci,dest=app.tar -t app .
  camada build --verify -t app .            # build twice: is it the same image?
  camada build --sbom --provenance=mode=max -t app .
  camada build --check .                    # what the build checks have to say, and no build
  camada build --call outline .             # the arguments and secrets that the build takes
  camada build --secret id=token,env=TOKEN --ssh default -t app .
  camada build --secrets block --secrets-allow .camada-secrets -t app .
  camada build -t app - < Dockerfile        # a Dockerfile without a context
  camada build -t app - < context.tar.gz
  camada build -t app https://example.com/app.git#v1.2:docker
  camada build --build-context lib=../lib --build-context debian=docker-image://mirror/debian .`,
		Args:        args(1, 1),
		Annotations: map[string]string{inNamespace: "yes"},
		RunE:        func(cmd *cobra.Command, args []string) error { return a.runBuild(cmd, o, args[0]) },
	}
	buildFlags(cmd.Flags(), &o)
	return cmd
}

// buildFlags are the flags of build; a bake file says the same for each target.
func buildFlags(f *pflag.FlagSet, o *buildOptions) {
	listFlag(f, &o.tags, "tag", "t", "`name` of the image, \"name:tag\"; may be given again")
	f.StringVarP(&o.file, "file", "f", "", "the Dockerfile (default: `PATH/Dockerfile`), a URL, or - for standard input")
	f.BoolVar(&o.tagCI, "tag-ci", false, "give each -t NAME without a tag those that follow from the state of git: 1.2.3, 1.2, 1, latest, sha-..., or the branch; and annotate the image")
	listFlag(f, &o.contexts, "build-context", "", "`NAME=VALUE`: what FROM, --from and from= mean by a name: a directory, URL, docker-image://NAME or oci-layout://DIR")
	f.StringVar(&o.target, "target", "", "`stage` to build")
	listFlag(f, &o.buildArgs, "build-arg", "", "value of an ARG, `NAME=VALUE`; NAME alone takes it from the environment")
	f.BoolVar(&o.noCache, "no-cache", false, "run every step again")
	f.BoolVar(&o.pull, "pull", false, "always look for a newer base image")
	listFlag(f, &o.cacheFrom, "cache-from", "", "`source` of build cache: a name in a registry, type=registry,ref=NAME or type=local,src=DIRECTORY; may be given again")
	listFlag(f, &o.cacheTo, "cache-to", "", "`place` that gets the build cache: type=registry,ref=NAME, type=local,dest=DIRECTORY or type=inline, with mode=min|max and mounts=true; may be given again")
	listFlag(f, &o.noCacheFilter, "no-cache-filter", "", "`stage` that is built without cache; may be given again")
	listFlag(f, &o.platforms, "platform", "", "`platform` of the image, e.g. linux/amd64; several make an index")
	listFlag(f, &o.labels, "label", "", "`NAME=VALUE` for the image's config")
	listFlag(f, &o.annotations, "annotation", "", "`[TYPE:]KEY=VALUE` for the manifest; TYPE is manifest, index or manifest-descriptor")
	listFlag(f, &o.outputs, "output", "o", "what to make: a `directory`, - for a tar, or type=image|registry|oci|docker|local|tar|cacheonly[,dest=PATH]")
	f.BoolVar(&o.push, "push", false, "send the image to its registry")
	f.BoolVar(&o.load, "load", false, "keep the image in the store (what happens anyway, unless --output says otherwise)")
	f.StringVar(&o.verify, "verify", "", "build twice, the second time without cache and in other surroundings, and compare; `format` is text (the default), json or a Go template")
	f.Lookup("verify").NoOptDefVal = "text"
	o.attest.flags(f)
	o.run.addFlags(f)
	f.StringVar(&o.inline, "dockerfile-inline", "", "the Dockerfile's `text`")
	_ = f.MarkHidden("dockerfile-inline")
	f.StringVar(&o.progress, "progress", "auto", "how to show progress: `"+display.Modes+"`")
	f.StringVar(&o.iidFile, "iidfile", "", "write the image's ID to a `file`")
	f.StringVar(&o.metadataFile, "metadata-file", "", "write what was built to a `file`, as JSON")
	f.StringVar(&o.explain, "explain", "", "say afterwards why steps were executed: `text` (to standard error) or json (to standard output)")
	f.Lookup("explain").NoOptDefVal = explainText
	f.StringVar(&o.call, "call", "", "`method` to evaluate the build with: build, check, outline or targets, with \",format=json\"")
	f.BoolVar(&o.check, "check", false, "run the build checks only, as --call=check does")
	f.StringVar(&o.lint, "lint", "warning", "tell findings of the linter from this `severity` on: error, warning, info, style, or none")
	o.secrets.addFlags(f)
	f.BoolVarP(&o.quiet, "quiet", "q", false, "print the image's ID only")
}

func (a *app) runBuild(cmd *cobra.Command, o buildOptions, dir string) error {
	_, err := a.build(cmd, o, dir)
	return err
}

// build does what the flags say, and prints what came of it.
func (a *app) build(cmd *cobra.Command, o buildOptions, dir string) (res engine.BuildResult, err error) {
	opts := engine.BuildOptions{
		ContextDir: dir, File: o.file, Tags: o.tags, Target: o.target, NoCache: o.noCache, Pull: o.pull,
		NoCacheFilter: commaList(o.noCacheFilter), CacheFrom: o.cacheFrom, CacheTo: o.cacheTo, Platforms: o.platforms, Annotations: o.annotations, SourceDateEpoch: os.Getenv("SOURCE_DATE_EPOCH"),
	}
	if opts.BuildArgs, err = keyValues("--build-arg", o.buildArgs, os.LookupEnv); err != nil {
		return res, err
	}
	if opts.Labels, err = labels(o.labels); err != nil {
		return res, err
	}
	if o.inline != "" {
		opts.Dockerfile = []byte(o.inline)
	}
	a.warnIgnored(cmd)
	if err := o.forSteps(&opts); err != nil {
		return res, err
	}
	if err := a.readContext(&opts, o.contexts); err != nil {
		return res, err
	}
	opts.ContextImages = o.images
	if o.explain != "" && o.explain != explainText && o.explain != explainJSON {
		return res, usage(cmd, "--explain=%s: want text or json", o.explain)
	}
	if err := o.attest.set(&opts); err != nil {
		return res, err
	}
	if call, err := o.method(cmd); err != nil {
		return res, err
	} else if call.name != callBuild {
		return res, a.callBuild(cmd, call, opts)
	}
	if opts.Lint, err = a.linter(cmd, &o, dir); err != nil {
		return res, err
	}
	mode := o.progress
	if o.quiet {
		mode = "quiet"
	}
	d, err := a.display(mode)
	if err != nil {
		return res, err
	}
	out, err := a.openOutputs(o)
	if err != nil {
		return res, err
	}
	opts.Outputs = out.list
	var rep *engine.VerifyReport
	err = a.with(cmd.Context(), func(e *engine.Engine) error {
		if o.tagCI {
			if err := a.tagCI(cmd.Context(), e, &opts); err != nil {
				return err
			}
		}
		res, rep, err = buildOrVerify(cmd.Context(), e, o.verify, opts, d)
		return released(err)
	})
	err = errors.Join(out.finish(err), d.Close())
	if rep != nil {
		err = errors.Join(err, showVerified(a.stdout, o.verify, rep))
	}
	if o.explain != "" {
		err = errors.Join(err, a.explainBuild(cmd, o.explain, res.History))
	}
	if err != nil {
		return res, err
	}
	if o.quiet {
		fmt.Fprintln(a.stdout, imageID(res))
	} else if mode != "quiet" {
		for _, t := range res.Tags {
			fmt.Fprintf(a.stderr, "%s is %s\n", t, res.Descriptor.Digest)
		}
		if len(res.Tags) == 0 {
			fmt.Fprintf(a.stderr, "built %s\n", res.Descriptor.Digest)
		}
		a.printWarnings(res.Warnings)
	}
	return res, writeResults(o, res)
}

// forSteps reads what RUN steps get, and what becomes of secrets that steps leave.
func (o *buildOptions) forSteps(opts *engine.BuildOptions) (err error) {
	if opts.Run, err = o.run.settings(); err == nil {
		opts.Secrets, err = o.secrets.policy()
	}
	return err
}

// buildMetadata is the content of --metadata-file, with buildx's names.
type buildMetadata struct {
	ConfigDigest string `json:"containerimage.config.digest,omitempty"`
	Digest       string `json:"containerimage.digest"`
	Descriptor   any    `json:"containerimage.descriptor"`
	Names        string `json:"image.name,omitempty"`
}

func metadataOf(res engine.BuildResult) buildMetadata {
	return buildMetadata{
		ConfigDigest: res.ConfigDigest.String(), Digest: res.Descriptor.Digest.String(),
		Descriptor: res.Descriptor, Names: strings.Join(res.Tags, ","),
	}
}

func writeResults(o buildOptions, res engine.BuildResult) error {
	if o.iidFile != "" {
		if err := replaceFile(o.iidFile, []byte(imageID(res))); err != nil {
			return fmt.Errorf("write --iidfile: %w", err)
		}
	}
	if o.metadataFile == "" {
		return nil
	}
	b, err := json.MarshalIndent(metadataOf(res), "", "  ")
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

// imageID is what docker calls the image's ID: the digest of its config, or of the index of several platforms.
func imageID(res engine.BuildResult) string {
	if res.ConfigDigest != "" {
		return res.ConfigDigest.String()
	}
	return res.Descriptor.Digest.String()
}

// commaList is the values of a flag that may be given again and may have commas.
func commaList(in []string) []string {
	var out []string
	for _, s := range in {
		for part := range strings.SplitSeq(s, ",") {
			if part = strings.TrimSpace(part); part != "" {
				out = append(out, part)
			}
		}
	}
	return out
}

// labels reads NAME=VALUE; NAME alone has the empty value, as docker has it.
func labels(in []string) (map[string]string, error) {
	return keyValues("--label", in, func(string) (string, bool) { return "", true })
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
