package vex

import (
	"bufio"
	"bytes"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
)

// ParseIgnore reads an ignore file: a line for each decision, with the vulnerability, what it holds for, the day until which it does, and the reason:
//
//	CVE-2026-1234 until=2026-12-31 package=openssl  # we do not use DTLS
//	GHSA-xxxx-yyyy-zzzz until=never  # only a test dependency
//
// The day and the reason are required. Empty lines and those that begin with # are left out. On the day itself the line counts still. What is
// none of this is ErrInvalid, with the line.
func ParseIgnore(data []byte) ([]Statement, error) {
	if len(data) > MaxDocument {
		return nil, errdefs.Limit("an ignore file of more than %d bytes", MaxDocument)
	}
	var out []Statement
	lines := bufio.NewScanner(bytes.NewReader(data))
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" || text[0] == '#' {
			continue
		}
		s, err := parseIgnore(text)
		if err != nil {
			return nil, errdefs.Invalid("line %d: %w", n, err)
		}
		if out = append(out, s); len(out) > maxStatements {
			return nil, errdefs.Limit("more than %d lines", maxStatements)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, errdefs.Limit("a line is too long")
	}
	return out, nil
}

func parseIgnore(text string) (s Statement, err error) {
	text, why, _ := strings.Cut(text, "#")
	s.NotAffected, s.Status, s.Reason = true, "ignored", reason(why)
	until := ""
	for i, word := range strings.Fields(text) {
		key, value, found := strings.Cut(word, "=")
		switch {
		case i == 0 && !found:
			s.IDs = []string{word}
		case i == 0:
			return s, errdefs.Invalid("it begins with %q, not with the ID of a vulnerability", word)
		case key == "until" && value != "":
			until = value
		case key == "package" && strings.HasPrefix(value, "pkg:"):
			s.Packages = append(s.Packages, value)
		case key == "package" && value != "":
			s.Name = value
		case key == "image" && value != "":
			s.Images = append(s.Images, value)
		default:
			return s, errdefs.Invalid("%q: want until=DAY, package=NAME or image=NAME", word)
		}
	}
	if s.Reason == "" {
		return s, errdefs.Invalid("%s has no reason: write it behind a #", s.IDs[0])
	}
	if until == "never" {
		return s, nil
	}
	day, err := time.Parse(time.DateOnly, until)
	if err != nil {
		return s, errdefs.Invalid("%s has no day on which it ends: add until=2026-12-31, or until=never", s.IDs[0])
	}
	s.Until = day.AddDate(0, 0, 1)
	return s, nil
}
