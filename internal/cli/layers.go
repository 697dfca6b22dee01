package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/camada/camada/anatomy"
	"github.com/camada/camada/engine"
	"github.com/camada/camada/internal/cli/browse"
	"github.com/camada/camada/internal/cli/format"
	"github.com/docker/go-units"
	"github.com/spf13/cobra"
)

// layersOptions are the flags of layers.
type layersOptions struct {
	how, platform            string
	noTrunc, interactive     bool
	top                      int
	efficiency, bytes, share string
}

func (a *app) layersCommand() *cobra.Command {
	var o layersOptions
	cmd := &cobra.Command{
		Use: "layers [OPTIONS] IMAGE", Short: "Show the layers of an image, and what they waste",
		Long: `Show the layers of an image: their sizes, the instructions that made them, and the bytes that later layers hide or repeat.

IMAGE is an image of the store (also NAME@{n}, a digest or an ID), the path of an OCI layout or of an archive, or the
name of an image in a registry, of which nothing is kept but the lists of its layers.

The efficiency is dive's: of each path the smallest version, over all versions. The limits make the command fail (exit code 1) when the
image is worse, as a gate for CI.`,
		Example: `  camada layers app
  camada layers -i app
  camada layers app.tar
  camada layers --efficiency-min 0.95 --wasted-max 20MB registry.example.com/app:1.2
  camada layers --format '{{range .Layers}}{{.Size}} {{.Instruction}}{{"\n"}}{{end}}' app`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			limits, err := o.limits(cmd)
			if err != nil {
				return err
			}
			return a.opened(cmd.Context(), args[0], o.platform, func(_ *engine.Engine, img *engine.Opened) error {
				if o.interactive {
					return a.browse(cmd, img)
				}
				r := img.Report()
				if o.how != "" && o.how != "table" {
					err = format.Show(a.stdout, o.how, r)
				} else {
					err = a.showLayers(r, o)
				}
				return errors.Join(err, limits.check(r))
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.how, "format", "", "table, json or a Go `template`")
	f.BoolVarP(&o.interactive, "interactive", "i", false, "browse layers and files in the terminal")
	f.StringVar(&o.platform, "platform", "", "os/arch[/variant] of an image for several")
	f.BoolVar(&o.noTrunc, "no-trunc", false, "do not shorten, and list all that is wasted")
	f.IntVar(&o.top, "top", 10, "list so many of the files that waste most")
	f.StringVar(&o.efficiency, "efficiency-min", "", "fail when the efficiency is less than this, from 0 to 1, or in `percent` with a % sign")
	f.StringVar(&o.bytes, "wasted-max", "", "fail when more `bytes` than these are wasted (20MB)")
	f.StringVar(&o.share, "wasted-percent-max", "", "fail when more than this `percentage` of what is above the base is wasted")
	return cmd
}

// browse shows an image full-screen.
func (a *app) browse(cmd *cobra.Command, img *engine.Opened) error {
	out, ok := a.stdout.(*os.File)
	if !ok || !isTerminal(out) || !isTerminal(a.stdin) {
		return usage(cmd, "-i needs a terminal for input and output")
	}
	return browse.Run(cmd.Context(), a.stdin, out, img.Image, browse.Options{Name: img.Name, Color: color(out), Human: engine.HumanSize})
}

// opened runs fn on an image, wherever it lies.
func (a *app) opened(ctx context.Context, name, platform string, fn func(*engine.Engine, *engine.Opened) error) error {
	return a.with(ctx, func(e *engine.Engine) error {
		img, err := a.open(ctx, e, name, platform)
		if err != nil {
			return err
		}
		return errors.Join(fn(e, img), img.Close())
	})
}

// open opens an image, and shows what takes long.
func (a *app) open(ctx context.Context, e *engine.Engine, name, platform string) (*engine.Opened, error) {
	d, err := a.display("auto")
	if err != nil {
		return nil, err
	}
	img, err := e.OpenAnatomy(ctx, name, platform, d)
	return img, errors.Join(err, d.Close())
}

func (a *app) showLayers(r engine.LayersReport, o layersOptions) error {
	t := format.Table[engine.LayerRow]{Columns: []format.Column[engine.LayerRow]{
		{Header: "LAYER", Value: func(l engine.LayerRow) string { return strconv.Itoa(l.Number) }},
		{Header: "DIGEST", Value: func(l engine.LayerRow) string { return shortID(l.Digest, o.noTrunc) }},
		{Header: "STORED", Value: func(l engine.LayerRow) string { return engine.HumanSize(l.Size) }},
		{Header: "UNPACKED", Value: func(l engine.LayerRow) string { return engine.HumanSize(l.Unpacked) }},
		{Header: "FILES", Value: func(l engine.LayerRow) string { return strconv.Itoa(l.Files) }},
		{Header: "WASTED", Value: func(l engine.LayerRow) string { return engine.HumanSize(l.Wasted) }},
		{Header: "INSTRUCTION", Value: func(l engine.LayerRow) string {
			return shorten(joined(anatomy.Instruction(l.Instruction)), 60, o.noTrunc)
		}},
	}}
	if err := t.Write(a.stdout, "", r.Layers); err != nil {
		return err
	}
	fmt.Fprintf(a.stdout, "\n%s, %s stored, %s unpacked\n", plural(len(r.Layers), "layer"), engine.HumanSize(r.Size), engine.HumanSize(r.Unpacked))
	fmt.Fprintf(a.stdout, "efficiency %.2f %%, wasted %s (%.2f %% of what is above the base)\n", 100*r.Efficiency, engine.HumanSize(r.Wasted), r.WastedPercent)
	waste := r.Waste
	if !o.noTrunc {
		waste = waste[:min(len(waste), max(o.top, 0))]
	}
	if len(waste) == 0 {
		return nil
	}
	fmt.Fprintln(a.stdout)
	if err := wasteTable().Write(a.stdout, "", waste); err != nil {
		return err
	}
	if n := len(r.Waste) - len(waste); n > 0 {
		fmt.Fprintf(a.stdout, "and %s\n", plural(n, "more file"))
	}
	return nil
}

func wasteTable() format.Table[engine.WasteRow] {
	return format.Table[engine.WasteRow]{Columns: []format.Column[engine.WasteRow]{
		{Header: "WASTED", Value: func(w engine.WasteRow) string { return engine.HumanSize(w.Bytes) }},
		{Header: "COPIES", Value: func(w engine.WasteRow) string { return strconv.Itoa(w.Copies) }},
		{Header: "LAYERS", Value: func(w engine.WasteRow) string { return numbers(w.Layers) }},
		{Header: "FILE", Value: func(w engine.WasteRow) string {
			if w.Removed {
				return w.Path + " (removed)"
			}
			return w.Path
		}},
	}}
}

// numbers joins numbers with commas.
func numbers(ns []int) string {
	var b strings.Builder
	for i, n := range ns {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Itoa(n))
	}
	return b.String()
}

// limits are what an image must keep to; negative ones are none.
type limits struct {
	efficiency float64
	bytes      int64
	percent    float64
}

func (o *layersOptions) limits(cmd *cobra.Command) (limits, error) {
	l := limits{-1, -1, -1}
	if s := o.efficiency; s != "" {
		scale := 1.0
		if t, ok := strings.CutSuffix(s, "%"); ok {
			s, scale = strings.TrimSpace(t), 100
		}
		v, err := strconv.ParseFloat(s, 64)
		if v /= scale; err != nil || !(v >= 0 && v <= 1) {
			return l, usage(cmd, "--efficiency-min %q: want a number from 0 to 1, or a percentage with a %% sign", o.efficiency)
		}
		l.efficiency = v
	}
	if o.bytes != "" {
		n, err := units.FromHumanSize(o.bytes)
		if err != nil || n < 0 {
			return l, usage(cmd, "--wasted-max %q: want bytes, such as 1048576 or 20MB", o.bytes)
		}
		l.bytes = n
	}
	if o.share != "" {
		v, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(o.share, "%")), 64)
		if err != nil || !(v >= 0) {
			return l, usage(cmd, "--wasted-percent-max %q: want a percentage", o.share)
		}
		l.percent = v
	}
	return l, nil
}

// check fails with all that is beyond the limits.
func (l limits) check(r engine.LayersReport) error {
	var bad []string
	if l.efficiency >= 0 && r.Efficiency < l.efficiency {
		bad = append(bad, fmt.Sprintf("the efficiency is %.4f, less than %v", r.Efficiency, l.efficiency))
	}
	if l.bytes >= 0 && r.Wasted > l.bytes {
		bad = append(bad, fmt.Sprintf("%s are wasted, more than %s", engine.HumanSize(r.Wasted), engine.HumanSize(l.bytes)))
	}
	if l.percent >= 0 && r.WastedPercent > l.percent {
		bad = append(bad, fmt.Sprintf("%.2f %% of what is above the base is wasted, more than %v %%", r.WastedPercent, l.percent))
	}
	if bad == nil {
		return nil
	}
	text := r.Image + ": " + strings.Join(bad, "; ")
	if len(r.Waste) > 0 {
		w := r.Waste[0]
		layers := "layer "
		if len(w.Layers) > 1 {
			layers = "layers "
		}
		text += fmt.Sprintf("; most by %s: %s in %s", w.Path, engine.HumanSize(w.Bytes), layers+numbers(w.Layers))
	}
	return &exitError{code: codeFailed, err: errors.New(text)}
}
