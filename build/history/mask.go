package history

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/camada/camada/dockerfile"
)

// Masked begins what stands for the value of a secret. The eight hex digits behind it differ when
// the values do; they cannot be tried out without the key, which stays in the store.
const Masked = "(hidden "

// secretWords are what names of secrets have between underscores; the list is BuildKit's.
func secretWords() []string {
	return []string{"apikey", "auth", "credential", "credentials", "key", "password", "pword", "passwd", "secret", "token"}
}

// IsSecretName reports whether the name of an ARG or ENV says that its value is a secret.
func IsSecretName(name string) bool {
	words := strings.Split(strings.ToLower(name), "_")
	if slices.Contains(words, "public") {
		return false
	}
	return slices.ContainsFunc(words, func(w string) bool { return slices.Contains(secretWords(), w) })
}

// minMasked is the length from which on a secret is looked for in other texts.
const minMasked = 4

// masker takes secrets out of what is kept.
type masker struct {
	key     []byte
	replace *strings.Replacer // nil: nothing to replace
}

// newMasker knows the values of the user's arguments that are secrets, and of the proxies, which can hold one.
func newMasker(key []byte, args map[string]string) *masker {
	m := &masker{key: key}
	var pairs []string
	for k, v := range args {
		if v == "" || !IsSecretName(k) && !dockerfile.IsProxyArg(k) {
			continue
		}
		quoted := strings.Trim(fmt.Sprintf("%q", v), `"`) // as it stands in JSON
		pairs = append(pairs, `"`+k+"="+quoted+`"`, `"`+k+"="+m.mark(v)+`"`)
		if len(v) < minMasked {
			continue
		}
		if pairs = append(pairs, v, m.mark(v)); quoted != v {
			pairs = append(pairs, quoted, m.mark(v))
		}
	}
	if pairs != nil {
		m.replace = strings.NewReplacer(pairs...)
	}
	return m
}

func (m *masker) mark(value string) string {
	h := hmac.New(sha256.New, m.key)
	h.Write([]byte(value))
	return Masked + hex.EncodeToString(h.Sum(nil)[:4]) + ")"
}

// text returns s without secrets.
func (m *masker) text(s string) string {
	if m.replace != nil {
		s = m.replace.Replace(s)
	}
	return withoutUserinfo(s)
}

// args returns the arguments without proxies and with marks for secrets.
func (m *masker) args(args map[string]string) map[string]string {
	out := make(map[string]string, len(args))
	for k, v := range args {
		switch {
		case dockerfile.IsProxyArg(k):
		case IsSecretName(k):
			out[k] = m.mark(v)
		default:
			out[k] = m.text(v)
		}
	}
	return out
}

// withoutUserinfo takes what stands before the @ of URLs out of a text.
func withoutUserinfo(s string) string {
	const mark = "://"
	from := 0
	for {
		i := strings.Index(s[from:], mark)
		if i < 0 {
			return s
		}
		start := from + i + len(mark)
		end := strings.IndexAny(s[start:], "/?# \t\n\"'\\")
		if end < 0 {
			end = len(s) - start
		}
		if at := strings.LastIndexByte(s[start:start+end], '@'); at > 0 {
			s = s[:start] + "***" + s[start+at:]
		}
		from = start
	}
}

const keySize = 32

// key returns the store's key, made when there is none. Two processes that make one at
// once end up with the same.
func (h *History) key() ([]byte, error) {
	path := filepath.Join(h.dir, "key")
	for range 3 {
		if b, err := os.ReadFile(path); err == nil && len(b) == keySize {
			return b, nil
		}
		b := make([]byte, keySize)
		_, _ = rand.Read(b) // never fails
		if err := os.MkdirAll(h.dir, 0o711); err != nil {
			return nil, err
		}
		tmp := path + "." + rand.Text()[:8]
		if err := os.WriteFile(tmp, b, 0o600); err != nil {
			return nil, err
		}
		err := os.Link(tmp, path)
		os.Remove(tmp)
		if errors.Is(err, fs.ErrExist) {
			if b, err := os.ReadFile(path); err == nil && len(b) != keySize {
				os.Remove(path) // torn by a power cut
			}
			continue
		}
		if err != nil {
			return nil, err
		}
	}
	b, err := os.ReadFile(path)
	if err == nil && len(b) != keySize {
		err = errors.New("the history's key is damaged")
	}
	return b, err
}
