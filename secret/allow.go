package secret

import (
	"bufio"
	"bytes"
	"path"
	"strings"
	"time"

	"github.com/camada/camada/errdefs"
)

const (
	// maxAllow is how big an allow-list may be, in bytes; maxAllowed how many lines it may have.
	maxAllow   = 1 << 20
	maxAllowed = 10000
)

// Allowed is a line of an allow-list: what is found and accepted, until when, and why.
type Allowed struct {
	// Line counts from 1.
	Line int
	// Fingerprint, Rule and Path are what it is about; those that are not empty all have to be met. Path is a pattern of path.Match; one that ends in /** is
	// for all below.
	Fingerprint, Rule, Path string `json:",omitempty"`
	// Until is the first day on which it does not count any more; zero for ever.
	Until  time.Time `json:",omitzero"`
	Reason string
}

// ParseAllow reads an allow-list: a line for each thing, with a day or never, and a reason. Empty lines and those that begin with # do not count.
//
//	b79aed48f7d54ee17ac9          2027-03-01  the key of the test server
//	rule:private-key,path:etc/ssl/private/ssl-cert-snakeoil.key  never  made anew at the start
func ParseAllow(data []byte) ([]Allowed, error) {
	if len(data) > maxAllow {
		return nil, errdefs.Limit("an allow-list may have %d bytes", maxAllow)
	}
	var out []Allowed
	sc := bufio.NewScanner(bytes.NewReader(data))
	sc.Buffer(nil, maxAllow+1)
	for n := 1; sc.Scan(); n++ {
		line := strings.TrimSpace(sc.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if len(out) == maxAllowed {
			return nil, errdefs.Limit("an allow-list may have %d lines", maxAllowed)
		}
		a, err := parseAllowed(line)
		if err != nil {
			return nil, errdefs.Invalid("line %d: %w", n, err)
		}
		a.Line = n
		out = append(out, a)
	}
	return out, sc.Err()
}

func parseAllowed(line string) (a Allowed, err error) {
	fields := strings.Fields(line)
	if len(fields) < 3 {
		return a, errdefs.Invalid("want what is allowed, a day (2027-03-01) or never, and the reason")
	}
	for _, part := range strings.Split(fields[0], ",") {
		switch {
		case strings.HasPrefix(part, "rule:"):
			a.Rule = part[5:]
		case strings.HasPrefix(part, "path:"):
			a.Path = strings.TrimPrefix(part[5:], "/")
			if _, err := path.Match(a.Path, ""); err != nil || a.Path == "" {
				return a, errdefs.Invalid("%q is no pattern", part)
			}
		case len(part) == 20 && isHex(part):
			a.Fingerprint = strings.ToLower(part)
		default:
			return a, errdefs.Invalid("%q is none of a fingerprint (20 hexadecimal digits), rule:NAME and path:PATTERN", part)
		}
	}
	if a.Fingerprint == "" && a.Path == "" {
		return a, errdefs.Invalid("a rule alone allows too much: add a path or a fingerprint")
	}
	if fields[1] != "never" {
		if a.Until, err = time.Parse(time.DateOnly, fields[1]); err != nil {
			return a, errdefs.Invalid("%q is neither a day such as 2027-03-01 nor never", fields[1])
		}
	}
	a.Reason = strings.Join(fields[2:], " ")
	return a, nil
}

// Expired reports whether the line does not count any more.
func (a *Allowed) Expired(now time.Time) bool { return !a.Until.IsZero() && !now.Before(a.Until) }

// Covers reports whether the line is about a finding.
func (a *Allowed) Covers(f *Finding) bool {
	if a.Fingerprint != "" && a.Fingerprint != f.Fingerprint || a.Rule != "" && a.Rule != f.Rule {
		return false
	}
	if a.Path == "" {
		return true
	}
	if f.Path == "" { // what is in no file, such as a variable: * is not about it
		return false
	}
	if dir, ok := strings.CutSuffix(a.Path, "/**"); ok {
		return strings.HasPrefix(f.Path, dir+"/")
	}
	ok, err := path.Match(a.Path, f.Path)
	return err == nil && ok
}
