// Package sarif has what camada writes of SARIF 2.1.0 (OASIS, Static Analysis Results Interchange Format), which forges read.
//
//	run := sarif.NewRun(version)
//	i := run.Rule("DL3006", func() sarif.Rule { return sarif.Rule{ID: "DL3006", Short: sarif.Text{Text: "..."}} })
//	run.Results = append(run.Results, sarif.Result{RuleID: "DL3006", RuleIndex: i, Level: "warning", ...})
//	err := json.NewEncoder(w).Encode(sarif.NewLog(run))
package sarif

// The objects of the standard, by its names (section 3).
type (
	Log struct {
		Version string `json:"version"`
		Schema  string `json:"$schema"`
		Runs    []Run  `json:"runs"`
	}
	// Run has Results that are never null.
	Run struct {
		Tool       Tool     `json:"tool"`
		ColumnKind string   `json:"columnKind,omitempty"`
		Results    []Result `json:"results"`
		Properties any      `json:"properties,omitempty"`

		index map[string]int // of rules
	}
	Tool struct {
		Driver Driver `json:"driver"`
	}
	Driver struct {
		Name    string `json:"name"`
		Version string `json:"version,omitempty"`
		Rules   []Rule `json:"rules"`
	}
	Rule struct {
		ID         string         `json:"id"`
		Short      Text           `json:"shortDescription"`
		Help       *Text          `json:"help,omitempty"`
		HelpURI    string         `json:"helpUri,omitempty"`
		Properties map[string]any `json:"properties,omitempty"`
	}
	Text struct {
		Text string `json:"text"`
	}
	// Result has a Level of error, warning or note.
	Result struct {
		RuleID       string            `json:"ruleId"`
		RuleIndex    int               `json:"ruleIndex"`
		Level        string            `json:"level"`
		Message      Text              `json:"message"`
		Locations    []Location        `json:"locations"`
		Fingerprints map[string]string `json:"partialFingerprints,omitempty"`
		Suppressions []Suppression     `json:"suppressions,omitempty"`
		Fixes        []Fix             `json:"fixes,omitempty"`
		Properties   map[string]any    `json:"properties,omitempty"`
	}
	Suppression struct {
		Kind          string `json:"kind"`
		Justification string `json:"justification,omitempty"`
	}
	Location struct {
		Physical Physical  `json:"physicalLocation"`
		Logical  []Logical `json:"logicalLocations,omitempty"`
	}
	Logical struct {
		Name string `json:"fullyQualifiedName"`
		Kind string `json:"kind"`
	}
	Physical struct {
		Artifact Artifact `json:"artifactLocation"`
		Region   *Region  `json:"region,omitempty"`
	}
	Artifact struct {
		URI string `json:"uri"`
	}
	// Region begins with line and column 1; what is 0 is not told.
	Region struct {
		StartLine   int `json:"startLine"`
		StartColumn int `json:"startColumn,omitempty"`
		EndLine     int `json:"endLine,omitempty"`
		EndColumn   int `json:"endColumn,omitempty"`
	}
	Fix struct {
		Description Text     `json:"description"`
		Changes     []Change `json:"artifactChanges"`
	}
	Change struct {
		Artifact     Artifact      `json:"artifactLocation"`
		Replacements []Replacement `json:"replacements"`
	}
	Replacement struct {
		Deleted  Region `json:"deletedRegion"`
		Inserted Text   `json:"insertedContent"`
	}
)

// NewRun begins a run of camada in a version.
func NewRun(version string) Run {
	return Run{Tool: Tool{Driver{Name: "camada", Version: version, Rules: []Rule{}}}, Results: []Result{}, index: map[string]int{}}
}

// Rule gives the index of a rule, which is made for the first result that breaks it.
func (r *Run) Rule(id string, first func() Rule) int {
	i, ok := r.index[id]
	if !ok {
		i = len(r.Tool.Driver.Rules)
		r.index[id] = i
		r.Tool.Driver.Rules = append(r.Tool.Driver.Rules, first())
	}
	return i
}

// NewLog makes a log of a run that is complete.
func NewLog(r Run) Log {
	return Log{Version: "2.1.0", Schema: "https://json.schemastore.org/sarif-2.1.0.json", Runs: []Run{r}}
}
