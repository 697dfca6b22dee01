// Package secret finds secrets, such as keys, tokens and passwords, in streams of any size.
//
//	s, err := secret.New()
//	res, err := s.Scan(ctx, file, "etc/app.conf")     // one file, whatever it is
//	res.Findings[0].Rule, .Path, .Line, .Secret       // Secret is masked
//	s.Mask("curl -u bot:…")                           // a text for people, without what is secret in it
//
// The rules are those of gitleaks, and some of its own (folder rules). A keyword has to be near before a regular expression is tried, and what that
// finds is checked: checksums of tokens, keys that parse, randomness, and whether it only looks like a secret.
//
// No secret leaves the package: a Finding has it masked, and as a fingerprint that is slow to guess.
package secret

import (
	"fmt"
	"sync"

	"github.com/camada/camada/errdefs"
)

// Finding is a secret that was found.
type Finding struct {
	// Rule is the name of what found it, Description says what that looks for.
	Rule, Description string
	// Path is the file's, as it was given.
	Path string
	// Line and Column are where the secret begins, both from 1, columns in bytes. They are 0 when the file itself is the secret.
	Line, Column int
	// Secret is masked: it shows at most what all secrets of the kind begin with.
	Secret string
	// Fingerprint is the same for the same secret found by the same rule: 20 hexadecimal digits.
	Fingerprint string
	// Checked says that a checksum or the structure confirms it.
	Checked bool
}

// ErrFound is the class of errors that refuse something because there are secrets in it.
const ErrFound errdefs.Class = "there are secrets"

// MaxFindings is how many secrets of one file are told.
const MaxFindings = 1000

// Result is what was found in a file.
type Result struct {
	// Findings are in the order of the file.
	Findings []Finding
	// More is set when there are more than MaxFindings, or so much that only looks like secrets that the search was ended; the rest is not told.
	More bool
	// Closed are archives that were not looked into to their end, because they are too big, too deep in others, have too much in them, or are packed in a way that is not known: see Scanner.File.
	Closed []string
}

// Scanner finds secrets. It may be used by many at once.
type Scanner struct {
	rules   []*rule
	byPath  []*rule // those that look only at the name of a file
	search  *search
	allowed allowed
	// stops finds the words that gitleaks stops at. It is made when it is first needed.
	stops func() *search
	// services are those whose names make a key of what else could be anything.
	services services
	buffers  sync.Pool

	mu     sync.Mutex
	prints map[string]string
}

// New makes a scanner. It reads the rules; their expressions are compiled when they are first needed.
func New() (*Scanner, error) {
	s := &Scanner{prints: map[string]string{}}
	if err := s.load(); err != nil {
		return nil, fmt.Errorf("load the rules for secrets: %w", err)
	}
	return s, nil
}

// Rules are the names of the rules, sorted.
func (s *Scanner) Rules() []string {
	out := make([]string, 0, len(s.rules))
	for _, r := range s.rules {
		out = append(out, r.ID)
	}
	return out
}
