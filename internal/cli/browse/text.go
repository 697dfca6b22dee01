package browse

import (
	"strings"
	"unicode"
)

// width is how many columns a character takes.
func width(r rune) int {
	switch {
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	case r >= 0x1100 && r <= 0x115f, r >= 0x2e80 && r <= 0xa4cf && r != 0x303f, r >= 0xac00 && r <= 0xd7a3, r >= 0xf900 && r <= 0xfaff,
		r >= 0xfe30 && r <= 0xfe6f, r >= 0xff00 && r <= 0xff60, r >= 0xffe0 && r <= 0xffe6, r >= 0x1f300 && r <= 0x1faff, r >= 0x20000 && r <= 0x3fffd:
		return 2
	}
	return 1
}

// printable keeps foreign text from moving the cursor.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == unicode.ReplacementChar || unicode.Is(unicode.Cf, r) {
			return '?'
		}
		return r
	}, s)
}

// oneLine joins the lines of a text.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// fit makes a text exactly w columns wide.
func fit(s string, w int) string {
	s = printable(s)
	var b strings.Builder
	n := 0
	for _, r := range s {
		k := width(r)
		if n+k > w {
			break
		}
		n += k
		b.WriteRune(r)
	}
	b.WriteString(strings.Repeat(" ", w-n))
	return b.String()
}

// wrap breaks a text into lines of at most w columns, between words where it can.
func wrap(s string, w int) []string {
	var lines []string
	rest := []rune(printable(s))
	for {
		n, end, space := 0, 0, 0
		for end < len(rest) && n+width(rest[end]) <= w {
			n += width(rest[end])
			if end++; end < len(rest) && rest[end] == ' ' {
				space = end
			}
		}
		if end == len(rest) || end == 0 {
			return append(lines, string(rest))
		}
		if space > end/3 {
			end = space
		}
		lines = append(lines, string(rest[:end]))
		for rest = rest[end:]; len(rest) > 0 && rest[0] == ' '; {
			rest = rest[1:]
		}
	}
}

// pad makes h lines of w columns.
func pad(lines []string, w, h int) []string {
	for len(lines) < h {
		lines = append(lines, strings.Repeat(" ", max(w, 0)))
	}
	return lines[:max(h, 0)]
}
