package feed

import (
	"encoding/json"
	"math"
	"strings"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/vuln"
	cvss "github.com/pandatix/go-cvss/40"
)

// record is an advisory in OSV's form, as far as it is read.
type record struct {
	ID        string     `json:"id"`
	Aliases   []string   `json:"aliases"`
	Upstream  []string   `json:"upstream"`
	Related   []string   `json:"related"`
	Summary   string     `json:"summary"`
	Details   string     `json:"details"`
	Published string     `json:"published"`
	Modified  string     `json:"modified"`
	Withdrawn string     `json:"withdrawn"`
	Severity  []severity `json:"severity"`
	Affected  []affected `json:"affected"`
	Specific  specific   `json:"database_specific"`
	// References are where to read on.
	References []struct {
		Type string `json:"type"`
		URL  string `json:"url"`
	} `json:"references"`
}

type severity struct {
	Type  string `json:"type"`
	Score string `json:"score"`
}

type affected struct {
	Package struct {
		Ecosystem string `json:"ecosystem"`
		Name      string `json:"name"`
	} `json:"package"`
	Severity []severity `json:"severity"`
	Versions []string   `json:"versions"`
	Ranges   []struct {
		Type   string `json:"type"`
		Events []struct {
			Introduced   string `json:"introduced"`
			Fixed        string `json:"fixed"`
			LastAffected string `json:"last_affected"`
			Limit        string `json:"limit"`
		} `json:"events"`
	} `json:"ranges"`
	Specific  specific `json:"database_specific"`
	Ecosystem specific `json:"ecosystem_specific"`
}

// specific are fields of which only a few databases have any, and which may be of any type elsewhere.
type specific struct {
	severity, urgency, url string
	imports                []vuln.Import
}

// UnmarshalJSON implements json.Unmarshaler; what is of another type is left out.
func (s *specific) UnmarshalJSON(data []byte) error {
	var fields map[string]json.RawMessage
	_ = json.Unmarshal(data, &fields)
	text := func(name string) (out string) {
		_ = json.Unmarshal(fields[name], &out)
		return out
	}
	s.severity, s.urgency, s.url = text("severity"), text("urgency"), text("url")
	if list, ok := fields["imports"]; ok && json.Unmarshal(list, &s.imports) != nil {
		s.imports = nil
	}
	return nil
}

// maxSummary is how much of a description is kept when there is no summary, in bytes.
const maxSummary = 160

// ParseOSV reads one advisory in OSV's form, of the schema's versions 1.0 to 1.7. What is no advisory is ErrInvalid. Ranges of commits are left out.
func ParseOSV(data []byte) (vuln.Advisory, error) {
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return vuln.Advisory{}, errdefs.Invalid("no advisory in OSV's form: %w", err)
	}
	if r.ID == "" {
		return vuln.Advisory{}, errdefs.Invalid("the advisory has no id")
	}
	a := vuln.Advisory{
		ID: r.ID, Aliases: r.Aliases, Upstream: r.Upstream, Summary: summary(r.Summary, r.Details), Rating: rating(r.Severity, r.Specific.severity),
		Published: clock(r.Published), Modified: clock(r.Modified), Withdrawn: clock(r.Withdrawn), URL: r.url(),
	}
	if r.Withdrawn != "" && a.Withdrawn.IsZero() {
		return a, errdefs.Invalid("withdrawn %q is no time", r.Withdrawn)
	}
	if len(a.Upstream) == 0 && len(r.Aliases) == 0 {
		a.Upstream = r.Related // exports of before the schema had upstream
	}
	for i := range r.Affected {
		if x, ok := r.Affected[i].read(); ok {
			a.Affected = append(a.Affected, x)
		}
	}
	return a, nil
}

// url is where to read on: what the database says of itself, an advisory, or any page.
func (r *record) url() string {
	if r.Specific.url != "" {
		return r.Specific.url
	}
	first := ""
	for _, ref := range r.References {
		if ref.Type == "ADVISORY" {
			return ref.URL
		}
		if first == "" {
			first = ref.URL
		}
	}
	return first
}

// read turns an entry around; ok is false for one that names no package, or no versions.
func (x *affected) read() (a vuln.Affected, ok bool) {
	if x.Package.Name == "" || x.Package.Ecosystem == "" {
		return a, false
	}
	a = vuln.Affected{Ecosystem: x.Package.Ecosystem, Name: x.Package.Name, Versions: x.Versions, Rating: rating(x.Severity, x.word()), State: state(x.Ecosystem.urgency)}
	if a.Ecosystem == "Go" {
		a.Imports = x.Ecosystem.imports
	}
	for _, r := range x.Ranges {
		if r.Type != "ECOSYSTEM" && r.Type != "SEMVER" {
			continue
		}
		var events vuln.Range
		for _, e := range r.Events {
			for kind, v := range [...]string{vuln.Introduced: e.Introduced, vuln.Fixed: e.Fixed, vuln.LastAffected: e.LastAffected, vuln.Limit: e.Limit} {
				if v != "" && !(vuln.EventKind(kind) == vuln.Limit && v == "*") {
					events = append(events, vuln.Event{Kind: vuln.EventKind(kind), Version: v})
				}
			}
		}
		if len(events) > 0 {
			a.Ranges = append(a.Ranges, events)
		}
	}
	return a, len(a.Ranges)+len(a.Versions) > 0
}

// word is how bad the entry says that it is.
func (x *affected) word() string {
	for _, w := range []string{x.Ecosystem.severity, x.Specific.severity, x.Ecosystem.urgency} {
		if _, ok := vuln.ParseSeverity(w); ok {
			return w
		}
	}
	return ""
}

// state is what Debian's urgency says beyond how bad it is.
func state(urgency string) vuln.State {
	switch strings.ToLower(urgency) {
	case "unimportant":
		return vuln.Unimportant
	case "end-of-life":
		return vuln.Unsupported
	}
	return vuln.Undecided
}

// rating chooses: the newest version of CVSS whose score can be computed, and a word.
func rating(list []severity, word string) vuln.Rating {
	var r vuln.Rating
	r.Word, _ = vuln.ParseSeverity(word)
	best := -1
	for _, s := range list {
		if w, ok := vuln.ParseSeverity(s.Score); ok && r.Word == vuln.Unknown {
			r.Word = w // as Ubuntu has it
			continue
		}
		var rank int
		switch s.Type {
		case "CVSS_V2":
			rank = 1
		case "CVSS_V3":
			rank = 2
		case "CVSS_V4":
			rank = 3
		default:
			continue
		}
		tenths := uint8(0)
		if _, ok := vuln.Score(s.Score); ok {
			rank += 10
		} else if tenths = scoreV4(s.Score); tenths > 0 {
			rank += 10
		}
		if rank > best {
			best, r.Vector, r.Tenths = rank, s.Score, tenths
		}
	}
	return r
}

// scoreV4 is the score of a vector of CVSS 4 as Rating has it.
func scoreV4(vector string) uint8 {
	v, err := cvss.ParseVector(vector)
	if err != nil {
		return 0
	}
	return uint8(math.Round(v.Score()*10)) + 1
}

// summary is one line.
func summary(s, details string) string {
	if s == "" {
		s = details
	}
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	if s = strings.Join(strings.Fields(s), " "); len(s) > maxSummary {
		s = strings.ToValidUTF8(s[:maxSummary], "") + "…"
	}
	return strings.ToValidUTF8(s, "�")
}
