package cli

import (
	"errors"

	"github.com/camada/camada/build"
	"github.com/camada/camada/build/graph"
	"github.com/camada/camada/dockerfile"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// What --call prints as JSON, with buildx's names.

type position struct {
	Line      int `json:"line,omitempty"`
	Character int `json:"character,omitempty"`
}

type lineRange struct {
	Start position `json:"start"`
	End   position `json:"end"`
}

type location struct {
	Ranges []lineRange `json:"ranges,omitempty"`
}

func locationJSON(loc []parser.Range) *location {
	l := &location{}
	for _, r := range loc {
		l.Ranges = append(l.Ranges, lineRange{position{r.Start.Line, r.Start.Character}, position{r.End.Line, r.End.Character}})
	}
	return l
}

type checkWarning struct {
	RuleName    string    `json:"ruleName"`
	Description string    `json:"description,omitempty"`
	URL         string    `json:"url,omitempty"`
	Detail      string    `json:"detail,omitempty"`
	Location    *location `json:"location,omitempty"`
}

type checkSource struct {
	Filename string `json:"filename"`
	Language string `json:"language"`
	Data     []byte `json:"data"`
}

type checkError struct {
	Message  string    `json:"message"`
	Location *location `json:"location"`
}

type checkResult struct {
	Warnings []checkWarning `json:"warnings"`
	Sources  []checkSource  `json:"sources"`
	Error    *checkError    `json:"buildError,omitempty"`
}

func checkJSON(r *build.Checked) checkResult {
	out := checkResult{Sources: []checkSource{{r.Name, "Dockerfile", r.Source}}}
	for _, w := range r.Warnings {
		out.Warnings = append(out.Warnings, checkWarning{w.Rule, w.Description, w.URL, w.Text, locationJSON(w.Location)})
	}
	if r.Err == nil {
		return out
	}
	out.Error = &checkError{r.Err.Error(), &location{}}
	var e *dockerfile.Error
	if errors.As(r.Err, &e) {
		out.Error.Message = e.Cause.Error()
		for l := e.Line; l > 0 && l <= e.EndLine; l++ {
			out.Error.Location.Ranges = append(out.Error.Location.Ranges, lineRange{position{Line: l}, position{Line: l}})
		}
	}
	return out
}

type target struct {
	Name        string    `json:"name,omitempty"`
	Default     bool      `json:"default,omitempty"`
	Description string    `json:"description,omitempty"`
	Base        string    `json:"base,omitempty"`
	Platform    string    `json:"platform,omitempty"`
	Location    *location `json:"location,omitempty"`
}

type targetList struct {
	Targets []target `json:"targets"`
	Sources [][]byte `json:"sources"`
}

func targetsJSON(t *build.Targets) targetList {
	out := targetList{Sources: [][]byte{t.Source}}
	for i, s := range t.Stages {
		out.Targets = append(out.Targets, target{s.Name, i == len(t.Stages)-1, s.DocComment, s.BaseName, s.Platform, locationJSON(s.Location)})
	}
	return out
}

type outlineArg struct {
	Name        string    `json:"name"`
	Description string    `json:"description,omitempty"`
	Value       string    `json:"value,omitempty"`
	Location    *location `json:"location,omitempty"`
}

type outlineSecret struct {
	Name     string    `json:"name"`
	Required bool      `json:"required,omitempty"`
	Location *location `json:"location,omitempty"`
}

type outlineResult struct {
	Name        string          `json:"name,omitempty"`
	Description string          `json:"description,omitempty"`
	Args        []outlineArg    `json:"args,omitempty"`
	Secrets     []outlineSecret `json:"secrets,omitempty"`
	SSH         []outlineSecret `json:"ssh,omitempty"`
	Sources     [][]byte        `json:"sources,omitempty"`
}

func outlineJSON(o *build.Outline) outlineResult {
	out := outlineResult{Name: o.Name, Description: o.Description, Secrets: secretsJSON(o.Secrets), SSH: secretsJSON(o.SSH), Sources: [][]byte{o.Source}}
	for _, a := range o.Args {
		out.Args = append(out.Args, outlineArg{a.Name, a.Description, a.Value, locationJSON(a.Location)})
	}
	return out
}

func secretsJSON(in []graph.OutlineSecret) []outlineSecret {
	var out []outlineSecret
	for _, s := range in {
		out = append(out, outlineSecret{s.Name, s.Required, locationJSON(s.Location)})
	}
	return out
}
