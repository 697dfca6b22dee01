// Package docpage writes the page of an image (package manual) as Markdown or as HTML.
//
//	doc := docpage.Markdown(page)
//	doc = docpage.HTML(page)
//
// Everything that an image says is foreign: in Markdown it makes neither links nor HTML nor breaks a table, and in HTML, which has no scripts and loads nothing, it is text. Addresses become links
// when they are of http or https. The same page gives the same bytes.
package docpage

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/camada/camada/anatomy/manual"
	"github.com/camada/camada/dockerfile"
	"github.com/docker/go-units"
)

// cell is a text of a page.
type cell struct {
	text string
	// code is to be read letter by letter; link is an address, and shown as one when it is of http or https.
	code, link bool
}

func code(s string) cell  { return cell{text: s, code: s != ""} }
func plain(s string) cell { return cell{text: s} }

// section is a heading with what is below it.
type section struct {
	title string
	paras []cell
	head  []string
	rows  [][]cell
}

// document is a page, in the order in which it is read.
type document struct {
	title    string
	intro    string
	sections []section
}

// of arranges a page. Sections without anything to say are left out.
func of(p *manual.Page) document {
	d := document{title: cmp.Or(p.About.Title, p.Image), intro: p.About.Description}
	add := func(s section) {
		if len(s.rows)+len(s.paras) > 0 {
			d.sections = append(d.sections, s)
		}
	}
	add(facts(p))
	add(variables(p))
	add(things("Ports", "Port", p.Ports))
	add(things("Volumes", "Path", p.Volumes))
	add(process(p))
	add(things("Build arguments", "Argument", p.Args))
	add(platforms(p))
	add(differences(p))
	add(labels(p))
	for _, s := range packages(p) {
		add(s)
	}
	add(layers(p))
	return d
}

func facts(p *manual.Page) section {
	s := section{head: []string{"", ""}}
	row := func(name string, c cell) {
		if c.text != "" {
			s.rows = append(s.rows, []cell{plain(name), c})
		}
	}
	a := &p.About
	row("Image", code(p.Image))
	row("Version", plain(a.Version))
	row("Revision", code(a.Revision))
	row("Vendor", plain(a.Vendor))
	row("Authors", plain(a.Authors))
	row("Licences", plain(a.Licenses))
	row("Web", cell{text: a.URL, link: true})
	row("Source", cell{text: a.Source, link: true})
	row("Documentation", cell{text: a.Documentation, link: true})
	row("Base", code(p.Base.Name))
	row("Base digest", code(p.Base.Digest))
	row("Platform", plain(p.Platform))
	if p.Created != nil {
		row("Created", plain(p.Created.UTC().Format(time.RFC3339)))
	}
	row("Size", plain(size(p.Size)+" in "+count(len(p.Layers), "layer")))
	row("Digest", code(p.Digest))
	row("ID", code(p.ID))
	return s
}

func variables(p *manual.Page) section {
	s := section{title: "Environment", head: []string{"Variable", "Default", "Description"}}
	for _, v := range p.Env {
		def := code(v.Default)
		if v.Secret {
			def = plain(v.Default)
		}
		s.rows = append(s.rows, []cell{code(v.Name), def, plain(v.Description)})
	}
	return s
}

func things(title, what string, list []manual.Thing) section {
	s := section{title: title, head: []string{what, "Description"}}
	for _, t := range list {
		s.rows = append(s.rows, []cell{code(t.Name), plain(t.Description)})
	}
	return s
}

// process is what runs, and as whom.
func process(p *manual.Page) section {
	s := section{title: "Process", head: []string{"", "", "Description"}}
	row := func(name string, c cell, said string) { s.rows = append(s.rows, []cell{plain(name), c, plain(said)}) }
	if len(p.Entrypoint.Words) > 0 {
		row("Entry point", code(words(p.Entrypoint.Words)), p.Entrypoint.Description)
	}
	if len(p.Cmd.Words) > 0 {
		row("Command", code(words(p.Cmd.Words)), p.Cmd.Description)
	}
	user := cell{text: "root"}
	if p.User.Value != "" {
		user = code(p.User.Value)
	}
	row("User", user, p.User.Description)
	row("Working directory", code(cmp.Or(p.WorkingDir, "/")), "")
	row("Stop signal", code(p.StopSignal.Value), p.StopSignal.Description)
	if p.StopTimeout != nil {
		row("Time to stop", plain(strconv.Itoa(*p.StopTimeout)+" s"), "")
	}
	if h := p.Health; h != nil {
		row("Health check", code(words(h.Test)), h.Description)
		for _, t := range []struct {
			name string
			d    time.Duration
		}{{"interval", h.Interval}, {"timeout", h.Timeout}, {"start period", h.StartPeriod}, {"start interval", h.StartInterval}} {
			if t.d != 0 {
				row("Health check: "+t.name, plain(t.d.String()), "")
			}
		}
		if h.Retries != 0 {
			row("Health check: retries", plain(strconv.Itoa(h.Retries)), "")
		}
	}
	if len(p.Shell) > 0 {
		row("Shell of builds", code(words(p.Shell)), "")
	}
	for _, t := range p.OnBuild {
		row("Trigger of builds", code(t), "")
	}
	return s
}

func platforms(p *manual.Page) section {
	s := section{title: "Platforms", head: []string{"Platform", "Size", "Layers", "Digest"}}
	for _, x := range p.Platforms {
		if x.Missing {
			s.rows = append(s.rows, []cell{plain(x.Platform), plain("not here"), {}, code(x.Digest)})
			continue
		}
		s.rows = append(s.rows, []cell{plain(x.Platform), plain(size(x.Size)), plain(strconv.Itoa(x.Layers)), code(x.Digest)})
	}
	return s
}

func differences(p *manual.Page) section {
	s := section{title: "Differences between platforms", head: []string{"Platform", "Difference from " + p.Platform}}
	for _, x := range p.Platforms {
		for _, c := range x.Differences {
			s.rows = append(s.rows, []cell{plain(x.Platform), plain(c.String())})
		}
	}
	return s
}

func labels(p *manual.Page) section {
	s := section{title: "Labels", head: []string{"Label", "Value"}}
	for _, l := range p.Labels {
		s.rows = append(s.rows, []cell{code(l.Name), plain(l.Value)})
	}
	return s
}

func packages(p *manual.Page) []section {
	if p.Packages == nil || p.Packages.Total == 0 {
		return nil
	}
	x := p.Packages
	text := count(x.Total, "package")
	if x.Distribution != "" {
		text += " on " + x.Distribution
	}
	var parts []string
	for _, t := range slices.Sorted(maps.Keys(x.ByType)) {
		parts = append(parts, fmt.Sprintf("%d %s", x.ByType[t], t))
	}
	s := section{title: "Packages", paras: []cell{plain(text + ": " + strings.Join(parts, ", ") + ".")}, head: []string{"Package", "Version", "Type"}}
	for _, n := range x.Note {
		s.rows = append(s.rows, []cell{plain(n.Name), plain(n.Version), plain(n.Type)})
	}
	if x.More > 0 {
		s.rows = append(s.rows, []cell{plain("and " + count(x.More, "other")), {}, {}})
	}
	return []section{s}
}

func layers(p *manual.Page) section {
	s := section{title: "Layers", head: []string{"", "Size", "Instruction"}}
	const most = 200
	for i, l := range p.Layers {
		text := l.Instruction
		if r := []rune(text); len(r) > most {
			text = string(r[:most]) + "…"
		}
		s.rows = append(s.rows, []cell{plain(strconv.Itoa(i + 1)), plain(size(l.Size)), code(strings.Join(strings.Fields(text), " "))})
	}
	return s
}

// words writes a command line so that the words can be told apart.
func words(in []string) string {
	out := make([]string, len(in))
	for i, w := range in {
		if out[i] = w; w == "" || strings.ContainsAny(w, " \"'\\$") {
			out[i] = strconv.Quote(w)
		}
	}
	return strings.Join(out, " ")
}

func size(n int64) string { return units.HumanSizeWithPrecision(float64(n), 3) }

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// isWeb tells whether an address may become a link.
func isWeb(s string) bool {
	rest, ok := strings.CutPrefix(s, "https://")
	if !ok {
		rest, ok = strings.CutPrefix(s, "http://")
	}
	return ok && rest != "" && !strings.ContainsAny(s, " <>\"'`\\^{|}()[]") && dockerfile.CleanDoc(s) == s
}
