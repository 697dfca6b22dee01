// Package lintreport writes what a linter found in the forms that people, editors and CI systems read.
//
//	err := lintreport.Write(w, "sarif", rows, lintreport.Options{Version: "1.2"})
package lintreport

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/camada/camada/internal/cli/format"
	"github.com/camada/camada/internal/harmless"
)

// Row is one finding. The names of its JSON are hadolint's, as far as that has them.
type Row struct {
	File      string `json:"file"`
	Line      int    `json:"line"`
	Column    int    `json:"column"`
	EndLine   int    `json:"endLine"`
	EndColumn int    `json:"endColumn"`
	Code      string `json:"code"`
	// Level is error, warning, info or style.
	Level   string `json:"level"`
	Message string `json:"message"`
	// Reason says what is bad about it, Fix what to do.
	Reason string `json:"reason"`
	Fix    string `json:"fix"`
	// Layer of an image, from 1, with the instruction that made it, and where that stands; 0 for what is in the config, or for a Dockerfile.
	Layer          int    `json:"layer,omitempty"`
	Instruction    string `json:"instruction,omitempty"`
	Dockerfile     string `json:"dockerfile,omitempty"`
	DockerfileLine int    `json:"dockerfileLine,omitempty"`
	// Paths in the image that it is about.
	Paths []string `json:"paths,omitempty"`
	// Edits mend it.
	Edits []Edit `json:"edits,omitempty"`
}

// Edit takes the place of a range of the file.
type Edit struct {
	Line      int    `json:"line"`
	Column    int    `json:"column"`
	EndLine   int    `json:"endLine"`
	EndColumn int    `json:"endColumn"`
	Text      string `json:"text"`
}

// Options of Write.
type Options struct {
	// Version of the program.
	Version string
	// Color paints the levels of text.
	Color bool
}

// Write writes rows: how is "" or text, json, sarif, checkstyle, github, or a Go template that is executed for each row.
func Write(w io.Writer, how string, rows []Row, o Options) error {
	switch how {
	case "", "text", "tty":
		return text(w, rows, o)
	case "json":
		if rows == nil {
			rows = []Row{}
		}
		return encode(w, rows)
	case "sarif":
		return encode(w, sarifLog(rows, o))
	case "checkstyle":
		return checkstyle(w, rows)
	case "github":
		return github(w, rows)
	}
	return format.Table[Row]{}.Write(w, how, rows)
}

func encode(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// text writes one line for each finding, and below the first of each rule why it is bad and what to do.
func text(w io.Writer, rows []Row, o Options) error {
	told := map[string]bool{}
	for _, r := range rows {
		level := r.Level
		if o.Color {
			level = paint(level)
		}
		place := plain(r.File)
		if r.Line > 0 {
			place = fmt.Sprintf("%s:%d:%d", place, r.Line, r.Column)
		}
		if _, err := fmt.Fprintf(w, "%s %s %s: %s\n", place, r.Code, level, plain(r.Message+r.place())); err != nil {
			return err
		}
		if !told[r.Code] {
			told[r.Code] = true
			fmt.Fprintf(w, "    %s %s\n", r.Reason, r.Fix)
		}
	}
	return nil
}

// place says which layer of an image it is in.
func (r *Row) place() string {
	switch {
	case r.Layer == 0:
		return ""
	case r.Dockerfile != "" && r.DockerfileLine > 0:
		return fmt.Sprintf(" (layer %d, %s:%d)", r.Layer, r.Dockerfile, r.DockerfileLine)
	}
	return fmt.Sprintf(" (layer %d)", r.Layer)
}

func paint(level string) string {
	color := map[string]string{"error": "31", "warning": "33", "info": "32", "style": "36"}[level]
	return "\x1b[1;" + color + "m" + level + "\x1b[0m"
}

// plain takes from foreign text what could command a terminal.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if harmless.Hidden(r) {
			return ' '
		}
		return r
	}, s)
}

// checkstyle writes the XML of Checkstyle.
func checkstyle(w io.Writer, rows []Row) error {
	var b strings.Builder
	b.WriteString("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<checkstyle version=\"4.3\">\n")
	for _, file := range files(rows) {
		fmt.Fprintf(&b, "  <file name=\"%s\">\n", xml(file))
		for _, r := range rows {
			if r.File != file {
				continue
			}
			level := r.Level
			if level == "style" {
				level = "info" // Checkstyle has no other
			}
			fmt.Fprintf(&b, "    <error line=\"%d\" column=\"%d\" severity=\"%s\" message=\"%s\" source=\"%s\"/>\n", r.Line, r.Column, level, xml(r.Message), xml(r.Code))
		}
		b.WriteString("  </file>\n")
	}
	b.WriteString("</checkstyle>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// files are the names of the files, each once.
func files(rows []Row) []string {
	var out []string
	for _, r := range rows {
		if !slices.Contains(out, r.File) {
			out = append(out, r.File)
		}
	}
	return out
}

func xml(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "'", "&apos;").Replace(plain(strings.ToValidUTF8(s, "\uFFFD")))
}

// github writes workflow commands of GitHub Actions, which shows them beside the lines.
func github(w io.Writer, rows []Row) error {
	value := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	text := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	for _, r := range rows {
		level := r.Level
		if level != "error" && level != "warning" {
			level = "notice"
		}
		r.Message = plain(r.Message)
		place := "file=" + value.Replace(r.File)
		if r.Line > 0 {
			place += fmt.Sprintf(",line=%d,col=%d,endLine=%d,endColumn=%d", r.Line, r.Column, r.EndLine, r.EndColumn)
		}
		if _, err := fmt.Fprintf(w, "::%s %s,title=%s::%s\n", level, place, value.Replace(r.Code), text.Replace(r.Message+". "+r.Fix)); err != nil {
			return err
		}
	}
	return nil
}
