package vuln

import (
	"math"
	"strings"
)

// Severity is how bad a vulnerability is, as a word.
type Severity uint8

// The severities of CVSS ("Qualitative Severity Rating Scale"), the least first.
const (
	Unknown Severity = iota
	None
	Low
	Medium
	High
	Critical
)

// severities are the names, by number.
func severities() [6]string {
	return [6]string{"unknown", "none", "low", "medium", "high", "critical"}
}

// String is the word in lower case.
func (s Severity) String() string {
	if s > Critical {
		return severities()[Unknown]
	}
	return severities()[s]
}

// MarshalText implements encoding.TextMarshaler.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler. What it does not know is Unknown.
func (s *Severity) UnmarshalText(text []byte) error {
	*s, _ = ParseSeverity(string(text))
	return nil
}

// ParseSeverity reads a word as databases have it, in any case: moderate is Medium, negligible Low. ok is false for one that is not known.
func ParseSeverity(word string) (s Severity, ok bool) {
	word = strings.ToLower(word)
	switch word {
	case "moderate":
		return Medium, true
	case "important":
		return High, true
	case "negligible", "minor", "unimportant":
		return Low, true
	}
	for i, name := range severities() {
		if name == word {
			return Severity(i), true
		}
	}
	return Unknown, false
}

// Rating is how bad a vulnerability is.
type Rating struct {
	// Vector is CVSS's, e.g. CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H; it may be empty.
	Vector string
	// Tenths is the base score in tenths, plus one, of a vector whose score Score does not compute (CVSS 4); 0 is none.
	Tenths uint8
	// Word is what the source itself calls it.
	Word Severity
}

// Score is the base score of the vector, from 0 to 10; ok is false when it has none that can be computed.
func (r Rating) Score() (score float64, ok bool) {
	if r.Tenths > 0 {
		return float64(r.Tenths-1) / 10, true
	}
	return Score(r.Vector)
}

// Severity is what the vector amounts to, or else the source's word.
func (r Rating) Severity() Severity {
	score, ok := r.Score()
	switch {
	case !ok:
		return r.Word
	case score >= 9:
		return Critical
	case score >= 7:
		return High
	case score >= 4:
		return Medium
	case score > 0:
		return Low
	}
	return None
}

// maxVector is the length of a vector in bytes.
const maxVector = 512

// Score computes the base score of a CVSS vector of version 2, 3.0 or 3.1; ok is false for any other text.
func Score(vector string) (score float64, ok bool) {
	if len(vector) > maxVector {
		return 0, false
	}
	m := map[string]string{}
	for part := range strings.SplitSeq(vector, "/") {
		if name, value, found := strings.Cut(part, ":"); found {
			m[name] = value
		}
	}
	switch m["CVSS"] {
	case "3.0", "3.1":
		return scoreV3(m)
	case "":
		return scoreV2(m)
	}
	return 0, false
}

// weights reads metrics; ok turns false for a value that is none.
type weights struct {
	metrics map[string]string
	ok      bool
}

// of is the weight of a metric: choices is a list of letters, with their weights beside.
func (w *weights) of(name, choices string, values ...float64) float64 {
	v := w.metrics[name]
	i := strings.Index(choices, v)
	if len(v) != 1 || i < 0 {
		w.ok = false
		return 0
	}
	return values[i]
}

// scoreV3 is section 7.1 of the specification of CVSS 3.1.
func scoreV3(m map[string]string) (float64, bool) {
	w := &weights{m, true}
	changed := w.of("S", "UC", 0, 1) == 1
	low, high := 0.62, 0.27
	if changed {
		low, high = 0.68, 0.5
	}
	exploit := 8.22 * w.of("AV", "NALP", 0.85, 0.62, 0.55, 0.2) * w.of("AC", "LH", 0.77, 0.44) * w.of("PR", "NLH", 0.85, low, high) * w.of("UI", "NR", 0.85, 0.62)
	impact := func(name string) float64 { return 1 - w.of(name, "HLN", 0.56, 0.22, 0) }
	base := 1 - impact("C")*impact("I")*impact("A")
	if !w.ok {
		return 0, false
	}
	if changed {
		base = 7.52*(base-0.029) - 3.25*math.Pow(base-0.02, 15)
	} else {
		base *= 6.42
	}
	switch {
	case base <= 0:
		return 0, true
	case changed:
		return roundUp(math.Min(1.08*(base+exploit), 10)), true
	}
	return roundUp(math.Min(base+exploit, 10)), true
}

// roundUp rounds up to one decimal, as appendix A of the specification has it.
func roundUp(v float64) float64 {
	n := int(math.Round(v * 100_000))
	if n%10_000 == 0 {
		return float64(n) / 100_000
	}
	return float64(n/10_000+1) / 10
}

// scoreV2 is section 3.2.1 of the guide to CVSS 2.
func scoreV2(m map[string]string) (float64, bool) {
	w := &weights{m, true}
	exploit := 20 * w.of("AV", "LAN", 0.395, 0.646, 1) * w.of("AC", "HML", 0.35, 0.61, 0.71) * w.of("Au", "MSN", 0.45, 0.56, 0.704)
	part := func(name string) float64 { return 1 - w.of(name, "NPC", 0, 0.275, 0.66) }
	impact := 10.41 * (1 - part("C")*part("I")*part("A"))
	if !w.ok {
		return 0, false
	}
	if impact == 0 {
		return 0, true
	}
	return math.Round((0.6*impact+0.4*exploit-1.5)*1.176*10) / 10, true
}
