package cel

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// quoted reads a text or bytes; l.pos is at the first quote.
func (l *lexer) quoted(start int, raw, isBytes bool) (token, error) {
	quote := l.text[l.pos : l.pos+1]
	if three := strings.Repeat(quote, 3); strings.HasPrefix(l.text[l.pos:], three) {
		quote = three
	}
	l.pos += len(quote)
	var b strings.Builder
	for {
		rest := l.text[l.pos:]
		switch {
		case rest == "":
			return token{}, l.bad(start, "the text has no end")
		case strings.HasPrefix(rest, quote):
			l.pos += len(quote)
			return literalText(l, start, b.String(), isBytes)
		case len(quote) == 1 && (rest[0] == '\n' || rest[0] == '\r'):
			return token{}, l.bad(start, "the text has no end on its line")
		case rest[0] == '\\' && !raw:
			n, err := l.escape(&b, rest, isBytes)
			if err != nil {
				return token{}, err
			}
			l.pos += n
		default:
			b.WriteByte(rest[0])
			l.pos++
		}
	}
}

func literalText(l *lexer, start int, s string, isBytes bool) (token, error) {
	if isBytes {
		return token{what: tokenLiteral, value: []byte(s), pos: start}, nil
	}
	if !utf8.ValidString(s) {
		return token{}, l.bad(start, "the text is not UTF-8")
	}
	return token{what: tokenLiteral, value: s, pos: start}, nil
}

// escape reads what a backslash begins, and returns how long it is.
func (l *lexer) escape(b *strings.Builder, s string, isBytes bool) (int, error) {
	if len(s) < 2 {
		return 0, l.bad(l.pos, "the text has no end")
	}
	if i := strings.IndexByte(`abfnrtv\?"'`+"`", s[1]); i >= 0 {
		b.WriteByte("\a\b\f\n\r\t\v\\?\"'`"[i])
		return 2, nil
	}
	digits, from, radix := 0, 2, 16
	switch s[1] {
	case 'x', 'X':
		digits = 2
	case 'u':
		digits = 4
	case 'U':
		digits = 8
	case '0', '1', '2', '3':
		digits, from, radix = 3, 1, 8
	}
	if digits == 0 || len(s) < from+digits || isBytes && digits > 3 {
		return 0, l.bad(l.pos, "the escape \\%c is not known, or too short", s[1])
	}
	n, err := strconv.ParseUint(s[from:from+digits], radix, 32)
	if err != nil || !isBytes && !utf8.ValidRune(rune(n)) {
		return 0, l.bad(l.pos, "the escape %s is no character", s[:from+digits])
	}
	if isBytes {
		b.WriteByte(byte(n))
	} else {
		b.WriteRune(rune(n))
	}
	return from + digits, nil
}
