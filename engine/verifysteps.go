package engine

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/camada/camada/build"
	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image/compare"
	"github.com/camada/camada/layer"
)

// comparison compares two builds step by step.
type comparison struct {
	e   *Engine
	rep *VerifyReport
}

func (c *comparison) builds(ctx context.Context, first, second []*watchedBuild) error {
	if len(first) != len(second) {
		return errdefs.Invalid("%d builds and %d", len(first), len(second))
	}
	for i := range first {
		name := ""
		if len(first) > 1 {
			name = first[i].platform
		}
		if err := c.steps(ctx, name, first[i], second[i]); err != nil {
			return err
		}
		if err := c.config(ctx, name, first[i], second[i]); err != nil {
			return err
		}
	}
	return nil
}

// steps compares the layers of each step of one build.
func (c *comparison) steps(ctx context.Context, platform string, a, b *watchedBuild) error {
	if len(a.plan.Graph.Vertices) != len(b.plan.Graph.Vertices) {
		return errdefs.Invalid("the builds have %d steps and %d; was the Dockerfile changed meanwhile?", len(a.plan.Graph.Vertices), len(b.plan.Graph.Vertices))
	}
	// cause is the step that differs first, of those that lead to a step.
	cause := make(map[int]string)
	for _, v := range a.plan.Graph.Vertices {
		x, y := a.steps[v.ID], b.steps[v.ID]
		for _, in := range inputsOf(v) {
			if cause[v.ID] == "" {
				cause[v.ID] = cause[in.ID]
			}
		}
		if x.Layer.DiffID == y.Layer.DiffID {
			continue
		}
		d := StepDifference{Step: v.Name, Platform: platform, First: x.Layer.DiffID, Second: y.Layer.DiffID, After: cause[v.ID]}
		if cause[v.ID] == "" {
			cause[v.ID] = v.Name
		}
		if d.Line, d.EndLine = linesOf(v.Location); d.Line > 0 {
			d.File = a.plan.File.Name
		}
		if err := c.layers(ctx, &d, x, y); err != nil {
			return fmt.Errorf("%s: %w", v.Name, err)
		}
		c.rep.Steps = append(c.rep.Steps, d)
	}
	return nil
}

// layers compares the layers of one step, file by file.
func (c *comparison) layers(ctx context.Context, d *StepDifference, a, b build.Step) error {
	if a.Layer.DiffID == "" || b.Layer.DiffID == "" {
		d.Note = "only one of the builds made a layer"
		return nil
	}
	first, err := c.open(ctx, a.Layer)
	if err != nil {
		return err
	}
	defer first.Close()
	second, err := c.open(ctx, b.Layer)
	if err != nil {
		return err
	}
	defer second.Close()
	err = compare.Layers(ctx, first, second, compare.Options{}, func(ch compare.Change) error {
		if len(d.Files) < maxFiles {
			d.Files = append(d.Files, FileDifference{ch, hint(ch)})
		} else {
			d.More++
		}
		return nil
	})
	if errdefs.IsUnsupported(err) {
		d.Note = err.Error()
		return nil
	}
	if err == nil && len(d.Files) == 0 {
		d.Note = "the files are the same; their archives are not"
	}
	return err
}

func (c *comparison) open(ctx context.Context, l layer.Layer) (io.ReadCloser, error) {
	return layer.Open(ctx, c.e.content, l.Descriptor, l.DiffID, layer.OpenOptions{})
}

// config compares the configs, and the manifests when nothing else tells why the digests differ.
func (c *comparison) config(ctx context.Context, platform string, a, b *watchedBuild) error {
	if a.result.Config.Digest != b.result.Config.Digest {
		x, err := content.ReadAll(ctx, c.e.content, a.result.Config, content.MaxManifest)
		if err != nil {
			return err
		}
		y, err := content.ReadAll(ctx, c.e.content, b.result.Config, content.MaxManifest)
		if err != nil {
			return err
		}
		return c.documents(platform, x, y, "rootfs.diff_ids")
	}
	if a.result.Manifest.Digest == b.result.Manifest.Digest {
		return nil
	}
	x, err := content.ReadAll(ctx, c.e.content, a.result.Manifest, content.MaxManifest)
	if err != nil {
		return err
	}
	y, err := content.ReadAll(ctx, c.e.content, b.result.Manifest, content.MaxManifest)
	if err != nil {
		return err
	}
	return c.documents(platform, x, y, "config.digest")
}

func (c *comparison) documents(platform string, a, b []byte, except string) error {
	fields, err := compare.Documents(a, b)
	if err != nil {
		return err
	}
	for _, f := range fields {
		if !strings.HasPrefix(f.Name, except) {
			c.rep.Config = append(c.rep.Config, ConfigDifference{platform, f})
		}
	}
	return nil
}
