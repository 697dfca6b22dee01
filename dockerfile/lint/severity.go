package lint

import (
	"strings"

	"github.com/camada/camada/errdefs"
)

// Severity says how bad a finding is. The words and their order are hadolint's.
type Severity int

// The severities. A rule of severity Ignore finds nothing unless a configuration gives it another.
const (
	Ignore Severity = iota
	Style
	Info
	Warning
	Error
)

// None is above all severities: a threshold that nothing reaches.
const None = Error + 1

// String is the word.
func (s Severity) String() string {
	if s < Ignore || s > None {
		return "unknown"
	}
	return [...]string{"ignore", "style", "info", "warning", "error", "none"}[s]
}

// MarshalText writes the word.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// ParseSeverity reads the word.
func ParseSeverity(word string) (Severity, error) {
	for s := Ignore; s <= None; s++ {
		if strings.EqualFold(word, s.String()) {
			return s, nil
		}
	}
	return 0, errdefs.Invalid("severity %q: want error, warning, info, style, ignore or none", word)
}
