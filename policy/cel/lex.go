package cel

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/camada/camada/errdefs"
)

// token is a piece of an expression.
type token struct {
	// what is the operator itself, or one of the words below.
	what string
	// text of an identifier, value of a literal.
	text  string
	value any
	pos   int
}

const (
	tokenEnd     = "the end"
	tokenName    = "a name"
	tokenLiteral = "a value"
)

type lexer struct {
	text string
	pos  int
}

func (l *lexer) bad(pos int, format string, args ...any) error {
	return errdefs.Invalid("%s: %w", place(l.text, pos), errdefs.Invalid(format, args...))
}

// space skips white space and comments.
func (l *lexer) space() {
	for l.pos < len(l.text) {
		switch c := l.text[l.pos]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f':
			l.pos++
		case strings.HasPrefix(l.text[l.pos:], "//"):
			if end := strings.IndexByte(l.text[l.pos:], '\n'); end >= 0 {
				l.pos += end
			} else {
				l.pos = len(l.text)
			}
		default:
			return
		}
	}
}

// next reads a token (cel-spec, langdef.md, "Syntax").
func (l *lexer) next() (token, error) {
	l.space()
	start := l.pos
	if start >= len(l.text) {
		return token{what: tokenEnd, pos: start}, nil
	}
	c := l.text[start]
	switch {
	case c == '"' || c == '\'':
		return l.quoted(start, false, false)
	case isLetter(c):
		return l.word(start)
	case isDigit(c), c == '.' && start+1 < len(l.text) && isDigit(l.text[start+1]):
		return l.number(start)
	}
	for _, op := range []string{"&&", "||", "==", "!=", "<=", ">="} {
		if strings.HasPrefix(l.text[start:], op) {
			l.pos += 2
			return token{what: op, pos: start}, nil
		}
	}
	if strings.IndexByte("+-*/%!<>?:.,()[]{}", c) >= 0 {
		l.pos++
		return token{what: string(c), pos: start}, nil
	}
	r, _ := utf8.DecodeRuneInString(l.text[start:])
	return token{}, l.bad(start, "unexpected %q", r)
}

func isLetter(c byte) bool { return c == '_' || c|0x20 >= 'a' && c|0x20 <= 'z' }
func isDigit(c byte) bool  { return c >= '0' && c <= '9' }

// word reads a name, a word of the language, or the beginning of a text with a prefix.
func (l *lexer) word(start int) (token, error) {
	for l.pos < len(l.text) && (isLetter(l.text[l.pos]) || isDigit(l.text[l.pos])) {
		l.pos++
	}
	w := l.text[start:l.pos]
	if l.pos < len(l.text) && (l.text[l.pos] == '"' || l.text[l.pos] == '\'') {
		switch strings.ToLower(w) {
		case "r":
			return l.quoted(start, true, false)
		case "b":
			return l.quoted(start, false, true)
		case "rb", "br":
			return l.quoted(start, true, true)
		}
	}
	switch w {
	case "true", "false":
		return token{what: tokenLiteral, value: w == "true", pos: start}, nil
	case "null":
		return token{what: tokenLiteral, pos: start}, nil
	case "in":
		return token{what: "in", text: w, pos: start}, nil
	}
	return token{what: tokenName, text: w, pos: start}, nil
}

// isReserved tells words that are no names (langdef.md, RESERVED). After a dot they are fields.
func isReserved(w string) bool {
	switch w {
	case "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop", "package", "namespace", "return", "var", "void", "while":
		return true
	}
	return false
}

func (l *lexer) number(start int) (token, error) {
	end := start
	hex := strings.HasPrefix(l.text[start:], "0x") || strings.HasPrefix(l.text[start:], "0X")
	if hex {
		end += 2
	}
	isFloat := false
	for ; end < len(l.text); end++ {
		c := l.text[end]
		switch {
		case isDigit(c), hex && c|0x20 >= 'a' && c|0x20 <= 'f':
		case !hex && c == '.' && !isFloat && end+1 < len(l.text) && isDigit(l.text[end+1]):
			isFloat = true
		case !hex && c|0x20 == 'e' && end > start && exponent(l.text[end:]) > 0:
			isFloat = true
			end += exponent(l.text[end:])
			return l.finish(start, end, isFloat)
		default:
			return l.finish(start, end, isFloat)
		}
	}
	return l.finish(start, end, isFloat)
}

// exponent is how long the exponent is that a text begins with; 0 when it begins with none.
func exponent(s string) int {
	n := 1
	if n < len(s) && (s[n] == '+' || s[n] == '-') {
		n++
	}
	digits := n
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	if n == digits {
		return 0
	}
	return n
}

func (l *lexer) finish(start, end int, isFloat bool) (token, error) {
	text := l.text[start:end]
	t := token{what: tokenLiteral, pos: start, text: text}
	var err error
	switch {
	case isFloat:
		t.value, err = strconv.ParseFloat(text, 64)
	case end < len(l.text) && l.text[end]|0x20 == 'u':
		end++
		t.value, err = strconv.ParseUint(text, base(text), 64)
	default:
		var n uint64
		// One more than the greatest, for the smallest when there is a minus before it.
		if n, err = strconv.ParseUint(text, base(text), 64); err == nil && n > 1<<63 {
			err = strconv.ErrRange
		}
		t.value = integer(n)
	}
	if end < len(l.text) && (isLetter(l.text[end]) || isDigit(l.text[end])) {
		return t, l.bad(start, "%q is no number", l.text[start:end+1])
	}
	if err != nil {
		return t, l.bad(start, "%s is no number that can be held", text)
	}
	l.pos = end
	return t, nil
}

// base of an integer: 0 lets ParseUint read 0x, but then 010 is octal, which CEL has not.
func base(text string) int {
	if len(text) > 1 && text[1]|0x20 == 'x' {
		return 0
	}
	return 10
}

// integer is an integer before it is known whether a minus stands before it.
type integer uint64
