package engine

import (
	"context"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/camada/camada/container/record"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/camada/camada/image/tarball"
	"github.com/camada/camada/layer"
	"github.com/camada/camada/layer/index"
	"github.com/camada/camada/reference"
	"github.com/camada/camada/snapshot"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// CommitOptions say what Commit makes.
type CommitOptions struct {
	Container string
	// Name is a tag for the image; "" is none.
	Name            string
	Author, Message string
	// Changes are Dockerfile instructions for the config.
	Changes []string
	// Pause makes the container stand still while its files are read.
	Pause bool
	// Secrets says what becomes of secrets in what the container changed, and in the config.
	Secrets SecretsPolicy
}

// Commit makes an image of what a container changed, on top of its own image, and returns the new image's ID. With SOURCE_DATE_EPOCH the
// image depends on the files and the options alone.
func (e *Engine) Commit(ctx context.Context, o CommitOptions) (digest.Digest, error) {
	var refs []reference.Reference
	if o.Name != "" {
		ref, err := tagOnly(o.Name)
		if err != nil {
			return "", err
		}
		refs = append(refs, ref)
	}
	epoch, err := e.sourceDateEpoch()
	if err != nil {
		return "", err
	}
	c, err := e.records.Get(ctx, o.Container)
	if err != nil {
		return "", err
	}
	l, err := launchOf(c)
	if err != nil {
		return "", err
	}
	img, err := e.openImage(ctx, e.content, c.Config.Image, "")
	if err != nil {
		return "", fmt.Errorf("the image of container %s: %w", o.Container, err)
	}
	changes, err := e.changedConfig(ctx, o.Changes)
	if err != nil {
		return "", err
	}
	cfg := commitConfig(img.Config.Clone(), l, c)
	changeConfig(&cfg.Config, changes)
	cfg.Author = o.Author
	created := time.Now().UTC()
	if !epoch.IsZero() {
		created = epoch
	}
	cfg.Created = &created
	cfg.History = append(cfg.History, ocispec.History{Created: &created, CreatedBy: strings.Join(c.Config.Command, " "), Author: o.Author, Comment: o.Message})
	upper, err := e.guardedCommit(ctx, c, cfg, o, epoch)
	if err != nil {
		return "", fmt.Errorf("commit container %s: %w", o.Container, advised(err))
	}
	cfg.RootFS.DiffIDs = append(cfg.RootFS.DiffIDs, upper.DiffID)
	desc, err := image.Write(ctx, e.content, cfg, append(slices.Clone(img.Layers), upper.Descriptor), nil)
	if err != nil {
		return "", fmt.Errorf("commit container %s: %w", o.Container, err)
	}
	if len(refs) == 0 {
		_, err = e.nameless(ctx, tarball.Loaded{Descriptor: desc})
	} else {
		_, err = e.setTags(ctx, refs, desc, "commit", c.Config.Name)
	}
	if err != nil {
		return "", err
	}
	_, m, err := image.ReadManifest(ctx, e.content, desc)
	return m.Config.Digest, err
}

// sourceDateEpoch is the time that SOURCE_DATE_EPOCH names; zero when there is none.
func (e *Engine) sourceDateEpoch() (time.Time, error) {
	text := e.getenv("SOURCE_DATE_EPOCH")
	if text == "" {
		return time.Time{}, nil
	}
	s, err := strconv.ParseInt(text, 10, 64)
	if err != nil || s < 0 || s > 1<<40 {
		return time.Time{}, errdefs.Invalid("SOURCE_DATE_EPOCH=%s: want seconds since 1970", text)
	}
	return time.Unix(s, 0).UTC(), nil
}

// guardedCommit looks for secrets in the config, and in the layer that it makes of what a container changed.
func (e *Engine) guardedCommit(ctx context.Context, c *record.Container, cfg image.Config, o CommitOptions, epoch time.Time) (layer.Layer, error) {
	g, err := e.newGuard(o.Secrets)
	if err != nil {
		return layer.Layer{}, err
	}
	if g != nil {
		if _, err := g.config(&cfg, nil); err != nil {
			return layer.Layer{}, err
		}
	}
	l, err := e.committed(ctx, c, o.Pause, epoch, g)
	g.notices()
	return l, err
}

// committed makes a layer of what a container changed; the guard may be nil.
func (e *Engine) committed(ctx context.Context, c *record.Container, pause bool, epoch time.Time, g *secretGuard) (layer.Layer, error) {
	if pause && c.Running() && !paused(c) {
		g, err := groupOf(c)
		if err == nil {
			defer g.Close() //nolint:errcheck // only a descriptor
			if err = g.Freeze(ctx); err == nil {
				defer g.Thaw() //nolint:errcheck // it is tried
			}
		}
		if err != nil {
			return layer.Layer{}, fmt.Errorf("%w; --pause=false reads its files while they change", err)
		}
	}
	snaps, err := e.snapshots(ctx)
	if err != nil {
		return layer.Layer{}, err
	}
	var opts layer.WriteOptions
	tee, done, err := g.watch(ctx, &opts)
	if err != nil {
		return layer.Layer{}, err
	}
	defer done()
	return e.indexes().Write(ctx, e.content, opts, func(w io.Writer, _ index.Known) error {
		return snaps.Diff(ctx, c.Config.Snapshot, w, snapshot.DiffOptions{Clamp: epoch, Exclude: runtimeFiles(), Shared: c.Running(), Owners: idsOf(c.Config).onDisk()})
	}, tee...)
}

// runtimeFiles are what the runtime makes in each container.
func runtimeFiles() []string {
	return []string{"proc", "sys", "dev", "etc/resolv.conf", "etc/hosts", "etc/hostname"}
}

// commitConfig is the image's config as the container was told to run.
func commitConfig(cfg image.Config, l *launch, c *record.Container) image.Config {
	x := &cfg.Config
	if l.opts.Entrypoint != nil {
		x.Entrypoint, x.Cmd = nil, l.opts.Args
		if *l.opts.Entrypoint != "" {
			x.Entrypoint = []string{*l.opts.Entrypoint}
		}
	} else if len(l.opts.Args) > 0 {
		x.Cmd = l.opts.Args
	}
	x.Env = mergeEnv(x.Env, l.opts.Env)
	x.User, x.WorkingDir = c.Config.User, orElse(l.opts.Workdir, x.WorkingDir)
	x.StopSignal = orElse(l.opts.StopSignal, x.StopSignal)
	x.Labels = merged(x.Labels, l.opts.Labels)
	return cfg
}

// changeConfig puts what --change instructions say over a config, as docker commit does.
func changeConfig(x *image.ExecConfig, by image.ExecConfig) {
	x.Env = mergeEnv(x.Env, by.Env)
	x.Labels = merged(x.Labels, by.Labels)
	x.ExposedPorts = merged(x.ExposedPorts, by.ExposedPorts)
	x.Volumes = merged(x.Volumes, by.Volumes)
	x.OnBuild = append(x.OnBuild, by.OnBuild...)
	x.User, x.StopSignal = orElse(by.User, x.User), orElse(by.StopSignal, x.StopSignal)
	if by.WorkingDir != "" {
		x.WorkingDir = path.Clean(by.WorkingDir)
	}
	if by.Cmd != nil {
		x.Cmd = by.Cmd
	}
	if by.Entrypoint != nil {
		x.Entrypoint = by.Entrypoint
	}
	if by.Shell != nil {
		x.Shell = by.Shell
	}
	if by.Healthcheck != nil {
		x.Healthcheck = by.Healthcheck
	}
}

// mergeEnv puts NAME=VALUE over others; the order of the first ones stays.
func mergeEnv(env, over []string) []string {
	out := slices.Clone(env)
	for _, kv := range over {
		name, _, _ := strings.Cut(kv, "=")
		i := slices.IndexFunc(out, func(old string) bool { return strings.HasPrefix(old, name+"=") })
		if i >= 0 {
			out[i] = kv
		} else {
			out = append(out, kv)
		}
	}
	return out
}

func merged[V any](m, over map[string]V) map[string]V {
	if len(m)+len(over) == 0 {
		return nil
	}
	out := maps.Clone(m)
	if out == nil {
		out = map[string]V{}
	}
	maps.Copy(out, over)
	return out
}
