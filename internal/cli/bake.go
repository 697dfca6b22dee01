package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"text/tabwriter"

	"github.com/camada/camada/bake"
	"github.com/camada/camada/engine"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/cli/display"
	"github.com/camada/camada/progress"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

type bakeOptions struct {
	files        []string
	set          []string
	print        bool
	list         string
	push, load   bool
	noCache      bool
	pull         bool
	check        bool
	call         string
	sbom         string
	provenance   string
	allow        []string
	secrets      secretsPolicy
	progress     string
	metadataFile string
}

// maxBakeFile is the largest bake or compose file, in bytes.
const maxBakeFile = 4 << 20

func (a *app) bakeCommand() *cobra.Command {
	var o bakeOptions
	cmd := &cobra.Command{
		Use:   "bake [OPTIONS] [TARGET...]",
		Short: "Build the targets of a bake file or a compose file",
		Long: `Build what a file describes: the targets of a bake file (HCL or JSON), or the services of a compose file that have a
build section. Targets that do not need each other are built side by side.

Without -f the files are those of compose.yaml, docker-compose.yml, docker-bake.json, docker-bake.hcl and
docker-bake.override.* that are in the current directory, in this order; later ones add to earlier ones. Without a target it is the
group or target "default".`,
		Example: `  camada bake
  camada bake -f docker-bake.hcl release
  camada bake --set '*.platform=linux/amd64,linux/arm64' --set app.args.VERSION=2 --push app
  camada bake --print                  # what would be built, as JSON
  camada bake --list targets
  TAG=1.2 camada bake                  # variables come from the environment`,
		Args:        args(0, -1),
		Annotations: map[string]string{inNamespace: "yes"},
		RunE:        func(cmd *cobra.Command, targets []string) error { return a.runBake(cmd, o, targets) },
	}
	f := cmd.Flags()
	listFlag(f, &o.files, "file", "f", "bake or compose `file`; - is standard input; may be given again")
	listFlag(f, &o.set, "set", "", "override a value: `TARGET.KEY[.NAME]=VALUE`; TARGET may have wildcards, += adds to a list")
	f.BoolVar(&o.print, "print", false, "print what would be built, as JSON, and build nothing")
	f.StringVar(&o.list, "list", "", "list the `targets`, and build nothing")
	f.BoolVar(&o.push, "push", false, "send the images to their registries")
	f.BoolVar(&o.load, "load", false, "keep the images in the store")
	f.BoolVar(&o.noCache, "no-cache", false, "run every step again")
	f.BoolVar(&o.pull, "pull", false, "always look for newer base images")
	f.BoolVar(&o.check, "check", false, "run the build checks only")
	f.StringVar(&o.call, "call", "", "`method` to evaluate the builds with: build, check, outline or targets")
	f.StringVar(&o.sbom, "sbom", "", "attach lists of packages")
	f.StringVar(&o.provenance, "provenance", "", "attach how the images were built")
	listFlag(f, &o.allow, "allow", "", "`entitlement` that the builds may use: network.host, security.insecure")
	o.secrets.addFlags(f)
	f.StringVar(&o.progress, "progress", "auto", "how to show progress: `"+display.Modes+"`")
	f.StringVar(&o.metadataFile, "metadata-file", "", "write what was built to a `file`, as JSON")
	for name, value := range map[string]string{"sbom": "true", "provenance": "min"} {
		f.Lookup(name).NoOptDefVal = value
	}
	return cmd
}

func (a *app) runBake(cmd *cobra.Command, o bakeOptions, targets []string) error {
	files, err := a.bakeFiles(o.files)
	if err != nil {
		return err
	}
	opts := bake.Options{Targets: targets, Set: o.set, Getenv: os.LookupEnv}
	if o.list != "" {
		return a.listTargets(files, opts, o.list)
	}
	plan, err := bake.Read(files, opts)
	if err != nil {
		return err
	}
	if o.print {
		return a.printPlan(plan)
	}
	b := &baker{app: a, cmd: cmd, opts: o, done: map[string]chan struct{}{}, results: map[string]engine.BuildResult{}}
	return b.bake(plan)
}

// bakeFiles reads the files that are named, or those that are there by their usual names.
func (a *app) bakeFiles(names []string) ([]bake.File, error) {
	usual := len(names) == 0
	if usual {
		names = bake.DefaultFiles()
	}
	var files []bake.File
	for _, n := range names {
		var data []byte
		var err error
		if n == "-" {
			data, err = io.ReadAll(io.LimitReader(a.stdin, maxBakeFile+1))
		} else {
			data, err = readLimited(n, maxBakeFile)
		}
		if usual && errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read the bake file %s: %w", n, err)
		}
		files = append(files, bake.File{Name: n, Data: data})
	}
	if len(files) == 0 {
		return nil, errdefs.NotFound("there is no bake or compose file here (%s); name one with -f", strings.Join(names, ", "))
	}
	return files, nil
}

func readLimited(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = errdefs.Limit("%s has more than %d bytes", name, limit)
	}
	return data, err
}

func (a *app) listTargets(files []bake.File, opts bake.Options, what string) error {
	if kind, _, _ := strings.Cut(strings.TrimPrefix(what, "type="), ","); kind != "targets" {
		return errdefs.Invalid("--list %s: want targets", what)
	}
	all, err := bake.List(files, opts)
	if err != nil {
		return err
	}
	if strings.Contains(what, "format=json") {
		return json.NewEncoder(a.stdout).Encode(all)
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "TARGET\tDESCRIPTION")
	for _, l := range all {
		text := l.Description
		if l.Group && text == "" {
			text = strings.Join(l.Targets, ", ")
		}
		fmt.Fprintf(w, "%s\t%s\n", l.Name, text)
	}
	return w.Flush()
}

// printPlan prints the targets as buildx does.
func (a *app) printPlan(p *bake.Plan) error {
	type group struct {
		Targets []string `json:"targets"`
	}
	out := struct {
		Group  map[string]group        `json:"group"`
		Target map[string]*bake.Target `json:"target"`
	}{map[string]group{}, map[string]*bake.Target{}}
	for name, targets := range p.Groups {
		if len(targets) != 1 || targets[0] != name {
			out.Group[name] = group{targets}
		}
	}
	for _, t := range p.Targets {
		out.Target[t.Name] = t
	}
	enc := json.NewEncoder(a.stdout)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(out)
}

// baker builds the targets of a plan.
type baker struct {
	app  *app
	cmd  *cobra.Command
	opts bakeOptions

	mu      sync.Mutex
	done    map[string]chan struct{}
	results map[string]engine.BuildResult
}

// bake builds all targets, each as soon as those that it takes as contexts are built.
func (b *baker) bake(plan *bake.Plan) error {
	d, err := b.app.display(b.opts.progress)
	if err != nil {
		return err
	}
	for _, t := range plan.Targets {
		b.done[t.Name] = make(chan struct{})
	}
	ctx, cancel := context.WithCancel(b.cmd.Context())
	defer cancel()
	var wg sync.WaitGroup
	var once sync.Once
	var failed error
	for _, t := range plan.Targets {
		wg.Go(func() {
			defer close(b.done[t.Name])
			if err := b.one(ctx, t, d); err != nil {
				once.Do(func() { failed = fmt.Errorf("target %s: %w", t.Name, err) })
				cancel()
			}
		})
	}
	wg.Wait()
	err = errors.Join(failed, d.Close())
	if err != nil || b.opts.metadataFile == "" {
		return err
	}
	return b.writeMetadata()
}

func (b *baker) one(ctx context.Context, t *bake.Target, d display.Display) error {
	contexts, images := map[string]string{}, map[string]ocispec.Descriptor{}
	for name, value := range t.Contexts {
		dep, ok := strings.CutPrefix(value, "target:")
		if !ok {
			contexts[name] = value
			continue
		}
		select {
		case <-b.done[dep]:
		case <-ctx.Done():
			return ctx.Err()
		}
		b.mu.Lock()
		res, ok := b.results[dep]
		b.mu.Unlock()
		if !ok {
			return errdefs.Unavailable("target %s, which it needs, failed", dep)
		}
		images[name] = res.Descriptor
	}
	var o buildOptions
	flags := pflag.NewFlagSet(t.Name, pflag.ContinueOnError)
	buildFlags(flags, &o)
	argv := b.flags(t, contexts)
	if err := flags.Parse(argv); err != nil {
		return errdefs.Invalid("%w", err)
	}
	sub := *b.app
	sub.shown = &named{d, t.Name}
	// What a build reads from standard input was read once, for the file.
	sub.stdin = nil
	cmd := &cobra.Command{Use: "bake"}
	cmd.SetContext(ctx)
	dir := "."
	if t.Context != nil {
		dir = *t.Context
	}
	o.images = images
	res, err := sub.build(cmd, o, dir)
	if err != nil {
		return err
	}
	b.mu.Lock()
	b.results[t.Name] = res
	b.mu.Unlock()
	return nil
}

// flags are the flags of build that say the same as the target.
func (b *baker) flags(t *bake.Target, contexts map[string]string) []string {
	var out []string
	one := func(flag string, v *string) {
		if v != nil && *v != "" {
			out = append(out, "--"+flag+"="+*v)
		}
	}
	all := func(flag string, vs []string) {
		for _, v := range vs {
			out = append(out, "--"+flag+"="+v)
		}
	}
	pairs := func(flag string, m map[string]string) {
		for k, v := range m {
			out = append(out, "--"+flag+"="+k+"="+v)
		}
	}
	is := func(flag string, yes bool, v *bool) {
		if yes || v != nil && *v {
			out = append(out, "--"+flag)
		}
	}
	file := t.Dockerfile
	if file != nil && t.Context != nil && !filepath.IsAbs(*file) && !strings.Contains(*t.Context, "://") && t.DockerfileInline == nil {
		p := filepath.Join(*t.Context, *file)
		file = &p
	}
	if t.DockerfileInline == nil {
		one("file", file)
	} else {
		out = append(out, "--dockerfile-inline="+*t.DockerfileInline)
	}
	one("target", t.Target)
	one("network", t.Network)
	one("shm-size", t.ShmSize)
	one("call", t.Call)
	one("call", &b.opts.call)
	one("sbom", &b.opts.sbom)
	one("provenance", &b.opts.provenance)
	one("secrets", &b.opts.secrets.mode)
	one("secrets-allow", &b.opts.secrets.allow)
	pairs("build-arg", t.Args)
	pairs("label", t.Labels)
	pairs("build-context", contexts)
	for host, addresses := range t.ExtraHosts {
		for a := range strings.SplitSeq(addresses, ",") {
			out = append(out, "--add-host="+host+":"+a)
		}
	}
	all("tag", t.Tags)
	all("annotation", t.Annotations)
	all("attest", t.Attest)
	all("cache-from", t.CacheFrom)
	all("cache-to", t.CacheTo)
	all("secret", t.Secrets)
	all("ssh", t.SSH)
	all("platform", t.Platforms)
	all("output", t.Outputs)
	all("no-cache-filter", t.NoCacheFilter)
	all("ulimit", t.Ulimits)
	all("allow", b.opts.allow)
	is("no-cache", b.opts.noCache, t.NoCache)
	is("pull", b.opts.pull, t.Pull)
	is("push", b.opts.push, nil)
	is("load", b.opts.load, nil)
	is("check", b.opts.check, nil)
	return out
}

func (b *baker) writeMetadata() error {
	out := map[string]any{}
	for name, res := range b.results {
		out[name] = metadataOf(res)
	}
	data, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		return err
	}
	if err := replaceFile(b.opts.metadataFile, append(data, '\n')); err != nil {
		return fmt.Errorf("write --metadata-file: %w", err)
	}
	return nil
}

// named is a display of several targets, for one of them: its name stands before those of its steps.
type named struct {
	display.Display
	name string
}

// Emit implements progress.Sink.
func (n *named) Emit(e progress.Event) {
	e.ID = n.name + " " + e.ID
	if rest, ok := strings.CutPrefix(e.Name, "["); ok {
		e.Name = "[" + n.name + " " + rest
	} else if e.Name != "" {
		e.Name = "[" + n.name + "] " + e.Name
	}
	n.Display.Emit(e)
}

// Close does nothing: the display is closed when all targets are built.
func (n *named) Close() error { return nil }
