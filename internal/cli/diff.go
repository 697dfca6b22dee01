package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/camada/camada/anatomy"
	"github.com/camada/camada/engine"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/cli/format"
	"github.com/spf13/cobra"
)

// diffOptions are the flags of diff.
type diffOptions struct {
	how, platform  string
	only           []string
	exit, quiet    bool
	noTrunc, stats bool
}

func (a *app) diffCommand() *cobra.Command {
	var o diffOptions
	cmd := &cobra.Command{
		Use: "diff [OPTIONS] IMAGE [IMAGE] | CONTAINER", Short: "Show what two images differ in, or what a container changed",
		Long: `Show what two images differ in: files, config, packages and instructions. With one image it is compared with what its tag pointed to
before, NAME@{1}. Times of files are no difference. The images are as for "camada layers".

With the name of a container, show the files that it added (A), changed (C) and deleted (D).`,
		Example: `  camada diff app
  camada diff app@{2} app
  camada diff --only packages,config debian:12 registry.example.com/debian:12
  camada diff --exit-code --only files old.tar new.tar
  camada diff web`,
		Args: args(1, 2), Annotations: map[string]string{inNamespace: "yes"},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(e *engine.Engine) error { return a.diff(cmd, e, args, o) })
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.how, "format", "", "json or a Go `template`")
	f.StringVar(&o.platform, "platform", "", "os/arch[/variant] of images for several")
	f.StringSliceVar(&o.only, "only", nil, "compare only these `parts`: files, config, packages, instructions")
	f.BoolVar(&o.exit, "exit-code", false, "end with exit code 1 when there are differences")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "print nothing; implies --exit-code")
	f.BoolVar(&o.stats, "stat", false, "print the counts only")
	f.BoolVar(&o.noTrunc, "no-trunc", false, "do not shorten")
	return cmd
}

func (a *app) diff(cmd *cobra.Command, e *engine.Engine, names []string, o diffOptions) error {
	ctx := cmd.Context()
	if len(names) == 1 {
		changes, err := e.ContainerChanges(ctx, names[0])
		if err == nil {
			return a.showContainerDiff(changes, o)
		}
		if !errdefs.IsNotFound(err) {
			return err
		}
		names = []string{names[0] + "@{1}", names[0]}
		if strings.Contains(names[1], "@{") {
			return usage(cmd, "%s: name a second image to compare it with", names[1])
		}
	}
	old, err := a.open(ctx, e, names[0], o.platform)
	if err != nil {
		return err
	}
	now, err := a.open(ctx, e, names[1], o.platform)
	if err != nil {
		return errors.Join(err, old.Close())
	}
	r, err := e.DiffImages(ctx, old, now, o.only)
	if err = errors.Join(err, old.Close(), now.Close()); err != nil {
		return err
	}
	switch {
	case o.quiet:
	case o.how != "":
		err = format.Show(a.stdout, o.how, r)
	default:
		a.showDiff(r, o)
	}
	if err == nil && (o.exit || o.quiet) && r.Differs() {
		return &exitError{code: codeFailed}
	}
	return err
}

func (a *app) showContainerDiff(changes []engine.ContainerChange, o diffOptions) error {
	if !o.quiet {
		w := &lines{a.stdout}
		switch o.how {
		case "":
			for _, c := range changes {
				w.printf("%s %s\n", c.Kind, strings.ReplaceAll(c.Path, "\n", "?"))
			}
		default:
			if err := (format.Table[engine.ContainerChange]{}).Write(a.stdout, o.how, changes); err != nil {
				return err
			}
		}
	}
	if (o.exit || o.quiet) && len(changes) > 0 {
		return &exitError{code: codeFailed}
	}
	return nil
}

// showDiff writes a report for people.
func (a *app) showDiff(r *engine.DiffReport, o diffOptions) {
	w := &lines{a.stdout}
	if !r.Differs() {
		if r.Old.ID == r.New.ID {
			w.printf("%s and %s are the same image\n", r.Old.Name, r.New.Name)
		} else {
			w.printf("no differences\n")
		}
		return
	}
	w.printf("%s (%s, %s stored) -> %s (%s, %s stored)\n", r.Old.Name, plural(r.Old.Layers, "layer"), engine.HumanSize(r.Old.Size),
		r.New.Name, plural(r.New.Layers, "layer"), engine.HumanSize(r.New.Size))
	if len(r.Instructions) > 0 {
		w.printf("\ninstructions: %s\n", counts(len(r.Instructions), func(i int) string { return r.Instructions[i].Kind }))
		for _, l := range r.Instructions {
			if !o.stats {
				w.printf("%s %s\n", l.Kind, shorten(joined(anatomy.Instruction(l.Instruction)), 120, o.noTrunc))
			}
		}
	}
	if len(r.Config) > 0 {
		w.printf("\nconfig: %s\n", counts(len(r.Config), func(i int) string { return r.Config[i].Kind }))
		for _, f := range r.Config {
			if !o.stats {
				w.printf("%s %s\n", f.Kind, fieldText(f))
			}
		}
	}
	if len(r.Packages) > 0 {
		w.printf("\npackages: %s\n", counts(len(r.Packages), func(i int) string { return r.Packages[i].Kind }))
		for _, p := range r.Packages {
			if !o.stats {
				w.printf("%s %s %s\n", p.Kind, p.Name, arrow(p.Old, p.New))
			}
		}
	}
	if len(r.Files) > 0 {
		var size int64
		for _, f := range r.Files {
			if f.New != nil {
				size += f.New.Size
			}
			if f.Old != nil {
				size -= f.Old.Size
			}
		}
		w.printf("\nfiles: %s, %s\n", counts(len(r.Files), func(i int) string { return r.Files[i].Kind }), signed(size))
		for _, f := range r.Files {
			if !o.stats {
				w.printf("%s %s\n", f.Kind, strings.ReplaceAll(fileText(f), "\n", "?"))
			}
		}
	}
}

// counts says how many were added, removed and changed.
func counts(n int, kind func(int) string) string {
	var added, removed, changed int
	for i := range n {
		switch kind(i) {
		case "A", "+":
			added++
		case "D", "-":
			removed++
		default:
			changed++
		}
	}
	var parts []string
	for _, c := range []struct {
		n    int
		what string
	}{{added, "added"}, {removed, "removed"}, {changed, "changed"}} {
		if c.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", c.n, c.what))
		}
	}
	return strings.Join(parts, ", ")
}

// signed is a size with its sign.
func signed(n int64) string {
	if n < 0 {
		return "-" + engine.HumanSize(-n)
	}
	return "+" + engine.HumanSize(n)
}

func arrow(old, now string) string {
	switch {
	case old == "":
		return now
	case now == "":
		return old
	}
	return old + " -> " + now
}

func fieldText(f anatomy.FieldChange) string {
	name := f.Field
	if f.Key != "" {
		name += " " + f.Key
	}
	if slices.Contains([]string{"ExposedPorts", "Volumes"}, f.Field) {
		return name
	}
	if f.Kind == "C" {
		return name + ": " + f.Old + " -> " + f.New
	}
	return name + ": " + f.Old + f.New
}

// fileText says what of a file is different.
func fileText(f anatomy.FileChange) string {
	side := f.New
	if side == nil {
		side = f.Old
	}
	name := f.Path
	if side != nil && side.Type == "directory" {
		name += "/"
	}
	if f.Kind != "C" {
		switch {
		case side == nil || side.Type == "directory":
			return name
		case side.Type == "file":
			return name + " (" + engine.HumanSize(side.Size) + ")"
		case side.Link != "":
			return name + " -> " + side.Link
		}
		return name + " (" + side.Type + ")"
	}
	var parts []string
	for _, what := range f.What {
		parts = append(parts, what+" "+changeOf(what, f.Old, f.New))
	}
	return name + ": " + strings.Join(parts, "; ")
}
