package secret

import (
	"context"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

const (
	// stars stand for a secret.
	stars = "****"
	// shown is how much of the beginning is shown, in bytes.
	shown = 12
	// rounds make a fingerprint slow to guess: a password could be found out by trying words.
	rounds = 4096
	// maxPrints is how many fingerprints are remembered.
	maxPrints = 4096
)

// masked shows what all secrets of the kind begin with, if there is such a beginning, and nothing of the secret itself.
func (m *match) masked() string {
	if m.rule.weak {
		return stars
	}
	for _, k := range m.rule.Keywords {
		if len(k) >= 3 && len(m.secret) > 2*len(k) && strings.EqualFold(m.secret[:len(k)], k) {
			return m.secret[:min(len(k), shown)] + stars
		}
	}
	return stars
}

// fingerprint names a secret without telling it.
func (s *Scanner) fingerprint(rule, secret string) string {
	sum := sha256.Sum256([]byte(rule + "\x00" + secret))
	s.mu.Lock()
	defer s.mu.Unlock()
	if p, ok := s.prints[string(sum[:])]; ok {
		return p
	}
	key, err := pbkdf2.Key(sha256.New, secret, []byte("camada secret 1 "+rule), rounds, 20)
	if err != nil {
		key = make([]byte, 20) // only when the parameters are wrong
	}
	if len(s.prints) >= maxPrints {
		clear(s.prints)
	}
	p := hex.EncodeToString(key[:10])
	s.prints[string(sum[:])] = p
	return p
}

// Mask returns a text without the secrets in it.
func (s *Scanner) Mask(text string) string {
	f := s.open("")
	f.read(context.Background(), strings.NewReader(text)) //nolint:errcheck // neither can fail
	if len(f.found) > MaxFindings || len(f.denied) > maxDenied {
		return stars
	}
	var b strings.Builder
	at := int64(0)
	for _, m := range f.settled() {
		// Of several that overlap one says what it is; what the others have of the text is no less secret.
		for _, x := range f.found {
			if x.start < m.end && m.start < x.end {
				m.start, m.end = min(m.start, x.start), max(m.end, x.end)
			}
		}
		b.WriteString(text[at:max(at, m.start)])
		b.WriteString(m.masked())
		at = max(at, m.end)
	}
	return b.String() + text[at:]
}
