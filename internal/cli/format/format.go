// Package format writes what verbs list or show: as a table, as JSON, or through a Go
// template, as docker's --format does.
//
//	t := format.Table[Row]{Columns: []format.Column[Row]{{"IMAGE ID", func(r Row) string { return r.ID }}}}
//	t.Write(w, opts.format, rows)
package format

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"text/template"
	"unicode"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/harmless"
)

// Column is one column of a table.
type Column[T any] struct {
	Header string
	Value  func(T) string
}

// Table writes rows of T. Templates and JSON see T itself.
type Table[T any] struct {
	Columns []Column[T]
	// NoHeader leaves the headers out.
	NoHeader bool
}

// Write writes rows to w. how is "" or "table" for the table, "json" for one JSON object a line,
// "table TEMPLATE" for a table of the template's cells (separated by \t), or a
// Go template that is executed for each row.
func (t Table[T]) Write(w io.Writer, how string, rows []T) error {
	switch how {
	case "", "table":
		return t.table(w, rows)
	case "json":
		return Lines(w, rows)
	}
	text, asTable := strings.CutPrefix(how, "table ")
	tmpl, err := Parse(text)
	if err != nil {
		return err
	}
	out := w
	if asTable {
		tw := tabwriter.NewWriter(w, 0, 4, 3, ' ', 0)
		defer tw.Flush()
		out = tw
		fmt.Fprintln(out, t.headerOf(text))
	}
	for _, r := range rows {
		if err := execute(out, tmpl, r); err != nil {
			return err
		}
	}
	return nil
}

func (t Table[T]) table(w io.Writer, rows []T) error {
	tw := tabwriter.NewWriter(w, 0, 4, 3, ' ', 0)
	cells := make([]string, len(t.Columns))
	if !t.NoHeader {
		for i, c := range t.Columns {
			cells[i] = c.Header
		}
		fmt.Fprintln(tw, strings.Join(cells, "\t"))
	}
	for _, r := range rows {
		for i, c := range t.Columns {
			cells[i] = clean(c.Value(r))
		}
		fmt.Fprintln(tw, strings.TrimRight(strings.Join(cells, "\t"), "\t"))
	}
	return tw.Flush()
}

// Lines writes each row as one line of JSON.
func Lines[T any](w io.Writer, rows []T) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for _, r := range rows {
		if err := enc.Encode(r); err != nil {
			return fmt.Errorf("write JSON: %w", err)
		}
	}
	return nil
}

// Show writes one value that a verb shows whole: indented JSON by default and for
// "json", otherwise a template. Names in it are those of the fields, or those of the JSON, as docker has it.
func Show(w io.Writer, how string, v any) error {
	if how == "" || how == "json" {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "    ")
		if err := enc.Encode(v); err != nil {
			return fmt.Errorf("write JSON: %w", err)
		}
		return nil
	}
	tmpl, err := Parse(how)
	if err != nil {
		return err
	}
	err = execute(w, tmpl, v)
	if err == nil {
		return nil
	}
	if raw, rerr := asJSON(v); rerr == nil && execute(w, tmpl.Option("missingkey=error"), raw) == nil {
		return nil
	}
	return err
}

// asJSON is what the JSON of a value says, by its names.
func asJSON(v any) (raw any, err error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	err = d.Decode(&raw)
	return raw, err
}

// Parse reads a template with docker's functions: json, join, split, lower, upper, title, pad, truncate, and those of Go. As with docker,
// \t and \n are a tab and a new line, here in the text between actions alone: in {{"\n"}} Go reads them.
func Parse(text string) (*template.Template, error) {
	text = escapes(text)
	tmpl, err := template.New("format").Option("missingkey=zero").Funcs(template.FuncMap{
		"json": func(v any) (string, error) {
			var b bytes.Buffer
			enc := json.NewEncoder(&b)
			enc.SetEscapeHTML(false)
			err := enc.Encode(v)
			return strings.TrimSuffix(b.String(), "\n"), err
		},
		"join":     func(s []string, sep string) string { return strings.Join(s, sep) },
		"split":    strings.Split,
		"lower":    strings.ToLower,
		"upper":    strings.ToUpper,
		"title":    title,
		"truncate": truncate,
		"pad":      func(s string, l, r int) string { return strings.Repeat(" ", l) + s + strings.Repeat(" ", r) },
	}).Parse(text)
	if err != nil {
		return nil, errdefs.Invalid("--format: %w", err)
	}
	return tmpl, nil
}

// title makes the first letter of each word a capital.
func title(s string) string {
	start := true
	return strings.Map(func(r rune) rune {
		if start {
			r = unicode.ToUpper(r)
		}
		start = unicode.IsSpace(r)
		return r
	}, s)
}

// truncate cuts s to n characters.
func truncate(s string, n int) string {
	if r := []rune(s); n >= 0 && len(r) > n {
		return string(r[:n])
	}
	return s
}

func execute(w io.Writer, tmpl *template.Template, v any) error {
	var b bytes.Buffer
	if err := tmpl.Execute(&b, v); err != nil {
		return errdefs.Invalid("--format: %w", err)
	}
	b.WriteByte('\n')
	_, err := w.Write(b.Bytes())
	return err
}

// escapes replaces what stands for tabs and new lines outside of actions.
func escapes(text string) string {
	var b strings.Builder
	replacer := strings.NewReplacer(`\t`, "\t", `\n`, "\n")
	for text != "" {
		between, action, found := strings.Cut(text, "{{")
		_, _ = replacer.WriteString(&b, between)
		if !found {
			break
		}
		inside, rest, ended := strings.Cut(action, "}}")
		b.WriteString("{{" + inside)
		if ended {
			b.WriteString("}}")
		}
		text = rest
	}
	return b.String()
}

// headerOf makes headers from a template's fields, in docker's words: "{{.ID}}\t{{.Names}}" gives "CONTAINER ID\tNAMES".
func (t Table[T]) headerOf(text string) string {
	text = strings.ReplaceAll(text, `\t`, "\t")
	var cells []string
	for cell := range strings.SplitSeq(text, "\t") {
		cell = strings.Trim(cell, "{} ")
		if i := strings.LastIndexAny(cell, ". "); i >= 0 {
			cell = cell[i+1:]
		}
		cells = append(cells, t.header(cell))
	}
	return strings.Join(cells, "\t")
}

// header is that of a field. The table's own have a word more: IMAGE ID, VOLUME NAME.
func (t Table[T]) header(field string) string {
	switch field {
	case "ID", "Name":
		for _, c := range t.Columns {
			if strings.HasSuffix(c.Header, " "+strings.ToUpper(field)) {
				return c.Header
			}
		}
	case "CreatedAt":
		return "CREATED AT"
	case "CreatedSince", "RunningFor":
		return "CREATED"
	case "LocalVolumes":
		return "LOCAL VOLUMES"
	case "CPUPerc":
		return "CPU %"
	case "MemPerc":
		return "MEM %"
	case "MemUsage":
		return "MEM USAGE / LIMIT"
	case "NetIO":
		return "NET I/O"
	case "BlockIO":
		return "BLOCK I/O"
	}
	return strings.ToUpper(field)
}

// clean keeps foreign text from moving the cursor or breaking a row.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if harmless.Hidden(r) {
			return ' '
		}
		return r
	}, s)
}
