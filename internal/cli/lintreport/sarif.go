package lintreport

import (
	"net/url"
	"path/filepath"

	"github.com/camada/camada/internal/cli/sarif"
)

// sarifLog makes a log of one run.
func sarifLog(rows []Row, o Options) sarif.Log {
	run := sarif.NewRun(o.Version)
	run.ColumnKind = "unicodeCodePoints"
	for _, r := range rows {
		i := run.Rule(r.Code, func() sarif.Rule {
			return sarif.Rule{ID: r.Code, Short: sarif.Text{Text: r.Reason}, Help: &sarif.Text{Text: r.Fix}}
		})
		level := r.Level
		if level != "error" && level != "warning" {
			level = "note"
		}
		file := sarif.Artifact{URI: uri(r.File)}
		place := sarif.Physical{Artifact: file}
		if r.Line > 0 {
			place.Region = &sarif.Region{StartLine: r.Line, StartColumn: r.Column, EndLine: r.EndLine, EndColumn: r.EndColumn}
		}
		res := sarif.Result{RuleID: r.Code, RuleIndex: i, Level: level, Message: sarif.Text{Text: r.Message}, Locations: []sarif.Location{{Physical: place}}}
		if len(r.Edits) > 0 {
			change := sarif.Change{Artifact: file}
			for _, e := range r.Edits {
				change.Replacements = append(change.Replacements, sarif.Replacement{
					Deleted:  sarif.Region{StartLine: e.Line, StartColumn: e.Column, EndLine: e.EndLine, EndColumn: e.EndColumn},
					Inserted: sarif.Text{Text: e.Text},
				})
			}
			res.Fixes = []sarif.Fix{{Description: sarif.Text{Text: r.Fix}, Changes: []sarif.Change{change}}}
		}
		run.Results = append(run.Results, res)
	}
	return sarif.NewLog(run)
}

// uri is that of a file: relative when the name is.
func uri(name string) string {
	u := url.URL{Path: filepath.ToSlash(name)}
	if filepath.IsAbs(name) {
		u.Scheme = "file"
	}
	return u.String()
}
