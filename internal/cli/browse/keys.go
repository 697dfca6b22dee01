package browse

import (
	"bytes"
	"unicode/utf8"
)

// key is a key: a character, or one of the constants.
type key rune

const (
	keyUp key = -1 - iota
	keyDown
	keyLeft
	keyRight
	keyPageUp
	keyPageDown
	keyHome
	keyEnd
	keyTab
	keyBackTab
	keyEnter
	keyEscape
	keyBackspace
	keyInterrupt
	keyUnknown
)

// sequences are what terminals send after ESC.
func sequences() []struct {
	text string
	key  key
} {
	return []struct {
		text string
		key  key
	}{
		{"[A", keyUp}, {"[B", keyDown}, {"[C", keyRight}, {"[D", keyLeft}, {"OA", keyUp}, {"OB", keyDown}, {"OC", keyRight}, {"OD", keyLeft},
		{"[5~", keyPageUp}, {"[6~", keyPageDown}, {"[H", keyHome}, {"[F", keyEnd}, {"OH", keyHome}, {"OF", keyEnd}, {"[1~", keyHome}, {"[4~", keyEnd},
		{"[7~", keyHome}, {"[8~", keyEnd}, {"[Z", keyBackTab},
	}
}

// parseKeys reads what a terminal sent in one piece; rest is the beginning of a character that is not whole yet.
func parseKeys(b []byte) (keys []key, rest []byte) {
	for len(b) > 0 {
		if b[0] == 0x1b {
			k, n := escape(b)
			keys, b = append(keys, k), b[n:]
			continue
		}
		if !utf8.FullRune(b) {
			return keys, bytes.Clone(b)
		}
		r, n := utf8.DecodeRune(b)
		b = b[n:]
		keys = append(keys, plainKey(r))
	}
	return keys, nil
}

func plainKey(r rune) key {
	switch r {
	case '\t':
		return keyTab
	case '\r', '\n':
		return keyEnter
	case 0x7f, 8:
		return keyBackspace
	case 3:
		return keyInterrupt
	case 2: // Control-B and -F, -P and -N, as in vi and less
		return keyPageUp
	case 6:
		return keyPageDown
	case 14:
		return keyDown
	case 16:
		return keyUp
	}
	if r < ' ' || r == utf8.RuneError {
		return keyUnknown
	}
	return key(r)
}

// escape reads one sequence and returns its length.
func escape(b []byte) (key, int) {
	for _, s := range sequences() {
		if bytes.HasPrefix(b[1:], []byte(s.text)) {
			return s.key, 1 + len(s.text)
		}
	}
	if len(b) == 1 || b[1] == 0x1b {
		return keyEscape, 1
	}
	if b[1] != '[' && b[1] != 'O' {
		return keyEscape, 1 // and a key after it
	}
	// A sequence that is not known ends with a letter or a tilde.
	for i := 2; i < len(b); i++ {
		if c := b[i]; c >= 0x40 && c <= 0x7e {
			return keyUnknown, i + 1
		}
	}
	return keyUnknown, len(b)
}
