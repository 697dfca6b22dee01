package remote

import (
	"slices"
	"strings"
)

const (
	// maxWarnings bounds what a registry may say in the warnings of one answer, in bytes ("Warnings").
	maxWarnings = 4096
	// maxWarned bounds how many things one registry may warn of.
	maxWarned = 10
)

// warn tells the user what a registry warns of, unless he knows it.
func (h *host) warn(lines []string) {
	if h.c.opts.Warn == nil || len(lines) == 0 {
		return
	}
	for _, text := range warnings(lines) {
		h.mu.Lock()
		known := slices.Contains(h.warned, text) || len(h.warned) == maxWarned
		if !known {
			h.warned = append(h.warned, text)
		}
		h.mu.Unlock()
		if !known {
			h.c.opts.Warn("registry " + h.name + " warns: " + text)
		}
	}
}

// warnings reads the texts of Warning headers: 299 - "text", without a date ("Warnings"; RFC 7234, section 5.5). Others are left out, as they are
// not for people.
func warnings(lines []string) []string {
	var texts []string
	left := maxWarnings
	for _, line := range lines {
		if left -= len(line); left < 0 {
			break
		}
		quoted, ok := strings.CutPrefix(line, `299 - "`)
		if !ok {
			continue
		}
		if text := strings.TrimSpace(printable(unquote(quoted))); text != "" {
			texts = append(texts, text)
		}
	}
	return texts
}

// unquote reads the rest of a quoted-string up to its end (RFC 9110, section 5.6.4).
func unquote(s string) string {
	var b strings.Builder
	for i := 0; i < len(s) && s[i] != '"'; i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
