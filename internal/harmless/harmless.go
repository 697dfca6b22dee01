// Package harmless makes text of others, such as the name of a file in an image, harmless to who reads it on a terminal or a page.
//
//	fmt.Fprintf(w, "%s could not be read\n", harmless.Line(name))
//	fmt.Fprintf(w, "camada: %s\n", harmless.Text(err.Error()))
//
// What moves the cursor, commands a terminal, or turns the direction of the text around it, so that it reads as another one, is written as Go writes it in strings: \x1b, \u202e.
// Such a text still tells one name from another, and is not for programs: these get it as JSON, as it is.
package harmless

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Hidden reports whether a character is none to be shown: a control character, one that turns the direction of text (UAX #9), or an end of a line or a paragraph.
func Hidden(r rune) bool {
	return r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029' || unicode.Is(unicode.Bidi_Control, r)
}

// Line is a text in one line.
func Line(s string) string { return escaped(s, "") }

// Text is a text that keeps its lines and tabs.
func Text(s string) string { return escaped(s, "\n\t") }

// escaped leaves the characters of keep as they are.
func escaped(s, keep string) string {
	if utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return Hidden(r) && !strings.ContainsRune(keep, r) }) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		switch c := s[:size]; {
		case r == utf8.RuneError && size == 1, Hidden(r) && !strings.ContainsRune(keep, r):
			quoted := strconv.QuoteToASCII(c)
			b.WriteString(quoted[1 : len(quoted)-1])
		default:
			b.WriteString(c)
		}
		s = s[size:]
	}
	return b.String()
}
