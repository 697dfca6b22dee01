package lintreport_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"strings"
	"testing"

	"github.com/camada/camada/internal/cli/lintreport"
)

// rows have what could break out of each format.
func rows() []lintreport.Row {
	return []lintreport.Row{
		{File: "a b/Dockerfile", Line: 3, Column: 5, EndLine: 3, EndColumn: 9, Code: "DL3006", Level: "warning", Message: "<a> & \"b\", 100%\n::error::x \x1b[31m", Reason: "Why.", Fix: "Do: this, that.",
			Edits: []lintreport.Edit{{Line: 3, Column: 5, EndLine: 3, EndColumn: 5, Text: " -y"}}},
		{File: "app:1.2", Code: "CacheLeft", Level: "style", Message: "files", Layer: 2, Dockerfile: "Dockerfile", DockerfileLine: 7},
		{File: "a b/Dockerfile", Line: 9, Column: 1, EndLine: 9, EndColumn: 2, Code: "DL3006", Level: "error", Message: "again"},
	}
}

func written(t *testing.T, how string, rows []lintreport.Row, o lintreport.Options) string {
	t.Helper()
	var b bytes.Buffer
	if err := lintreport.Write(&b, how, rows, o); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestText(t *testing.T) {
	want := `a b/Dockerfile:3:5 DL3006 warning: <a> & "b", 100% ::error::x  [31m
    Why. Do: this, that.
app:1.2 CacheLeft style: files (layer 2, Dockerfile:7)
     ` + `
a b/Dockerfile:9:1 DL3006 error: again
`
	if got := written(t, "", rows(), lintreport.Options{}); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	if got := written(t, "text", rows(), lintreport.Options{Color: true}); !strings.Contains(got, "\x1b[1;31merror\x1b[0m") {
		t.Errorf("no colours: %q", got)
	}
}

func TestGitHub(t *testing.T) {
	want := `::warning file=a b/Dockerfile,line=3,col=5,endLine=3,endColumn=9,title=DL3006::<a> & "b", 100%25 ::error::x  [31m. Do: this, that.
::notice file=app%3A1.2,title=CacheLeft::files. ` + `
::error file=a b/Dockerfile,line=9,col=1,endLine=9,endColumn=2,title=DL3006::again. ` + `
`
	if got := written(t, "github", rows(), lintreport.Options{}); got != want {
		t.Errorf("%q\nwant\n%q", got, want)
	}
}

func TestCheckstyle(t *testing.T) {
	var got struct {
		Files []struct {
			Name   string `xml:"name,attr"`
			Errors []struct {
				Line     int    `xml:"line,attr"`
				Severity string `xml:"severity,attr"`
				Message  string `xml:"message,attr"`
				Source   string `xml:"source,attr"`
			} `xml:"error"`
		} `xml:"file"`
	}
	if err := xml.Unmarshal([]byte(written(t, "checkstyle", rows(), lintreport.Options{})), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Files) != 2 || len(got.Files[0].Errors) != 2 || got.Files[0].Errors[0].Message != `<a> & "b", 100% ::error::x  [31m` || got.Files[1].Errors[0].Severity != "info" {
		t.Errorf("%+v", got)
	}
}

func TestSARIF(t *testing.T) {
	var got struct {
		Version string
		Runs    []struct {
			Tool struct {
				Driver struct {
					Name, Version string
					Rules         []struct{ ID string }
				}
			}
			Results []struct {
				RuleID    string
				RuleIndex int
				Level     string
				Locations []struct {
					PhysicalLocation struct {
						ArtifactLocation struct{ URI string }
						Region           *struct{ StartLine, StartColumn, EndColumn int }
					}
				}
				Fixes []struct {
					ArtifactChanges []struct {
						Replacements []struct{ InsertedContent struct{ Text string } }
					}
				}
			}
		}
	}
	if err := json.Unmarshal([]byte(written(t, "sarif", rows(), lintreport.Options{Version: "1.2"})), &got); err != nil {
		t.Fatal(err)
	}
	run := got.Runs[0]
	if got.Version != "2.1.0" || run.Tool.Driver.Version != "1.2" || len(run.Tool.Driver.Rules) != 2 || len(run.Results) != 3 {
		t.Fatalf("%+v", got)
	}
	for _, r := range run.Results {
		if run.Tool.Driver.Rules[r.RuleIndex].ID != r.RuleID {
			t.Errorf("%s is rule %d", r.RuleID, r.RuleIndex)
		}
	}
	first, second := run.Results[0], run.Results[1]
	if at := first.Locations[0].PhysicalLocation; at.ArtifactLocation.URI != "a%20b/Dockerfile" || at.Region.StartLine != 3 || at.Region.EndColumn != 9 {
		t.Errorf("%+v", at)
	}
	if first.Fixes[0].ArtifactChanges[0].Replacements[0].InsertedContent.Text != " -y" {
		t.Errorf("%+v", first.Fixes)
	}
	if second.Level != "note" || second.Locations[0].PhysicalLocation.Region != nil {
		t.Errorf("%+v", second)
	}
}

func TestOthers(t *testing.T) {
	if got := written(t, "json", nil, lintreport.Options{}); got != "[]\n" {
		t.Errorf("no findings are %q", got)
	}
	if got := written(t, "{{.Code}} {{.Layer}}", rows()[1:2], lintreport.Options{}); got != "CacheLeft 2\n" {
		t.Errorf("template gives %q", got)
	}
	if err := lintreport.Write(&bytes.Buffer{}, "{{", rows(), lintreport.Options{}); err == nil {
		t.Error("a template that is none is taken")
	}
}
