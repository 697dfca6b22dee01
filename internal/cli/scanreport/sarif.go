package scanreport

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/camada/camada/engine"
	"github.com/camada/camada/internal/cli/sarif"
	"github.com/camada/camada/vuln"
)

// level is SARIF's.
func level(s vuln.Severity) string {
	switch {
	case s >= vuln.High:
		return "error"
	case s == vuln.Low || s == vuln.None:
		return "note"
	}
	return "warning"
}

// sarifLog makes a log of one run. A finding stands at the line of the Dockerfile that brought the package, or else at the list that has it. What was ignored is
// there as a result that is suppressed.
func sarifLog(r *engine.ScanReport, o Options) sarif.Log {
	run := sarif.NewRun(o.Version)
	run.Properties = map[string]any{"image": r.Image, "imageDigest": r.Digest, "advisories": r.Database.Digest}
	add := func(f *engine.ScanFinding, s []sarif.Suppression) {
		res := result(r, f)
		res.RuleIndex, res.Suppressions = run.Rule(f.ID, func() sarif.Rule { return rule(f) }), s
		run.Results = append(run.Results, res)
	}
	for i := range r.Findings {
		add(&r.Findings[i], nil)
	}
	for i := range r.Ignored {
		add(&r.Ignored[i].ScanFinding, []sarif.Suppression{{Kind: "external", Justification: r.Ignored[i].Reason}})
	}
	return sarif.NewLog(run)
}

func rule(f *engine.ScanFinding) sarif.Rule {
	text := f.Summary
	if text == "" {
		text = f.ID
	}
	p := map[string]any{"tags": []string{"security", "vulnerability"}}
	if f.Score > 0 {
		p["security-severity"] = strconv.FormatFloat(f.Score, 'f', 1, 64) // GitHub sorts by it
	}
	return sarif.Rule{ID: f.ID, Short: sarif.Text{Text: text}, HelpURI: f.URL, Properties: p}
}

func result(r *engine.ScanReport, f *engine.ScanFinding) sarif.Result {
	text := fmt.Sprintf("%s %s has %s (%s)", f.Package, f.Version, f.ID, f.Severity)
	if f.Fixed != "" {
		text += ", repaired in " + f.Fixed
	} else {
		text += ", " + f.Status
	}
	if f.Advice != "" {
		text += ": " + f.Advice
	}
	if f.Layer > 0 {
		text += fmt.Sprintf("; it came with layer %d of %s", f.Layer, r.Image)
	}
	at := sarif.Location{Physical: sarif.Physical{Artifact: sarif.Artifact{URI: strings.TrimPrefix(f.Path, "/")}, Region: &sarif.Region{StartLine: 1}}, Logical: []sarif.Logical{{Name: f.PURL, Kind: "package"}}}
	if f.Path == "" {
		at.Physical.Artifact.URI = r.Image
	}
	if f.Line > 0 {
		at.Physical = sarif.Physical{Artifact: sarif.Artifact{URI: f.Dockerfile}, Region: &sarif.Region{StartLine: f.Line}}
	}
	var properties map[string]any
	if f.Reachable != "" {
		properties = map[string]any{"reachable": f.Reachable}
	}
	switch f.Reachable {
	case vuln.ReachYes:
		text += "; a function that is vulnerable is in the program"
	case vuln.ReachNo:
		text += "; no function that is vulnerable is in the program"
	}
	return sarif.Result{RuleID: f.ID, Level: level(f.Severity), Message: sarif.Text{Text: text}, Locations: []sarif.Location{at},
		Fingerprints: map[string]string{"camada/v1": short(f.ID, f.Type, f.Package, f.Arch)}, Properties: properties}
}
