package cli

import (
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/camada/camada/anatomy"
	"github.com/camada/camada/build/origin"
	"github.com/camada/camada/engine"
	"github.com/camada/camada/internal/cli/format"
	"github.com/camada/camada/internal/harmless"
	"github.com/spf13/cobra"
)

func (a *app) whyCommand() *cobra.Command {
	var how, platform string
	cmd := &cobra.Command{
		Use: "why [OPTIONS] IMAGE PATH...", Short: "Tell how a file came into an image",
		Long: `Tell how a file came into an image: which layer and which instruction put it there, from which line of which Dockerfile and from which
source, what it overwrote, and which later layer changed, hid or removed it. Symbolic links are followed, and said.

A directory is told of with what is in it; a pattern (* ? [ ], and ** for any number of directories) lists what matches.

Line and source are known of images that were built with this store, for as long as their build is in the history ("camada builds"). Of
others it is told what the image's own history says. IMAGE is as for "camada layers".`,
		Example: `  camada why app /usr/bin/server
  camada why app '/etc/ssl/**'
  camada why --format '{{range .Events}}{{.Layer}} {{.Change}}{{"\n"}}{{end}}' app /etc/passwd`,
		Args: args(2, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.opened(cmd.Context(), args[0], platform, func(e *engine.Engine, img *engine.Opened) error {
				first := true
				return a.each(args[1:], func(name string) error {
					r, err := e.Why(cmd.Context(), img, name)
					if err != nil {
						return err
					}
					if how != "" {
						return format.Show(a.stdout, how, r)
					}
					if !first {
						fmt.Fprintln(a.stdout)
					}
					first = false
					showWhy(a.stdout, r)
					return nil
				})
			})
		},
	}
	cmd.Flags().StringVar(&how, "format", "", "json or a Go `template`")
	cmd.Flags().StringVar(&platform, "platform", "", "os/arch[/variant] of an image for several")
	return cmd
}

// showWhy writes a report for people.
func showWhy(out io.Writer, r *engine.WhyReport) {
	w := &lines{out}
	for _, l := range r.Links {
		w.printf("%s is a symbolic link to %s (layer %d)\n", l.Path, l.Target, l.Layer)
	}
	if r.Path != "" {
		if r.Present {
			w.printf("%s: %s\n", r.Path, describe(r.File))
		} else {
			w.printf("%s: not there any more\n", r.Path)
		}
	}
	for i := range r.Events {
		w.event(r, i)
	}
	if len(r.Entries) == 0 {
		return
	}
	if r.Path != "" {
		w.printf("\n")
	}
	t := format.Table[engine.WhyEntry]{Columns: []format.Column[engine.WhyEntry]{
		{Header: "LAYER", Value: func(e engine.WhyEntry) string { return fmt.Sprint(e.Layer) }},
		{Header: "SIZE", Value: sizeOf},
		{Header: "PATH", Value: func(e engine.WhyEntry) string {
			p := e.Path
			if r.Path != "" {
				p = path.Base(p)
			}
			switch {
			case e.Type == "directory":
				p += "/"
			case e.Link != "" && e.Type == "symbolic link":
				p += " -> " + e.Link
			}
			return p
		}},
		{Header: "INSTRUCTION", Value: func(e engine.WhyEntry) string { return shorten(joined(e.Instruction), 60, false) }},
	}}
	_ = t.Write(out, "", r.Entries)
}

func sizeOf(e engine.WhyEntry) string {
	if e.Type != "file" {
		return ""
	}
	return engine.HumanSize(e.Size)
}

// describe says what a file is.
func describe(f *anatomy.File) string {
	if f == nil {
		return "directory"
	}
	s := f.Type
	switch {
	case f.Type == "file":
		s += ", " + engine.HumanSize(f.Size)
	case f.Link != "":
		s += " to " + f.Link
	case f.Device != "":
		s += " " + f.Device
	}
	if f.Type != "symbolic link" {
		s += ", mode " + f.Mode
	}
	s += fmt.Sprintf(", owner %d:%d", f.UID, f.GID)
	if f.Digest != "" {
		s += ", " + f.Digest.String()
	}
	return s
}

// joined joins the lines of an instruction.
func joined(s string) string { return strings.Join(strings.Fields(s), " ") }

// lines writes text that foreign hands made parts of.
type lines struct{ out io.Writer }

// printf keeps control characters from reaching a terminal.
func (w *lines) printf(form string, args ...any) {
	s := strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && harmless.Hidden(r) {
			return '?'
		}
		return r
	}, fmt.Sprintf(form, args...))
	_, _ = io.WriteString(w.out, s)
}

// hanging is below the layer's number and what happened.
const hanging = "                    "

func (w *lines) event(r *engine.WhyReport, i int) {
	ev := &r.Events[i]
	w.printf("  layer %-3d %-9s %s\n", ev.Layer, ev.Change, orUnknown(joined(ev.Instruction)))
	if ev.Origin != nil {
		w.printf("%s%s\n", hanging, placeOf(ev.Origin, ev.Source))
	}
	if s := ev.Source; s != nil {
		for s.Origin != nil {
			w.printf("%smade there by %s (%s)\n", hanging, joined(s.Origin.Instruction), placeOf(s.Origin, s.Via))
			if s.Via == nil {
				break
			}
			s = s.Via
		}
	}
	if ev.HardLinkTo != "" {
		w.printf("%sa hard link to %s\n", hanging, ev.HardLinkTo)
	}
	switch ev.Change {
	case "replaced", "metadata":
		for _, what := range ev.What {
			w.printf("%s%s %s\n", hanging, what, changeOf(what, before(r.Events, i), ev.File))
		}
	case "repeated":
		if ev.File != nil && ev.File.Type == "file" {
			w.printf("%sthe same %s again\n", hanging, engine.HumanSize(ev.File.Size))
		}
	case "removed":
		if ev.By != r.Path {
			w.printf("%stogether with %s\n", hanging, ev.By)
		}
	}
}

func orUnknown(instruction string) string {
	if instruction == "" {
		return "(the image's history says nothing of this layer)"
	}
	return instruction
}

// before is the file that event i found.
func before(all []engine.WhyEvent, i int) *anatomy.File {
	for i--; i >= 0; i-- {
		if f := all[i].File; f != nil {
			return f
		}
	}
	return nil
}

// placeOf says where an instruction stands and what it took: "Dockerfile:7, from the stage build: /out/server".
func placeOf(o *origin.Origin, s *origin.Source) string {
	var parts []string
	if o.Line > 0 {
		at := fmt.Sprintf("%s:%d", o.Dockerfile, o.Line)
		if o.EndLine > o.Line {
			at += fmt.Sprintf("-%d", o.EndLine)
		}
		parts = append(parts, at)
	}
	if s != nil {
		parts = append(parts, "from "+sourceText(s))
	}
	if len(parts) == 0 {
		return "build " + o.Build
	}
	return strings.Join(parts, ", ")
}

func sourceText(s *origin.Source) string {
	switch s.Kind {
	case origin.Context:
		if s.Path == "" {
			return "the build context"
		}
		return "the build context: " + s.Path
	case origin.Dockerfile:
		return "the Dockerfile itself: <<" + s.Path
	case origin.Archive:
		return "the archive " + s.Path + " of the build context"
	case origin.Remote:
		return "another machine"
	}
	text := "the " + s.Kind + " " + s.From
	if s.Path != "" {
		text += ": /" + strings.TrimPrefix(s.Path, "/")
	}
	return text
}

// changeOf says what one property was and is.
func changeOf(what string, old, now *anatomy.File) string {
	if old == nil || now == nil {
		return ""
	}
	switch what {
	case "type":
		return old.Type + " -> " + now.Type
	case "content":
		if old.Size == now.Size {
			return shortDigest(old) + " -> " + shortDigest(now)
		}
		return engine.HumanSize(old.Size) + " -> " + engine.HumanSize(now.Size) + ", " + shortDigest(old) + " -> " + shortDigest(now)
	case "link":
		return old.Link + " -> " + now.Link
	case "device":
		return old.Device + " -> " + now.Device
	case "mode":
		return old.Mode + " -> " + now.Mode
	case "owner":
		return fmt.Sprintf("%d:%d -> %d:%d", old.UID, old.GID, now.UID, now.GID)
	case "xattrs":
		return fmt.Sprintf("%q -> %q", old.Xattrs, now.Xattrs)
	}
	return ""
}

func shortDigest(f *anatomy.File) string { return shortID(f.Digest.String(), false) }
