package attach

import (
	"strings"

	"github.com/camada/camada/errdefs"
)

// DefaultKeys detach when the user chose no others.
const DefaultKeys = "ctrl-p,ctrl-q"

// Keys reads keys as --detach-keys has them: single characters, DEL, or ctrl- and a letter or one of @ [ \ ] ^ _, with commas between
// them. "" is DefaultKeys.
func Keys(text string) ([]byte, error) {
	if text == "" {
		text = DefaultKeys
	}
	var keys []byte
	for _, k := range strings.Split(text, ",") {
		rest, ctrl := strings.CutPrefix(k, "ctrl-")
		switch {
		case len(k) == 1:
			keys = append(keys, k[0])
		case k == "DEL":
			keys = append(keys, 127)
		case ctrl && len(rest) == 1 && rest[0] >= 'a' && rest[0] <= 'z':
			keys = append(keys, rest[0]-'a'+1)
		case ctrl && len(rest) == 1 && strings.Contains(`@[\]^_`, rest):
			keys = append(keys, rest[0]-'@')
		default:
			return nil, errdefs.Invalid("--detach-keys %q: unknown key %q; want a character, or ctrl- and one of a-z @ [ \\ ] ^ _", text, k)
		}
	}
	return keys, nil
}

// keyFilter looks for keys in input that comes in pieces. The beginning of the keys is held back until it is known what follows.
type keyFilter struct {
	keys []byte
	n    int // so many of keys were read last
}

// filter returns what is to be passed on, and whether the keys are complete; what follows them is dropped.
func (k *keyFilter) filter(in []byte) (out []byte, detached bool) {
	if len(k.keys) == 0 {
		return in, false
	}
	for _, b := range in {
		if b == k.keys[k.n] {
			if k.n++; k.n == len(k.keys) {
				k.n = 0
				return out, true
			}
			continue
		}
		out = append(out, k.keys[:k.n]...)
		k.n = 0
		if b == k.keys[0] && len(k.keys) > 1 {
			k.n = 1
			continue
		}
		out = append(out, b)
	}
	return out, false
}

// rest returns what was held back, at the end of the input.
func (k *keyFilter) rest() []byte {
	held := k.keys[:k.n]
	k.n = 0
	return held
}
